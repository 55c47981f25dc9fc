package main

import (
	"os"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// times: which of a file's times a call moves. a: accessed, m: modified, c: changed.
func times() {
	syscall.Close(file("t", "some bytes"))
	check.NoError("times: link", os.Symlink("t", "tl"))
	for _, row := range []struct {
		what, path, moves string
		body              func(fd int) error
	}{
		{"write", "t", "mc", func(fd int) error { _, err := syscall.Pwrite(fd, []byte("x"), 0); return err }},
		{"read", "t", "a", readSome},
		{"read again", "t", "", readSome},
		{"no bytes to write", "t", "", func(fd int) error { _, err := syscall.Pwrite(fd, nil, 0); return err }},
		{"chmod", "t", "c", func(fd int) error { return syscall.Fchmod(fd, 0o600) }},
		{"read without access", "t", "", readUnseen},
		{"map", "t", "a", mapAndLook},
		{"readlink", "tl", "a", func(int) error { _, err := os.Readlink("tl"); return err }},
		{"set an attribute", "t", "c", func(fd int) error { return syscall.Setxattr("t", "user.t", []byte("1"), 0) }},
		{"remove an attribute", "t", "c", func(fd int) error { return syscall.Removexattr("t", "user.t") }},
		{"get an attribute", "t", "", func(fd int) error { syscall.Getxattr("t", "user.t", nil); return nil }},
		{"send", "t", "a", sendSome},
		{"the same length", "t", "mc", func(fd int) error { return syscall.Ftruncate(fd, 10) }},
	} {
		before := timesOf(row.path)
		time.Sleep(20 * time.Millisecond)
		fd, err := syscall.Open("t", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		check.Must("times: open", err)
		check.NoError("times: "+row.what, row.body(fd))
		syscall.Close(fd)
		after := timesOf(row.path)
		moved := ""
		for i, letter := range "amc" {
			if before[i] != after[i] {
				moved += string(letter)
			}
		}
		check.Equal("times: "+row.what, moved, row.moves)
	}
}

func timesOf(path string) [3]syscall.Timespec {
	var status syscall.Stat_t
	check.NoError("times: lstat", syscall.Lstat(path, &status))
	return [3]syscall.Timespec{status.Atim, status.Mtim, status.Ctim}
}

func readSome(fd int) error {
	_, err := syscall.Pread(fd, make([]byte, 3), 0)
	return err
}

// readUnseen reads by a descriptor that leaves the time alone.
func readUnseen(int) error {
	fd, err := syscall.Open("t", syscall.O_RDONLY|syscall.O_NOATIME, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return readSome(fd)
}

func mapAndLook(fd int) error {
	memory, err := syscall.Mmap(fd, 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer syscall.Munmap(memory)
	check.That("times: mapped", memory[0] == 'x')
	return nil
}

func sendSome(fd int) error {
	to := file("ts", "")
	defer syscall.Close(to)
	offset := int64(0)
	_, err := syscall.Sendfile(to, fd, &offset, 5)
	return err
}
