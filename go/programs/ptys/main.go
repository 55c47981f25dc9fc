// Pseudo terminals (pty(7)), as they are on Linux too.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	tcgets      = 0x5401
	tcsets      = 0x5402
	tcflsh      = 0x540b
	tiocsctty   = 0x540e
	tiocgpgrp   = 0x540f
	tiocgwinsz  = 0x5413
	tiocswinsz  = 0x5414
	fionread    = 0x541b
	tiocpkt     = 0x5420
	tiocnotty   = 0x5422
	tiocgsid    = 0x5429
	tiocgptn    = 0x80045430
	tiocsptlck  = 0x40045431
	tiocgpkt    = 0x80045438
	tiocgptlck  = 0x80045439
	tiocgptpeer = 0x5441

	pollIn, pollPri, pollOut, pollErr, pollHup = 1, 2, 4, 8, 0x10
)

func main() {
	check.Within("opening", time.Minute, opening)
	check.Within("lines", time.Minute, lines)
	check.Within("raw", time.Minute, raw)
	check.Within("full", time.Minute, full)
	check.Within("slave closed", time.Minute, slaveClosed)
	check.Within("master closed", time.Minute, masterClosed)
	check.Within("packets", time.Minute, packets)
	check.Within("windows", time.Minute, windows)
	check.Within("files", time.Minute, files)
	check.Within("owner", time.Minute, owner)
	check.Within("controlling", time.Minute, controlling)
	check.Done()
}

func ioctl(fd int, command uintptr, argument unsafe.Pointer) error {
	_, err := ioctlValue(fd, command, uintptr(argument))
	return err
}

func ioctlValue(fd int, command, argument uintptr) (int, error) {
	value, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), command, argument)
	if errno != 0 {
		return -1, errno
	}
	return int(value), nil
}

func number(fd int, command uintptr) (int, error) {
	value := int32(-1)
	err := ioctl(fd, command, unsafe.Pointer(&value))
	return int(value), err
}

// pair opens both ends, for calls that do not sleep.
func pair() (master, slave int) {
	master, slave, name := -1, -1, ""
	master, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	check.Must("open /dev/ptmx", err)
	unlock := int32(0)
	check.NoError("TIOCSPTLCK", ioctl(master, tiocsptlck, unsafe.Pointer(&unlock)))
	index, err := number(master, tiocgptn)
	check.NoError("TIOCGPTN", err)
	name = fmt.Sprint("/dev/pts/", index)
	slave, err = syscall.Open(name, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	check.Must("open "+name, err)
	return master, slave
}

// take reads once: the text, or the error.
func take(fd int) string {
	var buffer [8192]byte
	n, err := syscall.Read(fd, buffer[:])
	if err != nil {
		return "error: " + err.Error()
	}
	return string(buffer[:n])
}

const (
	again   = "error: resource temporarily unavailable"
	ioError = "error: input/output error"
)

func put(fd int, text string) {
	n, err := syscall.Write(fd, []byte(text))
	check.That(fmt.Sprintf("write %.20q", text), n == len(text) && err == nil, n, err)
}

type pollfd struct {
	fd              int32
	events, revents int16
}

func poll(fd int) int {
	row := pollfd{fd: int32(fd), events: pollIn | pollPri | pollOut}
	syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(&row)), 1, 0)
	return int(row.revents)
}

// eventually waits for what Linux does behind the caller's back.
func eventually(name string, want interface{}, get func() interface{}) {
	var got interface{}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = get(); got == want {
			break
		}
	}
	check.Equal(name, got, want)
}

func reads(name string, fd int, want string) {
	eventually(name, want, func() interface{} { return take(fd) })
}

func polls(name string, fd, want int) {
	eventually(name, want, func() interface{} { return poll(fd) })
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}

type termios struct {
	input, output, control, local uint32
	line                          byte
	keys                          [19]byte
}

func change(fd int, edit func(*termios)) {
	var settings termios
	check.NoError("TCGETS", ioctl(fd, tcgets, unsafe.Pointer(&settings)))
	edit(&settings)
	check.NoError("TCSETS", ioctl(fd, tcsets, unsafe.Pointer(&settings)))
}

func makeRaw(fd int) {
	change(fd, func(settings *termios) {
		settings.input, settings.output, settings.local = 0, 0, 0
		settings.keys[5], settings.keys[6] = 0, 1
	})
}

