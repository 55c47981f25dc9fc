package main

import (
	"encoding/binary"
	"fmt"
	"io/ioutil"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	statxMount     = 0x1000
	statxMountRoot = 0x2000
	sysStatx       = 332
	tcgets         = 0x5401
	tiocExclude    = 0x540c
	tiocNoExclude  = 0x540d
	tiocIsExcluded = 0x80045440
)

// ownProc: what /proc tells of the program beside what Go's library reads.
func ownProc() {
	apart(ioCounts)
	memoryAsFile()
	pageMap()
	smallFiles()
	mountNumber()
	exclusiveTerminal()
}

// ioCounts: /proc/PID/task/TID/io counts what the thread reads and writes.
func ioCounts() {
	path := fmt.Sprintf("/proc/self/task/%d/io", syscall.Gettid())
	own, err := syscall.Open(path, syscall.O_RDONLY, 0)
	check.Must("io: open", err)
	defer syscall.Close(own)
	zero, _ := syscall.Open("/dev/zero", syscall.O_RDWR, 0)
	defer syscall.Close(zero)
	buffer, text := make([]byte, 100), make([]byte, 400)
	var names [7]string
	// What is printed meanwhile would count.
	counts := func() (counts [7]uint64, length uint64) {
		n, err := syscall.Pread(own, text, 0)
		if err != nil {
			return counts, 0
		}
		for i, line := range strings.Split(strings.TrimSpace(string(text[:n])), "\n") {
			fmt.Sscanf(line, "%s %d", &names[i], &counts[i])
		}
		return counts, uint64(n)
	}
	before, length := counts()
	for i := 0; i < 3; i++ {
		syscall.Read(zero, buffer)
	}
	syscall.Pread(zero, buffer[:10], 0)
	syscall.Write(zero, buffer[:50])
	syscall.Pwrite(zero, buffer[:7], 0)
	pieces := []piece{pieceOf(buffer[:20]), pieceOf(buffer[20:30])}
	call(syscall.SYS_WRITEV, uintptr(zero), at(unsafe.Pointer(&pieces[0])), 2)
	call(syscall.SYS_READV, uintptr(zero), at(unsafe.Pointer(&pieces[0])), 2)
	after, _ := counts()
	check.Equal("io: names", names, [7]string{"rchar:", "wchar:", "syscr:", "syscw:", "read_bytes:", "write_bytes:", "cancelled_write_bytes:"})
	check.Equal("io: rchar", after[0]-before[0], 340+length)
	check.Equal("io: wchar", after[1]-before[1], uint64(87))
	check.Equal("io: syscr", after[2]-before[2], uint64(6))
	check.Equal("io: syscw", after[3]-before[3], uint64(3))
	whole, err := ioutil.ReadFile("/proc/self/io")
	var read uint64
	fmt.Sscanf(string(whole), "rchar: %d", &read)
	check.That("io: of the process", err == nil && read >= after[0], read, after[0], err)
}

var inMemory = [16]byte{1, 2, 3, 4}

