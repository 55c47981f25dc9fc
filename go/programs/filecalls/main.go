// File calls that Go's own packages do not make: poll and select, splice and tee, locks of byte ranges,
// timers and memory files as descriptors, extended attributes, inotify, sockets in flight. Errors are
// part of the check, so the program must pass on Linux first. Arguments: [-dir folder to work in] (made and removed).
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// Numbers that the syscall package of Go 1.16 lacks or names differently.
const (
	sysTimerfdCreate  = 283
	sysTimerfdSettime = 286
	sysTimerfdGettime = 287
	sysPreadv         = 295
	sysPwritev        = 296
	sysRenameat2      = 316
	sysMemfdCreate    = 319
	sysCopyFileRange  = 326
	sysStatx          = 332
	sysCloseRange     = 436
	sysOpenat2        = 437
	sysFaccessat2     = 439
	sysEpollPwait2    = 441

	atFdcwd = ^uintptr(99)
)

func main() {
	dir := flag.String("dir", fmt.Sprint("/tmp/filecalls-test-", os.Getpid()), "folder to work in")
	flag.Parse()
	os.RemoveAll(*dir)
	check.Must("make the folder", os.MkdirAll(*dir, 0o755))
	check.Must("enter the folder", os.Chdir(*dir))
	for _, part := range []struct {
		name string
		body func()
	}{
		{"poll", poll}, {"select", selects}, {"splice", splice}, {"record locks", recordLocks},
		{"timerfd", timerfd}, {"memfd", memfd}, {"attributes", attributes}, {"inotify", inotify}, {"watches end", watchesEnd}, {"entries", entries}, {"times", times},
		{"openat2", openat2}, {"statx", statx}, {"descriptors", descriptors}, {"vectors", vectors},
		{"rename", rename}, {"copy", copyRange}, {"blocking", blocking}, {"events", events},
		{"sealed mappings", sealedMappings}, {"vector flags", vectorFlags}, {"folder as root", ownFolder},
		{"names", namesForNothing}, {"packets", packets}, {"whiteout", whiteout}, {"owners", owners}, {"in flight", inFlight}, {"permissions", permissions},
		{"length limit", lengthLimit}, {"long", long},
	} {
		check.Within(part.name, time.Minute, part.body)
	}
	check.NoError("leave the folder", os.Chdir("/"))
	check.NoError("remove all", os.RemoveAll(*dir))
	check.Done()
}

// call makes a system call and gives its result or the error's number as a negative one.
func call(number uintptr, arguments ...uintptr) int {
	var a [6]uintptr
	copy(a[:], arguments)
	result, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return -int(errno)
	}
	return int(result)
}

func pointer(text string) uintptr {
	bytes, err := syscall.BytePtrFromString(text)
	if err != nil {
		panic(err)
	}
	// The strings of this program are few: none is collected while a call may read it.
	kept = append(kept, bytes)
	return uintptr(unsafe.Pointer(bytes))
}

var kept []*byte

func address(value interface{}) uintptr {
	keptValues = append(keptValues, value)
	switch value := value.(type) {
	case []byte:
		return uintptr(unsafe.Pointer(&value[0]))
	case *[2]int32:
		return uintptr(unsafe.Pointer(value))
	case *[4]int64:
		return uintptr(unsafe.Pointer(value))
	case *[2]int64:
		return uintptr(unsafe.Pointer(value))
	case *[16]int64:
		return uintptr(unsafe.Pointer(value))
	case *int64:
		return uintptr(unsafe.Pointer(value))
	case *[2]pollFd:
		return uintptr(unsafe.Pointer(value))
	case *[2]syscall.Iovec:
		return uintptr(unsafe.Pointer(value))
	case *syscall.Flock_t:
		return uintptr(unsafe.Pointer(value))
	case *[3]uint64:
		return uintptr(unsafe.Pointer(value))
	case *statxBuffer:
		return uintptr(unsafe.Pointer(value))
	case *syscall.EpollEvent:
		return uintptr(unsafe.Pointer(value))
	}
	panic(fmt.Sprintf("no address for %T", value))
}

// Everything whose address was taken lives on: pointers go through uintptr here.
var keptValues []interface{}

