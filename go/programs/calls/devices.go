package main

import (
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const bindToIndex = 62

// devices: a socket that is bound to an interface uses that alone.
func devices() {
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		fd := open(syscall.AF_INET, kind)
		check.Equal("devices: none at first", boundTo(fd), "")
		check.Equal("devices: nor an index", option(fd, syscall.SOL_SOCKET, bindToIndex), 0)
		check.Equal("devices: no such one", bindTo(fd, "nowhere7"), error(syscall.ENODEV))
		check.NoError("devices: lo", bindTo(fd, "lo"))
		check.Equal("devices: reads back", boundTo(fd), "lo")
		check.Equal("devices: its index", option(fd, syscall.SOL_SOCKET, bindToIndex), 1)
		check.NoError("devices: let go", bindTo(fd, ""))
		check.Equal("devices: none again", boundTo(fd), "")
		check.NoError("devices: by index", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, bindToIndex, 1))
		check.Equal("devices: has a name", boundTo(fd), "lo")
		check.Equal("devices: no index", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, bindToIndex, -1), error(syscall.EINVAL))
		syscall.Close(fd)
	}
	sharedPorts()
	server := open(syscall.AF_INET, syscall.SOCK_STREAM)
	defer syscall.Close(server)
	check.NoError("devices: a server on lo", bindTo(server, "lo"))
	check.Must("devices: bind", syscall.Bind(server, &syscall.SockaddrInet4{}))
	check.Must("devices: listen", syscall.Listen(server, 5))
	client := open(syscall.AF_INET, syscall.SOCK_STREAM)
	defer syscall.Close(client)
	check.NoError("devices: a client on lo", bindTo(client, "lo"))
	check.NoError("devices: connect", syscall.Connect(client, loopback(false, portOf(server))))
	accepted, _, err := syscall.Accept(server)
	check.Must("devices: accept", err)
	check.Equal("devices: what is accepted", boundTo(accepted), "lo")
	syscall.Close(accepted)
	udp := udpSocket(false)
	defer syscall.Close(udp)
	check.NoError("devices: datagrams on lo", bindTo(udp, "lo"))
	check.Must("devices: bind", syscall.Bind(udp, loopback(false, 0)))
	check.NoError("devices: send", syscall.Sendto(udp, []byte("x"), 0, loopback(false, portOf(udp))))
	check.Equal("devices: comes", polled(udp, pollIn, patience), int16(pollIn))
}

// sharedPorts: sockets of two interfaces have the same port; what is set after bind(2) counts too.
func sharedPorts() {
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
		var fds []int
		socket := func(index int) int {
			fd := open(syscall.AF_INET, kind)
			fds = append(fds, fd)
			check.NoError("devices: by index", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, bindToIndex, index))
			return fd
		}
		first, second := socket(1), socket(2)
		check.Must("devices: bind", syscall.Bind(first, &syscall.SockaddrInet4{}))
		same := &syscall.SockaddrInet4{Port: portOf(first)}
		check.NoError("devices: the same port by another", syscall.Bind(second, same))
		check.Equal("devices: by the same", syscall.Bind(socket(1), same), error(syscall.EADDRINUSE))
		check.Equal("devices: by all", syscall.Bind(socket(0), same), error(syscall.EADDRINUSE))
		if kind == syscall.SOCK_STREAM {
			check.NoError("devices: one listens", syscall.Listen(first, 1))
			check.NoError("devices: the other listens", syscall.Listen(second, 1))
		} else {
			sender := udpSocket(false)
			check.NoError("devices: send", syscall.Sendto(sender, []byte("x"), 0, loopback(false, portOf(first))))
			check.Equal("devices: comes to the first", polled(first, pollIn, patience), int16(pollIn))
			check.Equal("devices: not to the second", polled(second, pollIn, 0), int16(0))
			syscall.Close(sender)
		}
		old := socket(0)
		check.Must("devices: bind", syscall.Bind(old, &syscall.SockaddrInet4{}))
		same = &syscall.SockaddrInet4{Port: portOf(old)}
		late := socket(0)
		check.NoError("devices: reuse", syscall.SetsockoptInt(late, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
		check.Equal("devices: one of two wants to share", syscall.Bind(late, same), error(syscall.EADDRINUSE))
		check.NoError("devices: reuse, late", syscall.SetsockoptInt(old, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
		check.NoError("devices: both want to", syscall.Bind(late, same))
		check.NoError("devices: let go, late", syscall.SetsockoptInt(old, syscall.SOL_SOCKET, bindToIndex, 1))
		check.NoError("devices: no reuse", syscall.SetsockoptInt(late, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0))
		other := socket(2)
		check.Equal("devices: the other is everywhere", syscall.Bind(other, same), error(syscall.EADDRINUSE))
		check.NoError("devices: as the first", syscall.SetsockoptInt(late, syscall.SOL_SOCKET, bindToIndex, 1))
		check.NoError("devices: there is room", syscall.Bind(other, same))
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}
}

func bindTo(fd int, name string) error {
	return syscall.SetsockoptString(fd, syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, name)
}

func boundTo(fd int) string {
	var bytes [16]byte
	length := uint32(len(bytes))
	_, err := call(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE,
		at(unsafe.Pointer(&bytes)), at(unsafe.Pointer(&length)))
	check.NoError("devices: read", err)
	if length == 0 {
		return ""
	}
	return string(bytes[:length-1])
}
