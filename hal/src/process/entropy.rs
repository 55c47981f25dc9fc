//! Seeds: from Linux.

/// Fills `seed` from every source there is. Returns true when a generator that cannot be guessed
/// took part.
pub fn seed(seed: &mut [u8]) -> bool {
    // SAFETY: writes at most `seed.len()` bytes.
    let count = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    usize::try_from(count).is_ok_and(|count| count == seed.len())
}
