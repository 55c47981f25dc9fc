//! Addresses as types, so that a user pointer cannot be taken for a physical one.

use core::fmt;

/// Bytes in a page of user memory.
pub const PAGE_SIZE: u64 = 4096;

/// One past the highest user address (Linux's `TASK_SIZE_MAX` on x86-64: 47 bits less one page).
#[cfg(not(eggos_process))]
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// One past the highest user address. Above it, where Linux puts libraries and the stack, lies what
/// the kernel itself is made of as a Linux process.
#[cfg(eggos_process)]
pub const USER_END: u64 = 0x7000_0000_0000;

/// An address in the program's memory, as the program wrote it: an allegation until checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UserAddr(pub u64);

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

impl UserAddr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// True for the null pointer.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The start of the page that holds this address.
    #[must_use]
    pub const fn page_floor(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// This address rounded up to a page, or `None` past the end of the address space.
    #[must_use]
    pub const fn page_ceil(self) -> Option<Self> {
        match self.0.checked_add(PAGE_SIZE - 1) {
            Some(sum) => Some(Self(sum & !(PAGE_SIZE - 1))),
            None => None,
        }
    }

    /// Offset within the page, in bytes.
    #[must_use]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// True when the address is page-aligned.
    #[must_use]
    pub const fn is_page_aligned(self) -> bool {
        self.page_offset() == 0
    }

    /// `self + bytes`, or `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `self + bytes`, wrapping as the hardware would.
    #[must_use]
    pub const fn wrapping_add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl fmt::Debug for UserAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for UserAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phys {:#x}", self.0)
    }
}

/// A half-open range `start..end` of whole pages of user memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct PageRange {
    start: UserAddr,
    end: UserAddr,
}

impl PageRange {
    /// The range `start..end`. `None` unless both are page-aligned, `start <= end` and the range
    /// lies in user memory.
    #[must_use]
    pub const fn new(start: UserAddr, end: UserAddr) -> Option<Self> {
        if start.is_page_aligned() && end.is_page_aligned() && start.0 <= end.0 && end.0 <= USER_END
        {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// The pages that cover `length` bytes from the page-aligned `start`; `length` is rounded up.
    #[must_use]
    pub const fn from_length(start: UserAddr, length: u64) -> Option<Self> {
        match start.checked_add(length) {
            Some(end) => match end.page_ceil() {
                Some(end) => Self::new(start, end),
                None => None,
            },
            None => None,
        }
    }

    /// First address.
    #[must_use]
    pub const fn start(self) -> UserAddr {
        self.start
    }

    /// One past the last address.
    #[must_use]
    pub const fn end(self) -> UserAddr {
        self.end
    }

    /// Length in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Number of pages.
    #[must_use]
    pub const fn pages(self) -> u64 {
        self.bytes() / PAGE_SIZE
    }

    /// True when the range has no page.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }

    /// True when `addr` lies in the range.
    #[must_use]
    pub const fn contains(self, addr: UserAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }

    /// The pages in both ranges, if any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }

    /// The start address of every page, in order.
    pub fn iter(self) -> impl Iterator<Item = UserAddr> {
        (self.start.0..self.end.0).step_by(PAGE_SIZE as usize).map(UserAddr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_refuse_what_is_not_user_memory() {
        assert!(PageRange::new(UserAddr(0), UserAddr(USER_END)).is_some());
        assert!(PageRange::new(UserAddr(0), UserAddr(USER_END + PAGE_SIZE)).is_none());
        assert!(PageRange::new(UserAddr(1), UserAddr(4096)).is_none());
        assert!(PageRange::from_length(UserAddr(4096), u64::MAX).is_none());
        assert_eq!(PageRange::from_length(UserAddr(4096), 1).map(PageRange::pages), Some(1));
    }

    #[test]
    fn rounding_up_does_not_wrap() {
        assert_eq!(UserAddr(u64::MAX).page_ceil(), None);
        assert_eq!(UserAddr(4096).page_ceil(), Some(UserAddr(4096)));
        assert_eq!(UserAddr(4097).page_ceil(), Some(UserAddr(8192)));
    }
}
