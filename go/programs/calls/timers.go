package main

import (
	"encoding/binary"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	clockMonotonic   = 1
	clockProcessTime = 2
	clockThreadTime  = 3
	clockRaw         = 4
	sigevNone        = 1
	sigevThreadID    = 4
	timerAbsolute    = 1
	siTimer          = -2
	siTkill          = -6
)

// sigevent as the kernel has it.
type sigevent struct {
	value  uint64
	signal int32
	notify int32
	thread int32
	_      [44]byte
}

type itimerspec struct{ interval, value syscall.Timespec }
type itimerval struct{ interval, value syscall.Timeval }

func nanoseconds(d time.Duration) syscall.Timespec { return syscall.NsecToTimespec(int64(d)) }

func burn(until func() bool) {
	for n := uint64(1); ; {
		for i := 0; i < 100000; i++ {
			n = n*6364136223846793005 + 1
		}
		if until() || n == 0 {
			return
		}
	}
}

// withSignal waits for a signal that a timer sends.
func withSignal(name string, s syscall.Signal, start func()) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, s)
	defer signal.Stop(received)
	start()
	deadline := time.Now().Add(30 * time.Second)
	burn(func() bool { return len(received) > 0 || time.Now().After(deadline) })
	check.That(name, len(received) > 0, "no signal")
}

// setInterval sets a timer, and returns what was set before.
func setInterval(which uintptr, value, interval time.Duration) (old itimerval) {
	new := itimerval{syscall.NsecToTimeval(int64(interval)), syscall.NsecToTimeval(int64(value))}
	_, err := call(syscall.SYS_SETITIMER, which, at(unsafe.Pointer(&new)), at(unsafe.Pointer(&old)))
	check.NoError("setitimer", err)
	return old
}

func intervalTimers() {
	set := setInterval
	withSignal("ITIMER_REAL", syscall.SIGALRM, func() { set(0, 20*time.Millisecond, 0) })
	withSignal("ITIMER_VIRTUAL", syscall.SIGVTALRM, func() { set(1, 20*time.Millisecond, 0) })
	// Go's runtime keeps SIGPROF for itself.
	set(2, 20*time.Millisecond, 10*time.Millisecond)
	old := set(2, 0, 0)
	check.Equal("setitimer: the old interval", old.interval.Nano(), int64(10*time.Millisecond))
	var now itimerval
	_, err := call(syscall.SYS_GETITIMER, 0, at(unsafe.Pointer(&now)))
	check.NoError("getitimer", err)
	check.Equal("getitimer: it expired", now, itimerval{})
	set(0, time.Hour, time.Minute)
	old = set(0, 0, 0)
	left := old.value.Nano()
	check.That("setitimer: what was left", left > int64(59*time.Minute) && left <= int64(time.Hour), left)
	seconds, _ := call(syscall.SYS_ALARM, 100)
	check.Equal("alarm: none before", int(seconds), 0)
	seconds, _ = call(syscall.SYS_ALARM, 0)
	check.That("alarm: the rest", seconds >= 40 && seconds <= 100, seconds)
	withSignal("alarm", syscall.SIGALRM, func() { call(syscall.SYS_ALARM, 1) })
	fails("setitimer: no such timer", syscall.EINVAL, syscall.SYS_SETITIMER, 3, 0, 0)
	fails("getitimer: no such timer", syscall.EINVAL, syscall.SYS_GETITIMER, 3, at(unsafe.Pointer(&now)))
	bad := itimerval{value: syscall.Timeval{Usec: 1000000}}
	fails("setitimer: a million microseconds", syscall.EINVAL, syscall.SYS_SETITIMER, 0, at(unsafe.Pointer(&bad)), 0)
}

func create(clock uintptr, event *sigevent) (int32, error) {
	id := int32(-1)
	_, err := call(syscall.SYS_TIMER_CREATE, clock, at(unsafe.Pointer(event)), at(unsafe.Pointer(&id)))
	return id, err
}

