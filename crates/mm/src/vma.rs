//! One mapping: a range of pages with the same rights and the same origin.

use crate::backing::Backing;
use alloc::sync::Arc;
use base::{PAGE_SIZE, PageRange, UserAddr};
use bitflags::bitflags;
use hal::{Access, PageProtection};

/// Bytes of a large page.
pub(crate) const LARGE_BYTES: u64 = 2 << 20;

bitflags! {
    /// What was asked for with mmap, mlock and madvise.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct VmaFlags: u8 {
        /// mlock.
        const LOCKED = 1;
        /// `MAP_DROPPABLE`.
        const DROPPABLE = 2;
        /// `MADV_RANDOM`: no fault-around.
        const RANDOM = 4;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 8;
        /// `MADV_HUGEPAGE`.
        const LARGE_PAGES = 16;
        /// `MADV_NOHUGEPAGE`.
        const NO_LARGE_PAGES = 32;
        /// `MADV_GUARD_INSTALL`: nothing may be there, whatever the protection says.
        const GUARD = 64;
    }
}

/// What /proc/self/maps calls a mapping without a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Label {
    /// Nothing.
    #[default]
    None,
    /// `[heap]`
    Heap,
    /// `[stack]`
    Stack,
    /// `[anon:…]`, named by prctl(PR_SET_VMA).
    Named(Arc<str>),
}

/// Where the pages come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// Zeros.
    Anonymous,
    /// A file, or shared memory.
    File {
        backing: Arc<dyn Backing>,
        /// The file's page at the start of the range.
        page: u64,
        /// Writes go to the file.
        shared: bool,
        /// `shared`, and the descriptor allowed writing.
        may_write: bool,
    },
}

/// Detects memory that is touched in order, so that one fault can make several pages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sequence {
    expected: UserAddr,
    window: u8,
}

impl Sequence {
    /// Most pages made in one fault.
    const LONGEST: u8 = 16;

    /// How many pages to make for a touch of `page`: twice as many as last time when it is where
    /// the last touch left off, but none of the next block of a large page.
    pub(crate) fn touch(&mut self, page: UserAddr) -> u64 {
        let in_order = page == self.expected && self.window > 0;
        self.window = if in_order { (self.window * 2).min(Self::LONGEST) } else { 1 };
        let to_border = LARGE_BYTES - page.0 % LARGE_BYTES;
        let bytes = (u64::from(self.window) * PAGE_SIZE).min(to_border);
        self.expected = page.wrapping_add(bytes);
        bytes / PAGE_SIZE
    }

    /// True when a touch of `page` has come in order so long that all of the block which begins
    /// there will be touched, as far as one can tell.
    fn reaches_block(&self, page: UserAddr) -> bool {
        page == self.expected && self.window == Self::LONGEST && page.0.is_multiple_of(LARGE_BYTES)
    }

    /// A whole block was made.
    pub(crate) fn pass_block(&mut self, block: PageRange) {
        *self = Self { expected: block.end(), window: Self::LONGEST };
    }
}

/// A mapping.
#[derive(Clone)]
pub(crate) struct Vma {
    pub(crate) range: PageRange,
    /// As the program asked.
    pub(crate) protection: PageProtection,
    pub(crate) source: Source,
    pub(crate) flags: VmaFlags,
    pub(crate) label: Label,
    pub(crate) sequence: Sequence,
}

impl Vma {
    pub(crate) fn start(&self) -> UserAddr {
        self.range.start()
    }

    pub(crate) fn end(&self) -> UserAddr {
        self.range.end()
    }

    /// What the page tables get: on x86 every access implies reading.
    pub(crate) fn hardware(&self) -> PageProtection {
        if self.protection.is_empty() || self.flags.contains(VmaFlags::GUARD) {
            PageProtection::empty()
        } else {
            self.protection | PageProtection::READ
        }
    }

