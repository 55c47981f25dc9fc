package main

import (
	"fmt"
	"io/ioutil"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	sysPidfdSendSignal = 424
	sysPidfdOpen       = 434
	sysPidfdGetfd      = 438
	idPidfd            = 3
	waitExited         = 4
	siUser             = 0
)

// processDescriptor: a process as a descriptor, which here is the program itself.
func processDescriptor() {
	pid := uintptr(os.Getpid())
	n, err := call(sysPidfdOpen, pid, 0)
	check.NoError("pidfd_open", err)
	fd := int(n)
	defer syscall.Close(fd)
	flags, _ := fcntl(fd, syscall.F_GETFD, 0)
	check.Equal("pidfd: close-on-exec", flags, syscall.FD_CLOEXEC)
	flags, _ = fcntl(fd, syscall.F_GETFL, 0)
	check.Equal("pidfd: flags", flags&0x7fff, syscall.O_RDWR)
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	check.That("pidfd: its name", link == "anon_inode:[pidfd]" && err == nil, link, err)
	text, err := ioutil.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	check.That("pidfd: fdinfo", strings.Contains(string(text), fmt.Sprintf("\nPid:\t%d\n", pid)), string(text), err)
	ownInformation()
	var buffer [8]byte
	_, err = syscall.Read(fd, buffer[:])
	check.Equal("pidfd: read", err, error(syscall.EINVAL))
	_, err = syscall.Write(fd, buffer[:])
	check.Equal("pidfd: write", err, error(syscall.EINVAL))
	check.Equal("pidfd: the process has not ended", polled(fd, pollIn, 10*time.Millisecond), int16(0))
	fails("waitid: a pidfd, which is no child", syscall.ECHILD, syscall.SYS_WAITID, idPidfd, uintptr(fd), 0, waitExited, 0)
	fails("waitid: no pidfd", syscall.EBADF, syscall.SYS_WAITID, idPidfd, 0, 0, waitExited, 0)
	fails("waitid: no such descriptor", syscall.EBADF, syscall.SYS_WAITID, idPidfd, 4711, 0, waitExited, 0)
	fails("waitid: a negative one", syscall.EINVAL, syscall.SYS_WAITID, idPidfd, ^uintptr(0), 0, waitExited, 0)
	fails("waitid: no options", syscall.EINVAL, syscall.SYS_WAITID, idPidfd, uintptr(fd), 0, 0, 0)
	fails("waitid: unknown options", syscall.EINVAL, syscall.SYS_WAITID, 0, 0, 0, waitExited|0x10, 0)
	fails("waitid: no such kind", syscall.EINVAL, syscall.SYS_WAITID, 9, 0, 0, waitExited, 0)
	fails("waitid: any child", syscall.ECHILD, syscall.SYS_WAITID, 0, 0, 0, waitExited, 0)
	fails("wait4: unknown options", syscall.EINVAL, syscall.SYS_WAIT4, ^uintptr(0), 0, 0x100, 0)
	fails("wait4", syscall.ECHILD, syscall.SYS_WAIT4, ^uintptr(0), 0, 0, 0)
	fails("pidfd_open: flags", syscall.EINVAL, sysPidfdOpen, pid, 1)
	fails("pidfd_open: no number", syscall.EINVAL, sysPidfdOpen, 0, 0)
	fails("pidfd_open: nobody", syscall.ESRCH, sysPidfdOpen, 4194000, 0)
	n, err = call(sysPidfdOpen, pid, syscall.O_NONBLOCK)
	check.NoError("pidfd_open: not blocking", err)
	flags, _ = fcntl(int(n), syscall.F_GETFL, 0)
	check.That("pidfd: it is kept", flags&syscall.O_NONBLOCK != 0, flags)
	syscall.Close(int(n))
	descriptorsOf(fd)
	signalsTo(fd)
	threadDescriptor()
}

// ownInformation: an fdinfo file that tells of itself.
func ownInformation() {
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	check.NoError("fdinfo: a descriptor", err)
	own, err := syscall.Open(fmt.Sprintf("/proc/self/fdinfo/%d", null), syscall.O_RDONLY, 0)
	check.NoError("fdinfo: its file", err)
	_, err = call(syscall.SYS_DUP2, uintptr(own), uintptr(null))
	check.NoError("fdinfo: in its place", err)
	text := make([]byte, 200)
	n, err := syscall.Read(own, text)
	check.That("fdinfo: of itself", err == nil && strings.HasPrefix(string(text[:n]), "pos:\t0\nflags:\t"), n, err, string(text))
	syscall.Close(own)
	syscall.Close(null)
}

