//! mprotect(2), and naming anonymous memory.

use crate::MAXIMUM_MAPPINGS;
use crate::memory::{Mm, State, check_commit};
use crate::vma::{Label, Vma};
use base::{Errno, PageRange, UserAddr};
use hal::PageProtection;

impl Mm {
    /// mprotect(2).
    ///
    /// # Errors
    /// As mprotect(2); with `ENOMEM` for a hole, what lies before it has changed.
    pub fn protect(
        &self,
        start: UserAddr,
        length: u64,
        protection: PageProtection,
    ) -> Result<(), Errno> {
        if !start.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        if length == 0 {
            return Ok(());
        }
        let range = PageRange::from_length(start, length).ok_or(Errno::ENOMEM)?;
        let mut state = self.state.lock();
        let mut at = range.start();
        while at < range.end() {
            let vma = state.tree.find(at).ok_or(Errno::ENOMEM)?;
            let part = vma.range.intersection(range).ok_or(Errno::ENOMEM)?;
            if vma.protection != protection {
                may_protect(vma, part, protection)?;
                self.protect_part(&mut state, part, protection)?;
            }
            at = part.end();
        }
        Ok(())
    }

    fn protect_part(
        &self,
        state: &mut State,
        part: PageRange,
        protection: PageProtection,
    ) -> Result<(), Errno> {
        if state.tree.len() + state.tree.splits(part) > MAXIMUM_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        state.tree.change(part, |vma| vma.protection = protection);
        let (hardware, shared) = match state.tree.find(part.start()) {
            Some(vma) => (vma.hardware(), vma.is_shared()),
            None => return Ok(()),
        };
        self.space.protect(part, hardware, shared);
        Ok(())
    }

    /// prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): names anonymous memory, or takes the name away.
    ///
    /// # Errors
    /// `EBADF`: a file is mapped there. `ENOMEM`: a hole. `EINVAL`: not aligned.
    pub fn set_name(&self, start: UserAddr, length: u64, name: Option<&str>) -> Result<(), Errno> {
        if !start.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let range = PageRange::from_length(start, length).ok_or(Errno::EINVAL)?;
        let label = name.map_or(Label::None, |name| Label::Named(name.into()));
        let mut state = self.state.lock();
        if state.tree.mapped(range).any(|(vma, _)| !vma.is_anonymous()) {
            return Err(Errno::EBADF);
        }
        if state.tree.len() + state.tree.splits(range) > MAXIMUM_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        state.tree.change(range, |vma| vma.label = label.clone());
        if state.tree.is_covered(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}

/// May `part` of `vma` get `protection`?
fn may_protect(vma: &Vma, part: PageRange, protection: PageProtection) -> Result<(), Errno> {
    if !protection.contains(PageProtection::WRITE) {
        return Ok(());
    }
    if !vma.may_write() {
        return Err(Errno::EACCES);
    }
    if !vma.is_accounted() && !vma.is_shared() {
        check_commit(part.bytes())?;
    }
    Ok(())
}
