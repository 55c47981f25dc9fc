package main

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	solIP     = 0
	solSocket = 1
	solTCP    = 6
	solIPv6   = 41

	tcpMaxSegment = 2
	tcpInfo       = 11
)

// getOption is getsockopt(2) with room for 256 bytes, or for so many.
func getOption(fd, level, name int, room ...uint32) ([]byte, error) {
	buffer := make([]byte, 256)
	length := uint32(len(buffer))
	if len(room) > 0 {
		length = room[0]
	}
	_, err := call(syscall.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		at(unsafe.Pointer(&buffer[0])), at(unsafe.Pointer(&length)))
	return buffer[:length], err
}

// setOption is setsockopt(2) of some bytes.
func setOption(fd, level, name int, value []byte) error {
	_, err := call(syscall.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		at(unsafe.Pointer(&value[0])), uintptr(len(value)))
	return err
}

func native(value uint32) []byte {
	bytes := make([]byte, 4)
	binary.LittleEndian.PutUint32(bytes, value)
	return bytes
}

type setting struct{ asks, is int }

// refused is what is not taken: the option stays as it is.
const refused = -1000

// keptOptions are read back as Linux 6.18 does.
var keptOptions = []struct {
	name          string
	sockets       string
	level, option int
	first         int
	settings      []setting
}{
	{"SO_DEBUG", "all", solSocket, 1, 0, []setting{{-1, 1}, {0, 0}, {2, 1}}},
	{"SO_DONTROUTE", "all", solSocket, 5, 0, []setting{{1000, 1}, {0, 0}}},
	{"SO_NO_CHECK", "all", solSocket, 11, 0, []setting{{2, 1}, {0, 0}}},
	{"SO_PRIORITY", "all", solSocket, 12, 0, []setting{{6, 6}, {1000, 1000}}},
	{"SO_PASSCRED", "unix", solSocket, 16, 0, []setting{{7, 1}, {0, 0}}},
	{"SO_TIMESTAMP", "all", solSocket, 29, 0, []setting{{0, 0}}},
	{"SO_MARK", "all", solSocket, 36, 0, []setting{{77, 77}}},
	{"SO_PEEK_OFF", "tcp udp unix", solSocket, 42, -1, []setting{{-1, -1}}},
	{"SO_SELECT_ERR_QUEUE", "all", solSocket, 45, 0, []setting{{9, 1}}},
	{"SO_BUSY_POLL", "all", solSocket, 46, 0, []setting{{-1, refused}, {50, 50}}},
	{"SO_BPF_EXTENSIONS", "all", solSocket, 48, 64, nil},
	{"SO_INCOMING_CPU", "all", solSocket, 49, -1, []setting{{1, 1}}},
	{"IP_HDRINCL", "tcp udp", solIP, 3, 0, nil},
	{"IP_RECVOPTS", "tcp udp", solIP, 6, 0, []setting{{256, 1}}},
	{"IP_MTU_DISCOVER", "tcp udp", solIP, 10, 1, []setting{{2, 2}, {64, refused}, {0, 0}}},
	{"IP_FREEBIND", "tcp udp", solIP, 15, 0, []setting{{0, 0}}},
	{"IP_BIND_ADDRESS_NO_PORT", "tcp udp", solIP, 24, 0, []setting{{64, 1}}},
	{"IP_MULTICAST_LOOP", "tcp udp", solIP, 34, 1, []setting{{0, 0}, {2, 1}}},
	{"IP_MULTICAST_ALL", "tcp udp", solIP, 49, 1, []setting{{2, refused}, {0, 0}}},
	{"TCP_MAXSEG", "tcp tcp6", solTCP, tcpMaxSegment, 536, []setting{{64, refused}, {40000, refused}, {1000, 1000}}},
	{"TCP_SYNCNT", "tcp tcp6", solTCP, 7, 6, []setting{{0, refused}, {128, refused}, {3, 3}}},
	{"TCP_LINGER2", "tcp tcp6", solTCP, 8, 60, []setting{{-5, -1}, {200, 120}, {0, 60}}},
	{"TCP_DEFER_ACCEPT", "tcp tcp6", solTCP, 9, 0, []setting{{1, 1}, {64, 127}, {1000, 1087}, {0, 0}}},
	{"TCP_WINDOW_CLAMP", "tcp tcp6", solTCP, 10, 0, []setting{{64, 1152}, {40000, 40000}}},
	{"TCP_QUICKACK", "tcp tcp6", solTCP, 12, 1, []setting{{0, 0}, {5, 1}}},
	{"TCP_THIN_LINEAR_TIMEOUTS", "tcp tcp6", solTCP, 16, 0, []setting{{2, refused}, {1, 1}}},
	{"TCP_NOTSENT_LOWAT", "tcp tcp6", solTCP, 25, 0, []setting{{-1, -1}, {16384, 16384}}},
	{"IPV6_MULTICAST_IF", "tcp6 udp6", solIPv6, 17, 0, nil},
	{"IPV6_MULTICAST_LOOP", "tcp6 udp6", solIPv6, 19, 1, []setting{{2, refused}, {0, 0}}},
	{"IPV6_MTU_DISCOVER", "tcp6 udp6", solIPv6, 23, 1, []setting{{2, 2}, {64, refused}}},
	{"IPV6_MULTICAST_ALL", "tcp6 udp6", solIPv6, 29, 1, []setting{{0, 0}, {256, 1}}},
	{"IPV6_RECVHOPOPTS", "tcp6 udp6", solIPv6, 53, 0, []setting{{256, 1}}},
	{"IPV6_DONTFRAG", "tcp6 udp6", solIPv6, 62, 0, []setting{{256, 1}, {0, 0}}},
	{"IPV6_AUTOFLOWLABEL", "tcp6 udp6", solIPv6, 70, 1, []setting{{0, 0}, {-1, 1}}},
	{"IPV6_ADDR_PREFERENCES", "tcp6 udp6", solIPv6, 72, 0x500, []setting{{3, refused}, {1, 0x401}, {2, 0x402}}},
	{"IPV6_UNICAST_HOPS", "tcp6 udp6", solIPv6, 16, 64, []setting{{256, refused}, {255, 255}, {-1, 64}}},
	{"IPV6_TCLASS", "tcp6", solIPv6, 67, 0, []setting{{255, 252}, {256, refused}, {-1, 0}}},
	{"IP_TOS", "tcp", solIP, 1, 0, []setting{{255, 252}, {2, 0}}},
	{"IP_TOS", "udp", solIP, 1, 0, []setting{{255, 255}, {2, 2}}},
}