func pipe(flags int) (int, int) {
	var ends [2]int
	check.Must("pipe2", syscall.Pipe2(ends[:], flags))
	return ends[0], ends[1]
}

func errno(number syscall.Errno) int { return -int(number) }

type pollFd struct {
	fd      int32
	events  int16
	revents int16
}

func poll() {
	r, w := pipe(0)
	fds := &[2]pollFd{{int32(r), 1, 0}, {int32(w), 5, 0}}
	check.Equal("poll: the writer is ready", call(syscall.SYS_POLL, address(fds), 2, 0), 1)
	check.Equal("poll: for writing", fds[1].revents, int16(4))
	syscall.Write(w, []byte("x"))
	check.Equal("poll: both are ready", call(syscall.SYS_POLL, address(fds), 2, ^uintptr(0)), 2)
	check.Equal("poll: for reading", fds[0].revents, int16(1))
	one := []byte{0}
	syscall.Read(r, one)
	start := time.Now()
	check.Equal("poll: time passes", call(syscall.SYS_POLL, address(fds), 1, 30), 0)
	check.That("poll: as long as asked", time.Since(start) >= 30*time.Millisecond, time.Since(start))
	syscall.Close(w)
	check.Equal("poll: hang-up counts", call(syscall.SYS_POLL, address(fds), 1, 0), 1)
	check.Equal("poll: hang-up", fds[0].revents, int16(0x10))
	check.Equal("poll: a closed one", call(syscall.SYS_POLL, address(fds), 2, 0), 2)
	check.Equal("poll: is not valid", fds[1].revents, int16(0x20))
	regular := file("polled", "")
	fds[0] = pollFd{int32(regular), 0x145, 0}
	check.Equal("poll: a file is always ready", call(syscall.SYS_POLL, address(fds), 1, 0), 1)
	check.Equal("poll: by all names", fds[0].revents, int16(0x145))
	syscall.Close(regular)
	fds[0].fd = -1
	fds[1].fd = -1
	check.Equal("poll: negative ones are skipped", call(syscall.SYS_POLL, address(fds), 2, 0), 0)
	timeout := &[2]int64{0, 1000000000}
	check.Equal("ppoll: bad time", call(syscall.SYS_PPOLL, address(fds), 2, address(timeout)), errno(syscall.EINVAL))
	syscall.Close(r)

	// A sleeper is woken by another thread.
	r, w = pipe(0)
	go func() {
		time.Sleep(20 * time.Millisecond)
		syscall.Write(w, []byte("y"))
	}()
	fds[0] = pollFd{int32(r), 1, 0}
	check.Equal("poll: woken", call(syscall.SYS_POLL, address(fds), 1, ^uintptr(0)), 1)
	syscall.Close(r)
	syscall.Close(w)
}

func selects() {
	r, w := pipe(0)
	set := func(fd int) *[16]int64 {
		var bits [16]int64
		bits[fd/64] |= 1 << (uint(fd) % 64)
		return &bits
	}
	reads, writes := set(r), set(w)
	zero := &[2]int64{0, 0}
	count := uintptr(w + 1)
	if r > w {
		count = uintptr(r + 1)
	}
	got := call(syscall.SYS_SELECT, count, address(reads), address(writes), 0, address(zero))
	check.Equal("select: one is ready", got, 1)
	check.Equal("select: not the reader", *reads, [16]int64{})
	check.Equal("select: but the writer", *writes, *set(w))
	syscall.Write(w, []byte("x"))
	reads = set(r)
	got = call(syscall.SYS_PSELECT6, count, address(reads), 0, 0, 0, 0)
	check.Equal("pselect6: the reader", got, 1)
	one := []byte{0}
	syscall.Read(r, one)
	reads = set(r)
	left := &[2]int64{0, 20000}
	check.Equal("select: time passes", call(syscall.SYS_SELECT, count, address(reads), 0, 0, address(left)), 0)
	check.Equal("select: none is left", *left, [2]int64{0, 0})
	syscall.Close(r)
	reads = set(r)
	got = call(syscall.SYS_SELECT, count, address(reads), 0, 0, address(zero))
	check.Equal("select: closed", got, errno(syscall.EBADF))
	syscall.Close(w)
}