// descriptorsOf: pidfd_getfd.
func descriptorsOf(fd int) {
	var ends [2]int
	check.NoError("pidfd: a pipe", syscall.Pipe(ends[:]))
	n, err := call(sysPidfdGetfd, uintptr(fd), uintptr(ends[1]), 0)
	check.NoError("pidfd_getfd", err)
	flags, _ := fcntl(int(n), syscall.F_GETFD, 0)
	check.Equal("pidfd_getfd: close-on-exec", flags, syscall.FD_CLOEXEC)
	syscall.Close(ends[1])
	syscall.Write(int(n), []byte("x"))
	syscall.Close(int(n))
	var buffer [8]byte
	got, err := syscall.Read(ends[0], buffer[:])
	check.That("pidfd_getfd: the same file", got == 1 && err == nil, got, err)
	fails("pidfd_getfd: not open", syscall.EBADF, sysPidfdGetfd, uintptr(fd), 4711, 0)
	fails("pidfd_getfd: flags", syscall.EINVAL, sysPidfdGetfd, uintptr(fd), uintptr(ends[0]), 1)
	fails("pidfd_getfd: no pidfd", syscall.EBADF, sysPidfdGetfd, uintptr(ends[0]), uintptr(ends[0]), 0)
	syscall.Close(ends[0])
}

// signalsTo: pidfd_send_signal.
func signalsTo(fd int) {
	const s = syscall.Signal(47)
	blockedByAll := make(chan os.Signal, 4)
	_ = blockedByAll
	check.NoError("pidfd_send_signal: a probe", pidfdSignal(fd, 0, nil, 0))
	check.Equal("pidfd_send_signal: no such signal", pidfdSignal(fd, 65, nil, 0), error(syscall.EINVAL))
	check.Equal("pidfd_send_signal: flags", pidfdSignal(fd, 0, nil, 1<<20), error(syscall.EINVAL))
	check.Equal("pidfd_send_signal: no pidfd", pidfdSignal(0, 0, nil, 0), error(syscall.EBADF))
	folder, err := syscall.Open("/proc/self", syscall.O_DIRECTORY, 0)
	check.NoError("pidfd_send_signal: /proc/self", err)
	check.NoError("pidfd_send_signal: by /proc", pidfdSignal(folder, 0, nil, 0))
	syscall.Close(folder)
	withSignal("pidfd_send_signal: SIGUSR1", syscall.SIGUSR1, func() {
		check.NoError("pidfd_send_signal", pidfdSignal(fd, syscall.SIGUSR1, nil, 0))
	})
	var info [128]byte
	code := int32(siQueue)
	*(*int32)(unsafe.Pointer(&info[0])) = int32(s) + 1
	*(*int32)(unsafe.Pointer(&info[8])) = code
	check.Equal("pidfd_send_signal: another signal's", pidfdSignal(fd, s, &info, 0), error(syscall.EINVAL))
}

func pidfdSignal(fd int, s syscall.Signal, info *[128]byte, flags uintptr) error {
	_, err := call(sysPidfdSendSignal, uintptr(fd), uintptr(s), at(unsafe.Pointer(info)), flags)
	return err
}

// threadDescriptor: PIDFD_THREAD of Linux 6.9, which older kernels refuse.
func threadDescriptor() {
	started, leave := make(chan int), make(chan bool)
	go func() {
		runtime.LockOSThread() // It ends with the goroutine.
		started <- syscall.Gettid()
		<-leave
	}()
	tid := <-started
	_, err := call(sysPidfdOpen, uintptr(tid), 0)
	check.That("pidfd_open: a thread is no process", err == syscall.EINVAL || err == syscall.ENOENT, err)
	n, err := call(sysPidfdOpen, uintptr(tid), syscall.O_EXCL)
	if err == syscall.EINVAL {
		leave <- true
		return
	}
	check.NoError("pidfd_open: a thread", err)
	check.Equal("pidfd: the thread runs", polled(int(n), pollIn, 10*time.Millisecond), int16(0))
	leave <- true
	check.Equal("pidfd: the thread ended", polled(int(n), pollIn, 2*patience), int16(0x11))
	check.Equal("pidfd: nobody to send to", pidfdSignal(int(n), 0, nil, 0), error(syscall.ESRCH))
	fails("pidfd_getfd: of nobody", syscall.ESRCH, sysPidfdGetfd, n, 0, 0)
	syscall.Close(int(n))
}