func timerErrors() {
	_, err := create(99, nil)
	check.Equal("timer_create: no such clock", err, error(syscall.EINVAL))
	_, err = create(clockRaw, nil)
	check.Equal("timer_create: the raw clock", err, error(syscall.EOPNOTSUPP))
	_, err = create(clockMonotonic, &sigevent{signal: 65})
	check.Equal("timer_create: no such signal", err, error(syscall.EINVAL))
	_, err = create(clockMonotonic, &sigevent{signal: 10, notify: 3})
	check.Equal("timer_create: no such notification", err, error(syscall.EINVAL))
	_, err = create(clockMonotonic, &sigevent{signal: 10, notify: sigevThreadID, thread: 1})
	check.Equal("timer_create: another's thread", err, error(syscall.EINVAL))
	fails("timer_create: nowhere to put it", syscall.EFAULT, syscall.SYS_TIMER_CREATE, clockMonotonic, 0, 8)
	var setting itimerspec
	fails("timer_settime: no such timer", syscall.EINVAL, syscall.SYS_TIMER_SETTIME, 4711, 0, at(unsafe.Pointer(&setting)), 0)
	fails("timer_gettime: no such timer", syscall.EINVAL, syscall.SYS_TIMER_GETTIME, 4711, at(unsafe.Pointer(&setting)))
	fails("timer_getoverrun: no such timer", syscall.EINVAL, syscall.SYS_TIMER_GETOVERRUN, 4711)
	fails("timer_delete: no such timer", syscall.EINVAL, syscall.SYS_TIMER_DELETE, 4711)

	id, err := create(clockMonotonic, &sigevent{notify: sigevNone})
	check.NoError("timer_create: silent", err)
	setting = itimerspec{interval: nanoseconds(time.Hour), value: nanoseconds(30 * time.Minute)}
	_, err = call(syscall.SYS_TIMER_SETTIME, uintptr(id), 0, at(unsafe.Pointer(&setting)), 0)
	check.NoError("timer_settime", err)
	var got itimerspec
	_, err = call(syscall.SYS_TIMER_GETTIME, uintptr(id), at(unsafe.Pointer(&got)))
	check.NoError("timer_gettime", err)
	left := got.value.Nano()
	check.That("timer_gettime: left", left > int64(29*time.Minute) && left <= int64(30*time.Minute), left)
	check.Equal("timer_gettime: interval", got.interval, setting.interval)
	setting.value.Nsec = 1000000000
	fails("timer_settime: a billion nanoseconds", syscall.EINVAL, syscall.SYS_TIMER_SETTIME, uintptr(id), 0, at(unsafe.Pointer(&setting)), 0)
	fails("timer_settime: nothing", syscall.EINVAL, syscall.SYS_TIMER_SETTIME, uintptr(id), 0, 0, 0)
	_, err = call(syscall.SYS_TIMER_DELETE, uintptr(id))
	check.NoError("timer_delete", err)
	fails("timer_delete: twice", syscall.EINVAL, syscall.SYS_TIMER_DELETE, uintptr(id))
}

// blocked runs a body on a thread that blocks the signals of a set.
func blocked(set uint64, body func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old uint64
	_, err := call(syscall.SYS_RT_SIGPROCMASK, 0, at(unsafe.Pointer(&set)), at(unsafe.Pointer(&old)), 8)
	check.NoError("block", err)
	body()
	_, err = call(syscall.SYS_RT_SIGPROCMASK, 2, at(unsafe.Pointer(&old)), 0, 8)
	check.NoError("unblock", err)
}

func bit(s syscall.Signal) uint64 { return 1 << (uint(s) - 1) }

// wait takes a pending signal of the set: its number and its siginfo. Go's own signals interrupt it.
func wait(set uint64, limit time.Duration) (int, [128]byte, error) {
	for {
		var info [128]byte
		timeout := nanoseconds(limit)
		n, err := call(syscall.SYS_RT_SIGTIMEDWAIT, at(unsafe.Pointer(&set)), at(unsafe.Pointer(&info)), at(unsafe.Pointer(&timeout)), 8)
		if err != syscall.EINTR {
			return int(n), info, err
		}
	}
}