func opening() {
	master, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY, 0)
	check.Must("open", err)
	index, err := number(master, tiocgptn)
	check.NoError("its number", err)
	name := fmt.Sprint("/dev/pts/", index)
	locked, err := number(master, tiocgptlck)
	check.That("locked at first", locked == 1 && err == nil, locked, err)
	_, err = syscall.Open(name, syscall.O_RDWR|syscall.O_NOCTTY, 0)
	check.Equal("open while locked", err, error(syscall.EIO))
	_, err = ioctlValue(master, tiocgptpeer, syscall.O_RDWR|syscall.O_NOCTTY)
	check.Equal("peer while locked", err, error(syscall.EIO))
	unlock := int32(0)
	check.NoError("unlock", ioctl(master, tiocsptlck, unsafe.Pointer(&unlock)))
	locked, err = number(master, tiocgptlck)
	check.That("unlocked", locked == 0 && err == nil, locked, err)
	slave, err := ioctlValue(master, tiocgptpeer, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC)
	check.That("peer", err == nil && slave > 2, slave, err)
	link, err := os.Readlink(fmt.Sprint("/proc/self/fd/", slave))
	check.That("the peer's name", link == name && err == nil, link, err)
	_, err = number(slave, tiocgptn)
	check.Equal("the slave is no master", err, error(syscall.ENOTTY))
	_, err = number(master, tiocgsid)
	check.Equal("no session", err, error(syscall.ENOTTY))
	_, err = number(slave, tiocgpgrp)
	check.Equal("no group", err, error(syscall.ENOTTY))
	other, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY, 0)
	check.NoError("another", err)
	second, _ := number(other, tiocgptn)
	check.That("another number", second != index, second)
	closeAll(other, slave, master)
	_, err = os.Stat(name)
	check.That("gone", os.IsNotExist(err), err)
	_, err = syscall.Open("/dev/pts/none", syscall.O_RDWR, 0)
	check.Equal("no number", err, error(syscall.ENOENT))
}

func lines() {
	master, slave := pair()
	check.Equal("nothing to read", take(master), again)
	check.Equal("nothing to read for the slave", take(slave), again)
	put(slave, "ping\n")
	reads("output with CR", master, "ping\r\n")
	put(master, "po")
	reads("echo", master, "po")
	check.Equal("no line yet", take(slave), again)
	put(master, "x\x7fng\r")
	reads("the line", slave, "pong\n")
	reads("echo with what was erased", master, "x\b \bng\r\n")
	put(master, "one\ntwo\n")
	eventually("bytes to read", 8, func() interface{} { n, _ := number(slave, fionread); return n })
	reads("first line", slave, "one\n")
	reads("second line", slave, "two\n")
	put(master, "\x04")
	eventually("end of file", "", func() interface{} { return take(slave) })
	put(master, "\x03")
	take(master)
	put(master, "lost")
	check.NoError("TCFLSH", ioctlFlush(slave, 0))
	put(master, "kept\n")
	reads("after a flush", slave, "kept\n")
	closeAll(slave, master)
}

func ioctlFlush(fd int, queue uintptr) error {
	_, err := ioctlValue(fd, tcflsh, queue)
	return err
}

func raw() {
	master, slave := pair()
	// The settings are the slave's, by whichever end.
	makeRaw(master)
	put(master, "\x03a\rb\n")
	reads("raw input", slave, "\x03a\rb\n")
	put(slave, "c\n")
	reads("raw output", master, "c\n")
	check.Equal("no echo", take(master), again)
	polls("both may write", master, pollOut)
	check.Equal("the slave, too", poll(slave), pollOut)
	put(slave, "d")
	polls("something to read", master, pollIn|pollOut)
	put(master, "e")
	polls("something to read for the slave", slave, pollIn|pollOut)
	change(slave, func(settings *termios) { settings.keys[5], settings.keys[6] = 1, 0 })
	check.Equal("with a time", take(slave), "e")

	// A reader that sleeps.
	syscall.SetNonblock(slave, false)
	change(slave, func(settings *termios) { settings.keys[5], settings.keys[6] = 0, 3 })
	read := make(chan string)
	go func() { read <- take(slave) }()
	put(master, "xy")
	select {
	case got := <-read:
		check.That("two are not three", false, got)
	case <-time.After(50 * time.Millisecond):
	}
	put(master, "z")
	check.Equal("three", <-read, "xyz")
	closeAll(slave, master)
}

