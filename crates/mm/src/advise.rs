//! madvise(2).

use crate::MAXIMUM_MAPPINGS;
use crate::backing::Backing;
use crate::fault::FaultError;
use crate::memory::{Mm, State};
use crate::vma::{LARGE_BYTES, Source, Vma, VmaFlags};
use abi::mman::madv;
use alloc::sync::Arc;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
use hal::space::LargeFrame;
use hal::{Access, PageProtection};

/// What madvise(2) is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// No particular order of use.
    Normal,
    /// Touched at random: read nothing ahead.
    Random,
    /// Drop the pages: zeros, or the file again, when touched next.
    DontNeed {
        /// Locked memory too.
        locked: bool,
    },
    /// The pages may be dropped. They are, at once.
    Free,
    /// Frees the storage below a shared mapping.
    Remove,
    /// Makes pages present for reading.
    PopulateRead,
    /// Makes pages present for writing.
    PopulateWrite,
    /// For private anonymous memory only, and without meaning without fork.
    WipeOnFork,
    /// Large pages where possible, `true`, or none.
    Large(bool),
    /// Makes large pages of what is there, now.
    Collapse,
    /// Nothing may be touched there: `true`; or that is over.
    Guard(bool),
    /// Taken note of by Linux, without an effect that a program could see.
    Ignored,
}

impl Advice {
    /// Decodes `MADV_*`.
    ///
    /// # Errors
    /// `EINVAL`: no such advice, or one that needs what this kernel does not have (`MADV_HWPOISON`), as
    /// on Linux built without it.
    pub fn decode(advice: i32) -> Result<Self, Errno> {
        Ok(match advice {
            madv::NORMAL | madv::SEQUENTIAL => Self::Normal,
            madv::RANDOM => Self::Random,
            madv::DONTNEED => Self::DontNeed { locked: false },
            madv::DONTNEED_LOCKED => Self::DontNeed { locked: true },
            madv::FREE => Self::Free,
            madv::REMOVE => Self::Remove,
            madv::POPULATE_READ => Self::PopulateRead,
            madv::POPULATE_WRITE => Self::PopulateWrite,
            madv::WIPEONFORK => Self::WipeOnFork,
            madv::HUGEPAGE => Self::Large(true),
            madv::NOHUGEPAGE => Self::Large(false),
            madv::COLLAPSE => Self::Collapse,
            madv::GUARD_INSTALL => Self::Guard(true),
            madv::GUARD_REMOVE => Self::Guard(false),
            madv::WILLNEED
            | madv::DONTFORK
            | madv::DOFORK
            | madv::MERGEABLE
            | madv::UNMERGEABLE
            | madv::DONTDUMP
            | madv::DODUMP
            | madv::KEEPONFORK
            | madv::COLD
            | madv::PAGEOUT => Self::Ignored,
            _ => return Err(Errno::EINVAL),
        })
    }
}

/// A piece of a file to be freed.
type Hole = (Arc<dyn Backing>, u64, u64);

impl Mm {
    /// madvise(2).
    ///
    /// # Errors
    /// As madvise(2). `ENOMEM` for a hole in the range; the rest of it is done all the same.
    pub fn advise(&self, start: UserAddr, length: u64, advice: Advice) -> Result<(), Errno> {
        if !start.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let end = start.checked_add(length).and_then(UserAddr::page_ceil).ok_or(Errno::EINVAL)?;
        if end == start {
            return Ok(());
        }
        // Beyond user memory nothing is mapped: Linux calls that a hole.
        let range = PageRange::new(start, end).ok_or(Errno::ENOMEM)?;
        match advice {
            Advice::PopulateRead => self.populate_for(range, Access::Read),
            Advice::PopulateWrite => self.populate_for(range, Access::Write),
            Advice::Remove => self.discard(range),
            Advice::Collapse => self.collapse(range),
            _ => self.advise_mapped(range, advice),
        }
    }

