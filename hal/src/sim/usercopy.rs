//! Copies to and from the program's memory.
//!
//! A copy stops at the first page that does not allow it and says where; `mm` resolves the fault
//! (demand-zero, copy-on-write) and goes on from there.

use super::memory::Frame;
use super::space::AddressSpace;
use crate::types::{PageProtection, UserFault};
use base::{PAGE_SIZE, UserAddr};

fn pieces(
    space: &AddressSpace,
    address: UserAddr,
    length: usize,
    need: PageProtection,
    mut each: impl FnMut(&Frame, usize, usize, usize),
) -> Result<(), UserFault> {
    let mut copied = 0;
    while copied < length {
        let Some(at) = address.checked_add(copied as u64) else {
            return Err(UserFault { address: UserAddr(u64::MAX), copied });
        };
        let offset = at.page_offset() as usize;
        let count = (PAGE_SIZE as usize - offset).min(length - copied);
        match space.lookup(at) {
            Some((frame, protection)) if protection.contains(need) => {
                each(&frame, offset, copied, count);
            }
            _ => return Err(UserFault { address: at, copied }),
        }
        copied += count;
    }
    Ok(())
}

/// Copies from the program's memory.
///
/// # Errors
/// Where the copy stopped.
pub fn copy_from_user(
    space: &AddressSpace,
    into: &mut [u8],
    from: UserAddr,
) -> Result<(), UserFault> {
    let length = into.len();
    pieces(space, from, length, PageProtection::READ, |frame, offset, done, count| {
        frame.read(offset, &mut into[done..done + count]);
    })
}

/// Copies to the program's memory.
///
/// # Errors
/// Where the copy stopped.
pub fn copy_to_user(space: &AddressSpace, to: UserAddr, from: &[u8]) -> Result<(), UserFault> {
    pieces(space, to, from.len(), PageProtection::WRITE, |frame, offset, done, count| {
        frame.write(offset, &from[done..done + count]);
    })
}

/// Loads an aligned 32-bit word atomically (futex).
///
/// # Errors
/// The page does not allow it.
pub fn load_u32(space: &AddressSpace, from: UserAddr) -> Result<u32, UserFault> {
    let mut bytes = [0; 4];
    copy_from_user(space, &mut bytes, from)?;
    Ok(u32::from_le_bytes(bytes))
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
    // A load alone would not find that the page is read-only.
    let held = load_u32(space, at)?;
    let store = if held == expected { new } else { held };
    copy_to_user(space, at, &store.to_le_bytes())?;
    Ok(held)
}
