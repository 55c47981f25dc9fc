//! The simulated machine has one processor.

use base::CpuId;

/// The processor this code runs on.
#[must_use]
pub fn current() -> CpuId {
    CpuId(0)
}

/// How many processors are up.
#[must_use]
pub fn count() -> u32 {
    1
}

/// Waits for an interrupt: virtual time jumps to the armed deadline, if there is one.
pub fn idle() {
    if let Some(deadline) = super::clock::armed() {
        super::clock::set(deadline.max(super::clock::now()));
        super::clock::arm(None);
    }
}

/// AT_HWCAP and AT_HWCAP2 as Linux gives them.
#[must_use]
pub fn capabilities() -> (u64, u64) {
    (0, 0)
}
