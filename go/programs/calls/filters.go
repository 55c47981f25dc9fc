package main

import (
	"net"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	soAttachFilter = 26
	soDetachFilter = 27
	soLockFilter   = 44
)

// program is struct sock_fprog.
type program struct {
	length uint16
	filter *syscall.SockFilter
}

func attach(socket int, filter []syscall.SockFilter) error {
	program := program{length: uint16(len(filter))}
	if len(filter) > 0 {
		program.filter = &filter[0]
	}
	_, err := call(syscall.SYS_SETSOCKOPT, uintptr(socket), syscall.SOL_SOCKET, soAttachFilter, at(unsafe.Pointer(&program)), unsafe.Sizeof(program))
	runtime.KeepAlive(filter)
	return err
}

func step(code uint16, jumpTrue, jumpFalse uint8, k uint32) syscall.SockFilter {
	return syscall.SockFilter{Code: code, Jt: jumpTrue, Jf: jumpFalse, K: k}
}

// evenAt lets packets pass whose byte there is even, of which it keeps so many bytes.
func evenAt(offset, kept uint32) []syscall.SockFilter {
	return []syscall.SockFilter{step(0x30, 0, 0, offset), step(0x54, 0, 0, 1), step(0x15, 0, 1, 0), step(6, 0, 0, kept), step(6, 0, 0, 0)}
}

// filters: SO_ATTACH_FILTER and its kin.
func filters() {
	for _, domain := range []int{syscall.AF_INET, syscall.AF_INET6} {
		filteredDatagrams(domain)
	}
	filteredUnix()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	check.Must("filter: socket", err)
	defer syscall.Close(socket)
	for name, bad := range map[string][]syscall.SockFilter{
		"none":                    {},
		"no end":                  {step(0, 0, 0, 0)},
		"unknown":                 {step(0x99, 0, 0, 0), step(6, 0, 0, 0)},
		"division by zero":        {step(0x34, 0, 0, 0), step(6, 0, 0, 0)},
		"a jump too far":          {step(0x15, 0, 1, 0), step(6, 0, 0, 0)},
		"an endless jump":         {step(5, 0, 0, ^uint32(0)), step(6, 0, 0, 0)},
		"a shift too far":         {step(0x64, 0, 0, 32), step(6, 0, 0, 0)},
		"no such cell":            {step(2, 0, 0, 16), step(6, 0, 0, 0)},
		"a cell never written":    {step(0x60, 0, 0, 0), step(0x16, 0, 0, 0)},
		"written on one way only": {step(0x15, 0, 1, 0), step(2, 0, 0, 1), step(0x60, 0, 0, 1), step(6, 0, 0, 0)},
		"no such knowledge":       {step(0x20, 0, 0, 0xfffff001), step(6, 0, 0, 0)},
		"too many":                append(make([]syscall.SockFilter, 4096), step(6, 0, 0, 0)),
	} {
		check.Equal("filter: "+name, attach(socket, bad), error(syscall.EINVAL))
	}
	check.NoError("filter: as many as may be", attach(socket, append(make([]syscall.SockFilter, 4095), step(6, 0, 0, 0))))
	one := int32(1)
	option := func(option, length uintptr) error {
		_, err := call(syscall.SYS_SETSOCKOPT, uintptr(socket), syscall.SOL_SOCKET, option, at(unsafe.Pointer(&one)), length)
		return err
	}
	check.Equal("filter: half a structure", option(soAttachFilter, 8), error(syscall.EINVAL))
	check.NoError("filter: detach", option(soDetachFilter, 4))
	check.Equal("filter: detach again", option(soDetachFilter, 4), error(syscall.ENOENT))
	check.NoError("filter: another", attach(socket, evenAt(8, 100)))
	check.NoError("filter: lock", option(soLockFilter, 4))
	check.Equal("filter: locked", attach(socket, evenAt(8, 100)), error(syscall.EPERM))
	check.Equal("filter: not detached", option(soDetachFilter, 4), error(syscall.EPERM))
	one = 0
	check.Equal("filter: not unlocked", option(soLockFilter, 4), error(syscall.EPERM))
	locked, err := syscall.GetsockoptInt(socket, syscall.SOL_SOCKET, soLockFilter)
	check.That("filter: is locked", locked == 1 && err == nil, locked, err)
}

// filteredDatagrams: a filter of UDP sees the header, and may cut off the end.
func filteredDatagrams(domain int) {
	address := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	if domain == syscall.AF_INET6 {
		address.IP = net.IPv6loopback
	}
	listener, err := net.ListenUDP("udp", &address)
	if err != nil && domain == syscall.AF_INET6 {
		return
	}
	check.Must("filter: listen", err)
	defer listener.Close()
	raw, _ := listener.SyscallConn()
	set := func(filter []syscall.SockFilter) {
		raw.Control(func(socket uintptr) { check.NoError("filter: attach", attach(int(socket), filter)) })
	}
	sender, err := net.DialUDP("udp", nil, listener.LocalAddr().(*net.UDPAddr))
	check.Must("filter: dial", err)
	defer sender.Close()
	next := func() string {
		listener.SetReadDeadline(time.Now().Add(20 * time.Second))
		var buffer [64]byte
		n, _, err := listener.ReadFrom(buffer[:])
		if err != nil {
			return err.Error()
		}
		return string(buffer[:n])
	}
	set(evenAt(8, 8+3))
	for _, text := range []string{"1 odd", "2 even", "3", "4"} {
		sender.Write([]byte(text))
	}
	check.Equal("filter: the first even one, cut", next(), "2 e")
	check.Equal("filter: the second", next(), "4")
	port := uint32(sender.LocalAddr().(*net.UDPAddr).Port)
	// ldh [0]; jeq port; ld len; jeq 13: who sent it, and how long it is with its header.
	set([]syscall.SockFilter{step(0x28, 0, 0, 0), step(0x15, 0, 3, port), step(0x80, 0, 0, 0), step(0x15, 0, 1, 13), step(6, 0, 0, 8), step(6, 0, 0, 0)})
	sender.Write([]byte("1234"))
	sender.Write([]byte("12345"))
	check.Equal("filter: nothing but the header", next(), "")
	set([]syscall.SockFilter{step(0x28, 0, 0, 2), step(0x15, 0, 1, uint32(listener.LocalAddr().(*net.UDPAddr).Port)), step(6, 0, 0, ^uint32(0)), step(6, 0, 0, 0)})
	sender.Write([]byte("its port"))
	check.Equal("filter: to which port", next(), "its port")
}

// filteredUnix: a filter of Unix sockets sees the bytes; streams have it without effect.
func filteredUnix() {
	for _, kind := range []int{syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET, syscall.SOCK_STREAM} {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_NONBLOCK, 0)
		check.Must("filter: pair", err)
		check.NoError("filter: attach to a Unix socket", attach(pair[1], evenAt(0, 2)))
		for _, text := range []string{"1ab", "2ab"} {
			n, err := syscall.Write(pair[0], []byte(text))
			check.That("filter: the sender learns nothing", n == 3 && err == nil, n, err)
		}
		var buffer [64]byte
		n, err := syscall.Read(pair[1], buffer[:])
		want := "2a"
		if kind == syscall.SOCK_STREAM {
			want = "1ab2ab"
		}
		check.That("filter: what comes through", err == nil && string(buffer[:n]) == want, kind, string(buffer[:n]), err)
		syscall.Close(pair[0])
		syscall.Close(pair[1])
	}
}
