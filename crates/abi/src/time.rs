//! Structures of time.

use base::{Errno, WallTime};
use core::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timespec`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999 when valid.
    pub nanoseconds: i64,
}

/// `struct timeval`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timeval {
    /// Seconds.
    pub seconds: i64,
    /// Microseconds, 0 to 999,999 when valid.
    pub microseconds: i64,
}

impl Timespec {
    /// As a duration.
    ///
    /// # Errors
    /// `EINVAL`: negative, or a second or more of nanoseconds.
    pub fn duration(self) -> Result<Duration, Errno> {
        let seconds = u64::try_from(self.seconds).map_err(|_| Errno::EINVAL)?;
        match u32::try_from(self.nanoseconds) {
            Ok(nanoseconds @ 0..=999_999_999) => Ok(Duration::new(seconds, nanoseconds)),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl Timeval {
    /// As a duration.
    ///
    /// # Errors
    /// `EINVAL`: negative, or a second or more of microseconds.
    pub fn duration(self) -> Result<Duration, Errno> {
        let seconds = u64::try_from(self.seconds).map_err(|_| Errno::EINVAL)?;
        match u32::try_from(self.microseconds) {
            Ok(microseconds @ 0..=999_999) => Ok(Duration::new(seconds, microseconds * 1000)),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl From<Duration> for Timespec {
    fn from(duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, nanoseconds: i64::from(duration.subsec_nanos()) }
    }
}

impl From<Duration> for Timeval {
    fn from(duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, microseconds: i64::from(duration.subsec_micros()) }
    }
}

impl From<WallTime> for Timespec {
    fn from(time: WallTime) -> Self {
        Duration::from_nanos(time.nanoseconds).into()
    }
}
