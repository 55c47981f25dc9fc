//! Reading little-endian numbers out of a file that may end anywhere.

use crate::LoadError;

/// `N` bytes at `offset`.
fn take<const N: usize>(file: &[u8], offset: u64) -> Option<[u8; N]> {
    let start = usize::try_from(offset).ok()?;
    file.get(start..start.checked_add(N)?)?.try_into().ok()
}

macro_rules! reader {
    ($name:ident, $int:ty) => {
        /// The number at `offset`, or [`LoadError::Truncated`].
        pub(crate) fn $name(
            file: &[u8],
            offset: u64,
            what: &'static str,
        ) -> Result<$int, LoadError> {
            take(file, offset).map(<$int>::from_le_bytes).ok_or(LoadError::Truncated { what })
        }
    };
}

reader!(u16_at, u16);
reader!(u32_at, u32);
reader!(u64_at, u64);

/// `length` bytes at `offset`.
pub(crate) fn slice<'a>(
    file: &'a [u8],
    offset: u64,
    length: u64,
    what: &'static str,
) -> Result<&'a [u8], LoadError> {
    let range = || {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        file.get(start..end)
    };
    range().ok_or(LoadError::Truncated { what })
}
