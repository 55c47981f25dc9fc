package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	largePage      = 2 << 20
	adviceDontNeed = 4
	adviceHuge     = 14
	adviceCollapse = 25
)

// anonHugePages: kB of large pages that the kernel says there are around an address.
func anonHugePages(at uintptr) string {
	smaps, err := os.ReadFile("/proc/self/smaps")
	check.NoError("read smaps", err)
	inside := false
	for _, line := range strings.Split(string(smaps), "\n") {
		var start, end uintptr
		if count, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); count == 2 {
			inside = start <= at && at < end
		} else if inside && strings.HasPrefix(line, "AnonHugePages:") {
			return strings.Join(strings.Fields(line)[1:], " ")
		}
	}
	return "none"
}

func advise(at uintptr, length uintptr, advice uintptr) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_MADVISE, at, length, advice)
	if errno != 0 {
		return errno
	}
	return nil
}

func mapAt(at uintptr, length uintptr) {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_MMAP, at, length, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_FIXED, ^uintptr(0), 0)
	if errno != 0 {
		must("map over", errno)
	}
}

// largePages: 2 MiB pages are made, split and made again while other CPUs use them: nobody sees an
// old page, and no write is lost.
func largePages() {
	const rounds = 120
	memory, err := syscall.Mmap(-1, 0, 2*largePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.Must("map", err)
	offset := (largePage - uintptr(unsafe.Pointer(&memory[0]))%largePage) % largePage
	block := memory[offset : offset+largePage]
	at := uintptr(unsafe.Pointer(&block[0]))
	wordPage := at + largePage/2
	word := (*uint64)(unsafe.Pointer(&block[largePage/2]))
	counter := (*uint64)(unsafe.Pointer(&block[5*page]))
	if err := advise(at, largePage, adviceHuge); err != nil {
		fmt.Println("no large pages:", err)
		return
	}
	atomic.StoreUint64(word, 0)
	policy, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if len(policy) > 0 && !strings.Contains(string(policy), "[never]") {
		check.Equal("AnonHugePages", anonHugePages(at), "2048 kB")
	}
	var turn, seen, stale, added, stop uint64
	var group sync.WaitGroup
	group.Add(2)
	go func() {
		defer group.Done()
		stale = watch(word, &turn, &seen, rounds)
	}()
	go func() {
		defer group.Done()
		for atomic.LoadUint64(&stop) == 0 {
			atomic.AddUint64(counter, 1)
			added++
		}
	}()
	collapsed := 0
	for round := uint64(1); round <= rounds; round++ {
		switch round % 3 {
		case 0:
			// One page of many is replaced: the large page is split.
			mapAt(wordPage, page)
			must("advise", advise(wordPage, page, adviceHuge))
		case 1:
			must("drop", advise(wordPage, page, adviceDontNeed))
		default:
			if advise(at, largePage, adviceCollapse) == nil {
				collapsed++
			}
		}
		atomic.StoreUint64(word, round)
		atomic.StoreUint64(&turn, round)
		for atomic.LoadUint64(&seen) != round {
			runtime.Gosched()
		}
	}
	atomic.StoreUint64(&stop, 1)
	group.Wait()
	check.Equal("reads of a large page that was gone", stale, uint64(0))
	check.Equal("writes to a large page that was made", *counter, added)
	fmt.Println("collapsed", collapsed)
	for round := 0; round < 20; round++ {
		must("drop", advise(at, largePage, adviceDontNeed))
		*counter++
		check.Equal("dropped large page", *counter+uint64(block[largePage-1]), uint64(1))
		block[largePage-1] = 1
	}
	check.NoError("unmap", syscall.Munmap(memory))
}
