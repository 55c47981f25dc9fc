//! Copies to and from the program's memory.
//!
//! They run on the program's page tables. A load or store that faults goes on at the continuation
//! that the exception table (`.extable`, see [`super::trap`]) has for it.

use super::space::AddressSpace;
use super::trap::guarded;
use super::wide::{self, wide_from};
use super::{features, presence};
use crate::types::UserFault;
use base::UserAddr;
use base::address::USER_END;
use core::arch::naked_asm;

/// Opens user memory to the kernel until `close!`.
macro_rules! open {
    () => {
        "cmp byte ptr [rip + {smap}], 0\nje 90f\nstac\n90:"
    };
}

macro_rules! close {
    () => {
        "cmp byte ptr [rip + {smap}], 0\nje 91f\nclac\n91:"
    };
}

/// Copies and returns how many bytes were left when it stopped.
#[unsafe(naked)]
unsafe extern "C" fn copy(to: *mut u8, from: *const u8, bytes: usize) -> usize {
    naked_asm!(
        open!(),
        concat!("cmp rdx, ", wide_from!()),
        "jb 30f",
        "cmp byte ptr [rip + {fast}], 0",
        "je 27f",
        "mov rcx, rdx",
        guarded!("20", "rep movsb", "21f"),
        "21: mov rdx, rcx",
        "jmp 60f",
        "27: cmp byte ptr [rip + {wide}], 0",
        "je 30f",
        "call {copy_wide}",
        "jmp 30f",
        "25: add rdx, 64",
        "jmp 40f",
        // 64 bytes at a time, then 32. After a fault smaller steps find the exact byte.
        "30: sub rdx, 64",
        "jb 26f",
        guarded!("71", "mov rax, [rsi]", "25b"),
        guarded!("72", "mov rcx, [rsi + 8]", "25b"),
        guarded!("73", "mov r8, [rsi + 16]", "25b"),
        guarded!("74", "mov r9, [rsi + 24]", "25b"),
        guarded!("75", "mov r10, [rsi + 32]", "25b"),
        guarded!("76", "mov r11, [rsi + 40]", "25b"),
        guarded!("77", "mov [rdi], rax", "25b"),
        guarded!("78", "mov [rdi + 8], rcx", "25b"),
        guarded!("79", "mov rax, [rsi + 48]", "25b"),
        guarded!("80", "mov rcx, [rsi + 56]", "25b"),
        guarded!("81", "mov [rdi + 16], r8", "25b"),
        guarded!("82", "mov [rdi + 24], r9", "25b"),
        guarded!("83", "mov [rdi + 32], r10", "25b"),
        guarded!("84", "mov [rdi + 40], r11", "25b"),
        guarded!("85", "mov [rdi + 48], rax", "25b"),
        guarded!("86", "mov [rdi + 56], rcx", "25b"),
        "add rsi, 64",
        "add rdi, 64",
        "sub rdx, 64",
        "jae 71b",
        "26: add rdx, 64",
        "cmp rdx, 32",
        "jb 40f",
        guarded!("31", "mov rax, [rsi]", "40f"),
        guarded!("32", "mov rcx, [rsi + 8]", "40f"),
        guarded!("33", "mov r8, [rsi + 16]", "40f"),
        guarded!("34", "mov r9, [rsi + 24]", "40f"),
        guarded!("35", "mov [rdi], rax", "40f"),
        guarded!("36", "mov [rdi + 8], rcx", "40f"),
        guarded!("37", "mov [rdi + 16], r8", "40f"),
        guarded!("38", "mov [rdi + 24], r9", "40f"),
        "add rsi, 32",
        "add rdi, 32",
        "sub rdx, 32",
        "40: cmp rdx, 8",
        "jb 50f",
        guarded!("41", "mov rax, [rsi]", "50f"),
        guarded!("42", "mov [rdi], rax", "50f"),
        "add rsi, 8",
        "add rdi, 8",
        "sub rdx, 8",
        "jmp 40b",
        "50: test rdx, rdx",
        "jz 60f",
        guarded!("51", "mov al, [rsi]", "60f"),
        guarded!("52", "mov [rdi], al", "60f"),
        "inc rsi",
        "inc rdi",
        "dec rdx",
        "jmp 50b",
        "60:",
        close!(),
        "mov rax, rdx",
        "ret",
        smap = sym features::SMAP,
        fast = sym features::FAST_STRINGS,
        wide = sym wide::USABLE,
        copy_wide = sym wide::copy,
    )
}