func file(name string, content string) int {
	fd, err := syscall.Open(name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
	check.Must("create "+name, err)
	if content != "" {
		syscall.Write(fd, []byte(content))
		syscall.Seek(fd, 0, 0)
	}
	return fd
}

func contents(fd int) string {
	buffer := make([]byte, 100)
	count, err := syscall.Pread(fd, buffer, 0)
	if err != nil {
		return err.Error()
	}
	return string(buffer[:count])
}

func splice() {
	r, w := pipe(syscall.O_NONBLOCK)
	r2, w2 := pipe(syscall.O_NONBLOCK)
	from, to := file("from", "0123456789"), file("to", "")
	check.Equal("splice: file to pipe", call(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(w), 0, 6, 0), 6)
	check.Equal("tee", call(syscall.SYS_TEE, uintptr(r), uintptr(w2), 100, 0), 6)
	check.Equal("splice: pipe to file", call(syscall.SYS_SPLICE, uintptr(r), 0, uintptr(to), 0, 4, 0), 4)
	check.Equal("splice: content", contents(to), "0123")
	check.Equal("splice: pipe to pipe", call(syscall.SYS_SPLICE, uintptr(r), 0, uintptr(w2), 0, 100, 0), 2)
	buffer := make([]byte, 20)
	count, _ := syscall.Read(r2, buffer)
	check.Equal("splice: all in order", string(buffer[:count]), "01234545")
	got := call(syscall.SYS_SPLICE, uintptr(r), 0, uintptr(to), 0, 4, 2)
	check.Equal("splice: nothing yet", got, errno(syscall.EAGAIN))
	offset := new(int64)
	*offset = 8
	got = call(syscall.SYS_SPLICE, uintptr(from), address(offset), uintptr(w), 0, 100, 0)
	check.Equal("splice: from an offset", got, 2)
	check.Equal("splice: which moves", *offset, int64(10))
	got = call(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, 4, 0)
	check.Equal("splice: no pipe", got, errno(syscall.EINVAL))
	got = call(syscall.SYS_SPLICE, uintptr(r), address(offset), uintptr(to), 0, 4, 0)
	check.Equal("splice: a pipe has no offset", got, errno(syscall.ESPIPE))
	got = call(syscall.SYS_SENDFILE, uintptr(to), uintptr(r), 0, 4)
	check.Equal("sendfile: from a pipe", got, errno(syscall.EINVAL))
	counter := call(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK)
	check.Equal("sendfile: to an eventfd", call(syscall.SYS_SENDFILE, uintptr(counter), uintptr(from), 0, 8), errno(syscall.EINVAL))
	syscall.Close(counter)
	full, err := syscall.Open("/dev/full", syscall.O_WRONLY, 0)
	check.Must("open /dev/full", err)
	check.Equal("sendfile: to /dev/full", call(syscall.SYS_SENDFILE, uintptr(full), uintptr(from), 0, 8), errno(syscall.EINVAL))
	syscall.Close(full)
	syscall.Seek(from, 0, 0)
	check.Equal("sendfile: to a file", call(syscall.SYS_SENDFILE, uintptr(to), uintptr(from), 0, 100), 10)
	check.Equal("sendfile: content", contents(to), "01230123456789")
	for _, fd := range []int{r, w, r2, w2, from, to} {
		syscall.Close(fd)
	}
	r, w = pipe(0)
	syscall.Close(r)
	signalIgnored := call(syscall.SYS_SPLICE, uintptr(file("from", "x")), 0, uintptr(w), 0, 1, 0)
	check.Equal("splice: broken pipe", signalIgnored, errno(syscall.EPIPE))
	syscall.Close(w)
}

func recordLocks() {
	const ofdGetlk, ofdSetlk = 36, 37
	one, other := file("locked", "0123456789"), 0
	other, err := syscall.Open("locked", syscall.O_RDWR, 0)
	check.Must("open again", err)
	lock := func(fd int, command int, kind int16, start, length int64) (int, syscall.Flock_t) {
		flock := syscall.Flock_t{Type: kind, Start: start, Len: length}
		return call(syscall.SYS_FCNTL, uintptr(fd), uintptr(command), address(&flock)), flock
	}
	result := func(fd int, command int, kind int16, start, length int64) int {
		got, _ := lock(fd, command, kind, start, length)
		return got
	}
	check.Equal("locks: write", result(one, ofdSetlk, syscall.F_WRLCK, 0, 10), 0)
	check.Equal("locks: conflict", result(other, ofdSetlk, syscall.F_RDLCK, 9, 5), errno(syscall.EAGAIN))
	check.Equal("locks: beside", result(other, ofdSetlk, syscall.F_RDLCK, 10, 5), 0)
	check.Equal("locks: open a gap", result(one, ofdSetlk, syscall.F_UNLCK, 4, 2), 0)
	check.Equal("locks: in the gap", result(other, ofdSetlk, syscall.F_WRLCK, 4, 2), 0)
	got, held := lock(other, ofdGetlk, syscall.F_WRLCK, 5, 0)
	check.Equal("locks: get", got, 0)
	check.Equal("locks: the first in the way", fmt.Sprint(held.Type, held.Start, held.Len, held.Pid), "1 6 4 -1")
	// Those of the process, and how they end.
	check.Equal("locks: the process", result(one, syscall.F_SETLK, syscall.F_RDLCK, 100, 0), 0)
	check.Equal("locks: against a description", result(other, ofdSetlk, syscall.F_WRLCK, 200, 1), errno(syscall.EAGAIN))
	third, _ := syscall.Open("locked", syscall.O_RDONLY, 0)
	got = result(third, syscall.F_SETLK, syscall.F_WRLCK, 100, 1)
	check.Equal("locks: not open for writing", got, errno(syscall.EBADF))
	syscall.Close(third)
	check.Equal("locks: gone with any close", result(other, ofdSetlk, syscall.F_WRLCK, 200, 1), 0)
	check.Equal("locks: bad range", result(one, syscall.F_SETLK, syscall.F_RDLCK, -1, 1), errno(syscall.EINVAL))
	syscall.Close(one)
	check.Equal("locks: gone with the description", result(other, ofdSetlk, syscall.F_WRLCK, 0, 0), 0)
	syscall.Close(other)
}

func timerfd() {
	fd := call(sysTimerfdCreate, 1, syscall.O_CLOEXEC|syscall.O_NONBLOCK)
	check.That("timerfd: create", fd >= 0, fd)
	setting := &[4]int64{0, 10000000, 0, 10000000}
	check.Equal("timerfd: set", call(sysTimerfdSettime, uintptr(fd), 0, address(setting), 0), 0)
	count := make([]byte, 8)
	_, err := syscall.Read(fd, count)
	check.Equal("timerfd: not yet", err, error(syscall.EAGAIN))
	fds := &[2]pollFd{{int32(fd), 1, 0}}
	check.Equal("timerfd: wait", call(syscall.SYS_POLL, address(fds), 1, 10000), 1)
	time.Sleep(35 * time.Millisecond)
	got, err := syscall.Read(fd, count)
	check.That("timerfd: read", err == nil && got == 8, got, err)
	check.That("timerfd: expiries", count[0] >= 3 && count[1] == 0, count)
	now := &[4]int64{}
	check.Equal("timerfd: get", call(sysTimerfdGettime, uintptr(fd), address(now)), 0)
	check.That("timerfd: interval and rest", now[1] == 10000000 && now[3] > 0 && now[3] <= 10000000, *now)
	check.Equal("timerfd: stop", call(sysTimerfdSettime, uintptr(fd), 0, address(&[4]int64{}), address(now)), 0)
	check.Equal("timerfd: bad clock", call(sysTimerfdCreate, 2, 0), errno(syscall.EINVAL))
	check.Equal("timerfd: short read", call(syscall.SYS_READ, uintptr(fd), address(count), 7), errno(syscall.EINVAL))

	// One that nobody reads tells of itself once, however short its interval: it would else keep
	// the machine busy.
	epoll, err := syscall.EpollCreate1(0)
	check.Must("timerfd: make an epoll", err)
	const edge = 1 << 31
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | edge}
	check.NoError("timerfd: watch", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &event))
	*setting = [4]int64{0, 1, 0, 1}
	check.Equal("timerfd: set to a nanosecond", call(sysTimerfdSettime, uintptr(fd), 0, address(setting), 0), 0)
	events := make([]syscall.EpollEvent, 1)
	wait := func(milliseconds int) int {
		got, err := syscall.EpollWait(epoll, events, milliseconds)
		for err == syscall.EINTR {
			got, err = syscall.EpollWait(epoll, events, milliseconds)
		}
		check.NoError("timerfd: epoll_wait", err)
		return got
	}
	check.Equal("timerfd: expired", wait(-1), 1)
	time.Sleep(5 * time.Millisecond)
	check.Equal("timerfd: not read", wait(5), 0)
	_, err = syscall.Read(fd, count)
	check.NoError("timerfd: read a million", err)
	check.That("timerfd: a million expiries", count[2] > 0 || count[3] > 0, count)
	check.Equal("timerfd: goes on", wait(-1), 1)
	syscall.Close(fd)
	syscall.Close(epoll)
}

