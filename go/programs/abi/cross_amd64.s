// What this file holds: it fills every register with the pattern of a state, crosses from user code
// into the kernel and back in one way or another, and writes down every register as it is then.
// Offsets are those of the type state in state.go.

#include "textflag.h"
#include "funcdata.h"

#define OFF_BX 8
#define OFF_CX 16
#define OFF_DX 24
#define OFF_SI 32
#define OFF_DI 40
#define OFF_BP 48
#define OFF_SP 56
#define OFF_R8 64
#define OFF_R9 72
#define OFF_R10 80
#define OFF_R11 88
#define OFF_R12 96
#define OFF_R13 104
#define OFF_R14 112
#define OFF_R15 120
#define OFF_FLAGS 128
#define OFF_G 136
#define OFF_G_BEFORE 144
#define OFF_MASK 160
#define OFF_FX 256
#define OFF_VECTOR 768

#define LOAD_YMM(base) \
	VMOVDQU OFF_VECTOR+0(base), Y0; \
	VMOVDQU OFF_VECTOR+64(base), Y1; \
	VMOVDQU OFF_VECTOR+128(base), Y2; \
	VMOVDQU OFF_VECTOR+192(base), Y3; \
	VMOVDQU OFF_VECTOR+256(base), Y4; \
	VMOVDQU OFF_VECTOR+320(base), Y5; \
	VMOVDQU OFF_VECTOR+384(base), Y6; \
	VMOVDQU OFF_VECTOR+448(base), Y7; \
	VMOVDQU OFF_VECTOR+512(base), Y8; \
	VMOVDQU OFF_VECTOR+576(base), Y9; \
	VMOVDQU OFF_VECTOR+640(base), Y10; \
	VMOVDQU OFF_VECTOR+704(base), Y11; \
	VMOVDQU OFF_VECTOR+768(base), Y12; \
	VMOVDQU OFF_VECTOR+832(base), Y13; \
	VMOVDQU OFF_VECTOR+896(base), Y14; \
	VMOVDQU OFF_VECTOR+960(base), Y15

#define SAVE_YMM(base) \
	VMOVDQU Y0, OFF_VECTOR+0(base); \
	VMOVDQU Y1, OFF_VECTOR+64(base); \
	VMOVDQU Y2, OFF_VECTOR+128(base); \
	VMOVDQU Y3, OFF_VECTOR+192(base); \
	VMOVDQU Y4, OFF_VECTOR+256(base); \
	VMOVDQU Y5, OFF_VECTOR+320(base); \
	VMOVDQU Y6, OFF_VECTOR+384(base); \
	VMOVDQU Y7, OFF_VECTOR+448(base); \
	VMOVDQU Y8, OFF_VECTOR+512(base); \
	VMOVDQU Y9, OFF_VECTOR+576(base); \
	VMOVDQU Y10, OFF_VECTOR+640(base); \
	VMOVDQU Y11, OFF_VECTOR+704(base); \
	VMOVDQU Y12, OFF_VECTOR+768(base); \
	VMOVDQU Y13, OFF_VECTOR+832(base); \
	VMOVDQU Y14, OFF_VECTOR+896(base); \
	VMOVDQU Y15, OFF_VECTOR+960(base)

#define SAVE_XMM(base) \
	MOVUPS X0, OFF_VECTOR+0(base); \
	MOVUPS X1, OFF_VECTOR+64(base); \
	MOVUPS X2, OFF_VECTOR+128(base); \
	MOVUPS X3, OFF_VECTOR+192(base); \
	MOVUPS X4, OFF_VECTOR+256(base); \
	MOVUPS X5, OFF_VECTOR+320(base); \
	MOVUPS X6, OFF_VECTOR+384(base); \
	MOVUPS X7, OFF_VECTOR+448(base); \
	MOVUPS X8, OFF_VECTOR+512(base); \
	MOVUPS X9, OFF_VECTOR+576(base); \
	MOVUPS X10, OFF_VECTOR+640(base); \
	MOVUPS X11, OFF_VECTOR+704(base); \
	MOVUPS X12, OFF_VECTOR+768(base); \
	MOVUPS X13, OFF_VECTOR+832(base); \
	MOVUPS X14, OFF_VECTOR+896(base); \
	MOVUPS X15, OFF_VECTOR+960(base)