// full: who writes more than is read waits.
func full() {
	master, slave := pair()
	makeRaw(slave)
	count := func(fd int) (total int) {
		piece := make([]byte, 1000)
		for total < 1<<20 {
			n, err := syscall.Write(fd, piece)
			if err != nil {
				check.Equal("full", err, error(syscall.EAGAIN))
				break
			}
			total += n
		}
		return total
	}
	drain := func(fd int) (total int) {
		for {
			got := take(fd)
			if strings.HasPrefix(got, "error: ") {
				return total
			}
			total += len(got)
		}
	}
	all := func(name string, from, to int) {
		wrote := count(from)
		check.That(name+": some fits", wrote >= 4000 && wrote < 1<<17, wrote)
		check.Equal(name+": not writable", poll(from)&pollOut, 0)
		total := 0
		eventually(name+": all came", wrote, func() interface{} { total += drain(to); return total })
		polls(name+": writable again", from, pollOut)
	}
	all("from the slave", slave, master)
	all("from the master", master, slave)

	// A writer that sleeps goes on.
	syscall.SetNonblock(slave, false)
	const size = 100000
	wrote := make(chan int)
	go func() {
		n, _ := syscall.Write(slave, make([]byte, size))
		wrote <- n
	}()
	total := 0
	eventually("slowly", size, func() interface{} { total += drain(master); return total })
	check.Equal("wrote all", <-wrote, size)
	closeAll(slave, master)
}

func slaveClosed() {
	master, slave := pair()
	again, err := syscall.Dup(slave)
	check.NoError("dup", err)
	put(slave, "last")
	syscall.Close(slave)
	check.Equal("one is left", poll(master)&pollHup, 0)
	syscall.Close(again)
	polls("hung up", master, pollIn|pollOut|pollHup)
	reads("the last words", master, "last")
	check.Equal("then", take(master), ioError)
	index, _ := number(master, tiocgptn)
	slave, err = syscall.Open(fmt.Sprint("/dev/pts/", index), syscall.O_RDWR|syscall.O_NOCTTY, 0)
	check.NoError("open anew", err)
	check.Equal("not hung up any more", poll(master), pollOut)
	put(slave, "hello")
	reads("it works again", master, "hello")

	// A reader that sleeps hears of it.
	syscall.SetNonblock(master, false)
	read := make(chan string)
	go func() { read <- take(master) }()
	time.Sleep(20 * time.Millisecond)
	syscall.Close(slave)
	check.Equal("the sleeper", <-read, ioError)
	syscall.Close(master)
}

func masterClosed() {
	master, slave := pair()
	syscall.SetNonblock(slave, false)
	read := make(chan string)
	go func() { read <- take(slave) }()
	time.Sleep(20 * time.Millisecond)
	syscall.Close(master)
	// Linux wakes the reader with an error, others with the end.
	got := <-read
	check.That("the sleeper", got == "" || got == ioError, got)
	check.Equal("end of file", take(slave), "")
	_, err := syscall.Write(slave, []byte("x"))
	check.Equal("write", err, error(syscall.EIO))
	check.Equal("poll", poll(slave), pollIn|pollOut|pollErr|pollHup)
	var settings termios
	check.Equal("ioctl", ioctl(slave, tcgets, unsafe.Pointer(&settings)), error(syscall.EIO))
	syscall.Close(slave)
}

func packets() {
	master, slave := pair()
	on := int32(1)
	check.NoError("TIOCPKT", ioctl(master, tiocpkt, unsafe.Pointer(&on)))
	is, err := number(master, tiocgpkt)
	check.That("TIOCGPKT", is == 1 && err == nil, is, err)
	put(slave, "data")
	reads("data", master, "\x00data")
	check.NoError("flush input", ioctlFlush(slave, 0))
	polls("something happened", master, pollIn|pollPri|pollOut)
	reads("flushed", master, "\x01")
	check.NoError("flush output", ioctlFlush(slave, 1))
	reads("output flushed", master, "\x02")
	change(slave, func(settings *termios) { settings.input &^= 0o2000 })
	reads("no stop", master, "\x10")
	change(slave, func(settings *termios) { settings.input |= 0o2000 })
	reads("stop", master, " ")
	check.Equal("nothing more", take(master), again)
	on = 0
	check.NoError("off", ioctl(master, tiocpkt, unsafe.Pointer(&on)))
	put(slave, "plain")
	reads("as before", master, "plain")
	closeAll(slave, master)
}

func windows() {
	master, slave := pair()
	size, got := [4]uint16{33, 77, 5, 6}, [4]uint16{}
	check.NoError("set", ioctl(master, tiocswinsz, unsafe.Pointer(&size)))
	check.NoError("get", ioctl(slave, tiocgwinsz, unsafe.Pointer(&got)))
	check.Equal("the slave's", got, size)
	size[0] = 34
	check.NoError("set by the slave", ioctl(slave, tiocswinsz, unsafe.Pointer(&size)))
	check.NoError("get by the master", ioctl(master, tiocgwinsz, unsafe.Pointer(&got)))
	check.Equal("the master's", got, size)
	closeAll(slave, master)
}