func memfd() {
	const addSeals, getSeals = 1033, 1034
	fd := call(sysMemfdCreate, pointer("name"), 3)
	check.That("memfd: create", fd >= 0, fd)
	syscall.Write(fd, []byte("hello"))
	check.Equal("memfd: content", contents(fd), "hello")
	link, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	check.Equal("memfd: shown as", link, "/memfd:name (deleted)")
	check.Equal("memfd: seal", call(syscall.SYS_FCNTL, uintptr(fd), addSeals, 2|4), 0)
	check.Equal("memfd: seals", call(syscall.SYS_FCNTL, uintptr(fd), getSeals), 6)
	check.Equal("memfd: cannot shrink", syscall.Ftruncate(fd, 1), error(syscall.EPERM))
	check.Equal("memfd: cannot grow", syscall.Ftruncate(fd, 100), error(syscall.EPERM))
	_, err := syscall.Pwrite(fd, []byte("J"), 0)
	check.NoError("memfd: can be written", err)
	check.Equal("memfd: seal it", call(syscall.SYS_FCNTL, uintptr(fd), addSeals, 1|8), 0)
	_, err = syscall.Pwrite(fd, []byte("x"), 0)
	check.Equal("memfd: cannot be written", err, error(syscall.EPERM))
	check.Equal("memfd: no more seals", call(syscall.SYS_FCNTL, uintptr(fd), addSeals, 1), errno(syscall.EPERM))
	syscall.Close(fd)
	plain := call(sysMemfdCreate, pointer("plain"), 0)
	check.Equal("memfd: not sealable", call(syscall.SYS_FCNTL, uintptr(plain), getSeals), 1)
	syscall.Close(plain)
	normal := file("normal", "x")
	check.Equal("memfd: of a pipe", call(syscall.SYS_FCNTL, uintptr(normal), 1032), errno(syscall.EBADF))
	syscall.Close(normal)
}

