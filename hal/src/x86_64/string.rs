//! memcpy, memmove, memset and memcmp.
//!
//! They replace the compiler's, which are `rep movsb` and its like: slow for short blocks on real
//! processors, and one byte per step under QEMU's emulator.

use super::features::FAST_STRINGS;
use super::wide::{self, wide_from};
use core::arch::naked_asm;

/// Blocks up to 32 bytes: all loads come before the first store, so that they may overlap.
/// rdi, rsi, rdx as given; falls through with rdx > 32.
macro_rules! short_copy {
    () => {
        "
        mov rax, rdi
        cmp rdx, 16
        jae 13f
        cmp rdx, 8
        jae 12f
        cmp rdx, 4
        jae 14f
        test rdx, rdx
        jz 19f
        movzx ecx, byte ptr [rsi]
        cmp rdx, 1
        je 15f
        movzx r8d, word ptr [rsi + rdx - 2]
        mov [rdi + rdx - 2], r8w
    15: mov [rdi], cl
    19: ret
    14: mov ecx, [rsi]
        mov r8d, [rsi + rdx - 4]
        mov [rdi], ecx
        mov [rdi + rdx - 4], r8d
        ret
    12: mov rcx, [rsi]
        mov r8, [rsi + rdx - 8]
        mov [rdi], rcx
        mov [rdi + rdx - 8], r8
        ret
    13: cmp rdx, 32
        ja 20f
        mov rcx, [rsi]
        mov r8, [rsi + 8]
        mov r9, [rsi + rdx - 16]
        mov r10, [rsi + rdx - 8]
        mov [rdi], rcx
        mov [rdi + 8], r8
        mov [rdi + rdx - 16], r9
        mov [rdi + rdx - 8], r10
        ret
    20:"
    };
}

/// Copies `bytes` bytes between blocks that do not overlap.
///
/// # Safety
/// Both blocks are valid for as many bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        short_copy!(),
        concat!("cmp rdx, ", wide_from!()),
        "jb 30f",
        "cmp byte ptr [rip + {fast}], 0",
        "je 35f",
        "cmp rdx, 1024",
        "jb 30f",
        "mov rcx, rdx",
        "rep movsb",
        "ret",
        "35: cmp byte ptr [rip + {wide}], 0",
        "je 30f",
        "call {copy_wide}",
        "cmp rdx, 32",
        "jbe 34f",
        // 64 bytes at a time while there are more than 64, which leaves 1 to 64.
        "30: cmp rdx, 64",
        "jbe 32f",
        "33: mov rcx, [rsi]",
        "mov r8, [rsi + 8]",
        "mov r9, [rsi + 16]",
        "mov r10, [rsi + 24]",
        "mov [rdi], rcx",
        "mov [rdi + 8], r8",
        "mov [rdi + 16], r9",
        "mov [rdi + 24], r10",
        "mov rcx, [rsi + 32]",
        "mov r8, [rsi + 40]",
        "mov r9, [rsi + 48]",
        "mov r10, [rsi + 56]",
        "mov [rdi + 32], rcx",
        "mov [rdi + 40], r8",
        "mov [rdi + 48], r9",
        "mov [rdi + 56], r10",
        "add rsi, 64",
        "add rdi, 64",
        "sub rdx, 64",
        "cmp rdx, 64",
        "ja 33b",
        "cmp rdx, 32",
        "jbe 34f",
        "32: mov rcx, [rsi]",
        "mov r8, [rsi + 8]",
        "mov r9, [rsi + 16]",
        "mov r10, [rsi + 24]",
        "mov [rdi], rcx",
        "mov [rdi + 8], r8",
        "mov [rdi + 16], r9",
        "mov [rdi + 24], r10",
        // The last bytes, at most 32, as the 32 that end there.
        "34: mov rcx, [rsi + rdx - 32]",
        "mov r8, [rsi + rdx - 24]",
        "mov r9, [rsi + rdx - 16]",
        "mov r10, [rsi + rdx - 8]",
        "mov [rdi + rdx - 32], rcx",
        "mov [rdi + rdx - 24], r8",
        "mov [rdi + rdx - 16], r9",
        "mov [rdi + rdx - 8], r10",
        "ret",
        fast = sym FAST_STRINGS,
        wide = sym wide::USABLE,
        copy_wide = sym wide::copy,
    )
}

