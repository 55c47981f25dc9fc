package main

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	siocAtMark  = 0x8905
	msgOOB      = 1
	soOOBInline = 10
	pollPri     = 2
)

func atMark(fd int) int {
	mark := int32(-1)
	if _, err := call(syscall.SYS_IOCTL, uintptr(fd), siocAtMark, at(unsafe.Pointer(&mark))); err != nil {
		return -int(err.(syscall.Errno))
	}
	return int(mark)
}

func priority(fd int, limit time.Duration) bool {
	return polled(fd, pollPri, limit)&pollPri != 0
}

// urgent: MSG_OOB, SO_OOBINLINE and SIOCATMARK.
func urgent() {
	client, server := connected()
	urgentStream("urgent: tcp", client, server, true)
	// Somebody who watches packets: eggos then makes segments of what it else hands over whole.
	if raw, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP); err == nil {
		client, server = connected()
		urgentStream("urgent: tcp in segments", client, server, true)
		syscall.Close(raw)
	}
	urgentPair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	check.NoError("urgent: a pair", err)
	if send(urgentPair[0], "x", msgOOB) == nil { // Linux 5.15, if it was built with it.
		take(urgentPair[1], 1, msgOOB)
		take(urgentPair[1], 1, syscall.MSG_DONTWAIT)
		urgentStream("urgent: unix", urgentPair[0], urgentPair[1], false)
	}
	for _, kind := range []int{syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET} {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
		check.NoError("urgent: a pair of others", err)
		check.Equal("urgent: not of others", send(pair[0], "x", msgOOB), error(syscall.EOPNOTSUPP))
		_, err = take(pair[1], 1, msgOOB)
		check.Equal("urgent: nor from others", err, error(syscall.EOPNOTSUPP))
		syscall.Close(pair[0])
		syscall.Close(pair[1])
	}
	udp := udpSocket(false)
	check.NoError("urgent: udp", syscall.Connect(udp, loopback(false, 9)))
	check.Equal("urgent: not of udp", send(udp, "x", msgOOB), error(syscall.EOPNOTSUPP))
	check.Equal("urgent: udp has no mark", atMark(udp), -int(syscall.ENOTTY))
	syscall.Close(udp)
}

func send(fd int, text string, flags uintptr) error {
	bytes := []byte(text)
	n, err := call(syscall.SYS_SENDTO, uintptr(fd), at(unsafe.Pointer(&bytes[0])), uintptr(len(bytes)), flags, 0, 0)
	if err == nil && int(n) != len(text) {
		return syscall.EMSGSIZE
	}
	return err
}

func take(fd int, most, flags int) (string, error) {
	buffer := make([]byte, most)
	n, _, err := syscall.Recvfrom(fd, buffer, flags)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}

