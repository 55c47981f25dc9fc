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

// Each mix is worked on until it gave so many samples that chance does not matter. There are 100 in
// a second of processor time; an emulated machine loses what falls into the time in which its host
// runs something else, which may be most of it.
const (
	enough   = 1200
	workTime = 4 * time.Second
	longest  = 20 * workTime
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

// judge profiles a batch of work, which is heavy and light in the ratio 2 to 1, again and again.
func judge(name string, batch func()) {
	var heavy, light int64
	began := worked()
	for heavy+light < enough && worked() < began+longest {
		samples := profiled(func() { again(batch) })
		heavy += samples["main.heavy"]
		light += samples["main.light"]
	}
	ratio := float64(heavy) / float64(light)
	fmt.Printf("%s: heavy %d, light %d, ratio %.3f (work: 2)\n", name, heavy, light, ratio)
	check.That(name+": samples", heavy+light >= enough, heavy+light, " in ", worked()-began)
	check.That(name+": within 10 %", ratio > 1.8 && ratio < 2.2, ratio)
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
	judge("in turn", func() {
		heavy(2 * rounds)
		light(rounds)
	})
}

// together: three threads share what processors there are; each does its part to its end.
func together(rounds int) {
	judge("together", func() {
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
}

func main() {
	rounds := calibrate(60 * time.Millisecond)
	check.Within("in turn", 15*time.Minute, func() { inTurn(rounds) })
	check.Within("together", 15*time.Minute, func() { together(rounds) })
	check.Done()
}
