// Many CPUs: that the program sees them, may choose among them, and that memory, clocks and wake-ups
// are the same on all of them.
//
//	-cpus N     how many there must be; without it, as many as there are
//	-threads N  so many threads alive at once
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const page = 4096

func main() {
	cpus := flag.Int("cpus", runtime.NumCPU(), "how many CPUs there must be")
	threads := flag.Int("threads", 200, "how many threads live at once")
	flag.Parse()
	check.Equal("runtime.NumCPU", runtime.NumCPU(), *cpus)
	check.Within("files", time.Minute, func() { files(*cpus) })
	check.Within("affinity", 5*time.Minute, func() { affinity(*cpus) })
	check.Within("clock", 5*time.Minute, func() { clock(*cpus) })
	check.Within("replaced page", 5*time.Minute, replaced)
	check.Within("protected page", 5*time.Minute, protected)
	check.Within("large pages", 5*time.Minute, largePages)
	check.Within("wake-ups", 5*time.Minute, wakeUps)
	check.Within("threads", 10*time.Minute, func() { manyThreads(*threads) })
	check.Done()
}

// files: what tells the number of CPUs.
func files(cpus int) {
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	check.NoError("read online", err)
	want := "0"
	if cpus > 1 {
		want = fmt.Sprintf("0-%d", cpus-1)
	}
	check.Equal("online", strings.TrimSpace(string(online)), want)
	info, err := os.ReadFile("/proc/cpuinfo")
	check.NoError("read cpuinfo", err)
	check.Equal("cpuinfo", strings.Count(string(info), "processor\t:"), cpus)
	stat, err := os.ReadFile("/proc/stat")
	check.NoError("read stat", err)
	check.Equal("stat", strings.Count(string(stat), "\ncpu"), cpus)
}

func setAffinity(thread int, mask uint64) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(thread), 8, uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return errno
	}
	return nil
}

func getAffinity(thread int) uint64 {
	var mask [128]uint64
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, uintptr(thread), unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return 0
	}
	return mask[0]
}

func onCPU() int {
	const getcpu = 309
	var cpu uint32
	_, _, errno := syscall.RawSyscall(getcpu, uintptr(unsafe.Pointer(&cpu)), 0, 0)
	if errno != 0 {
		return -1
	}
	return int(cpu)
}

// must is check.Must for what happens often: it says nothing when all is well.
func must(name string, err error) {
	if err != nil {
		check.Must(name, err)
	}
}

// pinned runs body on one CPU.
func pinned(cpu int, body func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := getAffinity(0)
	must("pin", setAffinity(0, 1<<uint(cpu)))
	body()
	must("unpin", setAffinity(0, before))
}

// affinity: a pinned thread stays where it is told to be, also when another thread moves it.
func affinity(cpus int) {
	all := getAffinity(0)
	check.Equal("sched_getaffinity", all, uint64(1)<<uint(cpus)-1)
	check.Equal("no CPU", setAffinity(0, 0), error(syscall.EINVAL))
	check.Equal("a CPU that is not there", setAffinity(0, 1<<63), error(syscall.EINVAL))
	wrong := 0
	for round := 0; round < 20; round++ {
		for cpu := 0; cpu < cpus; cpu++ {
			pinned(cpu, func() {
				if getAffinity(0) != 1<<uint(cpu) {
					wrong++
				}
				for i := 0; i < 20; i++ {
					if onCPU() != cpu {
						wrong++
					}
					time.Sleep(10 * time.Microsecond)
				}
			})
		}
	}
	check.Equal("pinned threads elsewhere", wrong, 0)

	var thread, where, stop int32
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		atomic.StoreInt32(&thread, int32(syscall.Gettid()))
		for atomic.LoadInt32(&stop) == 0 {
			atomic.StoreInt32(&where, int32(onCPU()))
		}
		close(done)
	}()
	for atomic.LoadInt32(&thread) == 0 {
		time.Sleep(time.Millisecond)
	}
	moved := true
	for cpu := 0; cpu < cpus; cpu++ {
		check.NoError("move", setAffinity(int(atomic.LoadInt32(&thread)), 1<<uint(cpu)))
		deadline := time.Now().Add(30 * time.Second)
		for atomic.LoadInt32(&where) != int32(cpu) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		moved = moved && atomic.LoadInt32(&where) == int32(cpu)
	}
	atomic.StoreInt32(&stop, 1)
	<-done
	check.That("moved threads", moved)
}

// clock: what one thread saw is never later than what another sees afterwards.
func clock(cpus int) {
	var latest int64
	var backwards int64
	began := time.Now()
	var group sync.WaitGroup
	for cpu := 0; cpu < cpus; cpu++ {
		cpu := cpu
		group.Add(1)
		go func() {
			defer group.Done()
			pinned(cpu, func() {
				for i := 0; i < 50000; i++ {
					seen := atomic.LoadInt64(&latest)
					now := int64(time.Since(began))
					if now < seen {
						atomic.AddInt64(&backwards, 1)
					}
					if now > seen {
						atomic.CompareAndSwapInt64(&latest, seen, now)
					}
				}
			})
		}()
	}
	group.Wait()
	check.Equal("steps back in time", backwards, int64(0))
}

