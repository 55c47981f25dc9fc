// The Go contract: what a kernel must leave alone. Assembly fills every general register, every
// vector register (XMM, YMM or ZMM with opmasks, whatever the machine has), the x87 stack, MXCSR,
// the flags and looks at FS, and finds them unchanged across system calls, timer interrupts, page
// faults, other threads on the same processor and signals. What a signal handler writes into its
// context is what the thread gets.
//
// Built by Go 1.16 the assembly is entered by the stack ABI; by 1.17 and later through wrappers
// from the register ABI.
package main

import (
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func crossCall(in, out *state, level uint64)
func crossSpin(in, out *state, level uint64)
func crossTouch(in, out *state, level uint64)
func crossRead(in, out *state, level uint64)
func crossFault(in, out *state, level uint64)
func addresses() (handler, restorer, landing uintptr)
func vectorLevel() uint64
func callGo(a, b uint64) uint64

// Never called from Go: declared so that the linker knows that they have no arguments.
func handler()
func restorer()
func landing()
func faulting()

type crossing func(in, out *state, level uint64)

func main() {
	highest := int(vectorLevel())
	fmt.Println("abi", runtime.Version(), "vector registers of", vectorWidth[highest], "bytes, processors", runtime.NumCPU())
	check.Equal("assembly calls Go", callGo(40, 2), uint64(42))
	// Many threads shall share the processors by the kernel's choice, not by Go's: assembly keeps its
	// P, and the collector waits for it, so nothing here may wait for another goroutine in a call.
	runtime.GOMAXPROCS(4*runtime.NumCPU() + 8)
	runtime.LockOSThread()
	for level := 0; level <= highest; level++ {
		name := fmt.Sprintf("%d-byte vectors: ", vectorWidth[level])
		random := rand.New(rand.NewSource(int64(level) + 1))
		check.Within(name+"system calls", time.Minute, func() {
			runtime.LockOSThread()
			report(name+"system calls", everyCall(random, level))
		})
		check.That(name+"timer interrupts", spins(random, level, 150*time.Millisecond) == "", lastDifference)
		check.That(name+"page faults", touches(random, level) == "", lastDifference)
	}
	check.Within("threads", 3*time.Minute, func() { threads(highest) })
	check.Within("signals", 3*time.Minute, func() {
		runtime.LockOSThread()
		signals(highest)
	})
	check.Done()
}

var lastDifference string

func report(name, difference string) { check.That(name, difference == "", difference) }

// calledFromAssembly must find X15 zero (the compiler clears with it) and its own g.
//
//go:noinline
func calledFromAssembly(a, b uint64) uint64 {
	var zeroes [32]uint64
	use(&zeroes)
	for _, zero := range zeroes {
		a += zero
	}
	grown := make(chan uint64, 1)
	go func() { grown <- a + b }()
	return <-grown
}

//go:noinline
func use(*[32]uint64) {}

// spins holds patterns for at least so long in all, each a good deal longer than a timer tick.
func spins(random *rand.Rand, level int, atLeast time.Duration) string {
	states := newStates(2)
	in, out := states[0], states[1]
	rounds := uint64(1 << 20)
	started := time.Now()
	for time.Since(started) < atLeast {
		in.fill(random)
		in.general[rCX] = rounds
		one := time.Now()
		crossSpin(in, out, uint64(level))
		if time.Since(one) < 20*time.Millisecond && rounds < 1<<30 {
			rounds *= 2
		}
		if lastDifference = in.differs(out, level, rCX) + out.threadDiffers(); lastDifference != "" {
			return lastDifference
		}
	}
	return ""
}

// touches holds a pattern while 512 fresh pages are written, then while they are read.
func touches(random *rand.Rand, level int) string {
	const pages = 512
	states := newStates(2)
	in, out := states[0], states[1]
	for _, cross := range []crossing{crossTouch, crossRead} {
		memory := mapMemory(pages * 4096)
		in.fill(random)
		in.general[rCX] = pages
		in.general[rDI] = address(&memory[0])
		want := in.general[rDI] + pages*4096
		cross(in, out, uint64(level))
		difference := in.differs(out, level, rCX, rDI) + out.threadDiffers()
		if difference == "" && out.general[rDI] != want {
			difference = fmt.Sprintf("rdi: %#x instead of %#x", out.general[rDI], want)
		}
		syscall.Munmap(memory)
		if difference != "" {
			lastDifference = difference
			return difference
		}
	}
	return ""
}

// threads: four times as many threads as processors, each with patterns of its own, cross in all
// ways for a while; the collector stops them with signals meanwhile.
func threads(level int) {
	count := 4 * runtime.NumCPU()
	if count < 6 {
		count = 6
	}
	deadline := time.Now().Add(2 * time.Second)
	differences := make(chan string, count)
	var group sync.WaitGroup
	for i := 0; i < count; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			runtime.LockOSThread()
			random := rand.New(rand.NewSource(int64(i) + 100))
			for round := 0; round < 3 || time.Now().Before(deadline); round++ {
				own := (i + round) % (level + 1)
				difference := spinsOnce(random, own)
				if difference == "" {
					difference = touches(random, own)
				}
				if difference == "" {
					difference = everyCall(random, own)
				}
				if difference != "" {
					differences <- fmt.Sprint("thread ", i, ": ", difference)
					return
				}
			}
		}(i)
	}
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	group.Wait()
	close(stop)
	close(differences)
	report(fmt.Sprint("preemption: ", count, " threads"), <-differences)
}

func spinsOnce(random *rand.Rand, level int) string {
	states := newStates(2)
	defer unmapStates(states)
	in, out := states[0], states[1]
	in.fill(random)
	in.general[rCX] = 1 << 22
	crossSpin(in, out, uint64(level))
	return in.differs(out, level, rCX) + out.threadDiffers()
}
