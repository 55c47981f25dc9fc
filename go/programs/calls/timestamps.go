package main

import (
	"encoding/binary"
	"fmt"
	"io/ioutil"
	"strings"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	timestampNew   = 63
	timestampNsNew = 64
	rxqOvfl        = 40
)

// timestamps: recvmsg tells when a datagram came, and how many were lost before it.
func timestamps() {
	names := []int{syscall.SO_TIMESTAMP, syscall.SO_TIMESTAMPNS, timestampNew, timestampNsNew}
	// Linux begins to look at the clock some time after the first socket asks, and as long as one does.
	first := udpSocket(false)
	defer syscall.Close(first)
	check.NoError("timestamps: on", syscall.SetsockoptInt(first, syscall.SOL_SOCKET, syscall.SO_TIMESTAMP, 1))
	time.Sleep(100 * time.Millisecond)
	for _, v6 := range []bool{false, true} {
		fd := udpSocket(v6)
		check.Must("timestamps: bind", syscall.Bind(fd, loopback(v6, 0)))
		for _, name := range names {
			label := fmt.Sprintf("timestamps: %d, IPv6 %t", name, v6)
			check.Equal(label+": off at first", option(fd, syscall.SOL_SOCKET, name), 0)
			check.NoError(label+": on", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, name, 1))
			for _, other := range names {
				want := 0
				if other == name || other == timestampNew && name == timestampNsNew {
					want = 1
				}
				check.Equal(fmt.Sprint(label, ": reads ", other), option(fd, syscall.SOL_SOCKET, other), want)
			}
			before := time.Now()
			check.NoError(label+": send", syscall.Sendto(fd, []byte("x"), 0, loopback(v6, portOf(fd))))
			after := time.Now()
			time.Sleep(20 * time.Millisecond)
			messages := control(label, fd)
			if len(messages) == 1 && len(messages[0].Data) == 16 {
				check.Equal(label+": level", messages[0].Header.Level, int32(syscall.SOL_SOCKET))
				check.Equal(label+": kind", messages[0].Header.Type, int32(name))
				seconds := int64(binary.LittleEndian.Uint64(messages[0].Data))
				part := int64(binary.LittleEndian.Uint64(messages[0].Data[8:]))
				if name == syscall.SO_TIMESTAMP || name == timestampNew {
					before = before.Truncate(time.Microsecond)
					part *= 1000
				}
				came := time.Unix(seconds, part)
				// Linux's interrupts read a clock that others may have moved on by then.
				early, late := before.Sub(came), came.Sub(after)
				check.That(label+": when it came", early <= time.Millisecond && late <= time.Millisecond, early, late)
			} else {
				check.That(label+": one message", false, messages)
			}
			check.NoError(label+": off", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, name, 0))
			check.NoError(label+": send", syscall.Sendto(fd, []byte("x"), 0, loopback(v6, portOf(fd))))
			check.Equal(label+": nothing said", len(control(label, fd)), 0)
		}
		lost(fd, v6)
		syscall.Close(fd)
	}
}

// lost: what a full queue does not take is counted, for SO_RXQ_OVFL and /proc/net/udp.
func lost(fd int, v6 bool) {
	check.Equal("lost: off at first", option(fd, syscall.SOL_SOCKET, rxqOvfl), 0)
	check.NoError("lost: on", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, rxqOvfl, 1))
	check.Equal("lost: reads back", option(fd, syscall.SOL_SOCKET, rxqOvfl), 1)
	check.NoError("lost: little room", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096))
	const sent = 40
	for i := 0; i < sent; i++ {
		check.NoError("lost: send", syscall.Sendto(fd, make([]byte, 1000), 0, loopback(v6, portOf(fd))))
	}
	queued := uint32(0)
	for ; polled(fd, pollIn, 0) != 0; queued++ {
		check.Equal("lost: none before these", len(control("lost", fd)), 0)
	}
	check.That("lost: some came, some did not", queued > 0 && queued < sent, queued)
	check.NoError("lost: send", syscall.Sendto(fd, []byte("x"), 0, loopback(v6, portOf(fd))))
	messages := control("lost", fd)
	if len(messages) == 1 && len(messages[0].Data) == 4 {
		check.Equal("lost: level", messages[0].Header.Level, int32(syscall.SOL_SOCKET))
		check.Equal("lost: kind", messages[0].Header.Type, int32(rxqOvfl))
		check.Equal("lost: so many", binary.LittleEndian.Uint32(messages[0].Data), sent-queued)
	} else {
		check.That("lost: one message", false, messages)
	}
	name := "/proc/net/udp"
	if v6 {
		name += "6"
	}
	table, err := ioutil.ReadFile(name)
	check.Must("lost: "+name, err)
	var fields []string
	for _, line := range strings.Split(string(table), "\n") {
		if strings.Contains(line, fmt.Sprintf(":%04X ", portOf(fd))) {
			fields = strings.Fields(line)
		}
	}
	check.That("lost: last of the row", len(fields) > 0 && fields[len(fields)-1] == fmt.Sprint(sent-queued), fields)
}

// control receives a message and gives what came beside it.
func control(label string, fd int) []syscall.SocketControlMessage {
	var bytes [2000]byte
	var beside [200]byte
	_, count, flags, _, err := syscall.Recvmsg(fd, bytes[:], beside[:], 0)
	check.NoError(label+": receive", err)
	check.Equal(label+": flags", flags, 0)
	messages, err := syscall.ParseSocketControlMessage(beside[:count])
	check.NoError(label+": parse", err)
	return messages
}
