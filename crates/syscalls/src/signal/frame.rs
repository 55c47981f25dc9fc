//! The signal frame on the program's stack, in Linux's layout (arch/x86/include/uapi/asm/
//! sigcontext.h and ucontext.h of Linux 6): return address, `ucontext`, `siginfo`, and above them
//! the XSAVE area with its magic words.

use super::{SignalInfo, code};
use crate::thread::{AlternateStack, Thread};
use alloc::vec::Vec;
use base::{Errno, UserAddr};
use hal::Registers;
use hal::user::{self, UserContext};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The ABI leaves 128 bytes below the stack pointer to leaf functions.
const RED_ZONE_BYTES: u64 = 128;
/// Alignment of the XSAVE area.
const XSAVE_ALIGNMENT: u64 = 64;
/// Where the software-reserved words lie in the legacy area.
const SOFTWARE_WORDS_OFFSET: usize = 464;
const MAGIC_1: u32 = 0x4650_5853;
const MAGIC_2: u32 = 0x4650_5845;
/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const CONTEXT_FLAGS: u64 = 7;
/// Segment selectors as Linux has them, so that programs that look find what they know.
const USER_CODE_SELECTOR: u16 = 0x33;
const USER_STACK_SELECTOR: u16 = 0x2b;
/// The flags a handler may set: everything arithmetic, DF, TF, AC, NT and RF.
const USER_FLAGS: u64 = 0x0005_4dd5;
/// Bit 1 is always one, IF is on in user code.
const FIXED_FLAGS: u64 = 0x202;
/// DF, TF and RF are clear in a handler.
const HANDLER_CLEARED_FLAGS: u64 = 0x0001_0500;

/// `struct sigcontext` (256 bytes).
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SignalContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    flags: u64,
    code_selector: u16,
    gs_selector: u16,
    fs_selector: u16,
    stack_selector: u16,
    error_code: u64,
    vector: u64,
    old_mask: u64,
    page_fault_address: u64,
    vector_state: u64,
    reserved: [u64; 8],
}

/// `stack_t` (24 bytes).
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct StackRecord {
    pub(crate) base: u64,
    pub(crate) flags: u32,
    pub(crate) padding: u32,
    pub(crate) bytes: u64,
}

/// `struct rt_sigframe`: what the handler's stack pointer points to.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Frame {
    return_address: u64,
    context_flags: u64,
    link: u64,
    stack: StackRecord,
    machine: SignalContext,
    mask: u64,
    info: [u8; 128],
}

const FRAME_BYTES: u64 = size_of::<Frame>() as u64;

/// Where the handler runs and with what.
pub(crate) struct Entry {
    pub(crate) handler: u64,
    pub(crate) restorer: u64,
    pub(crate) on_alternate_stack: bool,
}

/// Builds the frame and points the registers at the handler.
///
/// # Errors
/// `EFAULT`: the stack cannot take it.
pub(crate) fn push(
    thread: &Thread,
    user: &mut UserContext,
    info: &SignalInfo,
    entry: &Entry,
    mask: u64,
    alternate: AlternateStack,
) -> Result<(), Errno> {
    let memory = &thread.process.memory;
    let registers = user.registers;
    let already_there = alternate.contains(registers.rsp);
    let top = if entry.on_alternate_stack && alternate.bytes != 0 && !already_there {
        alternate.base.0 + alternate.bytes
    } else {
        registers.rsp.wrapping_sub(RED_ZONE_BYTES)
    };

    let state = vector_state(user);
    let state_at = top.wrapping_sub(state.len() as u64) & !(XSAVE_ALIGNMENT - 1);
    let frame_at = (state_at.wrapping_sub(FRAME_BYTES) & !15).wrapping_sub(8);
    if already_there && !alternate.contains(frame_at) {
        return Err(Errno::EFAULT);
    }
    memory.write_bytes(UserAddr(state_at), &state)?;

    let mut frame = Frame {
        return_address: entry.restorer,
        context_flags: CONTEXT_FLAGS,
        link: 0,
        stack: StackRecord {
            base: alternate.base.0,
            flags: stack_flags(alternate, registers.rsp),
            padding: 0,
            bytes: alternate.bytes,
        },
        machine: save(&registers),
        mask,
        info: info.encode(),
    };
    frame.machine.vector_state = state_at;
    if let super::Origin::Fault(detail) = info.origin {
        frame.machine.error_code = detail.error_code;
        frame.machine.vector = u64::from(detail.vector);
        frame.machine.page_fault_address = detail.page_fault_address;
    }
    memory.write(UserAddr(frame_at), &frame)?;

    // The frame was the last that could fail; the handler starts as a process does.
    user.reset_vector_state();
    let registers = &mut user.registers;
    registers.rip = entry.handler;
    registers.rsp = frame_at;
    registers.rdi = u64::from(info.signal.0);
    registers.rsi = frame_at + core::mem::offset_of!(Frame, info) as u64;
    registers.rdx = frame_at + core::mem::offset_of!(Frame, context_flags) as u64;
    registers.rax = 0;
    registers.rflags &= !HANDLER_CLEARED_FLAGS;
    Ok(())
}

