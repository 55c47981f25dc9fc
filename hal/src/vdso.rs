//! The functions that run inside the program, without a system call (vdso(7)): clocks and random
//! bytes.
//!
//! Two pages, side by side: a data page that the kernel writes and the program reads, and the page
//! with the code. The code finds the data by its distance, so the pair works at any address. The
//! ELF wrapping around the code is `loader`'s.
//!
//! Data page (all little-endian): sequence number `u32` at 0 (odd while it is being changed),
//! shift `u32` at 4, counter base `u64` at 8, multiplier `u64` at 16, wall clock at monotonic zero
//! in nanoseconds `u64` at 24, generation of the kernel's random numbers `u64` at 32.

use crate::memory::Frame;
use crate::types::VdsoParameters;
use core::sync::atomic::{Ordering, fence};

/// Where the code must lie in its page. The data page comes right before that page.
pub const CODE_OFFSET: usize = 1024;

/// How much memory the program gives each thread for its random numbers: `batch` (96 bytes), `key`
/// (32), `generation` (`u64`, that the key is of), `position` (`u8`, how much of the batch was given
/// out), `in_use` (`u8`).
const STATE_BYTES: usize = 144;
const BATCH_BYTES: usize = 96;
const STATE_GENERATION: usize = 128;
const STATE_POSITION: usize = 136;
const STATE_IN_USE: usize = 137;
/// The kernel's generator is seeded before the program starts, and not again.
const GENERATION: u64 = 1;

/// A function in [`code`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Symbol name.
    pub name: &'static str,
    /// Where it begins, in bytes from the start of the code.
    pub offset: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

