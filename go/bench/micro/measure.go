package main

import (
	"math"
	"runtime"
	"sort"
	"strconv"
	"time"
)

// span is how long the last repetition of a row runs at least.
const span = 200 * time.Millisecond

// sink keeps results alive that the compiler could drop.
var sink uint64

// check turns an error into the FAIL line of the row.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// each gives nanoseconds an operation of f, which does n of them: n grows until f takes span.
func each(f func(n int)) float64 {
	for n := 1; ; n *= 2 {
		start := time.Now()
		f(n)
		took := time.Since(start)
		if took >= span || n >= 1<<30 {
			return float64(took) / float64(n)
		}
		if took < span/16 { // far away: jump
			n *= 4
		}
	}
}

// eachAtBest is as each, but of the fastest among batches of a millisecond at least: for a row that
// the Go runtime interrupts by pauses of its own.
func eachAtBest(f func(n int)) float64 {
	n := 1
	for start := time.Now(); ; start = time.Now() {
		f(n)
		if time.Since(start) >= span/200 {
			break
		}
		n *= 2
	}
	best := math.Inf(1)
	for start := time.Now(); time.Since(start) < span; {
		before := time.Now()
		f(n)
		best = math.Min(best, float64(time.Since(before))/float64(n))
	}
	return best
}

func median(values []float64) float64 {
	sort.Float64s(values)
	return values[len(values)/2]
}

// digits shows at least four significant digits and never an exponent.
func digits(value float64) string {
	places := 0
	for x := value; places < 5 && x < 1000 && x > -1000; x *= 10 {
		places++
	}
	return strconv.FormatFloat(value, 'f', places, 64)
}

// onThread runs f in a goroutine that has an operating-system thread to itself.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread()
		f()
	}()
}
