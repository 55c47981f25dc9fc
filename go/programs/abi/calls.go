package main

import (
	"fmt"
	"math/rand"
	"os"
	"syscall"
	"unsafe"
)

func address(p *byte) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

func unmapStates(states []*state) {
	size := (int(unsafe.Sizeof(state{})) + 63) &^ 63 * len(states)
	pages := (size + 4095) &^ 4095
	syscall.RawSyscall(syscall.SYS_MUNMAP, uintptr(unsafe.Pointer(states[0])), uintptr(pages), 0)
}

// call is one system call and what it must answer.
type call struct {
	name   string
	number uint64
	args   []uint64
	want   func(result int64) bool
}

func errno(e syscall.Errno) func(int64) bool {
	return func(result int64) bool { return result == -int64(e) }
}

// orInterrupted: a signal with a handler (the collector's) ends these waits early.
func orInterrupted(want func(int64) bool) func(int64) bool {
	return func(result int64) bool { return want(result) || result == -int64(syscall.EINTR) }
}

func exactly(value int64) func(int64) bool { return func(result int64) bool { return result == value } }

func good(result int64) bool { return result >= 0 }

const argumentRegisters = 6

var argumentOrder = [argumentRegisters]int{rDI, rSI, rDX, r10, r8, r9}

// everyCall crosses with each of the calls; "" or what went wrong.
func everyCall(random *rand.Rand, level int) string {
	states := newStates(2)
	defer unmapStates(states)
	in, out := states[0], states[1]
	scratch := mapMemory(8192)
	defer syscall.Munmap(scratch)
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return err.Error()
	}
	defer syscall.Close(ends[0])
	defer syscall.Close(ends[1])
	for _, c := range calls(scratch, ends) {
		in.fill(random)
		in.general[rAX] = c.number
		for i, arg := range c.args {
			in.general[argumentOrder[i]] = arg
		}
		crossCall(in, out, uint64(level))
		result := int64(out.general[rAX])
		if !c.want(result) {
			return fmt.Sprint(c.name, ": result ", result)
		}
		// The instruction itself spoils rcx and r11; the result comes in rax.
		if difference := in.differs(out, level, rAX, rCX, r11) + out.threadDiffers(); difference != "" {
			return c.name + ": " + difference
		}
	}
	return ""
}

// calls are quick and sleeping ones, good and failing ones, with and without memory.
func calls(scratch []byte, ends [2]int) []call {
	at := address(&scratch[0])
	copy(scratch[1000:], "/no/such/file\x00")
	put := func(offset int, value uint64) uint64 {
		*(*uint64)(unsafe.Pointer(&scratch[offset])) = value
		return at + uint64(offset)
	}
	pause := put(0, 0)
	put(8, 1000000) // one millisecond
	word := put(32, 7)
	block := at + 4096
	reader, writer := uint64(ends[0]), uint64(ends[1])
	const bad = 1 << 46
	return []call{
		{"getpid", syscall.SYS_GETPID, nil, exactly(int64(os.Getpid()))},
		{"getppid", syscall.SYS_GETPPID, nil, good},
		{"gettid", syscall.SYS_GETTID, nil, func(result int64) bool { return result > 0 }},
		{"sched_yield", syscall.SYS_SCHED_YIELD, nil, exactly(0)},
		{"nanosleep", syscall.SYS_NANOSLEEP, []uint64{pause, 0}, orInterrupted(exactly(0))},
		{"futex wait, value differs", syscall.SYS_FUTEX, []uint64{word, 128, 8, 0}, errno(syscall.EAGAIN)},
		{"futex wait, time is up", syscall.SYS_FUTEX, []uint64{word, 128, 7, pause}, orInterrupted(errno(syscall.ETIMEDOUT))},
		{"futex wake", syscall.SYS_FUTEX, []uint64{word, 129, 1}, exactly(0)},
		{"write to a pipe", syscall.SYS_WRITE, []uint64{writer, block, 3000}, exactly(3000)},
		{"read from a pipe", syscall.SYS_READ, []uint64{reader, block, 4096}, exactly(3000)},
		{"mmap", syscall.SYS_MMAP, []uint64{0, 65536, 3, 0x22, ^uint64(0), 0}, good},
		{"mmap of nothing", syscall.SYS_MMAP, []uint64{0, 0, 3, 0x22, ^uint64(0), 0}, errno(syscall.EINVAL)},
		{"madvise", syscall.SYS_MADVISE, []uint64{block, 4096, 4}, exactly(0)},
		{"munmap, not aligned", syscall.SYS_MUNMAP, []uint64{at + 1, 4096}, errno(syscall.EINVAL)},
		{"read, no such file", syscall.SYS_READ, []uint64{12345, block, 10}, errno(syscall.EBADF)},
		{"write, no such memory", syscall.SYS_WRITE, []uint64{writer, bad, 10}, errno(syscall.EFAULT)},
		{"clock_gettime", syscall.SYS_CLOCK_GETTIME, []uint64{1, block}, exactly(0)},
		{"clock_gettime, no such memory", syscall.SYS_CLOCK_GETTIME, []uint64{1, bad}, errno(syscall.EFAULT)},
		{"getrandom", 318, []uint64{block, 100, 0}, exactly(100)},
		{"rt_sigprocmask", syscall.SYS_RT_SIGPROCMASK, []uint64{0, 0, block, 8}, exactly(0)},
		{"openat, no such file", syscall.SYS_OPENAT, []uint64{^uint64(99), at + 1000, 0, 0}, errno(syscall.ENOENT)},
		{"uname", syscall.SYS_UNAME, []uint64{block}, exactly(0)},
		{"sigaltstack", syscall.SYS_SIGALTSTACK, []uint64{0, block}, exactly(0)},
		{"epoll_ctl, no such file", syscall.SYS_EPOLL_CTL, []uint64{12345, 1, 0, block}, errno(syscall.EBADF)},
		{"an unknown call", 1000, []uint64{1, 2, 3, 4, 5, 6}, errno(syscall.ENOSYS)},
		{"call -1", ^uint64(0), nil, errno(syscall.ENOSYS)},
		{"call with high bits", 1<<32 + 1000, nil, errno(syscall.ENOSYS)},
	}
}