/// `ss_flags` as sigaltstack(2) reports them.
pub(crate) fn stack_flags(stack: AlternateStack, stack_pointer: u64) -> u32 {
    const SS_ONSTACK: u32 = 1;
    const SS_DISABLE: u32 = 2;
    if stack.bytes == 0 {
        SS_DISABLE
    } else if stack.contains(stack_pointer) {
        SS_ONSTACK | stack.flags
    } else {
        stack.flags
    }
}

/// What a frame gives back.
pub(crate) struct Restored {
    pub(crate) mask: u64,
    pub(crate) stack: StackRecord,
}

/// Undoes [`push`]: restores whatever the handler left in the frame (rt_sigreturn).
///
/// # Errors
/// `EFAULT`: the frame cannot be read, or its vector state is not valid. The program gets SIGSEGV.
pub(crate) fn pop(thread: &Thread, user: &mut UserContext) -> Result<Restored, Errno> {
    let memory = &thread.process.memory;
    // The handler's return popped the restorer's address.
    let frame_at = UserAddr(user.registers.rsp.wrapping_sub(8));
    let frame: Frame = memory.read(frame_at)?;
    if frame.machine.vector_state != 0 {
        let mut state = Vec::new();
        let bytes = user::vector_state_bytes();
        state.try_reserve_exact(bytes).map_err(|_| Errno::EFAULT)?;
        state.resize(bytes, 0);
        memory.read_bytes(UserAddr(frame.machine.vector_state), &mut state)?;
        state[SOFTWARE_WORDS_OFFSET..SOFTWARE_WORDS_OFFSET + 48].fill(0);
        if !user.set_vector_state(&state) {
            return Err(Errno::EFAULT);
        }
    }
    restore(&mut user.registers, &frame.machine);
    Ok(Restored { mask: frame.mask, stack: frame.stack })
}

/// The XSAVE area as it lies in the frame: state, software words, second magic.
fn vector_state(user: &mut UserContext) -> Vec<u8> {
    let bytes = user::vector_state_bytes();
    let mut state = alloc::vec![0; bytes + 4];
    user.vector_state(&mut state[..bytes]);
    let words = &mut state[SOFTWARE_WORDS_OFFSET..SOFTWARE_WORDS_OFFSET + 48];
    words.fill(0);
    words[0..4].copy_from_slice(&MAGIC_1.to_le_bytes());
    words[4..8].copy_from_slice(&(bytes as u32 + 4).to_le_bytes());
    words[8..16].copy_from_slice(&user::vector_state_features().to_le_bytes());
    words[16..20].copy_from_slice(&(bytes as u32).to_le_bytes());
    state[bytes..].copy_from_slice(&MAGIC_2.to_le_bytes());
    state
}

/// `si_code` of an x87 or SSE error: the first unmasked exception in Linux's order (fpu__exception_
/// code of arch/x86/kernel/fpu/core.c).
pub(crate) fn float_code(user: &mut UserContext, vector: u8) -> i32 {
    /// Where control word, status word and MXCSR lie in the legacy area.
    const CONTROL: usize = 0;
    const STATUS: usize = 2;
    const MXCSR: usize = 24;
    let mut state = alloc::vec![0; user::vector_state_bytes()];
    user.vector_state(&mut state);
    let word = |at: usize| {
        let bytes = state.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    };
    if vector == hal::vector::X87_ERROR {
        unmasked(word(STATUS) & !word(CONTROL))
    } else {
        unmasked(word(MXCSR) & !(word(MXCSR) >> 7))
    }
}

