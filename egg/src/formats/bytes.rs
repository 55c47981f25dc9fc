//! Numbers in files.

use anyhow::Context;

/// Bytes of a sector of every disk here.
pub(super) const SECTOR: usize = 512;

/// Writes `data` at `at`.
pub(super) fn put(file: &mut [u8], at: usize, data: &[u8]) -> anyhow::Result<()> {
    let place = file.get_mut(at..).and_then(|rest| rest.get_mut(..data.len()));
    place.context("an image is too small for what belongs into it")?.copy_from_slice(data);
    Ok(())
}

/// `N` bytes at `at`; `None` beyond the end.
pub(super) fn array<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..)?.first_chunk().copied()
}

/// A little-endian number.
pub(super) fn u16_at(file: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(array(file, at)?)))
}

/// A little-endian number.
pub(super) fn u32_at(file: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(array(file, at)?)).ok()
}

/// A little-endian number.
pub(super) fn u64_at(file: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array(file, at)?))
}

/// `length` bytes at `at`; `None` beyond the end.
pub(super) fn range(file: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    file.get(at..at.checked_add(length)?)
}

/// True when there is nothing but zeros, which files with holes leave out.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
