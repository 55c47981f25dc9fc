//! Packets in a pipe (`O_DIRECT`, pipe(2)): a write of up to `PIPE_BUF` bytes is one, and a read gives what
//! is left of one at most.

use super::PIPE_BUF;
use alloc::collections::VecDeque;
use base::Errno;

/// Which bytes of a pipe are packets. Places are counted from the first byte that went through the
/// pipe; bytes between packets came by writes without `O_DIRECT`.
#[derive(Default)]
pub(super) struct Packets {
    /// Bytes that were taken out of the pipe.
    taken: u64,
    /// Start and end of each packet that is not taken out whole.
    bounds: VecDeque<(u64, u64)>,
}

impl Packets {
    /// `count` bytes were taken out.
    pub(super) fn took(&mut self, count: usize) {
        self.taken += count as u64;
        while self.bounds.front().is_some_and(|bound| bound.1 <= self.taken) {
            self.bounds.pop_front();
        }
    }

    /// The most that a read may give: up to the end of the first packet.
    pub(super) fn readable(&self) -> usize {
        match self.bounds.front() {
            Some((_, end)) => usize::try_from(end - self.taken).unwrap_or(usize::MAX),
            None => usize::MAX,
        }
    }

    /// Bytes of a packet that was read in part: nobody will see them.
    pub(super) fn rest(&self) -> usize {
        match self.bounds.front() {
            Some((start, _)) if *start < self.taken => self.readable(),
            _ => 0,
        }
    }

    /// Makes sure that there is memory for packets of `count` bytes.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn reserve(&mut self, count: usize) -> Result<(), Errno> {
        self.bounds.try_reserve(count.div_ceil(PIPE_BUF)).map_err(|_| Errno::ENOMEM)
    }

    /// Makes packets of `count` bytes that were written behind `before` others. [`Packets::reserve`] was
    /// called for as many.
    pub(super) fn wrote(&mut self, before: usize, count: usize) {
        let (mut start, end) = (self.taken + before as u64, self.taken + (before + count) as u64);
        while start < end {
            let next = end.min(start + PIPE_BUF as u64);
            self.bounds.push_back((start, next));
            start = next;
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.bounds.len()
    }

    /// How many packets more fit into a pipe of `capacity` bytes: each takes a page.
    pub(super) fn room(&self, capacity: usize) -> usize {
        (capacity / PIPE_BUF).saturating_sub(self.count())
    }
}
