//! RLIMIT_AS and RLIMIT_DATA.

use crate::call::Call;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
use core::sync::atomic::Ordering;

/// Checks that `bytes` more may be mapped, in place of what is mapped at `replaced`. `data`: they
/// are private and writable. As `may_expand_vm` in mm/mmap.c of Linux.
///
/// # Errors
/// `ENOMEM`: not with these limits.
pub(crate) fn check(
    call: &Call<'_>,
    replaced: Option<PageRange>,
    bytes: u64,
    data: bool,
) -> Result<(), Errno> {
    let process = call.process();
    if !process.memory_limited.load(Ordering::Relaxed) {
        return Ok(());
    }
    let limits = *process.limits.lock();
    let (total_limit, data_limit) = (limits.address_space(), limits.data());
    let now = call.memory().statistics();
    let (gone, data_gone) = replaced.map_or((0, 0), |range| call.memory().mapped_bytes(range));
    let bytes = bytes.div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE);
    let fits = |mapped: u64, gone: u64, limit: u64| {
        let kept = mapped.saturating_sub(gone);
        kept.saturating_add(bytes) <= limit & !(PAGE_SIZE - 1)
    };
    let allowed = fits(now.virtual_bytes, gone, total_limit)
        && (!data || fits(now.data_bytes, data_gone, data_limit));
    if allowed { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// As [`check`], for a break that moves to `wanted`.
pub(crate) fn check_break(call: &Call<'_>, wanted: UserAddr) -> Result<(), Errno> {
    let current = call.memory().brk(UserAddr(0));
    check(call, None, wanted.0.saturating_sub(current.0), true)
}

/// As [`check`], for a mapping that grows from `old` bytes to `new` bytes.
pub(crate) fn check_growth(
    call: &Call<'_>,
    start: UserAddr,
    old: u64,
    new: u64,
) -> Result<(), Errno> {
    let data = PageRange::from_length(start, old)
        .is_some_and(|range| call.memory().mapped_bytes(range).1 > 0);
    check(call, None, new.saturating_sub(old), data)
}