#define LOAD_ZMM(base) \
	VMOVDQU64 OFF_VECTOR+0(base), Z0; \
	VMOVDQU64 OFF_VECTOR+64(base), Z1; \
	VMOVDQU64 OFF_VECTOR+128(base), Z2; \
	VMOVDQU64 OFF_VECTOR+192(base), Z3; \
	VMOVDQU64 OFF_VECTOR+256(base), Z4; \
	VMOVDQU64 OFF_VECTOR+320(base), Z5; \
	VMOVDQU64 OFF_VECTOR+384(base), Z6; \
	VMOVDQU64 OFF_VECTOR+448(base), Z7; \
	VMOVDQU64 OFF_VECTOR+512(base), Z8; \
	VMOVDQU64 OFF_VECTOR+576(base), Z9; \
	VMOVDQU64 OFF_VECTOR+640(base), Z10; \
	VMOVDQU64 OFF_VECTOR+704(base), Z11; \
	VMOVDQU64 OFF_VECTOR+768(base), Z12; \
	VMOVDQU64 OFF_VECTOR+832(base), Z13; \
	VMOVDQU64 OFF_VECTOR+896(base), Z14; \
	VMOVDQU64 OFF_VECTOR+960(base), Z15; \
	VMOVDQU64 OFF_VECTOR+1024(base), Z16; \
	VMOVDQU64 OFF_VECTOR+1088(base), Z17; \
	VMOVDQU64 OFF_VECTOR+1152(base), Z18; \
	VMOVDQU64 OFF_VECTOR+1216(base), Z19; \
	VMOVDQU64 OFF_VECTOR+1280(base), Z20; \
	VMOVDQU64 OFF_VECTOR+1344(base), Z21; \
	VMOVDQU64 OFF_VECTOR+1408(base), Z22; \
	VMOVDQU64 OFF_VECTOR+1472(base), Z23; \
	VMOVDQU64 OFF_VECTOR+1536(base), Z24; \
	VMOVDQU64 OFF_VECTOR+1600(base), Z25; \
	VMOVDQU64 OFF_VECTOR+1664(base), Z26; \
	VMOVDQU64 OFF_VECTOR+1728(base), Z27; \
	VMOVDQU64 OFF_VECTOR+1792(base), Z28; \
	VMOVDQU64 OFF_VECTOR+1856(base), Z29; \
	VMOVDQU64 OFF_VECTOR+1920(base), Z30; \
	VMOVDQU64 OFF_VECTOR+1984(base), Z31; \
	KMOVQ OFF_MASK+0(base), K0; \
	KMOVQ OFF_MASK+8(base), K1; \
	KMOVQ OFF_MASK+16(base), K2; \
	KMOVQ OFF_MASK+24(base), K3; \
	KMOVQ OFF_MASK+32(base), K4; \
	KMOVQ OFF_MASK+40(base), K5; \
	KMOVQ OFF_MASK+48(base), K6; \
	KMOVQ OFF_MASK+56(base), K7

#define SAVE_ZMM(base) \
	VMOVDQU64 Z0, OFF_VECTOR+0(base); \
	VMOVDQU64 Z1, OFF_VECTOR+64(base); \
	VMOVDQU64 Z2, OFF_VECTOR+128(base); \
	VMOVDQU64 Z3, OFF_VECTOR+192(base); \
	VMOVDQU64 Z4, OFF_VECTOR+256(base); \
	VMOVDQU64 Z5, OFF_VECTOR+320(base); \
	VMOVDQU64 Z6, OFF_VECTOR+384(base); \
	VMOVDQU64 Z7, OFF_VECTOR+448(base); \
	VMOVDQU64 Z8, OFF_VECTOR+512(base); \
	VMOVDQU64 Z9, OFF_VECTOR+576(base); \
	VMOVDQU64 Z10, OFF_VECTOR+640(base); \
	VMOVDQU64 Z11, OFF_VECTOR+704(base); \
	VMOVDQU64 Z12, OFF_VECTOR+768(base); \
	VMOVDQU64 Z13, OFF_VECTOR+832(base); \
	VMOVDQU64 Z14, OFF_VECTOR+896(base); \
	VMOVDQU64 Z15, OFF_VECTOR+960(base); \
	VMOVDQU64 Z16, OFF_VECTOR+1024(base); \
	VMOVDQU64 Z17, OFF_VECTOR+1088(base); \
	VMOVDQU64 Z18, OFF_VECTOR+1152(base); \
	VMOVDQU64 Z19, OFF_VECTOR+1216(base); \
	VMOVDQU64 Z20, OFF_VECTOR+1280(base); \
	VMOVDQU64 Z21, OFF_VECTOR+1344(base); \
	VMOVDQU64 Z22, OFF_VECTOR+1408(base); \
	VMOVDQU64 Z23, OFF_VECTOR+1472(base); \
	VMOVDQU64 Z24, OFF_VECTOR+1536(base); \
	VMOVDQU64 Z25, OFF_VECTOR+1600(base); \
	VMOVDQU64 Z26, OFF_VECTOR+1664(base); \
	VMOVDQU64 Z27, OFF_VECTOR+1728(base); \
	VMOVDQU64 Z28, OFF_VECTOR+1792(base); \
	VMOVDQU64 Z29, OFF_VECTOR+1856(base); \
	VMOVDQU64 Z30, OFF_VECTOR+1920(base); \
	VMOVDQU64 Z31, OFF_VECTOR+1984(base); \
	KMOVQ K0, OFF_MASK+0(base); \
	KMOVQ K1, OFF_MASK+8(base); \
	KMOVQ K2, OFF_MASK+16(base); \
	KMOVQ K3, OFF_MASK+24(base); \
	KMOVQ K4, OFF_MASK+32(base); \
	KMOVQ K5, OFF_MASK+40(base); \
	KMOVQ K6, OFF_MASK+48(base); \
	KMOVQ K7, OFF_MASK+56(base)

