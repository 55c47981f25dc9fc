//! The clock functions that run inside the program, without a system call (vdso(7)).
//!
//! Two pages, side by side: a data page that the kernel writes and the program reads, and the page
//! with the code. The code finds the data by its distance, so the pair works at any address. The
//! ELF wrapping around the code is `loader`'s.
//!
//! Data page (all little-endian): sequence number `u32` at 0 (odd while it is being changed),
//! shift `u32` at 4, counter base `u64` at 8, multiplier `u64` at 16, wall clock at monotonic zero
//! in nanoseconds `u64` at 24.

use crate::memory::Frame;
use crate::types::VdsoParameters;
use core::sync::atomic::{Ordering, fence};

/// Where the code must lie in its page. The data page comes right before that page.
pub const CODE_OFFSET: usize = 1024;

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
    ".popsection",
    data_distance = const CODE_OFFSET + 4096,
);

/// Names of the functions, in the order in which the code has them.
#[cfg(target_arch = "x86_64")]
const NAMES: [&str; 5] = [
    "__vdso_clock_gettime",
    "__vdso_gettimeofday",
    "__vdso_time",
    "__vdso_getcpu",
    "__vdso_clock_getres",
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
    fence(Ordering::SeqCst);
    page.write(0, &even.wrapping_add(2).to_le_bytes());
}
