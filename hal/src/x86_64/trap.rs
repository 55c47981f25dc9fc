//! Entries into the kernel: stubs for all 256 vectors and for SYSCALL, and what happens to traps
//! that hit kernel code.
//!
//! A trap from ring 3 saves the program's registers into its [`Registers`] and makes
//! [`enter`] return. A trap in kernel code is an interrupt in `cpu::idle`, or a fault at an
//! instruction listed in the exception table (`.extable`: address, continuation), or a bug.

use super::descriptors::{USER_CODE, USER_DATA};
use super::percpu::PerCpu;
use super::{instructions, irq};
use crate::types::{Registers, vector};
use core::arch::naked_asm;
use core::mem::offset_of;

/// What [`enter`] returns for a system call: no vector has this number.
pub(super) const SYSCALL: u64 = 0x100;
/// Vectors below are exceptions.
pub(super) const FIRST_INTERRUPT: u64 = 32;

/// Why [`enter`] returned.
#[repr(C)]
pub(super) struct Cause {
    /// The vector, or [`SYSCALL`].
    pub(super) vector: u64,
    /// The error code.
    pub(super) error: u64,
}

/// What the stubs push for a trap in kernel code.
#[repr(C)]
pub(super) struct KernelFrame {
    registers: [u64; 9],
    frame_pointer: u64,
    vector: u64,
    error: u64,
    instruction: u64,
    code_segment: u64,
    flags: u64,
    stack: u64,
    stack_segment: u64,
}

/// 256 stubs of 16 bytes: each pushes an error code where the processor does not, and its vector.
#[unsafe(naked)]
pub(super) extern "C" fn stubs() {
    naked_asm!(
        ".set vector, 0",
        ".rept 256",
        ".balign 16",
        ".if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)",
        ".else",
        "push 0",
        ".endif",
        "push vector",
        "jmp {common}",
        ".set vector, vector + 1",
        ".endr",
        common = sym common,
    )
}

/// `[rsp]`: vector, error code, then what the processor pushed.
#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jnz 2f",
        // QEMU 7.2 lets a program's IRETD set VM; then CS is any number.
        "test byte ptr [rsp + 34], 2",
        "jz {kernel}",
        "2:",
        "swapgs",
        "mov gs:[{scratch}], rdi",
        "mov rdi, gs:[{context}]",
        "mov [rdi + {r15}], r15",
        "mov [rdi + {r14}], r14",
        "mov [rdi + {r13}], r13",
        "mov [rdi + {r12}], r12",
        "mov [rdi + {rbp}], rbp",
        "mov [rdi + {rbx}], rbx",
        "mov [rdi + {r11}], r11",
        "mov [rdi + {r10}], r10",
        "mov [rdi + {r9}], r9",
        "mov [rdi + {r8}], r8",
        "mov [rdi + {rax}], rax",
        "mov [rdi + {rcx}], rcx",
        "mov [rdi + {rdx}], rdx",
        "mov [rdi + {rsi}], rsi",
        "mov rax, gs:[{scratch}]",
        "mov [rdi + {rdi}], rax",
        "mov rax, [rsp + 16]",
        "mov [rdi + {rip}], rax",
        "mov rax, [rsp + 32]",
        "mov [rdi + {rflags}], rax",
        "mov rax, [rsp + 40]",
        "mov [rdi + {rsp}], rax",
        "mov rax, [rsp]",
        "mov rdx, [rsp + 8]",
        "mov rsp, gs:[{kernel_stack}]",
        // The gate cleared IF, TF and NT; AC would switch SMAP off, DF would turn copies round.
        "push 2",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        kernel = sym in_kernel,
        scratch = const offset_of!(PerCpu, scratch),
        context = const offset_of!(PerCpu, context),
        kernel_stack = const offset_of!(PerCpu, kernel_stack),
        r15 = const offset_of!(Registers, r15),
        r14 = const offset_of!(Registers, r14),
        r13 = const offset_of!(Registers, r13),
        r12 = const offset_of!(Registers, r12),
        rbp = const offset_of!(Registers, rbp),
        rbx = const offset_of!(Registers, rbx),
        r11 = const offset_of!(Registers, r11),
        r10 = const offset_of!(Registers, r10),
        r9 = const offset_of!(Registers, r9),
        r8 = const offset_of!(Registers, r8),
        rax = const offset_of!(Registers, rax),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rip = const offset_of!(Registers, rip),
        rflags = const offset_of!(Registers, rflags),
        rsp = const offset_of!(Registers, rsp),
    )
}

