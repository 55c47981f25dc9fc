//! Counters whose rate is known, to measure others by: HPET, ACPI's timer, the 8254.

use super::instructions::Port;
use super::paging;
use crate::rates::Reference;
use base::PAGE_SIZE;
use base::sync::Once;

/// Registers of the HPET: physical address.
static EVENT_TIMERS: Once<u64> = Once::new();
/// ACPI's timer: port, and whether it has 32 bits.
static ACPI_TIMER: Once<(u16, bool)> = Once::new();

/// The tables name an HPET.
pub(super) fn set_event_timers(address: u64) {
    EVENT_TIMERS.call_once(|| address);
}

/// The tables name ACPI's timer.
pub(super) fn set_acpi_timer(timer: (u16, bool)) {
    ACPI_TIMER.call_once(|| timer);
}

/// A counter that can be read.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    EventTimers(*const u32),
    AcpiTimer(Port),
    Interval,
}

impl Counter {
    /// What it shows.
    pub(super) fn read(self) -> u64 {
        const MAIN_COUNTER: usize = 0xf0;
        match self {
            Self::EventTimers(registers) => {
                // SAFETY: the registers are mapped; reading them does nothing else.
                u64::from(unsafe { registers.byte_add(MAIN_COUNTER).read_volatile() })
            }
            Self::AcpiTimer(port) => u64::from(port.read32()),
            Self::Interval => interval(),
        }
    }
}

/// A counter, its rate, and what people are told of it.
type Found = (Counter, Reference, &'static str);

/// Those that there are, the best first, and what people call them.
pub(super) fn all() -> impl Iterator<Item = Found> {
    let found: [fn() -> Option<Found>; 3] = [event_timers, acpi_timer, interval_timer];
    found.into_iter().filter_map(|find| find())
}

/// The main counter of the HPET, its lower half (IA-PC HPET 1.0a, 2.3.4 to 2.3.7).
fn event_timers() -> Option<Found> {
    const PERIOD: usize = 4;
    const CONFIGURATION: usize = 0x10;
    const ENABLED: u32 = 1;
    const FEMTOSECONDS: u64 = 1_000_000_000_000_000;
    /// No slower, and not so fast that the lower half would soon begin anew.
    const PERIODS: core::ops::RangeInclusive<u32> = 1_000_000..=100_000_000;
    let registers = paging::map_device(*EVENT_TIMERS.get()?, PAGE_SIZE)?.cast::<u32>();
    // SAFETY: the registers are mapped. Nothing but counting is switched on.
    let period = unsafe {
        let configuration = registers.byte_add(CONFIGURATION);
        configuration.write_volatile(configuration.read_volatile() | ENABLED);
        registers.byte_add(PERIOD).read_volatile()
    };
    let mask = u64::from(u32::MAX);
    let reference = Reference { numerator: FEMTOSECONDS, denominator: u64::from(period), mask };
    PERIODS.contains(&period).then_some((
        Counter::EventTimers(registers),
        reference,
        "measured by the HPET",
    ))
}

/// A third of the colour carrier's fourfold frequency, 315/88 MHz: 3.58 MHz (ACPI 6.5, 4.8.3.3).
fn acpi_timer() -> Option<Found> {
    let (port, wide) = *ACPI_TIMER.get()?;
    // SAFETY: the timer only counts.
    let port = unsafe { Port::at(port) };
    let mask = if wide { u64::from(u32::MAX) } else { 0x00ff_ffff };
    let reference = Reference { numerator: 39_375_000, denominator: 11, mask };
    Some((Counter::AcpiTimer(port), reference, "measured by ACPI's timer"))
}

/// Channel 2 of the 8254, which may drive the speaker: a third of the above.
fn interval_timer() -> Option<Found> {
    /// Channel 2, both bytes, counts down from 65536 again and again.
    const GENERATE: u8 = 0b1011_0100;
    // SAFETY: the timer and its gate drive nothing but the speaker.
    let (gate, command, channel) = unsafe { (Port::at(0x61), Port::at(0x43), Port::at(0x42)) };
    gate.write8(gate.read8() & !2 | 1);
    command.write8(GENERATE);
    channel.write8(0);
    channel.write8(0);
    let reference = Reference { numerator: 13_125_000, denominator: 11, mask: 0xffff };
    Some((Counter::Interval, reference, "measured by the 8254"))
}

fn interval() -> u64 {
    const LATCH: u8 = 0b1000_0000;
    // SAFETY: as above.
    let (command, channel) = unsafe { (Port::at(0x43), Port::at(0x42)) };
    command.write8(LATCH);
    let count = u16::from_le_bytes([channel.read8(), channel.read8()]);
    // It counts down.
    u64::from(!count)
}
