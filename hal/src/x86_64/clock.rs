//! Time from the time-stamp counter, and the local APIC's timer.

use super::features::{self, Feature};
use super::instructions::read_tsc;
use super::{apic, calibration, percpu, wall};
use crate::types::VdsoParameters;
use base::{Instant, WallTime};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Fixed-point position of the factors below.
const SHIFT: u32 = 32;
const NEVER: u64 = u64::MAX;

/// The counter at [`Instant::ZERO`].
static TSC_BASE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per tick of the counter, `<< SHIFT`.
static NANOSECONDS_PER_TICK: AtomicU64 = AtomicU64::new(1 << SHIFT);
/// Ticks of the counter per nanosecond, `<< SHIFT`.
static TICKS_PER_NANOSECOND: AtomicU64 = AtomicU64::new(1 << SHIFT);
/// Ticks of the APIC timer per nanosecond, `<< SHIFT`.
static TIMER_PER_NANOSECOND: AtomicU64 = AtomicU64::new(1 << SHIFT);
static WALL_AT_ZERO: AtomicU64 = AtomicU64::new(0);

fn scale(value: u64, factor: u64) -> u64 {
    ((u128::from(value) * u128::from(factor)) >> SHIFT) as u64
}

/// `numerator / denominator << SHIFT`.
fn ratio(numerator: u64, denominator: u64) -> u64 {
    ((u128::from(numerator) << SHIFT) / u128::from(denominator.max(1))) as u64
}

/// Sets the clocks. `start`: the counter when the machine started.
pub(super) fn init(start: u64, command_line: &str) {
    let rates = calibration::rates(command_line);
    TSC_BASE.store(start, Relaxed);
    NANOSECONDS_PER_TICK.store(ratio(1_000_000_000, rates.tsc), Relaxed);
    TICKS_PER_NANOSECOND.store(ratio(rates.tsc, 1_000_000_000), Relaxed);
    TIMER_PER_NANOSECOND.store(ratio(rates.timer, 1_000_000_000), Relaxed);
    // The sources tell the time now.
    let wall = wall::now(command_line).saturating_sub(now().nanoseconds());
    WALL_AT_ZERO.store(wall, Relaxed);
}

/// The monotonic clock.
#[must_use]
#[inline]
pub fn now() -> Instant {
    // Another processor's counter may be a few ticks behind the one that started.
    let ticks = read_tsc().saturating_sub(TSC_BASE.load(Relaxed));
    Instant::from_nanoseconds(scale(ticks, NANOSECONDS_PER_TICK.load(Relaxed)))
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
///
/// The hardware is only told about a deadline that is earlier than the one it has: an interrupt
/// that comes too early costs less than telling it each time, and arms the right one.
#[inline]
pub fn arm(deadline: Option<Instant>) {
    let cpu = percpu::this();
    let deadline = deadline.map_or(NEVER, Instant::nanoseconds);
    cpu.armed.set(deadline);
    if deadline < cpu.timer.get() {
        program(deadline);
    }
}

/// Asks for a timer interrupt at `deadline` unless one was asked for that comes earlier.
#[inline]
pub fn arm_sooner(deadline: Instant) {
    if deadline.nanoseconds() < percpu::this().armed.get() {
        arm(Some(deadline));
    }
}

/// Tells the hardware, as much earlier as its interrupts come late.
fn program(deadline: u64) {
    let cpu = percpu::this();
    let now = now().nanoseconds();
    let fires = deadline.saturating_sub(cpu.lateness.get().early()).max(now);
    cpu.timer.set(deadline);
    cpu.fires.set(fires);
    if features::has(Feature::TscDeadline) {
        let ticks = scale(fires, TICKS_PER_NANOSECOND.load(Relaxed));
        // One more: the multiplication rounded down. 0 would mean "never".
        apic::arm_deadline(TSC_BASE.load(Relaxed).saturating_add(ticks).saturating_add(1));
        return;
    }
    let ticks = scale(fires - now, TIMER_PER_NANOSECOND.load(Relaxed)).saturating_add(1);
    // A deadline beyond the counter's range is armed again from `fired`.
    apic::arm_count(u32::try_from(ticks).unwrap_or(u32::MAX));
}

/// The timer interrupt.
pub(super) fn fired() {
    let cpu = percpu::this();
    let now = now().nanoseconds();
    // One that the counter's range cut short says nothing.
    if let Some(late) = now.checked_sub(cpu.fires.get()) {
        cpu.lateness.set(cpu.lateness.get().after(late));
    }
    cpu.timer.set(NEVER);
    let deadline = cpu.armed.get();
    if deadline == NEVER {
        return;
    }
    if now < deadline {
        program(deadline);
    } else {
        cpu.armed.set(NEVER);
    }
}
