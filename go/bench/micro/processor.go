package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// spin is work that needs nothing but the processor: n steps of a xorshift generator.
func spin(n int) uint64 {
	x := uint64(88172645463325252)
	for i := 0; i < n; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// processorScaling compares one goroutine with two that share the same work. The first two rows
// are the program's own: equal on every kernel, or the comparison is not fair.
func processorScaling() []result {
	n := 1 << 16
	var alone time.Duration
	for ; ; n *= 2 {
		start := time.Now()
		sink += spin(n)
		if alone = time.Since(start); alone >= span {
			break
		}
	}
	var both sync.WaitGroup
	start := time.Now()
	for g := 0; g < 2; g++ {
		both.Add(1)
		go func() {
			defer both.Done()
			atomic.AddUint64(&sink, spin(n/2))
		}()
	}
	both.Wait()
	shared := time.Since(start)
	return []result{
		{"cpu_1g_per_iter", float64(alone) / float64(n), "ns"},
		{"cpu_2g_per_iter", float64(shared) / float64(n), "ns"},
		{"cpu_2g_speedup", float64(alone) / float64(shared), "x"},
	}
}
