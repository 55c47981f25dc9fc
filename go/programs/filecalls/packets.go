package main

import (
	"os"
	"strings"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// packets: a pipe of packets (O_DIRECT) keeps each write apart from the next.
func packets() {
	const (
		page    = 4096
		setSize = 1031
		getFL   = 3
		setFL   = 4
	)
	var ends [2]int
	check.NoError("packets: pipe2", syscall.Pipe2(ends[:], syscall.O_DIRECT|syscall.O_NONBLOCK|syscall.O_CLOEXEC))
	defer syscall.Close(ends[0])
	defer syscall.Close(ends[1])
	flags := func(end int) int { return call(syscall.SYS_FCNTL, uintptr(end), getFL) & syscall.O_DIRECT }
	check.Equal("packets: the flag of the reader", flags(ends[0]), 0)
	check.Equal("packets: the flag of the writer", flags(ends[1]), syscall.O_DIRECT)
	write := func(text string) int {
		n, err := syscall.Write(ends[1], []byte(text))
		if err != nil {
			return -int(err.(syscall.Errno))
		}
		return n
	}
	buffer := make([]byte, 3*page)
	read := func(room int) string {
		n, err := syscall.Read(ends[0], buffer[:room])
		if err != nil {
			return err.Error()
		}
		return string(buffer[:n])
	}
	for _, text := range []string{"one", "and two", "three"} {
		check.Equal("packets: write "+text, write(text), len(text))
	}
	check.Equal("packets: one", read(100), "one")
	check.Equal("packets: part of two", read(3), "and")
	check.Equal("packets: the rest of two is gone", read(100), "three")
	check.Equal("packets: no more", read(100), syscall.EAGAIN.Error())
	check.Equal("packets: long write", write(strings.Repeat("x", 2*page+5)), 2*page+5)
	check.Equal("packets: first page", len(read(3*page)), page)
	check.Equal("packets: second page", len(read(3*page)), page)
	check.Equal("packets: what is left", read(3*page), "xxxxx")

	check.Equal("packets: two pages of room", call(syscall.SYS_FCNTL, uintptr(ends[1]), setSize, 2*page), 2*page)
	check.Equal("packets: a page each", []int{write("a"), write("b"), write("c")}[2], -int(syscall.EAGAIN))
	poll := func() bool {
		fds := &[2]pollFd{{fd: int32(ends[1]), events: 4}} // POLLOUT
		return call(syscall.SYS_POLL, address(fds), 1, 0) == 1
	}
	check.That("packets: full", !poll())
	check.Equal("packets: smaller", call(syscall.SYS_FCNTL, uintptr(ends[1]), setSize, page), -int(syscall.EBUSY))
	check.Equal("packets: a", read(10), "a")
	check.That("packets: room", poll())

	// A stream again: behind a packet, and before one.
	check.Equal("packets: F_SETFL", call(syscall.SYS_FCNTL, uintptr(ends[1]), setFL, syscall.O_NONBLOCK), 0)
	check.Equal("packets: stream", write("s1")+write("s2"), 4)
	check.Equal("packets: b", read(10), "b")
	check.Equal("packets: both", read(10), "s1s2")
	check.Equal("packets: more", write("s3"), 2)
	check.Equal("packets: F_SETFL again", call(syscall.SYS_FCNTL, uintptr(ends[1]), setFL, syscall.O_NONBLOCK|syscall.O_DIRECT), 0)
	check.Equal("packets: behind a stream", write("p1"), 2)
	check.Equal("packets: part of the stream", read(1), "s")
	check.Equal("packets: stream and packet", read(10), "3p1")
}

// whiteout: renameat2 leaves a device 0:0 in the old place.
func whiteout() {
	const (
		here     = ^uintptr(99)
		exchange = 2
		white    = 4
	)
	check.NoError("whiteout: write", os.WriteFile("white", []byte("w"), 0o600))
	rename := func(flags uintptr) int {
		return call(316, here, pointer("white"), here, pointer("gone"), flags)
	}
	check.Equal("whiteout: with exchange", rename(white|exchange), errno(syscall.EINVAL))
	if got := rename(white); got == errno(syscall.EPERM) && os.Getpid() != 1 {
		// Linux asks for CAP_MKNOD, which root may lack where the tests run.
		_ = os.Remove("white")
		return
	} else {
		check.Equal("whiteout", got, 0)
	}
	var status syscall.Stat_t
	check.NoError("whiteout: stat", syscall.Stat("white", &status))
	check.That("whiteout: device", status.Mode == syscall.S_IFCHR && status.Rdev == 0, status.Mode, " ", status.Rdev)
	text, err := os.ReadFile("gone")
	check.That("whiteout: moved", err == nil && string(text) == "w", err)
	check.NoError("whiteout: remove", os.Remove("white"))
	check.NoError("whiteout: remove the other", os.Remove("gone"))
}
