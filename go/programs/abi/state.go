package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"syscall"
	"unsafe"
)

// Indices of the general registers in state.general.
const (
	rAX = iota
	rBX
	rCX
	rDX
	rSI
	rDI
	rBP
	rSP
	r8
	r9
	r10
	r11
	r12
	r13
	r14
	r15
)

var registerNames = [16]string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}

// state is a whole register file. The assembly knows the offsets. It must lie at a multiple of 16.
type state struct {
	general [16]uint64 // 0
	flags   uint64     // 128
	g       uint64     // 136: what thread-local storage said after the crossing
	gBefore uint64     // 144: and before
	_       uint64
	mask    [8]uint64 // 160: opmask registers
	_       [4]uint64
	fx      [512]byte    // 256: FXSAVE image: x87, MXCSR, XMM
	vector  [32][64]byte // 768: the lower 16, 32 or 64 bytes are used, by level
}

// Widths of a vector register and how many there are, by level.
var (
	vectorWidth = [3]int{16, 32, 64}
	vectorCount = [3]int{16, 16, 32}
)

// Flags a program may change freely: carry, parity, adjust, zero, sign, overflow, direction.
const (
	arithmeticFlags = 0x8d5
	directionFlag   = 0x400
	fixedFlags      = 0x202 // always one, interrupts on
)

// newStates maps memory of its own: nothing that the collector moves or that lies on a stack.
func newStates(count int) []*state {
	size := int(unsafe.Sizeof(state{}))
	size = (size + 63) &^ 63
	memory := mapMemory(size * count)
	states := make([]*state, count)
	for i := range states {
		states[i] = (*state)(unsafe.Pointer(&memory[i*size]))
	}
	return states
}

func mapMemory(size int) []byte {
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	return memory
}

// fill makes a pattern: every register another value, from the generator.
func (s *state) fill(random *rand.Rand) {
	for i := range s.general {
		s.general[i] = random.Uint64()
	}
	s.flags = fixedFlags | random.Uint64()&(arithmeticFlags|directionFlag)
	for i := range s.mask {
		s.mask[i] = random.Uint64()
	}
	for i := range s.vector {
		random.Read(s.vector[i][:])
	}
	s.fx = [512]byte{}
	// All exceptions stay masked; rounding and precision are free.
	binary.LittleEndian.PutUint16(s.fx[0:], 0x007f|uint16(random.Intn(4))<<10|[]uint16{0, 0x200, 0x300}[random.Intn(3)])
	binary.LittleEndian.PutUint16(s.fx[2:], uint16(random.Intn(8))<<11) // top of stack
	s.fx[4] = 0xff                                                      // all eight in use
	binary.LittleEndian.PutUint32(s.fx[24:], 0x1f80|uint32(random.Intn(4))<<13|uint32(random.Intn(64))|uint32(random.Intn(2))<<15)
	for i := 0; i < 8; i++ {
		at := 32 + 16*i
		random.Read(s.fx[at : at+8])
		s.fx[at+7] |= 0x80 // a normal number
		s.fx[at+8], s.fx[at+9] = byte(random.Intn(256)), byte(random.Intn(64)+1)
	}
	for i := 0; i < 16; i++ {
		copy(s.fx[160+16*i:], s.vector[i][:16])
	}
}

// differs names the first register that changed, except those in skip; "" if none did.
func (s *state) differs(after *state, level int, skip ...int) string {
	skipped := 1 << rSP
	for _, register := range skip {
		skipped |= 1 << uint(register)
	}
	for i := range s.general {
		if skipped&(1<<uint(i)) == 0 && s.general[i] != after.general[i] {
			return fmt.Sprintf("%s: %#x became %#x", registerNames[i], s.general[i], after.general[i])
		}
	}
	if s.flags != after.flags {
		return fmt.Sprintf("flags: %#x became %#x", s.flags, after.flags)
	}
	return s.vectorsDiffer(after, level)
}

func (s *state) vectorsDiffer(after *state, level int) string {
	for _, part := range []struct {
		name     string
		from, to int
	}{{"x87 control word", 0, 2}, {"x87 status word", 2, 4}, {"x87 tags", 4, 5}, {"mxcsr", 24, 28}} {
		if before, now := s.fx[part.from:part.to], after.fx[part.from:part.to]; string(before) != string(now) {
			return fmt.Sprintf("%s: %x became %x", part.name, before, now)
		}
	}
	for i := 0; i < 8; i++ {
		at := 32 + 16*i
		if before, now := s.fx[at:at+10], after.fx[at:at+10]; string(before) != string(now) {
			return fmt.Sprintf("st%d: %x became %x", i, before, now)
		}
	}
	width := vectorWidth[level]
	for i := 0; i < vectorCount[level]; i++ {
		if before, now := s.vector[i][:width], after.vector[i][:width]; string(before) != string(now) {
			return fmt.Sprintf("vector %d: %x became %x", i, before, now)
		}
	}
	if level == 2 && s.mask != after.mask {
		return fmt.Sprintf("opmask: %x became %x", s.mask, after.mask)
	}
	return ""
}

// threadDiffers tells whether thread-local storage leads elsewhere than before.
func (s *state) threadDiffers() string {
	if s.g != s.gBefore || s.g == 0 {
		return fmt.Sprintf("g by FS: %#x became %#x", s.gBefore, s.g)
	}
	return ""
}