// watch reads a word of a page that another CPU replaces, round by round: when it is the round's
// turn the word must be the round's number. Returns how often it was an old one.
func watch(word, turn, seen *uint64, rounds uint64) (stale uint64) {
	for round := uint64(1); round <= rounds; round++ {
		for atomic.LoadUint64(turn) != round {
			// Keeps the translation in use while the page is replaced.
			_ = atomic.LoadUint64(word)
		}
		if atomic.LoadUint64(word) != round {
			stale++
		}
		atomic.StoreUint64(seen, round)
	}
	return stale
}

// replaced: after a page was replaced, every CPU sees the new one.
func replaced() {
	const rounds = 3000
	memory, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.Must("map", err)
	at := uintptr(unsafe.Pointer(&memory[0]))
	word := (*uint64)(unsafe.Pointer(&memory[0]))
	var turn, seen, stale uint64
	var group sync.WaitGroup
	group.Add(1)
	go func() {
		defer group.Done()
		stale = watch(word, &turn, &seen, rounds)
	}()
	for round := uint64(1); round <= rounds; round++ {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_MMAP, at, page, syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_FIXED, ^uintptr(0), 0)
		if errno != 0 {
			must("replace", errno)
		}
		atomic.StoreUint64(word, round)
		atomic.StoreUint64(&turn, round)
		for atomic.LoadUint64(&seen) != round {
			runtime.Gosched()
		}
	}
	group.Wait()
	check.Equal("reads of a page that was gone", stale, uint64(0))
}

// protected: once mprotect has returned, no CPU writes any more.
func protected() {
	const rounds = 500
	memory, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.Must("map", err)
	word := (*uint64)(unsafe.Pointer(&memory[0]))
	var stop, faults int32
	write := func() {
		defer func() {
			if recover() != nil {
				atomic.AddInt32(&faults, 1)
			}
		}()
		for i := 0; i < 1000; i++ {
			atomic.AddUint64(word, 1)
		}
	}
	done := make(chan struct{})
	go func() {
		debug.SetPanicOnFault(true)
		for atomic.LoadInt32(&stop) == 0 {
			write()
		}
		close(done)
	}()
	late := 0
	for round := 0; round < rounds; round++ {
		must("protect", syscall.Mprotect(memory, syscall.PROT_READ))
		before := atomic.LoadUint64(word)
		for i := 0; i < 2000; i++ {
			if atomic.LoadUint64(word) != before {
				late++
				break
			}
		}
		must("unprotect", syscall.Mprotect(memory, syscall.PROT_READ|syscall.PROT_WRITE))
		for spin := 0; spin < 100 && atomic.LoadUint64(word) == before; spin++ {
			runtime.Gosched()
		}
	}
	atomic.StoreInt32(&stop, 1)
	<-done
	check.Equal("writes after mprotect", late, 0)
	fmt.Println("faults", atomic.LoadInt32(&faults))
}

// wakeUps: threads that wake each other, in rings, without losing one.
func wakeUps() {
	const rings, length, rounds = 4, 3, 3000
	var group sync.WaitGroup
	for ring := 0; ring < rings; ring++ {
		links := make([]chan int, length)
		for at := range links {
			links[at] = make(chan int)
		}
		for at := range links {
			in, out := links[at], links[(at+1)%length]
			first := at == 0
			group.Add(1)
			go func() {
				defer group.Done()
				runtime.LockOSThread()
				for i := 0; i < rounds; i++ {
					if first {
						out <- i
						<-in
					} else {
						out <- <-in
					}
				}
			}()
		}
	}
	finished := make(chan struct{})
	go func() {
		group.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		check.That("rings of threads", true)
	case <-time.After(4 * time.Minute):
		check.That("rings of threads", false, "stuck")
	}
}

// manyThreads: so many, all asleep, all woken.
func manyThreads(count int) {
	debug.SetMaxThreads(count + 1000)
	var ready, group sync.WaitGroup
	gate := make(chan struct{})
	var sum int64
	for i := 0; i < count; i++ {
		ready.Add(1)
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.LockOSThread()
			ready.Done()
			<-gate
			atomic.AddInt64(&sum, 1)
		}()
	}
	ready.Wait()
	status, err := os.ReadFile("/proc/self/status")
	check.NoError("read status", err)
	alive := 0
	for _, line := range strings.Split(string(status), "\n") {
		fmt.Sscanf(line, "Threads: %d", &alive)
	}
	check.That("threads alive", alive >= count, alive)
	close(gate)
	group.Wait()
	check.Equal("threads woken", sum, int64(count))
}
