package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	freeBind       = 15
	freeBind6      = 78
	transparent    = 19
	transparent6   = 75
	minTTL         = 21
	minHopCount    = 73
	netUnreachable = syscall.ENETUNREACH
	pollWritable   = 4
)

// foreign: IP_FREEBIND and IP_TRANSPARENT let a socket have an address that the machine does not have.
func foreign() {
	for _, row := range []struct {
		name       string
		v6         bool
		kind       int
		level      int
		free, used int
	}{
		{"TCP", false, syscall.SOCK_STREAM, syscall.IPPROTO_IP, freeBind, transparent},
		{"UDP", false, syscall.SOCK_DGRAM, syscall.IPPROTO_IP, freeBind, transparent},
		{"raw", false, syscall.SOCK_RAW, syscall.IPPROTO_IP, freeBind, transparent},
		{"TCP of IPv6", true, syscall.SOCK_STREAM, syscall.IPPROTO_IPV6, freeBind6, transparent6},
		{"UDP of IPv6", true, syscall.SOCK_DGRAM, syscall.IPPROTO_IPV6, freeBind6, transparent6},
		{"raw of IPv6", true, syscall.SOCK_RAW, syscall.IPPROTO_IPV6, freeBind6, transparent6},
		{"IPv6 by an option of IPv4", true, syscall.SOCK_DGRAM, syscall.IPPROTO_IP, freeBind, transparent},
	} {
		name := "foreign: " + row.name
		family, number := syscall.AF_INET, 0
		var nobodys syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}
		if row.v6 {
			family = syscall.AF_INET6
			nobodys = &syscall.SockaddrInet6{Addr: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}
		}
		here := loopback(row.v6, 9)
		if row.kind == syscall.SOCK_RAW {
			number = 253
			here = loopback(row.v6, 0)
		}
		socket := func() int {
			fd, err := syscall.Socket(family, row.kind, number)
			check.Must(name+": a socket", err)
			check.NoError(name+": does not wait", syscall.SetNonblock(fd, true))
			return fd
		}
		fd := socket()
		check.Equal(name+": off at first", option(fd, row.level, row.free), 0)
		check.Equal(name+": refused", syscall.Bind(fd, nobodys), error(syscall.EADDRNOTAVAIL))
		check.NoError(name+": on", syscall.SetsockoptInt(fd, row.level, row.free, 7))
		check.Equal(name+": reads back", option(fd, row.level, row.free), 1)
		check.Equal(name+": not the other", option(fd, row.level, row.used), 0)
		check.NoError(name+": bind", syscall.Bind(fd, nobodys))
		if !row.v6 {
			if row.kind != syscall.SOCK_STREAM {
				check.Equal(name+": is no source", syscall.Sendto(fd, []byte("x"), 0, here), error(netUnreachable))
			}
			check.Equal(name+": connects to nobody", syscall.Connect(fd, here), error(netUnreachable))
		}
		syscall.Close(fd)
		fd = socket()
		check.NoError(name+": transparent", syscall.SetsockoptInt(fd, row.level, row.used, 1))
		check.Equal(name+": reads back", option(fd, row.level, row.used), 1)
		check.Equal(name+": is not free", option(fd, row.level, row.free), 0)
		check.NoError(name+": bind", syscall.Bind(fd, nobodys))
		if row.kind == syscall.SOCK_STREAM {
			check.Equal(name+": is a source", syscall.Connect(fd, here), error(syscall.EINPROGRESS))
		} else {
			check.NoError(name+": is a source", syscall.Sendto(fd, []byte("x"), 0, here))
			check.NoError(name+": of a connection", syscall.Connect(fd, here))
		}
		syscall.Close(fd)
	}
	for _, kind := range []int{syscall.SOCK_DGRAM, syscall.SOCK_RAW} {
		fd := open(syscall.AF_NETLINK, kind)
		check.Equal("foreign: netlink keeps its type", option(fd, syscall.SOL_SOCKET, syscall.SO_TYPE), kind)
		syscall.Close(fd)
	}
	fd := udpSocket(false)
	check.NoError("foreign: bind to a group", syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{224, 0, 0, 254}}))
	check.NoError("foreign: send by it", syscall.Sendto(fd, []byte("x"), 0, loopback(false, 9)))
	syscall.Close(fd)
}

// distances: IP_MINTTL and IPV6_MINHOPCOUNT take only what comes from near.
func distances() {
	for _, v6 := range []bool{false, true} {
		name := fmt.Sprintf("distances: IPv6 %t", v6)
		family, level, least, hops := syscall.AF_INET, syscall.IPPROTO_IP, minTTL, syscall.IP_TTL
		if v6 {
			family, level, least, hops = syscall.AF_INET6, syscall.IPPROTO_IPV6, minHopCount, syscall.IPV6_UNICAST_HOPS
		}
		server := open(family, syscall.SOCK_STREAM)
		check.Equal(name+": none at first", option(server, level, least), 0)
		for _, bad := range []int{-1, 256} {
			check.Equal(name+": no number of hops", syscall.SetsockoptInt(server, level, least, bad), error(syscall.EINVAL))
		}
		check.NoError(name+": neighbours only", syscall.SetsockoptInt(server, level, least, 255))
		check.Equal(name+": reads back", option(server, level, least), 255)
		check.Must(name+": bind", syscall.Bind(server, loopback(v6, 0)))
		check.Must(name+": listen", syscall.Listen(server, 5))
		client := open(family, syscall.SOCK_STREAM)
		check.NoError(name+": does not wait", syscall.SetNonblock(client, true))
		check.Equal(name+": from afar", syscall.Connect(client, loopback(v6, portOf(server))), error(syscall.EINPROGRESS))
		check.Equal(name+": not heard", polled(client, pollWritable, 200*time.Millisecond), int16(0))
		check.NoError(name+": as a neighbour", syscall.SetsockoptInt(client, level, hops, 255))
		check.Equal(name+": heard when it asks again", polled(client, pollWritable, patience), int16(pollWritable))
		accepted, _, err := syscall.Accept(server)
		check.Must(name+": accept", err)
		check.Equal(name+": is inherited", option(accepted, level, least), 255)
		send := func() {
			_, err := syscall.Write(client, []byte("x"))
			check.NoError(name+": send", err)
		}
		send()
		check.Equal(name+": data come", polled(accepted, pollIn, patience), int16(pollIn))
		syscall.Read(accepted, make([]byte, 1))
		check.NoError(name+": from afar again", syscall.SetsockoptInt(client, level, hops, 64))
		send()
		check.Equal(name+": data do not come", polled(accepted, pollIn, 100*time.Millisecond), int16(0))
		check.NoError(name+": from anywhere", syscall.SetsockoptInt(accepted, level, least, 0))
		check.Equal(name+": they come again", polled(accepted, pollIn, patience), int16(pollIn))
		syscall.Close(accepted)
		syscall.Close(client)
		syscall.Close(server)
	}
}
