//! Byte streams between the kernel and wherever the bytes come from or go to: user memory in one
//! or many pieces, or a kernel buffer.
//!
//! A file's `read` fills a [`Sink`]; its `write` drains a [`Source`]. So no file knows about user
//! memory, and no byte is copied twice.
//!
//! [`COPIED_AT_ONCE`]: crate::sync::COPIED_AT_ONCE

use crate::Errno;
use alloc::vec::Vec;

/// Takes bytes.
pub trait Sink {
    /// How many more bytes it takes.
    fn room(&self) -> usize;

    /// Takes as many of `bytes` as there is room for and memory accepts.
    ///
    /// # Errors
    /// `EFAULT` when not one byte could be stored. A partial store is `Ok` with its length.
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// As [`Sink::put`], for a caller that holds a lock: stops, also with nothing stored, where a
    /// page would have to be made first, and after [`COPIED_AT_ONCE`] bytes. [`fill`] goes on from
    /// there without the lock.
    fn put_present(&mut self, bytes: &[u8]) -> usize {
        self.put(bytes).unwrap_or(0)
    }

    /// Without a lock: makes it possible to go on after [`Sink::put_present`] stopped. `false`: it
    /// did not stop.
    ///
    /// # Errors
    /// `EFAULT`: memory accepts no more.
    fn resume(&mut self) -> Result<bool, Errno> {
        Ok(false)
    }
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

    /// As [`Source::take`], for a caller that holds a lock: stops, also with nothing moved, where a
    /// page would have to be made first, and after [`COPIED_AT_ONCE`] bytes. [`drain`] goes on from
    /// there without the lock.
    fn take_present(&mut self, into: &mut [u8]) -> usize {
        self.take(into).unwrap_or(0)
    }

    /// Without a lock: makes it possible to go on after [`Source::take_present`] stopped. `false`:
    /// it did not stop.
    ///
    /// # Errors
    /// `EFAULT`: memory gives no more.
    fn resume(&mut self) -> Result<bool, Errno> {
        Ok(false)
    }
}

/// Repeats `read`, which fills `sink` with [`Sink::put_present`] under a lock, as long as it stops
/// at the program's memory. It is told whether bytes have been moved before.
///
/// # Errors
/// Those of `read` before a byte was moved. `EFAULT`: not one byte could be stored.
pub fn fill(
    sink: &mut dyn Sink,
    mut read: impl FnMut(&mut dyn Sink, bool) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut total = 0;
    loop {
        total += go_on(read(sink, total > 0), total)?;
        if !go_on(sink.resume(), total)? {
            return Ok(total);
        }
    }
}

/// Repeats `write`, which drains `source` with [`Source::take_present`] under a lock, as long as it
/// stops at the program's memory. It is told whether bytes have been moved before.
///
/// # Errors
/// Those of `write` before a byte was moved. `EFAULT`: not one byte could be read.
pub fn drain(
    source: &mut dyn Source,
    mut write: impl FnMut(&mut dyn Source, bool) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut total = 0;
    loop {
        total += go_on(write(source, total > 0), total)?;
        if !go_on(source.resume(), total)? {
            return Ok(total);
        }
    }
}

/// Repeats `part`, which moves some bytes and is told how many were moved before, until it moves none.
///
/// # Errors
/// Those of `part` before a byte was moved.
pub fn in_parts(part: &mut dyn FnMut(usize) -> Result<usize, Errno>) -> Result<usize, Errno> {
    let mut total = 0;
    loop {
        match go_on(part(total), total)? {
            0 => return Ok(total),
            moved => total += moved,
        }
    }
}

/// An error after `total` bytes is told by the next call.
#[inline]
fn go_on<T: Default>(result: Result<T, Errno>, total: usize) -> Result<T, Errno> {
    if total > 0 { Ok(result.unwrap_or_default()) } else { result }
}

/// Moves all that `source` has left into a buffer, after `head` bytes that stay 0.
///
/// # Errors
/// `EFAULT`: not all could be read. `ENOBUFS`: no memory.
pub fn take_all(source: &mut dyn Source, head: usize) -> Result<Vec<u8>, Errno> {
    let bytes = head + source.remaining();
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| Errno::ENOBUFS)?;
    buffer.resize(bytes, 0);
    let mut done = head;
    while done < bytes {
        match source.take(buffer.get_mut(done..).unwrap_or_default())? {
            0 => return Err(Errno::EFAULT),
            count => done += count,
        }
    }
    Ok(buffer)
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
