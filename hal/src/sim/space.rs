//! The program's address space: a map instead of page tables.

use super::memory::Frame;
use crate::types::{OutOfMemory, PageProtection};
use base::{PageRange, UserAddr};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Pages = BTreeMap<UserAddr, (Frame, PageProtection)>;

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

    fn pages(&self) -> MutexGuard<'_, Pages> {
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
        self.pages().insert(page.page_floor(), (frame, protection));
        Ok(())
    }

    /// Unmaps every page in `range` and drops the references to their frames. Returns how many
    /// pages were mapped.
    pub fn unmap(&self, range: PageRange) -> usize {
        let mut pages = self.pages();
        let gone: Vec<_> = pages.range(range.start()..range.end()).map(|(page, _)| *page).collect();
        for page in &gone {
            pages.remove(page);
        }
        gone.len()
    }

    /// Changes what the program may do with the pages mapped in `range`. Archive frames never
    /// become writable, nor do frames that are shared (a write then faults, and the fault handler
    /// decides) unless `shared_writable`.
    pub fn protect(&self, range: PageRange, protection: PageProtection, shared_writable: bool) {
        for (_, (frame, current)) in self.pages().range_mut(range.start()..range.end()) {
            *current = protection;
            if frame.is_archive() || (!shared_writable && frame.is_shared()) {
                *current -= PageProtection::WRITE;
            }
        }
    }

    /// The frame at `page` and what the program may do with it.
    pub fn lookup(&self, page: UserAddr) -> Option<(Frame, PageProtection)> {
        self.pages().get(&page.page_floor()).cloned()
    }

    /// The first mapped page in `range`. For skipping holes.
    pub fn next_mapped(&self, range: PageRange) -> Option<UserAddr> {
        self.pages().range(range.start()..range.end()).next().map(|(page, _)| *page)
    }

    /// Moves the mapped pages of `from` so that they start at `to` (mremap).
    ///
    /// # Errors
    /// No memory for a page table; pages may have moved in part.
    pub fn relocate(&self, from: PageRange, to: UserAddr) -> Result<(), OutOfMemory> {
        let mut pages = self.pages();
        let moving: Vec<_> = pages.range(from.start()..from.end()).map(|(page, _)| *page).collect();
        for page in moving {
            if let Some(entry) = pages.remove(&page) {
                pages.insert(UserAddr(to.0 + (page.0 - from.start().0)), entry);
            }
        }
        Ok(())
    }

    /// Returns when every processor that ran the program has left it since the call (membarrier).
    pub fn barrier(&self) {}

    /// How many pages are mapped (the resident set).
    pub fn resident_pages(&self) -> usize {
        self.pages().len()
    }
}
