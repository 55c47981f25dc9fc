//! The vector registers of threads.

use super::user::{CALL_FOREVER, program, step};
use super::{Outcome, check};
use alloc::vec;
use alloc::vec::Vec;
use hal::Trap;
use hal::boot::BootInfo;
use hal::user::{UserContext, vector_state_bytes, vector_state_features};

const MXCSR: usize = 24;
const XMM: usize = 160;
const XSTATE_BV: usize = 512;
const YMM_HIGH: usize = 576;

fn state(context: &mut UserContext) -> Vec<u8> {
    let mut bytes = vec![0xff; vector_state_bytes()];
    context.vector_state(&mut bytes);
    bytes
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// A state in which every register is different.
fn pattern(seed: u8) -> Vec<u8> {
    let mut bytes = state(&mut UserContext::new(0, 0));
    let has_avx = vector_state_features() & 4 != 0;
    for (at, byte) in bytes[XMM..XMM + 256].iter_mut().enumerate() {
        *byte = seed.wrapping_add(at as u8);
    }
    if has_avx {
        for (at, byte) in bytes[YMM_HIGH..YMM_HIGH + 256].iter_mut().enumerate() {
            *byte = seed.wrapping_mul(3).wrapping_add(at as u8);
        }
    }
    // Another rounding mode for each.
    bytes[MXCSR..MXCSR + 4].copy_from_slice(&(0x1f80 | u32::from(seed & 3) << 13).to_le_bytes());
    bytes[XSTATE_BV] = if has_avx { 7 } else { 3 };
    bytes
}

/// The parts that the pattern fills.
fn same(one: &[u8], other: &[u8]) -> bool {
    let avx = vector_state_features() & 4 == 0
        || one[YMM_HIGH..YMM_HIGH + 256] == other[YMM_HIGH..YMM_HIGH + 256];
    one[XMM..XMM + 256] == other[XMM..XMM + 256] && word(one, MXCSR) == word(other, MXCSR) && avx
}

pub(crate) fn initial(_: &BootInfo) -> Outcome {
    // fnstcw [rsp - 8]; stmxcsr [rsp - 16]; syscall
    let code = [0xd9, 0x7c, 0x24, 0xf8, 0x0f, 0xae, 0x5c, 0x24, 0xf0, 0x0f, 0x05];
    let (space, mut context) = program(&code)?;
    let bytes = state(&mut context);
    check(word(&bytes, 0) == 0x37f && word(&bytes, MXCSR) == 0x1f80, "initial control words")?;
    check(bytes[XMM..XMM + 256].iter().all(|b| *b == 0), "initial registers")?;
    context.registers.rsp = super::user::MEMORY + 64;
    check(step(&mut context, &space) == Trap::Syscall, "no system call")?;
    let mut seen = [0; 16];
    let at = base::UserAddr(super::user::MEMORY + 48);
    hal::usercopy::copy_from_user(&space, &mut seen, at).map_err(|_| "cannot read")?;
    check(word(&seen, 8) & 0xffff == 0x37f && word(&seen, 0) == 0x1f80, "control words in ring 3")
}

pub(crate) fn switching(_: &BootInfo) -> Outcome {
    let (space, mut one) = program(CALL_FOREVER)?;
    // pcmpeqd xmm0, xmm0; movdqa xmm15, xmm0; fldpi; syscall; jmp .-2
    let code =
        [0x66, 0x0f, 0x76, 0xc0, 0x66, 0x44, 0x0f, 0x6f, 0xf8, 0xd9, 0xeb, 0x0f, 0x05, 0xeb, 0xfc];
    let (other_space, mut other) = program(&code)?;
    let (third_space, mut third) = program(CALL_FOREVER)?;
    for seed in 0..20 {
        check(one.set_vector_state(&pattern(seed)), "a good state was refused")?;
        check(third.set_vector_state(&pattern(seed + 50)), "a good state was refused")?;
        for _ in 0..3 {
            check(step(&mut one, &space) == Trap::Syscall, "one")?;
            check(step(&mut other, &other_space) == Trap::Syscall, "other")?;
            check(step(&mut third, &third_space) == Trap::Syscall, "third")?;
            check(same(&state(&mut one), &pattern(seed)), "the first thread's state changed")?;
            check(same(&state(&mut third), &pattern(seed + 50)), "the third's state changed")?;
        }
        let bytes = state(&mut other);
        let ones = |at: usize| bytes[at..at + 16].iter().all(|b| *b == 0xff);
        check(ones(XMM) && ones(XMM + 15 * 16), "the second thread's registers")?;
        check(bytes[XMM + 16..XMM + 32].iter().all(|b| *b == 0), "registers it never touched")?;
    }
    Ok(())
}

pub(crate) fn copies(_: &BootInfo) -> Outcome {
    let (space, mut parent) = program(CALL_FOREVER)?;
    check(parent.set_vector_state(&pattern(9)), "refused")?;
    check(step(&mut parent, &space) == Trap::Syscall, "parent")?;
    for _ in 0..50 {
        let mut child = parent.duplicate();
        check(child.registers == parent.registers, "the child's registers")?;
        check(step(&mut child, &space) == Trap::Syscall, "child")?;
        check(same(&state(&mut child), &pattern(9)), "the child's vector state")?;
        // Dropped while its state is in the registers; its memory is used again by the next.
        drop(child);
        let mut fresh = UserContext::new(super::user::TEXT, 0);
        check(step(&mut fresh, &space) == Trap::Syscall, "fresh")?;
        let clean = state(&mut fresh)[XMM..XMM + 256].iter().all(|b| *b == 0);
        check(clean, "a new thread sees another's registers")?;
        check(step(&mut parent, &space) == Trap::Syscall, "parent again")?;
        check(same(&state(&mut parent), &pattern(9)), "the parent's vector state")?;
    }
    Ok(())
}

pub(crate) fn hostile(_: &BootInfo) -> Outcome {
    let (space, mut context) = program(CALL_FOREVER)?;
    check(!context.set_vector_state(&[]), "an empty state was taken")?;
    check(!context.set_vector_state(&vec![0; vector_state_bytes() + 1]), "a long one was taken")?;
    let mut compact = pattern(1);
    compact[XSTATE_BV + 15] = 0x80;
    check(!context.set_vector_state(&compact), "a compacted state was taken")?;
    let mut all = vec![0xff; vector_state_bytes()];
    all[XSTATE_BV + 8..XSTATE_BV + 16].fill(0);
    check(context.set_vector_state(&all), "reserved bits were refused")?;
    // Unmasked exceptions wait for the next vector instruction: a system call is none.
    check(step(&mut context, &space) == Trap::Syscall, "hostile state")?;
    let bytes = state(&mut context);
    check(word(&bytes, MXCSR) & 0xffff_0000 == 0, "reserved MXCSR bits")?;
    // And again while it is in the registers.
    check(context.set_vector_state(&pattern(2)), "refused")?;
    check(step(&mut context, &space) == Trap::Syscall, "good state")?;
    check(same(&state(&mut context), &pattern(2)), "the new state did not arrive")?;
    context.reset_vector_state();
    let (_, mut fresh) = program(CALL_FOREVER)?;
    check(same(&state(&mut context), &state(&mut fresh)), "a state that was reset")?;
    check(step(&mut context, &space) == Trap::Syscall, "a state that was reset")?;
    check(same(&state(&mut context), &state(&mut fresh)), "the registers after a reset")
}
