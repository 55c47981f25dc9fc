// Timers, tickers, sleeps, deadlines and clocks. Upper limits are generous: an emulated machine on a
// busy host is slow, but nothing may come early and nothing may be lost.
//
//	-many N    goroutines that sleep at once (1,000)
package main

import (
	"context"
	"flag"
	"runtime"
	"sort"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const late = 5 * time.Second

var sleepers = flag.Int("many", 1000, "goroutines that sleep at once")

func main() {
	flag.Parse()
	check.Within("sleep", time.Minute, sleep)
	check.Within("order", time.Minute, order)
	check.Within("ticker", time.Minute, ticker)
	check.Within("stop and reset", time.Minute, stopAndReset)
	check.Within("context", time.Minute, contexts)
	check.Within("many", 10*time.Minute, many)
	check.Within("clocks", time.Minute, clocks)
	check.Within("busy", time.Minute, busy)
	check.Done()
}

func sleep() {
	for _, want := range []time.Duration{time.Microsecond, time.Millisecond, 20 * time.Millisecond, 150 * time.Millisecond} {
		start := time.Now()
		time.Sleep(want)
		took := time.Since(start)
		check.That("sleep "+want.String(), took >= want && took < want+late, took)
	}
}

// order: timers set in random order fire in the order of their times.
func order() {
	var mutex sync.Mutex
	var group sync.WaitGroup
	var fired []int
	for _, n := range []int{5, 1, 4, 2, 3} {
		n := n
		group.Add(1)
		time.AfterFunc(time.Duration(n)*150*time.Millisecond, func() {
			defer group.Done()
			mutex.Lock()
			fired = append(fired, n)
			mutex.Unlock()
		})
	}
	group.Wait()
	check.That("order: earliest first", sort.IntsAreSorted(fired), fired)
}

func ticker() {
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	start := time.Now()
	for i := 0; i < 20; i++ {
		<-ticks.C
	}
	took := time.Since(start)
	// A tick can be taken late, which shortens the distance to the next: 19 whole periods hold.
	check.That("ticker: 20 ticks of 10 ms", took >= 190*time.Millisecond && took < 20*late, took)
}

func stopAndReset() {
	timer := time.NewTimer(time.Hour)
	check.That("stop: an hour's timer was pending", timer.Stop())
	timer.Reset(5 * time.Millisecond)
	<-timer.C
	check.That("reset: it fired", true)
	fired := make(chan bool, 1)
	stopped := time.AfterFunc(30*time.Millisecond, func() { fired <- true })
	check.That("stop: before it fires", stopped.Stop())
	select {
	case <-fired:
		check.That("stop: never fires", false)
	case <-time.After(100 * time.Millisecond):
		check.That("stop: never fires", true)
	}
}

func contexts() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	check.Equal("context: deadline", ctx.Err(), context.DeadlineExceeded)
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	<-ctx.Done()
	check.Equal("context: cancelled", ctx.Err(), context.Canceled)
}

// many: a thousand sleepers, none early, none lost.
func many() {
	results := make(chan bool, *sleepers)
	for i := 0; i < *sleepers; i++ {
		want := time.Duration(i%50) * time.Millisecond
		go func() {
			start := time.Now()
			time.Sleep(want)
			results <- time.Since(start) >= want
		}()
	}
	early := 0
	for i := 0; i < *sleepers; i++ {
		if !<-results {
			early++
		}
	}
	check.Equal("many: early sleepers", early, 0)
}

func clocks() {
	previous := time.Now()
	backwards := 0
	for i := 0; i < 100000; i++ {
		now := time.Now()
		if now.Sub(previous) < 0 {
			backwards++
		}
		previous = now
	}
	check.Equal("clocks: monotonic steps back", backwards, 0)
	year := time.Now().UTC().Year()
	check.That("clocks: the wall clock is set", year >= 2024 && year < 2100, year)
	wall, mono := time.Now().UnixNano(), time.Now()
	time.Sleep(200 * time.Millisecond)
	wallTook := time.Duration(time.Now().UnixNano() - wall)
	difference := wallTook - time.Since(mono)
	check.That("clocks: wall and monotonic agree", difference < 100*time.Millisecond && difference > -100*time.Millisecond, difference)
}

// busy: a timer fires while every processor runs a loop without calls.
func busy() {
	stop := make(chan struct{})
	for i := 0; i < 2*runtime.GOMAXPROCS(0); i++ {
		go func() {
			for n := uint64(0); ; n++ {
				if n%(1<<26) == 0 {
					select {
					case <-stop:
						return
					default:
					}
				}
			}
		}()
	}
	start := time.Now()
	time.Sleep(20 * time.Millisecond)
	took := time.Since(start)
	close(stop)
	check.That("busy: sleep returns", took >= 20*time.Millisecond && took < 10*late, took)
}
