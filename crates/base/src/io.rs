//! Byte streams between the kernel and wherever the bytes come from or go to: user memory in one
//! or many pieces, or a kernel buffer.
//!
//! A file's `read` fills a [`Sink`]; its `write` drains a [`Source`]. So no file knows about user
//! memory, and no byte is copied twice.

use crate::Errno;

/// Takes bytes.
pub trait Sink {
    /// How many more bytes it takes.
    fn room(&self) -> usize;

    /// Takes as many of `bytes` as there is room for and memory accepts.
    ///
    /// # Errors
    /// `EFAULT` when not one byte could be stored. A partial store is `Ok` with its length.
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno>;
}

/// Gives bytes.
pub trait Source {
    /// How many bytes are left.
    fn remaining(&self) -> usize;

    /// Moves up to `into.len()` bytes out, and returns how many.
    ///
    /// # Errors
    /// `EFAULT` when not one byte could be read. A partial read is `Ok` with its length.
    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno>;
}

/// A [`Sink`] into a kernel buffer.
#[derive(Debug)]
pub struct SliceSink<'a> {
    buffer: &'a mut [u8],
    filled: usize,
}

impl<'a> SliceSink<'a> {
    /// A sink that fills `buffer` from its start.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, filled: 0 }
    }

    /// How many bytes it took.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.filled
    }
}

impl Sink for SliceSink<'_> {
    fn room(&self) -> usize {
        self.buffer.len() - self.filled
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = bytes.len().min(self.room());
        let end = self.filled + count;
        if let (Some(to), Some(from)) = (self.buffer.get_mut(self.filled..end), bytes.get(..count))
        {
            to.copy_from_slice(from);
        }
        self.filled = end;
        Ok(count)
    }
}

/// A [`Source`] from a kernel buffer.
#[derive(Debug)]
pub struct SliceSource<'a> {
    bytes: &'a [u8],
}

impl<'a> SliceSource<'a> {
    /// A source of all of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let count = into.len().min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        if let Some(into) = into.get_mut(..count) {
            into.copy_from_slice(now);
        }
        self.bytes = later;
        Ok(count)
    }
}
