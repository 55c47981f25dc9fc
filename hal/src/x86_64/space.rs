//! The program's address space: four levels of page tables.
//!
//! A page that the program may not touch at all keeps its frame: its entry is not present and has
//! [`HELD`]. The frame-table word of a page table counts its entries that are not 0, so that a
//! table is given back when its last entry goes. Entries of the second level may be large pages,
//! see [`large`].

use super::gathered::{Gathered, TABLE};
pub use super::large::{LARGE_PAGES, LargeFrame};
use super::memory::Frame;
use super::paging::{
    self, ACCESSED, ADDRESS, DIRTY, LARGE, LARGE_BYTES, NO_EXECUTE, PRESENT, Table, USER, WRITABLE,
    index, table,
};
use super::pool::Purpose;
use super::{instructions, large, percpu, pool, presence};
use crate::types::{OutOfMemory, PageProtection};
use base::address::USER_END;
use base::sync::{Rank, SpinGuard, SpinLock};
use base::{PAGE_SIZE, PageRange, UserAddr};
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The frame belongs to the boot archive (a bit that the processor leaves to software).
const ARCHIVE: u64 = 1 << 9;
/// The entry holds a frame though it is not present.
const HELD: u64 = 1 << 10;
/// The level of the top table; leaves are at 0.
const TOP: u32 = 3;
/// Above this many pages all translations are dropped instead of each one.
const INVALIDATE_SINGLY: u64 = 32;

/// The program's address space. Each mapped page holds a reference to its frame.
pub struct AddressSpace {
    root: u64,
    /// Counts changes that other processors must learn of, see [`presence`].
    generation: AtomicU64,
    /// The lock guards the tables.
    state: SpinLock<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Mapped pages.
    pub(super) resident: usize,
    /// A list of empty tables, as many as there are large pages.
    pub(super) deposits: u64,
}

/// What [`AddressSpace::visit`] does after showing an entry.
pub(super) enum Step {
    Keep,
    /// The visitor set the entry to 0.
    Removed,
    /// Not this large page, but its pages.
    Split,
    Stop,
}

/// Gets the first address, the entry, and how many pages of it are asked for: 1, or up to 512 of a
/// large page.
type Visitor<'a> = dyn FnMut(u64, &AtomicU64, &mut Gathered<'_>, usize) -> Step + 'a;

fn encode(frame: Frame, protection: PageProtection) -> u64 {
    let (address, archive) = frame.into_raw();
    let mark = if archive { ARCHIVE } else { 0 };
    address | mark | protection_bits(protection, archive)
}

pub(super) fn protection_bits(protection: PageProtection, archive: bool) -> u64 {
    if protection.is_empty() {
        return HELD;
    }
    let mut bits = PRESENT | USER | ACCESSED;
    if protection.contains(PageProtection::WRITE) && !archive {
        bits |= WRITABLE | DIRTY;
    }
    if !protection.contains(PageProtection::EXECUTE) {
        bits |= paging::no_execute();
    }
    bits
}

fn decode_protection(entry: u64) -> PageProtection {
    if entry & PRESENT == 0 {
        return PageProtection::empty();
    }
    let mut protection = PageProtection::READ;
    protection.set(PageProtection::WRITE, entry & WRITABLE != 0);
    protection.set(PageProtection::EXECUTE, entry & NO_EXECUTE == 0);
    protection
}

/// # Safety
/// The reference that the entry holds is given up: the entry is not used again.
pub(super) unsafe fn take_frame(entry: u64) -> Frame {
    // SAFETY: made by `encode`, taken up once.
    unsafe { Frame::from_raw(entry & ADDRESS, entry & ARCHIVE != 0) }
}

impl AddressSpace {
    /// An empty address space.
    ///
    /// # Errors
    /// No memory for the top page table.
    pub fn new() -> Result<Self, OutOfMemory> {
        let root = paging::new_table(Purpose::Program)?;
        // SAFETY: both are top tables; the kernel's is never freed.
        let (own, kernel) = unsafe { (table(root), table(paging::kernel_root())) };
        for (own, kernel) in own.iter().zip(kernel).skip(paging::ENTRIES / 2) {
            own.store(kernel.load(Relaxed), Relaxed);
        }
        Ok(Self {
            root,
            generation: AtomicU64::new(0),
            state: SpinLock::ranked(Rank::PageTables, State::default()),
        })
    }

