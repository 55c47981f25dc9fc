package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// ids changes the ids of this thread, as root, and back: which ones each call touches, and what
// may be done without privilege. Go's tests found that the saved id and the groups were not shown.
func ids() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	keepCapabilities()
	if os.Geteuid() != 0 {
		return
	}
	const unchanged = ^uintptr(0) >> 32
	rows := []struct {
		name        string
		number      uintptr
		a, b, c     uintptr
		field, want string
		code        syscall.Errno
	}{
		{"setresgid: effective", syscall.SYS_SETRESGID, unchanged, 1, unchanged, "Gid:", "0 1 0 1", 0},
		{"setresgid: all", syscall.SYS_SETRESGID, 101, 0, 102, "Gid:", "101 0 102 0", 0},
		{"setgid: all", syscall.SYS_SETGID, 0, 0, 0, "Gid:", "0 0 0 0", 0},
		{"setregid: real saves", syscall.SYS_SETREGID, 101, unchanged, 0, "Gid:", "101 0 0 0", 0},
		{"setregid: effective saves", syscall.SYS_SETREGID, 0, 102, 0, "Gid:", "0 102 102 102", 0},
		{"setgid: back", syscall.SYS_SETGID, 0, 0, 0, "Gid:", "0 0 0 0", 0},
		{"setresuid: effective", syscall.SYS_SETRESUID, unchanged, 1, unchanged, "Uid:", "0 1 0 1", 0},
		{"setuid: not one's own", syscall.SYS_SETUID, 7, 0, 0, "Uid:", "0 1 0 1", syscall.EPERM},
		{"setresuid: not one's own", syscall.SYS_SETRESUID, 7, 0, 0, "Uid:", "0 1 0 1", syscall.EPERM},
		{"setuid: back", syscall.SYS_SETUID, 0, 0, 0, "Uid:", "0 0 0 0", 0},
		{"setuid: nobody", syscall.SYS_SETUID, unchanged, 0, 0, "Uid:", "0 0 0 0", syscall.EINVAL},
	}
	for _, row := range rows {
		_, _, code := syscall.RawSyscall(row.number, row.a, row.b, row.c)
		check.Equal(row.name+": error", code, row.code)
		check.Equal(row.name, status(row.field), row.want)
	}
}

// status is a line of this thread's status, with single spaces.
func status(field string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", syscall.Gettid()))
	if err != nil {
		return err.Error()
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, field) {
			return strings.Join(strings.Fields(line[len(field):]), " ")
		}
	}
	return "no line " + field
}

func keepCapabilities() {
	const get, set = 7, 8 // PR_GET_KEEPCAPS, PR_SET_KEEPCAPS
	for _, value := range []uintptr{1, 0} {
		_, _, code := syscall.RawSyscall(syscall.SYS_PRCTL, set, value, 0)
		check.Equal("keep capabilities: set", code, syscall.Errno(0))
		got, _, code := syscall.RawSyscall(syscall.SYS_PRCTL, get, 0, 0)
		check.Equal("keep capabilities: get", code, syscall.Errno(0))
		check.Equal("keep capabilities", got, value)
	}
	_, _, code := syscall.RawSyscall(syscall.SYS_PRCTL, set, 2, 0)
	check.Equal("keep capabilities: 2", code, syscall.EINVAL)
}

// credentials receives an empty datagram with its sender's ids, which the receiver asked for.
func credentials() {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if !check.NoError("credentials: pair", err) {
		return
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	check.NoError("credentials: ask",
		syscall.SetsockoptInt(pair[0], syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1))
	check.NoError("credentials: send", syscall.Sendmsg(pair[1], nil, nil, nil, 0))
	control := make([]byte, 128)
	_, length, _, _, err := syscall.Recvmsg(pair[0], nil, control, 0)
	if !check.NoError("credentials: receive", err) {
		return
	}
	messages, err := syscall.ParseSocketControlMessage(control[:length])
	if !check.That("credentials: message", err == nil && len(messages) == 1, length, err) {
		return
	}
	who, err := syscall.ParseUnixCredentials(&messages[0])
	check.That("credentials: sender", err == nil && int(who.Pid) == os.Getpid(), who, err)
}
