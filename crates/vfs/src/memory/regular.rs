//! Regular files in memory: reading, writing, length, seals.
//!
//! The content's lock is the one that a page fault in a mapping of the file takes. So it is never
//! held while bytes move to or from the program: frames are picked under it and copied outside.

use super::content::{Content, Piece};
use base::io::{Sink, Source};
use base::sync::{Rank, SpinLock};
use base::{Errno, PAGE_SIZE};
use core::sync::atomic::{AtomicU32, Ordering};

/// Bytes copied by way of the stack at once.
const BOUNCE: usize = 2048;

/// The longest file, in bytes.
const BYTES_MAX: u64 = i64::MAX as u64;

static ZEROS: [u8; BOUNCE] = [0; BOUNCE];

/// `F_SEAL_*` of fcntl(2).
#[derive(Debug)]
pub struct Seals {
    bits: AtomicU32,
}

impl Seals {
    /// No further seals.
    pub const SEAL: u32 = 1;
    /// The file cannot become shorter.
    pub const SHRINK: u32 = 2;
    /// The file cannot become longer.
    pub const GROW: u32 = 4;
    /// The content cannot change.
    pub const WRITE: u32 = 8;
    /// No new writable mappings or writes.
    pub const FUTURE_WRITE: u32 = 16;
    /// The execute bits cannot change.
    pub const EXEC: u32 = 32;
    const ALL: u32 = 63;

