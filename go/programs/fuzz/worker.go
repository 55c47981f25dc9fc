package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// scratchSize is what a thread has for what it hands over by address; behind it nothing is mapped.
const scratchSize = 256 << 10

// worker is a thread that makes calls.
type worker struct {
	random    *rand.Rand
	anyNumber bool
	// Where structures of the next call are made; used up to `used`.
	scratch []byte
	base    uintptr
	used    int
	// What one argument of the next call tells a later one.
	count   uintptr // entries of an array
	size    uintptr // bytes of an address
	address uintptr // an address in the arena
	pair    int     // where two descriptors will be
	bound   int32   // the kind of a socket's address

	thread    int64 // its number while it makes calls
	begun     int64 // calls begun
	made      int64
	succeeded int64
	hits      []int64 // successes of each row
	number    uintptr // the call it makes
	arguments [6]uintptr
}

func newWorkers(seed int64, anyNumber bool) []*worker {
	var workers []*worker
	for i := 0; i < threads; i++ {
		scratch, err := syscall.Mmap(-1, 0, scratchSize+guardSize, syscall.PROT_NONE,
			syscall.MAP_PRIVATE|syscall.MAP_ANON|mapNoSwap)
		check.Must("map scratch memory", err)
		check.Must("open it", syscall.Mprotect(scratch[:scratchSize], syscall.PROT_READ|syscall.PROT_WRITE))
		workers = append(workers, &worker{
			random:    rand.New(rand.NewSource(seed + int64(i))),
			anyNumber: anyNumber,
			scratch:   scratch[:scratchSize],
			base:      addressOf(scratch),
			hits:      make([]int64, len(rows)),
		})
	}
	return workers
}

// run makes calls on a thread of its own while there are any left.
func (w *worker) run(left *int64) {
	// Never unlocked: the thread ends with the goroutine, and whatever calls did to it.
	runtime.LockOSThread()
	atomic.StoreInt64(&w.thread, int64(syscall.Gettid()))
	defer atomic.StoreInt64(&w.thread, 0)
	for atomic.AddInt64(left, -1) >= 0 {
		if w.anyNumber && w.one(8) {
			w.byNumber()
		} else {
			w.byRow()
		}
		if w.one(500) {
			_ = syscall.Close(firstStray + w.random.Intn(firstFD-firstStray))
		}
		if w.one(20000) {
			mapArena()
		}
		if w.one(200) {
			// Not for ever in a folder that was removed, or that nobody may read.
			_ = syscall.Chmod(folder, 0700)
			_ = syscall.Chdir(folder)
		}
	}
}

func (w *worker) byRow() {
	at := w.random.Intn(len(rows))
	row := &rows[at]
	w.used, w.count, w.size, w.address = 0, 0, 0, arenaBase
	w.arguments = [6]uintptr{}
	for i, kind := range row.arguments {
		w.arguments[i] = kind(w)
	}
	result, held := w.call(row.number)
	if !held {
		return
	}
	w.hits[at]++
	if row.after != nil {
		row.after(w, result)
	}
}

// byNumber makes any call that cannot end the program, with arguments of any type.
func (w *worker) byNumber() {
	number := uintptr(w.random.Intn(470))
	if denied[number] {
		return
	}
	w.used, w.count, w.size, w.address = 0, 1, 16, arenaBase
	// Not a small number first: Go's own descriptors are.
	w.arguments = [6]uintptr{oneOf(fd, out, path, minusOne)(w)}
	if w.arguments[0] < firstStray {
		w.arguments[0] = minusOne(w)
	}
	for i := 1; i < len(w.arguments); i++ {
		w.arguments[i] = oneOf(fd, out, out, length, small, path, minusOne, timespec, stranger)(w)
	}
	w.call(number)
}

func (w *worker) call(number uintptr) (uintptr, bool) {
	w.number = number
	atomic.AddInt64(&w.begun, 1)
	a := &w.arguments
	result, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	w.made++
	if errno != 0 {
		return 0, false
	}
	w.succeeded++
	return result, true
}

