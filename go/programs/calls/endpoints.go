package main

import (
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const tcpNotSentLow = 25

// endpoints: whom sockets are bound to, connected with and cut off from.
func endpoints() {
	portsOfConnections()
	datagramsLosePeer()
	datagramsToIPv4()
	shutWithoutPeer()
	unixPeerLosesData()
	addressesOfStreams()
}

func open(family, kind int) int {
	fd, err := syscall.Socket(family, kind|syscall.SOCK_CLOEXEC, 0)
	check.Must("endpoints: socket", err)
	return fd
}

// bound tells how bind(2) of a new socket ends.
func bound(family int, address syscall.Sockaddr) error {
	fd := open(family, syscall.SOCK_STREAM)
	defer syscall.Close(fd)
	return syscall.Bind(fd, address)
}

// portsOfConnections: a connection keeps its port on its own address only, also after its end.
func portsOfConnections() {
	listener := open(syscall.AF_INET, syscall.SOCK_STREAM)
	check.Must("endpoints: bind", syscall.Bind(listener, loopback(false, 0)))
	check.Must("endpoints: listen", syscall.Listen(listener, 5))
	check.NoError("endpoints: an option", syscall.SetsockoptInt(listener, syscall.IPPROTO_TCP, tcpNotSentLow, 3000))
	check.NoError("endpoints: another", syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_PRIORITY, 3))
	port := portOf(listener)
	client := open(syscall.AF_INET, syscall.SOCK_STREAM)
	check.Must("endpoints: connect", syscall.Connect(client, loopback(false, port)))
	server, _, err := syscall.Accept(listener)
	check.Must("endpoints: accept", err)
	check.Equal("endpoints: an option of the listener", option(server, syscall.IPPROTO_TCP, tcpNotSentLow), 3000)
	check.Equal("endpoints: one that is not passed on", option(server, syscall.SOL_SOCKET, syscall.SO_PRIORITY), 0)
	taken := func(when string) {
		other := &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 2}}
		check.NoError("endpoints: another address, "+when, bound(syscall.AF_INET, other))
		check.Equal("endpoints: the same, "+when, bound(syscall.AF_INET, loopback(false, port)), error(syscall.EADDRINUSE))
		check.Equal("endpoints: any, "+when, bound(syscall.AF_INET, &syscall.SockaddrInet4{Port: port}), error(syscall.EADDRINUSE))
		check.Equal("endpoints: any of IPv6, "+when, bound(syscall.AF_INET6, &syscall.SockaddrInet6{Port: port}), error(syscall.EADDRINUSE))
		check.NoError("endpoints: IPv6, "+when, bound(syscall.AF_INET6, loopback(true, port)))
	}
	taken("connected")
	syscall.Close(listener)
	taken("without listener")
	syscall.Close(server)
	syscall.Close(client)
	taken("after its end")
}

// disconnect is connect(2) with AF_UNSPEC.
func disconnect(fd int) error {
	address := [16]byte{}
	_, err := call(syscall.SYS_CONNECT, uintptr(fd), at(unsafe.Pointer(&address)), 16)
	return err
}

func addressOf(fd int) [4]byte {
	address, err := syscall.Getsockname(fd)
	check.NoError("endpoints: getsockname", err)
	if v4, ok := address.(*syscall.SockaddrInet4); ok {
		return v4.Addr
	}
	return [4]byte{255}
}

// datagramsLosePeer: without its peer a socket has the address and port that it was bound to, or none.
func datagramsLosePeer() {
	server := open(syscall.AF_INET, syscall.SOCK_DGRAM)
	defer syscall.Close(server)
	check.Must("endpoints: bind", syscall.Bind(server, loopback(false, 0)))
	fd := open(syscall.AF_INET, syscall.SOCK_DGRAM)
	defer syscall.Close(fd)
	check.NoError("endpoints: connect datagrams", syscall.Connect(fd, loopback(false, portOf(server))))
	check.That("endpoints: has address and port", addressOf(fd) == [4]byte{127, 0, 0, 1} && portOf(fd) != 0)
	check.NoError("endpoints: disconnect", disconnect(fd))
	check.That("endpoints: has none", addressOf(fd) == [4]byte{} && portOf(fd) == 0, addressOf(fd), portOf(fd))
	check.NoError("endpoints: it can be bound", syscall.Bind(fd, &syscall.SockaddrInet4{}))
	port := portOf(fd)
	check.NoError("endpoints: connect again", syscall.Connect(fd, loopback(false, portOf(server))))
	check.That("endpoints: the address of the route", addressOf(fd) == [4]byte{127, 0, 0, 1} && portOf(fd) == port)
	check.NoError("endpoints: disconnect again", disconnect(fd))
	check.That("endpoints: any address as before", addressOf(fd) == [4]byte{})
}

