//! What was taken out of page tables and not given back yet.

use super::large;
use super::paging::{ADDRESS, LARGE, LARGE_BYTES};
use super::pool;
use super::space::{AddressSpace, take_frame};
use base::PAGE_SIZE;

/// In [`Gathered`] only: a page table, not a page.
pub(super) const TABLE: u64 = 1 << 11;

/// Entries taken out of the tables, whose frames may be given back only after every processor has
/// forgotten the translations.
pub(super) struct Gathered<'a> {
    space: &'a AddressSpace,
    entries: [u64; 64],
    count: usize,
    first: u64,
    last: u64,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(space: &'a AddressSpace) -> Self {
        Self { space, entries: [0; 64], count: 0, first: u64::MAX, last: 0 }
    }

    pub(super) fn add(&mut self, address: u64, entry: u64) {
        if self.count == self.entries.len() {
            self.flush();
        }
        self.entries[self.count] = entry;
        self.count += 1;
        self.note(address);
        if entry & LARGE != 0 {
            self.note(address + LARGE_BYTES - PAGE_SIZE);
        }
    }

    /// A translation changed, nothing to give back.
    pub(super) fn note(&mut self, address: u64) {
        self.first = self.first.min(address);
        self.last = self.last.max(address);
    }

    fn flush(&mut self) {
        if self.first > self.last {
            return;
        }
        let entries = &self.entries[..self.count];
        let tables = entries.iter().any(|entry| entry & TABLE != 0);
        self.space.invalidate(self.first, self.last, tables);
        for &entry in entries {
            if entry & TABLE != 0 {
                // SAFETY: the table is empty and no longer linked nor cached.
                unsafe { pool::release_frame(entry & ADDRESS) };
            } else if entry & LARGE != 0 {
                // SAFETY: the entry was taken out of its table, and forgotten.
                unsafe { large::release(entry) };
            } else {
                // SAFETY: the entry was taken out of its table.
                drop(unsafe { take_frame(entry) });
            }
        }
        self.count = 0;
        (self.first, self.last) = (u64::MAX, 0);
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
