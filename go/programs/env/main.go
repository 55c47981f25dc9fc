// What a program can learn about itself and its machine: arguments, environment, working directory,
// host name, its own file, processors, identity, memory, limits.
//
//	env [-args A,B..] [-env K=V] [-dir D] [-host N] [-cpus N]   checks what it was told to expect
package main

import (
	"bytes"
	"debug/elf"
	"flag"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	arguments := flag.String("args", "", "the remaining arguments, separated by commas")
	variable := flag.String("env", "", "K=V that must be in the environment")
	directory := flag.String("dir", "", "working directory")
	host := flag.String("host", "", "host name")
	processors := flag.Int("cpus", 0, "number of processors")
	flag.Parse()

	if *arguments != "" {
		check.Equal("arguments", strings.Join(flag.Args(), ","), *arguments)
	}
	if at := strings.Index(*variable, "="); at > 0 {
		check.Equal("environment", os.Getenv((*variable)[:at]), (*variable)[at+1:])
	}
	working, err := os.Getwd()
	check.That("working directory", err == nil && filepath.IsAbs(working), working, err)
	if *directory != "" {
		check.Equal("working directory: as told", working, *directory)
	}
	name, err := os.Hostname()
	check.That("host name", err == nil && name != "", name, err)
	if *host != "" {
		check.Equal("host name: as told", name, *host)
	}
	check.That("processors", runtime.NumCPU() >= 1 && runtime.NumCPU() < 1024, runtime.NumCPU())
	if *processors != 0 {
		check.Equal("processors: as told", runtime.NumCPU(), *processors)
	}
	executable()
	identity()
	system()
	proc()
	interfaces()
	ids()
	credentials()
	check.Done()
}

func executable() {
	path, err := os.Executable()
	check.That("executable", err == nil && filepath.IsAbs(path), path, err)
	image, err := os.ReadFile(path)
	check.That("executable: readable", err == nil && bytes.HasPrefix(image, []byte("\x7fELF")), err)
	file, err := elf.Open("/proc/self/exe")
	if check.NoError("executable: /proc/self/exe", err) {
		check.Equal("executable: machine", file.Machine, elf.EM_X86_64)
		file.Close()
	}
	link, err := os.Readlink("/proc/self/exe")
	check.That("executable: link", err == nil && link == path, link, err)
}

func identity() {
	check.That("process id", os.Getpid() > 0, os.Getpid())
	check.That("parent id", os.Getppid() >= 0, os.Getppid())
	check.Equal("user id", os.Getuid(), os.Geteuid())
	check.Equal("group id", os.Getgid(), os.Getegid())
	me, err := user.Current()
	check.That("user", err == nil && me.Uid == fmt.Sprint(os.Getuid()) && me.Username != "", err)
	check.Equal("page size", os.Getpagesize(), 4096)
	_, err = os.Getgroups()
	check.NoError("groups", err)
}

func system() {
	var name syscall.Utsname
	check.NoError("uname", syscall.Uname(&name))
	check.That("uname: system", text(name.Sysname[:]) == "Linux", text(name.Sysname[:]))
	check.That("uname: machine", text(name.Machine[:]) == "x86_64", text(name.Machine[:]))
	release := text(name.Release[:])
	check.That("uname: release", len(release) > 2 && release[0] >= '2' && release[0] <= '9', release)
	var info syscall.Sysinfo_t
	check.NoError("sysinfo", syscall.Sysinfo(&info))
	check.That("sysinfo: memory", info.Totalram > 0 && info.Freeram <= info.Totalram && info.Unit > 0,
		info.Totalram, " ", info.Freeram)
	var limit syscall.Rlimit
	check.NoError("limits", syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	check.That("limits: files", limit.Cur >= 256 && limit.Max >= limit.Cur, limit)
	var usage syscall.Rusage
	check.NoError("usage", syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	check.That("usage: time", usage.Utime.Nano()+usage.Stime.Nano() > 0)
	_, _, code := syscall.RawSyscall(1000, 0, 0, 0)
	check.Equal("unknown call", code, syscall.ENOSYS)
	err := syscall.Exec("/nothing-here", []string{"x"}, nil)
	check.That("exec of nothing fails", err != nil, err)
}

// text is a C string in a field of signed bytes.
func text(field []int8) string {
	var out []byte
	for _, c := range field {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

func proc() {
	for path, want := range map[string]string{
		"/proc/self/status":              "Pid:",
		"/proc/self/maps":                "[stack]",
		"/proc/self/cmdline":             os.Args[0],
		"/etc/hosts":                     "localhost",
		"/sys/devices/system/cpu/online": "0",
		"/etc/passwd":                    "root",
		"/etc/group":                     "root",
		"/etc/os-release":                "NAME=",
	} {
		content, err := os.ReadFile(path)
		check.That(path, err == nil && strings.Contains(string(content), want), string(content), err)
	}
	_, err := os.Stat("/etc/resolv.conf")
	check.NoError("/etc/resolv.conf", err)
	open, err := os.ReadDir("/proc/self/fd")
	check.That("/proc/self/fd", err == nil && len(open) >= 3, len(open), err)
}

func interfaces() {
	list, err := net.Interfaces()
	check.That("interfaces", err == nil && len(list) > 0, err)
	found := false
	for _, one := range list {
		addresses, err := one.Addrs()
		if err == nil && one.Flags&net.FlagLoopback != 0 {
			for _, address := range addresses {
				found = found || strings.HasPrefix(address.String(), "127.0.0.1/")
			}
		}
	}
	check.That("interfaces: loopback address", found)
}