    /// The seals set.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.bits.load(Ordering::Relaxed)
    }

    /// Adds seals (F_ADD_SEALS).
    ///
    /// # Errors
    /// `EINVAL`: unknown ones. `EPERM`: sealed against sealing.
    pub fn add(&self, seals: u32) -> Result<(), Errno> {
        if seals & !Self::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        if self.get() & Self::SEAL != 0 {
            return Err(Errno::EPERM);
        }
        self.bits.fetch_or(seals, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) struct Regular {
    pub(super) content: SpinLock<Content>,
    /// Held during a whole write, so that writes do not mix. Page faults never take it.
    writing: SpinLock<()>,
    seals: Seals,
}

impl Regular {
    pub(super) fn new(content: Content) -> Self {
        // Only memfd_create with MFD_ALLOW_SEALING lets seals in.
        let seals = Seals { bits: AtomicU32::new(Seals::SEAL) };
        Self {
            content: SpinLock::new(content),
            writing: SpinLock::ranked(Rank::Writing, ()),
            seals,
        }
    }

    pub(super) fn allow_seals(&self) {
        self.seals.bits.store(0, Ordering::Relaxed);
    }

    pub(super) fn seals(&self) -> &Seals {
        &self.seals
    }

    pub(super) fn read(&self, mut offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        while sink.room() > 0 {
            let (piece, count) = {
                let content = self.content.lock();
                let rest = content.bytes().saturating_sub(offset);
                let limit = sink.room().min(usize::try_from(rest).unwrap_or(usize::MAX));
                if limit == 0 {
                    break;
                }
                content.piece(offset, limit)
            };
            let result = match piece {
                Piece::Archive(bytes) => sink.put(bytes),
                Piece::Own(frame) => copy_out(sink, count, |at, into| {
                    frame.read((offset % PAGE_SIZE) as usize + at, into);
                }),
                Piece::Hole => put_zeros(sink, count),
            };
            let moved = match result {
                Ok(moved) => moved,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            done += moved;
            offset += moved as u64;
            if moved < count {
                break;
            }
        }
        Ok(done)
    }

    /// Writes at `offset`, or at the end. Returns how much, and the offset after it.
    pub(super) fn write(
        &self,
        offset: Option<u64>,
        source: &mut dyn Source,
    ) -> Result<(usize, u64), Errno> {
        let _writing = self.writing.lock();
        let (length, longest) = {
            let content = self.content.lock();
            (content.bytes(), content.longest().min(BYTES_MAX))
        };
        let start = offset.unwrap_or(length);
        if source.remaining() == 0 {
            return Ok((0, start));
        }
        if start >= longest {
            return Err(Errno::EFBIG);
        }
        let mut limit = usize::try_from(longest - start).unwrap_or(usize::MAX);
        let seals = self.seals.get();
        if seals & (Seals::WRITE | Seals::FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        if seals & Seals::GROW != 0 {
            let rest = usize::try_from(length.saturating_sub(start)).unwrap_or(usize::MAX);
            limit = limit.min(rest);
            if limit == 0 {
                return Err(Errno::EPERM);
            }
        }
        let mut done = 0;
        let mut bounce = [0; BOUNCE];
        while done < limit && source.remaining() > 0 {
            let at = start + done as u64;
            let in_page = (at % PAGE_SIZE) as usize;
            let count = (PAGE_SIZE as usize - in_page)
                .min(source.remaining())
                .min(limit - done)
                .min(BOUNCE);
            match self.write_piece(at, bounce.get_mut(..count).unwrap_or_default(), source) {
                Ok(moved) => {
                    done += moved;
                    if moved < count {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok((done, start + done as u64))
    }

    /// Moves what fits in `bounce` to `at`; it does not cross a page.
    fn write_piece(
        &self,
        at: u64,
        bounce: &mut [u8],
        source: &mut dyn Source,
    ) -> Result<usize, Errno> {
        // Space first: bytes taken from a source cannot be given back.
        let frame = self.content.lock().own(at / PAGE_SIZE)?;
        let moved = source.take(bounce)?;
        frame.write((at % PAGE_SIZE) as usize, bounce.get(..moved).unwrap_or_default());
        self.content.lock().extend(at + moved as u64);
        Ok(moved)
    }

    pub(super) fn truncate(&self, bytes: u64) -> Result<(), Errno> {
        if bytes > BYTES_MAX {
            return Err(Errno::EFBIG);
        }
        let _writing = self.writing.lock();
        let mut content = self.content.lock();
        content.may_become(bytes)?;
        let seals = self.seals.get();
        if (seals & Seals::SHRINK != 0 && bytes < content.bytes())
            || (seals & Seals::GROW != 0 && bytes > content.bytes())
        {
            return Err(Errno::EPERM);
        }
        content.truncate(bytes);
        Ok(())
    }

    /// fallocate(2) with the modes that tmpfs has: 0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE.
    pub(super) fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<(), Errno> {
        const KEEP_SIZE: u32 = 1;
        const PUNCH_HOLE: u32 = 2;
        if mode & !(KEEP_SIZE | PUNCH_HOLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(length).filter(|end| *end <= BYTES_MAX).ok_or(Errno::EFBIG)?;
        let _writing = self.writing.lock();
        let mut content = self.content.lock();
        let seals = self.seals.get();
        if mode & PUNCH_HOLE != 0 {
            if seals & (Seals::WRITE | Seals::FUTURE_WRITE) != 0 {
                return Err(Errno::EPERM);
            }
            let end = end.min(content.bytes().next_multiple_of(PAGE_SIZE));
            return if offset < end { content.punch(offset, end) } else { Ok(()) };
        }
        // Also when the length is kept.
        content.may_become(end)?;
        if seals & Seals::GROW != 0 && end > content.bytes() {
            return Err(Errno::EPERM);
        }
        content.reserve(offset, end)?;
        if mode & KEEP_SIZE == 0 {
            content.extend(end);
        }
        Ok(())
    }
}

/// Moves `count` bytes that `fill` produces from the running position on.
fn copy_out(
    sink: &mut dyn Sink,
    count: usize,
    fill: impl Fn(usize, &mut [u8]),
) -> Result<usize, Errno> {
    let mut bounce = [0; BOUNCE];
    let mut done = 0;
    while done < count {
        let step = (count - done).min(BOUNCE);
        let bytes = bounce.get_mut(..step).unwrap_or_default();
        fill(done, bytes);
        match sink.put(bytes) {
            Ok(moved) => done += moved,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        if done % BOUNCE != 0 {
            break;
        }
    }
    Ok(done)
}

/// Moves `count` zeros.
pub(crate) fn put_zeros(sink: &mut dyn Sink, count: usize) -> Result<usize, Errno> {
    let mut done = 0;
    while done < count {
        let step = (count - done).min(BOUNCE);
        match sink.put(ZEROS.get(..step).unwrap_or_default()) {
            Ok(0) => break,
            Ok(moved) => done += moved,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}
