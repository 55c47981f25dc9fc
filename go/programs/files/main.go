// Files: whatever the os package does with a file system, here one in memory, and pipes.
// Arguments: [-dir folder to work in] (made and removed).
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/eggos/eggos/go/programs/internal/check"
)

func main() {
	dir := flag.String("dir", fmt.Sprint("/tmp/files-test-", os.Getpid()), "folder to work in")
	flag.Parse()
	os.RemoveAll(*dir)
	check.Must("make the folder", os.MkdirAll(*dir, 0o755))
	check.Must("enter the folder", os.Chdir(*dir))
	for _, part := range []struct {
		name string
		body func()
	}{
		{"create", create}, {"flags", flags}, {"errors", failures}, {"rename", rename}, {"links", links},
		{"folders", folders}, {"times and modes", timesAndModes}, {"truncate", truncate}, {"sparse", sparse},
		{"open and removed", openAndRemoved}, {"mapped", mapped}, {"locks", locks}, {"pipes", pipes},
		{"at once", atOnce}, {"large", large}, {"devices", devices}, {"vectors", vectors}, {"space", space},
	} {
		check.Within(part.name, time.Minute, part.body)
	}
	check.NoError("leave the folder", os.Chdir("/"))
	check.NoError("remove all", os.RemoveAll(*dir))
	_, err := os.Stat(*dir)
	check.That("remove all: gone", os.IsNotExist(err), err)
	check.Done()
}

// content checks what a file holds.
func content(name, path, want string) {
	got, err := os.ReadFile(path)
	check.That(name, err == nil && string(got) == want, fmt.Sprintf("%q, want %q, %v", got, want, err))
}

func create() {
	check.NoError("create: write", os.WriteFile("a", []byte("hello"), 0o644))
	content("create: read back", "a", "hello")
	info, err := os.Stat("a")
	check.That("create: stat", err == nil && info.Size() == 5 && info.Mode().IsRegular() && info.Name() == "a", info, err)
	check.Equal("create: mode", info.Mode().Perm(), fs.FileMode(0o644))
	age := time.Since(info.ModTime())
	check.That("create: time", age > -time.Minute && age < time.Hour, age)
	check.NoError("create: empty", os.WriteFile("empty", nil, 0o600))
	content("create: empty file", "empty", "")
}