// memoryAsFile: /proc/self/mem.
func memoryAsFile() {
	file, err := syscall.Open("/proc/self/mem", syscall.O_RDWR, 0)
	check.Must("mem: open", err)
	defer syscall.Close(file)
	buffer := make([]byte, 4)
	n, err := syscall.Pread(file, buffer, int64(at(unsafe.Pointer(&inMemory))))
	check.That("mem: read", n == 4 && err == nil && string(buffer) == "\x01\x02\x03\x04", n, err, buffer)
	n, err = syscall.Pwrite(file, []byte{9}, int64(at(unsafe.Pointer(&inMemory[1]))))
	check.That("mem: write", n == 1 && err == nil && inMemory[1] == 9, n, err, inMemory)
	_, err = syscall.Pread(file, buffer, 4096)
	check.Equal("mem: nothing there", err, error(syscall.EIO))
	n, err = syscall.Read(file, buffer[:0])
	check.That("mem: no bytes", n == 0 && err == nil, n, err)
	to, err := syscall.Seek(file, int64(at(unsafe.Pointer(&inMemory[2]))), 0)
	check.That("mem: seek", to == int64(at(unsafe.Pointer(&inMemory[2]))) && err == nil, to, err)
	n, err = syscall.Read(file, buffer[:2])
	check.That("mem: read on", n == 2 && err == nil && buffer[0] == 3, n, err, buffer)
	_, err = syscall.Seek(file, 0, 2)
	check.Equal("mem: has no end", err, error(syscall.EINVAL))

	const both = syscall.PROT_READ | syscall.PROT_WRITE
	memory, err := syscall.Mmap(-1, 0, 3*4096, both, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.NoError("mem: memory", err)
	copy(memory[4094:], "abcdefgh")
	check.NoError("mem: only to read", syscall.Mprotect(memory[4096:8192], syscall.PROT_READ))
	check.NoError("mem: nor that", syscall.Mprotect(memory[8192:], syscall.PROT_NONE))
	start := int64(at(unsafe.Pointer(&memory[0])))
	n, err = syscall.Pwrite(file, []byte("ABCD"), start+4094)
	check.That("mem: write where the program may not", n == 4 && err == nil && string(memory[4094:4102]) == "ABCDefgh", n, err)
	check.That("mem: and still may not", faults(func() { memory[4096] = 1 }))
	n, err = syscall.Pread(file, buffer, start+8192)
	check.That("mem: read where the program may not", n == 4 && err == nil && buffer[0] == 0, n, err, buffer)
	long := make([]byte, 10000)
	n, err = syscall.Pread(file, long, start+4094)
	check.That("mem: over the borders", n >= 3*4096-4094 && err == nil && string(long[:8]) == "ABCDefgh", n, err)
	shared, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_ANON)
	check.NoError("mem: shared memory", err)
	_, err = syscall.Pwrite(file, []byte("x"), int64(at(unsafe.Pointer(&shared[0]))))
	check.Equal("mem: write to shared memory that is only to read", err, error(syscall.EIO))
	syscall.Munmap(memory)
	syscall.Munmap(shared)
}

