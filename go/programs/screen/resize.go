package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unsafe"
)

// Of include/uapi/asm-generic/ioctls.h.
const tiocGetWindow = 0x5413

// Says the terminal's size whenever it changes. After a key it has the screen for itself, and paints it
// anew whenever its size changes; after another one it gives it back to the text.
func resize() error {
	changed, keys := make(chan os.Signal, 16), make(chan byte)
	signal.Notify(changed, syscall.SIGWINCH)
	go readKeys(keys)
	tty, err := os.OpenFile("/dev/tty1", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	for line := 1; line <= 100; line++ {
		fmt.Printf("line %d\n", line)
	}
	if err := saySize(tty, "ready"); err != nil {
		return err
	}
	for more := true; more; {
		select {
		case <-changed:
			err = saySize(tty, "now")
		case <-keys:
			more = false
		}
		if err != nil {
			return err
		}
	}
	if err := ioctl(tty, kdSetMode, 1); err != nil {
		return err
	}
	if err := paintEach(changed, keys); err != nil {
		return err
	}
	if err := ioctl(tty, kdSetMode, 0); err != nil {
		return err
	}
	if err := saySize(tty, "text again"); err != nil {
		return err
	}
	<-keys
	return nil
}

func readKeys(keys chan<- byte) {
	line := make([]byte, 1)
	for {
		if n, err := os.Stdin.Read(line); n != 1 || err != nil {
			close(keys)
			return
		}
		keys <- line[0]
	}
}

func saySize(tty *os.File, word string) error {
	size := make([]byte, 8)
	if err := fill(tty, tiocGetWindow, size); err != nil {
		return err
	}
	fmt.Printf("%s: %d columns, %d rows\n", word, binary.LittleEndian.Uint16(size[2:]), binary.LittleEndian.Uint16(size))
	return nil
}

// Each picture is green, with a red pixel at its end. Mappings of earlier ones stay, and are written to: what
// they have of the later ones is blue for a while.
func paintEach(changed <-chan os.Signal, keys <-chan byte) error {
	file, err := os.OpenFile("/dev/fb0", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	var mappings [][]uint32
	for {
		variable, fixed := make([]byte, 160), make([]byte, 80)
		if err := fill(file, fbioGetVariable, variable); err != nil {
			return err
		}
		if err := fill(file, fbioGetFixed, fixed); err != nil {
			return err
		}
		field := func(n int) int { return int(binary.LittleEndian.Uint32(variable[4*n:])) }
		words := int(binary.LittleEndian.Uint32(fixed[48:])) / 4 * field(1)
		length := int(binary.LittleEndian.Uint32(fixed[24:]))
		if length < 4*words {
			return fmt.Errorf("%d bytes for %dx%d", length, field(0), field(1))
		}
		pixels, err := syscall.Mmap(int(file.Fd()), 0, length, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			return err
		}
		mappings = append(mappings, (*[1 << 26]uint32)(unsafe.Pointer(&pixels[0]))[:length/4:length/4])
		for _, mapping := range mappings {
			for at := range mapping {
				mapping[at] = 0xff
			}
		}
		last := mappings[len(mappings)-1]
		for at := range last {
			last[at] = 0xff00
		}
		last[words-1] = 0xff0000
		// The first mapping is of the same memory.
		if first := mappings[0]; words <= len(first) && first[words-1] != 0xff0000 {
			return fmt.Errorf("another memory: %#x", first[words-1])
		}
		select {
		case <-changed:
		case <-keys:
			return nil
		}
	}
}

// Two goroutines fill the terminal, and a third one a mapping of the screen, until a key comes, while its size
// changes; in the end there is as much memory as there was.
func flood() error {
	keys, done := make(chan byte), make(chan struct{})
	go readKeys(keys)
	file, err := os.OpenFile("/dev/fb0", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	const length = 1 << 20
	pixels, err := syscall.Mmap(int(file.Fd()), 0, length, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	for worker := 0; worker < 3; worker++ {
		go func(worker int) {
			for round := 0; ; round++ {
				select {
				case <-done:
					return
				default:
				}
				if worker == 2 {
					for at := 0; at < length; at += 64 {
						pixels[at] = byte(round)
					}
					continue
				}
				fmt.Printf("\x1b[3%dm%d: %*d\r\n\x1b[m", round%8, worker, round%300, round)
			}
		}(worker)
	}
	<-keys
	before := available()
	fmt.Println("half")
	<-keys
	after := available()
	close(done)
	fmt.Printf("\x1b[m\x1b[2J\x1b[H%d kB were there, then %d\n", before, after)
	if after+16<<10 < before {
		return fmt.Errorf("memory was lost")
	}
	<-keys
	return nil
}

// KiB of memory that are free.
func available() int {
	text, _ := os.ReadFile("/proc/meminfo")
	for _, line := range strings.Split(string(text), "\n") {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemFree: %d kB", &kib); n == 1 {
			return kib
		}
	}
	return 0
}
