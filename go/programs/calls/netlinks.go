package main

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	netlinkGeneric = 16
	netlinkCapAck  = 10
	netlinkExtAck  = 11
	netlinkStrict  = 12

	netlinkAddMembership  = 1
	netlinkDropMembership = 2

	solNetlink        = 270
	genericControl    = 16
	getFamily         = 3
	newFamily         = 1
	familyID          = 1
	familyName        = 2
	familyVersion     = 3
	familyHeaderSize  = 4
	familyOperations  = 6
	familyGroups      = 7
	flagCapped        = 0x100
	netlinkHeaderSize = 16
)

// netlinks: families of generic netlink are looked up by name, and requests are answered as netlink(7) says.
func netlinks() {
	for _, kind := range []int{syscall.SOCK_RAW, syscall.SOCK_DGRAM} {
		fd, err := syscall.Socket(syscall.AF_NETLINK, kind, netlinkGeneric)
		check.Must("netlinks: a socket", err)
		check.Equal("netlinks: its protocol", option(fd, syscall.SOL_SOCKET, syscall.SO_PROTOCOL), netlinkGeneric)
		check.Equal("netlinks: its type", option(fd, syscall.SOL_SOCKET, syscall.SO_TYPE), kind)
		syscall.Close(fd)
	}
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW, netlinkGeneric)
	check.Must("netlinks: a socket", err)
	defer syscall.Close(fd)
	check.NoError("netlinks: bind", syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}))
	// Another protocol has ports of its own.
	route := open(syscall.AF_NETLINK, syscall.SOCK_RAW)
	check.NoError("netlinks: bind", syscall.Bind(route, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}))
	check.Equal("netlinks: the same port", netlinkPort(route), netlinkPort(fd))
	syscall.Close(route)

	request := func(kind, flags uint16, body []byte) []syscall.NetlinkMessage {
		check.NoError("netlinks: send", sendNetlink(fd, kind, flags|syscall.NLM_F_REQUEST, body))
		return receiveNetlink(fd)
	}
	find := func(attribute uint16, value string) []byte {
		return append([]byte{getFamily, 1, 0, 0}, netlinkAttribute(attribute, value)...)
	}
	for _, body := range [][]byte{find(familyName, "nlctrl\x00"), find(familyID, "\x10\x00")} {
		controlFamily(request(genericControl, 0, body), 0)
	}
	answers := request(genericControl, syscall.NLM_F_ACK, find(familyName, "nlctrl\x00"))
	controlFamily(answers, 0)
	acknowledged(receiveNetlink(fd), 0, netlinkHeaderSize)
	all := request(genericControl, syscall.NLM_F_DUMP, find(familyName, "nlctrl\x00")[:4])
	controlFamily(all, syscall.NLM_F_MULTI)
	for all[len(all)-1].Header.Type != syscall.NLMSG_DONE {
		all = append(all, receiveNetlink(fd)...)
	}
	nobody := find(familyName, "nobody\x00")
	acknowledged(request(genericControl, 0, nobody), syscall.ENOENT, netlinkHeaderSize+len(nobody))
	acknowledged(request(99, 0, nobody), syscall.ENOENT, netlinkHeaderSize+len(nobody))
	acknowledged(request(genericControl, 0, []byte{99, 1, 0, 0}), syscall.EOPNOTSUPP, netlinkHeaderSize+4)
	acknowledged(request(genericControl, 0, nobody[:4]), syscall.EINVAL, netlinkHeaderSize+4)
	acknowledged(request(syscall.NLMSG_NOOP, syscall.NLM_F_ACK, nil), 0, netlinkHeaderSize)
	for _, name := range []int{netlinkCapAck, netlinkExtAck, netlinkStrict} {
		check.Equal("netlinks: option off at first", option(fd, solNetlink, name), 0)
		check.NoError("netlinks: option on", syscall.SetsockoptInt(fd, solNetlink, name, 1))
		check.Equal("netlinks: option reads back", option(fd, solNetlink, name), 1)
		check.NoError("netlinks: option off", syscall.SetsockoptInt(fd, solNetlink, name, 0))
	}
	_, err = syscall.GetsockoptInt(fd, solNetlink, netlinkAddMembership)
	check.Equal("netlinks: cannot be read", err, error(syscall.ENOPROTOOPT))
	for _, name := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
		check.NoError("netlinks: room", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, name, 8192))
		check.Equal("netlinks: is doubled", option(fd, syscall.SOL_SOCKET, name), 16384)
	}
	check.Equal("netlinks: no group", syscall.SetsockoptInt(fd, solNetlink, netlinkAddMembership, 0), error(syscall.EINVAL))
	check.NoError("netlinks: join", syscall.SetsockoptInt(fd, solNetlink, netlinkAddMembership, 16))
	check.Equal("netlinks: joined", netlinkGroups(fd), uint32(1<<15))
	check.NoError("netlinks: leave", syscall.SetsockoptInt(fd, solNetlink, netlinkDropMembership, 16))
	check.Equal("netlinks: left", netlinkGroups(fd), uint32(0))
	check.NoError("netlinks: short answers", syscall.SetsockoptInt(fd, solNetlink, netlinkCapAck, 1))
	acknowledged(request(genericControl, 0, nobody), syscall.ENOENT, netlinkHeaderSize)

	// A filter sees the answers: it lets pass those of 20 bytes of error and header, and no others.
	filter := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_LEN},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: 1, K: 36},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0xffff},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
	}
	check.NoError("netlinks: filter", syscall.AttachLsf(fd, filter))
	check.NoError("netlinks: send", sendNetlink(fd, genericControl, syscall.NLM_F_REQUEST, find(familyName, "nlctrl\x00")))
	check.Equal("netlinks: kept out", polled(fd, pollIn, 0), int16(0))
	acknowledged(request(genericControl, 0, nobody), syscall.ENOENT, netlinkHeaderSize)
	check.NoError("netlinks: no filter", syscall.DetachLsf(fd))
	controlFamily(request(genericControl, 0, find(familyName, "nlctrl\x00")), 0)
}

