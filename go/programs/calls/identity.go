package main

import (
	"fmt"
	"io/ioutil"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	prGetDumpable   = 3
	prSetDumpable   = 4
	prGetKeepCaps   = 7
	prSetKeepCaps   = 8
	prBoundingRead  = 23
	prGetNoNewPrivs = 39
	prCapAmbient    = 47
	ambientIsSet    = 1
	ambientRaise    = 2
	ambientClearAll = 4
)

// apart runs a body on a thread that ends with it, since it changes who the thread is. It returns
// when the thread is gone: a call that Go makes on every thread would find it different.
func apart(body func()) {
	done := make(chan int)
	go func() {
		runtime.LockOSThread()
		body()
		done <- syscall.Gettid()
	}()
	task := fmt.Sprintf("/proc/self/task/%d", <-done)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := os.Stat(task)
		if err != nil {
			return
		}
		if time.Now().After(deadline) {
			check.That("the thread ends", false)
			return
		}
	}
}

func prctl(name string, want int, arguments ...uintptr) {
	got, err := call(syscall.SYS_PRCTL, arguments...)
	check.That("prctl: "+name, err == nil && int(got) == want, int(got), err)
}

type capabilitySet struct{ effective, permitted, inheritable uint32 }

func capabilities() (sets [2]capabilitySet) {
	header := [2]uint32{0x20080522, 0}
	_, err := call(syscall.SYS_CAPGET, at(unsafe.Pointer(&header)), at(unsafe.Pointer(&sets)))
	check.NoError("capget", err)
	return sets
}

func setCapabilities(sets [2]capabilitySet) error {
	header := [2]uint32{0x20080522, 0}
	_, err := call(syscall.SYS_CAPSET, at(unsafe.Pointer(&header)), at(unsafe.Pointer(&sets)))
	return err
}

// statusOf is a line of the thread's /proc status.
func statusOf(name string) string {
	text, err := ioutil.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", os.Getpid(), syscall.Gettid()))
	check.NoError("status", err)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, name+":") {
			return strings.TrimSpace(line[len(name)+1:])
		}
	}
	return "no such line"
}

// identity: users, capabilities and settings belong to a thread.
func identity() {
	apart(func() {
		_, err := call(syscall.SYS_SETRESUID, 1000, 1001, 0)
		check.NoError("setresuid", err)
		check.Equal("status: Uid", statusOf("Uid"), "1000\t1001\t0\t1001")
		sets := capabilities()
		check.Equal("capabilities: none in effect", sets[0].effective, uint32(0))
		check.That("capabilities: still permitted", sets[0].permitted != 0)
		fails("setresuid: not one of its own", syscall.EPERM, syscall.SYS_SETRESUID, 7, ^uintptr(0), ^uintptr(0))
		fails("setgroups", syscall.EPERM, syscall.SYS_SETGROUPS, 0, 0)
		_, err = call(syscall.SYS_SETREUID, ^uintptr(0), 0)
		check.NoError("setreuid: back", err)
		check.That("capabilities: back", capabilities()[0].effective != 0)
		groups := []uint32{3, 1, 2}
		_, err = call(syscall.SYS_SETGROUPS, 3, at(unsafe.Pointer(&groups[0])))
		check.NoError("setgroups", err)
		check.Equal("status: Groups", statusOf("Groups"), "1 2 3")
		old, _ := call(syscall.SYS_SETFSUID, 55)
		check.Equal("setfsuid: before", int(old), 0)
		old, _ = call(syscall.SYS_SETFSUID, ^uintptr(0))
		check.Equal("setfsuid: after", int(old), 55)
		prctl("PR_SET_KEEPCAPS", 0, prSetKeepCaps, 1)
		_, err = call(syscall.SYS_SETUID, 1000)
		check.NoError("setuid", err)
		_, err = call(syscall.SYS_SETUID, 1000)
		check.NoError("setuid: again", err)
		fails("setuid: no way back", syscall.EPERM, syscall.SYS_SETUID, 0)
		sets = capabilities()
		check.That("capabilities: kept", sets[0].permitted != 0 && sets[0].effective == 0)
	})
	apart(func() {
		check.Equal("another thread is root", syscall.Geteuid(), 0)
		sets := capabilities()
		sets[0].inheritable |= 1 << 10
		check.NoError("capset: inheritable", setCapabilities(sets))
		prctl("ambient: not yet", 0, prCapAmbient, ambientIsSet, 10)
		prctl("ambient: raise", 0, prCapAmbient, ambientRaise, 10)
		prctl("ambient: raised", 1, prCapAmbient, ambientIsSet, 10)
		fails("ambient: not inheritable", syscall.EPERM, syscall.SYS_PRCTL, prCapAmbient, ambientRaise, 11)
		fails("ambient: no such capability", syscall.EINVAL, syscall.SYS_PRCTL, prCapAmbient, ambientIsSet, 64)
		prctl("ambient: clear", 0, prCapAmbient, ambientClearAll, 0, 0, 0)
		prctl("ambient: cleared", 0, prCapAmbient, ambientIsSet, 10)
		sets[0].effective, sets[0].permitted = 0, 1
		check.NoError("capset: less", setCapabilities(sets))
		sets[0].permitted = 3
		check.Equal("capset: more", setCapabilities(sets), error(syscall.EPERM))
		fails("setuid: the capability is gone", syscall.EPERM, syscall.SYS_SETUID, 5)
	})
	prctl("PR_GET_KEEPCAPS", 0, prGetKeepCaps)
	prctl("PR_CAPBSET_READ", 1, prBoundingRead, 0)
	fails("prctl: PR_SET_KEEPCAPS of 2", syscall.EINVAL, syscall.SYS_PRCTL, prSetKeepCaps, 2)
	prctl("PR_GET_DUMPABLE: a thread became another user", 0, prGetDumpable)
	prctl("PR_SET_DUMPABLE", 0, prSetDumpable, 1)
	prctl("PR_GET_DUMPABLE: on", 1, prGetDumpable)
	prctl("PR_GET_NO_NEW_PRIVS", 0, prGetNoNewPrivs)
	// Go changes every thread, and ends the program if one of them answers differently.
	check.NoError("syscall.Setreuid", syscall.Setreuid(1000, 0))
	check.NoError("syscall.Setresuid", syscall.Setresuid(0, 0, 0))
}