    /// This processor is about to touch the program's memory: until `presence::leave`.
    #[inline]
    pub(super) fn enter(&self) {
        presence::enter(self.root, &self.generation);
    }

    /// Makes all processors forget the translations of the pages `first..=last`; with `tables`,
    /// also what they cache of the tables above them.
    pub(super) fn invalidate(&self, first: u64, last: u64, tables: bool) {
        self.invalidate_here(first, last, tables);
        presence::shoot_down(self.root, &self.generation);
    }

    fn invalidate_here(&self, first: u64, last: u64, tables: bool) {
        if percpu::this().active_root.get() != self.root {
            return;
        }
        if tables || (last - first) / PAGE_SIZE >= INVALIDATE_SINGLY {
            instructions::invalidate_program_pages();
            return;
        }
        for page in (first..=last).step_by(PAGE_SIZE as usize) {
            instructions::invalidate_page(page);
        }
    }

    /// Returns when every processor that ran the program has left it since the call (membarrier).
    pub fn barrier(&self) {
        presence::shoot_down(self.root, &self.generation);
    }

    fn root(&self) -> &Table {
        // SAFETY: the root is a table as long as `self` lives.
        unsafe { table(self.root) }
    }

    #[inline]
    pub(super) fn lock(&self) -> SpinGuard<'_, State> {
        self.state.lock()
    }

    /// The entry of a page, as if all pages were single.
    fn entry(&self, page: u64) -> Option<u64> {
        let mut at = self.root();
        for level in (1..=TOP).rev() {
            let entry = at[index(page, level)].load(Relaxed);
            if entry == 0 {
                return None;
            }
            if level == large::LEVEL && entry & LARGE != 0 {
                return Some(large::small_entry(entry, page));
            }
            // SAFETY: under the lock, entries above the last level point to tables.
            at = unsafe { table(entry & ADDRESS) };
        }
        Some(at[index(page, 0)].load(Relaxed))
    }

    /// The entry of `page` at `level`, if the tables above it exist.
    pub(super) fn existing_slot(&self, page: u64, level: u32) -> Option<&AtomicU64> {
        let mut at = self.root();
        for above in (level + 1..=TOP).rev() {
            let entry = at[index(page, above)].load(Relaxed);
            if entry == 0 {
                return None;
            }
            // SAFETY: under the lock, and no large page is so high.
            at = unsafe { table(entry & ADDRESS) };
        }
        Some(&at[index(page, level)])
    }

    /// The entry of `page` at `LEVEL`, and its table; makes tables and splits large pages as
    /// needed.
    #[inline]
    pub(super) fn slot<const LEVEL: u32>(
        &self,
        state: &mut State,
        page: u64,
    ) -> Result<(&AtomicU64, u64), OutOfMemory> {
        let mut physical = self.root;
        for above in (LEVEL + 1..=TOP).rev() {
            // SAFETY: under the lock, and reached from the root.
            let slot = unsafe { &table(physical)[index(page, above)] };
            let mut entry = slot.load(Relaxed);
            if entry == 0 {
                let fresh = paging::new_table(Purpose::Program)?;
                // SAFETY: both frames are page tables of this address space.
                unsafe {
                    pool::count(fresh).store(0, Relaxed);
                    pool::count(physical).fetch_add(1, Relaxed);
                }
                entry = fresh | PRESENT | WRITABLE | USER;
                slot.store(entry, Relaxed);
            } else if above == large::LEVEL && entry & LARGE != 0 {
                entry = self.split(state, page & !(LARGE_BYTES - 1), slot);
            }
            physical = entry & ADDRESS;
        }
        // SAFETY: as above.
        Ok((unsafe { &table(physical)[index(page, LEVEL)] }, physical))
    }

    /// Stores a last-level entry, making tables as needed; returns the entry that was there.
    #[inline]
    fn store(&self, state: &mut State, page: u64, new: u64) -> Result<u64, OutOfMemory> {
        let (slot, physical) = self.slot::<0>(state, page)?;
        let old = slot.load(Relaxed);
        slot.store(new, Relaxed);
        if old == 0 {
            // SAFETY: the frame is the page table with that entry.
            unsafe { pool::count(physical) }.fetch_add(1, Relaxed);
        }
        Ok(old)
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
        if page.0 >= USER_END {
            return Err(OutOfMemory);
        }
        let address = page.page_floor().0;
        let mut state = self.lock();
        let entry = encode(frame, protection);
        match self.store(&mut state, address, entry) {
            Ok(0) => state.resident += 1,
            Ok(old) => Gathered::new(self).add(address, old),
            Err(error) => {
                // SAFETY: the entry was not stored.
                drop(unsafe { take_frame(entry) });
                return Err(error);
            }
        }
        Ok(())
    }

    /// Shows every mapped page in `start..end` to `visitor`, in order, and gives back tables that
    /// are empty afterwards. Costs time in proportion to the tables there are, not to the range.
    #[expect(clippy::too_many_arguments, reason = "it calls itself once a level")]
    fn visit(
        &self,
        state: &mut State,
        physical: u64,
        level: u32,
        start: u64,
        end: u64,
        gathered: &mut Gathered<'_>,
        visitor: &mut Visitor<'_>,
    ) -> ControlFlow<()> {
        // SAFETY: under the lock, and reached from the root.
        let (entries, count) = unsafe { (table(physical), pool::count(physical)) };
        let size = PAGE_SIZE << (9 * level);
        let mut address = start;
        while address < end {
            if level == 0 {
                // Most slots of a reservation are empty: pass over them quickly.
                let from = index(address, 0);
                let pages = ((end - address) / PAGE_SIZE) as usize;
                let rest = entries.get(from..(from + pages).min(entries.len())).unwrap_or_default();
                let empty = rest.iter().take_while(|slot| slot.load(Relaxed) == 0).count();
                address += empty as u64 * PAGE_SIZE;
                if address >= end {
                    break;
                }
                if empty == rest.len() {
                    break;
                }
            }
            let next = (address - address % size).saturating_add(size).min(end);
            let slot = &entries[index(address, level)];
            let mut entry = slot.load(Relaxed);
            if entry != 0 && (level == 0 || entry & LARGE != 0) {
                let pages = ((next - address) / PAGE_SIZE) as usize;
                match visitor(address, slot, gathered, pages.max(1)) {
                    Step::Keep => entry = 0,
                    Step::Removed => {
                        count.fetch_sub(1, Relaxed);
                        entry = 0;
                    }
                    Step::Split => entry = self.split(state, address - address % size, slot),
                    Step::Stop => return ControlFlow::Break(()),
                }
            }
            if entry != 0 {
                let below = entry & ADDRESS;
                self.visit(state, below, level - 1, address, next, gathered, visitor)?;
                // SAFETY: `below` is a table.
                if unsafe { pool::count(below) }.load(Relaxed) == 0 {
                    slot.store(0, Relaxed);
                    count.fetch_sub(1, Relaxed);
                    gathered.add(address, below | TABLE);
                }
            }
            address = next;
        }
        ControlFlow::Continue(())
    }

    pub(super) fn visit_range(
        &self,
        state: &mut State,
        range: PageRange,
        visitor: &mut Visitor<'_>,
    ) {
        let mut gathered = Gathered::new(self);
        let (start, end) = (range.start().0, range.end().0);
        let _ = self.visit(state, self.root, TOP, start, end, &mut gathered, visitor);
    }

    /// Unmaps every page in `range` and drops the references to their frames. Returns how many
    /// pages were mapped.
    pub fn unmap(&self, range: PageRange) -> usize {
        let mut state = self.lock();
        let (mut count, mut whole) = (0, 0);
        self.visit_range(&mut state, range, &mut |address, slot, gathered, pages| {
            if slot.load(Relaxed) & LARGE != 0 {
                if pages < paging::ENTRIES {
                    return Step::Split;
                }
                whole += 1;
            }
            gathered.add(address, slot.swap(0, Relaxed));
            count += pages;
            Step::Removed
        });
        (0..whole).for_each(|_| state.forget_deposit());
        state.resident -= count;
        count
    }

    /// Changes what the program may do with the pages mapped in `range`. Archive frames never
    /// become writable, nor do frames that are shared (a write then faults, and the fault handler
    /// decides) unless `shared_writable`.
    pub fn protect(&self, range: PageRange, protection: PageProtection, shared_writable: bool) {
        let mut state = self.lock();
        self.visit_range(&mut state, range, &mut |address, slot, gathered, pages| {
            let old = slot.load(Relaxed);
            if old & LARGE != 0 {
                // SAFETY: the entry holds its frames.
                if pages < paging::ENTRIES || !unsafe { large::is_unshared(old) } {
                    return Step::Split;
                }
                let new = old & (ADDRESS | LARGE) | protection_bits(protection, false);
                if new != old {
                    slot.store(new, Relaxed);
                    gathered.note(address);
                    gathered.note(address + LARGE_BYTES - PAGE_SIZE);
                }
                return Step::Keep;
            }
            let archive = old & ARCHIVE != 0;
            let mut allowed = protection;
            if protection.contains(PageProtection::WRITE) && !archive && !shared_writable {
                // SAFETY: the entry holds a reference to the frame.
                let count = unsafe { pool::count(old & ADDRESS) };
                if count.load(Relaxed) > 1 {
                    allowed -= PageProtection::WRITE;
                    allowed |= PageProtection::READ;
                }
            }
            let new = old & (ADDRESS | ARCHIVE) | protection_bits(allowed, archive);
            if new != old {
                slot.store(new, Relaxed);
                gathered.note(address);
            }
            Step::Keep
        });
    }

    /// The frame at `page` and what the program may do with it.
    pub fn lookup(&self, page: UserAddr) -> Option<(Frame, PageProtection)> {
        if page.0 >= USER_END {
            return None;
        }
        let _guard = self.lock();
        let entry = self.entry(page.0)?;
        if entry == 0 {
            return None;
        }
        // SAFETY: the reference is only borrowed: the clone is given out, the original forgotten.
        let held = core::mem::ManuallyDrop::new(unsafe { take_frame(entry) });
        Some((Frame::clone(&held), decode_protection(entry)))
    }

    /// The first mapped page in `range`. For skipping holes.
    pub fn next_mapped(&self, range: PageRange) -> Option<UserAddr> {
        let mut state = self.lock();
        let mut found = None;
        self.visit_range(&mut state, range, &mut |address, _, _, _| {
            found = Some(UserAddr(address));
            Step::Stop
        });
        found
    }

    /// Moves the mapped pages of `from` so that they start at `to` (mremap).
    ///
    /// # Errors
    /// No memory for a page table, or the target lies outside user memory; pages may have moved in
    /// part.
    pub fn relocate(&self, from: PageRange, to: UserAddr) -> Result<(), OutOfMemory> {
        let target = PageRange::from_length(to, from.bytes()).ok_or(OutOfMemory)?;
        let mut state = self.lock();
        let mut result = Ok(());
        self.split_in(&mut state, from);
        self.split_in(&mut state, target);
        let mut replaced = 0;
        self.visit_range(&mut State::default(), from, &mut |address, slot, gathered, _| {
            let entry = slot.load(Relaxed);
            let moved = target.start().0 + (address - from.start().0);
            if moved == address {
                return Step::Keep;
            }
            match self.store(&mut State::default(), moved, entry) {
                Ok(0) => {}
                Ok(old) => {
                    replaced += 1;
                    gathered.add(moved, old);
                }
                Err(error) => {
                    result = Err(error);
                    return Step::Stop;
                }
            }
            slot.store(0, Relaxed);
            gathered.note(address);
            Step::Removed
        });
        state.resident -= replaced;
        result
    }

    /// Makes single pages of all large ones in `range`.
    fn split_in(&self, state: &mut State, range: PageRange) {
        self.visit_range(state, range, &mut |_, slot, _, _| {
            if slot.load(Relaxed) & LARGE != 0 { Step::Split } else { Step::Keep }
        });
    }

    /// How many pages are mapped (the resident set).
    pub fn resident_pages(&self) -> usize {
        self.lock().resident
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        if let Some(all) = PageRange::new(UserAddr(0), UserAddr(USER_END)) {
            self.unmap(all);
        }
        if percpu::this().active_root.get() == self.root {
            paging::activate(paging::kernel_root());
        }
        // Another processor may still have the root loaded, as it does between two threads: then
        // the frame is given up.
        if percpu::count() == 1 {
            // SAFETY: no processor uses the root, and its lower half is empty.
            unsafe { pool::release_frame(self.root) };
        }
    }
}