// last tells the call that a thread is in.
func (w *worker) last() string {
	name := "call"
	for _, row := range rows {
		if row.number == w.number {
			name = row.name
		}
	}
	return fmt.Sprintf("%s (%d) %#x", name, w.number, w.arguments)
}

// one in so many.
func (w *worker) one(in int) bool { return w.random.Intn(in) == 0 }

// take reserves scratch memory, zeroed, and gives its address too.
func (w *worker) take(bytes int) ([]byte, uintptr) {
	start := (w.used + 7) &^ 7
	if start+bytes > len(w.scratch) {
		start = 0
	}
	w.used = start + bytes
	part := w.scratch[start:w.used]
	for i := range part {
		part[i] = 0
	}
	return part, w.base + uintptr(start)
}

func word(to []byte, at int, value uint64)  { binary.LittleEndian.PutUint64(to[at:], value) }
func half(to []byte, at int, value uint32)  { binary.LittleEndian.PutUint32(to[at:], value) }
func short(to []byte, at int, value uint16) { binary.LittleEndian.PutUint16(to[at:], value) }

// What to do with what a call returned.

// class is what a descriptor is of, so that most calls meet one that they can do something with.
type class int32

const (
	none class = iota
	file
	pipe
	socket
	stream // a socket of streams
	listener
	epoll
	timer
	notifier
	signalled
	pidfd
)

// What was last seen at each number. The threads race for it, as for the descriptors themselves.
var classes [countFD]int32

// adopt moves a new descriptor to a number that all threads use.
func adopt(as class) func(*worker, uintptr) {
	return func(w *worker, result uintptr) {
		if result >= firstFD {
			return
		}
		at := w.random.Intn(countFD)
		if atomic.LoadInt32(&classes[at]) == int32(listener) && !w.one(8) {
			// What others may connect to is rare enough.
			at = w.random.Intn(countFD)
		}
		syscall.RawSyscall(syscall.SYS_DUP3, result, uintptr(firstFD+at), syscall.O_CLOEXEC)
		syscall.RawSyscall(syscall.SYS_CLOSE, result, 0, 0)
		atomic.StoreInt32(&classes[at], int32(as))
	}
}

func adoptSocket(w *worker, result uintptr) {
	as := socket
	if w.arguments[1]&0xf == syscall.SOCK_STREAM {
		as = stream
	}
	adopt(as)(w, result)
}

// adoptPair does so with the two that were written to memory.
func adoptPair(as class) func(*worker, uintptr) {
	return func(w *worker, _ uintptr) {
		for i := 0; i < 2; i++ {
			adopt(as)(w, uintptr(binary.LittleEndian.Uint32(w.scratch[w.pair+4*i:])))
		}
	}
}

// binds remembers the address, for others to connect to.
func binds(w *worker, _ uintptr) { atomic.StoreInt32(&lastBound, w.bound) }

// listens remembers that a socket does, and has one connect to it: by chance few would.
func listens(w *worker, _ uintptr) {
	fd := w.arguments[0]
	if at := fd - firstFD; at < countFD {
		atomic.StoreInt32(&classes[at], int32(listener))
	}
	at, address := w.take(128)
	length, size := w.take(4)
	half(length, 0, 128)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_GETSOCKNAME, fd, address, size); errno != 0 {
		return
	}
	family := uintptr(at[0])
	client, _, errno := syscall.RawSyscall(syscall.SYS_SOCKET, family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if errno == 0 {
		syscall.RawSyscall(syscall.SYS_CONNECT, client, address, uintptr(binary.LittleEndian.Uint32(length)))
		adopt(stream)(w, client)
	}
}

// unmap removes a mapping that came to lie outside of the arena.
func unmap(w *worker, result uintptr) {
	if result < arenaBase || result >= arenaBase+arenaSize {
		syscall.RawSyscall(syscall.SYS_MUNMAP, result, w.size, 0)
	}
}