// All general registers but AX (the base itself) and SP.
#define LOAD_GENERAL(base) \
	MOVQ OFF_BX(base), BX; \
	MOVQ OFF_CX(base), CX; \
	MOVQ OFF_DX(base), DX; \
	MOVQ OFF_SI(base), SI; \
	MOVQ OFF_DI(base), DI; \
	MOVQ OFF_BP(base), BP; \
	MOVQ OFF_R8(base), R8; \
	MOVQ OFF_R9(base), R9; \
	MOVQ OFF_R10(base), R10; \
	MOVQ OFF_R11(base), R11; \
	MOVQ OFF_R12(base), R12; \
	MOVQ OFF_R13(base), R13; \
	MOVQ OFF_R14(base), R14; \
	MOVQ OFF_R15(base), R15

#define SAVE_GENERAL(base) \
	MOVQ BX, OFF_BX(base); \
	MOVQ CX, OFF_CX(base); \
	MOVQ DX, OFF_DX(base); \
	MOVQ SI, OFF_SI(base); \
	MOVQ DI, OFF_DI(base); \
	MOVQ BP, OFF_BP(base); \
	MOVQ R8, OFF_R8(base); \
	MOVQ R9, OFF_R9(base); \
	MOVQ R10, OFF_R10(base); \
	MOVQ R11, OFF_R11(base); \
	MOVQ R12, OFF_R12(base); \
	MOVQ R13, OFF_R13(base); \
	MOVQ R14, OFF_R14(base); \
	MOVQ R15, OFF_R15(base)

// Reads g by way of FS: the word that Go keeps at the thread's FS base.
#define READ_G(register) \
	MOVQ TLS, register; \
	MOVQ 0(register)(TLS*1), register

// Fills everything from in. Flags come after the comparisons; no MOV changes them.
#define FILL \
	MOVQ R14, r14-24(SP); \
	STMXCSR mxcsr-32(SP); \
	READ_G(AX); \
	MOVQ out+8(FP), CX; \
	MOVQ AX, OFF_G_BEFORE(CX); \
	MOVQ in+0(FP), AX; \
	MOVQ level+16(FP), CX; \
	FXRSTOR64 OFF_FX(AX); \
	CMPQ CX, $1; \
	JLT filled; \
	JGT fill512; \
	LOAD_YMM(AX); \
	JMP filled; \
fill512: \
	LOAD_ZMM(AX); \
filled: \
	PUSHQ OFF_FLAGS(AX); \
	POPFQ; \
	LOAD_GENERAL(AX); \
	MOVQ 0(AX), AX