// optionErrors are what some sockets do not have. `set`: of setting 1; `get`: of reading.
var optionErrors = []struct {
	name          string
	sockets       string
	level, option int
	set, get      error
}{
	{"SO_REUSEPORT", "unix", solSocket, 15, syscall.EOPNOTSUPP, nil},
	{"SO_PASSCRED", "tcp udp tcp6 udp6", solSocket, 16, syscall.EOPNOTSUPP, syscall.EOPNOTSUPP},
	{"SO_PEERNAME", "all", solSocket, 28, syscall.ENOPROTOOPT, syscall.ENOTCONN},
	{"SO_BPF_EXTENSIONS", "all", solSocket, 48, syscall.ENOPROTOOPT, nil},
	{"SO_COOKIE", "all", solSocket, 57, syscall.ENOPROTOOPT, nil},
	{"SO_DETACH_REUSEPORT_BPF", "all", solSocket, 68, syscall.EINVAL, syscall.ENOPROTOOPT},
	{"IP_ROUTER_ALERT", "tcp udp", solIP, 5, syscall.EINVAL, nil},
	{"IP_MTU", "tcp udp", solIP, 14, syscall.ENOPROTOOPT, syscall.ENOTCONN},
	{"IP_MULTICAST_IF", "tcp", solIP, 32, syscall.EINVAL, nil},
	{"IP_MULTICAST_TTL", "tcp", solIP, 33, syscall.EINVAL, nil},
	{"TCP_NODELAY", "udp", solTCP, 1, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP},
	{"TCP_NODELAY", "udp6", solTCP, 1, syscall.ENOPROTOOPT, syscall.ENOPROTOOPT},
	{"TCP_NODELAY", "unix", solTCP, 1, syscall.EOPNOTSUPP, syscall.EOPNOTSUPP},
	{"UDP_SEGMENT", "tcp", solUDP, udpSegment, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP},
	{"UDP_SEGMENT", "tcp6", solUDP, udpSegment, syscall.ENOPROTOOPT, syscall.ENOPROTOOPT},
	{"IPV6_MULTICAST_HOPS", "tcp6", solIPv6, 18, syscall.ENOPROTOOPT, nil},
	{"IPV6_V6ONLY", "tcp udp", solIPv6, 26, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP},
}

