package main

import (
	"fmt"
	"io/ioutil"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	rusageThread = 1
	nohugepage   = 15
)

// usages: what getrusage, times and /proc say that threads used.
func usages() {
	apart(faultCounts)
	apart(switchCounts)
	apart(pushedAside)
	apart(userAndSystem)
	cpuRows()
}

func usageOf(who int) (usage syscall.Rusage) {
	check.NoError("getrusage", syscall.Getrusage(who, &usage))
	return usage
}

// fieldsOf gives the fields of a stat file from the state on: number 3 in proc(5).
func fieldsOf(path string) []string {
	text := textOf(path)
	return strings.Fields(text[strings.LastIndex(text, ")")+1:])
}

func numberOf(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	check.NoError("a number: "+text, err)
	return number
}

func taskFile(name string) string {
	return fmt.Sprintf("/proc/self/task/%d/%s", syscall.Gettid(), name)
}

func faultCounts() {
	const size = 64 * 4096
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.Must("faults: memory", err)
	advise(memory, nohugepage)
	whole := usageOf(0)
	before := usageOf(rusageThread)
	for i := 0; i < size; i += 4096 {
		memory[i] = 1
	}
	after, wholeAfter := usageOf(rusageThread), usageOf(0)
	check.That("faults: some", after.Minflt > before.Minflt, before.Minflt, after.Minflt)
	check.That("faults: of the process", wholeAfter.Minflt-whole.Minflt >= after.Minflt-before.Minflt, whole.Minflt, wholeAfter.Minflt)
	inStat := numberOf(fieldsOf(taskFile("stat"))[7])
	check.That("faults: stat", inStat >= after.Minflt && inStat < after.Minflt+100, inStat, after.Minflt)
	inStat = numberOf(fieldsOf("/proc/self/stat")[7])
	check.That("faults: stat of the process", inStat >= wholeAfter.Minflt, inStat, wholeAfter.Minflt)
	again := usageOf(rusageThread)
	for i := 0; i < size; i += 4096 {
		memory[i] = 2
	}
	check.That("faults: none of what is there", usageOf(rusageThread).Minflt-again.Minflt < 32)
	syscall.Munmap(memory)
}

// sleepRaw sleeps on the thread, not as Go does.
func sleepRaw(duration time.Duration) {
	wanted := syscall.NsecToTimespec(int64(duration))
	syscall.RawSyscall(syscall.SYS_NANOSLEEP, at(unsafe.Pointer(&wanted)), 0, 0)
}

func statusField(path, name string) int64 {
	for _, line := range strings.Split(textOf(path), "\n") {
		if strings.HasPrefix(line, name+":") {
			return numberOf(strings.TrimSpace(line[len(name)+1:]))
		}
	}
	check.That(path+": "+name, false)
	return 0
}

func switchCounts() {
	before := usageOf(rusageThread)
	for i := 0; i < 20; i++ {
		sleepRaw(time.Millisecond)
	}
	after := usageOf(rusageThread)
	slept := after.Nvcsw - before.Nvcsw
	check.That("switches: each sleep is one", slept >= 20 && slept < 60, slept)
	inStatus := statusField(taskFile("status"), "voluntary_ctxt_switches")
	check.That("switches: status", inStatus >= after.Nvcsw && inStatus < after.Nvcsw+50, inStatus, after.Nvcsw)
	whole := usageOf(0)
	check.That("switches: of the process", whole.Nvcsw >= after.Nvcsw, whole.Nvcsw, after.Nvcsw)
	var ran, waited, turns int64
	n, err := fmt.Sscan(textOf(taskFile("schedstat")), &ran, &waited, &turns)
	check.That("schedstat", n == 3 && err == nil && ran > 0 && turns >= after.Nvcsw, ran, waited, turns, err)
}

// pushedAside: of two threads on one CPU that both want to run, each is interrupted for the other.
func pushedAside() {
	var group, ready sync.WaitGroup
	ready.Add(2)
	var counts [2]int64
	for i := range counts {
		i := i
		group.Add(1)
		go apart(func() {
			defer group.Done()
			mask := uint64(1)
			call(syscall.SYS_SCHED_SETAFFINITY, 0, 8, at(unsafe.Pointer(&mask)))
			ready.Done()
			ready.Wait()
			before := usageOf(rusageThread)
			spent(reckon)
			counts[i] = usageOf(rusageThread).Nivcsw - before.Nivcsw
			inStatus := statusField(taskFile("status"), "nonvoluntary_ctxt_switches")
			check.That("switches: nonvoluntary in status", inStatus >= counts[i], inStatus, counts[i])
		})
	}
	group.Wait()
	check.That("switches: involuntary", counts[0] > 0 && counts[1] > 0, counts)
}

func microseconds(time syscall.Timeval) int64 { return time.Sec*1000000 + time.Usec }

// spent runs body for 200 ms of running time, and gives user and system time in microseconds.
func spent(body func()) (user, system int64) {
	before := usageOf(rusageThread)
	var after syscall.Rusage
	for ends := time.Now().Add(30 * time.Second); user+system < 200000 && time.Now().Before(ends); {
		body()
		syscall.Getrusage(rusageThread, &after)
		user = microseconds(after.Utime) - microseconds(before.Utime)
		system = microseconds(after.Stime) - microseconds(before.Stime)
	}
	return user, system
}

var reckoned int64

