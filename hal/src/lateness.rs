//! How late timer interrupts come, and so how early to ask for them.
//!
//! From the moment that the timer was told to the handler time passes: a processor leaves its rest, a hypervisor
//! wakes a thread of its host first (50 µs in an emulator). What passes at the least is known from the interrupts
//! before, so the timer is told a time that much earlier (KVM does the same for its guests: `lapic_timer_advance`).

/// Interrupts of which the one that was least late counts.
const WINDOW: u8 = 32;
/// No earlier than this, in nanoseconds: what is later came from something else.
const EARLY_MAX: u32 = 100_000;

/// The last interrupts of one processor's timer, in nanoseconds.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Lateness {
    early: u32,
    shortest: u32,
    seen: u8,
}

impl Lateness {
    /// None was seen.
    pub(crate) const fn new() -> Self {
        Self { early: 0, shortest: EARLY_MAX, seen: 0 }
    }

    /// How many nanoseconds before the deadline the timer is to fire.
    pub(crate) fn early(self) -> u64 {
        u64::from(self.early)
    }

    /// One came so many nanoseconds after the time that the timer was told. One that came sooner than was
    /// counted on came too early: that counts at once. A window of later ones is believed but for an eighth.
    #[must_use]
    pub(crate) fn after(self, late: u64) -> Self {
        let late = u32::try_from(late).unwrap_or(u32::MAX);
        let Self { early, shortest, seen } = self;
        let (early, shortest, seen) = (early.min(late), shortest.min(late), seen + 1);
        if seen < WINDOW {
            return Self { early, shortest, seen };
        }
        Self { early: early.max(shortest - shortest / 8), ..Self::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(from: Lateness, late: impl IntoIterator<Item = u64>) -> Lateness {
        late.into_iter().fold(from, Lateness::after)
    }

    #[test]
    fn the_timer_is_told_as_early_as_all_were_late() {
        let few = after(Lateness::new(), [40_000; WINDOW as usize - 1]);
        assert_eq!(few.early(), 0);
        assert_eq!(after(few, [90_000]).early(), 35_000);
        // Never by more than chance can be told from.
        assert_eq!(after(Lateness::new(), [u64::MAX; WINDOW as usize]).early(), 87_500);
    }

    #[test]
    fn one_that_comes_too_early_is_the_last() {
        let known = after(Lateness::new(), [40_000; WINDOW as usize]);
        let less = known.after(8_000);
        assert_eq!(less.early(), 8_000);
        // It still counts in its own window, and is forgotten with the next.
        let window = after(less, [40_000; WINDOW as usize - 1]);
        assert_eq!(window.early(), 8_000);
        assert_eq!(after(window, [40_000; WINDOW as usize]).early(), 35_000);
    }
}
