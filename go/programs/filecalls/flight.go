package main

import (
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// inFlight has sockets lie in the queues of sockets that nobody holds any more. A pipe that lies
// with them tells when they end.
func inFlight() {
	check.Within("in flight: a circle", time.Minute, func() {
		// Two in each other's queue, and one in its own.
		one, other := socketPair()
		reader, writer := pipe(0)
		sendAlong(one, one, writer)
		sendAlong(other, other)
		syscall.Close(one)
		syscall.Close(other)
		left, right := socketPair()
		sendAlong(left, right)
		syscall.Close(left)
		syscall.Close(right)
		ends(reader, writer)
	})
	check.Within("in flight: a chain", time.Minute, func() {
		reader, writer := pipe(0)
		last, end := socketPair()
		sendAlong(end, writer)
		syscall.Close(end)
		for i := 0; i < 5000; i++ {
			next, end := socketPair()
			sendAlong(end, last)
			syscall.Close(end)
			syscall.Close(last)
			last = next
		}
		syscall.Close(last)
		ends(reader, writer)
	})
	check.Within("in flight: and received", time.Minute, func() {
		one, other := socketPair()
		within, end := socketPair()
		sendAlong(end, within, end)
		sendAlong(one, within)
		syscall.Close(within)
		syscall.Close(end)
		one, other = other, one
		// Occasions for who looks for what nobody can receive.
		for i := 0; i < 100; i++ {
			left, right := socketPair()
			sendAlong(left, right)
			syscall.Close(left)
			syscall.Close(right)
		}
		got := receiveAlong(one)
		check.Equal("in flight: it arrives", len(got), 1)
		inner := receiveAlong(got[0])
		check.Equal("in flight: with what it carries", len(inner), 2)
		for _, fd := range append(append(got, inner...), one, other) {
			check.NoError("in flight: close", syscall.Close(fd))
		}
	})
}

// ends checks that the pipe ends when the program's own writer is closed.
func ends(reader, writer int) {
	syscall.Close(writer)
	// Linux looks for what nobody can receive when some socket is closed, and in its own time.
	left, right := socketPair()
	syscall.Close(left)
	syscall.Close(right)
	count, err := syscall.Read(reader, make([]byte, 1))
	check.That("in flight: ended", count == 0 && err == nil, count, err)
	syscall.Close(reader)
}

func socketPair() (int, int) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		check.Must("in flight: socketpair", err)
	}
	return pair[0], pair[1]
}

func sendAlong(socket int, fds ...int) {
	if err := syscall.Sendmsg(socket, []byte("x"), syscall.UnixRights(fds...), nil, 0); err != nil {
		check.Must("in flight: sendmsg", err)
	}
}

func receiveAlong(socket int) []int {
	control := make([]byte, 64)
	_, length, _, _, err := syscall.Recvmsg(socket, make([]byte, 1), control, 0)
	check.NoError("in flight: recvmsg", err)
	messages, err := syscall.ParseSocketControlMessage(control[:length])
	check.NoError("in flight: control message", err)
	var fds []int
	for i := range messages {
		more, err := syscall.ParseUnixRights(&messages[i])
		check.NoError("in flight: rights", err)
		fds = append(fds, more...)
	}
	return fds
}