/// SYSCALL: rcx = rip, r11 = flags, everything else is the program's, also rsp. An NMI, a machine
/// check or a debug exception between here and the kernel's stack uses a stack of its own.
#[unsafe(naked)]
pub(super) extern "C" fn syscall() {
    naked_asm!(
        "swapgs",
        "mov gs:[{scratch}], rsp",
        "mov rsp, gs:[{context}]",
        "mov [rsp + {r15}], r15",
        "mov [rsp + {r14}], r14",
        "mov [rsp + {r13}], r13",
        "mov [rsp + {r12}], r12",
        "mov [rsp + {rbp}], rbp",
        "mov [rsp + {rbx}], rbx",
        "mov [rsp + {r11}], r11",
        "mov [rsp + {rflags}], r11",
        "mov [rsp + {r10}], r10",
        "mov [rsp + {r9}], r9",
        "mov [rsp + {r8}], r8",
        "mov [rsp + {rax}], rax",
        "mov [rsp + {rcx}], rcx",
        "mov [rsp + {rip}], rcx",
        "mov [rsp + {rdx}], rdx",
        "mov [rsp + {rsi}], rsi",
        "mov [rsp + {rdi}], rdi",
        "mov rax, gs:[{scratch}]",
        "mov [rsp + {rsp}], rax",
        "mov rsp, gs:[{kernel_stack}]",
        "mov eax, {cause}",
        "xor edx, edx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        cause = const SYSCALL,
        scratch = const offset_of!(PerCpu, scratch),
        context = const offset_of!(PerCpu, context),
        kernel_stack = const offset_of!(PerCpu, kernel_stack),
        r15 = const offset_of!(Registers, r15),
        r14 = const offset_of!(Registers, r14),
        r13 = const offset_of!(Registers, r13),
        r12 = const offset_of!(Registers, r12),
        rbp = const offset_of!(Registers, rbp),
        rbx = const offset_of!(Registers, rbx),
        r11 = const offset_of!(Registers, r11),
        r10 = const offset_of!(Registers, r10),
        r9 = const offset_of!(Registers, r9),
        r8 = const offset_of!(Registers, r8),
        rax = const offset_of!(Registers, rax),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rip = const offset_of!(Registers, rip),
        rflags = const offset_of!(Registers, rflags),
        rsp = const offset_of!(Registers, rsp),
    )
}