// Writes everything to out, then puts back what Go's own code relies on. (PXOR, because a test looks
// for the XORPS of the compiler's wrappers.)
#define NOTE \
	MOVQ AX, ax-8(SP); \
	PUSHFQ; \
	POPQ AX; \
	CLD; \
	MOVQ AX, flags-16(SP); \
	MOVQ out+8(FP), AX; \
	SAVE_GENERAL(AX); \
	FXSAVE64 OFF_FX(AX); \
	MOVQ ax-8(SP), CX; \
	MOVQ CX, 0(AX); \
	MOVQ flags-16(SP), CX; \
	MOVQ CX, OFF_FLAGS(AX); \
	READ_G(CX); \
	MOVQ CX, OFF_G(AX); \
	MOVQ level+16(FP), CX; \
	CMPQ CX, $1; \
	JLT note128; \
	JGT note512; \
	SAVE_YMM(AX); \
	VZEROUPPER; \
	JMP noted; \
note128: \
	SAVE_XMM(AX); \
	JMP noted; \
note512: \
	SAVE_ZMM(AX); \
	VZEROUPPER; \
noted: \
	FNINIT_BYTES; \
	LDMXCSR mxcsr-32(SP); \
	MOVQ r14-24(SP), R14; \
	PXOR X15, X15

#define FNINIT_BYTES BYTE $0xdb; BYTE $0xe3

// func crossCall(in, out *state, level uint64)
// One system call: number and arguments are in the pattern.
TEXT ·crossCall(SB), NOSPLIT, $64-24
	FILL
	SYSCALL
	NOTE
	RET

// func crossSpin(in, out *state, level uint64)
// Holds the pattern while CX counts down. LOOP changes no flag.
TEXT ·crossSpin(SB), NOSPLIT, $64-24
	FILL
again:
	LOOP again
	NOTE
	RET

// func crossTouch(in, out *state, level uint64)
// Writes AL into CX pages from DI on, each of which faults the first time.
TEXT ·crossTouch(SB), NOSPLIT, $64-24
	FILL
again:
	MOVB AX, (DI)
	LEAQ 4096(DI), DI
	LOOP again
	NOTE
	RET

// func crossRead(in, out *state, level uint64)
// Reads a byte of CX pages from DI on into nowhere (a comparison would change flags).
TEXT ·crossRead(SB), NOSPLIT, $64-24
	FILL
again:
	PREFETCHT0 (DI)
	XCHGB AX, (DI)
	XCHGB AX, (DI)
	LEAQ 4096(DI), DI
	LOOP again
	NOTE
	RET

// func crossFault(in, out *state, level uint64)
// Calls faulting, which a signal handler leaves for landing; landing comes back to here with the
// state that it was entered with in the variable landed.
TEXT ·crossFault(SB), NOSPLIT, $64-24
	FILL
	CALL ·faulting(SB)
	NOTE
	RET

