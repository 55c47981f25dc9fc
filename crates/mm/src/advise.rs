//! madvise(2).

use crate::backing::Backing;
use crate::fault::FaultError;
use crate::memory::{Mm, State};
use crate::vma::{Source, Vma, VmaFlags};
use abi::mman::madv;
use alloc::sync::Arc;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
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
    /// Taken note of by Linux, without an effect that a program could see.
    Ignored,
}

impl Advice {
    /// Decodes `MADV_*`.
    ///
    /// # Errors
    /// `EINVAL`: no such advice, or one that needs what this kernel does not have
    /// (`MADV_COLLAPSE`, `MADV_HWPOISON`, guard regions), as on Linux built without it.
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
            madv::WILLNEED
            | madv::DONTFORK
            | madv::DOFORK
            | madv::MERGEABLE
            | madv::UNMERGEABLE
            | madv::HUGEPAGE
            | madv::NOHUGEPAGE
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
            _ => {}
        }
        if state.tree.is_covered(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn populate_for(&self, range: PageRange, access: Access) -> Result<(), Errno> {
        let mut page = range.start();
        while page < range.end() {
            {
                let state = self.state.lock();
                let vma = state.tree.find(page).ok_or(Errno::ENOMEM)?;
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