/// Copies `bytes` bytes; the blocks may overlap.
///
/// # Safety
/// Both blocks are valid for as many bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        short_copy!(),
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 40f",
        // The target does not begin inside the source: forward. The tail is loaded before anything
        // is stored, because the last stores of the loop may overwrite it.
        "mov r8, [rsi + rdx - 8]",
        "mov r9, [rsi + rdx - 16]",
        "mov r10, [rsi + rdx - 24]",
        "mov r11, [rsi + rdx - 32]",
        "lea rdx, [rdi + rdx - 32]",
        "30: mov rcx, [rsi]",
        "mov [rdi], rcx",
        "mov rcx, [rsi + 8]",
        "mov [rdi + 8], rcx",
        "add rsi, 16",
        "add rdi, 16",
        "cmp rdi, rdx",
        "jb 30b",
        "mov [rdx + 24], r8",
        "mov [rdx + 16], r9",
        "mov [rdx + 8], r10",
        "mov [rdx], r11",
        "ret",
        // Backward, and the head is loaded first.
        "40: mov r8, [rsi]",
        "mov r9, [rsi + 8]",
        "41: mov rcx, [rsi + rdx - 8]",
        "mov r10, [rsi + rdx - 16]",
        "mov [rdi + rdx - 8], rcx",
        "mov [rdi + rdx - 16], r10",
        "sub rdx, 16",
        "cmp rdx, 16",
        "ja 41b",
        "mov [rdi], r8",
        "mov [rdi + 8], r9",
        "ret",
    )
}

/// Sets `bytes` bytes to `value`.
///
/// # Safety
/// The block is valid for as many bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx ecx, sil",
        "movabs r8, 0x0101010101010101",
        "imul rcx, r8",
        "cmp rdx, 16",
        "jae 20f",
        "cmp rdx, 8",
        "jae 12f",
        "cmp rdx, 4",
        "jae 14f",
        "test rdx, rdx",
        "jz 19f",
        "mov [rdi], cl",
        "mov [rdi + rdx - 1], cl",
        "cmp rdx, 2",
        "jbe 19f",
        "mov [rdi + 1], cl",
        "19: ret",
        "14: mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        "12: mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        concat!("20: cmp rdx, ", wide_from!()),
        "jb 21f",
        "cmp byte ptr [rip + {fast}], 0",
        "je 25f",
        "cmp rdx, 1024",
        "jb 21f",
        "mov r8, rax",
        "mov eax, ecx",
        "mov rcx, rdx",
        "rep stosb",
        "mov rax, r8",
        "ret",
        "25: cmp byte ptr [rip + {wide}], 0",
        "je 21f",
        "lea r8, [rdi + rdx - 16]",
        "call {fill_wide}",
        "jmp 26f",
        // 64 bytes at a time, then 16, then the last 16 that end there.
        "21: lea r8, [rdi + rdx - 16]",
        "26: cmp rdx, 64",
        "jb 23f",
        "22: mov [rdi], rcx",
        "mov [rdi + 8], rcx",
        "mov [rdi + 16], rcx",
        "mov [rdi + 24], rcx",
        "mov [rdi + 32], rcx",
        "mov [rdi + 40], rcx",
        "mov [rdi + 48], rcx",
        "mov [rdi + 56], rcx",
        "add rdi, 64",
        "sub rdx, 64",
        "cmp rdx, 64",
        "jae 22b",
        "23: cmp rdi, r8",
        "jae 24f",
        "mov [rdi], rcx",
        "mov [rdi + 8], rcx",
        "add rdi, 16",
        "jmp 23b",
        "24: mov [r8], rcx",
        "mov [r8 + 8], rcx",
        "ret",
        fast = sym FAST_STRINGS,
        wide = sym wide::USABLE,
        fill_wide = sym wide::fill,
    )
}

/// Compares two blocks: the difference of the first bytes that differ, as unsigned numbers, or 0.
///
/// # Safety
/// Both blocks are valid for as many bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    naked_asm!(
        "20: sub rdx, 8",
        "jb 22f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "add rdi, 8",
        "add rsi, 8",
        "cmp rax, rcx",
        "je 20b",
        // The first byte in memory counts most.
        "bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "22: add rdx, 8",
        "jz 24f",
        "23: movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jne 25f",
        "inc rdi",
        "inc rsi",
        "dec rdx",
        "jnz 23b",
        "24: xor eax, eax",
        "25: ret",
    )
}

/// 0 when two blocks are equal.
///
/// # Safety
/// Both blocks are valid for as many bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}
