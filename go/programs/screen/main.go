// Draws on the framebuffer, by mmap and by write, while the terminal is in graphics mode; waits for a key,
// and gives the screen back to the text. With the argument "resize" or "flood":
// see resize.go.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Of include/uapi/linux/fb.h and kd.h.
const (
	fbioGetVariable = 0x4600
	fbioGetFixed    = 0x4602
	fbioPan         = 0x4606
	kdSetMode       = 0x4b3a
	kdGetMode       = 0x4b3b
	vtGetState      = 0x5603
)

func main() {
	work := run
	if len(os.Args) > 1 {
		work = map[string]func() error{"resize": resize, "flood": flood}[os.Args[1]]
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ioctl(file *os.File, command, argument uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), command, argument); errno != 0 {
		return fmt.Errorf("%s: ioctl %#x: %w", file.Name(), command, errno)
	}
	return nil
}

func fill(file *os.File, command uintptr, into []byte) error {
	return ioctl(file, command, uintptr(unsafe.Pointer(&into[0])))
}

func run() error {
	tty, err := os.OpenFile("/dev/tty1", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	state := make([]byte, 6)
	if err := fill(tty, vtGetState, state); err != nil || state[0] != 1 {
		return fmt.Errorf("active console: %v %v", state, err)
	}
	if err := ioctl(tty, kdSetMode, 1); err != nil {
		return err
	}
	mode := make([]byte, 4)
	if err := fill(tty, kdGetMode, mode); err != nil || mode[0] != 1 {
		return fmt.Errorf("mode: %v %v", mode, err)
	}
	if err := draw(); err != nil {
		return err
	}
	fmt.Println("not seen")
	if _, err := os.Stdin.Read(mode); err != nil {
		return err
	}
	if err := ioctl(tty, kdSetMode, 0); err != nil {
		return err
	}
	fmt.Println("text again")
	_, err = os.Stdin.Read(mode)
	return err
}

// A red picture with a green square at its upper left, and a blue row at its end.
func draw() error {
	file, err := os.OpenFile("/dev/fb0", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	variable, fixed := make([]byte, 160), make([]byte, 80)
	if err := fill(file, fbioGetVariable, variable); err != nil {
		return err
	}
	if err := fill(file, fbioGetFixed, fixed); err != nil {
		return err
	}
	field := func(n int) int { return int(binary.LittleEndian.Uint32(variable[4*n:])) }
	width, height, bits := field(0), field(1), field(6)
	pitch, length := int(binary.LittleEndian.Uint32(fixed[48:])), int(binary.LittleEndian.Uint32(fixed[24:]))
	if bits != 32 || length < pitch*height {
		return fmt.Errorf("%d bits, %d bytes for %d rows of %d", bits, length, height, pitch)
	}
	pixels, err := syscall.Mmap(int(file.Fd()), 0, length, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	red, green, blue := uint32(0xff)<<field(8), uint32(0xff)<<field(11), uint32(0xff)<<field(14)
	for y := 0; y < height; y++ {
		for x := 0; x < width; x++ {
			colour := red
			if x < 64 && y < 64 {
				colour = green
			}
			binary.LittleEndian.PutUint32(pixels[y*pitch+4*x:], colour)
		}
	}
	row := make([]byte, 4*width)
	for x := 0; x < width; x++ {
		binary.LittleEndian.PutUint32(row[4*x:], blue)
	}
	if _, err := file.WriteAt(row, int64(pitch*(height-1))); err != nil {
		return err
	}
	if err := fill(file, fbioPan, variable); err != nil {
		return err
	}
	return syscall.Munmap(pixels)
}
