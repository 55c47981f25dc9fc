//! Copies to and from the program's memory, by way of the frames: the kernel touches no address of the
//! program's.

use super::memory::Frame;
use super::space::AddressSpace;
use crate::types::{PageProtection, UserFault};
use base::{PAGE_SIZE, UserAddr};
use core::sync::atomic::Ordering;

/// Cuts `address..address + length` into pieces of pages; `each` gets the frame, the offset in it,
/// what was done before, and the piece's length.
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
        space
            .with_frame(at, need, |frame| each(frame, offset, copied, count))
            .ok_or(UserFault { address: at, copied })?;
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
    let offset = from.page_offset() as usize;
    let load = |frame: &Frame| frame.word(offset).map(|word| word.load(Ordering::SeqCst));
    space
        .with_frame(from, PageProtection::READ, load)
        .flatten()
        .ok_or(UserFault { address: from, copied: 0 })
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
    let offset = at.page_offset() as usize;
    let exchange = |frame: &Frame| {
        let word = frame.word(offset)?;
        let result = word.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst);
        Some(result.unwrap_or_else(|held| held))
    };
    space
        .with_frame(at, PageProtection::WRITE, exchange)
        .flatten()
        .ok_or(UserFault { address: at, copied: 0 })
}