// files: what stands in /dev/pts.
func files() {
	master, slave := pair()
	index, _ := number(master, tiocgptn)
	name := fmt.Sprint("/dev/pts/", index)
	var stat syscall.Stat_t
	check.NoError("fstat", syscall.Fstat(slave, &stat))
	check.Equal("its device", stat.Rdev, uint64(136<<8+index))
	check.Equal("a device", stat.Mode&syscall.S_IFMT, uint32(syscall.S_IFCHR))
	check.NoError("fstat of the master", syscall.Fstat(master, &stat))
	check.Equal("the master's device", stat.Rdev, uint64(5<<8+2))
	var system syscall.Statfs_t
	check.NoError("statfs", syscall.Statfs("/dev/pts", &system))
	check.Equal("its magic", system.Type, int64(0x1cd1))
	directory, err := os.Open("/dev/pts")
	check.Must("open /dev/pts", err)
	names, err := directory.Readdirnames(-1)
	directory.Close()
	joined := " " + strings.Join(names, " ") + " "
	check.That("its names", err == nil && strings.Contains(joined, fmt.Sprint(" ", index, " ")) && strings.Contains(joined, " ptmx "), names, err)
	check.NoError("chmod", os.Chmod(name, 0o640))
	info, err := os.Stat(name)
	check.That("its permissions", err == nil && info.Mode().Perm() == 0o640, info, err)
	check.NoError("chown", os.Chown(name, 7, 8))
	var owned syscall.Stat_t
	err = syscall.Stat(name, &owned)
	check.That("its owner and group", err == nil && owned.Uid == 7 && owned.Gid == 8, owned, err)
	_, err = os.Create("/dev/pts/new")
	check.That("nothing can be made", err != nil)
	closeAll(slave, master)
}

// owner: a slave belongs to who opened the master.
func owner() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.RawSyscall(syscall.SYS_SETFSUID, 1000, 0, 0)
	master, slave := pair()
	syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
	var stat syscall.Stat_t
	check.NoError("fstat", syscall.Fstat(slave, &stat))
	check.Equal("its owner", stat.Uid, uint32(1000))
	closeAll(slave, master)
}

// controlling: a terminal that controls the session, where the program may choose one.
func controlling() {
	master, slave := pair()
	defer closeAll(slave, master)
	received := make(chan os.Signal, 8)
	signal.Notify(received, syscall.SIGWINCH, syscall.SIGINT, syscall.SIGHUP, syscall.SIGCONT)
	next := func() os.Signal {
		select {
		case s := <-received:
			return s
		case <-time.After(20 * time.Second):
			return nil
		}
	}
	if terminal, err := syscall.Open("/dev/tty", syscall.O_RDWR, 0); err == nil {
		_, err = ioctlValue(slave, tiocsctty, 0)
		check.Equal("a session has one", err, error(syscall.EPERM))
		// The leader of a session lets go of it for all.
		if _, err = ioctlValue(terminal, tiocnotty, 0); err == nil {
			session, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
			if int(session) == os.Getpid() {
				got := [2]os.Signal{next(), next()}
				check.That("SIGHUP and SIGCONT", got == [2]os.Signal{syscall.SIGHUP, syscall.SIGCONT} ||
					got == [2]os.Signal{syscall.SIGCONT, syscall.SIGHUP}, got)
			}
		}
		syscall.Close(terminal)
	}
	syscall.Setsid()
	if _, err := ioctlValue(slave, tiocsctty, 0); err != nil {
		check.That("who leads no session has no terminal", err == error(syscall.EPERM), err)
		return
	}
	group, err := number(slave, tiocgpgrp)
	check.That("the group", err == nil && group == syscall.Getpgrp(), group, err)
	own, err := syscall.Open("/dev/tty", syscall.O_RDWR, 0)
	check.NoError("open /dev/tty", err)
	put(own, "by its other name")
	reads("/dev/tty", master, "by its other name")
	syscall.Close(own)
	size := [4]uint16{11, 12}
	check.NoError("a new size", ioctl(master, tiocswinsz, unsafe.Pointer(&size)))
	check.Equal("SIGWINCH", next(), os.Signal(syscall.SIGWINCH))
	put(master, "\x03")
	check.Equal("SIGINT", next(), os.Signal(syscall.SIGINT))
	syscall.Close(master)
	// With SIGCONT, in either order.
	hangUp := [2]os.Signal{next(), next()}
	check.That("SIGHUP", hangUp[0] == syscall.SIGHUP || hangUp[1] == syscall.SIGHUP, hangUp)
}
