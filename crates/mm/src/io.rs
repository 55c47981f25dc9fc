//! User memory as byte streams: one range, or the pieces of an iovec array.

use crate::memory::Mm;
use alloc::vec::Vec;
use base::address::USER_END;
use base::io::{Sink, Source};
use base::sync::COPIED_AT_ONCE;
use base::{Errno, UserAddr};
use hal::Access;

/// Most pieces of one readv or writev (`UIO_MAXIOV`).
const MAXIMUM_PIECES: usize = 1024;

/// Most bytes of one read or write (`MAX_RW_COUNT`): 2 GiB less one page.
pub const MAXIMUM_TRANSFER: usize = 0x7fff_f000;

/// A range of user memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Piece {
    /// First byte.
    pub address: UserAddr,
    /// Length in bytes.
    pub bytes: usize,
}

/// Walks along pieces.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    current: Piece,
    rest: &'a [Piece],
    remaining: usize,
}

impl<'a> Cursor<'a> {
    fn new(first: Piece, rest: &'a [Piece]) -> Self {
        let total = rest.iter().fold(first.bytes, |sum, piece| sum.saturating_add(piece.bytes));
        Self { current: first, rest, remaining: total.min(MAXIMUM_TRANSFER) }
    }

    /// The rest of the current piece, up to `limit` bytes; `None` at the end.
    fn next(&mut self, limit: usize) -> Option<Piece> {
        while self.current.bytes == 0 {
            let (first, rest) = self.rest.split_first()?;
            self.current = *first;
            self.rest = rest;
        }
        let bytes = self.current.bytes.min(limit).min(self.remaining);
        (bytes > 0).then_some(Piece { address: self.current.address, bytes })
    }

    fn advance(&mut self, bytes: usize) {
        self.current.address = self.current.address.wrapping_add(bytes as u64);
        self.current.bytes -= bytes.min(self.current.bytes);
        self.remaining -= bytes.min(self.remaining);
    }

    /// Where a copy stopped, and how much is left in that piece.
    fn rest(&mut self) -> Option<Piece> {
        self.next(usize::MAX)
    }

    /// Moves up to `limit` bytes with `copy(address, done, count)`, piece by piece, until one
    /// falls short.
    fn transfer(
        &mut self,
        limit: usize,
        mut copy: impl FnMut(UserAddr, usize, usize) -> usize,
    ) -> Result<usize, Errno> {
        let mut done = 0;
        while let Some(piece) = self.next(limit - done) {
            let count = copy(piece.address, done, piece.bytes).min(piece.bytes);
            self.advance(count);
            done += count;
            if count < piece.bytes {
                return if done == 0 { Err(Errno::EFAULT) } else { Ok(done) };
            }
        }
        Ok(done)
    }
}

/// How far copies under a lock have come.
struct Hold {
    /// Bytes that may still be copied before the lock must be opened.
    left: usize,
    /// The last copy fell short.
    stopped: bool,
    /// How often it did without moving a byte.
    fruitless: u32,
}

impl Hold {
    /// How often a page may refuse, though it was made present, before it is given up.
    const PATIENCE: u32 = 16;

    const fn new() -> Self {
        Self { left: COPIED_AT_ONCE, stopped: false, fruitless: 0 }
    }

    /// A copy of `asked` bytes moved `moved`.
    #[inline]
    fn note(&mut self, asked: usize, moved: usize) {
        self.left -= moved.min(self.left);
        self.stopped = moved < asked;
        if moved > 0 {
            self.fruitless = 0;
        }
    }

    /// The lock is open again; makes the page at which a copy stopped. `false`: none did.
    fn open(&mut self, memory: &Mm, rest: Option<Piece>, access: Access) -> Result<bool, Errno> {
        let Some(piece) = rest.filter(|_| self.stopped) else { return Ok(false) };
        if self.left > 0 {
            self.fruitless += 1;
            if self.fruitless > Self::PATIENCE {
                return Err(Errno::EFAULT);
            }
            memory.prepare(piece.address, piece.bytes, access)?;
        }
        self.left = COPIED_AT_ONCE;
        self.stopped = false;
        Ok(true)
    }
}

