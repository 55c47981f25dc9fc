package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/eggos/eggos/go/programs/internal/check"
)

// record is how the handler was entered, and what it shall do. The assembly knows the offsets.
var record struct {
	level     uint64 // 0: which vector registers to spoil
	rdi       uint64 // 8
	rsi       uint64 // 16
	rdx       uint64 // 24
	rsp       uint64 // 32
	flags     uint64 // 40
	mxcsr     uint32 // 48
	control   uint16 // 52: x87
	_         uint16
	calls     uint64 // 56
	action    uint64 // 64: 0 return, 1 go to landing, 2 the same with all registers rewritten
	rax       uint64 // 72
	wordsOfFP uint64 // 80: 8-byte words of floating-point state to copy
}

// copies are siginfo (128 bytes), ucontext (304), the floating-point state (from 448).
var copies [448 + 4096]byte

var (
	landed  = *new(alignedState)
	garbage = *new(alignedState)
	rewrite *state
	backSP  uint64
)

// alignedState is in the data of the program; the linker aligns what is large enough to 32.
type alignedState = state

// Offsets in ucontext (asm/sigcontext.h, asm/ucontext.h).
const (
	contextFlags   = 0
	contextR8      = 40
	contextRIP     = 168
	contextSegment = 184
	contextError   = 192
	contextTrap    = 200
	contextCR2     = 216
	contextFP      = 224
	contextMask    = 296
)

// contextRegister says where ucontext keeps each general register.
var contextRegister = [16]int{rAX: 144, rBX: 128, rCX: 152, rDX: 136, rSI: 112, rDI: 104, rBP: 120, rSP: 160,
	r8: 40, r9: 48, r10: 56, r11: 64, r12: 72, r13: 80, r14: 88, r15: 96}

func info32(at int) uint32    { return binary.LittleEndian.Uint32(copies[at:]) }
func info64(at int) uint64    { return binary.LittleEndian.Uint64(copies[at:]) }
func context64(at int) uint64 { return binary.LittleEndian.Uint64(copies[128+at:]) }
func fp(at, length int) []byte {
	return copies[448+at : 448+at+length]
}

// sigaction is the kernel's.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	flagsOfHandler = 0x4 | 0x08000000 | 0x04000000 // SA_SIGINFO, SA_ONSTACK, SA_RESTORER
	ownSignal      = syscall.SIGUSR2
)

// take puts our handler in place of Go's for one signal and returns the way back.
func take(signal syscall.Signal) (back func(), err error) {
	handler, restorer, _ := addresses()
	action := &sigaction{handler: handler, flags: flagsOfHandler, restorer: restorer, mask: ^uint64(0)}
	old := &sigaction{}
	_, _, code := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(action)),
		uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if code != 0 {
		return nil, code
	}
	return func() {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(old)), 0, 8, 0, 0)
	}, nil
}

func signals(highest int) {
	for level := 0; level <= highest; level++ {
		name := fmt.Sprintf("%d-byte vectors: ", vectorWidth[level])
		random := rand.New(rand.NewSource(int64(level) + 1000))
		record.level = uint64(level)
		garbage.fill(random)
		back, err := take(ownSignal)
		check.Must(name+"rt_sigaction", err)
		toItself(name, random, level)
		whileSpinning(name, random, level)
		rewritten(name, random, level)
		back()
	}
	faults(highest)
}

// prepare fills a pattern and clears what the handler writes.
func prepare(in *state, random *rand.Rand, action uint64) {
	in.fill(random)
	record.action = action
	record.calls = 0
	copies = [len(copies)]byte{}
	landed = state{}
	// The XSAVE area is at most as large as CPUID says; 832 bytes are there with AVX.
	record.wordsOfFP = 512 / 8
	if record.level > 0 {
		record.wordsOfFP = 832 / 8
	}
}

// toItself: a signal on the return from the tgkill that sends it. The handler spoils everything.
func toItself(name string, random *rand.Rand, level int) {
	states := newStates(2)
	defer unmapStates(states)
	in, out := states[0], states[1]
	prepare(in, random, 0)
	in.general[rAX] = syscall.SYS_TGKILL
	in.general[rDI] = uint64(os.Getpid())
	in.general[rSI] = uint64(syscall.Gettid())
	in.general[rDX] = uint64(ownSignal)
	crossCall(in, out, uint64(level))
	check.Equal(name+"signal: handled once", record.calls, uint64(1))
	report(name+"signal: registers after sigreturn", in.differs(out, level, rAX, rCX, r11)+out.threadDiffers())
	check.Equal(name+"signal: result of tgkill", out.general[rAX], uint64(0))
	entry(name+"signal: ", uint64(ownSignal))
	check.Equal(name+"signal: si_code", int32(info32(8)), int32(-6)) // SI_TKILL
	check.Equal(name+"signal: si_pid", info32(16), uint32(os.Getpid()))
	inContext(name+"signal: ", in, level, rAX, rCX, r11)
}

