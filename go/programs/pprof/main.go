// The processor profile (runtime/pprof) of a known mix of work: SIGPROF by setitimer up to Go 1.17,
// by one timer_create a thread since.
package main

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// How long each mix is worked on, in time of the processor, and how many samples that must give at
// least: half of 100 a second, since an emulated machine loses some when its host does not run it.
const (
	workTime = 8 * time.Second
	fewest   = 400
)

var sink [3]uint64

//go:noinline
func heavy(rounds int) {
	sum := uint64(1)
	for i := 0; i < rounds; i++ {
		sum = sum*6364136223846793005 + uint64(i)
	}
	sink[0] += sum
}

//go:noinline
func light(rounds int) {
	sum := uint64(1)
	for i := 0; i < rounds; i++ {
		sum = sum*6364136223846793005 + uint64(i)
	}
	sink[1] += sum
}

// rounds that take about this long.
func calibrate(long time.Duration) int {
	rounds := 1 << 16
	for {
		began := worked()
		heavy(rounds)
		took := worked() - began
		if took > long/4 {
			return int(float64(rounds) * float64(long) / float64(took))
		}
		rounds *= 2
	}
}

// profiled runs the work and returns how many samples each function has.
func profiled(work func()) map[string]int64 {
	var file bytes.Buffer
	check.Must("the profile starts", pprof.StartCPUProfile(&file))
	work()
	pprof.StopCPUProfile()
	samples, err := decode(&file)
	check.Must("the profile is readable", err)
	return samples
}

func judge(name string, samples map[string]int64) {
	h, l := samples["main.heavy"], samples["main.light"]
	ratio := float64(h) / float64(l)
	fmt.Printf("%s: heavy %d, light %d, ratio %.3f (work: 2)\n", name, h, l, ratio)
	check.That(name+": samples", h+l >= fewest, h+l)
	// An emulated machine stands still when its host runs something else, in either function.
	check.That(name+": within 15 %", ratio > 1.7 && ratio < 2.3, ratio)
}

// worked is the processor time of the process.
func worked() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		check.Must("getrusage", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// again repeats a batch of work until it took long enough.
func again(batch func()) {
	for until := worked() + workTime; worked() < until; {
		batch()
	}
}

// inTurn: one goroutine, long stretches of one and the other.
func inTurn(rounds int) {
	judge("in turn", profiled(func() {
		again(func() {
			heavy(2 * rounds)
			light(rounds)
		})
	}))
}

// together: three threads share what processors there are; each does its part to its end.
func together(rounds int) {
	judge("together", profiled(func() {
		again(func() {
			var group sync.WaitGroup
			for _, work := range []func(int){heavy, light, heavy} {
				work := work
				group.Add(1)
				go func() {
					defer group.Done()
					runtime.LockOSThread()
					work(rounds)
				}()
			}
			group.Wait()
		})
	}))
}

func main() {
	rounds := calibrate(60 * time.Millisecond)
	check.Within("in turn", 5*time.Minute, func() { inTurn(rounds) })
	check.Within("together", 5*time.Minute, func() { together(rounds) })
	check.Done()
}