func word(bytes []byte, at int) int32 { return int32(binary.LittleEndian.Uint32(bytes[at:])) }

func timerToThread() {
	const s = syscall.Signal(40)
	blocked(bit(s), func() {
		event := &sigevent{value: 0x1234567890, signal: int32(s), notify: sigevThreadID, thread: int32(syscall.Gettid())}
		id, err := create(clockMonotonic, event)
		check.NoError("thread: timer_create", err)
		var now syscall.Timespec
		call(syscall.SYS_CLOCK_GETTIME, clockMonotonic, at(unsafe.Pointer(&now)))
		setting := itimerspec{value: syscall.NsecToTimespec(now.Nano() + int64(20*time.Millisecond))}
		_, err = call(syscall.SYS_TIMER_SETTIME, uintptr(id), timerAbsolute, at(unsafe.Pointer(&setting)), 0)
		check.NoError("thread: timer_settime", err)
		n, info, err := wait(bit(s), 20*time.Second)
		check.That("thread: the signal", err == nil && n == int(s), n, err)
		check.Equal("thread: si_code", word(info[:], 8), int32(siTimer))
		check.Equal("thread: si_timerid", word(info[:], 16), id)
		check.Equal("thread: si_overrun", word(info[:], 20), int32(0))
		check.Equal("thread: si_value", binary.LittleEndian.Uint64(info[24:]), uint64(0x1234567890))
		_, _, err = wait(bit(s), 30*time.Millisecond)
		check.Equal("thread: only once", err, error(syscall.EAGAIN))
		// What is on its way when a timer is deleted is not delivered, or once at most.
		setting = itimerspec{value: nanoseconds(time.Nanosecond)}
		call(syscall.SYS_TIMER_SETTIME, uintptr(id), 0, at(unsafe.Pointer(&setting)), 0)
		time.Sleep(5 * time.Millisecond)
		_, err = call(syscall.SYS_TIMER_DELETE, uintptr(id))
		check.NoError("thread: timer_delete", err)
		wait(bit(s), 0)
		_, _, err = wait(bit(s), 10*time.Millisecond)
		check.Equal("thread: nothing after that", err, error(syscall.EAGAIN))
	})
}

func overrun() {
	const s = syscall.Signal(41)
	blocked(bit(s), func() {
		id, err := create(clockMonotonic, &sigevent{signal: int32(s), notify: sigevThreadID, thread: int32(syscall.Gettid())})
		check.NoError("overrun: timer_create", err)
		setting := itimerspec{interval: nanoseconds(time.Millisecond), value: nanoseconds(time.Millisecond)}
		call(syscall.SYS_TIMER_SETTIME, uintptr(id), 0, at(unsafe.Pointer(&setting)), 0)
		time.Sleep(50 * time.Millisecond)
		_, info, err := wait(bit(s), 20*time.Second)
		check.NoError("overrun: the signal", err)
		count := word(info[:], 20)
		check.That("overrun: counted", count >= 40, count)
		again, err := call(syscall.SYS_TIMER_GETOVERRUN, uintptr(id))
		check.That("overrun: timer_getoverrun", err == nil && int32(again) == count, again, err)
		_, _, err = wait(bit(s), 20*time.Second)
		check.NoError("overrun: it goes on", err)
		// As fast as can be: the program still gets on.
		setting = itimerspec{interval: nanoseconds(time.Nanosecond), value: nanoseconds(time.Nanosecond)}
		call(syscall.SYS_TIMER_SETTIME, uintptr(id), 0, at(unsafe.Pointer(&setting)), 0)
		for i := 0; i < 20; i++ {
			if _, _, err = wait(bit(s), 20*time.Second); err != nil {
				break
			}
		}
		check.NoError("overrun: every nanosecond", err)
		call(syscall.SYS_TIMER_DELETE, uintptr(id))
	})
}