var optionSockets = []struct {
	name         string
	family, kind int
}{
	{"tcp", syscall.AF_INET, syscall.SOCK_STREAM},
	{"udp", syscall.AF_INET, syscall.SOCK_DGRAM},
	{"tcp6", syscall.AF_INET6, syscall.SOCK_STREAM},
	{"udp6", syscall.AF_INET6, syscall.SOCK_DGRAM},
	{"unix", syscall.AF_UNIX, syscall.SOCK_STREAM},
}

// isOneOf: `all`, or one of some words.
func isOneOf(words, word string) bool {
	for _, one := range bytes.Fields([]byte(words)) {
		if string(one) == "all" || string(one) == word {
			return true
		}
	}
	return false
}

// options: what setsockopt(2) takes, and getsockopt(2) tells of it.
func options() {
	cookies := map[string]bool{}
	for _, socket := range optionSockets {
		fd, err := syscall.Socket(socket.family, socket.kind|syscall.SOCK_CLOEXEC, 0)
		check.Must("options: "+socket.name, err)
		optionsOf("options: "+socket.name, socket.name, fd)
		cookie, err := getOption(fd, solSocket, 57)
		check.That("options: a cookie of its own", len(cookie) == 8 && err == nil && !cookies[string(cookie)], cookie, err)
		cookies[string(cookie)] = true
		syscall.Close(fd)
	}
	peers()
	pathOptions()
	connectionInfo()
}

// optionsOf sets all of a socket's options, one after the other, so that it has many at last.
func optionsOf(prefix, kind string, fd int) {
	for _, row := range optionErrors {
		if isOneOf(row.sockets, kind) {
			_, err := getOption(fd, row.level, row.option)
			check.Equal(prefix+": get "+row.name, err, row.get)
			check.Equal(prefix+": set "+row.name, syscall.SetsockoptInt(fd, row.level, row.option, 1), row.set)
		}
	}
	for _, row := range keptOptions {
		if !isOneOf(row.sockets, kind) {
			continue
		}
		name := prefix + ": " + row.name
		check.Equal(name+" at first", option(fd, row.level, row.option), row.first)
		last := row.first
		for _, setting := range row.settings {
			err := syscall.SetsockoptInt(fd, row.level, row.option, setting.asks)
			if setting.is == refused {
				check.Equal(name+" refused", err, error(syscall.EINVAL))
			} else {
				check.That(name+" is set", err == nil, setting.asks, err)
				last = setting.is
			}
			check.Equal(name+" is", option(fd, row.level, row.option), last)
		}
	}
	rate, err := getOption(fd, solSocket, 47)
	check.That(prefix+": no limit of the rate", err == nil && bytes.Equal(rate, bytes.Repeat([]byte{255}, 8)), rate, err)
	check.NoError(prefix+": SO_MAX_PACING_RATE", syscall.SetsockoptInt(fd, solSocket, 47, 1<<30))
	rate, err = getOption(fd, solSocket, 47)
	check.That(prefix+": a limit of the rate", err == nil && bytes.Equal(rate, []byte{0, 0, 0, 64, 0, 0, 0, 0}), rate, err)
	linger := []byte{1, 0, 0, 0, 5, 0, 0, 0}
	check.NoError(prefix+": SO_LINGER", setOption(fd, solSocket, syscall.SO_LINGER, linger))
	is, err := getOption(fd, solSocket, syscall.SO_LINGER)
	check.That(prefix+": SO_LINGER is", err == nil && bytes.Equal(is, linger), is, err)
	nobody, err := getOption(fd, solSocket, syscall.SO_PEERCRED)
	check.That(prefix+": SO_PEERCRED is nobody's", err == nil && bytes.Equal(nobody, []byte("\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")), nobody, err)
	if kind == "tcp" || kind == "udp" {
		for _, name := range []int{4, 32} {
			is, err = getOption(fd, solIP, name)
			check.That(prefix+": no IP_OPTIONS, no IP_MULTICAST_IF", err == nil && bytes.Equal(is, make([]byte, 4*(name/32))), is, err)
		}
	}
}

// peers: SO_PEERNAME and SO_PEERCRED of connected Unix sockets.
func peers() {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	check.Must("options: a pair", err)
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	credentials, err := getOption(pair[0], solSocket, syscall.SO_PEERCRED)
	pid := native(uint32(syscall.Getpid()))
	check.That("options: SO_PEERCRED", err == nil && bytes.HasPrefix(credentials, pid), credentials, err)
	name, err := getOption(pair[0], solSocket, 28, 2)
	check.That("options: SO_PEERNAME", err == nil && bytes.Equal(name, []byte{1, 0}), name, err)
	_, err = getOption(pair[0], solSocket, 28, 3)
	check.Equal("options: SO_PEERNAME of another length", err, error(syscall.EINVAL))
}