// Plain functions of the System V ABI: no stack, no register that the caller keeps. Clock numbers
// are those of clock_gettime(2). What is not answered here is asked of the kernel.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .rodata.eggos_vdso, \"a\"",
    ".balign 64",
    ".hidden eggos_vdso_start",
    ".hidden eggos_vdso_end",
    ".hidden eggos_vdso_table",
    ".globl eggos_vdso_start",
    ".globl eggos_vdso_end",
    ".globl eggos_vdso_table",
    "eggos_vdso_start:",
    // rax = monotonic nanoseconds, r10 = wall clock offset; changes rcx, rdx, r8, r9.
    ".macro eggos_vdso_now",
    "   lea r8, [rip + eggos_vdso_start - {data_distance}]",
    "77:",
    "   mov r9d, [r8]",
    "   test r9d, 1",
    "   jnz 78f",
    // The counter must not be read before the sequence number.
    "   lfence",
    "   rdtsc",
    "   shl rdx, 32",
    "   or rax, rdx",
    "   xor edx, edx",
    "   sub rax, [r8 + 8]",
    // Another processor's counter may be a few ticks behind the one that started.
    "   cmovb rax, rdx",
    "   mul qword ptr [r8 + 16]",
    "   mov ecx, [r8 + 4]",
    "   shrd rax, rdx, cl",
    "   mov r10, [r8 + 24]",
    "   cmp r9d, [r8]",
    "   je 79f",
    "78:",
    "   pause",
    "   jmp 77b",
    "79:",
    ".endm",
    // clock_gettime(edi: clock, rsi: timespec)
    ".balign 16",
    "eggos_vdso_clock_gettime:",
    "   cmp edi, 11",
    "   ja 2f",
    // REALTIME 0, MONOTONIC 1, MONOTONIC_RAW 4, REALTIME_COARSE 5, MONOTONIC_COARSE 6,
    // BOOTTIME 7, TAI 11.
    "   mov eax, 0x8f3",
    "   bt eax, edi",
    "   jnc 2f",
    // r11 = all ones for the wall clocks: 0, 5, 11.
    "   mov eax, 0x821",
    "   bt eax, edi",
    "   sbb r11, r11",
    "   eggos_vdso_now",
    "   and r10, r11",
    "   add rax, r10",
    // Seconds: division by 1,000,000,000 as a multiplication.
    "   mov r9, rax",
    "   shr rax, 9",
    "   mov rcx, 0x44b82fa09b5a53",
    "   mul rcx",
    "   shr rdx, 11",
    "   imul rax, rdx, 1000000000",
    "   sub r9, rax",
    "   mov [rsi], rdx",
    "   mov [rsi + 8], r9",
    "   xor eax, eax",
    "   ret",
    "2: mov eax, 228",
    "   syscall",
    "   ret",
    "eggos_vdso_clock_gettime_end:",
    // gettimeofday(rdi: timeval or null, rsi: timezone or null)
    ".balign 16",
    "eggos_vdso_gettimeofday:",
    "   test rdi, rdi",
    "   jz 3f",
    "   eggos_vdso_now",
    "   add rax, r10",
    "   mov r9, rax",
    "   shr rax, 9",
    "   mov rcx, 0x44b82fa09b5a53",
    "   mul rcx",
    "   shr rdx, 11",
    "   mov [rdi], rdx",
    "   imul rax, rdx, 1000000000",
    "   sub r9, rax",
    // Microseconds: what is left fits 32 bits.
    "   mov eax, r9d",
    "   xor edx, edx",
    "   mov ecx, 1000",
    "   div ecx",
    "   mov [rdi + 8], rax",
    "3: test rsi, rsi",
    "   jz 4f",
    "   mov qword ptr [rsi], 0",
    "4: xor eax, eax",
    "   ret",
    "eggos_vdso_gettimeofday_end:",
    // time(rdi: time_t or null)
    ".balign 16",
    "eggos_vdso_time:",
    "   eggos_vdso_now",
    "   add rax, r10",
    "   shr rax, 9",
    "   mov rcx, 0x44b82fa09b5a53",
    "   mul rcx",
    "   shr rdx, 11",
    "   mov rax, rdx",
    "   test rdi, rdi",
    "   jz 5f",
    "   mov [rdi], rax",
    "5: ret",
    "eggos_vdso_time_end:",
    // getcpu(edi: cpu, rsi: node) and clock_getres(edi: clock, rsi: timespec): the kernel knows.
    ".balign 16",
    "eggos_vdso_getcpu:",
    "   mov eax, 309",
    "   syscall",
    "   ret",
    "eggos_vdso_getcpu_end:",
    ".balign 16",
    "eggos_vdso_clock_getres:",
    "   mov eax, 229",
    "   syscall",
    "   ret",
    "eggos_vdso_clock_getres_end:",
    // getrandom(rdi: bytes, rsi: their number, edx: flags, rcx: state, r8: its size). ChaCha20 with
    // fast key erasure: what is given out is wiped, and each batch brings the next key.
    ".balign 16",
    "eggos_vdso_getrandom:",
    // A size that no state has asks for what a state needs: size, protection and flags of mmap.
    "   cmp r8, -1",
    "   jne 20f",
    "   mov rax, rdi",
    "   or rax, rsi",
    "   jnz 29f",
    "   test edx, edx",
    "   jnz 29f",
    "   mov dword ptr [rcx], {state_bytes}",
    "   mov dword ptr [rcx + 4], 3",
    "   mov dword ptr [rcx + 8], 0x28",
    "   mov dword ptr [rcx + 12], edx",
    ".irp at, 16, 24, 32, 40, 48, 56",
    "   mov [rcx + \\at], rax",
    ".endr",
    "   ret",
    // In one page: then it is dropped as a whole or not at all.
    "20: mov rax, -14",
    "   mov r9d, ecx",
    "   and r9d, 4095",
    "   cmp r9d, 4096 - {state_bytes}",
    "   ja 28f",
    "   cmp r8, {state_bytes}",
    "   jne 29f",
    "   test edx, ~7",
    "   jnz 29f",
    "   xor eax, eax",
    "   test rsi, rsi",
    "   jz 28f",
    // A signal handler that came in between has no state.
    "   cmp byte ptr [rcx + {in_use}], 0",
    "   jne 29f",
    "   mov byte ptr [rcx + {in_use}], 1",
    "   push rbx",
    "   push rbp",
    "   push r12",
    "   push r13",
    "   push r14",
    "   mov rbx, rcx",
    "   mov r12, rdi",
    "   mov r13, rsi",
    "   mov r14d, edx",
    "   lea rbp, [rip + eggos_vdso_start - {data_distance}]",
    "21: mov rax, [rbp + 32]",
    "   cmp rax, [rbx + {generation}]",
    "   je 22f",
    // A new state, or one whose memory was dropped: a key from the kernel.
    "   mov [rbx + {generation}], rax",
    "   lea rdi, [rbx + {batch}]",
    "   mov esi, 32",
    "   xor edx, edx",
    "   mov eax, 318",
    "   syscall",
    "   cmp rax, 32",
    "   jne 27f",
    "   mov byte ptr [rbx + {position}], {batch}",
    "22: mov rdi, r12",
    "   mov r9, r13",
    // Gives r8 bytes of the batch; rdi: where to, r9: how many are wanted.
    "23: movzx eax, byte ptr [rbx + {position}]",
    "   mov r8d, {batch}",
    "   sub r8, rax",
    "   cmp r8, r9",
    "   cmova r8, r9",
    "   lea rsi, [rbx + rax]",
    "   add byte ptr [rbx + {position}], r8b",
    "   sub r9, r8",
    "   xor edx, edx",
    "   jmp 31f",
    "30: mov rax, [rsi]",
    "   mov [rsi], rdx",
    "   mov [rdi], rax",
    "   add rsi, 8",
    "   add rdi, 8",
    "31: sub r8, 8",
    "   jae 30b",
    "   add r8, 8",
    "   jz 33f",
    "32: movzx eax, byte ptr [rsi]",
    "   mov [rsi], dl",
    "   mov [rdi], al",
    "   inc rsi",
    "   inc rdi",
    "   dec r8",
    "   jnz 32b",
    "33: test r9, r9",
    "   jnz 24f",
    // Memory that was dropped meanwhile has no generation, and had no key.
    "   mov rax, [rbp + 32]",
    "   cmp rax, [rbx + {generation}]",
    "   jne 21b",
    "   mov rax, r13",
    "   mov byte ptr [rbx + {in_use}], dl",
    "   pop r14",
    "   pop r13",
    "   pop r12",
    "   pop rbp",
    "   pop rbx",
    "28: ret",
    // Whole blocks go right to where they are wanted.
    "24: xor r10d, r10d",
    "   mov r11, r9",
    "   shr r11, 6",
    "   jz 25f",
    "   and r9d, 63",
    "   call 40f",
    // The next batch, and the next key.
    "25: mov r8, rdi",
    "   mov rdi, rbx",
    "   mov r11d, 2",
    "   call 40f",
    "   mov rdi, r8",
    "   mov byte ptr [rbx + {position}], 0",
    "   jmp 23b",
    "27: xor eax, eax",
    "   mov [rbx + {generation}], rax",
    "   mov byte ptr [rbx + {in_use}], al",
    "   mov rdi, r12",
    "   mov rsi, r13",
    "   mov edx, r14d",
    "   pop r14",
    "   pop r13",
    "   pop r12",
    "   pop rbp",
    "   pop rbx",
    "29: mov eax, 318",
    "   syscall",
    "   ret",
    // r11 blocks of ChaCha20 (RFC 8439) to rdi, numbered from r10, with the state's key and no nonce.
    // A row of the matrix a register; nothing secret goes to the stack or stays in a register.
    "40: movdqu xmm4, [rip + 49f]",
    "   movdqu xmm5, [rbx + {batch}]",
    "   movdqu xmm6, [rbx + {batch} + 16]",
    "41: movq xmm7, r10",
    "   movdqa xmm0, xmm4",
    "   movdqa xmm1, xmm5",
    "   movdqa xmm2, xmm6",
    "   movdqa xmm3, xmm7",
    "   mov ecx, 10",
    ".macro eggos_vdso_rotate row, left, right",
    "   movdqa xmm8, \\row",
    "   pslld \\row, \\left",
    "   psrld xmm8, \\right",
    "   por \\row, xmm8",
    ".endm",
    ".macro eggos_vdso_half_round",
    "   paddd xmm0, xmm1",
    "   pxor xmm3, xmm0",
    "   pshuflw xmm3, xmm3, 0xb1",
    "   pshufhw xmm3, xmm3, 0xb1",
    "   paddd xmm2, xmm3",
    "   pxor xmm1, xmm2",
    "   eggos_vdso_rotate xmm1, 12, 20",
    "   paddd xmm0, xmm1",
    "   pxor xmm3, xmm0",
    "   eggos_vdso_rotate xmm3, 8, 24",
    "   paddd xmm2, xmm3",
    "   pxor xmm1, xmm2",
    "   eggos_vdso_rotate xmm1, 7, 25",
    ".endm",
    // The columns; then, turned, the diagonals.
    "42: eggos_vdso_half_round",
    "   pshufd xmm1, xmm1, 0x39",
    "   pshufd xmm2, xmm2, 0x4e",
    "   pshufd xmm3, xmm3, 0x93",
    "   eggos_vdso_half_round",
    "   pshufd xmm1, xmm1, 0x93",
    "   pshufd xmm2, xmm2, 0x4e",
    "   pshufd xmm3, xmm3, 0x39",
    "   dec ecx",
    "   jnz 42b",
    "   paddd xmm0, xmm4",
    "   paddd xmm1, xmm5",
    "   paddd xmm2, xmm6",
    "   paddd xmm3, xmm7",
    "   movdqu [rdi], xmm0",
    "   movdqu [rdi + 16], xmm1",
    "   movdqu [rdi + 32], xmm2",
    "   movdqu [rdi + 48], xmm3",
    "   add rdi, 64",
    "   inc r10",
    "   dec r11",
    "   jnz 41b",
    ".irp row, xmm0, xmm1, xmm2, xmm3, xmm5, xmm6, xmm8",
    "   pxor \\row, \\row",
    ".endr",
    "   ret",
    ".balign 16",
    "49: .ascii \"expand 32-byte k\"",
    "eggos_vdso_getrandom_end:",
    "eggos_vdso_end:",
    // Start and length of each, in the order of NAMES.
    ".balign 4",
    "eggos_vdso_table:",
    "   .long eggos_vdso_clock_gettime - eggos_vdso_start",
    "   .long eggos_vdso_clock_gettime_end - eggos_vdso_clock_gettime",
    "   .long eggos_vdso_gettimeofday - eggos_vdso_start",
    "   .long eggos_vdso_gettimeofday_end - eggos_vdso_gettimeofday",
    "   .long eggos_vdso_time - eggos_vdso_start",
    "   .long eggos_vdso_time_end - eggos_vdso_time",
    "   .long eggos_vdso_getcpu - eggos_vdso_start",
    "   .long eggos_vdso_getcpu_end - eggos_vdso_getcpu",
    "   .long eggos_vdso_clock_getres - eggos_vdso_start",
    "   .long eggos_vdso_clock_getres_end - eggos_vdso_clock_getres",
    "   .long eggos_vdso_getrandom - eggos_vdso_start",
    "   .long eggos_vdso_getrandom_end - eggos_vdso_getrandom",
    ".popsection",
    data_distance = const CODE_OFFSET + 4096,
    state_bytes = const STATE_BYTES,
    batch = const BATCH_BYTES,
    generation = const STATE_GENERATION,
    position = const STATE_POSITION,
    in_use = const STATE_IN_USE,
);

