package main

import (
	"io/ioutil"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	fSetSig, fGetSig     = 10, 11
	fSetOwnEx, fGetOwnEx = 15, 16
	ownerThread          = 0
	ownerProcess         = 1
	ownerGroup           = 2
	fioAsync             = 0x5452
	siocGetGroup         = 0x8904
	siocSetGroup         = 0x8902
	pollIn, pollOut      = 1, 2
	siKernel             = 0x80
)

func fcntl(fd, command int, argument uintptr) (int, error) {
	n, err := call(syscall.SYS_FCNTL, uintptr(fd), uintptr(command), argument)
	return int(n), err
}

func setAsync(fd int, on bool) error {
	flags, _ := fcntl(fd, syscall.F_GETFL, 0)
	flags &^= syscall.O_ASYNC
	if on {
		flags |= syscall.O_ASYNC
	}
	_, err := fcntl(fd, syscall.F_SETFL, uintptr(flags))
	return err
}

func isAsync(fd int) bool {
	flags, _ := fcntl(fd, syscall.F_GETFL, 0)
	return flags&syscall.O_ASYNC != 0
}

// owners: who is told by signals that a file became ready.
func owners() {
	ownersOfFiles()
	const s = syscall.Signal(46)
	blocked(bit(s)|bit(syscall.SIGIO), func() {
		var ends, pair [2]int
		check.NoError("owners: a pipe", syscall.Pipe(ends[:]))
		tells("pipe", s, ends[0], func() { syscall.Write(ends[1], []byte("x")) })
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		check.NoError("owners: two sockets", err)
		tells("socket", s, pair[0], func() { syscall.Write(pair[1], []byte("x")) })
		watch, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
		check.NoError("owners: inotify", err)
		folder, err := ioutil.TempDir("", "owners")
		check.NoError("owners: a folder", err)
		syscall.InotifyAddWatch(watch, folder, syscall.IN_CREATE)
		tells("inotify", s, watch, func() { ioutil.WriteFile(folder+"/"+time.Now().Format("05.000000000"), nil, 0o600) })
		os.RemoveAll(folder)
		syscall.Close(watch)
		for _, fd := range append(ends[:], pair[:]...) {
			syscall.Close(fd)
		}
		fullPipe(s)
	})
}

// ownersOfFiles: what is kept and reported, whatever the file is.
func ownersOfFiles() {
	file, err := ioutil.TempFile("", "owners")
	check.Must("owners: a file", err)
	defer os.Remove(file.Name())
	defer file.Close()
	fd, pid, tid := int(file.Fd()), os.Getpid(), uint32(syscall.Gettid())
	_, err = fcntl(fd, syscall.F_SETOWN, uintptr(pid))
	check.NoError("F_SETOWN", err)
	got, err := fcntl(fd, syscall.F_GETOWN, 0)
	check.That("F_GETOWN", got == pid && err == nil, got, err)
	both := [2]uint32{}
	ex := func(command int) error {
		_, err := fcntl(fd, command, at(unsafe.Pointer(&both)))
		return err
	}
	check.NoError("F_GETOWN_EX", ex(fGetOwnEx))
	check.Equal("F_GETOWN_EX: a process", both, [2]uint32{ownerProcess, uint32(pid)})
	both = [2]uint32{ownerThread, tid}
	check.NoError("F_SETOWN_EX: a thread", ex(fSetOwnEx))
	both = [2]uint32{7, 7}
	check.Equal("F_SETOWN_EX: no such kind", ex(fSetOwnEx), error(syscall.EINVAL))
	check.NoError("F_GETOWN_EX", ex(fGetOwnEx))
	check.Equal("F_GETOWN_EX: a thread", both, [2]uint32{ownerThread, tid})
	both = [2]uint32{ownerGroup, uint32(syscall.Getpgrp())}
	check.NoError("F_SETOWN_EX: a group", ex(fSetOwnEx))
	both = [2]uint32{ownerProcess, 4194000}
	check.Equal("F_SETOWN_EX: nobody of that number", ex(fSetOwnEx), error(syscall.ESRCH))
	_, err = fcntl(fd, syscall.F_SETOWN, 4194000)
	check.Equal("F_SETOWN: nobody of that number", err, error(syscall.ESRCH))
	_, err = fcntl(fd, syscall.F_SETOWN, 1<<31)
	check.Equal("F_SETOWN: the least number", err, error(syscall.EINVAL))
	_, err = fcntl(fd, syscall.F_SETOWN, 0)
	check.NoError("F_SETOWN: nobody", err)
	got, err = fcntl(fd, syscall.F_GETOWN, 0)
	check.That("F_GETOWN: nobody", got == 0 && err == nil, got, err)

	_, err = fcntl(fd, fSetSig, 65)
	check.Equal("F_SETSIG: no such signal", err, error(syscall.EINVAL))
	_, err = fcntl(fd, fSetSig, 40)
	check.NoError("F_SETSIG", err)
	got, _ = fcntl(fd, fGetSig, 0)
	check.Equal("F_GETSIG", got, 40)
	check.NoError("O_ASYNC of a file", setAsync(fd, true))
	check.That("O_ASYNC of a file is not kept", !isAsync(fd))
	on := int32(1)
	fails("FIOASYNC of a file", syscall.ENOTTY, syscall.SYS_IOCTL, uintptr(fd), fioAsync, at(unsafe.Pointer(&on)))
	fails("SIOCSPGRP of a file", syscall.ENOTTY, syscall.SYS_IOCTL, uintptr(fd), siocSetGroup, at(unsafe.Pointer(&on)))
}