// pathOptions: what there is once a socket is connected, and multicast interfaces.
func pathOptions() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	check.Must("options: udp", err)
	defer syscall.Close(fd)
	own := []byte{127, 0, 0, 1}
	check.NoError("options: IP_MULTICAST_IF", setOption(fd, solIP, 32, own))
	is, err := getOption(fd, solIP, 32)
	check.That("options: IP_MULTICAST_IF is", err == nil && bytes.Equal(is, own), is, err)
	check.Equal("options: IP_MULTICAST_IF of nobody", setOption(fd, solIP, 32, []byte{1, 0, 0, 0}), error(syscall.EADDRNOTAVAIL))
	number := append(make([]byte, 8), native(1)...)
	check.NoError("options: IP_MULTICAST_IF by number", setOption(fd, solIP, 32, number))
	binary.LittleEndian.PutUint32(number[8:], 999)
	check.Equal("options: IP_MULTICAST_IF by a wrong number", setOption(fd, solIP, 32, number), error(syscall.EADDRNOTAVAIL))
	check.NoError("options: connect", syscall.Connect(fd, loopback(false, 9)))
	check.Equal("options: IP_MTU", option(fd, solIP, 14), 65535)

	six, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	check.Must("options: udp6", err)
	defer syscall.Close(six)
	check.Equal("options: IPV6_MULTICAST_IF of nobody", syscall.SetsockoptInt(six, solIPv6, 17, 999), error(syscall.ENODEV))
	check.NoError("options: IPV6_MULTICAST_IF", syscall.SetsockoptInt(six, solIPv6, 17, 1))
	check.Equal("options: IPV6_MULTICAST_IF is", option(six, solIPv6, 17), 1)
	check.NoError("options: connect", syscall.Connect(six, loopback(true, 9)))
	check.Equal("options: IPV6_MTU", option(six, solIPv6, 24), 65536)
}

// connectionInfo: TCP_INFO counts what went over a connection.
func connectionInfo() {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	check.Must("options: listener", err)
	defer syscall.Close(listener)
	check.NoError("options: bind", syscall.Bind(listener, loopback(false, 0)))
	check.NoError("options: listen", syscall.Listen(listener, 7))
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	check.Must("options: client", err)
	defer syscall.Close(client)
	check.NoError("options: connect", syscall.Connect(client, loopback(false, portOf(listener))))
	waiting := infoOf(listener)
	check.Equal("options: state of a listener", int(waiting[0]), 10)
	check.Equal("options: its queue", number32(waiting, 24), uint32(1))
	check.Equal("options: its length", number32(waiting, 28), uint32(7))
	server, _, err := syscall.Accept(listener)
	check.Must("options: accept", err)
	defer syscall.Close(server)
	message := make([]byte, 1000)
	for _, from := range []int{client, client, server} {
		n, err := syscall.Write(from, message)
		check.That("options: write", n == len(message) && err == nil, n, err)
	}
	check.Equal("options: it comes", polled(server, pollIn, patience), int16(pollIn))
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		is := infoOf(client)
		// The SYN counts as a byte on Linux.
		acknowledged, received := number64(is, 120), number64(is, 128)
		right := is[0] == 1 && (acknowledged == 2000 || acknowledged == 2001) && received == 1000 &&
			number64(is, 200) == 2000 && number32(is, 144) == 0 && number32(is, 24) == 0
		if right || time.Now().After(end) {
			check.That("options: TCP_INFO", right, is)
			break
		}
	}
	is := infoOf(client)
	check.That("options: segments were sent", number32(is, 136) > 0 && number32(is, 140) > 0, is)
	check.That("options: there is a timeout", number32(is, 8) >= 1000, is)
	check.That("options: there is a path", number32(is, 60) > 0 && number32(is, 16) > 0, is)
	segment := option(client, solTCP, tcpMaxSegment)
	check.That("options: TCP_MAXSEG of a connection", segment > 536, segment)
}

func infoOf(fd int) []byte {
	is, err := getOption(fd, solTCP, tcpInfo)
	check.That("options: TCP_INFO", err == nil && len(is) >= 232, len(is), err)
	return is
}

func number32(bytes []byte, at int) uint32 { return binary.LittleEndian.Uint32(bytes[at:]) }
func number64(bytes []byte, at int) uint64 { return binary.LittleEndian.Uint64(bytes[at:]) }