/// The code of these exceptions: invalid, denormal, zero divide, overflow, underflow, precision.
fn unmasked(exceptions: u16) -> i32 {
    const CODES: [(u16, i32); 5] = [
        (0x01, code::FPE_FLTINV),
        (0x04, code::FPE_FLTDIV),
        (0x08, code::FPE_FLTOVF),
        (0x12, code::FPE_FLTUND),
        (0x20, code::FPE_FLTRES),
    ];
    let first = CODES.iter().find(|row| exceptions & row.0 != 0);
    first.map_or(code::FPE_FLTINV, |row| row.1)
}

fn save(from: &Registers) -> SignalContext {
    SignalContext {
        r8: from.r8,
        r9: from.r9,
        r10: from.r10,
        r11: from.r11,
        r12: from.r12,
        r13: from.r13,
        r14: from.r14,
        r15: from.r15,
        rdi: from.rdi,
        rsi: from.rsi,
        rbp: from.rbp,
        rbx: from.rbx,
        rdx: from.rdx,
        rax: from.rax,
        rcx: from.rcx,
        rsp: from.rsp,
        rip: from.rip,
        flags: from.rflags,
        code_selector: USER_CODE_SELECTOR,
        stack_selector: USER_STACK_SELECTOR,
        ..SignalContext::default()
    }
}

fn restore(to: &mut Registers, from: &SignalContext) {
    *to = Registers {
        r15: from.r15,
        r14: from.r14,
        r13: from.r13,
        r12: from.r12,
        rbp: from.rbp,
        rbx: from.rbx,
        r11: from.r11,
        r10: from.r10,
        r9: from.r9,
        r8: from.r8,
        rax: from.rax,
        rcx: from.rcx,
        rdx: from.rdx,
        rsi: from.rsi,
        rdi: from.rdi,
        rip: from.rip,
        rflags: (from.flags & USER_FLAGS) | FIXED_FLAGS,
        rsp: from.rsp,
        fs_base: to.fs_base,
        gs_base: to.gs_base,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn float_errors_are_told_apart() {
        assert_eq!(unmasked(0x25), code::FPE_FLTINV);
        assert_eq!(unmasked(0x24), code::FPE_FLTDIV);
        assert_eq!(unmasked(0x28), code::FPE_FLTOVF);
        assert_eq!(unmasked(0x02), code::FPE_FLTUND);
        assert_eq!(unmasked(0x20), code::FPE_FLTRES);
        let mut user = UserContext::new(0, 0);
        let mut state = alloc::vec![0; user::vector_state_bytes()];
        // Divided by zero, which is not masked; inexact, which is.
        state[24..26].copy_from_slice(&(0x24_u16 | 0x1f80 & !0x200).to_le_bytes());
        assert!(user.set_vector_state(&state));
        assert_eq!(float_code(&mut user, hal::vector::SIMD_ERROR), code::FPE_FLTDIV);
    }

    /// Offsets that C's offsetof gives on x86-64 Linux for `struct rt_sigframe` (after the return
    /// address: `ucontext_t` at 8) and `struct sigcontext`.
    #[test]
    fn layout_is_linux_s() {
        assert_eq!(size_of::<SignalContext>(), 256);
        assert_eq!(size_of::<Frame>(), 8 + 304 + 128);
        assert_eq!(offset_of!(Frame, stack) - 8, 16);
        assert_eq!(offset_of!(Frame, machine) - 8, 40);
        assert_eq!(offset_of!(Frame, mask) - 8, 296);
        assert_eq!(offset_of!(SignalContext, rip), 128);
        assert_eq!(offset_of!(SignalContext, code_selector), 144);
        assert_eq!(offset_of!(SignalContext, error_code), 152);
        assert_eq!(offset_of!(SignalContext, vector_state), 184);
    }
}