func netlinkPort(fd int) uint32 {
	address, err := syscall.Getsockname(fd)
	check.NoError("netlinks: getsockname", err)
	return address.(*syscall.SockaddrNetlink).Pid
}

func netlinkGroups(fd int) uint32 {
	address, err := syscall.Getsockname(fd)
	check.NoError("netlinks: getsockname", err)
	return address.(*syscall.SockaddrNetlink).Groups
}

func sendNetlink(fd int, kind, flags uint16, body []byte) error {
	message := make([]byte, netlinkHeaderSize, netlinkHeaderSize+len(body))
	*(*syscall.NlMsghdr)(unsafe.Pointer(&message[0])) = syscall.NlMsghdr{
		Len: uint32(netlinkHeaderSize + len(body)), Type: kind, Flags: flags, Seq: 77,
	}
	return syscall.Sendto(fd, append(message, body...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
}

func receiveNetlink(fd int) []syscall.NetlinkMessage {
	check.Equal("netlinks: an answer", polled(fd, pollIn, patience), int16(pollIn))
	bytes := make([]byte, 1<<16)
	n, _, err := syscall.Recvfrom(fd, bytes, syscall.MSG_DONTWAIT)
	check.NoError("netlinks: receive", err)
	if n < 0 {
		n = 0
	}
	messages, err := syscall.ParseNetlinkMessage(bytes[:n])
	check.NoError("netlinks: parse", err)
	check.That("netlinks: messages", len(messages) > 0 && messages[0].Header.Seq == 77, messages)
	return messages
}

func netlinkAttribute(number uint16, value string) []byte {
	bytes := make([]byte, (4+len(value)+3)&^3)
	binary.LittleEndian.PutUint16(bytes, uint16(4+len(value)))
	binary.LittleEndian.PutUint16(bytes[2:], number)
	copy(bytes[4:], value)
	return bytes
}

// netlinkAttributes are those in some bytes, by number.
func netlinkAttributes(bytes []byte) map[uint16]string {
	found := map[uint16]string{}
	for len(bytes) >= 4 {
		length := int(binary.LittleEndian.Uint16(bytes))
		if length < 4 || length > len(bytes) {
			break
		}
		found[binary.LittleEndian.Uint16(bytes[2:])] = string(bytes[4:length])
		if length = (length + 3) &^ 3; length > len(bytes) {
			break
		}
		bytes = bytes[length:]
	}
	return found
}

// controlFamily: the first message tells of the family that looks up others.
func controlFamily(messages []syscall.NetlinkMessage, flags uint16) {
	message := messages[0]
	check.Equal("netlinks: type", message.Header.Type, uint16(genericControl))
	check.Equal("netlinks: flags", message.Header.Flags, flags)
	check.That("netlinks: a family", len(message.Data) > 4 && message.Data[0] == newFamily, message.Data)
	found := netlinkAttributes(message.Data[4:])
	check.Equal("netlinks: name", found[familyName], "nlctrl\x00")
	check.Equal("netlinks: number", found[familyID], "\x10\x00")
	check.Equal("netlinks: version", found[familyVersion], "\x02\x00\x00\x00")
	check.Equal("netlinks: header", found[familyHeaderSize], "\x00\x00\x00\x00")
	operations := netlinkAttributes([]byte(found[familyOperations]))
	check.Equal("netlinks: its operation", netlinkAttributes([]byte(operations[1]))[1], "\x03\x00\x00\x00")
	groups := netlinkAttributes([]byte(found[familyGroups]))
	check.Equal("netlinks: its group", netlinkAttributes([]byte(groups[1]))[1], "notify\x00")
	check.Equal("netlinks: the group's number", netlinkAttributes([]byte(groups[1]))[2], "\x10\x00\x00\x00")
}

// acknowledged: the only message tells how it went, and repeats so many bytes of the request.
func acknowledged(messages []syscall.NetlinkMessage, errno syscall.Errno, repeated int) {
	check.Equal("netlinks: one answer", len(messages), 1)
	message := messages[0]
	check.Equal("netlinks: an error", message.Header.Type, uint16(syscall.NLMSG_ERROR))
	check.Equal("netlinks: how it went", -int32(binary.LittleEndian.Uint32(message.Data)), int32(errno))
	check.Equal("netlinks: what it repeats", len(message.Data), 4+repeated)
	flags := uint16(0)
	if repeated == netlinkHeaderSize {
		flags = flagCapped
	}
	check.Equal("netlinks: its flags", message.Header.Flags, flags)
}
