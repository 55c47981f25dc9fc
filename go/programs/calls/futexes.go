package main

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	futexWait, futexWake   = 0, 1
	futexCmpRequeue        = 4
	futexWakeOp            = 5
	futexWaitBitset        = 9
	futexPrivate           = 128
	futexRealtime          = 256
	sysFutexWaitv          = 449
	sysFutexWake           = 454
	sysFutexWaitOne        = 455
	sysFutexRequeue        = 456
	futex2Private, futex32 = 128, 2
)

type futexWord struct {
	value, address  uint64
	flags, reserved uint32
}

func futex(word *uint32, operation int, value, more uintptr, other *uint32, last uintptr) (int, error) {
	n, err := call(syscall.SYS_FUTEX, at(unsafe.Pointer(word)), uintptr(operation), value, more, at(unsafe.Pointer(other)), last)
	return int(n), err
}

// sleepers starts threads that wait for a word to change; each says what its wait returned.
func sleepers(count int, wait func() (int, error)) chan int {
	over := make(chan int, count)
	for i := 0; i < count; i++ {
		go func() {
			runtime.LockOSThread()
			for {
				n, err := wait()
				if err == syscall.EINTR {
					continue // A signal of Go's own.
				}
				if err != nil {
					n = -int(err.(syscall.Errno))
				}
				over <- n
				return
			}
		}()
	}
	return over
}

// wakes asks again until so many were woken: a thread may not sleep yet.
func wakes(name string, want int, wake func(left int) (int, error)) {
	woken, deadline := 0, time.Now().Add(20*time.Second)
	for woken < want && time.Now().Before(deadline) {
		n, err := wake(want - woken)
		if err != nil {
			check.NoError(name, err)
			return
		}
		woken += n
		time.Sleep(time.Millisecond)
	}
	check.Equal(name, woken, want)
}

func wakeOp(op, operand, comparison, with uint32) uintptr {
	return uintptr(op<<28 | comparison<<24 | operand&0xfff<<12 | with&0xfff)
}

func futexes() {
	words := new([4]uint32)
	over := sleepers(1, func() (int, error) { return futex(&words[0], futexWait|futexPrivate, 0, 0, nil, 0) })
	wakes("FUTEX_WAKE_OP: wakes at the first word", 1, func(int) (int, error) {
		return futex(&words[0], futexWakeOp|futexPrivate, 1, 1, &words[1], wakeOp(1, 3, 0, 1000))
	})
	check.Equal("FUTEX_WAKE_OP: the sleeper", <-over, 0)
	check.That("FUTEX_WAKE_OP: adds", words[1] > 0 && words[1]%3 == 0, words[1])
	atomic.StoreUint32(&words[1], 5)
	over = sleepers(1, func() (int, error) { return futex(&words[2], futexWait|futexPrivate, 7, 0, nil, 0) })
	check.Equal("FUTEX_WAKE_OP: no such word to wait for", <-over, -int(syscall.EAGAIN))
	over = sleepers(1, func() (int, error) { return futex(&words[2], futexWait|futexPrivate, 0, 0, nil, 0) })
	wakes("FUTEX_WAKE_OP: wakes at the second word if it compares", 1, func(int) (int, error) {
		return futex(&words[0], futexWakeOp|futexPrivate, 1, 1, &words[2], wakeOp(2, 0, 3, 0))
	})
	check.Equal("FUTEX_WAKE_OP: that sleeper", <-over, 0)
	_, err := futex(&words[0], futexWakeOp|futexPrivate, 1, 1, &words[1], wakeOp(7, 0, 0, 0))
	check.Equal("FUTEX_WAKE_OP: no such operation", err, error(syscall.ENOSYS))
	_, err = futex(&words[0], futexWakeOp|futexPrivate, 1, 1, &words[1], wakeOp(0, 9, 9, 0))
	check.Equal("FUTEX_WAKE_OP: no such comparison", err, error(syscall.ENOSYS))
	check.Equal("FUTEX_WAKE_OP: which comes after the change", words[1], uint32(9))
	_, err = futex(&words[0], futexCmpRequeue|futexPrivate, 1, 1, &words[1], 1)
	check.Equal("FUTEX_CMP_REQUEUE: another word", err, error(syscall.EAGAIN))
	_, err = futex(&words[0], futexWait|futexPrivate|futexRealtime, 1, 0, nil, 0)
	check.Equal("FUTEX_WAIT: has one clock", err, error(syscall.ENOSYS))
	_, err = futex(&words[0], futexWaitBitset|futexPrivate|futexRealtime, 1, 0, nil, 1)
	check.Equal("FUTEX_WAIT_BITSET: has two", err, error(syscall.EAGAIN))
	_, err = futex(&words[0], 99, 1, 0, nil, 0)
	check.Equal("futex: no such operation", err, error(syscall.ENOSYS))
	manyFutexes(words)
	futex2(words)
}

func word2(word *uint32, value uint64) futexWord {
	return futexWord{value, uint64(at(unsafe.Pointer(word))), futex2Private | futex32, 0}
}

