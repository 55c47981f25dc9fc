//! Pages of 2 MiB: single pages, and a note that they are one.

use super::memory::Frame;
use super::space::AddressSpace;
use crate::types::{OutOfMemory, PageProtection};
use base::{PAGE_SIZE, PageRange, UserAddr};

/// Bytes of a large page.
const BYTES: u64 = 2 << 20;
const PAGES: u64 = BYTES / PAGE_SIZE;

/// Whether there are large pages.
pub const LARGE_PAGES: bool = true;

/// 2 MiB of physical memory in one piece, that nobody else holds.
pub struct LargeFrame {
    frames: Vec<Frame>,
}

impl LargeFrame {
    /// A fresh one, all zeros.
    ///
    /// # Errors
    /// There is not so much free memory.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let frames: Result<_, _> = (0..PAGES).map(|_| Frame::zeroed()).collect();
        Ok(Self { frames: frames? })
    }
}

fn whole(page: UserAddr) -> Option<PageRange> {
    PageRange::from_length(page, BYTES).filter(|_| page.0.is_multiple_of(BYTES))
}

fn parts(page: UserAddr, frame: LargeFrame) -> impl Iterator<Item = (UserAddr, Frame)> {
    (0..PAGES).map(move |at| UserAddr(page.0 + at * PAGE_SIZE)).zip(frame.frames)
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
        let range = whole(page).filter(|_| !protection.is_empty()).ok_or(OutOfMemory)?;
        if self.next_mapped(range).is_some() {
            return Ok(false);
        }
        let mut pages = self.pages();
        pages.single.extend(parts(page, frame).map(|(at, frame)| (at, (frame, protection))));
        pages.large.insert(page);
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
        self.next_mapped(whole(page).filter(|_| !protection.is_empty())?)?;
        let mut pages = self.pages();
        if !pages.large.insert(page) {
            return Some(false);
        }
        for (at, to) in parts(page, frame) {
            if let Some((from, _)) = pages.single.get(&at) {
                let mut bytes = [0; PAGE_SIZE as usize];
                from.read(0, &mut bytes);
                to.write(0, &bytes);
            }
            pages.single.insert(at, (to, protection));
        }
        Some(true)
    }

    /// How many pages of `range` are parts of large pages.
    pub fn large_pages(&self, range: PageRange) -> usize {
        let pages = self.pages();
        let covered = |page: &UserAddr| whole(*page)?.intersection(range);
        let parts = pages.large.iter().filter_map(covered);
        parts.map(|part| part.pages() as usize).sum()
    }
}
