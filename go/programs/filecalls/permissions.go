package main

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	nobody = 1000 // who has no capabilities
	shared = 2000 // a group that nobody is in
	other  = 3000 // and one that nobody is not in

	atEaccess = 0x200
	oPath     = 0x200000
)

// as runs the body on a thread of its own with the user ids: others stay who they are.
func as(real, effective int, body func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if real != 0 {
			groups := []uint32{shared}
			check.Equal("setgroups", call(syscall.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups[0]))), 0)
			check.Equal("setresgid", call(syscall.SYS_SETRESGID, nobody, nobody, nobody), 0)
		}
		check.Equal("setresuid", call(syscall.SYS_SETRESUID, uintptr(real), uintptr(effective), uintptr(effective)), 0)
		body()
	}()
	<-done
}

// tree makes files and folders of several owners.
func tree() {
	syscall.Umask(0)
	for _, made := range []struct {
		name        string
		mode        uint32
		user, group int
	}{
		{"may", 0o755 | syscall.S_IFDIR, 0, 0},
		{"may/closed", 0o700 | syscall.S_IFDIR, 0, 0},
		{"may/search", 0o711 | syscall.S_IFDIR, 0, 0},
		{"may/list", 0o744 | syscall.S_IFDIR, 0, 0},
		{"may/free", 0o777 | syscall.S_IFDIR, 0, 0},
		{"may/free/folder", 0o755 | syscall.S_IFDIR, 0, 0},
		{"may/sticky", 0o777 | syscall.S_IFDIR, 0, 0},
		{"may/group", 0o775 | syscall.S_IFDIR, 0, shared},
		{"may/closed/inside", 0o666, 0, 0},
		{"may/search/inside", 0o666, 0, 0},
		{"may/list/inside", 0o666, 0, 0},
		{"may/free/theirs", 0o666, 0, 0},
		{"may/sticky/theirs", 0o666, 0, 0},
		{"may/sticky/ours", 0o600, nobody, nobody},
		{"may/read", 0o644, 0, 0},
		{"may/write", 0o666, 0, 0},
		{"may/none", 0o600, 0, 0},
		{"may/run", 0o755, 0, 0},
		{"may/theirs-run", 0o744, 0, 0},
		{"may/group-read", 0o640, 0, shared},
		{"may/our-read", 0o400, nobody, 0},
		{"may/our-write", 0o200, nobody, nobody},
		{"may/not-ours", 0o077, nobody, nobody},
	} {
		if made.mode&syscall.S_IFDIR != 0 {
			check.NoError(made.name, syscall.Mkdir(made.name, made.mode&0o777))
		} else {
			syscall.Close(file(made.name, "content"))
			check.NoError(made.name, syscall.Chmod(made.name, made.mode))
		}
		check.NoError(made.name, syscall.Chown(made.name, made.user, made.group))
	}
	check.NoError("sticky", syscall.Chmod("may/sticky", 0o1777))
	check.NoError("set-group-id", syscall.Chmod("may/group", 0o2775))
	syscall.Umask(0o022)
}

func opened(name string, flags int) error {
	fd, err := syscall.Open(name, flags, 0o644)
	if err == nil {
		syscall.Close(fd)
	}
	return err
}

// result is what a call by number came to, as an error.
func result(number uintptr, arguments ...uintptr) error {
	if got := call(number, arguments...); got < 0 {
		return syscall.Errno(-got)
	}
	return nil
}

func owner(name string) string {
	var status syscall.Stat_t
	if err := syscall.Lstat(name, &status); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %d %o", status.Uid, status.Gid, status.Mode&0o7777)
}

const (
	ok    = syscall.Errno(0)
	acces = syscall.EACCES
	perm  = syscall.EPERM
)