func attributes() {
	syscall.Close(file("attributed", "x"))
	if err := syscall.Setxattr("attributed", "user.one", []byte("first"), 0); err == syscall.EOPNOTSUPP {
		check.That("attributes: this file system has none", true)
		return
	}
	buffer := make([]byte, 100)
	count, err := syscall.Getxattr("attributed", "user.one", buffer)
	check.That("attributes: get", err == nil && string(buffer[:count]) == "first", err)
	check.Equal("attributes: create", syscall.Setxattr("attributed", "user.one", nil, 1), error(syscall.EEXIST))
	check.Equal("attributes: replace", syscall.Setxattr("attributed", "user.two", nil, 2), error(syscall.ENODATA))
	check.NoError("attributes: another", syscall.Setxattr("attributed", "user.two", []byte{}, 0))
	count, err = syscall.Listxattr("attributed", buffer)
	check.That("attributes: list", err == nil && bytes.Contains(buffer[:count], []byte("user.two\x00")), err)
	_, err = syscall.Getxattr("attributed", "user.one", buffer[:2])
	check.Equal("attributes: too small", err, error(syscall.ERANGE))
	check.NoError("attributes: remove", syscall.Removexattr("attributed", "user.one"))
	_, err = syscall.Getxattr("attributed", "user.one", buffer)
	check.Equal("attributes: removed", err, error(syscall.ENODATA))
	_, err = syscall.Getxattr("attributed", "strange.name", buffer)
	check.Equal("attributes: unknown kind", err, error(syscall.EOPNOTSUPP))
}