/// User memory that a read fills.
pub struct UserSink<'a> {
    memory: &'a Mm,
    cursor: Cursor<'a>,
    hold: Hold,
}

impl<'a> UserSink<'a> {
    /// A sink into one range.
    #[must_use]
    pub fn new(memory: &'a Mm, address: UserAddr, bytes: usize) -> Self {
        Self { memory, cursor: Cursor::new(Piece { address, bytes }, &[]), hold: Hold::new() }
    }

    /// A sink into several ranges, one after the other.
    #[must_use]
    pub fn scatter(memory: &'a Mm, pieces: &'a [Piece]) -> Self {
        Self { memory, cursor: Cursor::new(Piece::default(), pieces), hold: Hold::new() }
    }
}

impl Sink for UserSink<'_> {
    fn room(&self) -> usize {
        self.cursor.remaining
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let memory = self.memory;
        self.cursor.transfer(bytes.len(), |address, done, count| {
            memory.write_partly(address, bytes.get(done..done + count).unwrap_or_default())
        })
    }

    fn put_present(&mut self, bytes: &[u8]) -> usize {
        let memory = self.memory;
        let moved =
            self.cursor.transfer(bytes.len().min(self.hold.left), |address, done, count| {
                memory.write_present(address, bytes.get(done..done + count).unwrap_or_default())
            });
        let moved = moved.unwrap_or(0);
        self.hold.note(bytes.len(), moved);
        moved
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        if !self.hold.stopped {
            return Ok(false);
        }
        self.hold.open(self.memory, self.cursor.rest(), Access::Write)
    }
}

/// User memory that a write drains.
pub struct UserSource<'a> {
    memory: &'a Mm,
    cursor: Cursor<'a>,
    hold: Hold,
}

impl<'a> UserSource<'a> {
    /// A source of one range.
    #[must_use]
    pub fn new(memory: &'a Mm, address: UserAddr, bytes: usize) -> Self {
        Self { memory, cursor: Cursor::new(Piece { address, bytes }, &[]), hold: Hold::new() }
    }

    /// A source of several ranges, one after the other.
    #[must_use]
    pub fn gather(memory: &'a Mm, pieces: &'a [Piece]) -> Self {
        Self { memory, cursor: Cursor::new(Piece::default(), pieces), hold: Hold::new() }
    }
}

impl Source for UserSource<'_> {
    fn remaining(&self) -> usize {
        self.cursor.remaining
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let memory = self.memory;
        self.cursor.transfer(into.len(), |address, done, count| {
            memory.read_partly(address, into.get_mut(done..done + count).unwrap_or_default())
        })
    }

    fn take_present(&mut self, into: &mut [u8]) -> usize {
        let (memory, wanted) = (self.memory, into.len());
        let moved = self.cursor.transfer(wanted.min(self.hold.left), |address, done, count| {
            memory.read_present(address, into.get_mut(done..done + count).unwrap_or_default())
        });
        let moved = moved.unwrap_or(0);
        self.hold.note(wanted, moved);
        moved
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        if !self.hold.stopped {
            return Ok(false);
        }
        self.hold.open(self.memory, self.cursor.rest(), Access::Read)
    }
}

impl Mm {
    /// Reads an array of `count` iovec structures (readv(2)).
    ///
    /// # Errors
    /// `EINVAL`: too many, or a length that is negative. `EFAULT`.
    pub fn read_pieces(&self, from: UserAddr, count: usize) -> Result<Vec<Piece>, Errno> {
        if count > MAXIMUM_PIECES {
            return Err(Errno::EINVAL);
        }
        let mut pieces = Vec::with_capacity(count);
        for index in 0..count {
            let at = from.wrapping_add(index as u64 * 16);
            let [address, length]: [u64; 2] = self.read(at)?;
            let bytes = usize::try_from(length.cast_signed()).map_err(|_| Errno::EINVAL)?;
            // Linux's access_ok for each piece.
            let end = address.checked_add(length).ok_or(Errno::EFAULT)?;
            if end > USER_END {
                return Err(Errno::EFAULT);
            }
            pieces.push(Piece { address: UserAddr(address), bytes });
        }
        Ok(pieces)
    }
}
