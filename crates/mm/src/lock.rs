//! mlock(2) and its relatives. Nothing is ever paged out here: locking makes pages present, and
//! makes `MADV_DONTNEED` refuse.

use crate::MAXIMUM_MAPPINGS;
use crate::fault::is_plentiful;
use crate::memory::{Mm, OnFault};
use crate::vma::VmaFlags;
use abi::mman::MlockallFlags;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};

impl Mm {
    /// mlock(2); with `on_fault` mlock2(2) with `MLOCK_ONFAULT`.
    ///
    /// # Errors
    /// As mlock(2).
    pub fn lock(&self, start: UserAddr, length: u64, on_fault: bool) -> Result<(), Errno> {
        let range = self.set_locked(start, length, true)?;
        if on_fault {
            return Ok(());
        }
        self.populate(range).map_err(|_| Errno::ENOMEM)?;
        // Memory that may not be touched cannot be made present.
        let state = self.state.lock();
        let untouchable = state.tree.mapped(range).any(|(vma, _)| vma.protection.is_empty());
        if untouchable { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// munlock(2).
    ///
    /// # Errors
    /// As munlock(2).
    pub fn unlock(&self, start: UserAddr, length: u64) -> Result<(), Errno> {
        self.set_locked(start, length, false).map(|_| ())
    }

    fn set_locked(&self, start: UserAddr, length: u64, locked: bool) -> Result<PageRange, Errno> {
        // The range covers every page that it touches.
        let first = start.page_floor();
        let length = length.checked_add(start.page_offset()).ok_or(Errno::EINVAL)?;
        first.checked_add(length).ok_or(Errno::EINVAL)?;
        let range = PageRange::from_length(first, length).ok_or(Errno::ENOMEM)?;
        let mut state = self.state.lock();
        if state.tree.len() + state.tree.splits(range) > MAXIMUM_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        state.tree.change(range, |vma| vma.flags.set(VmaFlags::LOCKED, locked));
        if state.tree.is_covered(range) { Ok(range) } else { Err(Errno::ENOMEM) }
    }

    /// mlockall(2); without any flag munlockall(2). Memory that exists is made present as far as
    /// there is plenty.
    pub fn lock_all(&self, flags: MlockallFlags) {
        let on_fault = flags.contains(MlockallFlags::ONFAULT);
        let mut state = self.state.lock();
        state.lock_future = flags.contains(MlockallFlags::FUTURE).then_some(if on_fault {
            OnFault::Yes
        } else {
            OnFault::No
        });
        let current = flags.contains(MlockallFlags::CURRENT);
        if !current && !flags.is_empty() {
            return;
        }
        let Some(everything) = PageRange::new(UserAddr(0), UserAddr(base::address::USER_END))
        else {
            return;
        };
        state.tree.change(everything, |vma| vma.flags.set(VmaFlags::LOCKED, current));
        drop(state);
        if current && !on_fault {
            self.populate_while_plentiful(everything);
        }
    }

    fn populate_while_plentiful(&self, range: PageRange) {
        const STEP: u64 = 64 * PAGE_SIZE;
        let mut at = range.start();
        while is_plentiful() {
            let next = {
                let state = self.state.lock();
                state.tree.at_or_after(at).map(|vma| (vma.start().max(at), vma.end()))
            };
            let Some((start, end)) = next else { return };
            let end = end.min(start.wrapping_add(STEP));
            let Some(piece) = PageRange::new(start, end) else { return };
            if self.populate(piece).is_err() {
                return;
            }
            at = end;
        }
    }
}
