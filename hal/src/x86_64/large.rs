//! Pages of 2 MiB in the program's address space.
//!
//! A large page is an entry of the second level that maps 512 frames in a row, each with a count of
//! its own, as if they were mapped one by one. So it is split by making a table of them, and what
//! looks at single pages need not know of it. With every large page comes an empty table, so that
//! splitting needs no memory.

use super::gathered::Gathered;
use super::memory::Frame;
use super::paging::{
    ADDRESS, ENTRIES, LARGE, LARGE_BYTES, PRESENT, USER, WRITABLE, direct, direct_mut, index,
    new_table, table,
};
use super::pool::{self, Purpose};
use super::space::{AddressSpace, State, Step, protection_bits};
use crate::types::{OutOfMemory, PageProtection};
use base::{PAGE_SIZE, PageRange, UserAddr};
use core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};

/// A block of [`LARGE_BYTES`] as the pool knows it.
const ORDER: usize = 9;
/// The level whose entries may map large pages.
pub(super) const LEVEL: u32 = 1;

/// Whether there are large pages.
pub const LARGE_PAGES: bool = true;

/// 2 MiB of physical memory in one piece, that nobody else holds.
#[derive(Debug)]
pub struct LargeFrame {
    address: u64,
}

impl LargeFrame {
    /// A fresh one, all zeros.
    ///
    /// # Errors
    /// There is no such piece of free memory.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let frame = Self { address: pool::allocate(ORDER, Purpose::Program)? };
        // SAFETY: the block was just handed out, and nobody else has it.
        unsafe { direct_mut::<u8>(frame.address).write_bytes(0, LARGE_BYTES as usize) };
        Ok(frame)
    }

    /// Gives it up as frames that are held once each: its address.
    fn into_frames(self) -> u64 {
        let address = core::mem::ManuallyDrop::new(self).address;
        for frame in frames(address) {
            // SAFETY: the block was handed out, and nobody else has it.
            unsafe { pool::count(frame) }.store(1, Relaxed);
        }
        address
    }
}

impl Drop for LargeFrame {
    fn drop(&mut self) {
        // SAFETY: the block came from the pool and nobody uses it.
        unsafe { pool::release_range(self.address, ENTRIES as u64) };
    }
}

/// The frames of the large page at a physical address.
fn frames(address: u64) -> impl Iterator<Item = u64> {
    (0..ENTRIES as u64).map(move |at| address + at * PAGE_SIZE)
}

/// The entry that a page of a large page would have on its own.
pub(super) fn small_entry(entry: u64, page: u64) -> u64 {
    (entry & !LARGE) + index(page, 0) as u64 * PAGE_SIZE
}

/// True when nobody but the entry holds one of its frames.
///
/// # Safety
/// The entry is a large page, and holds references to its frames.
pub(super) unsafe fn is_unshared(entry: u64) -> bool {
    // SAFETY: the frames were handed out and are held.
    frames(entry & ADDRESS).all(|frame| unsafe { pool::count(frame) }.load(Acquire) == 1)
}

/// Gives up the references that an entry of a large page held.
///
/// # Safety
/// The entry was taken out of its table, and no processor has its translation.
pub(super) unsafe fn release(entry: u64) {
    let address = entry & ADDRESS;
    // SAFETY: the entry held them. Who is alone with a frame stays so.
    if unsafe { is_unshared(entry) } {
        // SAFETY: nobody else holds one of them.
        unsafe { pool::release_range(address, ENTRIES as u64) };
        return;
    }
    for frame in frames(address) {
        // SAFETY: one reference was in the entry.
        drop(unsafe { Frame::from_raw(frame, false) });
    }
}

impl State {
    /// Keeps an empty table for later.
    fn deposit(&mut self, spare: u64) {
        // SAFETY: the table is linked nowhere: its first entry is free for the list.
        let entries = unsafe { table(spare) };
        entries[0].store(self.deposits, Relaxed);
        self.deposits = spare;
    }

    /// The table that came with a large page. Its entries are arbitrary.
    fn withdraw(&mut self) -> u64 {
        let spare = self.deposits;
        debug_assert!(spare != 0);
        // SAFETY: a large page goes, so one table is there.
        self.deposits = unsafe { table(spare) }[0].load(Relaxed);
        spare
    }

    /// A large page went whole: so does its table.
    pub(super) fn forget_deposit(&mut self) {
        let spare = self.withdraw();
        // SAFETY: the table is linked nowhere.
        unsafe { pool::release_frame(spare) };
    }
}