// tells: an owner hears of what makes the file ready, in the way asked for.
func tells(name string, s syscall.Signal, fd int, ready func()) {
	set := bit(s) | bit(syscall.SIGIO)
	quiet := func(what string) {
		got, _, err := wait(set, 0)
		check.That("owners: "+name+": "+what, err == syscall.EAGAIN, got, err)
	}
	_, err := fcntl(fd, syscall.F_SETOWN, uintptr(os.Getpid()))
	check.NoError("owners: "+name, err)
	ready()
	quiet("not without O_ASYNC")
	check.NoError("owners: "+name+": O_ASYNC", setAsync(fd, true))
	check.That("owners: "+name+": it is kept", isAsync(fd))
	both := [2]uint32{ownerThread, uint32(syscall.Gettid())}
	fcntl(fd, fSetOwnEx, at(unsafe.Pointer(&both)))
	ready()
	got, info, err := wait(set, 10*time.Second)
	check.That("owners: "+name+": SIGIO", got == int(syscall.SIGIO) && err == nil, got, err)
	check.Equal("owners: "+name+": from the kernel", word(info[:], 8), int32(siKernel))
	_, err = fcntl(fd, fSetSig, uintptr(s))
	check.NoError("owners: "+name+": another signal", err)
	ready()
	got, info, err = wait(set, 10*time.Second)
	check.That("owners: "+name+": it comes", got == int(s) && err == nil, got, err)
	check.Equal("owners: "+name+": si_code", word(info[:], 8), int32(pollIn))
	check.Equal("owners: "+name+": si_band", word(info[:], 16), int32(0x41))
	check.Equal("owners: "+name+": si_fd", word(info[:], 24), int32(fd))
	off := int32(0)
	_, err = call(syscall.SYS_IOCTL, uintptr(fd), fioAsync, at(unsafe.Pointer(&off)))
	check.NoError("owners: "+name+": FIOASYNC", err)
	check.That("owners: "+name+": off", !isAsync(fd))
	for { // More than one may have come for one event.
		if _, _, err := wait(set, 0); err != nil {
			break
		}
	}
	ready()
	quiet("not any more")
	owner := int32(0)
	_, err = call(syscall.SYS_IOCTL, uintptr(fd), siocGetGroup, at(unsafe.Pointer(&owner)))
	if name == "socket" {
		check.That("owners: SIOCGPGRP", err == nil && owner == int32(syscall.Gettid()), owner, err)
	} else {
		check.Equal("owners: "+name+": SIOCGPGRP", err, error(syscall.ENOTTY))
	}
}

// fullPipe: who writes is told that there is room again, and that nobody reads any more.
func fullPipe(s syscall.Signal) {
	var ends [2]int
	check.NoError("owners: a full pipe", syscall.Pipe2(ends[:], syscall.O_NONBLOCK))
	both := [2]uint32{ownerThread, uint32(syscall.Gettid())}
	fcntl(ends[1], fSetOwnEx, at(unsafe.Pointer(&both)))
	fcntl(ends[1], fSetSig, uintptr(s))
	check.NoError("owners: a full pipe: O_ASYNC", setAsync(ends[1], true))
	buffer := make([]byte, 65536)
	n, err := syscall.Write(ends[1], buffer)
	check.That("owners: a full pipe: filled", n == 65536 && err == nil, n, err)
	syscall.Read(ends[0], buffer)
	got, info, err := wait(bit(s), 10*time.Second)
	check.That("owners: room again", got == int(s) && err == nil, got, err)
	check.Equal("owners: room again: si_code", word(info[:], 8), int32(pollOut))
	check.Equal("owners: room again: si_band", word(info[:], 16), int32(0x304))
	syscall.Close(ends[0])
	got, _, err = wait(bit(s), 10*time.Second)
	check.That("owners: nobody reads", got == int(s) && err == nil, got, err)
	syscall.Close(ends[1])
}