// urgentStream sends and takes urgent bytes in both ways; what is different for TCP is said.
func urgentStream(name string, from, to int, tcp bool) {
	defer syscall.Close(from)
	defer syscall.Close(to)
	is := func(what, want string, flags int) {
		got, err := take(to, 20, flags)
		check.That(name+": "+what, got == want && err == nil, got, err)
	}
	isNot := func(what string, want syscall.Errno, flags int) {
		got, err := take(to, 20, flags)
		check.That(name+": "+what, err == error(want), got, err)
	}
	const now = syscall.MSG_DONTWAIT
	isNot("none", syscall.EINVAL, msgOOB)
	check.Equal(name+": no mark", atMark(to), 0)
	check.NoError(name+": send", send(from, "abcX", msgOOB))
	check.That(name+": poll", priority(to, patience))
	check.NoError(name+": send on", send(from, "def", 0))
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		waiting := int32(0)
		call(syscall.SYS_IOCTL, uintptr(to), 0x541b, at(unsafe.Pointer(&waiting)))
		if waiting == 3 && tcp || waiting == 7 {
			break
		}
	}
	is("seen apart", "X", msgOOB|syscall.MSG_PEEK)
	is("up to the mark, seen", "abc", syscall.MSG_PEEK)
	is("up to the mark", "abc", 0)
	check.Equal(name+": at the mark", atMark(to), 1)
	is("apart", "X", msgOOB)
	isNot("once", syscall.EINVAL, msgOOB)
	check.That(name+": no poll", !priority(to, 0))
	check.Equal(name+": still at the mark", atMark(to), 1)
	is("behind the mark, seen", "def", syscall.MSG_PEEK)
	is("behind the mark", "def", 0)
	check.Equal(name+": past the mark", atMark(to), 0)
	isNot("nothing more", syscall.EAGAIN, now)

	// One that nobody reads apart is skipped.
	check.NoError(name+": send another", send(from, "ghY", msgOOB))
	check.NoError(name+": and on", send(from, "ij", 0))
	check.That(name+": poll again", priority(to, patience))
	is("up to it", "gh", 0)
	polled(to, pollIn, patience)
	time.Sleep(20 * time.Millisecond)
	is("without it, seen", "ij", syscall.MSG_PEEK)
	is("without it", "ij", 0)
	isNot("it is gone", syscall.EINVAL, msgOOB)

	// The byte alone.
	check.NoError(name+": alone", send(from, "Z", msgOOB))
	check.That(name+": alone: poll", priority(to, patience))
	check.Equal(name+": alone: the mark", atMark(to), 1)
	isNot("alone: is not in the stream", syscall.EAGAIN, now|syscall.MSG_PEEK)
	var flags int
	buffer := make([]byte, 4)
	n, _, flags, _, err := syscall.Recvmsg(to, buffer, nil, msgOOB)
	check.That(name+": alone: recvmsg", n == 1 && err == nil && buffer[0] == 'Z' && flags&msgOOB != 0, n, flags, err)

	// Another, while the reader stands before one that was read apart.
	check.NoError(name+": the next", send(from, "opV", msgOOB))
	priority(to, patience)
	time.Sleep(20 * time.Millisecond)
	is("the next: up to it, without the one before", "op", 0)
	is("the next: apart", "V", msgOOB)

	// In the stream.
	check.NoError(name+": SO_OOBINLINE", syscall.SetsockoptInt(to, syscall.SOL_SOCKET, soOOBInline, 1))
	on, err := syscall.GetsockoptInt(to, syscall.SOL_SOCKET, soOOBInline)
	check.That(name+": SO_OOBINLINE is on", on == 1 && err == nil, on, err)
	check.NoError(name+": send in the stream", send(from, "klW", msgOOB))
	check.NoError(name+": send behind it", send(from, "mn", 0))
	priority(to, patience)
	time.Sleep(20 * time.Millisecond)
	isNot("in the stream: not apart", syscall.EINVAL, msgOOB)
	before := "kl"
	if tcp { // Which takes what was read apart for a part of the stream now.
		before = "Vkl"
	}
	is("in the stream: up to the mark", before, 0)
	check.Equal(name+": in the stream: the mark", atMark(to), 1)
	rest := ""
	for err == nil && len(rest) < 3 { // Nagle's rule holds back what comes behind it.
		var more string
		more, err = take(to, 20, 0)
		rest += more
	}
	check.That(name+": in the stream: with it", rest == "Wmn" && err == nil, rest, err)
	check.NoError(name+": not in the stream", syscall.SetsockoptInt(to, syscall.SOL_SOCKET, soOOBInline, 0))

	// The owner hears of it, without O_ASYNC.
	blocked(bit(syscall.SIGURG)|bit(syscall.SIGIO), func() {
		both := [2]uint32{ownerThread, uint32(syscall.Gettid())}
		_, err := fcntl(to, fSetOwnEx, at(unsafe.Pointer(&both)))
		check.NoError(name+": an owner", err)
		wait(bit(syscall.SIGURG), 0) // One of Go's own.
		check.NoError(name+": send to an owner", send(from, "U", msgOOB))
		got, _, err := wait(bit(syscall.SIGURG), patience)
		check.That(name+": SIGURG", got == int(syscall.SIGURG) && err == nil, got, err)
		got, _, err = wait(bit(syscall.SIGIO), 0)
		check.That(name+": no SIGIO", err == syscall.EAGAIN, got, err)
	})
	// It may have been one of Go's own again.
	check.That(name+": for the owner: poll", priority(to, patience))
	is("for the owner", "U", msgOOB)
}
