//! The bytes in a pipe.

use super::{PIPE_BUF, PIPE_BYTES};
use alloc::vec::Vec;
use base::Errno;

/// A ring of bytes that grows on demand up to the pipe's capacity.
pub(super) struct Ring {
    pub(super) bytes: Vec<u8>,
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) capacity: usize,
}

impl Ring {
    /// An empty ring of a new pipe's capacity.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, length: 0, capacity: PIPE_BYTES }
    }

    /// Forgets the bytes and their room.
    pub(super) fn clear(&mut self) {
        (self.start, self.length, self.bytes) = (0, 0, Vec::new());
    }

    /// Bytes that there is room for.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.length)
    }

    /// The bytes to read next that lie in one piece.
    pub(super) fn front(&self) -> &[u8] {
        let end = (self.start + self.length).min(self.bytes.len());
        self.bytes.get(self.start..end).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.length -= count;
        self.start += count;
        if self.start >= self.bytes.len() || self.length == 0 {
            self.start = if self.length == 0 { 0 } else { self.start - self.bytes.len() };
        }
    }

    /// Copies the first `count` bytes into another ring that has room for them.
    pub(super) fn copy_to(&self, into: &mut Self, count: usize) {
        let mut done = 0;
        while done < count {
            let at = (self.start + done) % self.bytes.len().max(1);
            let piece = self.bytes.get(at..).unwrap_or_default();
            let space = into.back();
            let step = piece.len().min(space.len()).min(count - done);
            if step == 0 {
                break;
            }
            if let (Some(to), Some(from)) = (space.get_mut(..step), piece.get(..step)) {
                to.copy_from_slice(from);
            }
            into.length += step;
            done += step;
        }
    }

    /// Takes the last `count` bytes out again.
    pub(super) fn withdraw(&mut self, count: usize) -> Vec<u8> {
        self.length -= count;
        let end = self.start + self.length;
        (end..end + count)
            .filter_map(|at| self.bytes.get(at % self.bytes.len().max(1)).copied())
            .collect()
    }

    /// The free bytes to write next that lie in one piece.
    pub(super) fn back(&mut self) -> &mut [u8] {
        let size = self.bytes.len();
        let at = self.start + self.length;
        let (from, to) = if at < size { (at, size) } else { (at - size, self.start) };
        self.bytes.get_mut(from..to).unwrap_or_default()
    }

    /// Makes room for `count` more bytes, as far as the capacity goes.
    pub(super) fn grow_for(&mut self, count: usize) -> Result<(), Errno> {
        let wanted = self.length.saturating_add(count).min(self.capacity);
        if wanted <= self.bytes.len() {
            return Ok(());
        }
        let size = wanted.next_power_of_two().clamp(PIPE_BUF, self.capacity.max(PIPE_BUF));
        self.resize(size)
    }

    pub(super) fn resize(&mut self, size: usize) -> Result<(), Errno> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        let first = self.front();
        bytes.extend_from_slice(first);
        let wrapped = self.length - first.len();
        bytes.extend_from_slice(self.bytes.get(..wrapped).unwrap_or_default());
        bytes.resize(size, 0);
        self.bytes = bytes;
        self.start = 0;
        Ok(())
    }
}
