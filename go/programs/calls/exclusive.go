package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	sysEventfd2    = 290
	epollExclusive = 1 << 28
)

// waited is of what an instance tells before the limit, all together; -1: it cannot be asked.
func waited(epoll int, limit time.Duration) int32 {
	var events [4]syscall.EpollEvent
	for end := time.Now().Add(limit); ; limit = time.Until(end) {
		if limit < 0 {
			limit = 0
		}
		n, err := syscall.EpollWait(epoll, events[:], int(limit.Milliseconds()))
		switch err {
		case nil:
			sum := int32(0)
			for _, event := range events[:n] {
				sum += event.Fd
			}
			return sum
		case syscall.EINTR:
		default:
			return -1
		}
	}
}

// exclusive: of the instances that watch a file so, one is told of an event: one that somebody waits for.
func exclusive() {
	woken := 0
	// More, if one that was about to wait was told before it did.
	for i := 0; i < 10 && woken != 1; i++ {
		woken = sharedEvent(3)
	}
	check.Equal("exclusive: one wakes", woken, 1)
}

// sharedEvent has so many threads wait for the same event, each with an exclusive instance, and counts those that are told.
func sharedEvent(threads int) (woken int) {
	const counted, ended = int32(1), int32(2)
	counter, err := call(sysEventfd2, 0, syscall.O_CLOEXEC)
	check.NoError("exclusive: a counter", err)
	defer syscall.Close(int(counter))
	end, err := call(sysEventfd2, 0, syscall.O_CLOEXEC)
	check.NoError("exclusive: another", err)
	defer syscall.Close(int(end))
	add := func(counter uintptr) {
		one := uint64(1)
		_, err := call(syscall.SYS_WRITE, counter, at(unsafe.Pointer(&one)), 8)
		check.NoError("exclusive: an event", err)
	}
	watch := func(events uint32) int {
		epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		check.NoError("exclusive: an instance", err)
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: ended}
		check.NoError("exclusive: watch the end", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(end), &event))
		event = syscall.EpollEvent{Events: events, Fd: counted}
		check.NoError("exclusive: watch", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(counter), &event))
		if events&epollExclusive != 0 {
			event.Events = syscall.EPOLLIN
			check.Equal("exclusive: stays so", syscall.EpollCtl(epoll, syscall.EPOLL_CTL_MOD, int(counter), &event), error(syscall.EINVAL))
		}
		return epoll
	}
	unwatched := watch(syscall.EPOLLIN | epollExclusive)
	defer syscall.Close(unwatched)
	found := make(chan int32, threads)
	for i := 0; i < threads; i++ {
		epoll := watch(syscall.EPOLLIN | epollExclusive)
		defer syscall.Close(epoll)
		thread := make(chan int, 1)
		go func() {
			runtime.LockOSThread()
			thread <- syscall.Gettid()
			found <- waited(epoll, 3*patience)
		}()
		path := fmt.Sprintf("/proc/self/task/%d/stat", <-thread)
		for limit := time.Now().Add(patience); fieldsOf(path)[0] != "S" && time.Now().Before(limit); {
			time.Sleep(time.Millisecond)
		}
	}
	ordinary := watch(syscall.EPOLLIN)
	defer syscall.Close(ordinary)
	add(counter)
	check.Equal("exclusive: somebody is told", <-found, counted)
	check.Equal("exclusive: whoever watches else", waited(ordinary, patience), counted)
	check.Equal("exclusive: one before it, that nobody waited for", waited(unwatched, patience), counted)
	add(end)
	woken = 1
	for i := 1; i < threads; i++ {
		if <-found != ended {
			woken++
		}
	}
	return woken
}