// entry checks how the handler was entered.
func entry(name string, signal uint64) {
	check.Equal(name+"rdi is the signal", record.rdi, signal)
	check.Equal(name+"si_signo", uint64(info32(0)), signal)
	check.Equal(name+"stack alignment", record.rsp%16, uint64(8))
	check.That(name+"rsi and rdx lie on the stack", record.rsi > record.rsp && record.rdx > record.rsp &&
		record.rsi-record.rsp < 1<<16 && record.rdx-record.rsp < 1<<16)
	check.Equal(name+"flags: direction", record.flags&directionFlag, uint64(0))
	check.Equal(name+"mxcsr", record.mxcsr, uint32(0x1f80))
	check.Equal(name+"x87 control word", record.control, uint16(0x37f))
	var stack struct {
		at    uint64
		flags int32
		_     int32
		size  uint64
	}
	syscall.RawSyscall(syscall.SYS_SIGALTSTACK, 0, uintptr(unsafe.Pointer(&stack)), 0)
	check.That(name+"on the alternate stack", record.rsp >= stack.at && record.rsp < stack.at+stack.size,
		fmt.Sprintf("%#x is not in %#x + %#x", record.rsp, stack.at, stack.size))
	check.Equal(name+"ss_sp in the context", context64(16), stack.at)
	check.Equal(name+"ss_size in the context", context64(32), stack.size)
	check.Equal(name+"code segment", context64(contextSegment)&0xffff, uint64(0x33))
}

// inContext checks that the context holds the registers of the interrupted code.
func inContext(name string, in *state, level int, skip ...int) {
	skipped := 1 << rSP
	for _, register := range skip {
		skipped |= 1 << uint(register)
	}
	for i, at := range contextRegister {
		if skipped&(1<<uint(i)) == 0 && context64(at) != in.general[i] {
			check.That(name+"general registers in the context", false,
				fmt.Sprintf("%s: %#x instead of %#x", registerNames[i], context64(at), in.general[i]))
			return
		}
	}
	check.That(name+"general registers in the context", true)
	var seen state
	copy(seen.fx[:], fp(0, 512))
	for i := range seen.vector {
		if i < 16 {
			copy(seen.vector[i][:16], fp(160+16*i, 16))
			if level > 0 {
				copy(seen.vector[i][16:], fp(576+16*i, 16))
			}
		}
	}
	// Wider registers lie where CPUID says; the sigreturn checks have covered them.
	compared := level
	if compared > 1 {
		compared = 1
	}
	report(name+"vector registers in the context", in.vectorsDiffer(&seen, compared))
	if level > 0 {
		check.Equal(name+"magic word", binary.LittleEndian.Uint32(fp(464, 4)), uint32(0x46505853))
		check.Equal(name+"UC_FP_XSTATE", context64(contextFlags)&1, uint64(1))
		size := binary.LittleEndian.Uint32(fp(480, 4))
		check.That(name+"extended size", size >= 832 && binary.LittleEndian.Uint32(fp(468, 4)) == size+4, size)
		check.That(name+"features", binary.LittleEndian.Uint64(fp(472, 8))&7 == 7)
	}
	check.Equal(name+"signal mask in the context", context64(contextMask)&(1<<(uint(ownSignal)-1)), uint64(0))
}

// whileSpinning: another thread sends signals while this one holds a pattern.
func whileSpinning(name string, random *rand.Rand, level int) {
	states := newStates(2)
	defer unmapStates(states)
	in, out := states[0], states[1]
	prepare(in, random, 0)
	process, thread := uintptr(os.Getpid()), uintptr(syscall.Gettid())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			syscall.RawSyscall(syscall.SYS_TGKILL, process, thread, uintptr(ownSignal))
			time.Sleep(500 * time.Microsecond)
		}
	}()
	difference := ""
	deadline := time.Now().Add(20 * time.Second)
	for (record.calls < 50) && difference == "" && time.Now().Before(deadline) {
		in.fill(random)
		in.general[rCX] = 1 << 22
		crossSpin(in, out, uint64(level))
		difference = in.differs(out, level, rCX) + out.threadDiffers()
	}
	close(stop)
	<-stopped
	report(name+"signals from another thread: registers", difference)
	check.That(name+"signals from another thread: they came", record.calls >= 50, record.calls)
}