// permissions: what the bits, the owner and the folder say to somebody who is not root, in Linux's order.
func permissions() {
	tree()
	var status syscall.Stat_t
	now := []syscall.Timeval{{Sec: 1}, {Sec: 2}}
	as(nobody, nobody, func() {
		for _, row := range []struct {
			name string
			err  error
			want syscall.Errno
		}{
			{"open: others read", opened("may/read", syscall.O_RDONLY), ok},
			{"open: others write", opened("may/read", syscall.O_WRONLY), acces},
			{"open: others cut", opened("may/read", syscall.O_RDONLY|syscall.O_TRUNC), acces},
			{"open: nothing for others", opened("may/none", syscall.O_RDONLY), acces},
			{"open: only the path", opened("may/none", oPath), ok},
			{"open: group reads", opened("may/group-read", syscall.O_RDONLY), ok},
			{"open: group writes", opened("may/group-read", syscall.O_RDWR), acces},
			{"open: owner reads", opened("may/our-read", syscall.O_RDONLY), ok},
			{"open: owner does not write", opened("may/our-read", syscall.O_WRONLY), acces},
			{"open: owner writes", opened("may/our-write", syscall.O_WRONLY|syscall.O_TRUNC), ok},
			{"open: owner does not read", opened("may/our-write", syscall.O_RDONLY), acces},
			{"open: everybody but the owner", opened("may/not-ours", syscall.O_RDONLY), acces},
			{"open: times stay, not the owner", opened("may/read", syscall.O_RDONLY|syscall.O_NOATIME), perm},
			{"open: times stay", opened("may/our-read", syscall.O_RDONLY|syscall.O_NOATIME), ok},
			{"open: create what is there", opened("may/write", syscall.O_RDWR|syscall.O_CREAT), ok},
			{"open: create", opened("may/new", syscall.O_RDWR|syscall.O_CREAT), acces},
			{"open: descriptors", opened("/proc/self/fd", syscall.O_RDONLY), ok},
			{"closed: status", syscall.Stat("may/closed", &status), ok},
			{"closed: open", opened("may/closed", syscall.O_RDONLY), acces},
			{"closed: inside", syscall.Stat("may/closed/inside", &status), acces},
			{"closed: nothing inside", syscall.Stat("may/closed/nothing", &status), acces},
			{"closed: itself", syscall.Stat("may/closed/.", &status), acces},
			{"closed: up", syscall.Stat("may/closed/..", &status), acces},
			{"closed: enter", syscall.Chdir("may/closed"), acces},
			{"search: open", opened("may/search", syscall.O_RDONLY), acces},
			{"search: inside", opened("may/search/inside", syscall.O_RDWR), ok},
			{"list: open", opened("may/list", syscall.O_RDONLY), ok},
			{"list: inside", syscall.Stat("may/list/inside", &status), acces},
			{"mkdir: no", syscall.Mkdir("may/new", 0o755), acces},
			{"mkdir: there", syscall.Mkdir("may/read", 0o755), syscall.EEXIST},
			{"symlink: no", syscall.Symlink("x", "may/new"), acces},
			{"link: no", syscall.Link("may/our-read", "may/new"), acces},
			{"mknod: pipe", syscall.Mknod("may/free/pipe", syscall.S_IFIFO|0o600, 0), ok},
			{"mknod: device", syscall.Mknod("may/free/device", syscall.S_IFCHR|0o600, 0x103), perm},
			{"create", opened("may/free/ours", syscall.O_RDWR|syscall.O_CREAT), ok},
			{"create: in a group's folder", syscall.Mkdir("may/group/ours", 0o755), ok},
			{"unlink: no", syscall.Unlink("may/read"), acces},
			{"unlink: a folder", syscall.Unlink("may/closed"), acces},
			{"unlink: nothing", syscall.Unlink("may/nothing"), syscall.ENOENT},
			{"rmdir: no", syscall.Rmdir("may/free"), acces},
			{"rmdir: a file", syscall.Rmdir("may/read"), acces},
			{"sticky: theirs", syscall.Unlink("may/sticky/theirs"), perm},
			{"sticky: rename theirs", syscall.Rename("may/sticky/theirs", "may/free/x"), perm},
			{"sticky: rename over theirs", syscall.Rename("may/free/ours", "may/sticky/theirs"), perm},
			{"sticky: ours", syscall.Unlink("may/sticky/ours"), ok},
			{"free: theirs", syscall.Unlink("may/free/theirs"), ok},
			{"rename: out", syscall.Rename("may/free/ours", "may/ours"), acces},
			{"rename: in", syscall.Rename("may/read", "may/free/read"), acces},
			{"rename: their folder", syscall.Rename("may/free/folder", "may/group/folder"), acces},
			{"rename: their folder, where it is", syscall.Rename("may/free/folder", "may/free/moved"), ok},
			{"rename", syscall.Rename("may/free/ours", "may/group/file"), ok},
			{"chmod: theirs", syscall.Chmod("may/write", 0o777), perm},
			{"chmod: ours", syscall.Chmod("may/our-read", 0o2500), ok},
			{"chown: nothing", syscall.Chown("may/read", -1, -1), ok},
			{"chown: theirs", syscall.Chown("may/write", nobody, -1), perm},
			{"chown: away", syscall.Chown("may/our-write", 0, -1), perm},
			{"chown: to a group of ours", syscall.Chown("may/our-write", nobody, shared), ok},
			{"chown: to another group", syscall.Chown("may/our-write", -1, other), perm},
			{"utimes: theirs", syscall.Utimes("may/write", now), perm},
			{"utimes: theirs, now", result(syscall.SYS_UTIMES, pointer("may/write"), 0), ok},
			{"utimes: not to be written, now", result(syscall.SYS_UTIMES, pointer("may/read"), 0), acces},
			{"utimes: ours", syscall.Utimes("may/our-read", now), ok},
			{"truncate: theirs", syscall.Truncate("may/read", 0), acces},
			{"truncate: ours", syscall.Truncate("may/our-write", 0), ok},
			{"access: read", syscall.Access("may/read", 4), ok},
			{"access: write", syscall.Access("may/read", 2), acces},
			{"access: nothing", syscall.Access("may/none", 4), acces},
			{"access: is there", syscall.Access("may/none", 0), ok},
			{"access: run", syscall.Access("may/run", 1), ok},
			{"access: run theirs", syscall.Access("may/theirs-run", 1), acces},
			{"chroot", syscall.Chroot("."), perm},
			{"attribute: read", result(syscall.SYS_GETXATTR, pointer("may/none"), pointer("user.x"), 0, 0), acces},
			{"attribute: write", result(syscall.SYS_SETXATTR, pointer("may/read"), pointer("user.x"), pointer("1"), 1, 0), acces},
			{"attribute: trusted", result(syscall.SYS_SETXATTR, pointer("may/our-write"), pointer("trusted.x"), pointer("1"), 1, 0), perm},
			{"attribute: read trusted", result(syscall.SYS_GETXATTR, pointer("may/read"), pointer("trusted.x"), 0, 0), syscall.ENODATA},
			{"watch", watched("may/none"), acces},
			{"raw socket", raw(), perm},
			{"buffer beyond the limit", buffer(1 << 20), perm},
		} {
			want := error(row.want)
			if row.want == ok {
				want = nil
			}
			check.Equal("permissions: "+row.name, row.err, want)
		}
		check.Equal("permissions: whose a file is", owner("may/group/file"), "1000 1000 644")
		check.Equal("permissions: whose a folder is", owner("may/group/ours"), "1000 2000 2755")
		check.Equal("permissions: set-group-id", owner("may/our-read"), "1000 0 500")
	})
	as(nobody, 0, func() {
		check.NoError("permissions: in effect root", opened("may/none", syscall.O_RDONLY))
		check.Equal("permissions: really not", syscall.Access("may/none", 4), error(acces))
		check.Equal("permissions: really not inside", syscall.Access("may/closed/inside", 4), error(acces))
		here := atFdcwd
		check.NoError("permissions: in effect", result(sysFaccessat2, here, pointer("may/closed/inside"), 4, atEaccess))
	})
	check.NoError("permissions: root takes a large buffer", buffer(1<<20))
	as(0, 0, func() {
		check.Equal("setfsuid", call(syscall.SYS_SETFSUID, nobody), 0)
		check.Equal("permissions: root with another's files", opened("may/none", syscall.O_RDONLY), error(acces))
		check.Equal("setfsuid: back", call(syscall.SYS_SETFSUID, 0), nobody)
		check.NoError("permissions: root again", opened("may/none", syscall.O_RDONLY))
		check.Equal("permissions: what nobody may run", syscall.Access("may/none", 1), error(acces))
	})
}

func watched(name string) error {
	instance, err := syscall.InotifyInit1(0)
	check.NoError("inotify", err)
	defer syscall.Close(instance)
	_, err = syscall.InotifyAddWatch(instance, name, syscall.IN_OPEN)
	return err
}

// buffer asks for a socket's buffer, whatever net.core.rmem_max says; the kernel doubles it.
func buffer(bytes int) error {
	const receiveForced = 33 // SO_RCVBUFFORCE
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	check.NoError("socket", err)
	defer syscall.Close(fd)
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, receiveForced, bytes); err != nil {
		return err
	}
	got, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	check.Equal("buffer beyond the limit", got, 2*bytes)
	return err
}

func raw() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP)
	if err == nil {
		syscall.Close(fd)
	}
	return err
}
