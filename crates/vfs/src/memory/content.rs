//! The bytes of a regular file: a sparse map of page frames above bytes of the boot archive.

use super::Pages;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use base::{Errno, PAGE_SIZE};
use hal::memory::Frame;

const PAGES_PER_CHUNK: u64 = 64;
const PAGE: usize = PAGE_SIZE as usize;

type Chunk = Box<[Option<Frame>; PAGES_PER_CHUNK as usize]>;

/// What backs a page.
pub(crate) enum Piece {
    /// A frame of the file's own.
    Own(Frame),
    /// Bytes of the archive from the asked position on; zeros follow to the end of the page.
    Archive(&'static [u8]),
    /// Nothing: zeros.
    Hole,
}

/// The content of one file.
pub(crate) struct Content {
    /// Length in bytes.
    bytes: u64,
    /// The archive's bytes, from the start of the file on, where no own frame covers them.
    base: &'static [u8],
    chunks: BTreeMap<u64, Chunk>,
    own_pages: u64,
    /// Where they are counted.
    pages: Arc<Pages>,
}

impl Drop for Content {
    fn drop(&mut self) {
        self.pages.give(self.own_pages);
    }
}

fn split(page: u64) -> (u64, usize) {
    (page / PAGES_PER_CHUNK, (page % PAGES_PER_CHUNK) as usize)
}

impl Content {
    /// What a file holds at first: bytes of the archive in place, or none.
    pub(crate) fn new(pages: &Arc<Pages>, base: &'static [u8]) -> Self {
        let pages = Arc::clone(pages);
        Self { bytes: base.len() as u64, base, chunks: BTreeMap::new(), own_pages: 0, pages }
    }

    /// Length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length to which it may grow, in bytes.
    pub(crate) fn longest(&self) -> u64 {
        self.pages.longest()
    }

    /// Says whether it may be so long.
    ///
    /// # Errors
    /// `EFBIG`: it would grow beyond the limit.
    pub(crate) fn may_become(&self, bytes: u64) -> Result<(), Errno> {
        if bytes > self.bytes && bytes > self.longest() { Err(Errno::EFBIG) } else { Ok(()) }
    }

    /// Pages that hold something, own or in the archive.
    pub(crate) fn held_pages(&self) -> u64 {
        self.own_pages.max((self.base.len() as u64).div_ceil(PAGE_SIZE))
    }

    fn own_frame(&self, page: u64) -> Option<&Frame> {
        let (chunk, at) = split(page);
        self.chunks.get(&chunk)?.get(at)?.as_ref()
    }

    /// What backs byte `offset`, and how many bytes from there on are backed alike, at most
    /// `limit`. A pristine archive file answers with the whole run at once.
    pub(crate) fn piece(&self, offset: u64, limit: usize) -> (Piece, usize) {
        if self.chunks.is_empty() && offset < self.base.len() as u64 {
            let rest = self.base.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(limit);
            return (Piece::Archive(rest.get(..count).unwrap_or_default()), count);
        }
        let page = offset / PAGE_SIZE;
        let in_page = (offset % PAGE_SIZE) as usize;
        let count = limit.min(PAGE - in_page);
        if let Some(frame) = self.own_frame(page) {
            return (Piece::Own(frame.clone()), count);
        }
        match usize::try_from(offset).ok().and_then(|at| self.base.get(at..)) {
            Some(rest) if !rest.is_empty() => {
                let count = count.min(rest.len());
                (Piece::Archive(rest.get(..count).unwrap_or_default()), count)
            }
            _ => (Piece::Hole, count),
        }
    }

    /// The file's own frame for `page`, made (zero, or a copy of the archive's bytes) if need be.
    pub(crate) fn own(&mut self, page: u64) -> Result<Frame, Errno> {
        let (chunk, at) = split(page);
        if let Some(frame) = self.own_frame(page) {
            return Ok(frame.clone());
        }
        self.pages.take()?;
        let frame = Frame::zeroed().map_err(|_| {
            self.pages.give(1);
            Errno::ENOSPC
        })?;
        if let Some(from) = self.base_of(page) {
            frame.write(0, from);
        }
        let slots = self.chunks.entry(chunk).or_insert_with(|| Box::new([const { None }; 64]));
        if let Some(slot) = slots.get_mut(at) {
            *slot = Some(frame.clone());
            self.own_pages += 1;
        }
        Ok(frame)
    }

    /// The archive's bytes of a page, if it has any there.
    fn base_of(&self, page: u64) -> Option<&'static [u8]> {
        let start = usize::try_from(page.checked_mul(PAGE_SIZE)?).ok()?;
        let end = start.saturating_add(PAGE).min(self.base.len());
        self.base.get(start..end).filter(|bytes| !bytes.is_empty())
    }

