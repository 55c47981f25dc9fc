//! Long copies with AVX registers, where `rep movsb` is not the fast way.
//!
//! The registers are the program's, and stay so: these functions save the four that they use, and
//! give them back. Elsewhere the kernel does not touch vector registers; `tests/vector-registers.sh`
//! has the list.
//!
//! Only where `XGETBV` tells which state is in use: state that the program has not used (the upper
//! halves are all zero) is left unused (`VZEROUPPER`), or the processor would save more than it
//! must. Not where there is AVX-512: an instruction that writes a register's lower half clears the
//! rest, and such processors have fast string instructions.

use super::features::{self, Feature};
use super::trap::guarded;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Read by the copy routines (assembly): what is here may be used.
pub(super) static USABLE: AtomicBool = AtomicBool::new(false);

/// From how many bytes on it pays, as an operand.
macro_rules! wide_from {
    () => {
        "512"
    };
}
pub(super) use wide_from;

/// Notes what the processor has and the kernel has turned on. The same on each processor.
pub(super) fn init_processor(avx: bool, avx512: bool) {
    USABLE.store(avx && !avx512 && features::has(Feature::Xgetbv1), Relaxed);
}

/// Saves the registers; r10d becomes the state in use. Destroys rcx and r9.
macro_rules! borrow {
    () => {
        "
        sub rsp, 128
        vmovdqu [rsp], ymm0
        vmovdqu [rsp + 32], ymm1
        vmovdqu [rsp + 64], ymm2
        vmovdqu [rsp + 96], ymm3
        mov r9, rdx
        mov r10, rax
        mov ecx, 1
        xgetbv
        xchg r10, rax
        mov rdx, r9
        "
    };
}

/// Restores them, and returns.
macro_rules! give_back {
    () => {
        "
        vmovdqu ymm0, [rsp]
        vmovdqu ymm1, [rsp + 32]
        vmovdqu ymm2, [rsp + 64]
        vmovdqu ymm3, [rsp + 96]
        add rsp, 128
        test r10d, 4
        jnz 99f
        vzeroupper
    99: ret"
    };
}

/// Copies blocks of 128 bytes from rsi to rdi, rdx bytes in all, at least 128. On return the three
/// say what is left. Destroys rcx, r9 and r10.
///
/// Each load and store may fault: then a whole block is left, and the caller's smaller steps find
/// the byte. Where that is a bug of the kernel's, these are what ends it.
#[unsafe(export_name = "wide_copy")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn copy() {
    naked_asm!(
        borrow!(),
        "sub rdx, 128",
        guarded!("71", "vmovdqu ymm0, [rsi]", "26f"),
        guarded!("72", "vmovdqu ymm1, [rsi + 32]", "26f"),
        guarded!("73", "vmovdqu ymm2, [rsi + 64]", "26f"),
        guarded!("74", "vmovdqu ymm3, [rsi + 96]", "26f"),
        guarded!("75", "vmovdqu [rdi], ymm0", "26f"),
        guarded!("76", "vmovdqu [rdi + 32], ymm1", "26f"),
        guarded!("77", "vmovdqu [rdi + 64], ymm2", "26f"),
        guarded!("78", "vmovdqu [rdi + 96], ymm3", "26f"),
        "add rsi, 128",
        "add rdi, 128",
        "sub rdx, 128",
        "jae 71b",
        "26: add rdx, 128",
        give_back!(),
    )
}

/// Fills blocks of 128 bytes at rdi with the eight bytes in rcx, rdx bytes in all, at least 128. On
/// return rdi and rdx say what is left. Destroys r9 to r11; rcx stays.
#[unsafe(export_name = "wide_fill")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn fill() {
    naked_asm!(
        "mov r11, rcx",
        borrow!(),
        "mov rcx, r11",
        "vmovq xmm0, rcx",
        "vpunpcklqdq xmm0, xmm0, xmm0",
        "vinsertf128 ymm0, ymm0, xmm0, 1",
        "sub rdx, 128",
        "30: vmovdqu [rdi], ymm0",
        "vmovdqu [rdi + 32], ymm0",
        "vmovdqu [rdi + 64], ymm0",
        "vmovdqu [rdi + 96], ymm0",
        "add rdi, 128",
        "sub rdx, 128",
        "jae 30b",
        "add rdx, 128",
        give_back!(),
    )
}