// Does what AX says: 0 read (DI), 1 write (DI), 2 jump to DI, 3 divide by zero, 4 undefined
// instruction, 5 breakpoint, 6 system call with the number in BX. JRCXZ-free: it may change flags.
TEXT ·faulting(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ SP, ·backSP(SB)
	CMPQ AX, $1
	JLT read
	JEQ write
	CMPQ AX, $3
	JLT execute
	JEQ divide
	CMPQ AX, $5
	JLT undefined
	JEQ breakpoint
	MOVQ BX, AX
	SYSCALL
	RET
read:
	MOVB (DI), AX
	RET
write:
	MOVB AX, (DI)
	RET
execute:
	CALL DI
	RET
divide:
	XORL DX, DX
	XORL CX, CX
	DIVL CX
	RET
undefined:
	BYTE $0x0f; BYTE $0x0b
	RET
breakpoint:
	BYTE $0xcc
	RET

// Where a handler sends the thread. Everything is written down without a free register, then the
// stack pointer of faulting's entry comes back.
TEXT ·landing(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, ·landed+0(SB)
	MOVQ SP, ·landed+OFF_SP(SB)
	MOVQ ·backSP(SB), SP
	PUSHFQ
	POPQ AX
	CLD
	MOVQ AX, ·landed+OFF_FLAGS(SB)
	LEAQ ·landed(SB), AX
	SAVE_GENERAL(AX)
	FXSAVE64 OFF_FX(AX)
	MOVQ ·record+0(SB), CX
	CMPQ CX, $1
	JLT note128
	JGT note512
	SAVE_YMM(AX)
	JMP noted
note128:
	SAVE_XMM(AX)
	JMP noted
note512:
	SAVE_ZMM(AX)
noted:
	RET

// The signal handler: writes down how it was entered, what it was given, then changes what it is
// told to, spoils every register and returns to the restorer. record is described in signal.go.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, ·record+72(SB)
	PUSHFQ
	POPQ AX
	MOVQ AX, ·record+40(SB)
	STMXCSR ·record+48(SB)
	FSTCW ·record+52(SB)
	MOVQ DI, ·record+8(SB)
	MOVQ SI, ·record+16(SB)
	MOVQ DX, ·record+24(SB)
	MOVQ SP, ·record+32(SB)
	INCQ ·record+56(SB)
	// Copies: siginfo (128 bytes), ucontext (304 bytes), the floating-point state (4,096 bytes).
	MOVQ DX, R8
	LEAQ ·copies+0(SB), DI
	MOVQ $16, CX
	REP; MOVSQ
	MOVQ R8, SI
	MOVQ $38, CX
	REP; MOVSQ
	MOVQ 224(R8), SI
	MOVQ ·record+80(SB), CX
	LEAQ ·copies+448(SB), DI
	REP; MOVSQ
	MOVQ ·record+64(SB), AX
	CMPQ AX, $1
	JLT spoil
	LEAQ ·landing(SB), CX
	MOVQ CX, 168(R8)
	CMPQ AX, $2
	JLT spoil
	// Rewrites the general registers, the flags, the stack pointer and the vector registers.
	MOVQ ·rewrite(SB), AX
	MOVQ 0(AX), CX
	MOVQ CX, 144(R8)
	MOVQ OFF_BX(AX), CX
	MOVQ CX, 128(R8)
	MOVQ OFF_CX(AX), CX
	MOVQ CX, 152(R8)
	MOVQ OFF_DX(AX), CX
	MOVQ CX, 136(R8)
	MOVQ OFF_SI(AX), CX
	MOVQ CX, 112(R8)
	MOVQ OFF_DI(AX), CX
	MOVQ CX, 104(R8)
	MOVQ OFF_BP(AX), CX
	MOVQ CX, 120(R8)
	MOVQ OFF_SP(AX), CX
	MOVQ CX, 160(R8)
	MOVQ OFF_R8(AX), CX
	MOVQ CX, 40(R8)
	MOVQ OFF_R9(AX), CX
	MOVQ CX, 48(R8)
	MOVQ OFF_R10(AX), CX
	MOVQ CX, 56(R8)
	MOVQ OFF_R11(AX), CX
	MOVQ CX, 64(R8)
	MOVQ OFF_R12(AX), CX
	MOVQ CX, 72(R8)
	MOVQ OFF_R13(AX), CX
	MOVQ CX, 80(R8)
	MOVQ OFF_R14(AX), CX
	MOVQ CX, 88(R8)
	MOVQ OFF_R15(AX), CX
	MOVQ CX, 96(R8)
	MOVQ OFF_FLAGS(AX), CX
	MOVQ CX, 176(R8)
	MOVQ 224(R8), DI
	LEAQ OFF_FX(AX), SI
	MOVQ $52, CX
	REP; MOVSQ
	CMPQ ·record+0(SB), $1
	JLT spoil
	// The upper halves of the YMM registers lie at 576 of the XSAVE area; 7 = x87, SSE and AVX are
	// there.
	MOVQ 224(R8), DI
	ORQ $7, 512(DI)
	MOVQ OFF_VECTOR+16(AX), CX
	MOVQ CX, 576(DI)
	MOVQ OFF_VECTOR+24(AX), CX
	MOVQ CX, 584(DI)
	MOVQ OFF_VECTOR+80(AX), CX
	MOVQ CX, 592(DI)
	MOVQ OFF_VECTOR+88(AX), CX
	MOVQ CX, 600(DI)
	MOVQ OFF_VECTOR+144(AX), CX
	MOVQ CX, 608(DI)
	MOVQ OFF_VECTOR+152(AX), CX
	MOVQ CX, 616(DI)
	MOVQ OFF_VECTOR+208(AX), CX
	MOVQ CX, 624(DI)
	MOVQ OFF_VECTOR+216(AX), CX
	MOVQ CX, 632(DI)
	MOVQ OFF_VECTOR+272(AX), CX
	MOVQ CX, 640(DI)
	MOVQ OFF_VECTOR+280(AX), CX
	MOVQ CX, 648(DI)
	MOVQ OFF_VECTOR+336(AX), CX
	MOVQ CX, 656(DI)
	MOVQ OFF_VECTOR+344(AX), CX
	MOVQ CX, 664(DI)
	MOVQ OFF_VECTOR+400(AX), CX
	MOVQ CX, 672(DI)
	MOVQ OFF_VECTOR+408(AX), CX
	MOVQ CX, 680(DI)
	MOVQ OFF_VECTOR+464(AX), CX
	MOVQ CX, 688(DI)
	MOVQ OFF_VECTOR+472(AX), CX
	MOVQ CX, 696(DI)
	MOVQ OFF_VECTOR+528(AX), CX
	MOVQ CX, 704(DI)
	MOVQ OFF_VECTOR+536(AX), CX
	MOVQ CX, 712(DI)
	MOVQ OFF_VECTOR+592(AX), CX
	MOVQ CX, 720(DI)
	MOVQ OFF_VECTOR+600(AX), CX
	MOVQ CX, 728(DI)
	MOVQ OFF_VECTOR+656(AX), CX
	MOVQ CX, 736(DI)
	MOVQ OFF_VECTOR+664(AX), CX
	MOVQ CX, 744(DI)
	MOVQ OFF_VECTOR+720(AX), CX
	MOVQ CX, 752(DI)
	MOVQ OFF_VECTOR+728(AX), CX
	MOVQ CX, 760(DI)
	MOVQ OFF_VECTOR+784(AX), CX
	MOVQ CX, 768(DI)
	MOVQ OFF_VECTOR+792(AX), CX
	MOVQ CX, 776(DI)
	MOVQ OFF_VECTOR+848(AX), CX
	MOVQ CX, 784(DI)
	MOVQ OFF_VECTOR+856(AX), CX
	MOVQ CX, 792(DI)
	MOVQ OFF_VECTOR+912(AX), CX
	MOVQ CX, 800(DI)
	MOVQ OFF_VECTOR+920(AX), CX
	MOVQ CX, 808(DI)
	MOVQ OFF_VECTOR+976(AX), CX
	MOVQ CX, 816(DI)
	MOVQ OFF_VECTOR+984(AX), CX
	MOVQ CX, 824(DI)
spoil:
	MOVQ ·record+0(SB), CX
	LEAQ ·garbage(SB), AX
	FXRSTOR64 OFF_FX(AX)
	CMPQ CX, $1
	JLT spoiled
	JGT spoil512
	LOAD_YMM(AX)
	JMP spoiled
spoil512:
	LOAD_ZMM(AX)
spoiled:
	LOAD_GENERAL(AX)
	MOVQ 0(AX), AX
	RET

TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $15, AX
	SYSCALL
	INT $3

// func addresses() (handler, restorer, landing uintptr)
TEXT ·addresses(SB), NOSPLIT, $0-24
	LEAQ ·handler(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·restorer(SB), AX
	MOVQ AX, restorer+8(FP)
	LEAQ ·landing(SB), AX
	MOVQ AX, landing+16(FP)
	RET

// func vectorLevel() uint64
// 0: SSE; 1: AVX; 2: AVX-512 with opmasks. By CPUID and by what the kernel enabled in XCR0.
TEXT ·vectorLevel(SB), NOSPLIT, $0-8
	MOVQ $0, level+0(FP)
	MOVL $1, AX
	XORL CX, CX
	CPUID
	ANDL $0x18000000, CX // OSXSAVE and AVX
	CMPL CX, $0x18000000
	JNE done
	XORL CX, CX
	XGETBV
	MOVL AX, R8
	ANDL $6, AX
	CMPL AX, $6
	JNE done
	MOVQ $1, level+0(FP)
	ANDL $0xe6, R8
	CMPL R8, $0xe6
	JNE done
	MOVL $7, AX
	XORL CX, CX
	CPUID
	ANDL $0x40010000, BX // AVX512F and AVX512BW
	CMPL BX, $0x40010000
	JNE done
	MOVQ $2, level+0(FP)
done:
	RET

// func callGo(a, b uint64) uint64
// Assembly calls Go: with the register ABI this goes through a wrapper that clears X15 and loads g
// into R14 from thread-local storage, both of which are spoilt here.
TEXT ·callGo(SB), 0, $24-24
	NO_LOCAL_POINTERS
	PCMPEQL X15, X15
	MOVQ $0xdead, R14
	MOVQ a+0(FP), AX
	MOVQ AX, 0(SP)
	MOVQ b+8(FP), AX
	MOVQ AX, 8(SP)
	CALL ·calledFromAssembly(SB)
	MOVQ 16(SP), AX
	MOVQ AX, ret+16(FP)
	RET