// rewritten: the handler puts another register file into its context and the thread gets it.
func rewritten(name string, random *rand.Rand, level int) {
	if level > 1 {
		level = 1 // the context's ZMM part has no fixed place
	}
	states := newStates(3)
	defer unmapStates(states)
	in, out := states[0], states[1]
	rewrite = states[2]
	prepare(in, random, 2)
	record.level = uint64(level)
	rewrite.fill(random)
	stack := mapMemory(65536)
	defer syscall.Munmap(stack)
	rewrite.general[rSP] = address(&stack[32768]) + 8
	in.general[rAX] = 6 // faulting: a system call
	in.general[rBX] = syscall.SYS_TGKILL
	in.general[rDI] = uint64(os.Getpid())
	in.general[rSI] = uint64(syscall.Gettid())
	in.general[rDX] = uint64(ownSignal)
	crossFault(in, out, uint64(level))
	check.Equal(name+"rewritten: handled once", record.calls, uint64(1))
	report(name+"rewritten: registers", rewrite.differs(&landed, level))
	check.Equal(name+"rewritten: stack pointer", landed.general[rSP], rewrite.general[rSP])
}

// fault is one way to be stopped by the processor.
type fault struct {
	name             string
	what             uint64 // for faulting
	address          uint64
	signal           syscall.Signal
	code             int32
	trap, errorCode  uint64
	atFault, withCR2 bool // si_addr is the address; cr2 too
	atInstruction    bool // si_addr is the instruction
}

func faults(level int) {
	readOnly, none := mapMemory(4096), mapMemory(4096)
	syscall.Mprotect(readOnly, syscall.PROT_READ)
	syscall.Mprotect(none, syscall.PROT_NONE)
	data := mapMemory(4096)
	data[0] = 0xc3
	const unmapped = 0x7e0000001000
	for _, f := range []fault{
		{"read of nothing", 0, unmapped, syscall.SIGSEGV, 1, 14, 4, true, true, false},
		{"read near zero", 0, 8, syscall.SIGSEGV, 1, 14, 4, true, true, false},
		{"write to nothing", 1, unmapped + 5, syscall.SIGSEGV, 1, 14, 6, true, true, false},
		{"write to a read-only page", 1, address(&readOnly[7]), syscall.SIGSEGV, 2, 14, 7, true, true, false},
		{"read of a forbidden page", 0, address(&none[9]), syscall.SIGSEGV, 2, 14, 4, true, true, false},
		{"jump into data", 2, address(&data[0]), syscall.SIGSEGV, 2, 14, 0x15, true, true, false},
		{"read of the kernel", 0, 0xffffffff80200000, syscall.SIGSEGV, 1, 14, 5, true, true, false},
		{"no canonical address", 0, 0x8000000000000000, syscall.SIGSEGV, 0x80, 13, 0, false, false, false},
		{"divide by zero", 3, 0, syscall.SIGFPE, 1, 0, 0, false, false, true},
		{"undefined instruction", 4, 0, syscall.SIGILL, 2, 6, 0, false, false, true},
		{"breakpoint", 5, 0, syscall.SIGTRAP, 0x80, 3, 0, false, false, false},
	} {
		one(f, level)
	}
}

func one(f fault, level int) {
	states := newStates(2)
	defer unmapStates(states)
	in, out := states[0], states[1]
	back, err := take(f.signal)
	check.Must(f.name+": rt_sigaction", err)
	record.level = uint64(level)
	prepare(in, rand.New(rand.NewSource(77)), 1)
	in.general[rAX] = f.what
	in.general[rDI] = f.address
	crossFault(in, out, uint64(level))
	back()
	name := "fault: " + f.name + ": "
	check.Equal(name+"handled once", record.calls, uint64(1))
	if record.calls != 1 {
		return
	}
	entry(name, uint64(f.signal))
	check.Equal(name+"si_code", int32(info32(8)), f.code)
	check.Equal(name+"trapno", context64(contextTrap), f.trap)
	errorCode := context64(contextError)
	if f.trap == 14 {
		// A processor may tell of a page that is there when Linux maps none, and the other way
		// round when the page has not been touched: the bits of the access are the contract.
		check.Equal(name+"err", errorCode&^1, f.errorCode&^1)
	} else {
		check.Equal(name+"err", errorCode, f.errorCode)
	}
	switch {
	case f.atFault:
		check.Equal(name+"si_addr", info64(16), f.address)
		check.Equal(name+"cr2", context64(contextCR2), f.address)
	case f.atInstruction:
		check.Equal(name+"si_addr", info64(16), context64(contextRIP))
	default:
		check.Equal(name+"si_addr", info64(16), uint64(0))
	}
	skip := []int{rCX, rDX, r11}
	report(name+"registers of the interrupted code", in.generalInContext(skip))
	// The handler changed only where to go on: everything else is as the fault found it.
	report(name+"vector registers afterwards", in.vectorsDiffer(&landed, level))
}

// generalInContext compares general registers with those of the context.
func (s *state) generalInContext(skip []int) string {
	skipped := 1 << rSP
	for _, register := range skip {
		skipped |= 1 << uint(register)
	}
	for i, at := range contextRegister {
		if skipped&(1<<uint(i)) == 0 && context64(at) != s.general[i] {
			return fmt.Sprintf("%s: %#x instead of %#x", registerNames[i], context64(at), s.general[i])
		}
	}
	return ""
}
