package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const noHugePage = 15 // MADV_NOHUGEPAGE

// pageFault touches 64 MiB of fresh memory page by page.
func pageFault() float64 {
	const size, page = 64 << 20, 4096
	var values []float64
	for k := 0; k < 3; k++ {
		m, err := syscall.Mmap(-1, 0, size,
			syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		check(err)
		syscall.Syscall(syscall.SYS_MADVISE, uintptr(unsafe.Pointer(&m[0])), size, noHugePage)
		start := time.Now()
		for i := 0; i < size; i += page {
			m[i] = 1
		}
		values = append(values, float64(time.Since(start))/(size/page))
		check(syscall.Munmap(m))
	}
	return median(values)
}

func mapUnmap() float64 {
	const size = 1 << 20
	return each(func(n int) {
		for i := 0; i < n; i++ {
			at, _, e := syscall.Syscall6(syscall.SYS_MMAP, 0, size,
				syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE,
				^uintptr(0), 0)
			if e != 0 {
				panic(e)
			}
			syscall.Syscall(syscall.SYS_MUNMAP, at, size, 0)
		}
	})
}

type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) size() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.size() + t.right.size()
}

// collectTrees allocates and drops four trees beside one that stays.
func collectTrees() []result {
	const depth, nodes = 16, 1<<17 - 1
	runtime.GC()
	start := time.Now()
	kept, sum := grow(depth), 0
	for i := 0; i < 4; i++ {
		sum += grow(depth).size()
	}
	took := time.Since(start).Seconds()
	if sum != 4*nodes || kept.size() != nodes {
		panic("a tree lost nodes")
	}
	return []result{{"gc_trees_16", took, "s"}}
}

// allocationScaling has two goroutines grow and drop trees on one processor, and then on all, beside
// a tree that stays: with next to nothing that stays, collections would follow one another so fast
// that stopping for them is what is measured.
func allocationScaling() []result {
	const depth, nodes, trees = 12, 1<<13 - 1, 200
	kept := grow(18)
	work := func(processors int) time.Duration {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		runtime.GC()
		var both sync.WaitGroup
		start := time.Now()
		for g := 0; g < 2; g++ {
			both.Add(1)
			go func() {
				defer both.Done()
				for i := 0; i < trees; i++ {
					if grow(depth).size() != nodes {
						panic("a tree lost nodes")
					}
				}
			}()
		}
		both.Wait()
		return time.Since(start)
	}
	work(runtime.NumCPU()) // The heap has its size from here on.
	alone := work(1)
	shared := work(runtime.NumCPU())
	if kept.size() != 1<<19-1 {
		panic("a tree lost nodes")
	}
	return []result{{"alloc_2p_speedup", float64(alone) / float64(shared), "x"}}
}

// preemptForCollection times collections while the program is idle, and while a goroutine loops
// without a call, which the runtime must preempt by a signal.
func preemptForCollection() []result {
	collect := func() float64 {
		var values []float64
		for i := 0; i < 20; i++ {
			start := time.Now()
			runtime.GC()
			values = append(values, float64(time.Since(start))/1e3)
		}
		return median(values)
	}
	idle := collect()
	var started, stop, stopped int32
	go func() {
		atomic.StoreInt32(&started, 1)
		for atomic.LoadInt32(&stop) == 0 {
		}
		atomic.StoreInt32(&stopped, 1)
	}()
	for atomic.LoadInt32(&started) == 0 {
		runtime.Gosched()
	}
	busy := collect()
	atomic.StoreInt32(&stop, 1)
	for atomic.LoadInt32(&stopped) == 0 {
		time.Sleep(time.Millisecond)
	}
	return []result{{"gc_idle", idle, "us"}, {"gc_preempt_tight_loop", busy, "us"}}
}
