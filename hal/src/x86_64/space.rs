//! The program's address space: four levels of page tables.
//!
//! A page that the program may not touch at all keeps its frame: its entry is not present and has
//! [`HELD`]. The frame-table word of a page table counts its entries that are not 0, so that a
//! table is given back when its last entry goes.

use super::memory::Frame;
use super::paging::{
    self, ACCESSED, ADDRESS, DIRTY, NO_EXECUTE, PRESENT, Table, USER, WRITABLE, index, table,
};
use super::pool::Purpose;
use super::{instructions, percpu, pool, presence};
use crate::types::{OutOfMemory, PageProtection};
use base::address::USER_END;
use base::sync::{Rank, SpinLock};
use base::{PAGE_SIZE, PageRange, UserAddr};
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The frame belongs to the boot archive (a bit that the processor leaves to software).
const ARCHIVE: u64 = 1 << 9;
/// The entry holds a frame though it is not present.
const HELD: u64 = 1 << 10;
/// In [`Gathered`] only: a page table, not a page.
const TABLE: u64 = 1 << 11;
/// The level of the top table; leaves are at 0.
const TOP: u32 = 3;
/// Above this many pages all translations are dropped instead of each one.
const INVALIDATE_SINGLY: u64 = 32;

/// The program's address space. Each mapped page holds a reference to its frame.
pub struct AddressSpace {
    root: u64,
    /// Counts changes that other processors must learn of, see [`presence`].
    generation: AtomicU64,
    /// Mapped pages. The lock guards the tables.
    resident: SpinLock<usize>,
}

/// What [`AddressSpace::visit`] does after showing an entry.
enum Step {
    Keep,
    /// The visitor set the entry to 0.
    Removed,
    Stop,
}

/// Entries taken out of the tables, whose frames may be given back only after every processor has
/// forgotten the translations.
struct Gathered<'a> {
    space: &'a AddressSpace,
    entries: [u64; 64],
    count: usize,
    first: u64,
    last: u64,
}

fn encode(frame: Frame, protection: PageProtection) -> u64 {
    let (address, archive) = frame.into_raw();
    let mark = if archive { ARCHIVE } else { 0 };
    address | mark | protection_bits(protection, archive)
}

