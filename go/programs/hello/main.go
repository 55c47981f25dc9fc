// The smallest program: it prints, and its exit status says that the output was taken.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	if _, err := fmt.Printf("hello from %s on %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH); err != nil {
		os.Exit(1)
	}
}