func inotify() {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
	check.Must("inotify: init", err)
	check.NoError("inotify: folder", os.Mkdir("watched", 0o755))
	watch, err := syscall.InotifyAddWatch(fd, "watched", syscall.IN_ALL_EVENTS)
	check.NoError("inotify: watch", err)
	next := func() string {
		buffer := make([]byte, 4096)
		count, err := syscall.Read(fd, buffer)
		if err != nil {
			return err.Error()
		}
		seen := ""
		for at := 0; at < count; {
			event := (*syscall.InotifyEvent)(unsafe.Pointer(&buffer[at]))
			name := bytes.TrimRight(buffer[at+16:at+16+int(event.Len)], "\x00")
			seen += fmt.Sprintf("%x %s;", event.Mask, name)
			at += 16 + int(event.Len)
		}
		return seen
	}
	check.Equal("inotify: nothing yet", next(), syscall.EAGAIN.Error())
	syscall.Close(file("watched/new", "x"))
	check.Equal("inotify: create and write", next(), "100 new;20 new;2 new;8 new;")
	check.NoError("inotify: rename", os.Rename("watched/new", "watched/newer"))
	check.Equal("inotify: moved", next(), "40 new;80 newer;")
	check.NoError("inotify: chmod", os.Chmod("watched/newer", 0o600))
	check.NoError("inotify: mkdir", os.Mkdir("watched/sub", 0o755))
	check.NoError("inotify: remove", os.Remove("watched/newer"))
	check.Equal("inotify: the rest", next(), "4 newer;40000100 sub;200 newer;")
	got, err := syscall.InotifyRmWatch(fd, uint32(watch))
	check.That("inotify: remove the watch", err == nil && got == 0, err)
	check.Equal("inotify: ignored", next(), "8000 ;")
	_, err = syscall.InotifyRmWatch(fd, uint32(watch))
	check.Equal("inotify: no watch", err, error(syscall.EINVAL))
	syscall.Close(fd)
}

func openat2() {
	check.NoError("openat2: link", os.Symlink("..", "up"))
	syscall.Close(file("inside", "x"))
	how := func(flags, mode, resolve uint64) uintptr { return address(&[3]uint64{flags, mode, resolve}) }
	open := func(path string, flags, mode, resolve uint64) int {
		fd := call(sysOpenat2, atFdcwd, pointer(path), how(flags, mode, resolve), 24)
		if fd >= 0 {
			syscall.Close(fd)
			return 0
		}
		return fd
	}
	check.Equal("openat2: plain", open("inside", 0, 0, 0), 0)
	check.Equal("openat2: beneath", open("inside", 0, 0, 8), 0)
	check.Equal("openat2: above", open("../etc", 0, 0, 8), errno(syscall.EXDEV))
	check.Equal("openat2: absolute", open("/etc", 0, 0, 8), errno(syscall.EXDEV))
	check.Equal("openat2: link above", open("up/x", 0, 0, 8), errno(syscall.EXDEV))
	check.Equal("openat2: no links", open("up/x", 0, 0, 4), errno(syscall.ELOOP))
	check.Equal("openat2: on one file system", open("../../tmp", 0, 0, 1), 0)
	check.Equal("openat2: to another", open("/proc/self/status", 0, 0, 1), errno(syscall.EXDEV))
	check.Equal("openat2: what is mounted itself", open("/proc", 0, 0, 1), errno(syscall.EXDEV))
	check.NoError("openat2: link to another", os.Symlink("/proc/self", "away"))
	check.Equal("openat2: by a link", open("away/status", 0, 0, 1), errno(syscall.EXDEV))
	check.Equal("openat2: unknown flag", open("inside", 1<<40, 0, 0), errno(syscall.EINVAL))
	check.Equal("openat2: mode without file", open("inside", 0, 0o600, 0), errno(syscall.EINVAL))
	check.Equal("openat2: short", call(sysOpenat2, atFdcwd, pointer("inside"), how(0, 0, 0), 8), errno(syscall.EINVAL))
}

