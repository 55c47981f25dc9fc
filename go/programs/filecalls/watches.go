package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// watcher is an inotify instance that knows what its watches are called.
type watcher struct {
	fd    int
	names map[int32]string
}

func (w *watcher) watch(path string) {
	w.watchFor(path, syscall.IN_ALL_EVENTS&^(syscall.IN_OPEN|syscall.IN_ACCESS|syscall.IN_CLOSE|syscall.IN_MODIFY))
}

func (w *watcher) watchFor(path string, events uint32) {
	watch, err := syscall.InotifyAddWatch(w.fd, path, events)
	check.NoError("inotify: watch "+path, err)
	w.names[int32(watch)] = path[strings.LastIndexByte(path, '/')+1:]
}

// seen is what has happened since the last call.
func (w *watcher) seen() string {
	events := []struct {
		bit  uint32
		name string
	}{
		{syscall.IN_ATTRIB, "attributes"}, {syscall.IN_MOVED_FROM, "moved from"}, {syscall.IN_MOVED_TO, "moved to"},
		{syscall.IN_CREATE, "made"}, {syscall.IN_DELETE, "removed"}, {syscall.IN_DELETE_SELF, "ended"},
		{syscall.IN_MODIFY, "written"}, {syscall.IN_ACCESS, "read"}, {syscall.IN_CLOSE, "closed"},
		{syscall.IN_MOVE_SELF, "moved"}, {syscall.IN_IGNORED, "ignored"}, {syscall.IN_ISDIR, "folder"},
	}
	buffer := make([]byte, 4096)
	count, err := syscall.Read(w.fd, buffer)
	if err != nil {
		return err.Error()
	}
	var all []string
	for at := 0; at < count; {
		event := (*syscall.InotifyEvent)(unsafe.Pointer(&buffer[at]))
		one := w.names[event.Wd] + ":"
		for _, known := range events {
			if event.Mask&known.bit != 0 {
				one += " " + known.name
			}
		}
		if name := bytes.TrimRight(buffer[at+16:at+16+int(event.Len)], "\x00"); len(name) > 0 {
			one += fmt.Sprintf(" %s", name)
		}
		all = append(all, one)
		at += 16 + int(event.Len)
	}
	return strings.Join(all, ", ")
}

// watchesEnd: a file that is watched ends when its last name and its last holder are gone, in whichever order.
func watchesEnd() {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
	check.Must("inotify: init", err)
	defer syscall.Close(fd)
	w := &watcher{fd, map[int32]string{}}
	check.NoError("inotify: folder", os.Mkdir("w", 0o755))
	w.watch("w")
	mk := func(name string) {
		syscall.Close(file("w/"+name, ""))
		check.Equal("inotify: make "+name, w.seen(), "w: made "+name)
		w.watch("w/" + name)
	}
	open := func(name string, flags int) func() {
		held, err := syscall.Open("w/"+name, flags, 0)
		check.NoError("inotify: open "+name, err)
		return func() { syscall.Close(held) }
	}
	mk("a")
	check.NoError("inotify: unlink", os.Remove("w/a"))
	check.Equal("inotify: a closed file ends at once", w.seen(), "a: attributes, a: ended, a: ignored, w: removed a")

	for _, flags := range []int{syscall.O_RDONLY, 0x200000} {
		mk("a")
		release := open("a", flags)
		check.NoError("inotify: unlink", os.Remove("w/a"))
		check.Equal("inotify: an open file goes on", w.seen(), "a: attributes, w: removed a")
		release()
		check.Equal("inotify: until it is closed", w.seen(), "a: ended, a: ignored")
	}

	mk("a")
	check.NoError("inotify: link", os.Link("w/a", "w/b"))
	check.Equal("inotify: another name", w.seen(), "a: attributes, w: made b")
	check.NoError("inotify: unlink", os.Remove("w/a"))
	check.Equal("inotify: one name less", w.seen(), "a: attributes, w: removed a")
	check.NoError("inotify: unlink", os.Remove("w/b"))
	check.Equal("inotify: none left", w.seen(), "a: attributes, a: ended, a: ignored, w: removed b")

	mk("a")
	mk("c")
	release := open("a", syscall.O_RDONLY)
	check.NoError("inotify: rename", os.Rename("w/c", "w/a"))
	check.Equal("inotify: over an open file", w.seen(), "w: moved from c, w: moved to a, a: attributes, c: moved")
	release()
	check.Equal("inotify: until it is closed", w.seen(), "a: ended, a: ignored")
	mk("c")
	w.watch("w/a")
	check.NoError("inotify: rename", os.Rename("w/c", "w/a"))
	check.Equal("inotify: over a closed file", w.seen(), "w: moved from c, w: moved to a, a: attributes, c: moved, a: ended, a: ignored")
	w.watch("w/a")
	mk("b")
	check.NoError("inotify: exchange", exchange("w/a", "w/b"))
	check.Equal("inotify: two change places", w.seen(),
		"w: moved from a, w: moved to b, a: moved, w: moved from b, w: moved to a, b: moved")

	check.NoError("inotify: mkdir", os.Mkdir("w/d", 0o755))
	check.Equal("inotify: make a folder", w.seen(), "w: made folder d")
	w.watch("w/d")
	check.NoError("inotify: rename", os.Rename("w/d", "w/e"))
	check.Equal("inotify: move a folder", w.seen(), "w: moved from folder d, w: moved to folder e, d: moved")
	held := open("e", syscall.O_RDONLY)
	check.NoError("inotify: rmdir", os.Remove("w/e"))
	check.Equal("inotify: an open folder goes on", w.seen(), "w: removed folder e")
	held()
	check.Equal("inotify: until it is closed", w.seen(), "d: ended, d: ignored")

	// A watch that asked for nothing of the kind ends all the same.
	syscall.Close(file("w/f", ""))
	watch, err := syscall.InotifyAddWatch(fd, "w/f", syscall.IN_MODIFY)
	check.NoError("inotify: watch for writing", err)
	w.names[int32(watch)] = "f"
	check.NoError("inotify: unlink", os.Remove("w/f"))
	check.Equal("inotify: its watch is ignored", w.seen(), "w: made f, f: ignored, w: removed f")
}

func exchange(one, other string) error {
	const renameExchange = 2
	first, err := syscall.BytePtrFromString(one)
	if err != nil {
		return err
	}
	second, err := syscall.BytePtrFromString(other)
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall6(sysRenameat2, atFdcwd, uintptr(unsafe.Pointer(first)), atFdcwd,
		uintptr(unsafe.Pointer(second)), renameExchange, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
