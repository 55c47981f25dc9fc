//! Processors. They take turns: a test says which one takes the next step.

use base::CpuId;
use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<u32> = const { Cell::new(0) };
    static COUNT: Cell<u32> = const { Cell::new(1) };
    static KICKED: Cell<u64> = const { Cell::new(0) };
}

/// The processor this code runs on.
#[must_use]
pub fn current() -> CpuId {
    CpuId(CURRENT.get())
}

/// How many processors are up.
#[must_use]
pub fn count() -> u32 {
    COUNT.get()
}

/// Interrupts another processor: it leaves the program or [`idle`], and looks what there is to do.
pub fn kick(cpu: CpuId) {
    KICKED.set(KICKED.get() | cpu.bit());
}

pub(super) fn set_count(count: u32) {
    COUNT.set(count);
    CURRENT.set(0);
    KICKED.set(0);
}

pub(super) fn switch_to(cpu: CpuId) {
    CURRENT.set(cpu.0);
}

pub(super) fn take_kicked() -> u64 {
    KICKED.take()
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