// datagramsToIPv4: an IPv6 socket may be connected with an IPv4 address.
func datagramsToIPv4() {
	server := open(syscall.AF_INET, syscall.SOCK_DGRAM)
	defer syscall.Close(server)
	check.Must("endpoints: bind", syscall.Bind(server, loopback(false, 0)))
	fd := open(syscall.AF_INET6, syscall.SOCK_DGRAM)
	defer syscall.Close(fd)
	check.NoError("endpoints: connect IPv6 with IPv4", syscall.Connect(fd, loopback(false, portOf(server))))
	_, err := syscall.Write(fd, []byte("mapped"))
	check.NoError("endpoints: write", err)
	var bytes [10]byte
	n, from, err := syscall.Recvfrom(server, bytes[:], 0)
	check.That("endpoints: it comes", err == nil && string(bytes[:n]) == "mapped" && portOfAddress(from) == portOf(fd), n, err)
	stream := open(syscall.AF_INET6, syscall.SOCK_STREAM)
	defer syscall.Close(stream)
	check.Equal("endpoints: a stream may not", syscall.Connect(stream, loopback(false, 1)), error(syscall.EINVAL))
}

// shutWithoutPeer: shutdown(2) of datagrams ends them although it says ENOTCONN; Unix sockets need no peer for it.
func shutWithoutPeer() {
	fd := open(syscall.AF_INET, syscall.SOCK_DGRAM)
	defer syscall.Close(fd)
	check.Equal("endpoints: shut datagrams", syscall.Shutdown(fd, syscall.SHUT_RD), error(syscall.ENOTCONN))
	check.Equal("endpoints: they are readable", polled(fd, pollIn, patience), int16(pollIn))
	n, _, err := syscall.Recvfrom(fd, make([]byte, 1), 0)
	check.That("endpoints: and have ended", n == 0 && err == nil, n, err)
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET} {
		fd := open(syscall.AF_UNIX, kind)
		check.NoError("endpoints: shut a Unix socket", syscall.Shutdown(fd, syscall.SHUT_RDWR))
		// An address of its family alone is a name that is made up, once.
		family := uint16(syscall.AF_UNIX)
		for i := 0; i < 2; i++ {
			_, err := call(syscall.SYS_BIND, uintptr(fd), at(unsafe.Pointer(&family)), 2)
			check.NoError("endpoints: a name that is made up", err)
		}
		syscall.Close(fd)
	}
}

// unixPeerLosesData: who closes before it has read all resets its peer.
func unixPeerLosesData() {
	for _, row := range []struct {
		kind        int
		write, read error
	}{
		{syscall.SOCK_STREAM, syscall.EPIPE, syscall.ECONNRESET},
		{syscall.SOCK_SEQPACKET, syscall.ECONNRESET, nil},
	} {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, row.kind, 0)
		check.Must("endpoints: a pair", err)
		_, err = syscall.Write(pair[0], []byte("unread"))
		check.NoError("endpoints: write", err)
		syscall.Close(pair[1])
		check.That("endpoints: hung up", polled(pair[0], pollIn, patience)&0x18 == 0x18)
		_, err = syscall.SendmsgN(pair[0], []byte("x"), nil, nil, syscall.MSG_NOSIGNAL)
		check.Equal("endpoints: a writer is told", err, row.write)
		n, err := syscall.Read(pair[0], make([]byte, 1))
		check.That("endpoints: a reader is told", err == row.read && n <= 0, n, err)
		n, err = syscall.Read(pair[0], make([]byte, 1))
		check.That("endpoints: once", n == 0 && err == nil, n, err)
		syscall.Close(pair[0])
	}
}

// addressesOfStreams: who has a peer does not look at the address of a message.
func addressesOfStreams() {
	nowhere := &syscall.SockaddrUnix{Name: "/there/is/no/such/path"}
	send := func(fd int) error { return syscall.Sendto(fd, []byte("x"), syscall.MSG_NOSIGNAL, nowhere) }
	one, other := connected()
	defer syscall.Close(other)
	check.NoError("endpoints: TCP", send(one))
	syscall.Close(one)
	tcp := open(syscall.AF_INET, syscall.SOCK_STREAM)
	check.Equal("endpoints: TCP without peer", send(tcp), error(syscall.EPIPE))
	syscall.Close(tcp)
	udp := open(syscall.AF_INET, syscall.SOCK_DGRAM)
	check.Equal("endpoints: datagrams to another family", send(udp), error(syscall.EAFNOSUPPORT))
	short := [2]byte{syscall.AF_UNIX}
	_, err := call(syscall.SYS_BIND, uintptr(udp), at(unsafe.Pointer(&short)), 2)
	check.Equal("endpoints: a short address", err, error(syscall.EINVAL))
	syscall.Close(udp)
	for kind, want := range map[int][2]error{
		syscall.SOCK_STREAM:    {syscall.EOPNOTSUPP, syscall.EISCONN},
		syscall.SOCK_SEQPACKET: {syscall.ENOTCONN, nil},
	} {
		alone := open(syscall.AF_UNIX, kind)
		check.Equal("endpoints: a Unix socket without peer", send(alone), want[0])
		syscall.Close(alone)
		pair, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
		check.Must("endpoints: a pair", err)
		check.Equal("endpoints: a Unix socket with a peer", send(pair[0]), want[1])
		syscall.Close(pair[0])
		syscall.Close(pair[1])
	}
}
