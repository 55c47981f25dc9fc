package main

import (
	"fmt"
	"io/ioutil"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	madvPopulateRead  = 22
	madvPopulateWrite = 23
	madvCollapse      = 25
	madvGuardInstall  = 102
	madvGuardRemove   = 103
	sysProcessMadvise = 440
	guardPage         = 4096
)

// faults reports whether a touch is an error that the program is told of.
func faults(touch func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	touch()
	return
}

func advise(memory []byte, advice int) error {
	_, err := call(syscall.SYS_MADVISE, at(unsafe.Pointer(&memory[0])), uintptr(len(memory)), uintptr(advice))
	return err
}

var seen byte

// guards: MADV_GUARD_INSTALL and MADV_GUARD_REMOVE of Linux 6.13; older kernels do not know them.
func guards() {
	both := syscall.PROT_READ | syscall.PROT_WRITE
	memory, err := syscall.Mmap(-1, 0, 8*guardPage, both, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.NoError("guards: memory", err)
	for i := range memory {
		memory[i] = 7
	}
	guard := memory[2*guardPage : 4*guardPage]
	if err := advise(guard, madvGuardInstall); err == syscall.EINVAL {
		syscall.Munmap(memory)
		return
	} else {
		check.NoError("guards: install", err)
	}
	check.NoError("guards: install again", advise(guard, madvGuardInstall))
	check.That("guards: a read faults", faults(func() { seen = guard[0] }))
	check.That("guards: a write faults", faults(func() { guard[guardPage] = 1 }))
	check.That("guards: before and after it does not", !faults(func() { seen = memory[2*guardPage-1] + memory[4*guardPage] }))
	var ends [2]int
	check.NoError("guards: a pipe", syscall.Pipe(ends[:]))
	_, err = syscall.Write(ends[1], guard[:10])
	check.Equal("guards: the kernel may not read it", err, error(syscall.EFAULT))
	syscall.Write(ends[1], []byte("0123456789"))
	_, err = syscall.Read(ends[0], guard[:10])
	check.Equal("guards: nor write", err, error(syscall.EFAULT))
	n, err := syscall.Read(ends[0], memory[2*guardPage-4:2*guardPage+4])
	check.That("guards: up to it", n == 4 && err == nil || err == syscall.EFAULT, n, err)
	syscall.Close(ends[0])
	syscall.Close(ends[1])
	check.Equal("guards: cannot be populated", advise(memory, madvPopulateRead), error(syscall.EFAULT))
	check.NoError("guards: MADV_DONTNEED", advise(memory, syscall.MADV_DONTNEED))
	check.That("guards: stay", faults(func() { seen = guard[0] }))
	check.NoError("guards: mprotect", syscall.Mprotect(memory, syscall.PROT_NONE))
	check.NoError("guards: and back", syscall.Mprotect(memory, both))
	check.That("guards: stay all the same", faults(func() { seen = guard[0] }))
	maps, _ := ioutil.ReadFile("/proc/self/maps")
	start := at(unsafe.Pointer(&memory[0]))
	line := fmt.Sprintf("-%x rw-p", start+2*guardPage)
	check.That("guards: no border in maps", !strings.Contains(string(maps), line))
	check.NoError("guards: remove one page", advise(guard[:guardPage], madvGuardRemove))
	check.Equal("guards: zeros where it was", guard[0], byte(0))
	check.That("guards: the other page is one", faults(func() { seen = guard[guardPage] }))
	check.NoError("guards: remove all", advise(memory, madvGuardRemove))
	guard[guardPage] = 1
	check.NoError("guards: lock", syscall.Mlock(guard))
	check.Equal("guards: not in locked memory", advise(guard, madvGuardInstall), error(syscall.EINVAL))
	check.NoError("guards: none in locked memory", advise(guard, madvGuardRemove))
	syscall.Munlock(guard)
	check.NoError("guards: unmap a part", syscall.Munmap(memory)) // Go unmaps only all.
	_, err = call(syscall.SYS_MADVISE, start, guardPage, madvGuardInstall)
	check.Equal("guards: where nothing is", err, error(syscall.ENOMEM))
	guardedFile()
	ownAdvice()
}

// guardedFile: guards in shared memory do not change the file.
func guardedFile() {
	file, err := ioutil.TempFile("", "guards")
	check.Must("guards: a file", err)
	defer os.Remove(file.Name())
	defer file.Close()
	file.Write(make([]byte, 2*guardPage))
	shared, err := syscall.Mmap(int(file.Fd()), 0, 2*guardPage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check.NoError("guards: shared memory", err)
	shared[0] = 9
	if err := advise(shared[:guardPage], madvGuardInstall); err == syscall.EINVAL {
		syscall.Munmap(shared) // Linux 6.13 and 6.14.
		return
	}
	check.That("guards: shared memory faults", faults(func() { seen = shared[0] }))
	check.NoError("guards: remove from shared memory", advise(shared[:guardPage], madvGuardRemove))
	check.Equal("guards: the file is as it was", shared[0], byte(9))
	syscall.Munmap(shared)
}

// ownAdvice: process_madvise on the program itself, with any advice since Linux 6.13.
func ownAdvice() {
	n, err := call(sysPidfdOpen, uintptr(os.Getpid()), 0)
	check.NoError("process_madvise: a pidfd", err)
	defer syscall.Close(int(n))
	memory, err := syscall.Mmap(-1, 0, 4*guardPage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.NoError("process_madvise: memory", err)
	memory[0], memory[2*guardPage] = 1, 1
	pieces := []piece{pieceOf(memory[:guardPage]), pieceOf(memory[2*guardPage : 3*guardPage])}
	done, err := call(sysProcessMadvise, n, at(unsafe.Pointer(&pieces[0])), 2, syscall.MADV_DONTNEED, 0)
	check.That("process_madvise", done == 2*guardPage && err == nil, done, err)
	check.That("process_madvise: zeros", memory[0] == 0 && memory[2*guardPage] == 0)
	fails("process_madvise: flags", syscall.EINVAL, sysProcessMadvise, n, at(unsafe.Pointer(&pieces[0])), 2, syscall.MADV_DONTNEED, 1)
	fails("process_madvise: no such advice", syscall.EINVAL, sysProcessMadvise, n, at(unsafe.Pointer(&pieces[0])), 2, 99, 0)
	fails("process_madvise: no pidfd", syscall.EBADF, sysProcessMadvise, 0, at(unsafe.Pointer(&pieces[0])), 2, syscall.MADV_DONTNEED, 0)
	syscall.Munmap(memory)
}