// clockOf is the running time of a process (kind 2) or a thread (6) by its id.
func clockOf(id, kind uintptr) uintptr { return ^id<<3 | kind }

func clock(id uintptr) time.Duration {
	var now syscall.Timespec
	_, err := call(syscall.SYS_CLOCK_GETTIME, id, at(unsafe.Pointer(&now)))
	check.NoError("clock_gettime", err)
	return time.Duration(now.Nano())
}

// runningTime: the clocks stand still while a thread sleeps, and timers on them expire when it ran.
func runningTime() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, wall := clock(clockThreadTime), time.Now()
	time.Sleep(100 * time.Millisecond)
	slept := clock(clockThreadTime) - began
	check.That("running time: not while it sleeps", slept < time.Since(wall)/2, slept)
	began, process := clock(clockThreadTime), clock(clockProcessTime)
	burn(func() bool {
		var now syscall.Timespec
		syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockThreadTime, at(unsafe.Pointer(&now)), 0)
		return time.Duration(now.Nano()) > began+50*time.Millisecond
	})
	thread := clock(clockThreadTime) - began
	all := clock(clockProcessTime) - process
	check.That("running time: of the process too", all >= thread*9/10, all, thread)

	pid, tid := uintptr(os.Getpid()), uintptr(syscall.Gettid())
	byID := clock(clockOf(tid, 6))
	check.That("running time: by the thread's id", byID >= thread, byID)
	byID = clock(clockOf(pid, 2))
	check.That("running time: by the process's id", byID >= all, byID)
	fails("running time: another's", syscall.EINVAL, syscall.SYS_CLOCK_GETTIME, clockOf(1<<22-1, 2), at(unsafe.Pointer(new(itimerspec))))

	const s = syscall.Signal(42)
	blocked(bit(s), func() {
		id, err := create(clockThreadTime, &sigevent{signal: int32(s), notify: sigevThreadID, thread: int32(tid)})
		check.NoError("running time: timer_create", err)
		setting := itimerspec{value: nanoseconds(50 * time.Millisecond)}
		began := clock(clockThreadTime)
		call(syscall.SYS_TIMER_SETTIME, uintptr(id), 0, at(unsafe.Pointer(&setting)), 0)
		time.Sleep(100 * time.Millisecond)
		_, _, err = wait(bit(s), 0)
		check.Equal("running time: no signal while it sleeps", err, error(syscall.EAGAIN))
		burn(func() bool {
			_, _, err = wait(bit(s), 0)
			return err == nil
		})
		ran := clock(clockThreadTime) - began
		check.That("running time: a signal when it ran", ran >= 50*time.Millisecond, ran)
		call(syscall.SYS_TIMER_DELETE, uintptr(id))
	})

	fails("clock_nanosleep: own running time", syscall.EINVAL, syscall.SYS_CLOCK_NANOSLEEP, clockOf(0, 6), 0, at(unsafe.Pointer(&itimerspec{})))
	fails("clock_nanosleep: the raw clock", syscall.EOPNOTSUPP, syscall.SYS_CLOCK_NANOSLEEP, clockRaw, 0, at(unsafe.Pointer(&itimerspec{})))
	fails("clock_nanosleep: the thread's clock", syscall.EOPNOTSUPP, syscall.SYS_CLOCK_NANOSLEEP, clockThreadTime, 0, at(unsafe.Pointer(&itimerspec{})))
	stop := make(chan struct{})
	go burn(func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	})
	began = clock(clockProcessTime)
	length := nanoseconds(30 * time.Millisecond)
	err := error(syscall.EINTR)
	for err == syscall.EINTR { // By signals of Go's own; what remains is in the length then.
		_, err = call(syscall.SYS_CLOCK_NANOSLEEP, clockProcessTime, 0, at(unsafe.Pointer(&length)), at(unsafe.Pointer(&length)))
	}
	check.NoError("clock_nanosleep: the process's running time", err)
	check.That("clock_nanosleep: so long", clock(clockProcessTime)-began >= 30*time.Millisecond)
	close(stop)
}