    fn advise_mapped(&self, range: PageRange, advice: Advice) -> Result<(), Errno> {
        let mut state = self.state.lock();
        match advice {
            Advice::DontNeed { .. } | Advice::Free | Advice::WipeOnFork => {
                for (vma, part) in state.tree.mapped(range) {
                    may_advise(vma, advice)?;
                    // Shared pages belong to the file and stay.
                    if advice != Advice::WipeOnFork && !vma.is_shared() {
                        self.space.unmap(part);
                    }
                }
            }
            Advice::Normal | Advice::Random => {
                let random = advice == Advice::Random;
                let differs = |vma: &Vma| {
                    !vma.is_anonymous() && vma.flags.contains(VmaFlags::RANDOM) != random
                };
                if state.tree.mapped(range).any(|(vma, _)| differs(vma)) {
                    state.tree.change(range, |vma| vma.flags.set(VmaFlags::RANDOM, random));
                }
            }
            Advice::Large(wanted) => {
                let (set, clear) = if wanted {
                    (VmaFlags::LARGE_PAGES, VmaFlags::NO_LARGE_PAGES)
                } else {
                    (VmaFlags::NO_LARGE_PAGES, VmaFlags::LARGE_PAGES)
                };
                let differs = |vma: &Vma| vma.flags & (set | clear) != set;
                if state.tree.mapped(range).any(|(vma, _)| differs(vma)) {
                    if state.tree.len() + state.tree.splits(range) > MAXIMUM_MAPPINGS {
                        return Err(Errno::ENOMEM);
                    }
                    state.tree.change(range, |vma| vma.flags = (vma.flags - clear) | set);
                }
            }
            Advice::Guard(on) => self.guard(&mut state, range, on)?,
            _ => {}
        }
        if state.tree.is_covered(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// `MADV_GUARD_INSTALL`, which drops what is there, and `MADV_GUARD_REMOVE`.
    fn guard(&self, state: &mut State, range: PageRange, on: bool) -> Result<(), Errno> {
        let differs = |vma: &Vma| vma.flags.contains(VmaFlags::GUARD) != on;
        let mut changes = false;
        for (vma, part) in state.tree.mapped(range) {
            if on && vma.flags.contains(VmaFlags::LOCKED) {
                return Err(Errno::EINVAL);
            }
            changes |= differs(vma);
            if on {
                self.space.unmap(part);
            }
        }
        if changes {
            if state.tree.len() + state.tree.splits(range) > MAXIMUM_MAPPINGS {
                return Err(Errno::ENOMEM);
            }
            state.tree.change(range, |vma| vma.flags.set(VmaFlags::GUARD, on));
        }
        Ok(())
    }

    fn populate_for(&self, range: PageRange, access: Access) -> Result<(), Errno> {
        let mut page = range.start();
        while page < range.end() {
            {
                let state = self.state.lock();
                let vma = state.tree.find(page).ok_or(Errno::ENOMEM)?;
                if vma.flags.contains(VmaFlags::GUARD) {
                    return Err(Errno::EFAULT);
                }
                if !vma.allows(access) {
                    return Err(Errno::EINVAL);
                }
                if vma.is_always_zero() {
                    page = vma.end();
                    continue;
                }
            }
            self.touch(page, access).map_err(|error| match error {
                FaultError::Segv { .. } | FaultError::OutOfMemory => Errno::ENOMEM,
                FaultError::Bus => Errno::EFAULT,
            })?;
            page = page.wrapping_add(PAGE_SIZE);
        }
        Ok(())
    }

    /// `MADV_COLLAPSE`: one large page where single ones are, mapping by mapping and block by
    /// block.
    fn collapse(&self, range: PageRange) -> Result<(), Errno> {
        let mut at = range.start();
        let mut hole = false;
        while at < range.end() {
            let part = {
                let state = self.state.lock();
                let Some((vma, part)) = state.tree.mapped(rest(range, at)?).next() else {
                    return Err(Errno::ENOMEM);
                };
                if !vma.may_be_large() {
                    return Err(Errno::EINVAL);
                }
                part
            };
            hole |= part.start() != at;
            at = part.end();
            let first = part.start().0.next_multiple_of(LARGE_BYTES);
            let after = part.end().0 & !(LARGE_BYTES - 1);
            if after < first {
                return Err(Errno::EINVAL);
            }
            self.collapse_blocks(UserAddr(first), UserAddr(after))?;
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Goes from one block that holds something to the next: between may be terabytes of nothing.
    fn collapse_blocks(&self, first: UserAddr, after: UserAddr) -> Result<(), Errno> {
        let (mut at, mut empty) = (first, false);
        while at < after {
            let next = PageRange::new(at, after).and_then(|rest| self.space.next_mapped(rest));
            let Some(page) = next else { return Err(Errno::EINVAL) };
            let block = UserAddr(page.0 & !(LARGE_BYTES - 1));
            empty |= block > at;
            self.collapse_block(block)?;
            at = block.wrapping_add(LARGE_BYTES);
        }
        if empty { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn collapse_block(&self, start: UserAddr) -> Result<(), Errno> {
        let block = PageRange::from_length(start, LARGE_BYTES).ok_or(Errno::EINVAL)?;
        if self.space.large_pages(block) as u64 == block.pages() {
            return Ok(());
        }
        let frame = LargeFrame::zeroed().map_err(|_| Errno::ENOMEM)?;
        let state = self.state.lock();
        let vma = state.tree.find(start).ok_or(Errno::ENOMEM)?;
        let whole = vma.range.intersection(block) == Some(block);
        if !whole || !vma.may_be_large() || vma.protection.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.space.collapse(start, frame, vma.hardware()).map(|_| ()).ok_or(Errno::EINVAL)
    }

    /// `MADV_REMOVE`. Pages are unmapped first, then freed in the file; in between a touch may
    /// bring one back, which the second unmapping drops.
    fn discard(&self, range: PageRange) -> Result<(), Errno> {
        let mut at = range.start();
        while at < range.end() {
            let (hole, part) = {
                let mut state = self.state.lock();
                let (vma, part) =
                    state.tree.mapped(rest(range, at)?).next().ok_or(Errno::ENOMEM)?;
                if part.start() != at {
                    return Err(Errno::ENOMEM);
                }
                let hole = removable(vma, part)?;
                self.space.unmap(part);
                state.truncations += 1;
                (hole, part)
            };
            let (backing, first, pages) = hole;
            backing.discard(first, pages)?;
            self.drop_pages(&mut self.state.lock(), part);
            at = part.end();
        }
        Ok(())
    }

    fn drop_pages(&self, state: &mut State, part: PageRange) {
        self.space.unmap(part);
        state.truncations += 1;
    }
}

fn rest(range: PageRange, from: UserAddr) -> Result<PageRange, Errno> {
    PageRange::new(from, range.end()).ok_or(Errno::EINVAL)
}

fn may_advise(vma: &Vma, advice: Advice) -> Result<(), Errno> {
    let private_anonymous = vma.is_anonymous();
    let locked = vma.flags.contains(VmaFlags::LOCKED);
    let allowed = match advice {
        Advice::DontNeed { locked: true } => true,
        Advice::DontNeed { locked: false } => !locked,
        Advice::Free | Advice::WipeOnFork => private_anonymous,
        _ => true,
    };
    if allowed { Ok(()) } else { Err(Errno::EINVAL) }
}

fn removable(vma: &Vma, part: PageRange) -> Result<Hole, Errno> {
    if vma.flags.contains(VmaFlags::LOCKED) {
        return Err(Errno::EINVAL);
    }
    match &vma.source {
        Source::Anonymous => Err(Errno::EINVAL),
        Source::File { backing, shared: true, may_write: true, .. }
            if vma.protection.contains(PageProtection::WRITE) =>
        {
            Ok((Arc::clone(backing), vma.file_page(part.start()), part.pages()))
        }
        Source::File { .. } => Err(Errno::EACCES),
    }
}
