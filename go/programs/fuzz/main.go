// System calls at random: four threads make calls with random, overlapping, unmapped and racing
// arguments on shared descriptors, files and pages. The kernel must neither panic nor hang nor
// lose memory; what a call answers is not judged.
//
//	-calls N    how many in all (200,000)
//	-seed N     seed of the choices; printed
//	-any        also calls by number, with arguments of no type at all: not for a Linux that is dear
//	-judge      memory and descriptors are as before; for a machine in which nothing else runs
//
// Each thread draws from the seed on its own, so a seed repeats the calls but not how they race.
package main

import (
	"flag"
	"fmt"
	"io/ioutil"
	"os"
	"os/signal"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	threads = 4
	// How often a thread that waits in a call is told to give up.
	nudge = 2 * time.Millisecond
	// A thread that makes no call for so long in spite of that hangs.
	patience = 5 * time.Minute
	// What the kernel may hold on to, in KiB: caches of freed objects, tables that grew.
	slack = 1024
)

func main() {
	calls := flag.Int64("calls", 200000, "how many calls in all")
	seed := flag.Int64("seed", time.Now().UnixNano(), "seed of the choices")
	anyNumber := flag.Bool("any", false, "also calls by number")
	judge := flag.Bool("judge", false, "memory and descriptors must be as before")
	flag.Parse()
	fmt.Println("seed", *seed)
	prepareSignals()
	prepareDescriptors()
	prepareArena()
	workers := newWorkers(*seed, *anyNumber)

	// What grows only once, caches and tables, has grown when half is done; what is lost grows on.
	check.That("first half", work(workers, *calls/2))
	before := settled()
	check.That("second half", work(workers, *calls-*calls/2))
	after := settled()
	var made, succeeded int64
	for _, worker := range workers {
		made += worker.made
		succeeded += worker.succeeded
	}
	fmt.Println(made, "calls,", succeeded, "succeeded")
	// A generator that hits nothing would pass everything.
	check.That("a fifth succeeds", succeeded > made/5, succeeded, " of ", made)
	for at, row := range rows {
		var hits int64
		for _, worker := range workers {
			hits += worker.hits[at]
		}
		if made > 500000 {
			check.That(row.name+" succeeds", hits > 0 || row.refused)
		}
	}
	fmt.Println("kernel memory:", before.kernel, "then", after.kernel, "KiB"+grown(before.slabs, after.slabs))
	if *judge {
		check.Equal("descriptors", after.descriptors, before.descriptors)
		check.That("kernel memory", after.kernel <= before.kernel+slack, before.kernel, " then ", after.kernel, " KiB")
		check.That("free memory", after.free+4*slack >= before.free, before.free, " then ", after.free, " KiB")
	}
	check.Done()
}

// prepareSignals lets no signal that the calls raise end the program, and lets SIGUSR1 interrupt a
// call for good: Go installs its handlers so that calls are restarted.
func prepareSignals() {
	received := make(chan os.Signal, 64)
	signal.Notify(received, syscall.SIGUSR1)
	go func() {
		for range received {
		}
	}()
	signal.Ignore(syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGIO, syscall.SIGPIPE, syscall.SIGXFSZ, syscall.SIGHUP)
	var action [4]uint64 // handler, flags, restorer, mask: the kernel's sigaction
	const restart = 0x10000000
	if !sigaction(syscall.SIGUSR1, nil, &action) {
		check.Must("read the action of SIGUSR1", syscall.EINVAL)
	}
	action[1] &^= restart
	if !sigaction(syscall.SIGUSR1, &action, nil) {
		check.Must("change the action of SIGUSR1", syscall.EINVAL)
	}
}

// prepareDescriptors takes the low numbers, so that those which calls leave behind and which nobody
// remembers are higher and can be told from Go's own.
func prepareDescriptors() {
	read, write, err := os.Pipe() // With it Go opens what its poller needs.
	check.Must("make a pipe", err)
	_, _ = read.Close(), write.Close()
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
		check.Must("open /dev/null", err)
		if fd >= firstStray-1 {
			return
		}
	}
}

// work makes so many calls on the threads; false when one of them hangs.
func work(workers []*worker, calls int64) bool {
	left := calls
	done := make(chan struct{}, len(workers))
	for _, each := range workers {
		go func(each *worker) {
			each.run(&left)
			done <- struct{}{}
		}(each)
	}
	process := os.Getpid()
	seen := make([]int64, len(workers))
	moved := make([]time.Time, len(workers))
	for i := range moved {
		moved[i] = time.Now()
	}
	for running := len(workers); running > 0; {
		select {
		case <-done:
			running--
			continue
		case <-time.After(nudge):
		}
		for i, each := range workers {
			begun := atomic.LoadInt64(&each.begun)
			if begun != seen[i] {
				seen[i], moved[i] = begun, time.Now()
				continue
			}
			thread := atomic.LoadInt64(&each.thread)
			if thread == 0 {
				continue
			}
			// What comes after waits for nothing is only slow.
			_ = syscall.Tgkill(process, int(thread), syscall.SIGUSR1)
			if waited := time.Since(moved[i]); waited > patience {
				fmt.Println("thread", thread, "hangs in", each.last())
				return false
			} else if waited > 10*time.Second && waited < 10*time.Second+2*nudge {
				fmt.Println("thread", thread, "is still in", each.last())
			}
		}
	}
	return true
}

// state is what must be as before.
type state struct {
	descriptors  string // what each is, in order
	kernel, free int64  // KiB
	slabs        map[string]slab
}

// slab is a row of /proc/slabinfo: objects of one size.
type slab struct{ objects, slots, bytes int64 }

// settled tidies up and counts.
func settled() state {
	tidy()
	for i := 0; i < 3; i++ {
		runtime.GC()
		time.Sleep(200 * time.Millisecond)
	}
	entries, err := ioutil.ReadDir("/proc/self/fd")
	check.Must("read /proc/self/fd", err)
	var descriptors []string
	for _, entry := range entries {
		// The one with which the folder was read is closed by now.
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			// Devices may have lost their names.
			descriptors = append(descriptors, entry.Name()+" "+strings.TrimSuffix(target, " (deleted)"))
		}
	}
	sort.Strings(descriptors)
	text, err := ioutil.ReadFile("/proc/meminfo")
	check.NoError("read /proc/meminfo", err)
	return state{strings.Join(descriptors, ", "), field(string(text), "Slab:"), field(string(text), "MemFree:"), slabs()}
}

// slabs reads /proc/slabinfo, by name; it is empty where there is none to read.
func slabs() map[string]slab {
	rows := map[string]slab{}
	text, _ := ioutil.ReadFile("/proc/slabinfo")
	for _, line := range strings.Split(string(text), "\n") {
		var name string
		var row slab
		if n, _ := fmt.Sscan(line, &name, &row.objects, &row.slots, &row.bytes); n == 4 {
			rows[name] = row
		}
	}
	return rows
}

// grown lists the sizes of objects that hold more memory than before: what to look for.
func grown(before, after map[string]slab) string {
	var out strings.Builder
	for name, now := range after {
		was := before[name]
		if now.slots > was.slots {
			fmt.Fprintf(&out, "; %s: %d of %d then %d of %d", name, was.objects, was.slots, now.objects, now.slots)
		}
	}
	return out.String()
}

func field(text, name string) int64 {
	for _, line := range strings.Split(text, "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			count, err := strconv.ParseInt(words[1], 10, 64)
			check.NoError(name, err)
			return count
		}
	}
	check.That(name, false, "not in /proc/meminfo")
	return 0
}
