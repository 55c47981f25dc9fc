package main

import (
	"io/ioutil"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// The arena is the memory that calls may map, unmap, protect and overwrite as they like. No code
// of the program touches it, only the kernel does. What lies behind it is mapped without access,
// further than one call can reach: a read that runs on past its end must not find Go's heap.
const (
	arenaBase  = 0x5000_0000_0000
	arenaSize  = 4 << 20
	guardSize  = 8 << 30
	pageSize   = 4096
	mapFixed   = 0x10
	mapNoSwap  = 0x4000 // MAP_NORESERVE
	maximumFD  = firstFD + countFD
	firstFD    = 100
	countFD    = 32
	firstStray = 20
)

// The folder in which all names are, and the one that is tidied up: far above it, for where "dir" is a
// link to ".", "dir/../a" lies outside.
var folder, top string

const depth = 16

var names = []string{"a", "b", "c", "d", "dir", "dir/e", "dir/f", "link", ".", "dir/.", "dir/../a", "missing/x", "",
	"dir2", "dir2/../dir/e", "/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/proc/self/status", "/proc/self/maps",
	"/proc/meminfo", "/proc/self/fd", "/proc/cpuinfo", "/proc/stat", "/proc/self/smaps", "/sys/devices/system/cpu/online"}

// Names from here on are not the folder's: nothing may be made, moved or removed there.
const foreign = 15

func prepareArena() {
	mapArena()
	_, _, errno := syscall.Syscall6(syscall.SYS_MMAP, arenaBase+arenaSize, guardSize, syscall.PROT_NONE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|mapFixed|mapNoSwap, ^uintptr(0), 0)
	if errno != 0 {
		check.Must("map the guard", errno)
	}
	var err error
	top, err = ioutil.TempDir("", "fuzz")
	check.Must("make a folder", err)
	folder = filepath.Join(top, strings.Repeat("in/", depth))
	check.Must("make folders in it", os.MkdirAll(folder, 0700))
	check.Must("go there", os.Chdir(folder))
}

// mapArena makes the arena as new.
func mapArena() {
	_, _, errno := syscall.Syscall6(syscall.SYS_MMAP, arenaBase, arenaSize, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|mapFixed, ^uintptr(0), 0)
	if errno != 0 {
		check.Must("map the arena", errno)
	}
}

// tidy closes, unmaps and removes whatever the calls left.
func tidy() {
	for fd := firstStray; fd < 2000; fd++ {
		_ = syscall.Close(fd)
	}
	syscall.RawSyscall6(syscall.SYS_MUNMAP, arenaBase, arenaSize, 0, 0, 0, 0)
	mapArena()
	var none [2]syscall.Timeval
	for which := uintptr(0); which < 3; which++ {
		syscall.RawSyscall6(syscall.SYS_SETITIMER, which, uintptr(unsafe.Pointer(&none)), 0, 0, 0, 0)
	}
	syscall.Umask(022)
	check.Must("leave", os.Chdir("/"))
	// Folders may be closed to those who are not root.
	_ = filepath.Walk(top, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.IsDir() {
			return os.Chmod(path, 0700)
		}
		return nil
	})
	check.Must("tidy up", os.RemoveAll(top))
	check.Must("make folders again", os.MkdirAll(folder, 0700))
	check.Must("go back", os.Chdir(folder))
}

func sigaction(signal syscall.Signal, new, old *[4]uint64) bool {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal),
		uintptr(unsafe.Pointer(new)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	return errno == 0
}
