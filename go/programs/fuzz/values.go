package main

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// kind makes an argument.
type kind func(*worker) uintptr

func addressOf(bytes []byte) uintptr { return uintptr(unsafe.Pointer(&bytes[0])) }

func constant(value uintptr) kind { return func(*worker) uintptr { return value } }

func oneOf(kinds ...kind) kind {
	return func(w *worker) uintptr { return kinds[w.random.Intn(len(kinds))](w) }
}

func anyOf(values ...uintptr) kind {
	return func(w *worker) uintptr { return values[w.random.Intn(len(values))] }
}

// bits is none, one, or some of the flags, and now and then one that nobody knows.
func bits(flags ...uintptr) kind {
	return func(w *worker) uintptr {
		value := uintptr(0)
		for n := w.random.Intn(4); n > 0; n-- {
			value |= flags[w.random.Intn(len(flags))]
		}
		if w.one(50) {
			value |= 1 << uint(w.random.Intn(32))
		}
		return value
	}
}

// with sets flags besides.
func with(flags uintptr, of kind) kind {
	return func(w *worker) uintptr { return flags | of(w) }
}

func minusOne(*worker) uintptr { return ^uintptr(0) }

func anything(w *worker) uintptr { return uintptr(w.random.Uint64()) >> uint(w.random.Intn(64)) }

// stranger is a number that is not the address of anything in the program's file, which lies below
// 16 MiB: a call by number may write to wherever it is told to.
func stranger(w *worker) uintptr {
	value := anything(w)
	if value < 16<<20 {
		return value & (pageSize - 1)
	}
	return value
}

func small(w *worker) uintptr { return uintptr(w.random.Intn(64)) }

func below(limit int) kind {
	return func(w *worker) uintptr { return uintptr(w.random.Intn(limit)) }
}

func fd(w *worker) uintptr {
	switch n := w.random.Intn(40); n {
	case 0:
		return ^uintptr(0)
	case 1:
		return uintptr(1000 + w.random.Intn(1000))
	case 2:
		return 1 << 31
	default:
		return uintptr(firstFD + w.random.Intn(countFD))
	}
}

// of is a descriptor of a class, where one is found.
func of(wanted class) kind {
	return func(w *worker) uintptr {
		for tries := 0; tries < 12; tries++ {
			at := w.random.Intn(countFD)
			if atomic.LoadInt32(&classes[at]) == int32(wanted) {
				return uintptr(firstFD + at)
			}
		}
		return fd(w)
	}
}

func folderFD(w *worker) uintptr {
	if w.one(4) {
		return fd(w)
	}
	const here = -100
	at := here
	return uintptr(at)
}

// wrong is an address at which nothing of the program is.
func wrong(w *worker) uintptr {
	return anyOf(0, 8, 0xffff_8000_0000_0000, ^uintptr(0)-7, 0x8000_0000_0000, 0x7fff_ffff_f000,
		arenaBase+arenaSize, arenaBase+arenaSize+pageSize)(w)
}

// out is where a call may write as much as it likes.
func out(w *worker) uintptr {
	switch w.random.Intn(12) {
	case 0:
		return wrong(w)
	case 1:
		// The last bytes of the arena.
		return arenaBase + arenaSize - uintptr(w.random.Intn(64))
	case 2:
		_, address := w.take(4096)
		return address
	default:
		page := uintptr(w.random.Intn(arenaSize/pageSize)) * pageSize
		if w.one(2) {
			page += pageSize - uintptr(w.random.Intn(64))
		}
		return min(arenaBase+page, arenaBase+arenaSize-8)
	}
}

// private is where a call writes what must not become the argument of another: addresses.
func private(w *worker) uintptr {
	_, address := w.take(256)
	return address
}

func min(a, b uintptr) uintptr {
	if a < b {
		return a
	}
	return b
}

func length(w *worker) uintptr {
	switch w.random.Intn(16) {
	case 0:
		return 0
	case 1:
		return ^uintptr(0) >> uint(w.random.Intn(2))
	case 2:
		return uintptr(w.random.Intn(1 << 16))
	case 3, 4, 5:
		return uintptr(w.random.Intn(3)) * pageSize
	default:
		if w.one(2000) {
			return 1 << 20
		}
		return uintptr(w.random.Intn(600))
	}
}

