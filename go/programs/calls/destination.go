package main

import (
	"encoding/binary"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// destination: IP_RECVORIGDSTADDR tells with a datagram where it was sent to.
func destination() {
	for _, family := range []struct {
		address             string
		level, option, size int
	}{
		{"127.0.0.1:0", syscall.IPPROTO_IP, 20, syscall.SizeofSockaddrInet4},
		{"[::1]:0", syscall.IPPROTO_IPV6, 74, syscall.SizeofSockaddrInet6},
	} {
		at, err := net.ResolveUDPAddr("udp", family.address)
		check.Must("destination: address", err)
		server, err := net.ListenUDP("udp", at)
		check.Must("destination: server", err)
		raw, err := server.SyscallConn()
		check.Must("destination: descriptor", err)
		raw.Control(func(fd uintptr) {
			check.NoError("destination: on", syscall.SetsockoptInt(int(fd), family.level, family.option, 1))
			check.Equal("destination: is on", option(int(fd), family.level, family.option), 1)
		})
		own := server.LocalAddr().(*net.UDPAddr)
		_, err = server.WriteToUDP([]byte("x"), own)
		check.NoError("destination: send", err)
		server.SetReadDeadline(time.Now().Add(20 * time.Second))
		control := make([]byte, 128)
		_, count, _, _, err := server.ReadMsgUDP(make([]byte, 1), control)
		check.NoError("destination: receive", err)
		messages, err := syscall.ParseSocketControlMessage(control[:count])
		if !check.That("destination: a message", err == nil && len(messages) == 1, messages, err) {
			continue
		}
		header, data := messages[0].Header, messages[0].Data
		kind := int(header.Level) == family.level && int(header.Type) == family.option
		check.That("destination: its kind", kind && len(data) == family.size, header)
		check.Equal("destination: its port", int(binary.BigEndian.Uint16(data[2:])), own.Port)
		ip := net.IP(data[4:8])
		if family.size == syscall.SizeofSockaddrInet6 {
			ip = net.IP(data[8:24])
		}
		check.That("destination: its address", ip.Equal(own.IP), ip)
		server.Close()
	}
}

// questions that programs ask and that have a plain answer here.
func questions() {
	const ethtool, entropy = 0x8946, 0x80045200
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	check.Must("ethtool: socket", err)
	defer syscall.Close(fd)
	command := [196]byte{3} // ETHTOOL_GDRVINFO
	var request struct {
		name [16]byte
		data unsafe.Pointer
		rest [16]byte
	}
	request.data = unsafe.Pointer(&command)
	ask := func(name string) error {
		request.name = [16]byte{}
		copy(request.name[:], name)
		_, err := call(syscall.SYS_IOCTL, uintptr(fd), ethtool, at(unsafe.Pointer(&request)))
		return err
	}
	check.Equal("ethtool: of the loopback", ask("lo"), error(syscall.EOPNOTSUPP))
	check.Equal("ethtool: of nothing", ask("nothing"), error(syscall.ENODEV))

	random, err := os.Open("/dev/random")
	check.Must("random: open", err)
	defer random.Close()
	var bits int32
	_, err = call(syscall.SYS_IOCTL, random.Fd(), entropy, at(unsafe.Pointer(&bits)))
	check.That("random: entropy", err == nil && bits > 0 && bits <= 4096, bits, err)
}