/// A value, or that there is none.
#[repr(C)]
struct Loaded {
    value: u64,
    faulted: u64,
}

#[unsafe(naked)]
unsafe extern "C" fn load(from: *const u32) -> Loaded {
    naked_asm!(
        open!(),
        "mov edx, 1",
        guarded!("20", "mov eax, [rdi]", "30f"),
        "xor edx, edx",
        "30:",
        close!(),
        "ret",
        smap = sym features::SMAP,
    )
}

#[unsafe(naked)]
unsafe extern "C" fn compare_exchange(at: *mut u32, expected: u32, new: u32) -> Loaded {
    naked_asm!(
        open!(),
        "mov eax, esi",
        "mov ecx, edx",
        "mov edx, 1",
        guarded!("20", "lock cmpxchg [rdi], ecx", "30f"),
        "xor edx, edx",
        "30:",
        close!(),
        "ret",
        smap = sym features::SMAP,
    )
}

/// How many of `length` bytes from `address` lie in user memory.
fn reachable(address: UserAddr, length: usize) -> usize {
    let room = USER_END.saturating_sub(address.0);
    if length as u64 > room { room as usize } else { length }
}

fn outcome(address: UserAddr, copied: usize, length: usize) -> Result<(), UserFault> {
    if copied == length {
        return Ok(());
    }
    Err(UserFault { address: address.wrapping_add(copied as u64), copied })
}

/// Copies from the program's memory.
///
/// # Errors
/// Where the copy stopped.
#[inline]
pub fn copy_from_user(
    space: &AddressSpace,
    into: &mut [u8],
    from: UserAddr,
) -> Result<(), UserFault> {
    let length = into.len();
    let allowed = reachable(from, length);
    space.enter();
    // SAFETY: writes at most `allowed <= into.len()` bytes to `into`; loads from user memory, which
    // is all that `from..from + allowed` can be, may fault and are then given up.
    let left = unsafe { copy(into.as_mut_ptr(), from.0 as *const u8, allowed) };
    presence::leave();
    outcome(from, allowed - left, length)
}

/// Copies to the program's memory.
///
/// # Errors
/// Where the copy stopped.
#[inline]
pub fn copy_to_user(space: &AddressSpace, to: UserAddr, from: &[u8]) -> Result<(), UserFault> {
    let allowed = reachable(to, from.len());
    space.enter();
    // SAFETY: reads at most `allowed <= from.len()` bytes; stores go to user memory, of which Rust
    // holds no reference.
    let left = unsafe { copy(to.0 as *mut u8, from.as_ptr(), allowed) };
    presence::leave();
    outcome(to, allowed - left, from.len())
}

/// Loads an aligned 32-bit word atomically (futex).
///
/// # Errors
/// The page does not allow it.
pub fn load_u32(space: &AddressSpace, from: UserAddr) -> Result<u32, UserFault> {
    if reachable(from, 4) < 4 {
        return Err(UserFault { address: from, copied: 0 });
    }
    space.enter();
    // SAFETY: a load from user memory that may fault.
    let loaded = unsafe { load(from.0 as *const u32) };
    presence::leave();
    finish(from, &loaded)
}

/// Replaces an aligned 32-bit word by `new` if it holds `expected`; returns what it held.
///
/// # Errors
/// The page does not allow it.
pub fn compare_exchange_u32(
    space: &AddressSpace,
    at: UserAddr,
    expected: u32,
    new: u32,
) -> Result<u32, UserFault> {
    if reachable(at, 4) < 4 {
        return Err(UserFault { address: at, copied: 0 });
    }
    space.enter();
    // SAFETY: an access to user memory that may fault.
    let loaded = unsafe { compare_exchange(at.0 as *mut u32, expected, new) };
    presence::leave();
    finish(at, &loaded)
}

fn finish(at: UserAddr, loaded: &Loaded) -> Result<u32, UserFault> {
    if loaded.faulted != 0 {
        return Err(UserFault { address: at, copied: 0 });
    }
    Ok(loaded.value as u32)
}
