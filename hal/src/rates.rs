//! How fast a counter runs, measured beside one whose rate is known. The arithmetic, and what is read
//! when; the counters themselves are the caller's.

/// A counter whose rate is known: it counts up, and begins anew after `mask`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    /// Ticks per second, as a fraction.
    pub(crate) numerator: u64,
    pub(crate) denominator: u64,
    /// All ones, of as many bits as it has.
    pub(crate) mask: u64,
}

/// What the counters show at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    /// The time-stamp counter in the middle of the reading.
    pub(crate) tsc: u64,
    /// Ticks that the reading took.
    pub(crate) span: u64,
    /// The APIC timer, which counts down.
    pub(crate) timer: u32,
    /// The reference.
    pub(crate) reference: u64,
}

/// Ticks per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rates {
    /// Of the time-stamp counter.
    pub(crate) tsc: u64,
    /// Of the APIC timer.
    pub(crate) timer: u64,
}

/// No measurement is shorter; one that is not exact enough by then goes on, up to the longest.
const SHORTEST_MS: u64 = 10;
const LONGEST_MS: u64 = 100;
/// Exact enough, in millionths.
const EXACT: u64 = 250;
/// A reading that was not disturbed is among so many.
const TRIES: usize = 8;
/// A reference that has not moved after so many readings stands still, or is not there.
const STILL: u32 = 10_000;
const MOST_READINGS: u32 = 4_000_000;

/// `value * numerator / denominator`, to the nearest.
fn scaled(value: u64, numerator: u64, denominator: u64) -> Option<u64> {
    let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
    let product = u128::from(value).checked_mul(numerator)?.checked_add(denominator / 2)?;
    u64::try_from(product.checked_div(denominator)?).ok()
}

impl Reference {
    /// The rate of a counter that made `ticks` while this one made `elapsed`.
    fn rate(&self, ticks: u64, elapsed: u64) -> Option<u64> {
        scaled(ticks, self.numerator, elapsed.checked_mul(self.denominator)?)
    }

    fn milliseconds(&self, count: u64) -> u64 {
        scaled(count, self.numerator, self.denominator * 1000).unwrap_or(u64::MAX).max(1)
    }
}

/// The rates, and by how many millionths they may be off: by what the readings took, and a tick of the
/// reference. `None`: the reference stands still.
pub(crate) fn measure(
    reference: &Reference,
    mut read: impl FnMut() -> Reading,
) -> Option<(Rates, u64)> {
    let (shortest, longest) =
        (reference.milliseconds(SHORTEST_MS), reference.milliseconds(LONGEST_MS));
    let elapsed = |first: &Reading, last: &Reading| {
        last.reference.wrapping_sub(first.reference) & reference.mask
    };
    let first = best(&mut read);
    for count in 0..MOST_READINGS {
        let mut last = read();
        let passed = elapsed(&first, &last);
        if passed == 0 && count > STILL {
            return None;
        }
        if passed < shortest {
            continue;
        }
        if passed < longest {
            last = best(&mut read);
        }
        let (passed, ticks) = (elapsed(&first, &last), last.tsc.wrapping_sub(first.tsc));
        let millionths =
            |part: u64, of: u64| scaled(part, 1_000_000, of.max(1)).unwrap_or(u64::MAX);
        let error = millionths(first.span / 2 + last.span / 2, ticks) + millionths(1, passed);
        if error <= EXACT || passed >= longest {
            let rates = Rates {
                tsc: reference.rate(ticks, passed)?,
                timer: reference.rate(u64::from(first.timer.wrapping_sub(last.timer)), passed)?,
            };
            return Some((rates, error));
        }
    }
    None
}

