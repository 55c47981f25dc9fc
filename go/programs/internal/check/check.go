// Package check is what the test programs judge themselves with: one line a check, and exit
// status 0 only if every check held.
package check

import (
	"fmt"
	"os"
	"sync"
	"time"
)

var (
	mutex  sync.Mutex
	passed int
	failed int
)

// That records one check and prints its line. The detail is printed only with a failure.
func That(name string, held bool, detail ...interface{}) bool {
	mutex.Lock()
	defer mutex.Unlock()
	if held {
		passed++
		fmt.Println("ok  ", name)
		return true
	}
	failed++
	fmt.Println("FAIL", name, fmt.Sprint(detail...))
	return false
}

// NoError is a check that holds when err is nil.
func NoError(name string, err error) bool {
	return That(name, err == nil, err)
}

// Equal is a check that holds when both values are equal and comparable.
func Equal(name string, got, want interface{}) bool {
	return That(name, got == want, fmt.Sprintf("got %v, want %v", got, want))
}

// Must ends the program when a step without which nothing else makes sense went wrong.
func Must(name string, err error) {
	if !NoError(name, err) {
		Done()
	}
}

// Within runs a body that must come back within the limit: a hang becomes a failed check and the
// end of the program instead of a timeout of the harness.
func Within(name string, limit time.Duration, body func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		body()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		That(name, false, "still running after ", limit)
		Done()
	}
}

// Done prints the counts and ends the program: 0 if every check held and there was at least one.
func Done() {
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
	os.Exit(0)
}
