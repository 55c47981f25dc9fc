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
