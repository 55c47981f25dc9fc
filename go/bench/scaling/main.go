// Command scaling tells how much more work two CPUs do than one. In each round one goroutine works
// alone, then as many as there are CPUs work side by side, each for the same time; both kinds of work take turns, so
// that what else happens on the host meets all of them.
//
//	scaling ROUNDS SECONDS
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sink keeps the compiler from leaving the work out.
var sink uint64

// compute is work for the processor alone: rounds of xorshift.
func compute(seed uint64) uint64 {
	x := seed | 1
	for i := 0; i < 1<<16; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) count() uint64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

// allocate is work for the allocator and the garbage collector: a tree of 4,095 nodes.
func allocate(uint64) uint64 { return grow(11).count() }

// rate is how many units of work a second some workers do.
func rate(workers int, window time.Duration, unit func(uint64) uint64) float64 {
	var group sync.WaitGroup
	var done uint64
	start := time.Now()
	for worker := 0; worker < workers; worker++ {
		group.Add(1)
		go func(seed uint64) {
			defer group.Done()
			units := uint64(0)
			for time.Since(start) < window {
				seed = unit(seed)
				units++
			}
			atomic.AddUint64(&sink, seed)
			atomic.AddUint64(&done, units)
		}(uint64(worker) + 7)
	}
	group.Wait()
	return float64(done) / time.Since(start).Seconds()
}

func main() {
	rounds, seconds := 5, 1.0
	if len(os.Args) == 3 {
		rounds, _ = strconv.Atoi(os.Args[1])
		seconds, _ = strconv.ParseFloat(os.Args[2], 64)
	}
	window := time.Duration(seconds * float64(time.Second))
	all := runtime.GOMAXPROCS(0)
	for round := 0; round < rounds; round++ {
		for _, work := range []struct {
			name string
			unit func(uint64) uint64
		}{{"compute", compute}, {"allocate", allocate}} {
			// The collector of a lone worker has the other CPU, unless it is taken away.
			runtime.GOMAXPROCS(1)
			one := rate(1, window, work.unit)
			runtime.GOMAXPROCS(all)
			fmt.Printf("scaling %s %d CPUs: %.3f\n", work.name, all, rate(all, window, work.unit)/one)
		}
	}
	fmt.Println("SCALING DONE")
}
