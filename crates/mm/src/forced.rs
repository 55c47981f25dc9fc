//! Access to the program's memory beside its own rights, as a debugger has it (/proc/self/mem).

use crate::memory::Mm;
use crate::vma::{Vma, VmaFlags};
use base::io::{Sink, Source, in_parts};
use base::{Errno, PAGE_SIZE, UserAddr};
use hal::memory::Frame;
use hal::{Access, PageProtection};

/// Bytes copied by way of the stack at once.
const BOUNCE: usize = 512;

/// How often a page is made that is gone again.
const ATTEMPTS: u32 = 16;

/// Bytes from `at` to the end of its page, at most `most`.
fn in_page(at: UserAddr, most: usize) -> usize {
    ((PAGE_SIZE - at.page_offset()) as usize).min(most).min(BOUNCE)
}

impl Mm {
    /// Gives `sink` the bytes from `at` on: also of pages that the program may not read.
    ///
    /// # Errors
    /// `EIO`: nothing is mapped at `at`, or it cannot be made. What `sink` failed with.
    pub fn read_forced(&self, at: UserAddr, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut bounce = [0; BOUNCE];
        in_parts(&mut |done| {
            let here = at.wrapping_add(done as u64);
            let bytes = bounce.get_mut(..in_page(here, sink.room())).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(0);
            }
            match self.frame_at(here.page_floor())? {
                Some(frame) => frame.read(here.page_offset() as usize, bytes),
                None => bytes.fill(0),
            }
            sink.put(bytes)
        })
    }

    /// Takes the bytes of `source` to `at`: also to private pages that the program may only read,
    /// which then are its own.
    ///
    /// # Errors
    /// `EIO`: nothing is mapped at `at`, or it is shared and not for writing. What `source` failed
    /// with.
    pub fn write_forced(&self, at: UserAddr, source: &mut dyn Source) -> Result<usize, Errno> {
        let mut bounce = [0; BOUNCE];
        in_parts(&mut |done| {
            let here = at.wrapping_add(done as u64);
            let bytes = bounce.get_mut(..in_page(here, source.remaining())).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(0);
            }
            self.check_forced(here)?;
            let count = source.take(bytes)?;
            self.put_forced(here, bytes.get(..count).unwrap_or_default())?;
            Ok(count)
        })
    }

    /// The frame of a page. `None`: zeros, where the program may not even look.
    fn frame_at(&self, page: UserAddr) -> Result<Option<Frame>, Errno> {
        for _ in 0..ATTEMPTS {
            {
                let state = self.state.lock();
                let vma = state.tree.find(page).filter(|vma| !is_guard(vma)).ok_or(Errno::EIO)?;
                if let Some((frame, _)) = self.space.lookup(page) {
                    return Ok(Some(frame));
                }
                if !vma.allows(Access::Read) {
                    return if vma.is_anonymous() { Ok(None) } else { Err(Errno::EIO) };
                }
            }
            self.touch(page, Access::Read).map_err(|_| Errno::EIO)?;
        }
        Err(Errno::EIO)
    }

    fn check_forced(&self, at: UserAddr) -> Result<(), Errno> {
        let state = self.state.lock();
        let vma = state.tree.find(at).filter(|vma| !is_guard(vma)).ok_or(Errno::EIO)?;
        let allowed = vma.allows(Access::Write) || !vma.is_shared();
        if allowed { Ok(()) } else { Err(Errno::EIO) }
    }

    /// Puts bytes of one page.
    fn put_forced(&self, at: UserAddr, bytes: &[u8]) -> Result<(), Errno> {
        let page = at.page_floor();
        if self.write_partly(at, bytes) == bytes.len() {
            return Ok(());
        }
        self.frame_at(page)?;
        let state = self.state.lock();
        let vma = state.tree.find(page).filter(|vma| !is_guard(vma)).ok_or(Errno::EIO)?;
        if vma.is_shared() {
            return Err(Errno::EIO);
        }
        let frame = match self.space.lookup(page) {
            Some((frame, _)) if !frame.same(&self.zero) => frame.duplicate(),
            _ => Frame::zeroed(),
        };
        let frame = frame.map_err(|_| Errno::ENOMEM)?;
        frame.write(at.page_offset() as usize, bytes);
        // Not for the program to write to, and nothing else writes without a fault.
        let protection = vma.hardware() - PageProtection::WRITE;
        self.space.map(page, frame, protection).map_err(|_| Errno::ENOMEM)
    }

    /// Whether a page is there: `None` if not, else whether it is anonymous.
    #[must_use]
    pub fn presence(&self, page: UserAddr) -> Option<bool> {
        let state = self.state.lock();
        let vma = state.tree.find(page)?;
        self.space.lookup(page).map(|_| vma.is_anonymous())
    }
}

fn is_guard(vma: &Vma) -> bool {
    vma.flags.contains(VmaFlags::GUARD)
}
