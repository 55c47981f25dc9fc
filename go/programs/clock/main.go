// Says after each line of its input how much time has passed since its start, in nanoseconds by the
// monotonic clock, until a line "end".
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	start := time.Now()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() && lines.Text() != "end" {
		fmt.Println("at", time.Since(start).Nanoseconds())
	}
}