func offset(w *worker) uintptr {
	switch w.random.Intn(12) {
	case 0:
		return ^uintptr(0)
	case 1:
		return 1 << uint(30+w.random.Intn(34))
	case 2:
		return uintptr(w.random.Intn(1 << 20))
	default:
		return uintptr(w.random.Intn(16)) * 1024
	}
}

// offsetAt is the address of an offset, or none.
func offsetAt(w *worker) uintptr {
	if w.one(2) {
		return 0
	}
	at, address := w.take(8)
	word(at, 0, uint64(offset(w)))
	return address
}

func name(w *worker, names []string) uintptr {
	if w.one(30) {
		return wrong(w)
	}
	text := names[w.random.Intn(len(names))]
	if w.one(60) {
		long := make([]byte, []int{255, 256, 4095, 4096, 5000}[w.random.Intn(5)])
		for i := range long {
			long[i] = 'x'
		}
		text = string(long)
	}
	to, address := w.take(len(text) + 1)
	copy(to, text)
	return address
}

func path(w *worker) uintptr { return name(w, names) }

func constantName(one string) kind {
	return func(w *worker) uintptr { return name(w, []string{one}) }
}

func own(w *worker) uintptr { return name(w, names[:foreign]) }

// The arena, for what maps and unmaps: address first, a length that stays within it next.

func arena(w *worker) uintptr {
	w.address = arenaBase + uintptr(w.random.Intn(arenaSize/pageSize))*pageSize
	if w.one(50) {
		w.address++
	}
	return w.address
}

func extent(w *worker) uintptr {
	if w.one(40) {
		// Lengths that wrap around. Those that do not reach all that lies above: Go's memory.
		return anyOf(0, ^uintptr(0), ^uintptr(0)-pageSize)(w)
	}
	pages := uintptr(w.random.Intn(16))
	if w.one(8) {
		pages = uintptr(w.random.Intn(600))
	}
	w.size = min(pages*pageSize+uintptr(w.random.Intn(2)), arenaBase+arenaSize-w.address)
	return w.size
}

// Structures.

func timespec(w *worker) uintptr {
	if w.one(12) {
		return out(w)
	}
	at, address := w.take(16)
	switch w.random.Intn(8) {
	case 0:
		word(at, 8, 2_000_000_000)
	case 1:
		word(at, 0, ^uint64(0))
	default:
		word(at, 8, uint64(w.random.Intn(200_000)))
	}
	return address
}

func interval(w *worker) uintptr {
	at, address := w.take(32)
	word(at, 8, uint64(w.random.Intn(2000)))
	word(at, 24, uint64(w.random.Intn(5000)))
	if w.one(20) {
		word(at, 24, ^uint64(0))
	}
	return address
}

// signals is a set that never has SIGUSR1, with which a call that waits is ended.
func signals(w *worker) uintptr {
	if w.one(10) {
		return wrong(w)
	}
	at, address := w.take(8)
	word(at, 0, w.random.Uint64()&w.random.Uint64()&^(1<<uint(syscall.SIGUSR1-1)))
	return address
}

// pairSignals is what pselect6 takes: a set and its size.
func pairSignals(w *worker) uintptr {
	at, address := w.take(16)
	word(at, 0, uint64(signals(w)))
	word(at, 8, 8)
	return address
}

func vectors(w *worker) uintptr {
	w.count = uintptr(w.random.Intn(6))
	switch {
	case w.one(40):
		// Not an array in the arena: what calls wrote there may look like the address of Go's data.
		return wrong(w)
	case w.one(40):
		w.count = anyOf(200, 1024)(w)
	}
	at, address := w.take(int(w.count) * 16)
	if w.one(40) {
		w.count = anyOf(1025, ^uintptr(0))(w)
		return address
	}
	for i := 0; i < int(w.count); i++ {
		word(at, 16*i, uint64(out(w)))
		word(at, 16*i+8, uint64(length(w)))
	}
	return address
}

func count(w *worker) uintptr { return w.count }

func size(w *worker) uintptr {
	if w.one(20) {
		return small(w)
	}
	return w.size
}

// sizeAt is the address of room for an address, in and out.
func sizeAt(w *worker) uintptr {
	at, address := w.take(8)
	half(at, 0, uint32(w.random.Intn(130)))
	if w.one(20) {
		return wrong(w)
	}
	return address
}

func socketAddress(w *worker) uintptr { return addressOfKind(w, w.random.Intn(9)) }