    /// The frame to map for `page`. Without `write`, whole pages of the archive come as they lie
    /// in memory. `None`: a hole, to be read as zeros.
    pub(crate) fn frame(&mut self, page: u64, write: bool) -> Result<Option<Frame>, Errno> {
        if page >= self.bytes.div_ceil(PAGE_SIZE) {
            return Err(Errno::ENXIO);
        }
        if let Some(frame) = self.own_frame(page) {
            return Ok(Some(frame.clone()));
        }
        if !write && let Some(frame) = self.base_of(page).and_then(Frame::of_archive) {
            return Ok(Some(frame));
        }
        self.own(page).map(Some)
    }

    /// Grows the length to at least `bytes`.
    pub(crate) fn extend(&mut self, bytes: u64) {
        self.bytes = self.bytes.max(bytes);
    }

    /// Sets the length; what lies beyond is gone, also when the file grows again.
    pub(crate) fn truncate(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.clear(bytes, self.bytes.next_multiple_of(PAGE_SIZE));
            let keep = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.base.len());
            self.base = self.base.get(..keep).unwrap_or_default();
        }
        self.bytes = bytes;
    }

    /// Zeroes the own frames in `start..end` and frees those that lie in it whole. Where the
    /// archive has bytes, the caller cuts the base or punches.
    fn clear(&mut self, start: u64, end: u64) {
        let first_whole = start.div_ceil(PAGE_SIZE);
        if !start.is_multiple_of(PAGE_SIZE) {
            let page = start / PAGE_SIZE;
            let until = end.min((page + 1).saturating_mul(PAGE_SIZE));
            if let Some(frame) = self.own_frame(page) {
                frame.clear((start % PAGE_SIZE) as usize, until.saturating_sub(start) as usize);
            }
        }
        let end_page = end / PAGE_SIZE;
        if !end.is_multiple_of(PAGE_SIZE)
            && end_page >= first_whole
            && let Some(frame) = self.own_frame(end_page)
        {
            frame.clear(0, (end % PAGE_SIZE) as usize);
        }
        if first_whole < end_page {
            self.free_pages(first_whole, end_page);
        }
    }

    fn free_pages(&mut self, first: u64, end: u64) {
        let mut freed = 0;
        let (first_chunk, last_chunk) = (first / PAGES_PER_CHUNK, (end - 1) / PAGES_PER_CHUNK);
        for (&chunk, slots) in self.chunks.range_mut(first_chunk..=last_chunk) {
            let start = chunk * PAGES_PER_CHUNK;
            for (page, slot) in (start..).zip(slots.iter_mut()) {
                if (first..end).contains(&page) && slot.take().is_some() {
                    freed += 1;
                }
            }
        }
        self.own_pages -= freed;
        self.pages.give(freed);
        self.chunks.retain(|_, slots| slots.iter().any(Option::is_some));
    }

    /// fallocate's PUNCH_HOLE and ZERO_RANGE: `start..end` reads as zeros.
    pub(crate) fn punch(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        let base_end = end.min(self.base.len() as u64);
        // Archive bytes cannot be freed: own pages of zeros hide them.
        let mut page = start / PAGE_SIZE;
        while page * PAGE_SIZE < base_end {
            self.own(page)?;
            page += 1;
        }
        if base_end <= start {
            self.clear(start, end);
            return Ok(());
        }
        let mut at = start;
        while at < base_end {
            let in_page = at % PAGE_SIZE;
            let count = (PAGE_SIZE - in_page).min(end - at);
            if let Some(frame) = self.own_frame(at / PAGE_SIZE) {
                frame.clear(in_page as usize, count as usize);
            }
            at += count;
        }
        if at < end {
            self.clear(at, end);
        }
        Ok(())
    }

    /// fallocate: gives every page in `start..end` a frame.
    pub(crate) fn reserve(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        let pages = start / PAGE_SIZE..end.div_ceil(PAGE_SIZE);
        // Before any is given. No file is longer than it may have pages and be counted through.
        if pages.end - pages.start > self.pages.limit() {
            return Err(Errno::ENOSPC);
        }
        let is_missing =
            |page: &u64| self.own_frame(*page).is_none() && self.base_of(*page).is_none();
        let missing = pages.clone().filter(is_missing).count() as u64;
        super::check_space(missing.saturating_mul(PAGE_SIZE))?;
        if missing > self.pages.free() {
            return Err(Errno::ENOSPC);
        }
        for page in pages {
            if self.base_of(page).is_none() {
                self.own(page)?;
            }
        }
        Ok(())
    }

    /// The next byte at or after `offset` that is (`data`) or is not in a page with content.
    pub(crate) fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        if offset >= self.bytes {
            return None;
        }
        let end = self.bytes.div_ceil(PAGE_SIZE);
        let mut page = offset / PAGE_SIZE;
        while page < end {
            let held = self.own_frame(page).is_some() || self.base_of(page).is_some();
            if held == data {
                return Some(offset.max(page * PAGE_SIZE));
            }
            // Holes may be larger than anybody could count through: data is looked for in the map.
            if data && page * PAGE_SIZE >= self.base.len() as u64 {
                let (&next, _) = self.chunks.range(split(page).0..).next()?;
                page = (page + 1).max(next * PAGES_PER_CHUNK);
            } else {
                page += 1;
            }
        }
        if data { None } else { Some(self.bytes) }
    }
}
