package main

import (
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	udpCork = 1
	msgMore = 0x8000
)

// corked: datagrams that are sent in pieces (MSG_MORE, UDP_CORK).
func corked() {
	corkedOf("cork: IPv4", false)
	corkedOf("cork: IPv6", true)
}

func corkedOf(name string, v6 bool) {
	family := syscall.AF_INET
	if v6 {
		family = syscall.AF_INET6
	}
	open := func() (int, int) {
		fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		check.Must(name+": socket", err)
		check.NoError(name+": bind", syscall.Bind(fd, loopback(v6, 0)))
		return fd, portOf(fd)
	}
	server, port := open()
	defer syscall.Close(server)
	other, otherPort := open()
	defer syscall.Close(other)
	client, _ := open()
	defer syscall.Close(client)
	to, elsewhere := loopback(v6, port), loopback(v6, otherPort)
	send := func(what, text string, flags int, to syscall.Sockaddr) {
		n, err := syscall.SendmsgN(client, []byte(text), nil, to, flags)
		check.That(name+": "+what, n == len(text) && err == nil, n, err)
	}
	comes := func(what, want string) {
		var bytes [100]byte
		check.Equal(name+": "+what+": comes", polled(server, pollIn, patience), int16(pollIn))
		n, _, err := syscall.Recvfrom(server, bytes[:], syscall.MSG_DONTWAIT)
		check.That(name+": "+what, err == nil && string(bytes[:n]) == want, n, err, string(bytes[:]))
		check.Equal(name+": "+what+": alone", polled(server, pollIn, 0), int16(0))
	}
	nothing := func(what string) {
		check.Equal(name+": "+what, polled(server, pollIn, 20*time.Millisecond), int16(0))
	}
	send("a piece", "abc", msgMore, to)
	send("another", "d", msgMore, nil)
	nothing("not yet")
	send("the last, wherever to", "ef", 0, elsewhere)
	comes("one datagram", "abcdef")
	check.Equal(name+": nothing elsewhere", polled(other, pollIn, 0), int16(0))

	cork := func(on int) {
		check.NoError(name+": UDP_CORK", syscall.SetsockoptInt(client, solUDP, udpCork, on))
		is, err := syscall.GetsockoptInt(client, solUDP, udpCork)
		check.That(name+": UDP_CORK is", is == on && err == nil, is, err)
	}
	cork(1)
	send("corked", "gh", 0, to)
	send("corked too", "", 0, to)
	send("corked again", "ij", 0, to)
	nothing("corked: not yet")
	cork(0)
	comes("uncorked", "ghij")
	cork(0)
	nothing("uncorked again")

	send("long", string(make([]byte, 60000)), msgMore, to)
	_, err := syscall.SendmsgN(client, make([]byte, 6000), nil, to, 0)
	check.Equal(name+": too long together", err, error(syscall.EMSGSIZE))
	send("short", "k", 0, to)
	comes("what was too long is gone", "k")

	send("empty", "", msgMore, to)
	send("and empty", "", 0, to)
	comes("an empty one", "")

	check.NoError(name+": connect", syscall.Connect(client, to))
	send("connected", "l", msgMore, nil)
	_, err = syscall.Write(client, []byte("m"))
	check.NoError(name+": write", err)
	comes("a write ends it", "lm")
}
