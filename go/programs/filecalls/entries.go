package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// entries: an open file goes by the name that its directory's entry has now, in events and in /proc/self/fd.
func entries() {
	check.NoError("entries: folder", os.Mkdir("e1", 0o755))
	check.NoError("entries: another", os.Mkdir("e2", 0o755))
	for _, exclude := range []uint32{0, syscall.IN_EXCL_UNLINK} {
		entriesMove(exclude)
		entriesAreReplaced(exclude)
	}
	entriesOfFolders()
}

func entriesWatcher(exclude uint32) *watcher {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
	check.Must("entries: init", err)
	w := &watcher{fd, map[int32]string{}}
	for _, folder := range []string{"e1", "e2"} {
		w.watchFor(folder, exclude|syscall.IN_MODIFY|syscall.IN_CLOSE|syscall.IN_ACCESS|syscall.IN_ATTRIB)
	}
	return w
}

// unlessExcluded is what is seen when the event is of a name that is gone.
func unlessExcluded(exclude uint32, event string) string {
	if exclude != 0 {
		return syscall.EAGAIN.Error()
	}
	return event
}

// held is an open file.
type held struct{ *os.File }

func hold(path string, flags int) held {
	f, err := os.OpenFile(path, flags, 0o644)
	check.Must("entries: open "+path, err)
	return held{f}
}

func (h held) write(what string) {
	_, err := h.WriteString("x")
	check.NoError("entries: "+what, err)
}

// goesBy is where /proc/self/fd says that it is, from the folder of the test on.
func (h held) goesBy() string {
	path, err := os.Readlink(fmt.Sprint("/proc/self/fd/", h.Fd()))
	check.NoError("entries: readlink", err)
	folder, err := os.Getwd()
	check.NoError("entries: getwd", err)
	if len(path) <= len(folder) || path[:len(folder)] != folder {
		return path
	}
	return path[len(folder)+1:]
}

func entriesMove(exclude uint32) {
	w := entriesWatcher(exclude)
	defer syscall.Close(w.fd)
	included := func(event string) string { return unlessExcluded(exclude, event) }
	f := hold("e1/x", os.O_RDWR|os.O_CREATE)
	f.write("write")
	check.Equal("entries: write", w.seen(), "e1: written x")
	check.NoError("entries: rename", os.Rename("e1/x", "e1/y"))
	f.write("write after a rename")
	check.Equal("entries: write after a rename", w.seen(), "e1: written y")
	check.Equal("entries: renamed", f.goesBy(), "e1/y")
	check.NoError("entries: move", os.Rename("e1/y", "e2/z"))
	f.write("write after a move")
	check.NoError("entries: fchmod", f.Chmod(0o600))
	check.NoError("entries: ftruncate", f.Truncate(0))
	check.Equal("entries: after a move", w.seen(), "e2: written z, e2: attributes z, e2: written z")
	check.Equal("entries: moved", f.goesBy(), "e2/z")
	check.NoError("entries: link", os.Link("e2/z", "e1/l"))
	f.write("write after a link")
	g := hold("e1/l", os.O_RDONLY)
	_, err := g.Read(make([]byte, 1))
	check.NoError("entries: read by the other name", err)
	check.Equal("entries: two names", w.seen(), "e2: written z, e1: read l")
	check.NoError("entries: unlink", os.Remove("e2/z"))
	f.write("write after unlink")
	check.Equal("entries: write after unlink", w.seen(), included("e2: written z"))
	check.Equal("entries: removed", f.goesBy(), "e2/z (deleted)")
	check.Equal("entries: the other is there", g.goesBy(), "e1/l")
	f.Close()
	check.Equal("entries: close after unlink", w.seen(), included("e2: closed z"))
	check.NoError("entries: unlink the other", os.Remove("e1/l"))
	g.Close()
	check.Equal("entries: close the other", w.seen(), included("e1: closed l"))
}

func entriesAreReplaced(exclude uint32) {
	w := entriesWatcher(exclude)
	defer syscall.Close(w.fd)
	old, fresh := hold("e1/o", os.O_RDWR|os.O_CREATE), hold("e1/n", os.O_RDWR|os.O_CREATE)
	same := hold("e1/n", os.O_RDONLY)
	check.NoError("entries: rename over", os.Rename("e1/n", "e1/o"))
	fresh.write("write what came")
	check.Equal("entries: write what came", w.seen(), "e1: written o")
	check.Equal("entries: both know", fresh.goesBy()+" "+same.goesBy(), "e1/o e1/o")
	old.write("write what was replaced")
	check.Equal("entries: write what was replaced", w.seen(), unlessExcluded(exclude, "e1: written o"))
	check.Equal("entries: replaced", old.goesBy(), "e1/o (deleted)")
	other := hold("e2/p", os.O_RDWR|os.O_CREATE)
	check.NoError("entries: exchange", exchange("e1/o", "e2/p"))
	fresh.write("write one")
	other.write("write the other")
	check.Equal("entries: exchanged", w.seen(), "e2: written p, e1: written o")
	for _, f := range []held{old, fresh, same, other} {
		f.Close()
	}
	check.NoError("entries: remove", os.Remove("e1/o"))
	check.NoError("entries: remove the other", os.Remove("e2/p"))
}

// entriesOfFolders: what is open moves with the folder above it.
func entriesOfFolders() {
	check.NoError("entries: mkdir", os.MkdirAll("e1/d/d", 0o755))
	f, folder := hold("e1/d/d/f", os.O_RDWR|os.O_CREATE), hold("e1/d", os.O_RDONLY)
	check.NoError("entries: move the folder", os.Rename("e1/d", "e2/c"))
	check.Equal("entries: below a moved folder", f.goesBy()+" "+folder.goesBy(), "e2/c/d/f e2/c")
	check.NoError("entries: remove all", os.RemoveAll("e2/c"))
	check.Equal("entries: a removed folder", folder.goesBy(), "e2/c (deleted)")
	f.Close()
	folder.Close()
}
