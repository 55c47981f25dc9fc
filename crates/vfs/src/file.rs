//! What an open file can do.

use crate::flags::{OpenFlags, Whence};
use crate::metadata::Metadata;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source};
use core::any::Any;
use core::time::Duration;
use hal::memory::Frame;
use sched::{Notifier, PollEvents};

/// A file, pipe, socket, device or epoll instance: what a descriptor leads to.
///
/// No call sleeps: what cannot go on returns `EAGAIN`, and the system-call layer waits on
/// [`File::notifier`] and tries again when the descriptor is a blocking one.
pub trait File: Send + Sync {
    /// For reaching the concrete type (sockets, epoll, directories).
    fn as_any(&self) -> &dyn Any;

    /// Owner, size, mode, times (fstat).
    ///
    /// # Errors
    /// As fstat(2).
    fn metadata(&self) -> Result<Metadata, Errno>;

    /// Fills `sink` from byte `offset`; files without positions ignore it. `Ok(0)`: end of file.
    ///
    /// # Errors
    /// As read(2). `EAGAIN` when there is nothing yet.
    fn read(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno>;

    /// Drains `source` to byte `offset`; files without positions ignore it.
    ///
    /// # Errors
    /// As write(2). `EAGAIN` when there is no room yet.
    fn write(&self, offset: u64, source: &mut dyn Source) -> Result<usize, Errno>;

    /// Drains `source` to the end of the file (`O_APPEND`). Returns how much, and the offset after
    /// it.
    ///
    /// # Errors
    /// As write(2).
    fn append(&self, source: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let end = if self.is_seekable() { self.metadata()?.bytes } else { 0 };
        let count = self.write(end, source)?;
        Ok((count, end.saturating_add(count as u64)))
    }

    /// True when bytes may come from another file (sendfile, splice), not only from the program.
    fn takes_splices(&self) -> bool {
        true
    }

    /// True when the file has positions: lseek, pread and pwrite work.
    fn is_seekable(&self) -> bool {
        false
    }

    /// lseek(2) from `position`: the new offset. Asked only of files that are seekable.
    ///
    /// # Errors
    /// `EINVAL`: no such place. `ENXIO`: no data or hole there.
    fn seek(&self, position: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        seek_within(self.metadata()?.bytes, position, whence, offset)
    }

    /// What the file is ready for now.
    fn poll(&self) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    /// Who tells when that changes. `None`: always ready, and epoll_ctl refuses it with `EPERM`.
    fn notifier(&self) -> Option<&Notifier> {
        None
    }

    /// The frame that holds page `page` of the file, for mmap. With `write` the frame is the
    /// file's own writable one (`MAP_SHARED`); without, it may be an archive frame.
    ///
    /// # Errors
    /// `ENODEV`: cannot be mapped. `ENXIO`: beyond the end (the program gets SIGBUS).
    fn frame(&self, _page: u64, _write: bool) -> Result<Frame, Errno> {
        Err(Errno::ENODEV)
    }

    /// A page of it was mapped so that the program can write to it: that counts as a change.
    fn mapped_for_writing(&self) {}

    /// How long a blocking read or write waits before it gives up with `EAGAIN` (`SO_RCVTIMEO`,
    /// `SO_SNDTIMEO`). `None`: for ever.
    fn time_limit(&self, _write: bool) -> Option<Duration> {
        None
    }

    /// Sets the length (ftruncate).
    ///
    /// # Errors
    /// `EINVAL`: not a regular file.
    fn truncate(&self, _bytes: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// fallocate(2); `mode` as there.
    ///
    /// # Errors
    /// `ENODEV`: not a regular file. `EOPNOTSUPP`: not in this mode. `ENOSPC`.
    fn allocate(&self, _mode: u32, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    /// fsync(2); memory needs none.
    ///
    /// # Errors
    /// `EINVAL`: the file does not support it.
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Device control. `argument` is in or out as `command` says.
    ///
    /// # Errors
    /// `ENOTTY`: the file has no such command.
    fn ioctl(&self, _command: u32, _argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        Err(Errno::ENOTTY)
    }

    /// The last descriptor to this open file was closed.
    fn released(&self) {}

    /// True when it can tell its owner by signals that it is ready (`O_ASYNC`).
    fn sends_signals(&self) -> bool {
        false
    }

    /// `F_SETFL` changed the status flags.
    fn status_flags_changed(&self, _flags: OpenFlags) {}

    /// Opening it again by way of `/proc/self/fd`.
    ///
    /// # Errors
    /// `ENXIO`: cannot be opened by name (sockets, epoll).
    fn reopen(&self, _flags: OpenFlags) -> Result<FileRef, Errno> {
        Err(Errno::ENXIO)
    }

    /// Lines that `/proc/self/fdinfo` has for it beside those of every file.
    fn details(&self) -> String {
        String::new()
    }

    /// What `/proc/self/fd` shows for a file without a path: `pipe:[12]`, `socket:[13]`,
    /// `anon_inode:[eventpoll]`.
    fn describe(&self) -> String {
        String::from("anon_inode:[file]")
    }
}

/// The third argument of ioctl(2): a number, or a pointer to a structure of the program's.
pub trait IoctlArgument {
    /// The argument itself.
    fn value(&self) -> u64;

    /// Reads the structure that it points to.
    ///
    /// # Errors
    /// `EFAULT`.
    fn load(&mut self, into: &mut [u8]) -> Result<(), Errno>;

    /// Writes the structure that it points to.
    ///
    /// # Errors
    /// `EFAULT`.
    fn store(&mut self, from: &[u8]) -> Result<(), Errno>;
}

/// An argument of the kernel's own, for who calls a file without a program: a number, and what it points to.
#[derive(Clone, Debug, Default)]
pub struct KernelArgument {
    /// The argument itself.
    pub value: u64,
    /// The structure that it points to: what the file loads, or has stored.
    pub bytes: Vec<u8>,
}

impl KernelArgument {
    /// A number that points nowhere.
    #[must_use]
    pub fn of_value(value: u64) -> Self {
        Self { value, bytes: Vec::new() }
    }

    /// A pointer to a structure.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { value: 0, bytes: bytes.to_vec() }
    }
}

impl IoctlArgument for KernelArgument {
    fn value(&self) -> u64 {
        self.value
    }

    fn load(&mut self, into: &mut [u8]) -> Result<(), Errno> {
        into.copy_from_slice(self.bytes.get(..into.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }

    fn store(&mut self, from: &[u8]) -> Result<(), Errno> {
        self.bytes = from.to_vec();
        Ok(())
    }
}

/// A counted file.
pub type FileRef = Arc<dyn File>;

/// lseek(2) in a file of `bytes` bytes without holes.
///
/// # Errors
/// `EINVAL`: before the start. `ENXIO`: `SEEK_DATA` or `SEEK_HOLE` beyond the end. `EOVERFLOW`.
pub fn seek_within(bytes: u64, position: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
    let base = match whence {
        Whence::Set => 0,
        Whence::Current => position,
        Whence::End => bytes,
        Whence::Data | Whence::Hole => {
            let at = u64::try_from(offset).ok().filter(|at| *at < bytes).ok_or(Errno::ENXIO)?;
            return Ok(if whence == Whence::Data { at } else { bytes });
        }
    };
    let sum = i128::from(base) + i128::from(offset);
    match u64::try_from(sum) {
        Ok(sum) if sum <= i64::MAX as u64 => Ok(sum),
        // Linux adds in 64 bits with a sign: past the largest offset it is negative.
        _ => Err(Errno::EINVAL),
    }
}
