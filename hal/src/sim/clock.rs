//! Virtual time. It moves only when the test says so.

use crate::types::VdsoParameters;
use base::{Instant, WallTime};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    /// By processor.
    static ARMED: Cell<[u64; 64]> = const { Cell::new([u64::MAX; 64]) };
}

/// Wall time at [`Instant::ZERO`]: 2026-01-01T00:00:00Z.
const WALL_AT_START: u64 = 1_767_225_600_000_000_000;

/// The monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanoseconds(NOW.with(Cell::get))
}

/// The wall clock at `instant`.
#[must_use]
pub fn wall(instant: Instant) -> WallTime {
    WallTime { nanoseconds: WALL_AT_START + instant.nanoseconds() }
}

/// What the vDSO needs. Scripts do not run it: time stands still in it.
#[must_use]
pub fn vdso_parameters() -> VdsoParameters {
    VdsoParameters { tsc_base: 0, multiplier: 0, shift: 32, wall_at_zero: WALL_AT_START }
}

/// Asks for a timer interrupt at `deadline`; replaces the earlier request. `None`: no interrupt.
pub fn arm(deadline: Option<Instant>) {
    let mut armed = ARMED.get();
    armed[this()] = deadline.map_or(u64::MAX, Instant::nanoseconds);
    ARMED.set(armed);
}

/// Asks for a timer interrupt at `deadline` unless one was asked for that comes earlier.
pub fn arm_sooner(deadline: Instant) {
    if armed().is_none_or(|armed| deadline < armed) {
        arm(Some(deadline));
    }
}

fn this() -> usize {
    super::cpu::current().0 as usize % 64
}

/// The deadline of this processor's armed timer.
pub(super) fn armed() -> Option<Instant> {
    let nanoseconds = ARMED.get()[this()];
    (nanoseconds != u64::MAX).then(|| Instant::from_nanoseconds(nanoseconds))
}

pub(super) fn set(now: Instant) {
    NOW.with(|cell| cell.set(now.nanoseconds()));
}