// manyFutexes: futex_waitv of Linux 5.16.
func manyFutexes(words *[4]uint32) {
	*words = [4]uint32{}
	all := []futexWord{word2(&words[0], 0), word2(&words[1], 0), word2(&words[2], 0)}
	waitv := func(all []futexWord, flags uintptr, until *syscall.Timespec, clock uintptr) (int, error) {
		n, err := call(sysFutexWaitv, at(unsafe.Pointer(&all[0])), uintptr(len(all)), flags, at(unsafe.Pointer(until)), clock)
		return int(n), err
	}
	over := sleepers(1, func() (int, error) { return waitv(all, 0, nil, clockMonotonic) })
	wakes("futex_waitv", 1, func(int) (int, error) { return futex(&words[1], futexWake|futexPrivate, 1, 0, nil, 0) })
	check.Equal("futex_waitv: which word", <-over, 1)
	past := nanoseconds(time.Nanosecond)
	_, err := waitv(all, 0, &past, clockMonotonic)
	check.Equal("futex_waitv: too late", err, error(syscall.ETIMEDOUT))
	_, err = waitv(all, 0, &past, 0)
	check.Equal("futex_waitv: too late by the wall clock", err, error(syscall.ETIMEDOUT))
	_, err = waitv(all, 0, &past, 3)
	check.Equal("futex_waitv: no such clock", err, error(syscall.EINVAL))
	_, err = waitv(all, 1, nil, clockMonotonic)
	check.Equal("futex_waitv: flags", err, error(syscall.EINVAL))
	all[2].value = 7
	_, err = waitv(all, 0, nil, clockMonotonic)
	check.Equal("futex_waitv: another value", err, error(syscall.EAGAIN))
	all[2] = futexWord{0, all[2].address, futex32, 1}
	_, err = waitv(all, 0, nil, clockMonotonic)
	check.Equal("futex_waitv: a reserved field", err, error(syscall.EINVAL))
	all[2] = futexWord{0, all[2].address, 0x40, 0}
	_, err = waitv(all, 0, nil, clockMonotonic)
	check.Equal("futex_waitv: another size", err, error(syscall.EINVAL))
	all[2] = futexWord{0, all[2].address + 1, futex32, 0}
	_, err = waitv(all, 0, nil, clockMonotonic)
	check.Equal("futex_waitv: not aligned", err, error(syscall.EINVAL))
	fails("futex_waitv: none", syscall.EINVAL, sysFutexWaitv, at(unsafe.Pointer(&all[0])), 0, 0, 0, 0)
	fails("futex_waitv: too many", syscall.EINVAL, sysFutexWaitv, at(unsafe.Pointer(&all[0])), 129, 0, 0, 0)
}

// futex2: the calls of Linux 6.7, which older kernels do not have.
func futex2(words *[4]uint32) {
	*words = [4]uint32{}
	first, flags := at(unsafe.Pointer(&words[0])), uintptr(futex2Private|futex32)
	wake := func(bits uintptr, count int) (int, error) {
		n, err := call(sysFutexWake, first, bits, uintptr(count), flags)
		return int(n), err
	}
	if _, err := wake(1, 1); err == syscall.ENOSYS {
		return
	}
	over := sleepers(1, func() (int, error) {
		n, err := call(sysFutexWaitOne, first, 0, 2, flags, 0, clockMonotonic)
		return int(n), err
	})
	wakes("futex_wake", 1, func(int) (int, error) {
		if n, err := wake(1, 1); n != 0 || err != nil {
			check.That("futex_wake: other bits", false, n, err)
		}
		if n, err := wake(2, 0); n != 0 || err != nil {
			check.That("futex_wake: none asked for", false, n, err)
		}
		return wake(2, 1)
	})
	check.Equal("futex_wait", <-over, 0)
	past := nanoseconds(time.Nanosecond)
	fails("futex_wait: too late", syscall.ETIMEDOUT, sysFutexWaitOne, first, 0, 1, flags, at(unsafe.Pointer(&past)), clockMonotonic)
	fails("futex_wait: another value", syscall.EAGAIN, sysFutexWaitOne, first, 1, 1, flags, 0, clockMonotonic)
	fails("futex_wait: no bits", syscall.EINVAL, sysFutexWaitOne, first, 0, 0, flags, 0, clockMonotonic)
	fails("futex_wait: another size", syscall.EINVAL, sysFutexWaitOne, first, 0, 1, 1<<6, 0, clockMonotonic)
	fails("futex_wake: no bits", syscall.EINVAL, sysFutexWake, first, 0, 1, flags)
	over = sleepers(3, func() (int, error) { return futex(&words[0], futexWait|futexPrivate, 0, 0, nil, 0) })
	pair := []futexWord{word2(&words[0], 0), word2(&words[1], 0)}
	wakes("futex_requeue: moved", 3, func(left int) (int, error) {
		n, err := call(sysFutexRequeue, at(unsafe.Pointer(&pair[0])), 0, 0, uintptr(left))
		return int(n), err
	})
	wakes("futex_requeue: all wait for the other word", 3, func(left int) (int, error) {
		return futex(&words[1], futexWake|futexPrivate, uintptr(left), 0, nil, 0)
	})
	for i := 0; i < 3; i++ {
		check.Equal("futex_requeue: a sleeper", <-over, 0)
	}
	pair[0].value = 1
	fails("futex_requeue: another value", syscall.EAGAIN, sysFutexRequeue, at(unsafe.Pointer(&pair[0])), 0, 1, 1)
	fails("futex_requeue: flags", syscall.EINVAL, sysFutexRequeue, at(unsafe.Pointer(&pair[0])), 1, 1, 1)
}
