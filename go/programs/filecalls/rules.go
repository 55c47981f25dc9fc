package main

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// Constants that the syscall package lacks.
const (
	sysPreadv2  = 327
	sysPwritev2 = 328

	addSeals, getSeals   = 1033, 1034
	sealSeal, sealWrite  = 1, 8
	sealFutureWrite      = 16
	sealExec             = 32
	mfdAllowSealing      = 2
	mfdNoexecSeal        = 8
	rwfNowait, rwfAppend = 8, 16
	rwfNoAppend          = 32
	getOwnEx, getSignal  = 16, 11
	getLease, unlocked   = 1025, 2
	resolveBeneath       = 8
	resolveInRoot        = 0x10
	resolveCached        = 0x20
	atEmptyPath          = 0x1000
	tmpfile              = 0o20200000
	fionread             = 0x541b
)

// sealedMappings: seals against writing and mappings that share a file.
func sealedMappings() {
	fd := call(sysMemfdCreate, pointer("sealed"), mfdAllowSealing)
	check.That("sealed mappings: a file", fd >= 0, fd)
	check.Equal("sealed mappings: its length", call(syscall.SYS_FTRUNCATE, uintptr(fd), 8192), 0)
	share := func(protection int) ([]byte, error) {
		return syscall.Mmap(fd, 0, 4096, protection, syscall.MAP_SHARED)
	}
	both := syscall.PROT_READ | syscall.PROT_WRITE
	shared, err := share(both)
	check.NoError("sealed mappings: one to write through", err)
	seal := func(seals uintptr) int { return call(syscall.SYS_FCNTL, uintptr(fd), addSeals, seals) }
	check.Equal("sealed mappings: not while that is there", seal(sealWrite), -int(syscall.EBUSY))
	check.Equal("sealed mappings: for the future", seal(sealFutureWrite), 0)
	shared[0] = 1
	_, err = share(both)
	check.Equal("sealed mappings: no other one", err, error(syscall.EPERM))
	readable, err := share(syscall.PROT_READ)
	check.NoError("sealed mappings: one to read", err)
	check.Equal("sealed mappings: which stays so", syscall.Mprotect(readable, both), error(syscall.EACCES))
	check.NoError("sealed mappings: the end of the first", syscall.Munmap(shared))
	check.Equal("sealed mappings: now", seal(sealWrite), 0)
	private, err := syscall.Mmap(fd, 0, 4096, both, syscall.MAP_PRIVATE)
	check.NoError("sealed mappings: a copy", err)
	private[0] = 2
	check.Equal("sealed mappings: the file", readable[0], byte(1))
	syscall.Munmap(private)
	syscall.Munmap(readable)
	syscall.Close(fd)

	fd = call(sysMemfdCreate, pointer("plain"), mfdNoexecSeal)
	check.Equal("sealed against execution", call(syscall.SYS_FCNTL, uintptr(fd), getSeals, 0), sealExec)
	check.Equal("sealed against execution: chmod", call(syscall.SYS_FCHMOD, uintptr(fd), 0o777), -int(syscall.EPERM))
	syscall.Close(fd)
}

// vectorFlags: preadv2 and pwritev2.
func vectorFlags() {
	fd, err := syscall.Open("vectors", syscall.O_RDWR|syscall.O_CREAT|syscall.O_APPEND, 0o600)
	check.NoError("vector flags: a file", err)
	syscall.Write(fd, []byte("0123456789"))
	move := func(number uintptr, fd int, buffer []byte, offset, flags uintptr) int {
		piece := []syscall.Iovec{{Base: &buffer[0], Len: uint64(len(buffer))}}
		return call(number, uintptr(fd), uintptr(unsafe.Pointer(&piece[0])), 1, offset, 0, flags)
	}
	buffer := []byte("ab")
	check.Equal("vector flags: not to the end", move(sysPwritev2, fd, buffer, 4, rwfNoAppend), 2)
	check.Equal("vector flags: to the end", move(sysPwritev2, fd, buffer, 0, 0), 2)
	check.Equal("vector flags: both", move(sysPwritev2, fd, buffer, 0, rwfAppend|rwfNoAppend), -int(syscall.EINVAL))
	content := make([]byte, 20)
	check.Equal("vector flags: read", move(sysPreadv2, fd, content, 0, rwfAppend), 12)
	check.Equal("vector flags: content", string(content[:12]), "0123ab6789ab")
	check.Equal("vector flags: unknown", move(sysPreadv2, fd, content, 0, 1<<30), -int(syscall.EOPNOTSUPP))
	syscall.Close(fd)

	var ends [2]int
	check.NoError("vector flags: a pipe", syscall.Pipe(ends[:]))
	own := ^uintptr(0)
	check.Equal("vector flags: an empty pipe", move(sysPreadv2, ends[0], content, own, rwfNowait), -int(syscall.EAGAIN))
	check.Equal("vector flags: into a pipe", move(sysPwritev2, ends[1], buffer, own, rwfNowait), 2)
	check.Equal("vector flags: from a pipe", move(sysPreadv2, ends[0], content, own, rwfNowait), 2)
	syscall.Close(ends[0])
	syscall.Close(ends[1])
}