// pageMap: /proc/self/pagemap.
func pageMap() {
	file, err := syscall.Open("/proc/self/pagemap", syscall.O_RDONLY, 0)
	check.Must("pagemap: open", err)
	defer syscall.Close(file)
	memory, err := syscall.Mmap(-1, 0, 64*4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check.NoError("pagemap: memory", err)
	advise(memory, 15 /* MADV_NOHUGEPAGE */)
	memory[0] = 1
	var entries [16]byte
	place := int64(at(unsafe.Pointer(&memory[0]))) / 4096 * 8
	n, err := syscall.Pread(file, entries[:8], place)
	check.That("pagemap: read", n == 8 && err == nil, n, err)
	present := func(at int) bool { return binary.LittleEndian.Uint64(entries[at:])>>63 != 0 }
	check.That("pagemap: a page that is there", present(0) && binary.LittleEndian.Uint64(entries[:])>>61&1 == 0, entries)
	n, err = syscall.Pread(file, entries[:], place+40*8)
	check.That("pagemap: two at once", n == 16 && err == nil, n, err)
	check.That("pagemap: pages that are not", !present(0) && !present(8), entries)
	_, err = syscall.Pread(file, entries[:7], place)
	check.Equal("pagemap: less than an entry", err, error(syscall.EINVAL))
	_, err = syscall.Pread(file, entries[:8], place+1)
	check.Equal("pagemap: not at an entry", err, error(syscall.EINVAL))
	n, err = syscall.Pread(file, entries[:8], 1<<47/4096*8)
	check.That("pagemap: its end", n == 0 && err == nil, n, err)
	syscall.Munmap(memory)
}

func textOf(path string) string {
	text, err := ioutil.ReadFile(path)
	check.NoError(path, err)
	return string(text)
}

// smallFiles: those whose content is the same on this Linux.
func smallFiles() {
	for path, want := range map[string]string{
		"/proc/thread-self/wchan":           "0",
		"/proc/self/personality":            "00000000\n",
		"/proc/self/timerslack_ns":          "50000\n",
		"/proc/self/uid_map":                "         0          0 4294967295\n",
		"/proc/self/setgroups":              "allow\n",
		"/proc/self/oom_adj":                "0\n",
		"/proc/self/coredump_filter":        "00000033\n",
		"/proc/self/sessionid":              "4294967295",
		"/proc/swaps":                       "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
		"/proc/sys/kernel/overflowuid":      "65534\n",
		"/proc/sys/kernel/tainted":          "0\n",
		"/proc/sys/vm/nr_hugepages":         "0\n",
		"/proc/sys/net/ipv4/ip_default_ttl": "64\n",
	} {
		check.Equal(path, textOf(path), want)
	}
	check.Equal("arch", textOf("/proc/sys/kernel/arch"), "x86_64\n")
	check.Equal("no pages are reserved", textOf("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "0\n")
	textOf("/proc/self/stack")
	apart(func() {
		link, err := os.Readlink("/proc/thread-self")
		check.That("thread-self", link == fmt.Sprintf("%d/task/%d", os.Getpid(), syscall.Gettid()) && err == nil, link, err)
	})
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		check.That("namespace: "+name, err == nil && strings.HasPrefix(link, name+":[40265318"), link, err)
	}
	check.That("mountstats", strings.Contains(textOf("/proc/self/mountstats"), "device proc mounted on /proc with fstype proc\n"))
	check.That("partitions", strings.HasPrefix(textOf("/proc/partitions"), "major minor  #blocks  name\n\n"))
	check.That("devices", strings.HasPrefix(textOf("/proc/devices"), "Character devices:\n  1 mem\n"))
	var open, free, most uint64
	n, err := fmt.Sscanf(textOf("/proc/sys/fs/file-nr"), "%d\t%d\t%d\n", &open, &free, &most)
	check.That("file-nr", n == 3 && err == nil && open > 0 && free == 0 && most > open, open, free, most, err)
	var version [6][65]byte
	call(syscall.SYS_UNAME, at(unsafe.Pointer(&version)))
	check.Equal("version", textOf("/proc/sys/kernel/version"), strings.TrimRight(string(version[3][:]), "\x00")+"\n")
	check.Equal("domainname", textOf("/proc/sys/kernel/domainname"), strings.TrimRight(string(version[5][:]), "\x00")+"\n")
}

// mountNumber: statx and mountinfo agree.
func mountNumber() {
	var result [256]byte
	path := []byte("/proc/self/status\x00")
	at100 := ^uintptr(99) // AT_FDCWD
	statx := func(path []byte) (mask uint32, attributes, mount uint64) {
		_, err := call(sysStatx, at100, at(unsafe.Pointer(&path[0])), 0, 0, at(unsafe.Pointer(&result)))
		check.NoError("statx", err)
		return binary.LittleEndian.Uint32(result[:]), binary.LittleEndian.Uint64(result[8:]), binary.LittleEndian.Uint64(result[0x90:])
	}
	mask, attributes, mount := statx(path)
	check.That("statx: a mount", mask&statxMount != 0, mask)
	check.That("statx: not its root", attributes&statxMountRoot == 0, attributes)
	found := false
	for _, line := range strings.Split(textOf("/proc/self/mountinfo"), "\n") {
		fields := strings.Fields(line)
		found = found || len(fields) > 4 && fields[0] == fmt.Sprint(mount) && fields[4] == "/proc"
	}
	check.That("statx: the mount of /proc", found, mount)
	_, attributes, again := statx([]byte("/proc\x00"))
	check.That("statx: the root of a mount", attributes&statxMountRoot != 0 && again == mount, attributes, again)
	check.That("statx: it could be told", binary.LittleEndian.Uint64(result[0x38:])&statxMountRoot != 0)
}

// exclusiveTerminal: where the program has a terminal.
func exclusiveTerminal() {
	var settings [64]byte
	ioctl := func(command uintptr, argument unsafe.Pointer) error {
		_, err := call(syscall.SYS_IOCTL, 0, command, at(argument))
		return err
	}
	if ioctl(tcgets, unsafe.Pointer(&settings)) != nil {
		return
	}
	is := int32(7)
	check.NoError("TIOCGEXCL", ioctl(tiocIsExcluded, unsafe.Pointer(&is)))
	check.Equal("TIOCGEXCL: not at first", is, int32(0))
	check.NoError("TIOCEXCL", ioctl(tiocExclude, nil))
	check.NoError("TIOCGEXCL", ioctl(tiocIsExcluded, unsafe.Pointer(&is)))
	check.Equal("TIOCGEXCL: it is", is, int32(1))
	check.NoError("TIOCNXCL", ioctl(tiocNoExclude, nil))
	check.NoError("TIOCGEXCL", ioctl(tiocIsExcluded, unsafe.Pointer(&is)))
	check.Equal("TIOCGEXCL: not any more", is, int32(0))
}