/// Enters ring 3 with `registers` and returns at the next trap, when they hold the program's state.
///
/// # Safety
/// `registers` stays where it is until the call returns, its flags are sanitised and its `rip` is
/// canonical; with `fast` also `rip < USER_END`, `rcx == rip` and `r11 == rflags`. The program's
/// page tables, vector state, FS and GS bases are loaded.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(registers: *mut Registers, fast: bool) -> Cause {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov gs:[{kernel_stack}], rsp",
        "mov gs:[{context}], rdi",
        "test sil, sil",
        "jnz 2f",
        "push {user_data}",
        "push qword ptr [rdi + {rsp}]",
        "push qword ptr [rdi + {rflags}]",
        "push {user_code}",
        "push qword ptr [rdi + {rip}]",
        "2:",
        "mov r15, [rdi + {r15}]",
        "mov r14, [rdi + {r14}]",
        "mov r13, [rdi + {r13}]",
        "mov r12, [rdi + {r12}]",
        "mov rbp, [rdi + {rbp}]",
        "mov rbx, [rdi + {rbx}]",
        "mov r11, [rdi + {r11}]",
        "mov r10, [rdi + {r10}]",
        "mov r9, [rdi + {r9}]",
        "mov r8, [rdi + {r8}]",
        "mov rax, [rdi + {rax}]",
        "mov rcx, [rdi + {rcx}]",
        "mov rdx, [rdi + {rdx}]",
        "jnz 3f",
        "mov rsi, [rdi + {rsi}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "iretq",
        "3:",
        "mov rsi, [rdi + {rsi}]",
        "mov rsp, [rdi + {rsp}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "sysretq",
        user_data = const USER_DATA,
        user_code = const USER_CODE,
        context = const offset_of!(PerCpu, context),
        kernel_stack = const offset_of!(PerCpu, kernel_stack),
        r15 = const offset_of!(Registers, r15),
        r14 = const offset_of!(Registers, r14),
        r13 = const offset_of!(Registers, r13),
        r12 = const offset_of!(Registers, r12),
        rbp = const offset_of!(Registers, rbp),
        rbx = const offset_of!(Registers, rbx),
        r11 = const offset_of!(Registers, r11),
        r10 = const offset_of!(Registers, r10),
        r9 = const offset_of!(Registers, r9),
        r8 = const offset_of!(Registers, r8),
        rax = const offset_of!(Registers, rax),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rip = const offset_of!(Registers, rip),
        rflags = const offset_of!(Registers, rflags),
        rsp = const offset_of!(Registers, rsp),
    )
}

/// A trap that hit kernel code: saves what a Rust function may change.
#[unsafe(naked)]
extern "C" fn in_kernel() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "mov rdi, rsp",
        "and rsp, -16",
        "cld",
        "call {handler}",
        "lea rsp, [rbp - 72]",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "pop rbp",
        "add rsp, 16",
        "iretq",
        handler = sym kernel_trap,
    )
}

/// An instruction at label `$label` that may fault, and the label where it then goes on.
macro_rules! guarded {
    ($label:literal, $instruction:literal, $continuation:literal) => {
        concat!(
            $label,
            ": ",
            $instruction,
            "\n",
            ".pushsection .extable, \"a\"\n",
            ".quad ",
            $label,
            "b, ",
            $continuation,
            "\n",
            ".popsection"
        )
    };
}
pub(super) use guarded;

unsafe extern "C" {
    static __extable_start: [u64; 2];
    static __extable_end: [u64; 2];
}

/// Where to go on after a fault at `instruction`.
fn continuation(instruction: u64) -> Option<u64> {
    let start = &raw const __extable_start;
    let count = (&raw const __extable_end as usize - start as usize) / size_of::<[u64; 2]>();
    // SAFETY: the linker script puts whole pairs between the two symbols, read-only.
    let table = unsafe { core::slice::from_raw_parts(start, count) };
    table.iter().find(|row| row[0] == instruction).map(|row| row[1])
}

extern "C" fn kernel_trap(frame: &mut KernelFrame) {
    if frame.vector >= FIRST_INTERRUPT {
        irq::handle(frame.vector as u8);
        return;
    }
    match frame.vector as u8 {
        vector::PAGE_FAULT | vector::GENERAL_PROTECTION => {
            if let Some(next) = continuation(frame.instruction) {
                frame.instruction = next;
                return;
            }
        }
        // Single steps that a program started (MOV SS, SYSCALL): not for the kernel.
        vector::DEBUG => {
            frame.flags &= !0x100;
            return;
        }
        _ => {}
    }
    super::panic::note_exception(frame.instruction, frame.frame_pointer);
    panic!(
        "exception {} in the kernel at {:#x}, error code {:#x}, address {:#x}, stack {:#x}",
        frame.vector,
        frame.instruction,
        frame.error,
        instructions::read_cr2(),
        frame.stack,
    );
}