fn protection_bits(protection: PageProtection, archive: bool) -> u64 {
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
unsafe fn take_frame(entry: u64) -> Frame {
    // SAFETY: made by `encode`, taken up once.
    unsafe { Frame::from_raw(entry & ADDRESS, entry & ARCHIVE != 0) }
}

impl<'a> Gathered<'a> {
    fn new(space: &'a AddressSpace) -> Self {
        Self { space, entries: [0; 64], count: 0, first: u64::MAX, last: 0 }
    }

    fn add(&mut self, address: u64, entry: u64) {
        if self.count == self.entries.len() {
            self.flush();
        }
        self.entries[self.count] = entry;
        self.count += 1;
        self.note(address);
    }

    /// A translation changed, nothing to give back.
    fn note(&mut self, address: u64) {
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
            resident: SpinLock::ranked(Rank::PageTables, 0),
        })
    }

    /// This processor is about to touch the program's memory: until `presence::leave`.
    #[inline]
    pub(super) fn enter(&self) {
        presence::enter(self.root, &self.generation);
    }

    /// Makes all processors forget the translations of the pages `first..=last`; with `tables`,
    /// also what they cache of the tables above them.
    fn invalidate(&self, first: u64, last: u64, tables: bool) {
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

    /// The last-level entry of a page, if its tables exist.
    fn entry(&self, page: u64) -> Option<&AtomicU64> {
        let mut at = self.root();
        for level in (1..=TOP).rev() {
            let entry = at[index(page, level)].load(Relaxed);
            if entry == 0 {
                return None;
            }
            // SAFETY: under the lock, entries above the last level point to tables.
            at = unsafe { table(entry & ADDRESS) };
        }
        Some(&at[index(page, 0)])
    }

    /// Stores a last-level entry, making tables as needed; returns the entry that was there.
    fn store(&self, page: u64, new: u64) -> Result<u64, OutOfMemory> {
        let mut physical = self.root;
        for level in (1..=TOP).rev() {
            // SAFETY: under the lock, and reached from the root.
            let slot = unsafe { &table(physical)[index(page, level)] };
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
            }
            physical = entry & ADDRESS;
        }
        // SAFETY: as above.
        let (slot, count) = unsafe { (&table(physical)[index(page, 0)], pool::count(physical)) };
        let old = slot.load(Relaxed);
        slot.store(new, Relaxed);
        if old == 0 {
            count.fetch_add(1, Relaxed);
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
        let mut resident = self.resident.lock();
        let entry = encode(frame, protection);
        match self.store(address, entry) {
            Ok(0) => *resident += 1,
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
    fn visit(
        &self,
        physical: u64,
        level: u32,
        start: u64,
        end: u64,
        gathered: &mut Gathered<'_>,
        visitor: &mut dyn FnMut(u64, &AtomicU64, &mut Gathered<'_>) -> Step,
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
            let entry = slot.load(Relaxed);
            if entry != 0 && level == 0 {
                match visitor(address, slot, gathered) {
                    Step::Keep => {}
                    Step::Removed => {
                        count.fetch_sub(1, Relaxed);
                    }
                    Step::Stop => return ControlFlow::Break(()),
                }
            } else if entry != 0 {
                let below = entry & ADDRESS;
                self.visit(below, level - 1, address, next, gathered, visitor)?;
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

    fn visit_range(
        &self,
        range: PageRange,
        visitor: &mut dyn FnMut(u64, &AtomicU64, &mut Gathered<'_>) -> Step,
    ) {
        let mut gathered = Gathered::new(self);
        let (start, end) = (range.start().0, range.end().0);
        let _ = self.visit(self.root, TOP, start, end, &mut gathered, visitor);
    }

    /// Unmaps every page in `range` and drops the references to their frames. Returns how many
    /// pages were mapped.
    pub fn unmap(&self, range: PageRange) -> usize {
        let mut resident = self.resident.lock();
        let mut count = 0;
        self.visit_range(range, &mut |address, slot, gathered| {
            gathered.add(address, slot.swap(0, Relaxed));
            count += 1;
            Step::Removed
        });
        *resident -= count;
        count
    }

    /// Changes what the program may do with the pages mapped in `range`. Archive frames never
    /// become writable, nor do frames that are shared (a write then faults, and the fault handler
    /// decides) unless `shared_writable`.
    pub fn protect(&self, range: PageRange, protection: PageProtection, shared_writable: bool) {
        let _guard = self.resident.lock();
        self.visit_range(range, &mut |address, slot, gathered| {
            let old = slot.load(Relaxed);
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
        let _guard = self.resident.lock();
        let entry = self.entry(page.0)?.load(Relaxed);
        if entry == 0 {
            return None;
        }
        // SAFETY: the reference is only borrowed: the clone is given out, the original forgotten.
        let held = core::mem::ManuallyDrop::new(unsafe { take_frame(entry) });
        Some((Frame::clone(&held), decode_protection(entry)))
    }

    /// The first mapped page in `range`. For skipping holes.
    pub fn next_mapped(&self, range: PageRange) -> Option<UserAddr> {
        let _guard = self.resident.lock();
        let mut found = None;
        self.visit_range(range, &mut |address, _, _| {
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
        let mut resident = self.resident.lock();
        let mut result = Ok(());
        self.visit_range(from, &mut |address, slot, gathered| {
            let entry = slot.load(Relaxed);
            let moved = target.start().0 + (address - from.start().0);
            if moved == address {
                return Step::Keep;
            }
            match self.store(moved, entry) {
                Ok(0) => {}
                Ok(old) => {
                    *resident -= 1;
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
        result
    }

    /// How many pages are mapped (the resident set).
    pub fn resident_pages(&self) -> usize {
        *self.resident.lock()
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
