// System calls that Go's standard library has no function for, called as they are. Everything
// here holds on Linux too (as root).
package main

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// The first thread, which never ends, is for main alone: see apart.
func init() { runtime.LockOSThread() }

func main() {
	check.Within("interval timers", time.Minute, intervalTimers)
	check.Within("timer errors", time.Minute, timerErrors)
	check.Within("timer to a thread", time.Minute, timerToThread)
	check.Within("overrun", time.Minute, overrun)
	check.Within("running time", time.Minute, runningTime)
	check.Within("signalfd", time.Minute, signalDescriptor)
	check.Within("udp segmentation", time.Minute, segmentation)
	check.Within("tcp options", time.Minute, tcpOptions)
	check.Within("multipath", time.Minute, multipath)
	check.Within("destination", time.Minute, destination)
	check.Within("groups", time.Minute, groups)
	check.Within("questions", time.Minute, questions)
	check.Within("identity", time.Minute, identity)
	check.Within("vmsplice", time.Minute, vmsplice)
	check.Within("own memory", time.Minute, ownMemory)
	check.Within("niceness", time.Minute, niceness)
	check.Within("scheduling", time.Minute, scheduling)
	check.Within("memory limits", time.Minute, memoryLimits)
	check.Within("signal limit", time.Minute, signalLimit)
	check.Within("running limit", time.Minute, runningLimit)
	check.Within("raising limits", time.Minute, raisingLimits)
	check.Within("growing", time.Minute, growing)
	check.Within("owners", time.Minute, owners)
	check.Within("pidfd", time.Minute, processDescriptor)
	check.Within("guards", time.Minute, guards)
	check.Within("futexes", time.Minute, futexes)
	check.Within("own files in /proc", time.Minute, ownProc)
	check.Within("failures", time.Minute, failures)
	check.Within("urgent", time.Minute, urgent)
	check.Within("barriers", time.Minute, barriers)
	check.Within("usage", time.Minute, usages)
	check.Within("filters", time.Minute, filters)
	check.Within("exclusive", time.Minute, exclusive)
	check.Within("cork", time.Minute, corked)
	check.Within("endpoints", time.Minute, endpoints)
	check.Within("devices", time.Minute, devices)
	check.Within("timestamps", time.Minute, timestamps)
	check.Within("row owners", time.Minute, rowOwners)
	check.Within("internet", time.Minute, internet)
	check.Within("hardware", time.Minute, hardware)
	check.Within("foreign", time.Minute, foreign)
	check.Within("netlinks", time.Minute, netlinks)
	check.Within("distances", time.Minute, distances)
	check.Within("options", time.Minute, options)
	check.Done()
}

// call makes a system call; the error is nil for 0.
func call(number uintptr, arguments ...uintptr) (uintptr, error) {
	var all [6]uintptr
	copy(all[:], arguments)
	result, _, code := syscall.Syscall6(number, all[0], all[1], all[2], all[3], all[4], all[5])
	if code != 0 {
		return result, code
	}
	return result, nil
}

// fails checks that a call ends with this error.
func fails(name string, want syscall.Errno, number uintptr, arguments ...uintptr) {
	_, err := call(number, arguments...)
	check.Equal(name, err, error(want))
}

func at(pointer unsafe.Pointer) uintptr { return uintptr(pointer) }
