package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	protoMPTCP  = 262
	solMPTCP    = 284
	mptcpInfo   = 1
	tcpIsMPTCP  = 43
	soProtocol  = 38
	keyReceived = 2
)

// info is struct mptcp_info, or why there is none.
func info(fd int) ([]byte, error) {
	bytes := make([]byte, 256)
	length := uint32(len(bytes))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), solMPTCP, mptcpInfo,
		uintptr(unsafe.Pointer(&bytes[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return nil, errno
	}
	return bytes[:length], nil
}

// speaks checks what a connection tells of MPTCP, where `sent` and `received` bytes went over it.
func speaks(name string, fd int, sent, received uint64) {
	check.Equal(name+": SO_PROTOCOL", option(fd, syscall.SOL_SOCKET, soProtocol), protoMPTCP)
	check.Equal(name+": TCP_IS_MPTCP", option(fd, syscall.IPPROTO_TCP, tcpIsMPTCP), 1)
	told, err := info(fd)
	if !check.That(name+": MPTCP_INFO", err == nil && len(told) >= 56, len(told), err) {
		return
	}
	check.Equal(name+": flags", binary.LittleEndian.Uint32(told[8:]), uint32(keyReceived))
	check.That(name+": token", binary.LittleEndian.Uint32(told[12:]) != 0)
	// Linux counts bytes since 6.5.
	if len(told) >= 80 {
		check.Equal(name+": sent", binary.LittleEndian.Uint64(told[56:]), sent)
		check.Equal(name+": received", binary.LittleEndian.Uint64(told[64:]), received)
	}
}

// speaksNot checks a connection that is plain TCP; proto is what the socket was made with.
func speaksNot(name string, fd, proto int, why syscall.Errno) {
	check.Equal(name+": SO_PROTOCOL", option(fd, syscall.SOL_SOCKET, soProtocol), proto)
	check.Equal(name+": TCP_IS_MPTCP", option(fd, syscall.IPPROTO_TCP, tcpIsMPTCP), 0)
	_, err := info(fd)
	check.Equal(name+": MPTCP_INFO", err, error(why))
}

// connection is one between a listener and a client made with these protocols.
func connection(name string, family, listens, connects int) (client, accepted int) {
	listener, err := syscall.Socket(family, syscall.SOCK_STREAM, listens)
	check.Must(name+": listener", err)
	defer syscall.Close(listener)
	var at syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == syscall.AF_INET6 {
		at = &syscall.SockaddrInet6{Addr: [16]byte{15: 1}}
	}
	check.Must(name+": bind", syscall.Bind(listener, at))
	check.Must(name+": listen", syscall.Listen(listener, 5))
	check.Equal(name+": the listener's SO_PROTOCOL", option(listener, syscall.SOL_SOCKET, soProtocol), listens)
	at, err = syscall.Getsockname(listener)
	check.Must(name+": getsockname", err)
	client, err = syscall.Socket(family, syscall.SOCK_STREAM, connects)
	check.Must(name+": client", err)
	check.Equal(name+": the client's SO_PROTOCOL", option(client, syscall.SOL_SOCKET, soProtocol), connects)
	check.Must(name+": connect", syscall.Connect(client, at))
	accepted, _, err = syscall.Accept(listener)
	check.Must(name+": accept", err)
	return client, accepted
}

func exchange(name string, client, accepted int) {
	_, err := syscall.Write(client, []byte("a few bytes"))
	check.NoError(name+": write", err)
	bytes := make([]byte, 100)
	n, err := syscall.Read(accepted, bytes)
	check.That(name+": read", string(bytes[:n]) == "a few bytes", n, err)
}

// multipath: both ends must ask for MPTCP, else it is TCP.
func multipath() {
	enabled, _ := os.ReadFile("/proc/sys/net/mptcp/enabled")
	if strings.TrimSpace(string(enabled)) != "1" {
		fmt.Println("multipath: this Linux was built without it")
		return
	}
	_, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, protoMPTCP)
	check.Equal("multipath: datagrams", err, error(syscall.EPROTONOSUPPORT))
	for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		refusal := syscall.EOPNOTSUPP
		if family == syscall.AF_INET6 {
			refusal = syscall.ENOPROTOOPT
		}
		name := fmt.Sprintf("multipath, family %d", family)
		client, accepted := connection(name, family, protoMPTCP, protoMPTCP)
		speaks(name+": client", client, 0, 0)
		exchange(name, client, accepted)
		speaks(name+": accepted", accepted, 0, 11)
		syscall.Close(client)
		syscall.Close(accepted)

		name = fmt.Sprintf("multipath asked for by the listener, family %d", family)
		client, accepted = connection(name, family, protoMPTCP, syscall.IPPROTO_TCP)
		speaksNot(name+": client", client, syscall.IPPROTO_TCP, refusal)
		speaksNot(name+": accepted", accepted, syscall.IPPROTO_TCP, refusal)
		exchange(name, client, accepted)
		syscall.Close(client)
		syscall.Close(accepted)

		name = fmt.Sprintf("multipath asked for by the client, family %d", family)
		client, accepted = connection(name, family, syscall.IPPROTO_TCP, protoMPTCP)
		speaksNot(name+": client", client, protoMPTCP, refusal)
		speaksNot(name+": accepted", accepted, syscall.IPPROTO_TCP, refusal)
		exchange(name, client, accepted)
		syscall.Close(client)
		syscall.Close(accepted)
	}
}
