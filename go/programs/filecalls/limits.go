package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

const (
	rlimitFsize = 1
	keepSize    = 1
	noLimit     = ^uint64(0)
)

// lengthLimit: RLIMIT_FSIZE. What a call answers is judged later: a report may itself be a file.
func lengthLimit() {
	type answer struct {
		name      string
		got, want interface{}
	}
	var answers []answer
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGXFSZ)
	defer signal.Stop(signals)
	fd := file("limited", "")
	source := file("limited-source", "0123456789")
	appends, err := syscall.Open("limited", syscall.O_WRONLY|syscall.O_APPEND, 0)
	check.NoError("length limit: another descriptor", err)
	long := file("long-already", "0123456789")
	check.NoError("length limit: a long file", syscall.Ftruncate(long, 4096))
	reads, writes := pipe(0)
	text := make([]byte, 60)
	path, empty := pointer("limited"), pointer("")
	at := func(buffer []byte) uintptr { return address(buffer) }
	textAt := at(text)

	is := func(name string, got, want interface{}) { answers = append(answers, answer{name, got, want}) }
	tooBig := -int(syscall.EFBIG)
	// exceeds: the call fails and the thread gets the signal.
	exceeds := func(name string, got int) {
		is(name, got, tooBig)
		select {
		case <-signals:
		case <-time.After(10 * time.Second):
			is(name+": signal", "none", "SIGXFSZ")
		}
	}
	var before syscall.Rlimit
	check.NoError("length limit: before", syscall.Getrlimit(rlimitFsize, &before))
	check.Equal("length limit: none at first", before.Cur, noLimit)
	limit := syscall.Rlimit{Cur: 100, Max: before.Max}
	err = syscall.Setrlimit(rlimitFsize, &limit)
	is("set", err, nil)
	is("write: below", call(syscall.SYS_WRITE, uintptr(fd), textAt, 60), 60)
	is("write: cut short", call(syscall.SYS_WRITE, uintptr(fd), textAt, 60), 40)
	exceeds("write: at the limit", call(syscall.SYS_WRITE, uintptr(fd), textAt, 60))
	is("write: nothing", call(syscall.SYS_WRITE, uintptr(fd), textAt, 0), 0)
	exceeds("append", call(syscall.SYS_WRITE, uintptr(appends), textAt, 1))
	is("pwrite: cut short", call(syscall.SYS_PWRITE64, uintptr(fd), textAt, 60, 90), 10)
	exceeds("pwrite: beyond", call(syscall.SYS_PWRITE64, uintptr(fd), textAt, 1, 100))
	exceeds("pwrite: what is there already", call(syscall.SYS_PWRITE64, uintptr(long), textAt, 1, 200))
	exceeds("ftruncate", call(syscall.SYS_FTRUNCATE, uintptr(fd), 101))
	exceeds("truncate", call(syscall.SYS_TRUNCATE, path, 101))
	is("ftruncate: shorter, still too long", call(syscall.SYS_FTRUNCATE, uintptr(long), 300), 0)
	is("ftruncate: to the limit", call(syscall.SYS_FTRUNCATE, uintptr(fd), 100), 0)
	exceeds("fallocate", call(syscall.SYS_FALLOCATE, uintptr(fd), 0, 50, 51))
	is("fallocate: to the limit", call(syscall.SYS_FALLOCATE, uintptr(fd), 0, 50, 50), 0)
	is("ftruncate: room for a part", call(syscall.SYS_FTRUNCATE, uintptr(fd), 97), 0)
	is("copy_file_range: cut short", call(sysCopyFileRange, uintptr(source), 0, uintptr(appends), 0, 10, 0), -int(syscall.EBADF))
	syscall.Seek(fd, 97, 0)
	is("copy_file_range: cut short", call(sysCopyFileRange, uintptr(source), 0, uintptr(fd), 0, 10, 0), 3)
	exceeds("copy_file_range: at the limit", call(sysCopyFileRange, uintptr(source), 0, uintptr(fd), 0, 10, 0))
	is("a pipe has no such limit", call(syscall.SYS_WRITE, uintptr(writes), textAt, 60), 60)
	is("read", call(syscall.SYS_READ, uintptr(reads), textAt, 60), 60)
	memory := call(sysMemfdCreate, empty, 0)
	exceeds("memfd", call(syscall.SYS_FTRUNCATE, uintptr(memory), 101))
	err = syscall.Setrlimit(rlimitFsize, &before)
	is("set back", err, nil)
	is("write: without a limit", call(syscall.SYS_WRITE, uintptr(fd), textAt, 60), 60)

	for _, answer := range answers {
		check.Equal("length limit: "+answer.name, answer.got, answer.want)
	}
	select {
	case <-signals:
		check.That("length limit: no more signals", false)
	default:
	}
	for _, each := range []int{fd, source, appends, long, reads, writes, memory} {
		syscall.Close(each)
	}
}
