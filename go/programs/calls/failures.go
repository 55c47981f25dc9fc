package main

import (
	"encoding/binary"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	ipRecvErr   = 11
	ipv6RecvErr = 25
	msgErrQueue = 0x2000
	msgTrunc    = 0x20
	pollErr     = 8
)

// loopback is the address of a port of this machine, of either family.
func loopback(v6 bool, port int) syscall.Sockaddr {
	if v6 {
		address := &syscall.SockaddrInet6{Port: port}
		address.Addr[15] = 1
		return address
	}
	return &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

func portOf(fd int) int {
	address, _ := syscall.Getsockname(fd)
	switch address := address.(type) {
	case *syscall.SockaddrInet4:
		return address.Port
	case *syscall.SockaddrInet6:
		return address.Port
	}
	return 0
}

func udpSocket(v6 bool) int {
	family := syscall.AF_INET
	if v6 {
		family = syscall.AF_INET6
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM, 0)
	check.Must("failures: a socket", err)
	return fd
}

// failures: MSG_ERRQUEUE of UDP, with IP_RECVERR and IPV6_RECVERR.
func failures() {
	failuresOf("failures over IPv4", false)
	failuresOf("failures over IPv6", true)
	discards()
}

const patience = 10 * time.Second

// polled is what a descriptor is ready for before the limit; -1: it cannot be asked. A signal ends poll(2) whatever its handler asks
// for, and Go's runtime sends its threads signals.
func polled(fd int, events int16, limit time.Duration) int16 {
	poll := struct {
		fd              int32
		events, revents int16
	}{int32(fd), events, 0}
	for end := time.Now().Add(limit); ; limit = time.Until(end) {
		if limit < 0 {
			limit = 0
		}
		_, err := call(syscall.SYS_POLL, at(unsafe.Pointer(&poll)), 1, uintptr(limit.Milliseconds()))
		switch err {
		case nil:
			return poll.revents
		case syscall.EINTR:
		default:
			return -1
		}
	}
}

func failuresOf(name string, v6 bool) {
	// A port that nobody has: one that somebody had.
	closed := udpSocket(v6)
	check.NoError(name+": bind", syscall.Bind(closed, loopback(v6, 0)))
	port := portOf(closed)
	syscall.Close(closed)
	fd := udpSocket(v6)
	defer syscall.Close(fd)
	level, option, want := syscall.IPPROTO_IP, ipRecvErr, []byte{2, 3, 3, 0}
	if v6 {
		level, option, want = syscall.IPPROTO_IPV6, ipv6RecvErr, []byte{3, 1, 4, 0}
	}
	on, err := syscall.GetsockoptInt(fd, level, option)
	check.That(name+": off at first", on == 0 && err == nil, on, err)
	control, bytes := make([]byte, 256), make([]byte, 100)
	_, _, _, _, err = syscall.Recvmsg(fd, bytes, control, msgErrQueue)
	check.Equal(name+": none", err, error(syscall.EAGAIN))
	check.NoError(name+": not connected: send", syscall.Sendto(fd, []byte("lost"), 0, loopback(v6, port)))
	check.Equal(name+": not connected: hears nothing", polled(fd, pollIn, 100*time.Millisecond), int16(0))
	check.NoError(name+": RECVERR", syscall.SetsockoptInt(fd, level, option, 1))
	on, err = syscall.GetsockoptInt(fd, level, option)
	check.That(name+": on", on == 1 && err == nil, on, err)
	check.NoError(name+": send", syscall.Sendto(fd, []byte("lost too"), 0, loopback(v6, port)))
	check.Equal(name+": poll", polled(fd, pollIn, patience)&pollErr, int16(pollErr))
	n, controlled, flags, from, err := syscall.Recvmsg(fd, bytes[:4], control, msgErrQueue)
	check.That(name+": the datagram", n == 4 && err == nil && string(bytes[:4]) == "lost", n, err, bytes[:8])
	check.Equal(name+": flags", flags, msgErrQueue|msgTrunc)
	check.That(name+": where to", from != nil && portOfAddress(from) == port, from)
	messages, err := syscall.ParseSocketControlMessage(control[:controlled])
	if !check.That(name+": one control message", len(messages) == 1 && err == nil, len(messages), err) {
		return
	}
	header, data := messages[0].Header, messages[0].Data
	check.That(name+": its kind", int(header.Level) == level && int(header.Type) == option, header)
	check.Equal(name+": ee_errno", binary.LittleEndian.Uint32(data), uint32(syscall.ECONNREFUSED))
	check.Equal(name+": ee_origin, type and code", string(data[4:8]), string(want))
	offender := data[16:]
	if v6 {
		check.That(name+": the offender", len(offender) == 28 && offender[0] == syscall.AF_INET6 && offender[23] == 1, offender)
	} else {
		check.That(name+": the offender", len(offender) == 16 && offender[0] == syscall.AF_INET && string(offender[4:8]) == "\x7f\x00\x00\x01", offender)
	}
	_, _, _, _, err = syscall.Recvmsg(fd, bytes, control, msgErrQueue)
	check.Equal(name+": no more", err, error(syscall.EAGAIN))
	check.Equal(name+": nor for poll", polled(fd, pollIn, 0), int16(0))
	_, _, err = syscall.Recvfrom(fd, bytes, syscall.MSG_DONTWAIT)
	check.Equal(name+": nor for who reads", err, error(syscall.EAGAIN))
	check.NoError(name+": send again", syscall.Sendto(fd, []byte("lost again"), 0, loopback(v6, port)))
	polled(fd, pollIn, patience)
	_, _, err = syscall.Recvfrom(fd, bytes, syscall.MSG_DONTWAIT)
	check.Equal(name+": who reads is told once", err, error(syscall.ECONNREFUSED))
	_, _, err = syscall.Recvfrom(fd, bytes, syscall.MSG_DONTWAIT)
	check.Equal(name+": not twice", err, error(syscall.EAGAIN))
	check.NoError(name+": off", syscall.SetsockoptInt(fd, level, option, 0))
	_, _, _, _, err = syscall.Recvmsg(fd, bytes, control, msgErrQueue)
	check.Equal(name+": none is kept", err, error(syscall.EAGAIN))
}

func portOfAddress(address syscall.Sockaddr) int {
	switch address := address.(type) {
	case *syscall.SockaddrInet4:
		return address.Port
	case *syscall.SockaddrInet6:
		return address.Port
	}
	return 0
}

// connected gives both ends of a TCP connection.
func connected() (int, int) {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check.Must("tcp: a listener", err)
	check.Must("tcp: bind", syscall.Bind(listener, loopback(false, 0)))
	check.Must("tcp: listen", syscall.Listen(listener, 1))
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check.Must("tcp: a client", err)
	check.Must("tcp: connect", syscall.Connect(client, loopback(false, portOf(listener))))
	server, _, err := syscall.Accept(listener)
	check.Must("tcp: accept", err)
	syscall.Close(listener)
	return client, server
}

// discards: MSG_TRUNC has another meaning for TCP, none for Unix streams, and its own for datagrams.
func discards() {
	client, server := connected()
	defer syscall.Close(client)
	defer syscall.Close(server)
	syscall.Write(client, []byte("abcdefgh"))
	polled(server, pollIn, patience)
	n, err := call(syscall.SYS_RECVFROM, uintptr(server), 0, 3, msgTrunc, 0, 0)
	check.That("MSG_TRUNC of TCP: to no address", n == 3 && err == nil, n, err)
	buffer := []byte("........")
	m, _, err := syscall.Recvfrom(server, buffer[:2], msgTrunc|syscall.MSG_PEEK)
	check.That("MSG_TRUNC of TCP: seen", m == 2 && err == nil && string(buffer) == "........", m, err, string(buffer))
	m, _, err = syscall.Recvfrom(server, buffer[:2], msgTrunc)
	check.That("MSG_TRUNC of TCP: thrown away", m == 2 && err == nil && string(buffer) == "........", m, err, string(buffer))
	m, _, err = syscall.Recvfrom(server, buffer, 0)
	check.That("MSG_TRUNC of TCP: what comes after", m == 3 && err == nil && string(buffer[:3]) == "fgh", m, err, string(buffer))
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET} {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
		check.NoError("MSG_TRUNC: a pair", err)
		syscall.Write(pair[0], []byte("abcdefgh"))
		want := 8
		if kind == syscall.SOCK_STREAM {
			want = 3
		}
		m, _, err := syscall.Recvfrom(pair[1], buffer[:3], msgTrunc|syscall.MSG_PEEK)
		check.That("MSG_TRUNC of Unix sockets", m == want && err == nil && string(buffer[:3]) == "abc", m, err)
		var flags int
		m, _, flags, _, err = syscall.Recvmsg(pair[1], buffer[:3], nil, 0)
		check.That("MSG_TRUNC comes back", m == 3 && err == nil && (flags&msgTrunc != 0) == (want == 8), m, flags, err)
		syscall.Close(pair[0])
		syscall.Close(pair[1])
	}
}
