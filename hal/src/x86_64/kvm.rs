//! KVM's clocks (Linux: Documentation/virt/kvm/x86/msr.rst): how fast the time-stamp counter runs,
//! and what time it was in the world when the machine was made.

use super::features;
use super::instructions::{cpuid, read_tsc, write_msr};
use super::memory;
use base::sync::Once;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

const FEATURES_LEAF: u32 = 0x4000_0001;
/// The clock registers below exist.
const CLOCK_SOURCE_2: u32 = 1 << 3;
const MSR_WALL_CLOCK: u32 = 0x4b56_4d00;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
const SECOND: u64 = 1_000_000_000;

/// A page, as words, that the host fills in.
#[repr(C, align(64))]
struct Shared([AtomicU32; 8]);

static SYSTEM_TIME: Shared = Shared([const { AtomicU32::new(0) }; 8]);
static WALL_CLOCK: Shared = Shared([const { AtomicU32::new(0) }; 8]);

impl Shared {
    fn word(&self, at: usize) -> u32 {
        self.0.get(at).map_or(0, |word| word.load(SeqCst))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from(self.word(at + 1)) << 32 | u64::from(self.word(at))
    }
}

/// `struct pvclock_vcpu_time_info`: nanoseconds = `system_time` +
/// ((counter - `timestamp`) << `shift`) * `multiplier` >> 32.
#[derive(Clone, Copy)]
struct SystemTime {
    timestamp: u64,
    system_time: u64,
    multiplier: u32,
    shift: i32,
}

static CLOCK: Once<Option<SystemTime>> = Once::new();

/// True under KVM with these clocks.
fn is_offered() -> bool {
    features::hypervisor().starts_with(b"KVMKVMKVM")
        && cpuid(FEATURES_LEAF, 0)[0] & CLOCK_SOURCE_2 != 0
}

fn system_time() -> Option<SystemTime> {
    *CLOCK.call_once(|| {
        if !is_offered() {
            return None;
        }
        let page = memory::physical_of_image(&raw const SYSTEM_TIME as u64);
        // SAFETY: the register exists; the host writes to the words only, which are atomic and live
        // forever; it is told to stop right after.
        unsafe {
            write_msr(MSR_SYSTEM_TIME, page | 1);
            write_msr(MSR_SYSTEM_TIME, 0);
        }
        let shift = i32::from(SYSTEM_TIME.word(7) as i8);
        let clock = SystemTime {
            timestamp: SYSTEM_TIME.long(2),
            system_time: SYSTEM_TIME.long(4),
            multiplier: SYSTEM_TIME.word(6),
            shift,
        };
        (clock.multiplier != 0 && (-31..=31).contains(&shift)).then_some(clock)
    })
}

/// Ticks of the time-stamp counter per second.
pub(super) fn rate() -> Option<u64> {
    let clock = system_time()?;
    let rate = (u128::from(SECOND) << 64) / u128::from(clock.multiplier);
    u64::try_from(rate >> (32 + clock.shift)).ok()
}

/// Nanoseconds since 1970.
pub(super) fn wall() -> Option<u64> {
    let clock = system_time()?;
    let page = memory::physical_of_image(&raw const WALL_CLOCK as u64);
    // SAFETY: as above; the host writes once, at this instruction.
    unsafe { write_msr(MSR_WALL_CLOCK, page) };
    // struct pvclock_wall_clock: version, seconds, nanoseconds.
    let made = u64::from(WALL_CLOCK.word(1)).checked_mul(SECOND)?;
    let made = made.checked_add(u64::from(WALL_CLOCK.word(2))).filter(|time| *time >= SECOND)?;
    let ticks = u128::from(read_tsc().saturating_sub(clock.timestamp));
    let ticks = if clock.shift < 0 { ticks >> -clock.shift } else { ticks << clock.shift };
    let since = u64::try_from((ticks * u128::from(clock.multiplier)) >> 32).ok()?;
    made.checked_add(clock.system_time)?.checked_add(since)
}