// ownFolder: openat2 with a folder as root.
func ownFolder() {
	check.NoError("folder as root", syscall.Mkdir("root", 0o700))
	check.NoError("folder as root: a folder in it", syscall.Mkdir("root/inner", 0o700))
	folder, err := syscall.Open("root", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	check.NoError("folder as root: opened", err)
	check.NoError("folder as root: a link", syscall.Symlink("/inner/../file", "root/link"))
	open := func(path string, flags, resolve uint64) int {
		how := [3]uint64{flags, 0, resolve}
		if flags&syscall.O_CREAT != 0 {
			how[1] = 0o600
		}
		fd := call(sysOpenat2, uintptr(folder), pointer(path), uintptr(unsafe.Pointer(&how)), 24)
		if fd >= 0 {
			syscall.Close(fd)
			return 0
		}
		return fd
	}
	check.Equal("folder as root: made", open("/../file", syscall.O_CREAT|syscall.O_RDWR, resolveInRoot), 0)
	check.Equal("folder as root: there", call(syscall.SYS_FACCESSAT, uintptr(folder), pointer("file"), 0), 0)
	check.Equal("folder as root: by the link", open("link", 0, resolveInRoot), 0)
	check.Equal("folder as root: nothing outside", open("/proc", 0, resolveInRoot), -int(syscall.ENOENT))
	check.Equal("folder as root: and beneath", open("file", 0, resolveInRoot|resolveBeneath), -int(syscall.EINVAL))
	check.Equal("looked up: made", open("new", syscall.O_CREAT|syscall.O_RDWR, resolveCached), -int(syscall.EAGAIN))
	check.Equal("looked up: cut", open("file", syscall.O_RDWR|syscall.O_TRUNC, resolveCached), -int(syscall.EAGAIN))
	syscall.Close(folder)
}

// namesForNothing: links to files without a name.
func namesForNothing() {
	link := func(fd int, name string) int {
		return call(syscall.SYS_LINKAT, uintptr(fd), pointer(""), atFdcwd, pointer(name), atEmptyPath)
	}
	unnamed := func(flags int) int {
		fd, err := syscall.Open(".", tmpfile|syscall.O_RDWR|flags, 0o600)
		check.NoError("file without a name", err)
		return fd
	}
	fd := unnamed(0)
	check.Equal("file without a name: gets one", link(fd, "named"), 0)
	check.Equal("file without a name: and another", link(fd, "named too"), 0)
	syscall.Unlink("named")
	syscall.Unlink("named too")
	check.Equal("file without a name: lost it", link(fd, "again"), -int(syscall.ENOENT))
	syscall.Close(fd)
	fd = unnamed(syscall.O_EXCL)
	check.Equal("file without a name: never", link(fd, "named"), -int(syscall.ENOENT))
	syscall.Close(fd)
}

// owners: what fcntl tells of a file that nobody is signalled for.
func owners() {
	fd, err := syscall.Open("owned", syscall.O_RDWR|syscall.O_CREAT, 0o600)
	check.NoError("owner", err)
	owner := [2]uint32{7, 7}
	check.Equal("owner", call(syscall.SYS_FCNTL, uintptr(fd), getOwnEx, uintptr(unsafe.Pointer(&owner))), 0)
	check.That("owner: nobody", owner == [2]uint32{}, owner)
	check.Equal("owner: signal", call(syscall.SYS_FCNTL, uintptr(fd), getSignal, 0), 0)
	check.Equal("lease: none", call(syscall.SYS_FCNTL, uintptr(fd), getLease, 0), unlocked)
	syscall.Close(fd)

	watch, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
	check.NoError("inotify", err)
	waiting := int32(-1)
	count := func() int32 {
		call(syscall.SYS_IOCTL, uintptr(watch), fionread, uintptr(unsafe.Pointer(&waiting)))
		return waiting
	}
	check.Equal("inotify: nothing waits", count(), int32(0))
	syscall.InotifyAddWatch(watch, ".", syscall.IN_CREATE)
	syscall.Mkdir("told", 0o700)
	check.Equal("inotify: an event waits", count(), int32(32))
	syscall.Close(watch)
}

// long has the kernel move many bytes in one call: other threads get their turn meanwhile.
func long() {
	from, err := syscall.Open("/dev/urandom", syscall.O_RDONLY, 0)
	check.Must("long: open /dev/urandom", err)
	to, err := syscall.Open("/dev/null", syscall.O_WRONLY, 0)
	check.Must("long: open /dev/null", err)
	const length = 64 << 20
	done := make(chan int)
	go func() {
		sent := 0
		for sent < length {
			got := call(syscall.SYS_SENDFILE, uintptr(to), uintptr(from), 0, uintptr(length-sent))
			if got <= 0 {
				break
			}
			sent += got
		}
		done <- sent
	}()
	turns, sent := 0, 0
	for sent == 0 {
		select {
		case sent = <-done:
		case <-time.After(time.Millisecond):
			turns++
		}
	}
	check.Equal("long: all is sent", sent, length)
	check.That("long: others run meanwhile", turns >= 5, turns)
	syscall.Close(from)
	syscall.Close(to)
}