type statxBuffer [32]uint64

func statx() {
	syscall.Close(file("stated", "12345"))
	buffer := &statxBuffer{}
	got := call(sysStatx, atFdcwd, pointer("stated"), 0, 0xfff, address(buffer))
	check.Equal("statx", got, 0)
	check.Equal("statx: size", buffer[5], uint64(5))
	check.Equal("statx: mode", (buffer[3]>>32)&0xffff, uint64(0o100644))
	got = call(sysStatx, atFdcwd, pointer("stated"), 0x6000, 0xfff, address(buffer))
	check.Equal("statx: bad flags", got, errno(syscall.EINVAL))
	check.Equal("faccessat2", call(sysFaccessat2, atFdcwd, pointer("stated"), 4, 0x200), 0)
	got = call(sysFaccessat2, atFdcwd, pointer("stated"), 1, 0x200)
	check.Equal("faccessat2: cannot run", got, errno(syscall.EACCES))
	check.Equal("access: missing", call(syscall.SYS_ACCESS, pointer("missing"), 0), errno(syscall.ENOENT))
}

func descriptors() {
	fd := file("numbered", "x")
	high := call(syscall.SYS_FCNTL, uintptr(fd), 1030, 500)
	check.Equal("descriptors: from 500 on", high, 500)
	check.Equal("descriptors: closed on exec", call(syscall.SYS_FCNTL, 500, 1), 1)
	check.Equal("descriptors: dup2", call(syscall.SYS_DUP2, uintptr(fd), 510), 510)
	check.Equal("descriptors: dup2 of itself", call(syscall.SYS_DUP2, 510, 510), 510)
	check.Equal("descriptors: dup3 of itself", call(syscall.SYS_DUP3, 510, 510, 0), errno(syscall.EINVAL))
	check.Equal("close_range", call(sysCloseRange, 500, 600, 0), 0)
	check.Equal("close_range: closed", call(syscall.SYS_FCNTL, 510, 1), errno(syscall.EBADF))
	check.Equal("close_range: reversed", call(sysCloseRange, 600, 500, 0), errno(syscall.EINVAL))
	path := call(syscall.SYS_OPEN, pointer("numbered"), 0o10000000)
	check.Equal("O_PATH: read", call(syscall.SYS_READ, uintptr(path), address(make([]byte, 1)), 1), errno(syscall.EBADF))
	check.Equal("O_PATH: flags", call(syscall.SYS_FCNTL, uintptr(path), 3), 0o10000000)
	check.Equal("O_PATH: chmod", call(syscall.SYS_FCHMOD, uintptr(path), 0o600), errno(syscall.EBADF))
	syscall.Close(path)
	syscall.Close(fd)
}

func vectors() {
	fd := file("vector", "")
	first, second := []byte("abc"), []byte("defg")
	vector := &[2]syscall.Iovec{{Base: &first[0], Len: 3}, {Base: &second[0], Len: 4}}
	check.Equal("pwritev", call(sysPwritev, uintptr(fd), address(vector), 2, 2, 0), 7)
	check.Equal("pwritev: content", contents(fd), "\x00\x00abcdefg")
	check.Equal("preadv", call(sysPreadv, uintptr(fd), address(vector), 2, 4, 0), 5)
	check.Equal("preadv: content", string(first)+string(second), "cdefgfg")
	check.Equal("preadv: before the start", call(sysPreadv, uintptr(fd), address(vector), 2, ^uintptr(0), 0), errno(syscall.EINVAL))
	syscall.Close(fd)
}

func rename() {
	syscall.Close(file("r1", "1"))
	syscall.Close(file("r2", "22"))
	got := call(sysRenameat2, atFdcwd, pointer("r1"), atFdcwd, pointer("r2"), 1)
	check.Equal("renameat2: exists", got, errno(syscall.EEXIST))
	got = call(sysRenameat2, atFdcwd, pointer("r1"), atFdcwd, pointer("r2"), 2)
	check.Equal("renameat2: exchange", got, 0)
	info, err := os.Stat("r1")
	check.That("renameat2: exchanged", err == nil && info.Size() == 2, err)
	got = call(sysRenameat2, atFdcwd, pointer("r1"), atFdcwd, pointer("r2"), 3)
	check.Equal("renameat2: both flags", got, errno(syscall.EINVAL))
}

