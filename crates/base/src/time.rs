//! Time. It is a parameter everywhere: only `hal::clock` reads a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point on the monotonic clock: nanoseconds since the machine started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant {
    nanoseconds: u64,
}

impl Instant {
    /// The moment the machine started.
    pub const ZERO: Self = Self { nanoseconds: 0 };
    /// Farther away than any machine runs (584 years).
    pub const FAR: Self = Self { nanoseconds: u64::MAX };

    /// The instant `nanoseconds` after the start of the machine.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self { nanoseconds }
    }

    /// Nanoseconds since the start of the machine.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.nanoseconds
    }

    /// `self - earlier`, or zero when `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanoseconds.saturating_sub(earlier.nanoseconds))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::FAR`].
    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { nanoseconds: self.nanoseconds.saturating_add(nanoseconds) }
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Saturates at zero.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

/// A point on the wall clock: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct WallTime {
    /// Nanoseconds since the epoch.
    pub nanoseconds: u64,
}

impl WallTime {
    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.nanoseconds / 1_000_000_000
    }

    /// Nanoseconds within the second.
    #[must_use]
    pub const fn subsecond_nanoseconds(self) -> u32 {
        (self.nanoseconds % 1_000_000_000) as u32
    }
}