/// Names of the functions, in the order in which the code has them.
#[cfg(target_arch = "x86_64")]
const NAMES: [&str; 6] = [
    "__vdso_clock_gettime",
    "__vdso_gettimeofday",
    "__vdso_time",
    "__vdso_getcpu",
    "__vdso_clock_getres",
    "__vdso_getrandom",
];

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    static eggos_vdso_start: u8;
    static eggos_vdso_end: u8;
    static eggos_vdso_table: [[u32; 2]; NAMES.len()];
}

/// The code, to be placed at [`CODE_OFFSET`] of its page.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn code() -> &'static [u8] {
    let start = &raw const eggos_vdso_start;
    let length = (&raw const eggos_vdso_end).addr() - start.addr();
    // SAFETY: the assembly above puts `length` bytes of read-only data between the two symbols.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// The functions in the code.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn functions() -> [Function; NAMES.len()] {
    // SAFETY: the assembly above defines the table with this layout, read-only.
    let table = unsafe { eggos_vdso_table };
    let mut functions = [Function { name: "", offset: 0, bytes: 0 }; NAMES.len()];
    for ((function, name), [offset, bytes]) in functions.iter_mut().zip(NAMES).zip(table) {
        *function = Function { name, offset: offset as usize, bytes: bytes as usize };
    }
    functions
}

/// Writes the data page. Programs that read it meanwhile try again.
pub fn write_data(page: &Frame, parameters: &VdsoParameters) {
    let mut sequence = [0; 4];
    page.read(0, &mut sequence);
    let even = u32::from_le_bytes(sequence) & !1;
    page.write(0, &even.wrapping_add(1).to_le_bytes());
    fence(Ordering::SeqCst);
    page.write(4, &parameters.shift.to_le_bytes());
    page.write(8, &parameters.tsc_base.to_le_bytes());
    page.write(16, &parameters.multiplier.to_le_bytes());
    page.write(24, &parameters.wall_at_zero.to_le_bytes());
    page.write(32, &GENERATION.to_le_bytes());
    fence(Ordering::SeqCst);
    page.write(0, &even.wrapping_add(2).to_le_bytes());
}
