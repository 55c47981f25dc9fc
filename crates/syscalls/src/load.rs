//! How many tasks ran or wanted to, on average (loadavg in proc(5)), reckoned as Linux does
//! (kernel/sched/loadavg.c): every five seconds the tasks are counted, and three averages that forget at
//! different speeds take the count in.

use base::Instant;
use base::sync::SpinLock;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bits behind the point of an average.
const SHIFT: u32 = 11;
const ONE: u64 = 1 << SHIFT;
/// What is left of an average after a period, for those of one, five and fifteen minutes.
const KEPT: [u64; 3] = [1884, 2014, 2037];
const PERIOD_NANOSECONDS: u64 = 5_000_000_000;
/// After so many periods with the same count all averages are that.
const FORGOTTEN: u64 = 4096;

/// The three averages.
pub(crate) struct Load {
    /// When the next count is due, in nanoseconds since boot.
    due: AtomicU64,
    averages: SpinLock<[u64; 3]>,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self { due: AtomicU64::new(PERIOD_NANOSECONDS), averages: SpinLock::new([0; 3]) }
    }

    /// True when [`Load::count`] should be called.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.nanoseconds() >= self.due.load(Ordering::Relaxed)
    }

    /// Takes in how many tasks run or wait for a CPU, now and since the last count was due.
    #[cold]
    pub(crate) fn count(&self, now: Instant, active: usize) {
        let mut averages = self.averages.lock();
        let due = self.due.load(Ordering::Relaxed);
        // Another CPU may have been here first.
        let Some(late) = now.nanoseconds().checked_sub(due) else { return };
        let periods = late / PERIOD_NANOSECONDS + 1;
        self.due.store(due + periods * PERIOD_NANOSECONDS, Ordering::Relaxed);
        let active = active as u64 * ONE;
        for (average, kept) in averages.iter_mut().zip(KEPT) {
            for _ in 0..periods.min(FORGOTTEN) {
                // Rounded up on the way up, so that it gets there.
                let up = if active >= *average { ONE - 1 } else { 0 };
                *average = (*average * kept + active * (ONE - kept) + up) / ONE;
            }
        }
    }

    /// Hundredths, rounded as in /proc/loadavg.
    pub(crate) fn hundredths(&self) -> [u64; 3] {
        self.averages.lock().map(|average| ((average + ONE / 200) * 100) >> SHIFT)
    }

    /// As sysinfo(2) gives them: with 16 bits behind the point.
    pub(crate) fn with_16_bits(&self) -> [u64; 3] {
        self.averages.lock().map(|average| average << (16 - SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn after(load: &Load, seconds: core::ops::Range<u64>, active: usize) -> [u64; 3] {
        for second in seconds {
            let now = Instant::ZERO + Duration::from_secs(second);
            if load.is_due(now) {
                load.count(now, active);
            }
        }
        load.hundredths()
    }

    /// The figures are those of the same steps in another language; roughly 1 - e^(-t/60), and so on.
    #[test]
    fn a_task_that_runs_is_taken_in_and_forgotten() {
        let load = Load::new();
        assert_eq!(after(&load, 0..4, 1), [0, 0, 0]);
        assert_eq!(after(&load, 4..61, 1), [63, 18, 6]);
        assert_eq!(after(&load, 61..1000, 1), [100, 98, 69]);
        assert_eq!(after(&load, 1000..2000, 3), [300, 294, 224]);
        assert_eq!(after(&load, 2000..2060, 0)[0], 110);
    }

    /// A machine that slept, or whose host did, counts for all the periods that have passed.
    #[test]
    fn what_was_missed_is_made_up_for() {
        let (load, same) = (Load::new(), Load::new());
        after(&load, 0..301, 2);
        after(&same, 0..301, 2);
        let expected = after(&same, 301..602, 0);
        assert_eq!(after(&load, 601..602, 0), expected);
        assert_eq!(after(&load, 1 << 30..(1 << 30) + 1, 7), [700; 3]);
        assert_eq!(after(&load, 1 << 31..(1 << 31) + 1, 0), [0; 3]);
    }
}