    /// True when the program may do `access`.
    pub(crate) fn allows(&self, access: Access) -> bool {
        self.hardware().contains(need(access))
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.source, Source::File { shared: true, .. })
    }

    /// True when mprotect could make it writable.
    pub(crate) fn may_write(&self) -> bool {
        !matches!(self.source, Source::File { shared: true, may_write: false, .. })
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.source, Source::Anonymous)
    }

    /// True when nothing can be stored there: such memory is never made present ahead of time.
    /// It would cost no frame, but endless time where the program reserved terabytes.
    pub(crate) fn is_always_zero(&self) -> bool {
        self.is_anonymous() && !self.protection.contains(PageProtection::WRITE)
    }

    /// True when its pages count against overcommit: private memory that may be written.
    pub(crate) fn is_accounted(&self) -> bool {
        self.protection.contains(PageProtection::WRITE)
            && !self.is_shared()
            && !self.flags.contains(VmaFlags::NO_RESERVE)
    }

    /// True when what it holds may lie in pages of 2 MiB.
    pub(crate) fn may_be_large(&self) -> bool {
        self.is_anonymous() && !self.flags.contains(VmaFlags::NO_LARGE_PAGES)
    }

    /// True when a touch may make a large page somewhere in it (smaps' `THPeligible`).
    pub(crate) fn is_large_eligible(&self) -> bool {
        let first = UserAddr(self.start().0.next_multiple_of(LARGE_BYTES));
        let block = PageRange::from_length(first, LARGE_BYTES);
        self.may_be_large() && block.is_some_and(|block| block.end() <= self.end())
    }

    /// The 2 MiB in which a touch of `page` should make one large page: where the program asked for
    /// them, and where it touches memory in order.
    #[inline]
    pub(crate) fn large_block(&self, page: UserAddr) -> Option<PageRange> {
        let wanted =
            self.flags.contains(VmaFlags::LARGE_PAGES) || self.sequence.reaches_block(page);
        if !wanted || !self.may_be_large() || !self.protection.contains(PageProtection::WRITE) {
            return None;
        }
        let start = UserAddr(page.0 & !(LARGE_BYTES - 1));
        PageRange::from_length(start, LARGE_BYTES)
            .filter(|block| self.range.intersection(*block) == Some(*block))
    }

    /// The file's page at `address`, for file mappings.
    pub(crate) fn file_page(&self, address: UserAddr) -> u64 {
        match &self.source {
            Source::Anonymous => 0,
            Source::File { page, .. } => page + (address.0 - self.start().0) / PAGE_SIZE,
        }
    }

    /// A copy that covers only `range`, which lies within.
    pub(crate) fn part(&self, range: PageRange) -> Self {
        let mut part = self.clone();
        part.range = range;
        part.set_file_page(self.file_page(range.start()));
        part
    }

    /// Makes `first` the file's page at the start of the range.
    pub(crate) fn set_file_page(&mut self, first: u64) {
        if let Source::File { page, .. } = &mut self.source {
            *page = first;
        }
    }

    /// True when `next` begins where this ends and both could be one mapping.
    pub(crate) fn joins(&self, next: &Self) -> bool {
        self.end() == next.start()
            && self.protection == next.protection
            && self.flags == next.flags
            && self.label == next.label
            && match (&self.source, &next.source) {
                (Source::Anonymous, Source::Anonymous) => true,
                (
                    Source::File { backing: a, shared, may_write, .. },
                    Source::File { backing: b, page, shared: b_shared, may_write: b_may_write },
                ) => {
                    Arc::ptr_eq(a, b)
                        && shared == b_shared
                        && may_write == b_may_write
                        && self.file_page(self.end()) == *page
                }
                _ => false,
            }
    }
}

/// The right that an access needs.
pub(crate) fn need(access: Access) -> PageProtection {
    match access {
        Access::Read => PageProtection::READ,
        Access::Write => PageProtection::WRITE,
        Access::Execute => PageProtection::EXECUTE,
    }
}
