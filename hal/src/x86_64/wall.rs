//! What time it is in the world: from the command line (`wall=<nanoseconds since 1970>`), else from
//! KVM, else from the battery-backed clock (which knows whole seconds only).

use super::calibration::parameter;
use super::instructions::Port;
use super::kvm;
use base::sync::Once;

/// 2026-01-01T00:00:00Z: better than 1970 when nothing knows.
const FALLBACK: u64 = 1_767_225_600;

/// Who told the time.
static SOURCE: Once<&str> = Once::new();

/// Who told the time, for people to see.
pub(super) fn source() -> &'static str {
    SOURCE.get().unwrap_or(&"not asked")
}

/// Nanoseconds since 1970-01-01T00:00:00Z.
pub(super) fn now(command_line: &str) -> u64 {
    let seconds = |seconds: u64| seconds.saturating_mul(1_000_000_000);
    let told = |source: &'static str| move |time| (time, source);
    let (time, source) = parameter(command_line, "wall=")
        .map(told("the command line"))
        .or_else(|| kvm::wall().map(told("KVM")))
        .or_else(|| battery_clock().map(seconds).map(told("battery-backed clock")))
        .unwrap_or((seconds(FALLBACK), "none: 2026 begins"));
    SOURCE.call_once(|| source);
    time
}

// Registers of the MC146818.
const SECONDS: u8 = 0;
const MINUTES: u8 = 2;
const HOURS: u8 = 4;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 10;
const STATUS_B: u8 = 11;
const CENTURY: u8 = 0x32;
const UPDATING: u8 = 0x80;
const BINARY: u8 = 4;
const HOURS_24: u8 = 2;
const PM: u8 = 0x80;

fn read(register: u8) -> u8 {
    // SAFETY: the clock touches nothing else. Bit 7 would switch NMI off.
    let (select, data) = unsafe { (Port::at(0x70), Port::at(0x71)) };
    select.write8(register);
    data.read8()
}

/// Seconds since 1970, `None` when there is no clock or it shows nonsense.
fn battery_clock() -> Option<u64> {
    const TRIES: u32 = 100_000;
    if read(STATUS_A) == 0xff {
        return None;
    }
    let registers = [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, CENTURY];
    for _ in 0..TRIES {
        if read(STATUS_A) & UPDATING != 0 {
            continue;
        }
        let first = registers.map(read);
        if read(STATUS_A) & UPDATING == 0 && registers.map(read) == first {
            return convert(first, read(STATUS_B));
        }
    }
    None
}

fn convert(raw: [u8; 7], status: u8) -> Option<u64> {
    let plain = |value: u8| {
        let value = if status & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 15) };
        u64::from(value)
    };
    let [seconds, minutes, raw_hours, day, month, year, century] = raw;
    let mut hours = plain(raw_hours & !PM);
    if status & HOURS_24 == 0 {
        hours = hours % 12 + if raw_hours & PM != 0 { 12 } else { 0 };
    }
    let century = Some(plain(century)).filter(|c| (19..=21).contains(c)).unwrap_or(20);
    let year = century * 100 + plain(year);
    let (month, day) = (plain(month), plain(day));
    let (minutes, seconds) = (plain(minutes), plain(seconds));
    let valid = (1970..2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hours < 24
        && minutes < 60
        && seconds < 61;
    valid.then(|| days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March here, so that
/// the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}
