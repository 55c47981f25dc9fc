//! How long a thread ran.

use base::Instant;
use core::sync::atomic::{AtomicU64, Ordering};

/// Marks a thread that runs now.
const RUNNING: u64 = 1 << 63;

/// The running time of a thread. One word, so that every CPU reads it whole: the sum while the
/// thread does not run; while it does, the moment at which it would have had to start to get the
/// sum, and [`RUNNING`].
#[derive(Default)]
pub(crate) struct RunningTime(AtomicU64);

impl RunningTime {
    /// The thread gets its turn.
    pub(crate) fn begin(&self, now: Instant) {
        let sum = self.0.load(Ordering::Relaxed) & !RUNNING;
        self.0.store(RUNNING | now.nanoseconds().saturating_sub(sum), Ordering::Relaxed);
    }

    /// Its turn is over.
    pub(crate) fn end(&self, now: Instant) {
        self.0.store(self.at(now), Ordering::Relaxed);
    }

    /// True while it has its turn.
    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) & RUNNING != 0
    }

    /// The sum at `now`, in nanoseconds, the current turn included.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        let word = self.0.load(Ordering::Relaxed);
        if word & RUNNING == 0 { word } else { now.nanoseconds().saturating_sub(word & !RUNNING) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_count() {
        let at = Instant::from_nanoseconds;
        let time = RunningTime::default();
        assert_eq!(time.at(at(1000)), 0);
        time.begin(at(1000));
        assert_eq!(time.at(at(1300)), 300);
        time.end(at(1400));
        assert_eq!(time.at(at(9000)), 400);
        time.begin(at(10_000));
        assert_eq!(time.at(at(10_001)), 401);
        time.end(at(10_100));
        assert_eq!(time.at(at(20_000)), 500);
    }
}
