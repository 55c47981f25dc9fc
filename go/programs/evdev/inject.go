package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Of include/uapi/linux/kd.h and asm-generic/ioctls.h.
const (
	kdSetKeyMode = 0x4b45
	kRaw         = 0
	kXlate       = 1
	kMediumRaw   = 2
	kUnicode     = 3
)

// press lets keys go down and up, one after the other.
func press(keyboard *os.File, keys ...uint16) error {
	var events []byte
	event := func(kind, code uint16, value uint32) {
		one := make([]byte, 24)
		binary.LittleEndian.PutUint16(one[16:], kind)
		binary.LittleEndian.PutUint16(one[18:], code)
		binary.LittleEndian.PutUint32(one[20:], value)
		events = append(events, one...)
	}
	for _, key := range keys {
		for _, down := range []uint32{1, 0} {
			event(evKey, key, down)
			event(0, 0, 0)
		}
	}
	n, err := keyboard.Write(events)
	if err == nil && n != len(events) {
		err = fmt.Errorf("%d bytes of %d", n, len(events))
	}
	return err
}

func control(tty *os.File, command, argument uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), command, argument); errno != 0 {
		return fmt.Errorf("ioctl %#x %d: %w", command, argument, errno)
	}
	return nil
}

// lights switches CapsLock's light on, by an event, and asks which are on.
func lights(keyboard *os.File) error {
	const evLed, capsLock = 0x11, 1
	event := make([]byte, 24)
	event[16], event[18], event[20] = evLed, capsLock, 1
	if _, err := keyboard.Write(event); err != nil {
		return err
	}
	on := make([]byte, 8)
	if _, err := ioctl(keyboard, 2<<30|8<<16|'E'<<8|0x19, on); err != nil {
		return err
	}
	if on[0] != 1<<capsLock {
		return fmt.Errorf("lights: %v", on)
	}
	return nil
}

// Presses keys by writing events, and says what is read at the terminal, in each of its keyboard's modes.
func inject() error {
	paths, err := devices()
	if err != nil {
		return err
	}
	keyboard, err := os.OpenFile(paths[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer keyboard.Close()
	if err := lights(keyboard); err != nil {
		return err
	}
	tty, err := os.OpenFile("/dev/tty1", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	var settings syscall.Termios
	if err := control(tty, syscall.TCGETS, uintptr(unsafe.Pointer(&settings))); err != nil {
		return err
	}
	settings.Iflag, settings.Lflag = 0, 0
	if err := control(tty, syscall.TCSETS, uintptr(unsafe.Pointer(&settings))); err != nil {
		return err
	}
	// A, Up, and what is ä on a German keyboard, with that layout.
	const a, up, umlaut = 30, 103, 40
	modes := []struct {
		name string
		mode uintptr
		want string
	}{
		{"unicode", kUnicode, "a\x1b[Aä"},
		{"xlate", kXlate, "a\x1b[A\xe4"},
		{"raw", kRaw, "\x1e\x9e\xe0\x48\xe0\xc8\x28\xa8"},
		{"mediumraw", kMediumRaw, "\x1e\x9e\x67\xe7\x28\xa8"},
		{"unicode again", kUnicode, "a\x1b[Aä"},
	}
	for _, row := range modes {
		if err := control(tty, kdSetKeyMode, row.mode); err != nil {
			return err
		}
		if err := press(keyboard, a, up, umlaut); err != nil {
			return err
		}
		got := make([]byte, 0, 100)
		for len(got) < len(row.want) {
			n, err := tty.Read(got[len(got):cap(got)])
			if err != nil {
				return err
			}
			got = got[:len(got)+n]
		}
		if string(got) != row.want {
			return fmt.Errorf("%s: %q, not %q", row.name, got, row.want)
		}
		fmt.Printf("%s: %q\r\n", row.name, got)
	}
	return nil
}
