//! Pages of 2 MiB: none. The host decides itself how it maps the file that stands for memory.

use super::space::AddressSpace;
use crate::types::{OutOfMemory, PageProtection};
use base::{PageRange, UserAddr};

/// Whether there are large pages.
pub const LARGE_PAGES: bool = false;

/// 2 MiB of physical memory in one piece: there is none.
pub struct LargeFrame(core::convert::Infallible);

impl LargeFrame {
    /// None.
    ///
    /// # Errors
    /// Always.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        Err(OutOfMemory)
    }
}

impl AddressSpace {
    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn map_large(
        &self,
        _page: UserAddr,
        frame: LargeFrame,
        _protection: PageProtection,
    ) -> Result<bool, OutOfMemory> {
        match frame.0 {}
    }

    /// Cannot be called.
    pub fn collapse(
        &self,
        _page: UserAddr,
        frame: LargeFrame,
        _protection: PageProtection,
    ) -> Option<bool> {
        match frame.0 {}
    }

    /// How many pages of `range` are parts of large pages: none.
    pub fn large_pages(&self, _range: PageRange) -> usize {
        0
    }
}