fn is_aligned(page: UserAddr) -> bool {
    page.0.is_multiple_of(LARGE_BYTES) && page.0 < base::address::USER_END
}

impl AddressSpace {
    /// Maps a large page at `page`, which is aligned to 2 MiB. `false`: something is mapped there.
    ///
    /// # Errors
    /// No memory for page tables, or not an address of user memory.
    pub fn map_large(
        &self,
        page: UserAddr,
        frame: LargeFrame,
        protection: PageProtection,
    ) -> Result<bool, OutOfMemory> {
        if !is_aligned(page) || protection.is_empty() {
            return Err(OutOfMemory);
        }
        let mut state = self.lock();
        let (slot, above) = self.slot::<LEVEL>(&mut state, page.0)?;
        if slot.load(Relaxed) != 0 {
            return Ok(false);
        }
        let spare = new_table(Purpose::Program)?;
        state.deposit(spare);
        let address = frame.into_frames();
        slot.store(address | LARGE | protection_bits(protection, false), Relaxed);
        // SAFETY: `above` is the table with that slot.
        unsafe { pool::count(above) }.fetch_add(1, Relaxed);
        state.resident += ENTRIES;
        Ok(true)
    }

    /// Makes one large page, `frame`, of what is mapped in the 2 MiB from `page`, which is aligned
    /// to that; what is not mapped there is zeros. `None`: nothing is mapped. `Some(false)`: it is
    /// a large page already.
    pub fn collapse(
        &self,
        page: UserAddr,
        frame: LargeFrame,
        protection: PageProtection,
    ) -> Option<bool> {
        if !is_aligned(page) || protection.is_empty() {
            return None;
        }
        let mut state = self.lock();
        let slot = self.existing_slot(page.0, LEVEL)?;
        let old = slot.load(Relaxed);
        if old == 0 || old & LARGE != 0 {
            return (old != 0).then_some(false);
        }
        // Nobody writes to the old pages from here on: who wants to waits for the lock of memory.
        slot.store(0, Relaxed);
        self.invalidate(page.0, page.0 + LARGE_BYTES - PAGE_SIZE, true);
        let (address, small) = (frame.into_frames(), old & ADDRESS);
        // SAFETY: the table was linked until now.
        let entries = unsafe { table(small) };
        for (entry, to) in entries.iter().map(|entry| entry.load(Relaxed)).zip(frames(address)) {
            if entry == 0 {
                continue;
            }
            // SAFETY: both are whole frames, of which the new one is ours alone.
            unsafe {
                let from = direct::<u8>(entry & ADDRESS);
                direct_mut::<u8>(to).copy_from_nonoverlapping(from, PAGE_SIZE as usize);
            }
            // SAFETY: the entry is in no page table any more.
            drop(unsafe { super::space::take_frame(entry) });
            state.resident -= 1;
        }
        state.deposit(small);
        slot.store(address | LARGE | protection_bits(protection, false), Relaxed);
        state.resident += ENTRIES;
        Some(true)
    }

    /// Makes single pages of the large page in `slot`, whose first address is `start`.
    #[cold]
    pub(super) fn split(&self, state: &mut State, start: u64, slot: &AtomicU64) -> u64 {
        // Two sizes of translations for one address must not meet in a processor.
        let entry = slot.swap(0, Relaxed);
        self.invalidate(start, start + LARGE_BYTES - PAGE_SIZE, false);
        let small = state.withdraw();
        // SAFETY: the table is linked nowhere yet.
        let entries = unsafe { table(small) };
        for (at, slot) in (0_u64..).zip(entries) {
            slot.store((entry & !LARGE) + at * PAGE_SIZE, Relaxed);
        }
        // SAFETY: a table in use counts its entries.
        unsafe { pool::count(small) }.store(ENTRIES as u32, Relaxed);
        let link = small | PRESENT | WRITABLE | USER;
        slot.store(link, Relaxed);
        link
    }

    /// How many pages of `range` are parts of large pages.
    pub fn large_pages(&self, range: PageRange) -> usize {
        let mut state = self.lock();
        let mut pages = 0;
        self.visit_range(&mut state, range, &mut |_, slot, _: &mut Gathered<'_>, covered| {
            pages += if slot.load(Relaxed) & LARGE == 0 { 0 } else { covered };
            Step::Keep
        });
        pages
    }
}