// reckon keeps the CPU busy for a moment.
func reckon() {
	sum := int64(1)
	for i := int64(0); i < 100000; i++ {
		sum += i * sum
	}
	atomic.AddInt64(&reckoned, sum)
}

func userAndSystem() {
	mostly := func(body func(), compare func(user, system int64) bool) (user, system int64, held bool) {
		// A machine whose processors are taken away for long sees little.
		for i := 0; i < 10 && !held; i++ {
			user, system = spent(body)
			held = compare(user, system)
		}
		return user, system, held
	}
	user, system, held := mostly(reckon, func(user, system int64) bool { return user > 3*system })
	check.That("times: the program's own", held, user, system)
	zero, err := os.Open("/dev/zero")
	check.Must("/dev/zero", err)
	defer zero.Close()
	buffer := make([]byte, 1<<20)
	reading := func() { zero.Read(buffer) }
	user, system, held = mostly(reading, func(user, system int64) bool { return system > 3*user })
	check.That("times: the kernel's", held, user, system)
	counted := int64(0)
	setInterval(1, time.Hour, 0)
	user, system, held = mostly(reading, func(user, system int64) bool {
		counted = time.Hour.Microseconds() - microseconds(setInterval(1, time.Hour, 0).value)
		return system > 3*user && counted < (user+system)/2
	})
	setInterval(1, 0, 0)
	check.That("times: a timer of the program's own", held, user, system, counted)
	whole := usageOf(0)
	fields := fieldsOf("/proc/self/stat")
	for i, used := range []syscall.Timeval{whole.Utime, whole.Stime} {
		inStat := numberOf(fields[11+i]) * 10000
		difference := inStat - microseconds(used)
		check.That("times: stat", difference > -20000 && difference < 100000, i, inStat, microseconds(used))
	}
	var inTimes syscall.Tms
	_, err = syscall.Times(&inTimes)
	check.NoError("times", err)
	difference := inTimes.Stime*10000 - microseconds(whole.Stime)
	check.That("times: times", difference > -20000 && difference < 100000, inTimes, whole)
	check.Equal("stat: runs", fieldsOf(taskFile("stat"))[0], "R")
}

// cpuTimes gives the fields of a row of /proc/stat.
func cpuTimes(name string) (times [4]int64) {
	for _, line := range strings.Split(textOf("/proc/stat"), "\n") {
		if fields := strings.Fields(line); len(fields) >= 8 && fields[0] == name {
			for i := range times {
				times[i] = numberOf(fields[i+1])
			}
			return times
		}
	}
	check.That("/proc/stat: "+name, false)
	return times
}

func cpuRows() {
	apart(func() {
		mask := uint64(1)
		call(syscall.SYS_SCHED_SETAFFINITY, 0, 8, at(unsafe.Pointer(&mask)))
		before := cpuTimes("cpu0")
		used, _ := spent(reckon)
		after := cpuTimes("cpu0")
		check.That("stat: cpu0: user", (after[0]-before[0])*10000 > used/10, before, after, used)
		zero, _ := os.Open("/dev/zero")
		defer zero.Close()
		buffer := make([]byte, 1<<20)
		_, used = spent(func() { zero.Read(buffer) })
		last := cpuTimes("cpu0")
		check.That("stat: cpu0: system", (last[2]-after[2])*10000 > used/10, after, last, used)
	})
	before := cpuTimes("cpu")
	time.Sleep(300 * time.Millisecond)
	after := cpuTimes("cpu")
	check.That("stat: idle", after[3] >= before[3], before, after)
	for i := range before {
		check.That("stat: no time goes back", after[i] >= before[i], before, after)
	}
	var up, idle float64
	n, err := fmt.Sscan(textOf("/proc/uptime"), &up, &idle)
	check.That("uptime", n == 2 && err == nil && up > 0 && idle >= 0, up, idle, err)
	check.That("stat: switches", statNumber("ctxt") > 0)
	moreCounts()
}

// moreCounts: files that exporters of metrics read. Linux has the first only if it was built so.
func moreCounts() {
	if text, err := ioutil.ReadFile("/proc/schedstat"); err == nil {
		var version, timestamp int
		n, err := fmt.Sscanf(string(text), "version %d\ntimestamp %d\n", &version, &timestamp)
		check.That("schedstat: head", n == 2 && err == nil && version >= 15, version, timestamp, err)
		found := false
		for _, line := range strings.Split(string(text), "\n") {
			if fields := strings.Fields(line); len(fields) == 10 && fields[0] == "cpu0" {
				found = numberOf(fields[7]) > 0 && numberOf(fields[9]) > 0
			}
		}
		check.That("schedstat: cpu0", found, string(text))
	}
	rows := strings.Split(strings.TrimSpace(textOf("/proc/net/softnet_stat")), "\n")
	check.That("softnet_stat", len(strings.Fields(rows[0])) >= 13, rows)
	listener, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		return
	}
	defer listener.Close()
	var sockets int
	_, err = fmt.Sscanf(strings.Split(textOf("/proc/net/sockstat6"), "\n")[1], "UDP6: inuse %d", &sockets)
	check.That("sockstat6", err == nil && sockets > 0, sockets, err)
	check.That("snmp6", strings.Contains(textOf("/proc/net/snmp6"), "Udp6InDatagrams"))
}

// statNumber gives the number behind a name in /proc/stat.
func statNumber(name string) int64 {
	for _, line := range strings.Split(textOf("/proc/stat"), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return numberOf(fields[1])
		}
	}
	return 0
}