// knownAddress is one that was bound, half of the time, so that some calls meet.
func knownAddress(w *worker) uintptr {
	if w.one(2) {
		return socketAddress(w)
	}
	return addressOfKind(w, int(atomic.LoadInt32(&lastBound)))
}

// The kind of address that was bound last.
var lastBound int32

// addressOfKind is one of a few addresses, and for kind 0 nonsense.
func addressOfKind(w *worker, kind int) uintptr {
	at, address := w.take(128)
	w.bound = int32(kind)
	port := uint16(7000+kind%2)<<8 | uint16(7000>>8)
	switch kind {
	case 0:
		short(at, 0, uint16(w.random.Intn(50)))
		w.size = uintptr(w.random.Intn(129))
	case 1, 2:
		short(at, 0, syscall.AF_UNIX)
		w.size = uintptr(2 + copy(at[2:], names[kind]))
	case 3, 4:
		short(at, 0, syscall.AF_UNIX)
		at[3] = byte('a' + kind)
		w.size = 4
	case 5, 6:
		short(at, 0, syscall.AF_INET6)
		short(at, 2, port)
		at[23] = 1
		w.size = 28
	default:
		short(at, 0, syscall.AF_INET)
		short(at, 2, port)
		copy(at[4:], []byte{127, 0, 0, 1})
		w.size = 16
	}
	return address
}

func message(w *worker) uintptr {
	at, address := w.take(56)
	if w.one(2) {
		word(at, 0, uint64(socketAddress(w)))
		half(at, 8, uint32(w.size))
	}
	word(at, 16, uint64(vectors(w)))
	word(at, 24, uint64(w.count))
	if w.one(2) {
		word(at, 32, uint64(control(w)))
		word(at, 40, uint64(w.size))
	}
	return address
}

// control is ancillary data: descriptors, credentials, or nonsense.
func control(w *worker) uintptr {
	at, address := w.take(64)
	word(at, 0, 24)
	half(at, 8, syscall.SOL_SOCKET)
	half(at, 12, uint32(1+w.random.Intn(2)))
	for i := 16; i < 40; i += 4 {
		half(at, i, uint32(fd(w)))
	}
	w.size = anyOf(20, 24, 32, 64)(w)
	if w.one(20) {
		word(at, 0, uint64(length(w)))
	}
	return address
}

// messages is an array of them, for sendmmsg and recvmmsg.
func messages(w *worker) uintptr {
	n := 1 + w.random.Intn(3)
	at, address := w.take(64 * n)
	for i := 0; i < n; i++ {
		start := int(message(w) - w.base)
		copy(at[64*i:], w.scratch[start:start+56])
	}
	w.count = uintptr(n)
	return address
}

func polls(w *worker) uintptr {
	w.count = uintptr(w.random.Intn(8))
	at, address := w.take(int(w.count) * 8)
	for i := 0; i < int(w.count); i++ {
		half(at, 8*i, uint32(fd(w)))
		short(at, 8*i+4, uint16(w.random.Uint32()))
	}
	return address
}

func fdSet(w *worker) uintptr {
	if w.one(3) {
		return 0
	}
	at, address := w.take(128)
	word(at, 8, w.random.Uint64()&w.random.Uint64()<<36)
	word(at, 16, w.random.Uint64()&w.random.Uint64()>>44)
	return address
}

func epollEvent(w *worker) uintptr {
	at, address := w.take(12)
	half(at, 0, w.random.Uint32()&uint32(anyOf(0x1, 0x5, 0x8000_0005, 0xffff_ffff)(w)))
	return address
}

func process(*worker) uintptr { return uintptr(syscall.Getpid()) }

func thread(w *worker) uintptr {
	return oneOf(constant(uintptr(syscall.Gettid())), minusOne, constant(0), constant(99999))(w)
}

// quiet is a signal that does nothing, or none.
func quiet(w *worker) uintptr {
	return anyOf(0, uintptr(syscall.SIGURG), uintptr(syscall.SIGWINCH), uintptr(syscall.SIGCHLD), uintptr(syscall.SIGUSR1), 65,
		^uintptr(0))(w)
}

func descriptors(w *worker) uintptr {
	_, address := w.take(8)
	w.pair = int(address - w.base)
	return address
}

func how(w *worker) uintptr {
	at, address := w.take(24)
	word(at, 0, uint64(openFlags(w)))
	word(at, 8, uint64(w.random.Intn(4)*0644/3))
	word(at, 16, uint64(bits(1, 2, 4, 8, 16)(w)))
	return address
}
