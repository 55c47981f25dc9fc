// Scrolls a screen full of text by a line, again and again, and prints how long the kernel was away from the
// program to show it: on one processor, which painting takes from a loop that looks at the clock.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const rounds = 8

func main() {
	var size struct{ rows, columns, width, height uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 1, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 || size.columns == 0 {
		fmt.Println("no screen:", errno)
		os.Exit(1)
	}
	fill(int(size.rows), int(size.columns))
	var away []time.Duration
	for i := 0; i < rounds; i++ {
		// So that it is painted at once: it is at most 60 times a second.
		time.Sleep(100 * time.Millisecond)
		os.Stdout.WriteString("\r\n")
		away = append(away, longest(40*time.Millisecond))
	}
	fmt.Printf("\r\n%d columns, %d rows\r\n", size.columns, size.rows)
	for _, each := range away {
		fmt.Printf("scrolled in %d ns\r\n", each.Nanoseconds())
	}
	time.Sleep(100 * time.Millisecond)
}

// fill makes every cell differ from the one above it.
func fill(rows, columns int) {
	for row := 0; row < rows; row++ {
		line := make([]byte, columns)
		for i := range line {
			line[i] = byte('!' + (i*7+row*13)%90)
		}
		os.Stdout.WriteString("\r\n" + string(line))
	}
}

// longest is the longest time between two looks at the clock.
func longest(during time.Duration) time.Duration {
	last := time.Now()
	var most time.Duration
	for end := last.Add(during); last.Before(end); {
		now := time.Now()
		if gap := now.Sub(last); gap > most {
			most = gap
		}
		last = now
	}
	return most
}
