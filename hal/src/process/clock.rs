//! Time from the time-stamp counter, which the program's vDSO reads too, and a POSIX timer.

use super::{processor, trap};
use crate::types::VdsoParameters;
use base::{Instant, WallTime};
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::io;
use std::time::{self, SystemTime};

/// Fixed-point position of the factor below.
const SHIFT: u32 = 32;
const NEVER: u64 = u64::MAX;
/// How long the counter is compared with Linux's clock: an error of 100 ns is then 5 in a million.
const COMPARED: Duration = Duration::from_millis(20);

/// The counter at [`Instant::ZERO`].
static TSC_BASE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per tick of the counter, `<< SHIFT`.
static NANOSECONDS_PER_TICK: AtomicU64 = AtomicU64::new(1 << SHIFT);
static WALL_AT_ZERO: AtomicU64 = AtomicU64::new(0);

fn read_tsc() -> u64 {
    // SAFETY: both instructions exist on every x86-64 processor.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// The counter and Linux's clock at the same moment: the closest of a few readings.
fn both() -> (u64, time::Instant) {
    let reading = || {
        let before = read_tsc();
        let clock = time::Instant::now();
        let after = read_tsc();
        (after - before, before + (after - before) / 2, clock)
    };
    let closest = (0..16).map(|_| reading()).min_by_key(|(taken, ..)| *taken);
    let (_, tsc, clock) = closest.unwrap_or_else(reading);
    (tsc, clock)
}

/// Measures the counter's frequency and sets the clocks.
pub(super) fn init() {
    let (start, started) = both();
    std::thread::sleep(COMPARED);
    let (end, ended) = both();
    let nanoseconds = (ended - started).as_nanos();
    let factor = (nanoseconds << SHIFT) / u128::from((end - start).max(1));
    TSC_BASE.store(start, Relaxed);
    NANOSECONDS_PER_TICK.store(factor as u64, Relaxed);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wall = (since_epoch.as_nanos() as u64).saturating_sub(now().nanoseconds());
    WALL_AT_ZERO.store(wall, Relaxed);
}

/// The monotonic clock.
#[must_use]
pub fn now() -> Instant {
    let ticks = read_tsc().saturating_sub(TSC_BASE.load(Relaxed));
    let scaled = u128::from(ticks) * u128::from(NANOSECONDS_PER_TICK.load(Relaxed));
    Instant::from_nanoseconds((scaled >> SHIFT) as u64)
}

/// The wall clock at `instant`.
#[must_use]
pub fn wall(instant: Instant) -> WallTime {
    WallTime { nanoseconds: WALL_AT_ZERO.load(Relaxed).saturating_add(instant.nanoseconds()) }
}

/// What the vDSO needs.
#[must_use]
pub fn vdso_parameters() -> VdsoParameters {
    VdsoParameters {
        tsc_base: TSC_BASE.load(Relaxed),
        multiplier: NANOSECONDS_PER_TICK.load(Relaxed),
        shift: SHIFT,
        wall_at_zero: WALL_AT_ZERO.load(Relaxed),
    }
}

/// Asks for a timer interrupt at `deadline`; replaces the earlier request. `None`: no interrupt.
/// Linux is only told when the program is entered before it.
pub fn arm(deadline: Option<Instant>) {
    processor::this().armed.set(deadline.map_or(NEVER, Instant::nanoseconds));
}

/// Asks for a timer interrupt at `deadline` unless one was asked for that comes earlier.
pub fn arm_sooner(deadline: Instant) {
    let armed = &processor::this().armed;
    armed.set(armed.get().min(deadline.nanoseconds()));
}

/// How long it is until the armed deadline.
pub(super) fn until_armed() -> Option<Duration> {
    let armed = processor::this().armed.get();
    (armed != NEVER).then(|| Instant::from_nanoseconds(armed).saturating_since(now()))
}

/// Forgets the deadline if it is over.
pub(super) fn note_due() {
    let armed = &processor::this().armed;
    if armed.get() <= now().nanoseconds() {
        armed.set(NEVER);
    }
}

/// Makes Linux's timer fire at the armed deadline, or sooner: one that comes too early costs less
/// than telling it each time.
pub(super) fn start_timer() -> io::Result<()> {
    let cpu = processor::this();
    let deadline = cpu.armed.get();
    if deadline < cpu.timer_fires.get() {
        cpu.timer_fires.set(deadline);
        let left = Instant::from_nanoseconds(deadline).saturating_since(now());
        trap::set_timer(left.max(Duration::from_nanos(1)))?;
    }
    Ok(())
}

/// The timer's signal came.
pub(super) fn timer_fired() {
    processor::this().timer_fires.set(NEVER);
    note_due();
}
