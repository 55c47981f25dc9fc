//! How fast the time-stamp counter and the APIC timer run.
//!
//! In order: what the command line says (`tsc=<hertz>`), KVM's clock page, the hypervisor's and the
//! processor's CPUID leaves; else it is measured, under QEMU's emulator against the APIC timer,
//! which there counts nanoseconds exactly, elsewhere against the best of the [`references`].

use super::instructions::{cpuid, read_tsc};
use super::{apic, features, kvm, references};
use crate::rates::{self, Rates, Reading};
use base::sync::{Once, SpinLock};

/// What both counters showed at one moment.
#[derive(Clone, Copy)]
struct Sample {
    tsc: u64,
    timer: u32,
}

/// Under QEMU's emulator and KVM the APIC timer counts nanoseconds.
const EMULATED_TIMER: u64 = 1_000_000_000;
const MEASURE_TICKS: u32 = 1_000_000;
const WAIT_LIMIT: u32 = 20_000_000;

static FIRST: SpinLock<Option<Sample>> = SpinLock::new(None);
/// What was found, where, and by how many millionths it may be off where that is known.
static FOUND: Once<(Rates, &str, Option<u64>)> = Once::new();

/// The rates, where they come from, and by how many millionths they may be off, for people to see.
pub(super) fn found() -> Option<(Rates, &'static str, Option<u64>)> {
    FOUND.get().copied()
}

/// Takes the first sample early, so that the second need not wait long. The APIC is on.
pub(super) fn begin() {
    apic::arm_count(u32::MAX);
    *FIRST.lock() = Some(sample());
}

/// The best of some tries: the one whose two readings lie closest together. Under QEMU a reading
/// takes long while the emulator's main thread is busy, as it is at the start.
fn sample() -> Sample {
    const ENOUGH: u32 = 4;
    const TRIES: u32 = 128;
    const CLOSE: u64 = 1000;
    let mut best = Sample { tsc: 0, timer: 0 };
    let mut shortest = u64::MAX;
    for attempt in 0..TRIES {
        if attempt >= ENOUGH && shortest < CLOSE {
            break;
        }
        let before = read_tsc();
        let timer = apic::count();
        let span = read_tsc().wrapping_sub(before);
        if span < shortest {
            shortest = span;
            best = Sample { tsc: before + span / 2, timer };
        }
    }
    best
}

/// Finds the rates. After this the APIC timer is free.
pub(super) fn rates(command_line: &str) -> Rates {
    let (rates, source, error) = find(command_line);
    apic::arm_count(0);
    // Nothing real is slower than 1 MHz or faster than 1 THz: a wrong word must not stop the clock.
    let sane = |rate: u64| rate.clamp(1_000_000, 1_000_000_000_000);
    let rates = Rates { tsc: sane(rates.tsc), timer: sane(rates.timer) };
    FOUND.call_once(|| (rates, source, error));
    rates
}

/// Says where something was found.
fn by<T>(source: &'static str) -> impl Fn(T) -> (T, &'static str) {
    move |found| (found, source)
}

fn find(command_line: &str) -> (Rates, &'static str, Option<u64>) {
    let hypervisor = features::hypervisor();
    let emulator = hypervisor == *b"TCGTCGTCGTCG";
    let kvm = hypervisor.starts_with(b"KVMKVMKVM");
    let told = parameter(command_line, "tsc=")
        .map(by("told by the command line"))
        .or_else(|| kvm::rate().map(by("told by KVM's clock")))
        .or_else(|| cpuid_rate().map(by("told by CPUID")));
    if let Some((tsc, source)) =
        told.filter(|_| emulator || kvm || features::has(features::Feature::TscDeadline))
    {
        return (Rates { tsc, timer: EMULATED_TIMER }, source, None);
    }
    let measured = if emulator {
        against_apic().map(|rates| (rates, "measured by the APIC timer", None))
    } else {
        against_references().map(|(rates, name, error)| (rates, name, Some(error)))
    };
    let guess = Rates { tsc: 1_000_000_000, timer: EMULATED_TIMER };
    let (measured, name, error) = measured.unwrap_or((guess, "nothing: a guess", None));
    match told {
        Some((tsc, source)) => (Rates { tsc, ..measured }, source, error),
        None => (measured, name, error),
    }
}

/// The number after `name` among the words of the command line.
pub(super) fn parameter(command_line: &str, name: &str) -> Option<u64> {
    command_line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name))?.parse().ok()
}

fn cpuid_rate() -> Option<u64> {
    let [highest, ..] = cpuid(0, 0);
    if features::hypervisor_leaves() >= 0x4000_0010 {
        let kilohertz = cpuid(0x4000_0010, 0)[0];
        if kilohertz != 0 {
            return Some(u64::from(kilohertz) * 1000);
        }
    }
    if highest >= 0x15 {
        let [denominator, numerator, crystal, _] = cpuid(0x15, 0);
        if denominator != 0 && numerator != 0 && crystal != 0 {
            return Some(u64::from(crystal) * u64::from(numerator) / u64::from(denominator));
        }
    }
    None
}

fn against_apic() -> Option<Rates> {
    let first = (*FIRST.lock())?;
    for _ in 0..WAIT_LIMIT {
        if first.timer.wrapping_sub(apic::count()) >= MEASURE_TICKS {
            let last = sample();
            let nanoseconds = u64::from(first.timer.wrapping_sub(last.timer));
            let ticks = last.tsc.wrapping_sub(first.tsc);
            let tsc = u128::from(ticks) * 1_000_000_000 / u128::from(nanoseconds.max(1));
            return Some(Rates { tsc: tsc as u64, timer: EMULATED_TIMER });
        }
        core::hint::spin_loop();
    }
    None
}

/// Measures both by the best counter that there is.
fn against_references() -> Option<(Rates, &'static str, u64)> {
    references::all().find_map(|(counter, reference, name)| {
        let read = || {
            let before = read_tsc();
            let (reference, timer) = (counter.read(), apic::count());
            let span = read_tsc().wrapping_sub(before);
            Reading { tsc: before.wrapping_add(span / 2), span, timer, reference }
        };
        let (rates, error) = rates::measure(&reference, read)?;
        Some((rates, name, error))
    })
}
