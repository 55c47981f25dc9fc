package main

import (
	"os"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const sysSignalfd4 = 289

// signalDescriptor: a thread's own signals, read from a descriptor.
func signalDescriptor() {
	const first, second = syscall.Signal(43), syscall.Signal(44)
	blocked(bit(first)|bit(second), func() {
		set := bit(first)
		n, err := call(sysSignalfd4, ^uintptr(0), at(unsafe.Pointer(&set)), 8, syscall.O_NONBLOCK|syscall.O_CLOEXEC)
		check.NoError("signalfd", err)
		fd := int(n)
		defer syscall.Close(fd)
		var record [256]byte
		_, err = syscall.Read(fd, record[:])
		check.Equal("signalfd: nothing yet", err, error(syscall.EAGAIN))
		_, err = syscall.Read(fd, record[:127])
		check.Equal("signalfd: no room", err, error(syscall.EINVAL))
		_, err = syscall.Write(fd, record[:])
		check.Equal("signalfd: not for writing", err, error(syscall.EINVAL))

		poll, err := syscall.EpollCreate1(0)
		check.NoError("signalfd: epoll", err)
		defer syscall.Close(poll)
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		check.NoError("signalfd: epoll_ctl", syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &event))
		events := make([]syscall.EpollEvent, 2)
		ready, err := syscall.EpollWait(poll, events, 0)
		check.That("signalfd: not readable", ready == 0 && err == nil, ready, err)
		pid, tid := uintptr(os.Getpid()), uintptr(syscall.Gettid())
		call(syscall.SYS_TGKILL, pid, tid, uintptr(second))
		call(syscall.SYS_TGKILL, pid, tid, uintptr(first))
		ready, err = syscall.EpollWait(poll, events, 20000)
		check.That("signalfd: readable", ready == 1 && err == nil, ready, err)
		count, err := syscall.Read(fd, record[:])
		check.That("signalfd: one record", count == 128 && err == nil, count, err)
		check.Equal("signalfd: ssi_signo", word(record[:], 0), int32(first))
		check.Equal("signalfd: ssi_code", word(record[:], 8), int32(siTkill))
		check.Equal("signalfd: ssi_pid", word(record[:], 12), int32(pid))
		_, err = syscall.Read(fd, record[:])
		check.Equal("signalfd: the other is not in the set", err, error(syscall.EAGAIN))
		set = bit(second)
		again, err := call(sysSignalfd4, uintptr(fd), at(unsafe.Pointer(&set)), 8, 0)
		check.That("signalfd: another set", err == nil && int(again) == fd, again, err)
		call(syscall.SYS_TGKILL, pid, tid, uintptr(second))
		count, err = syscall.Read(fd, record[:])
		check.That("signalfd: two records", count == 256 && err == nil, count, err)

		fails("signalfd: size of the set", syscall.EINVAL, sysSignalfd4, ^uintptr(0), at(unsafe.Pointer(&set)), 4, 0)
		fails("signalfd: flags", syscall.EINVAL, sysSignalfd4, ^uintptr(0), at(unsafe.Pointer(&set)), 8, 1)
		fails("signalfd: no signalfd", syscall.EINVAL, sysSignalfd4, uintptr(poll), at(unsafe.Pointer(&set)), 8, 0)
		fails("signalfd: not open", syscall.EBADF, sysSignalfd4, 4711, at(unsafe.Pointer(&set)), 8, 0)
	})
}
