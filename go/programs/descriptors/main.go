// A million descriptors open at once: files, an event on the last of them by epoll and by poll, and
// the memory that they took comes back.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const pollIn = 1

var million int

func main() {
	flag.IntVar(&million, "n", 1_000_000, "how many")
	flag.Parse()
	want := syscall.Rlimit{Cur: uint64(million), Max: uint64(million)}
	check.Must("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want))
	before := slab()
	fill()
	last()
	beyond()
	empty()
	// A quarter of what the table alone took, 16 bytes a descriptor.
	check.That("memory", slab() <= before+4096, before, " then ", slab(), " KiB of kernel memory")
	check.Done()
}

// fill opens /dev/null until the table is full, all but one.
func fill() {
	null, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
	check.Must("open /dev/null", err)
	for last := null; last < million-2; {
		was := last
		if last, err = syscall.Dup(null); err != nil {
			check.Must(fmt.Sprint("dup after ", was), err)
		}
	}
	target, err := os.Readlink(fmt.Sprint("/proc/self/fd/", million-2))
	check.NoError("readlink", err)
	check.Equal("the last but one", target, "/dev/null")
}

// last opens the last descriptor of all, and waits for it.
func last() {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK, 0)
	check.That("eventfd", errno == 0 && int(fd) == million-1, fd, " ", errno)
	// The one for epoll takes the place of one of the others.
	check.NoError("close", syscall.Close(million/2))
	epoll, err := syscall.EpollCreate1(0)
	check.NoError("epoll_create1", err)
	check.Equal("its number", epoll, million/2)
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(million - 1)}
	check.NoError("epoll_ctl", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &event))
	events := make([]syscall.EpollEvent, 2)
	n, err := syscall.EpollWait(epoll, events, 0)
	check.That("nothing yet", n == 0 && err == nil, n, " ", err)
	_, err = syscall.Write(int(fd), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	check.NoError("write", err)
	n, err = syscall.EpollWait(epoll, events, int(time.Minute/time.Millisecond))
	check.That("epoll_wait", n == 1 && err == nil && int(events[0].Fd) == million-1, n, " ", err, " ", events[0])
	poll := struct {
		fd              int32
		events, returns int16
	}{int32(million - 1), pollIn, 0}
	ready, _, errno := syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(&poll)), 1, 60000)
	check.That("poll", ready == 1 && errno == 0 && poll.returns == pollIn, ready, " ", errno)
}

// beyond: there is no room for one more.
func beyond() {
	_, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	check.Equal("open", err, error(syscall.EMFILE))
	_, err = os.ReadFile("/proc/self/status")
	check.That("os.ReadFile", err != nil && strings.Contains(err.Error(), "too many open files"), err)
	check.Equal("dup2 to the limit", syscall.Dup2(1, million), error(syscall.EBADF))
}

// empty closes what fill and last have opened.
func empty() {
	const closeRange = 436
	_, _, errno := syscall.RawSyscall(closeRange, 3, uintptr(million), 0)
	check.That("close_range", errno == 0, errno)
}

// slab is the kernel's own memory in KiB. The descriptors of Go's poller were closed with the others, so
// the file is read without it.
func slab() int {
	fd, err := syscall.Open("/proc/meminfo", syscall.O_RDONLY, 0)
	check.Must("open /proc/meminfo", err)
	buffer := make([]byte, 8192)
	n, err := syscall.Read(fd, buffer)
	check.Must("read it", err)
	check.NoError("close it", syscall.Close(fd))
	for _, line := range strings.Split(string(buffer[:n]), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "Slab:" {
			kib, err := strconv.Atoi(words[1])
			check.NoError("Slab", err)
			return kib
		}
	}
	check.That("Slab", false, "not in /proc/meminfo")
	return 0
}