/// The reading that took the shortest time, of some.
fn best(read: &mut impl FnMut() -> Reading) -> Reading {
    let mut best = read();
    for _ in 1..TRIES {
        let next = read();
        if next.span < best.span {
            best = next;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const HPET: Reference =
        Reference { numerator: 1_000_000_000_000_000, denominator: 69_841_279, mask: 0xffff_ffff };
    const ACPI: Reference = Reference { numerator: 39_375_000, denominator: 11, mask: 0x00ff_ffff };
    const PIT: Reference = Reference { numerator: 13_125_000, denominator: 11, mask: 0xffff };

    /// A machine whose counters run at these rates from `start` on, read every `step` nanoseconds.
    /// `disturbed`: one reading in so many takes a millisecond.
    struct Machine {
        reference: Reference,
        tsc: u64,
        timer: u64,
        nanoseconds: u128,
        step: u128,
        disturbed: usize,
        readings: usize,
    }

    impl Machine {
        fn read(&mut self) -> Reading {
            const SECOND: u128 = 1_000_000_000;
            self.readings += 1;
            let slow = self.disturbed != 0 && !self.readings.is_multiple_of(self.disturbed);
            let takes = if slow { 1_000_000 } else { self.step };
            let at = |now: u128, rate: u64| (now * u128::from(rate) / SECOND) as u64;
            let (before, after) = (self.nanoseconds, self.nanoseconds + takes);
            // The reference is looked at when a third has passed.
            let looked = before + takes / 3;
            let ticks = looked * u128::from(self.reference.numerator)
                / (SECOND * u128::from(self.reference.denominator));
            self.nanoseconds = after;
            let span = at(after, self.tsc) - at(before, self.tsc);
            Reading {
                tsc: at(before, self.tsc) + span / 2,
                span,
                timer: u32::MAX.wrapping_sub(at(looked, self.timer) as u32),
                reference: ticks as u64 & self.reference.mask,
            }
        }
    }

    fn off_by(found: u64, real: u64) -> u64 {
        found.abs_diff(real) * 1_000_000 / real
    }

    #[test]
    fn rates_are_found_within_a_thousandth_and_within_what_is_said() {
        for reference in [HPET, ACPI, PIT] {
            for (tsc, timer) in [(3_000_000_000, 100_000_000), (998_400_000, 24_000_000)] {
                for start in [0, 4_690_000_000, 54_900_000, 299_990_000_000] {
                    for (step, disturbed) in [(300, 0), (3_000, 0), (1_000, 5)] {
                        let nanoseconds = start;
                        let mut machine = Machine {
                            reference,
                            tsc,
                            timer,
                            nanoseconds,
                            step,
                            disturbed,
                            readings: 0,
                        };
                        let (rates, error) = measure(&reference, || machine.read()).unwrap();
                        assert!(error < 1000, "{error}");
                        for (found, real) in [(rates.tsc, tsc), (rates.timer, timer)] {
                            let off = off_by(found, real);
                            assert!(off <= error, "{reference:?} {real} {found}: {off} > {error}");
                        }
                        let took = machine.nanoseconds - start;
                        assert!(took < 200_000_000, "it took {took} ns");
                    }
                }
            }
        }
    }

    #[test]
    fn exact_readings_give_exact_rates() {
        // A tick of the reference in each microsecond; readings take no time.
        let reference = Reference { numerator: 1_000_000, denominator: 1, mask: u64::MAX };
        let mut now = 5;
        let read = || {
            now += 1;
            let timer = u32::MAX - (now * 25) as u32;
            Reading { tsc: now * 2_500, span: 0, timer, reference: now }
        };
        let (rates, error) = measure(&reference, read).unwrap();
        assert_eq!(rates, Rates { tsc: 2_500_000_000, timer: 25_000_000 });
        assert!(error <= 100, "{error}");
    }

    #[test]
    fn what_stands_still_is_no_reference() {
        let mut tsc = 0;
        let read = || {
            tsc += 1000;
            Reading { tsc, span: 10, timer: 0, reference: 0xffff }
        };
        assert_eq!(measure(&PIT, read), None);
    }

    #[test]
    fn fractions_are_rounded_to_the_nearest() {
        assert_eq!(scaled(7, 1, 2), Some(4));
        assert_eq!(scaled(10, 1, 3), Some(3));
        assert_eq!(scaled(1, 1, 0), None);
        assert_eq!(scaled(u64::MAX, u64::MAX, 1), None);
        assert_eq!(PIT.rate(30_000_000, 11_932), Some(2_999_954_286));
    }
}