func copyRange() {
	from, to := file("c1", "0123456789"), file("c2", "")
	offset := new(int64)
	*offset = 3
	got := call(sysCopyFileRange, uintptr(from), address(offset), uintptr(to), 0, 100, 0)
	check.Equal("copy_file_range", got, 7)
	check.Equal("copy_file_range: content", contents(to), "3456789")
	check.Equal("copy_file_range: offset", *offset, int64(10))
	got = call(sysCopyFileRange, uintptr(from), 0, uintptr(from), 0, 5, 0)
	check.Equal("copy_file_range: onto itself", got, errno(syscall.EINVAL))
	syscall.Close(from)
	syscall.Close(to)
}

// blocking: a write larger than the pipe comes back when all of it is read; a lock that is held and a
// FIFO without its other side are waited for.
func blocking() {
	r, w := pipe(0)
	const length = 300000
	written := make(chan int, 1)
	go func() {
		count, _ := syscall.Write(w, make([]byte, length))
		written <- count
		syscall.Close(w)
	}()
	total := 0
	buffer := make([]byte, 5000)
	for {
		count, err := syscall.Read(r, buffer)
		if count <= 0 || err != nil {
			break
		}
		total += count
	}
	check.Equal("blocking: written", <-written, length)
	check.Equal("blocking: read", total, length)
	syscall.Close(r)

	check.NoError("blocking: fifo", syscall.Mkfifo("fifo", 0o600))
	go func() {
		fd, err := syscall.Open("fifo", syscall.O_WRONLY, 0)
		if err == nil {
			syscall.Write(fd, []byte("through"))
			syscall.Close(fd)
		}
	}()
	fd, err := syscall.Open("fifo", syscall.O_RDONLY, 0)
	check.NoError("blocking: fifo opened", err)
	count, _ := syscall.Read(fd, buffer)
	check.Equal("blocking: through the fifo", string(buffer[:count]), "through")
	syscall.Close(fd)
	_, err = syscall.Open("fifo", syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	check.Equal("blocking: nobody reads the fifo", err, error(syscall.ENXIO))
}

// events: eventfd and epoll with their less usual flags.
func events() {
	fd := call(syscall.SYS_EVENTFD2, 3, 1|syscall.O_NONBLOCK)
	value := make([]byte, 8)
	check.Equal("eventfd: as a semaphore", call(syscall.SYS_READ, uintptr(fd), address(value), 8), 8)
	check.Equal("eventfd: takes one", value[0], byte(1))
	epoll, err := syscall.EpollCreate1(0)
	check.Must("epoll: create", err)
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | 1<<30, Fd: 7, Pad: 9}
	check.NoError("epoll: add", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &event))
	wait := func() int {
		one := &syscall.EpollEvent{}
		zero := &[2]int64{}
		got := call(sysEpollPwait2, uintptr(epoll), address(one), 1, address(zero), 0, 8)
		if got == 1 {
			check.Equal("epoll: word", fmt.Sprint(one.Fd, one.Pad), "7 9")
		}
		return got
	}
	check.Equal("epoll: once", wait(), 1)
	check.Equal("epoll: not twice", wait(), 0)
	check.NoError("epoll: again", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_MOD, fd, &event))
	check.Equal("epoll: armed again", wait(), 1)
	regular := file("regular", "x")
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, regular, &event)
	check.Equal("epoll: a regular file", err, error(syscall.EPERM))
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, epoll, &event)
	check.Equal("epoll: itself", err, error(syscall.EINVAL))
	check.Equal("epoll: no events", call(syscall.SYS_EPOLL_WAIT, uintptr(epoll), address(value), 0, 0), errno(syscall.EINVAL))
	for _, fd := range []int{fd, epoll, regular} {
		syscall.Close(fd)
	}
}
