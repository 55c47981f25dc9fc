//! mremap(2).

use crate::MAXIMUM_MAPPINGS;
use crate::mapping::{fixed, whole_pages};
use crate::memory::{Mm, State, check_commit};
use crate::tree::Removed;
use crate::vma::{Vma, VmaFlags};
use abi::mman::MremapFlags;
use base::address::USER_END;
use base::{Errno, PageRange, UserAddr};

/// The arguments, in whole pages.
#[derive(Clone, Copy)]
struct Resize {
    old: PageRange,
    new_bytes: u64,
    flags: MremapFlags,
    /// Where to, with `MREMAP_FIXED`; the hint with `MREMAP_DONTUNMAP`.
    target: UserAddr,
}

impl Mm {
    /// mremap(2). Returns where the mapping is then.
    ///
    /// # Errors
    /// As mremap(2).
    pub fn remap(
        &self,
        old: UserAddr,
        old_length: u64,
        new_length: u64,
        flags: MremapFlags,
        target: UserAddr,
    ) -> Result<UserAddr, Errno> {
        let resize = decode(old, old_length, new_length, flags, target)?;
        let mut removed = Removed::default();
        let mut state = self.state.lock();
        if state.tree.find(old).is_none() {
            return Err(Errno::EFAULT);
        }
        let start = self.resize(&mut state, resize, &mut removed)?;
        state.note_peak();
        let locked = state.tree.find(start).is_some_and(|vma| vma.flags.contains(VmaFlags::LOCKED));
        drop(state);
        drop(removed);
        if locked && let Some(range) = PageRange::from_length(start, resize.new_bytes) {
            let _ = self.populate(range);
        }
        Ok(start)
    }

    fn resize(
        &self,
        state: &mut State,
        resize: Resize,
        removed: &mut Removed,
    ) -> Result<UserAddr, Errno> {
        let old = resize.old;
        if resize.flags.contains(MremapFlags::FIXED) {
            let to = fixed_target(resize)?;
            self.clear_range(state, to, removed);
            let kept = self.shrink(state, old, resize.new_bytes, removed);
            return self.relocate(state, kept, to, resize.flags, removed);
        }
        if resize.flags.contains(MremapFlags::DONTUNMAP) {
            let to = self.room(state, old.bytes())?;
            return self.relocate(state, old, to, resize.flags, removed);
        }
        if !old.is_empty() && resize.new_bytes <= old.bytes() {
            self.shrink(state, old, resize.new_bytes, removed);
            return Ok(old.start());
        }
        let vma = growable(state, old)?;
        let grown = resize.new_bytes - old.bytes();
        if vma.is_accounted() {
            check_commit(grown)?;
        }
        if !old.is_empty() && vma.end() == old.end() && self.grow(state, &vma, grown) {
            return Ok(old.start());
        }
        if !resize.flags.contains(MremapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        let to = self.room(state, resize.new_bytes)?;
        self.relocate(state, old, to, resize.flags, removed)
    }

    /// Unmaps what exceeds `bytes`, and returns what is left.
    fn shrink(
        &self,
        state: &mut State,
        old: PageRange,
        bytes: u64,
        removed: &mut Removed,
    ) -> PageRange {
        let kept = PageRange::from_length(old.start(), bytes.min(old.bytes())).unwrap_or(old);
        if let Some(tail) = PageRange::new(kept.end(), old.end()) {
            self.clear_range(state, tail, removed);
        }
        kept
    }

    /// Extends `vma` by `bytes` where it is, if there is room.
    fn grow(&self, state: &mut State, vma: &Vma, bytes: u64) -> bool {
        let Some(extra) = PageRange::from_length(vma.end(), bytes) else { return false };
        if !state.tree.is_free(extra) {
            return false;
        }
        let page = vma.file_page(vma.end());
        let mut tail = vma.clone();
        tail.range = extra;
        tail.set_file_page(page);
        state.tree.insert(tail);
        true
    }

    fn room(&self, state: &mut State, bytes: u64) -> Result<PageRange, Errno> {
        let start = state
            .tree
            .find_room(bytes, crate::LOWEST_ADDRESS, self.layout.mmap_top)
            .ok_or(Errno::ENOMEM)?;
        PageRange::from_length(start, bytes).ok_or(Errno::ENOMEM)
    }

    /// Moves the pages and the mapping of `old` to the start of `to`, which is free. An empty
    /// `old` makes a second view of a shared mapping.
    fn relocate(
        &self,
        state: &mut State,
        old: PageRange,
        to: PageRange,
        flags: MremapFlags,
        removed: &mut Removed,
    ) -> Result<UserAddr, Errno> {
        let vma = growable(state, old)?;
        if flags.contains(MremapFlags::DONTUNMAP) && !vma.is_anonymous() && !vma.is_shared() {
            return Err(Errno::EINVAL);
        }
        if state.tree.len() + state.tree.splits(old) >= MAXIMUM_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        if self.space.relocate(old, to.start()).is_err() {
            // Bring back what moved; its old page tables are still there.
            if let Some(moved) = PageRange::from_length(to.start(), old.bytes()) {
                let _ = self.space.relocate(moved, old.start());
            }
            return Err(Errno::ENOMEM);
        }
        let mut moved = vma.clone();
        moved.range = to;
        moved.set_file_page(vma.file_page(old.start()));
        if !flags.contains(MremapFlags::DONTUNMAP) {
            self.clear_range(state, old, removed);
        }
        state.tree.insert(moved);
        Ok(to.start())
    }
}

fn decode(
    old: UserAddr,
    old_length: u64,
    new_length: u64,
    flags: MremapFlags,
    target: UserAddr,
) -> Result<Resize, Errno> {
    let moves = flags.contains(MremapFlags::MAYMOVE);
    if flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP) && !moves {
        return Err(Errno::EINVAL);
    }
    if !old.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let old_bytes = whole_pages(old_length).map_err(|_| Errno::EINVAL)?;
    let new_bytes = whole_pages(new_length).map_err(|_| Errno::EINVAL)?;
    if new_bytes == 0 || (flags.contains(MremapFlags::DONTUNMAP) && old_bytes != new_bytes) {
        return Err(Errno::EINVAL);
    }
    let old = PageRange::from_length(old, old_bytes).ok_or(Errno::EFAULT)?;
    Ok(Resize { old, new_bytes, flags, target })
}

/// The target of `MREMAP_FIXED`, if it is one.
fn fixed_target(resize: Resize) -> Result<PageRange, Errno> {
    if resize.target.0 > USER_END - resize.new_bytes {
        return Err(Errno::EINVAL);
    }
    let to = fixed(resize.target, resize.new_bytes)?;
    if to.intersection(resize.old).is_some() {
        return Err(Errno::EINVAL);
    }
    Ok(to)
}

/// The mapping that holds all of `old` (its start, when `old` is empty).
fn growable(state: &State, old: PageRange) -> Result<Vma, Errno> {
    let vma = state.tree.find(old.start()).ok_or(Errno::EFAULT)?;
    if old.is_empty() && !vma.is_shared() {
        return Err(Errno::EINVAL);
    }
    if old.end() > vma.end() {
        return Err(Errno::EFAULT);
    }
    Ok(vma.clone())
}
