//! The program's address space: a map instead of page tables.

pub use super::large::{LARGE_PAGES, LargeFrame};
use super::memory::Frame;
use crate::types::{OutOfMemory, PageProtection};
use base::{PageRange, UserAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What stands for page tables.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) single: BTreeMap<UserAddr, (Frame, PageProtection)>,
    /// Where 512 of them are one large page.
    pub(super) large: BTreeSet<UserAddr>,
}

impl Pages {
    /// Makes single pages of large ones that lie in `range`, but not `whole` ones when those go on
    /// being alike.
    fn split(&mut self, range: PageRange, whole: bool) {
        self.large.retain(|page| {
            let all = PageRange::from_length(*page, 2 << 20);
            let common = all.and_then(|all| all.intersection(range));
            common.is_none_or(|common| common.is_empty() || (whole && Some(common) == all))
        });
    }
}

/// The program's address space. Each mapped page holds a reference to its frame.
#[derive(Default)]
pub struct AddressSpace {
    pages: Mutex<Pages>,
}

impl AddressSpace {
    /// An empty address space.
    ///
    /// # Errors
    /// No memory for the top page table.
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self::default())
    }

    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps `frame` at the page that holds `page`, in place of what was there. Addresses outside
    /// user memory are refused with [`OutOfMemory`].
    ///
    /// # Errors
    /// No memory for a page table.
    pub fn map(
        &self,
        page: UserAddr,
        frame: Frame,
        protection: PageProtection,
    ) -> Result<(), OutOfMemory> {
        if page.0 >= base::address::USER_END {
            return Err(OutOfMemory);
        }
        let mut pages = self.pages();
        if let Some(range) = PageRange::from_length(page.page_floor(), base::PAGE_SIZE) {
            pages.split(range, false);
        }
        pages.single.insert(page.page_floor(), (frame, protection));
        Ok(())
    }

    /// Unmaps every page in `range` and drops the references to their frames. Returns how many
    /// pages were mapped.
    pub fn unmap(&self, range: PageRange) -> usize {
        let mut pages = self.pages();
        pages.split(range, false);
        let mapped = pages.single.range(range.start()..range.end());
        let gone: Vec<_> = mapped.map(|(page, _)| *page).collect();
        for page in &gone {
            pages.single.remove(page);
        }
        gone.len()
    }

    /// Changes what the program may do with the pages mapped in `range`. Archive frames never
    /// become writable, nor do frames that are shared (a write then faults, and the fault handler
    /// decides) unless `shared_writable`.
    pub fn protect(&self, range: PageRange, protection: PageProtection, shared_writable: bool) {
        let mut pages = self.pages();
        pages.split(range, true);
        for (_, (frame, current)) in pages.single.range_mut(range.start()..range.end()) {
            *current = protection;
            if frame.is_archive() || (!shared_writable && frame.is_shared()) {
                *current -= PageProtection::WRITE;
            }
        }
    }

    /// The frame at `page` and what the program may do with it.
    pub fn lookup(&self, page: UserAddr) -> Option<(Frame, PageProtection)> {
        self.pages().single.get(&page.page_floor()).cloned()
    }

    /// The first mapped page in `range`. For skipping holes.
    pub fn next_mapped(&self, range: PageRange) -> Option<UserAddr> {
        self.pages().single.range(range.start()..range.end()).next().map(|(page, _)| *page)
    }

    /// Moves the mapped pages of `from` so that they start at `to` (mremap).
    ///
    /// # Errors
    /// No memory for a page table; pages may have moved in part.
    pub fn relocate(&self, from: PageRange, to: UserAddr) -> Result<(), OutOfMemory> {
        let mut pages = self.pages();
        pages.split(from, false);
        if let Some(target) = PageRange::from_length(to, from.bytes()) {
            pages.split(target, false);
        }
        let mapped = pages.single.range(from.start()..from.end());
        let moving: Vec<_> = mapped.map(|(page, _)| *page).collect();
        for page in moving {
            if let Some(entry) = pages.single.remove(&page) {
                pages.single.insert(UserAddr(to.0 + (page.0 - from.start().0)), entry);
            }
        }
        Ok(())
    }

    /// Returns when every processor that ran the program has left it since the call (membarrier).
    pub fn barrier(&self) {}

    /// How many pages are mapped (the resident set).
    pub fn resident_pages(&self) -> usize {
        self.pages().single.len()
    }
}