func flags() {
	file, err := os.OpenFile("flags", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	check.Must("flags: exclusive", err)
	file.WriteString("0123456789")
	offset, err := file.Seek(-3, io.SeekEnd)
	check.That("flags: seek from the end", err == nil && offset == 7, offset, err)
	rest, err := io.ReadAll(file)
	check.That("flags: read the rest", err == nil && string(rest) == "789", string(rest))
	_, err = file.WriteAt([]byte("ab"), 2)
	check.NoError("flags: write at", err)
	two := make([]byte, 4)
	n, err := file.ReadAt(two, 8)
	check.That("flags: read at the end", n == 2 && err == io.EOF && string(two[:n]) == "89", n, err)
	file.Close()
	content("flags: content", "flags", "01ab456789")
	_, err = os.OpenFile("flags", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	check.That("flags: exclusive again", errors.Is(err, fs.ErrExist), err)
	appender, err := os.OpenFile("flags", os.O_WRONLY|os.O_APPEND, 0)
	check.Must("flags: append", err)
	appender.Seek(0, io.SeekStart)
	appender.WriteString("+")
	appender.WriteString("+")
	_, err = appender.Read(two)
	check.That("flags: reading a write-only file", err != nil)
	appender.Close()
	content("flags: appended", "flags", "01ab456789++")
	check.NoError("flags: truncate on open", os.WriteFile("flags", []byte("x"), 0o644))
	content("flags: truncated", "flags", "x")
	reader, err := os.Open("flags")
	check.Must("flags: read only", err)
	_, err = reader.WriteString("no")
	check.That("flags: writing a read-only file", err != nil)
	reader.Close()
	check.That("flags: use after close", errors.Is(reader.Close(), os.ErrClosed))
}

func failures() {
	_, err := os.Open("missing")
	check.That("errors: missing file", errors.Is(err, fs.ErrNotExist), err)
	_, err = os.Open("missing/below")
	check.That("errors: missing folder", errors.Is(err, fs.ErrNotExist), err)
	_, err = os.Open("a/below")
	check.That("errors: file as folder", err != nil && errno(err) == "not a directory", err)
	_, err = os.ReadFile(".")
	check.That("errors: reading a folder", err != nil && errno(err) == "is a directory", err)
	check.That("errors: removing what is not there", errors.Is(os.Remove("missing"), fs.ErrNotExist))
	check.That("errors: folder that exists", errors.Is(os.Mkdir(".", 0o755), fs.ErrExist))
	_, err = os.Stat(string(bytes.Repeat([]byte("n"), 256)))
	check.That("errors: name too long", err != nil && errno(err) == "file name too long", err)
}

// errno is the text of the innermost error.
func errno(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}

func rename() {
	os.WriteFile("from", []byte("1"), 0o644)
	os.WriteFile("to", []byte("2"), 0o644)
	check.NoError("rename: over a file", os.Rename("from", "to"))
	content("rename: content", "to", "1")
	_, err := os.Stat("from")
	check.That("rename: the old name is gone", os.IsNotExist(err), err)
	os.MkdirAll("d1/sub", 0o755)
	os.WriteFile("d1/sub/f", []byte("deep"), 0o644)
	check.NoError("rename: a folder", os.Rename("d1", "d2"))
	content("rename: below a folder", "d2/sub/f", "deep")
	check.That("rename: into itself", os.Rename("d2", "d2/sub/x") != nil)
	check.That("rename: folder over file", os.Rename("d2", "to") != nil)
	check.That("rename: missing", errors.Is(os.Rename("nothing", "x"), fs.ErrNotExist))
}

func links() {
	os.WriteFile("target", []byte("pointed at"), 0o644)
	check.NoError("links: symbolic", os.Symlink("target", "link"))
	content("links: read through", "link", "pointed at")
	name, err := os.Readlink("link")
	check.That("links: read the link", err == nil && name == "target", name, err)
	info, err := os.Lstat("link")
	check.That("links: lstat", err == nil && info.Mode()&fs.ModeSymlink != 0, info, err)
	os.Symlink("loop2", "loop1")
	os.Symlink("loop1", "loop2")
	_, err = os.Open("loop1")
	check.That("links: loop", err != nil && errno(err) == "too many levels of symbolic links", err)
	os.Symlink("nowhere", "dangling")
	_, err = os.Open("dangling")
	check.That("links: dangling", errors.Is(err, fs.ErrNotExist), err)
	os.Mkdir("real", 0o755)
	os.Symlink("real", "alias")
	check.NoError("links: through a folder", os.WriteFile("alias/f", []byte("in real"), 0o644))
	content("links: in the folder", "real/f", "in real")
	check.NoError("links: hard", os.Link("target", "hard"))
	os.WriteFile("hard", []byte("changed"), 0o644)
	content("links: both names", "target", "changed")
	one, _ := os.Stat("target")
	other, _ := os.Stat("hard")
	check.That("links: same file", os.SameFile(one, other))
	check.NoError("links: remove one name", os.Remove("target"))
	content("links: the other stays", "hard", "changed")
	real, err := filepath.EvalSymlinks("alias/f")
	check.That("links: evaluated", err == nil && real == "real/f", real, err)
}

func folders() {
	check.NoError("folders: deep", os.MkdirAll("tree/a/b/c", 0o755))
	for i := 0; i < 300; i++ {
		if err := os.WriteFile(fmt.Sprintf("tree/a/file-with-a-longer-name-%03d", i), nil, 0o644); err != nil {
			check.NoError("folders: fill", err)
			return
		}
	}
	entries, err := os.ReadDir("tree/a")
	check.That("folders: list", err == nil && len(entries) == 301, len(entries), err)
	check.That("folders: sorted, with types", len(entries) == 301 && entries[0].Name() == "b" && entries[0].IsDir() &&
		entries[300].Name() == "file-with-a-longer-name-299" && !entries[300].IsDir())
	folder, err := os.Open("tree/a")
	check.Must("folders: open", err)
	seen := 0
	for {
		part, err := folder.ReadDir(7)
		seen += len(part)
		if err != nil {
			check.Equal("folders: end of list", err, io.EOF)
			break
		}
	}
	check.Equal("folders: list in parts", seen, 301)
	folder.Seek(0, io.SeekStart)
	names, err := folder.Readdirnames(-1)
	check.That("folders: list again", err == nil && len(names) == 301, len(names), err)
	folder.Close()
	check.That("folders: removing a full one", os.Remove("tree/a") != nil)
	count := 0
	err = filepath.WalkDir("tree", func(string, fs.DirEntry, error) error { count++; return nil })
	check.That("folders: walk", err == nil && count == 304, count, err)
	check.NoError("folders: remove all", os.RemoveAll("tree"))
	where, err := os.Getwd()
	check.That("folders: working directory", err == nil && filepath.IsAbs(where), where, err)
	os.MkdirAll("x/y", 0o755)
	check.NoError("folders: change", os.Chdir("x/y"))
	check.NoError("folders: and back", os.Chdir("../.."))
	back, _ := os.Getwd()
	check.Equal("folders: back", back, where)
	file, err := os.CreateTemp(".", "temp-*")
	check.NoError("folders: temporary file", err)
	file.Close()
}

func timesAndModes() {
	os.WriteFile("times", nil, 0o644)
	want := time.Unix(1234567890, 123456789)
	check.NoError("times: set", os.Chtimes("times", want, want))
	info, _ := os.Stat("times")
	check.That("times: read", info.ModTime().Equal(want), info.ModTime())
	check.NoError("modes: set", os.Chmod("times", 0o400))
	info, _ = os.Stat("times")
	check.Equal("modes: read", info.Mode().Perm(), fs.FileMode(0o400))
}

func truncate() {
	os.WriteFile("cut", []byte("0123456789"), 0o644)
	check.NoError("truncate: shorter", os.Truncate("cut", 4))
	content("truncate: shorter file", "cut", "0123")
	check.NoError("truncate: longer", os.Truncate("cut", 8))
	content("truncate: zeroes", "cut", "0123\x00\x00\x00\x00")
}

// sparse: a hole reads as zeroes.
func sparse() {
	file, err := os.Create("sparse")
	check.Must("sparse: create", err)
	defer file.Close()
	file.WriteAt([]byte("end"), 1<<20)
	hole := make([]byte, 4096)
	_, err = file.ReadAt(hole, 123456)
	check.That("sparse: hole", err == nil && bytes.Equal(hole, make([]byte, 4096)), err)
	info, _ := file.Stat()
	check.Equal("sparse: size", info.Size(), int64(1<<20+3))
	check.NoError("sparse: sync", file.Sync())
}

func openAndRemoved() {
	file, err := os.Create("removed")
	check.Must("removed: create", err)
	file.WriteString("still here")
	check.NoError("removed: remove", os.Remove("removed"))
	got := make([]byte, 10)
	_, err = file.ReadAt(got, 0)
	check.That("removed: still readable", err == nil && string(got) == "still here", err)
	file.Close()
}

func pipes() {
	reader, writer, err := os.Pipe()
	check.Must("pipe", err)
	const size = 1 << 20
	go func() {
		block := bytes.Repeat([]byte("pipe"), 4096)
		for sent := 0; sent < size; sent += len(block) {
			writer.Write(block)
		}
		writer.Close()
	}()
	got, err := io.ReadAll(reader)
	check.That("pipe: all of it", err == nil && len(got) == size, len(got), err)
	reader.Close()
	reader, writer, _ = os.Pipe()
	reader.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = reader.Read(make([]byte, 1))
	check.That("pipe: deadline", errors.Is(err, os.ErrDeadlineExceeded), err)
	reader.Close()
	_, err = writer.Write([]byte("x"))
	check.That("pipe: nobody reads", err != nil && errno(err) == "broken pipe", err)
	writer.Close()
}

// atOnce: many goroutines, each with files of its own, and all appending to one.
func atOnce() {
	var group sync.WaitGroup
	failed := make(chan error, 16)
	shared, err := os.OpenFile("shared", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check.Must("at once: create", err)
	for i := 0; i < 16; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for n := 0; n < 50; n++ {
				name := fmt.Sprintf("once-%d", i)
				os.WriteFile(name, bytes.Repeat([]byte{byte(n)}, n*10), 0o644)
				got, err := os.ReadFile(name)
				if err != nil || len(got) != n*10 {
					failed <- fmt.Errorf("%s: %d bytes, %v", name, len(got), err)
					return
				}
				shared.WriteString("0123456789abcde\n")
			}
			os.Remove(fmt.Sprintf("once-%d", i))
		}(i)
	}
	group.Wait()
	close(failed)
	shared.Close()
	check.NoError("at once", <-failed)
	content("at once: appended lines are whole", "shared", string(bytes.Repeat([]byte("0123456789abcde\n"), 800)))
}

func large() {
	file, err := os.Create("large")
	check.Must("large: create", err)
	block := make([]byte, 100000)
	for i := 0; i < 40; i++ {
		for j := range block {
			block[j] = byte(i)
		}
		file.Write(block)
	}
	file.Seek(0, io.SeekStart)
	copied, err := os.Create("copy")
	check.Must("large: create a copy", err)
	n, err := io.Copy(copied, file)
	check.That("large: copy", err == nil && n == 4000000, n, err)
	file.Close()
	copied.Close()
	one, _ := os.ReadFile("large")
	other, _ := os.ReadFile("copy")
	check.That("large: same", len(one) == 4000000 && bytes.Equal(one, other))
	os.Remove("large")
	os.Remove("copy")
}

func devices() {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	check.Must("/dev/null", err)
	n, err := null.Write([]byte("gone"))
	check.That("/dev/null: write", err == nil && n == 4, err)
	_, err = null.Read(make([]byte, 1))
	check.Equal("/dev/null: read", err, io.EOF)
	null.Close()
	zero, err := os.Open("/dev/zero")
	check.Must("/dev/zero", err)
	block := bytes.Repeat([]byte{1}, 100)
	io.ReadFull(zero, block)
	check.That("/dev/zero: read", bytes.Equal(block, make([]byte, 100)))
	zero.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	check.Must("/dev/full", err)
	_, err = full.Write([]byte("x"))
	check.That("/dev/full: write", err != nil && errno(err) == "no space left on device", err)
	full.Close()
	random, err := os.Open("/dev/urandom")
	check.Must("/dev/urandom", err)
	one, other := make([]byte, 32), make([]byte, 32)
	io.ReadFull(random, one)
	io.ReadFull(random, other)
	check.That("/dev/urandom: read", !bytes.Equal(one, other))
	random.Close()
}
