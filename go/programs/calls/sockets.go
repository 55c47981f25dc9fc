package main

import (
	"bytes"
	"net"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	solUDP         = 17
	udpSegment     = 103
	udpGRO         = 104
	tcpCork        = 3
	tcpQuickAck    = 12
	tcpFastOpen    = 23
	tcpFastConnect = 30
)

func option(fd, level, name int) int {
	value, err := syscall.GetsockoptInt(fd, level, name)
	check.NoError("getsockopt", err)
	return value
}

// cuts sends one message in segments and reads the datagrams that come of it.
func cuts(name string, from, to *net.UDPConn, control []byte, message []byte, segment int) {
	n, _, err := from.WriteMsgUDP(message, control, to.LocalAddr().(*net.UDPAddr))
	check.That(name+": sent", n == len(message) && err == nil, n, err)
	var got []byte
	buffer := make([]byte, 65536)
	to.SetReadDeadline(time.Now().Add(20 * time.Second))
	for len(got) < len(message) {
		n, err := to.Read(buffer)
		left := len(message) - len(got)
		want := segment
		if left < segment {
			want = left
		}
		if !check.That(name+": a datagram", n == want && err == nil, n, err) {
			return
		}
		got = append(got, buffer[:n]...)
	}
	check.That(name+": the bytes", bytes.Equal(got, message))
}

// segmentation: UDP_SEGMENT as an option and as a control message, as QUIC libraries send.
func segmentation() {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		at, err := net.ResolveUDPAddr("udp", address)
		check.Must("udp: address", err)
		server, err := net.ListenUDP("udp", at)
		check.Must("udp: server", err)
		client, err := net.ListenUDP("udp", at)
		check.Must("udp: client", err)
		message := make([]byte, 10100)
		for i := range message {
			message[i] = byte(i * 7)
		}
		control := make([]byte, syscall.CmsgSpace(2))
		header := (*syscall.Cmsghdr)(unsafe.Pointer(&control[0]))
		header.Level, header.Type = solUDP, udpSegment
		header.SetLen(syscall.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&control[syscall.CmsgLen(0)])) = 1200
		cuts("udp: control message", client, server, control, message, 1200)
		header.SetLen(syscall.CmsgLen(1))
		_, _, err = client.WriteMsgUDP(message, control, server.LocalAddr().(*net.UDPAddr))
		check.That("udp: a short control message", err != nil && errno(err) == syscall.EINVAL, err)
		raw, err := client.SyscallConn()
		check.Must("udp: raw", err)
		raw.Control(func(descriptor uintptr) {
			fd := int(descriptor)
			check.Equal("udp: not cut at first", option(fd, solUDP, udpSegment), 0)
			check.NoError("udp: UDP_SEGMENT", syscall.SetsockoptInt(fd, solUDP, udpSegment, 1000))
			check.Equal("udp: UDP_SEGMENT reads back", option(fd, solUDP, udpSegment), 1000)
			check.Equal("udp: too long", syscall.SetsockoptInt(fd, solUDP, udpSegment, 65536), error(syscall.EINVAL))
			check.Equal("udp: UDP_GRO is off", option(fd, solUDP, udpGRO), 0)
			check.NoError("udp: UDP_GRO", syscall.SetsockoptInt(fd, solUDP, udpGRO, 1))
			check.Equal("udp: UDP_GRO is on", option(fd, solUDP, udpGRO), 1)
			check.Equal("udp: no such option", syscall.SetsockoptInt(fd, solUDP, 9999, 1), error(syscall.ENOPROTOOPT))
		})
		cuts("udp: option", client, server, nil, message, 1000)
		server.Close()
		client.Close()
	}
}

// errno is what a network error came of.
func errno(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = inner.Unwrap()
	}
}

func tcpOptions() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check.Must("tcp: socket", err)
	defer syscall.Close(fd)
	check.Equal("tcp: TCP_CORK is off", option(fd, syscall.IPPROTO_TCP, tcpCork), 0)
	check.NoError("tcp: TCP_CORK", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpCork, 5))
	check.Equal("tcp: TCP_CORK is on", option(fd, syscall.IPPROTO_TCP, tcpCork), 1)
	check.NoError("tcp: TCP_CORK off", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpCork, 0))
	check.NoError("tcp: TCP_QUICKACK", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpQuickAck, 1))
	check.Equal("tcp: TCP_FASTOPEN is off", option(fd, syscall.IPPROTO_TCP, tcpFastOpen), 0)
	check.NoError("tcp: TCP_FASTOPEN", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpFastOpen, 16))
	check.Equal("tcp: TCP_FASTOPEN reads back", option(fd, syscall.IPPROTO_TCP, tcpFastOpen), 16)
	check.Equal("tcp: TCP_FASTOPEN below zero", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpFastOpen, -1), error(syscall.EINVAL))
	check.Equal("tcp: TCP_FASTOPEN_CONNECT of 2", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpFastConnect, 2), error(syscall.EINVAL))
	// It works on Linux, unless it is switched off.
	err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpFastConnect, 1)
	check.That("tcp: TCP_FASTOPEN_CONNECT", err == nil || err == syscall.EOPNOTSUPP, err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must("tcp: listen", err)
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	check.Must("tcp: dial", err)
	defer client.Close()
	server, err := listener.Accept()
	check.Must("tcp: accept", err)
	defer server.Close()
	raw, err := client.(*net.TCPConn).SyscallConn()
	check.Must("tcp: raw", err)
	cork := func(on int) {
		raw.Control(func(fd uintptr) {
			check.NoError("tcp: TCP_CORK", syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpCork, on))
		})
	}
	raw.Control(func(fd uintptr) {
		err := syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpFastOpen, 1)
		check.Equal("tcp: TCP_FASTOPEN of a connection", err, error(syscall.EINVAL))
	})
	// Whatever is corked comes in the end, with and without pulling the cork.
	message := make([]byte, 3000)
	buffer := make([]byte, 3000)
	server.SetDeadline(time.Now().Add(20 * time.Second))
	for _, pull := range []bool{true, false} {
		cork(1)
		for i := 0; i < len(message); i += 100 {
			client.Write(message[i : i+100])
		}
		if pull {
			cork(0)
		}
		got := 0
		for got < len(message) {
			n, err := server.Read(buffer)
			got += n
			if err != nil {
				check.NoError("tcp: corked bytes come", err)
				break
			}
		}
		check.Equal("tcp: all corked bytes", got, len(message))
	}
}
