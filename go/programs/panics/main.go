// Panics. Without an argument: everything that a program can recover from, judged by itself. With
// one, the program dies in the way named, and whoever started it judges exit status and output:
//
//	panic      exit 2, "panic: told to panic" and a goroutine trace on standard error
//	nil        exit 2, "invalid memory address or nil pointer dereference", "[signal SIGSEGV"
//	goroutine  exit 2, panic in another goroutine
//	deadlock   exit 2, "all goroutines are asleep - deadlock!"
//	goexit     exit 2, "no goroutines (main called runtime.Goexit) - deadlock!"
//	stack      exit 2, "stack overflow"
//	throw      exit 2, "unlock of unlocked mutex" (an error that cannot be recovered)
//	abort      dies of SIGABRT by GOTRACEBACK=crash
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	if len(os.Args) > 1 {
		die(os.Args[1])
		os.Exit(113)
	}
	check.Within("recovers", 2*time.Minute, recovers)
	check.Within("many nil dereferences", 2*time.Minute, manyNil)
	check.Within("faults in threads", 2*time.Minute, inThreads)
	check.Within("goexit", time.Minute, goexit)
	check.Done()
}

type big struct {
	pad  [1 << 12]byte
	last int
}

type huge struct {
	pad  [1 << 20]byte
	last int
}

//go:noinline
func divide(a, b int) int { return a / b }

// caught runs the body and returns the message of its panic.
func caught(body func()) (message string) {
	defer func() {
		if reason := recover(); reason != nil {
			message = fmt.Sprint(reason)
		}
	}()
	body()
	return "no panic"
}

func recovers() {
	var nothing *int
	var farther *big
	var farthest *huge
	var noMap map[string]int
	var noFunction func()
	var text interface{} = "text"
	slice := []int{1, 2, 3}
	index := len(os.Args) + 7
	zero := len(os.Args) - 1
	cases := []struct {
		name, want string
		body       func()
	}{
		{"nil read", "nil pointer dereference", func() { sink = *nothing }},
		{"nil write", "nil pointer dereference", func() { *nothing = 1 }},
		{"nil field one page on", "nil pointer dereference", func() { sink = farther.last }},
		{"nil field far on", "nil pointer dereference", func() { sink = farthest.last }},
		{"nil function", "nil pointer dereference", func() { noFunction() }},
		{"divide by zero", "integer divide by zero", func() { sink = divide(1, zero) }},
		{"index", "index out of range", func() { sink = slice[index] }},
		{"nil map", "assignment to entry in nil map", func() { noMap["a"] = 1 }},
		{"type", "interface conversion", func() { sink = text.(int) }},
		{"own", "own words", func() { panic("own words") }},
	}
	for _, c := range cases {
		got := caught(c.body)
		check.That("recover: "+c.name, strings.Contains(got, c.want), got)
	}
	// A fault at an address that is not nil is fatal unless asked for.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	got := caught(func() { sink = *pointerTo(0x7ff000000000) })
	check.That("recover: unmapped address", strings.Contains(got, "nil pointer dereference") ||
		strings.Contains(got, "unexpected fault"), got)
}

var sink int

func manyNil() {
	count := 0
	var nothing *int
	for i := 0; i < 2000; i++ {
		if caught(func() { sink = *nothing }) != "no panic" {
			count++
		}
	}
	check.Equal("many nil dereferences", count, 2000)
}

func inThreads() {
	results := make(chan bool)
	for i := 0; i < 8; i++ {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var nothing *big
			good := true
			for round := 0; round < 100; round++ {
				if !strings.Contains(caught(func() { sink = nothing.last }), "nil pointer") {
					good = false
				}
				runtime.Gosched()
			}
			results <- good
		}()
	}
	all := true
	for i := 0; i < 8; i++ {
		all = <-results && all
	}
	check.That("faults in threads", all)
}

func goexit() {
	done := make(chan string, 1)
	go func() {
		defer func() { done <- "deferred" }()
		runtime.Goexit()
	}()
	check.Equal("goexit: runs deferred calls", <-done, "deferred")
}

func die(how string) {
	switch how {
	case "panic":
		panic("told to panic")
	case "nil":
		var nothing *int
		sink = *nothing
	case "goroutine":
		go func() { panic("told to panic in a goroutine") }()
		time.Sleep(time.Minute)
	case "deadlock":
		<-make(chan int)
	case "goexit":
		runtime.Goexit()
	case "stack":
		debug.SetMaxStack(1 << 20)
		sink = endless(1)
	case "throw":
		throw()
	case "abort":
		debug.SetTraceback("crash")
		panic("told to abort")
	}
}

//go:noinline
func endless(n int) int {
	var pad [128]int
	pad[n%128] = n
	return endless(n+1) + pad[(n*7)%128]
}

func throw() {
	defer func() { recover() }()
	var mutex sync.Mutex
	mutex.Unlock()
}
