package main

import (
	"bytes"
	"os"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// mapped: files in memory, private and shared, and what they look like from the other side.
func mapped() {
	page := os.Getpagesize()
	os.WriteFile("mapped", bytes.Repeat([]byte("m"), page+100), 0o644)
	file, err := os.OpenFile("mapped", os.O_RDWR, 0)
	check.Must("mapped: open", err)
	defer file.Close()
	descriptor := int(file.Fd())

	private, err := syscall.Mmap(descriptor, 0, page+100, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	check.Must("mapped: private", err)
	check.That("mapped: private: content", private[0] == 'm' && private[page+99] == 'm')
	private[0] = 'P'
	first := make([]byte, 1)
	file.ReadAt(first, 0)
	check.That("mapped: private: the file does not change", first[0] == 'm')
	check.NoError("mapped: unmap", syscall.Munmap(private))

	shared, err := syscall.Mmap(descriptor, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check.Must("mapped: shared", err)
	shared[1] = 'S'
	file.ReadAt(first, 1)
	check.That("mapped: shared: the file changes", first[0] == 'S')
	file.WriteAt([]byte("W"), int64(page))
	check.That("mapped: shared: sees the write", shared[page] == 'W')
	check.That("mapped: shared: zeroes after the end", shared[page+200] == 0)
	_, _, code := syscall.Syscall(syscall.SYS_MSYNC, uintptr(unsafe.Pointer(&shared[0])), uintptr(2*page), syscall.MS_SYNC)
	check.Equal("mapped: msync", code, syscall.Errno(0))
	check.NoError("mapped: unmap shared", syscall.Munmap(shared))

	readOnly, err := syscall.Mmap(descriptor, int64(page), 100, syscall.PROT_READ, syscall.MAP_SHARED)
	check.Must("mapped: second page", err)
	check.That("mapped: offset", readOnly[0] == 'W' && readOnly[1] == 'm')
	syscall.Munmap(readOnly)
	_, err = syscall.Mmap(descriptor, 100, 100, syscall.PROT_READ, syscall.MAP_SHARED)
	check.Equal("mapped: unaligned offset", err, syscall.EINVAL)
}

func locks() {
	os.WriteFile("locked", nil, 0o644)
	one, err := os.OpenFile("locked", os.O_RDWR, 0)
	check.Must("locks: open", err)
	defer one.Close()
	other, err := os.OpenFile("locked", os.O_RDWR, 0)
	check.Must("locks: open again", err)
	defer other.Close()
	a, b := int(one.Fd()), int(other.Fd())
	check.NoError("locks: exclusive", syscall.Flock(a, syscall.LOCK_EX|syscall.LOCK_NB))
	check.Equal("locks: refused", syscall.Flock(b, syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
	done := make(chan error, 1)
	go func() { done <- syscall.Flock(b, syscall.LOCK_EX) }()
	check.NoError("locks: unlock", syscall.Flock(a, syscall.LOCK_UN))
	check.NoError("locks: the waiter gets it", <-done)
	check.NoError("locks: shared after", syscall.Flock(b, syscall.LOCK_SH))
	check.NoError("locks: shared by both", syscall.Flock(a, syscall.LOCK_SH|syscall.LOCK_NB))
}

// vectors: calls that the os package does not make by itself.
func vectors() {
	file, err := os.Create("vectors")
	check.Must("vectors: create", err)
	defer file.Close()
	descriptor := file.Fd()
	one, two := []byte("first "), []byte("second")
	list := [2]syscall.Iovec{{Base: &one[0], Len: uint64(len(one))}, {Base: &two[0], Len: uint64(len(two))}}
	n, _, code := syscall.Syscall(syscall.SYS_WRITEV, descriptor, uintptr(unsafe.Pointer(&list)), 2)
	check.That("vectors: writev", code == 0 && n == 12, n, code)
	content("vectors: content", "vectors", "first second")
	copyOf, err := syscall.Dup(int(descriptor))
	check.Must("vectors: dup", err)
	offset, err := syscall.Seek(copyOf, 0, 1)
	check.That("vectors: dup shares the offset", err == nil && offset == 12, offset, err)
	check.NoError("vectors: close the copy", syscall.Close(copyOf))
	check.Equal("vectors: close it again", syscall.Close(copyOf), syscall.EBADF)
	flags, _, code := syscall.Syscall(syscall.SYS_FCNTL, descriptor, syscall.F_GETFL, 0)
	check.That("vectors: F_GETFL", code == 0 && flags&syscall.O_ACCMODE == syscall.O_RDWR, flags, code)
	flags, _, code = syscall.Syscall(syscall.SYS_FCNTL, descriptor, syscall.F_GETFD, 0)
	check.That("vectors: close on exec", code == 0 && flags&syscall.FD_CLOEXEC != 0, flags, code)
	_, _, code = syscall.Syscall(syscall.SYS_WRITE, descriptor, 8, 10)
	check.Equal("vectors: bad address", code, syscall.EFAULT)
}

func space() {
	var info syscall.Statfs_t
	check.NoError("space: statfs", syscall.Statfs(".", &info))
	check.That("space: blocks", info.Bsize > 0 && info.Blocks > 0 && info.Bavail <= info.Blocks, info.Blocks)
}
