// Goroutines, channels and garbage collection under asynchronous preemption: goroutines in tight
// loops without a call can be stopped only by a signal (SIGURG by tgkill), so every collection
// below needs the kernel to deliver it and to restore the interrupted registers.
package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	fmt.Println("gc", runtime.Version(), "processors", runtime.GOMAXPROCS(0))
	check.Within("channels", 2*time.Minute, channels)
	check.Within("tight loops", 2*time.Minute, tightLoops)
	check.Within("one processor", 2*time.Minute, oneProcessor)
	check.Within("float loops", 2*time.Minute, floatLoops)
	check.Within("heap", 3*time.Minute, heap)
	check.Within("stacks", 2*time.Minute, stacks)
	check.Within("freed memory", 2*time.Minute, freedMemory)
	check.Within("finalizers", 2*time.Minute, finalizers)
	check.Done()
}

// channels: a pipeline of 500 goroutines through which 2,000 numbers go.
func channels() {
	first := make(chan int)
	last := first
	for i := 0; i < 500; i++ {
		next := make(chan int)
		go func(in, out chan int) {
			for v := range in {
				out <- v + 1
			}
			close(out)
		}(last, next)
		last = next
	}
	go func() {
		for i := 0; i < 2000; i++ {
			first <- i
		}
		close(first)
	}()
	sum, count := 0, 0
	for v := range last {
		sum += v
		count++
	}
	check.Equal("channels: count", count, 2000)
	check.Equal("channels: sum", sum, 2000*1999/2+2000*500)
}

var stop uint32

//go:noinline
func spin(rounds uint64) uint64 {
	a, b, c, d, e, f := uint64(1), uint64(2), uint64(3), uint64(5), uint64(7), uint64(11)
	for i := uint64(0); i < rounds; i++ {
		a, b, c, d, e, f = b+i, c^a, d+b, e^c, f+d, a^e
	}
	return a ^ b ^ c ^ d ^ e ^ f
}

// tightLoops: loops without calls on every processor while the collector wants to stop them; their
// results must equal those of an undisturbed run.
func tightLoops() {
	const rounds = 30000000
	want := spin(rounds)
	var group sync.WaitGroup
	var wrong, running int32
	for i := 0; i < 4*runtime.GOMAXPROCS(0); i++ {
		group.Add(1)
		atomic.AddInt32(&running, 1)
		go func() {
			defer group.Done()
			if spin(rounds) != want {
				atomic.AddInt32(&wrong, 1)
			}
			atomic.AddInt32(&running, -1)
		}()
	}
	collections := 0
	for atomic.LoadInt32(&running) > 0 {
		runtime.GC()
		collections++
	}
	group.Wait()
	check.That("tight loops: collections while they ran", collections > 0)
	check.Equal("tight loops: wrong results", wrong, int32(0))
}

// oneProcessor: an endless loop without calls on the only processor must not keep others off it.
func oneProcessor() {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	var counter uint64
	finished := make(chan struct{})
	go func() {
		for atomic.LoadUint32(&stop) == 0 {
			counter++
		}
		close(finished)
	}()
	for i := 0; i < 5; i++ {
		time.Sleep(time.Millisecond)
		runtime.GC()
	}
	atomic.StoreUint32(&stop, 1)
	<-finished
	check.That("one processor: the loop was preempted and stopped", counter > 0)
}

//go:noinline
func logistic(rounds int) float64 {
	x, y := 0.1, 0.7
	for i := 0; i < rounds; i++ {
		x = 3.9 * x * (1 - x)
		y = 3.7 * y * (1 - y)
	}
	return x + y
}

// floatLoops: the same for vector registers. A chaotic series shows one wrong bit at once.
func floatLoops() {
	const rounds = 5000000
	want := logistic(rounds)
	var group sync.WaitGroup
	var wrong, running int32
	for i := 0; i < 4*runtime.GOMAXPROCS(0); i++ {
		group.Add(1)
		atomic.AddInt32(&running, 1)
		go func() {
			defer group.Done()
			if logistic(rounds) != want {
				atomic.AddInt32(&wrong, 1)
			}
			atomic.AddInt32(&running, -1)
		}()
	}
	for atomic.LoadInt32(&running) > 0 {
		runtime.GC()
	}
	group.Wait()
	check.Equal("float loops: wrong results", wrong, int32(0))
}

type node struct {
	left, right *node
	value       int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{tree(depth - 1), tree(depth - 1), 1}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.left.sum() + n.right.sum() + n.value
}

// heap: allocation in many goroutines with a collector that runs all the time.
func heap() {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	keep := tree(14)
	var group sync.WaitGroup
	var wrong int32
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := 0; round < 25; round++ {
				if tree(10).sum() != 1<<11-1 {
					atomic.AddInt32(&wrong, 1)
				}
			}
		}()
	}
	group.Wait()
	check.Equal("heap: wrong trees", wrong, int32(0))
	check.Equal("heap: the kept tree", keep.sum(), 1<<15-1)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	check.That("heap: collections", stats.NumGC > 3, stats.NumGC)
}

func deep(depth int) int {
	var pad [256]byte
	pad[depth%256] = 1
	if depth == 0 {
		return int(pad[0])
	}
	return deep(depth-1) + int(pad[depth%256])
}

// stacks: goroutine stacks grow by copying, with pointers into them.
func stacks() {
	results := make(chan int)
	for i := 0; i < 8; i++ {
		go func() { results <- deep(5000) }()
	}
	for i := 0; i < 8; i++ {
		if got := <-results; got != 5001 {
			check.Equal("stacks: depth", got, 5001)
			return
		}
	}
	check.That("stacks: grown by copying", true)
}

// freedMemory: pages given back with madvise(MADV_DONTNEED) must read as zero when they are used
// again: the runtime does not clear what it knows to be fresh.
func freedMemory() {
	wrong := 0
	for round := 0; round < 4; round++ {
		blocks := make([][]byte, 4)
		for i := range blocks {
			block := make([]byte, 1<<20)
			for at := 0; at < len(block); at += 4096 {
				if block[at] != 0 {
					wrong++
				}
				block[at] = 0xff
			}
			blocks[i] = block
		}
		blocks = nil
		debug.FreeOSMemory()
	}
	check.Equal("freed memory: stale bytes", wrong, 0)
}

func finalizers() {
	done := make(chan bool, 1)
	func() {
		value := &node{left: &node{}, value: 7}
		runtime.SetFinalizer(value, func(*node) { done <- true })
	}()
	for i := 0; i < 100; i++ {
		runtime.GC()
		select {
		case <-done:
			check.That("finalizers: ran", true)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	check.That("finalizers: ran", false)
}
