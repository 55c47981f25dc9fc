//! Character devices, by number.

use crate::access::Who;
use crate::file::FileRef;
use base::Errno;

/// What opening a device number means.
pub trait Device: Send + Sync {
    /// Opens it for somebody.
    ///
    /// # Errors
    /// As open(2): `ENXIO`, `EBUSY`.
    fn open(&self, who: &Who) -> Result<FileRef, Errno>;
}

/// A device number: major << 8 | minor.
#[must_use]
pub const fn device_number(major: u64, minor: u64) -> u64 {
    major << 8 | minor
}
