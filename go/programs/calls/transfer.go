package main

import (
	"bytes"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	sysVmsplice       = 278
	sysProcessVMRead  = 310
	sysProcessVMWrite = 311
	sysClockAdjtime   = 305
	spliceNonblock    = 2
)

type piece struct {
	base   *byte
	length uint64
}

func pieceOf(b []byte) piece { return piece{&b[0], uint64(len(b))} }

// vmsplice: memory into a pipe, and out of one.
func vmsplice() {
	var ends [2]int
	check.Must("vmsplice: pipe", syscall.Pipe(ends[:]))
	defer syscall.Close(ends[0])
	pieces := []piece{pieceOf([]byte("hello ")), pieceOf([]byte("pipe"))}
	n, err := call(sysVmsplice, uintptr(ends[1]), at(unsafe.Pointer(&pieces[0])), 2, 0)
	check.That("vmsplice: in", n == 10 && err == nil, n, err)
	buffer := make([]byte, 20)
	pieces = []piece{pieceOf(buffer[:3]), pieceOf(buffer[3:])}
	n, err = call(sysVmsplice, uintptr(ends[0]), at(unsafe.Pointer(&pieces[0])), 2, 0)
	check.That("vmsplice: out", n == 10 && err == nil && string(buffer[:10]) == "hello pipe", n, err, buffer)
	fails("vmsplice: nothing yet", syscall.EAGAIN, sysVmsplice, uintptr(ends[0]), at(unsafe.Pointer(&pieces[0])), 2, spliceNonblock)
	fails("vmsplice: flags", syscall.EINVAL, sysVmsplice, uintptr(ends[0]), at(unsafe.Pointer(&pieces[0])), 2, 16)
	file, err := os.Open(os.Args[0])
	check.Must("vmsplice: a file", err)
	defer file.Close()
	fails("vmsplice: no pipe", syscall.EBADF, sysVmsplice, file.Fd(), at(unsafe.Pointer(&pieces[0])), 2, 0)
	large := []piece{pieceOf(make([]byte, 1<<20))}
	n, err = call(sysVmsplice, uintptr(ends[1]), at(unsafe.Pointer(&large[0])), 1, spliceNonblock)
	check.That("vmsplice: as much as there is room", err == nil && n > 0 && n <= 65536, n, err)
	syscall.Close(ends[1])
	runtime.KeepAlive(buffer)
}

// ownMemory: process_vm_readv and process_vm_writev on the own process.
func ownMemory() {
	pid := uintptr(os.Getpid())
	from, to := bytes.Repeat([]byte("abcdefg"), 700), make([]byte, 4900)
	remote := []piece{pieceOf(from[:1]), pieceOf(from[1:4000]), pieceOf(from[4000:])}
	local := []piece{pieceOf(to[:3000]), pieceOf(to[3000:])}
	localAt, remoteAt := func() uintptr { return at(unsafe.Pointer(&local[0])) }, func() uintptr { return at(unsafe.Pointer(&remote[0])) }
	n, err := call(sysProcessVMRead, pid, localAt(), 2, remoteAt(), 3, 0)
	check.That("process_vm_readv", n == 4900 && err == nil && bytes.Equal(from, to), n, err)
	for i := range to {
		to[i] = byte(i)
	}
	n, err = call(sysProcessVMWrite, pid, localAt(), 2, remoteAt(), 3, 0)
	check.That("process_vm_writev", n == 4900 && err == nil && bytes.Equal(from, to), n, err)
	fails("process_vm_readv: flags", syscall.EINVAL, sysProcessVMRead, pid, localAt(), 2, remoteAt(), 3, 1)
	fails("process_vm_readv: nobody", syscall.ESRCH, sysProcessVMRead, 1<<22-1, localAt(), 2, remoteAt(), 3, 0)
	mapped, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.Must("process_vm_readv: mmap", err)
	check.NoError("process_vm_readv: mprotect", syscall.Mprotect(mapped[4096:], syscall.PROT_NONE))
	remote = []piece{pieceOf(mapped[4000:4096]), {&mapped[4096], 100}}
	n, err = call(sysProcessVMRead, pid, localAt(), 2, remoteAt(), 2, 0)
	check.That("process_vm_readv: up to the hole", n == 96 && err == nil, n, err)
	remote = remote[1:]
	fails("process_vm_readv: the hole", syscall.EFAULT, sysProcessVMRead, pid, localAt(), 2, remoteAt(), 1, 0)
	syscall.Munmap(mapped)
	runtime.KeepAlive(from)
}

// niceness belongs to a thread, and the raw call gives 20 less it.
func niceness() {
	apart(func() {
		got, err := call(syscall.SYS_GETPRIORITY, 0, 0)
		check.That("getpriority", got == 20 && err == nil, got, err)
		_, err = call(syscall.SYS_SETPRIORITY, 0, 0, 5)
		check.NoError("setpriority", err)
		got, _ = call(syscall.SYS_GETPRIORITY, 0, 0)
		check.Equal("getpriority: 5", int(got), 15)
		_, err = call(syscall.SYS_SETPRIORITY, 0, uintptr(syscall.Gettid()), 100)
		check.NoError("setpriority: more than there is", err)
		got, _ = call(syscall.SYS_GETPRIORITY, 0, uintptr(syscall.Gettid()))
		check.Equal("getpriority: 19", int(got), 1)
	})
	got, _ := call(syscall.SYS_GETPRIORITY, 0, 0)
	check.Equal("getpriority: another thread", int(got), 20)
	fails("getpriority: nobody", syscall.ESRCH, syscall.SYS_GETPRIORITY, 0, 1<<22-1)
	fails("getpriority: of what", syscall.EINVAL, syscall.SYS_GETPRIORITY, 3, 0)
	var timex syscall.Timex
	state, err := syscall.Adjtimex(&timex)
	check.That("adjtimex", err == nil && state >= 0 && state <= 5, state, err)
	check.That("adjtimex: a tick", timex.Tick >= 9000 && timex.Tick <= 11000, timex.Tick)
	check.That("adjtimex: the time", timex.Time.Sec > 1600000000, timex.Time.Sec)
	fails("clock_adjtime: no such clock", syscall.EINVAL, sysClockAdjtime, 99, at(unsafe.Pointer(&timex)))
	fails("clock_adjtime: the monotonic clock", syscall.EOPNOTSUPP, sysClockAdjtime, clockMonotonic, at(unsafe.Pointer(&timex)))
}
