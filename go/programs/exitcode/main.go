// Ends with the exit code given as argument (0 to 255).
package main

import (
	"os"
	"strconv"
)

func main() {
	if len(os.Args) != 2 {
		os.Exit(111)
	}
	code, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(112)
	}
	os.Exit(code)
}
