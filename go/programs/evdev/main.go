// Reads a keyboard in /dev/input, for itself alone, until Q goes up, and says what it sees. With the
// argument "all": reads all devices there, beside others; "inject": see inject.go.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// Of include/uapi/linux/input.h.
const (
	eviocgid  = 0x80084502
	eviocgrab = 0x40044590
	evKey     = 1
	keyQ      = 16
)

func eviocgname(bytes int) uintptr { return uintptr(2<<30 | bytes<<16 | 'E'<<8 | 0x06) }

func eviocgbit(kind, bytes int) uintptr { return uintptr(2<<30 | bytes<<16 | 'E'<<8 | 0x20 + kind) }

func main() {
	work := run
	if len(os.Args) > 1 {
		work = map[string]func() error{"all": all, "inject": inject}[os.Args[1]]
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ioctl(file *os.File, command uintptr, into []byte) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), command, uintptr(unsafe.Pointer(&into[0])))
	if errno != 0 {
		return 0, fmt.Errorf("ioctl %#x: %w", command, errno)
	}
	return int(n), nil
}

func grab(file *os.File, on uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), eviocgrab, on); errno != 0 {
		return fmt.Errorf("EVIOCGRAB %d: %w", on, errno)
	}
	return nil
}

func devices() ([]string, error) {
	paths, err := filepath.Glob("/dev/input/event*")
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no device: %v", err)
	}
	return paths, nil
}

// identity is the name of a device, and the number of its bus.
func identity(file *os.File) (string, uint16, error) {
	name, id := make([]byte, 256), make([]byte, 8)
	length, err := ioctl(file, eviocgname(len(name)), name)
	if err != nil {
		return "", 0, err
	}
	if _, err := ioctl(file, eviocgid, id); err != nil {
		return "", 0, err
	}
	return string(name[:length-1]), binary.LittleEndian.Uint16(id), nil
}

func run() error {
	paths, err := devices()
	if err != nil {
		return err
	}
	keyboard, err := os.Open(paths[0])
	if err != nil {
		return err
	}
	defer keyboard.Close()
	name, bus, err := identity(keyboard)
	if err != nil {
		return err
	}
	bits := make([]byte, 96)
	if _, err := ioctl(keyboard, eviocgbit(evKey, len(bits)), bits); err != nil {
		return err
	}
	if bits[keyQ/8]>>(keyQ%8)&1 == 0 {
		return fmt.Errorf("no key Q: %x", bits)
	}
	fmt.Printf("%s: %q bus %#x\n", paths[0], name, bus)
	if err := grab(keyboard, 1); err != nil {
		return err
	}
	fmt.Println("ready")
	event := make([]byte, 24)
	for {
		if n, err := keyboard.Read(event); err != nil || n != len(event) {
			return fmt.Errorf("%d bytes of an event: %v", n, err)
		}
		kind, code := binary.LittleEndian.Uint16(event[16:]), binary.LittleEndian.Uint16(event[18:])
		value := int32(binary.LittleEndian.Uint32(event[20:]))
		if kind != evKey {
			continue
		}
		fmt.Printf("key %d value %d\n", code, value)
		if code == keyQ && value == 0 {
			return grab(keyboard, 0)
		}
	}
}

// Says what devices there are, and what happens at each, until Q goes up.
func all() error {
	paths, err := devices()
	if err != nil {
		return err
	}
	events := make(chan string)
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		name, bus, err := identity(file)
		if err != nil {
			return err
		}
		types := make([]byte, 8)
		if _, err := ioctl(file, eviocgbit(0, len(types)), types); err != nil {
			return err
		}
		fmt.Printf("%s: %q bus %#x types %#x\n", filepath.Base(path), name, bus,
			binary.LittleEndian.Uint32(types))
		go watch(file, events)
	}
	fmt.Println("listening")
	for event := range events {
		fmt.Println(event)
		if event == fmt.Sprintf("type %d code %d value 0", evKey, keyQ) {
			break
		}
	}
	return nil
}

func watch(file *os.File, events chan<- string) {
	event := make([]byte, 24)
	for {
		if n, err := file.Read(event); err != nil || n != len(event) {
			events <- fmt.Sprintf("%s: %d bytes of an event: %v", file.Name(), n, err)
			return
		}
		kind, code := binary.LittleEndian.Uint16(event[16:]), binary.LittleEndian.Uint16(event[18:])
		value := int32(binary.LittleEndian.Uint32(event[20:]))
		events <- fmt.Sprintf("type %d code %d value %d", kind, code, value)
	}
}
