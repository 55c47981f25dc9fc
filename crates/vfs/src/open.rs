//! The open file description.

use crate::entry::Entry;
use crate::epoll::Epoll;
use crate::file::FileRef;
use crate::flags::{OpenFlags, Whence};
use crate::inode::{InodeRef, Place};
use crate::inotify::{self, Event};
use crate::locks::LockOwner;
use crate::metadata::Metadata;
use crate::tree::as_file;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source};
use base::sync::{Once, Rank, SpinLock};
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// An open file description: a file, an offset, status flags. Descriptors made by dup(2) share it.
pub struct OpenFile {
    file: FileRef,
    entry: Option<Arc<Entry>>,
    flags: AtomicU32,
    /// Held by the transfer that moves the offset, so that two do not mix. Page faults never take it.
    offset_turn: SpinLock<()>,
    /// Where the last transfer that ended left it: others may look at it while one is under way.
    offset: AtomicU64,
    epolls: SpinLock<Vec<Weak<Epoll>>>,
    has_locks: AtomicBool,
    /// Whom it tells by signals: the system-call layer's, kept here as long as the file is open.
    owner: Once<Arc<dyn Any + Send + Sync>>,
}

impl OpenFile {
    /// Opens a file that has no path: pipe end, socket, epoll instance.
    #[must_use]
    pub fn new(file: FileRef, flags: OpenFlags) -> Arc<Self> {
        Self::with_place(file, None, flags)
    }

    /// Opens an inode that is its own file, by a name that no directory has (memfd_create).
    #[must_use]
    pub fn of_place(place: Place, flags: OpenFlags) -> Arc<Self> {
        Self::with_place(as_file(&place.inode), Some(place), flags)
    }

    pub(crate) fn with_place(file: FileRef, place: Option<Place>, flags: OpenFlags) -> Arc<Self> {
        Arc::new(Self {
            file,
            entry: place.map(Entry::of),
            flags: AtomicU32::new(flags.status().bits()),
            offset_turn: SpinLock::ranked(Rank::Offset, ()),
            offset: AtomicU64::new(0),
            epolls: SpinLock::new(Vec::new()),
            has_locks: AtomicBool::new(false),
            owner: Once::new(),
        })
    }

    /// The file.
    #[must_use]
    #[inline]
    pub fn file(&self) -> &FileRef {
        &self.file
    }

    /// Its place in the tree as it is now. `None`: it has no path.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.entry.as_ref().map(|entry| entry.place())
    }

    /// Its inode.
    #[must_use]
    pub fn inode(&self) -> Option<&InodeRef> {
        self.entry.as_ref().map(|entry| entry.inode())
    }

    /// Access mode and status flags, as `F_GETFL` gives them.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// True when calls may not sleep (`O_NONBLOCK`).
    #[must_use]
    #[inline]
    pub fn is_nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// `F_SETFL`: sets the status flags that can be set, and ignores all else.
    pub fn set_flags(&self, flags: OpenFlags) {
        let keep = self.flags() - OpenFlags::SETTABLE;
        let flags = keep | (flags & OpenFlags::SETTABLE);
        self.flags.store(flags.bits(), Ordering::Relaxed);
        self.file.status_flags_changed(flags);
    }

    /// Sets or clears `O_ASYNC`, which `set_flags` leaves alone.
    pub fn set_async(&self, on: bool) {
        if on {
            self.flags.fetch_or(OpenFlags::ASYNC.bits(), Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!OpenFlags::ASYNC.bits(), Ordering::Relaxed);
        }
    }

    /// Whom it tells by signals, if that was ever asked or set. With `make`, made then.
    pub fn owner(
        &self,
        make: Option<&dyn Fn() -> Arc<dyn Any + Send + Sync>>,
    ) -> Option<&Arc<dyn Any + Send + Sync>> {
        match make {
            Some(make) => Some(self.owner.call_once(make)),
            None => self.owner.get(),
        }
    }

    /// What fstat(2) tells.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn metadata(&self) -> Result<Metadata, Errno> {
        match self.inode() {
            Some(inode) => inode.status(),
            None => self.file.metadata(),
        }
    }

    /// The file, for calls that `O_PATH` descriptors do not have.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn usable(&self) -> Result<&FileRef, Errno> {
        if self.flags().contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(&self.file) }
    }

    /// The file, for reading.
    ///
    /// # Errors
    /// `EBADF`: not open for reading.
    #[inline]
    pub fn readable(&self) -> Result<&FileRef, Errno> {
        if self.flags().is_readable() { Ok(&self.file) } else { Err(Errno::EBADF) }
    }

    /// The file, for writing.
    ///
    /// # Errors
    /// `EBADF`: not open for writing.
    #[inline]
    pub fn writable(&self) -> Result<&FileRef, Errno> {
        if self.flags().is_writable() { Ok(&self.file) } else { Err(Errno::EBADF) }
    }

    /// read(2) at the offset, which moves on.
    ///
    /// # Errors
    /// As read(2). `EAGAIN`: wait for the file's notifier.
    #[inline]
    pub fn read(&self, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let file = self.readable()?;
        if !file.is_seekable() {
            return file.read(0, sink);
        }
        let count = self.with_offset(|offset| {
            let count = file.read(*offset, sink)?;
            *offset += count as u64;
            Ok(count)
        })?;
        self.was_read(count);
        Ok(count)
    }

    /// write(2) at the offset (or the end, with `O_APPEND`), which moves on.
    ///
    /// # Errors
    /// As write(2). `EAGAIN`: wait for the file's notifier.
    #[inline]
    pub fn write(&self, source: &mut dyn Source) -> Result<usize, Errno> {
        let file = self.writable()?;
        if !file.is_seekable() {
            return file.write(0, source);
        }
        if source.remaining() == 0 {
            // Not even to the end: `O_APPEND` moves the offset only with bytes.
            return Ok(0);
        }
        let count = self.with_offset(|offset| {
            if self.flags().contains(OpenFlags::APPEND) {
                let (count, end) = file.append(source)?;
                *offset = end;
                return Ok(count);
            }
            let count = file.write(*offset, source)?;
            *offset += count as u64;
            Ok(count)
        })?;
        self.tell(count, Event::MODIFY);
        Ok(count)
    }

    /// Linux refuses files without positions before it looks at the access mode.
    fn positioned(&self) -> Result<(), Errno> {
        if self.usable()?.is_seekable() { Ok(()) } else { Err(Errno::ESPIPE) }
    }

    /// pread(2).
    ///
    /// # Errors
    /// As pread(2).
    pub fn read_at(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        self.positioned()?;
        let file = self.readable()?;
        let count = file.read(offset, sink)?;
        self.was_read(count);
        Ok(count)
    }

    /// pwrite(2). With `O_APPEND` it appends whatever the offset, as Linux does.
    ///
    /// # Errors
    /// As pwrite(2).
    pub fn write_at(&self, offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        self.positioned()?;
        let file = self.writable()?;
        let count = if self.flags().contains(OpenFlags::APPEND) {
            file.append(source)?.0
        } else {
            file.write(offset, source)?
        };
        self.tell(count, Event::MODIFY);
        Ok(count)
    }

    /// lseek(2).
    ///
    /// # Errors
    /// As lseek(2).
    pub fn seek(&self, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let file = self.usable()?;
        if !file.is_seekable() {
            return Err(Errno::ESPIPE);
        }
        self.with_offset(|position| {
            *position = file.seek(*position, whence, offset)?;
            Ok(*position)
        })
    }

    /// fallocate(2). The order of the checks is Linux's (vfs_fallocate).
    ///
    /// # Errors
    /// As fallocate(2).
    pub fn allocate(&self, mode: u32, offset: i64, length: i64) -> Result<(), Errno> {
        const KEEP_SIZE: u32 = 1;
        const PUNCH_HOLE: u32 = 2;
        const KNOWN: u32 = 0x7b;
        self.usable()?;
        if offset < 0 || length <= 0 {
            return Err(Errno::EINVAL);
        }
        if mode & !KNOWN != 0 || (mode & PUNCH_HOLE != 0 && mode & KEEP_SIZE == 0) {
            return Err(Errno::EOPNOTSUPP);
        }
        let file = self.writable()?;
        file.allocate(mode, offset.cast_unsigned(), length.cast_unsigned())?;
        self.tell(1, Event::MODIFY);
        Ok(())
    }

    /// Runs `step` on the offset, which no other call changes meanwhile (getdents64, sendfile).
    #[inline]
    pub fn with_offset<T>(&self, step: impl FnOnce(&mut u64) -> T) -> T {
        let _turn = self.offset_turn.lock();
        let mut offset = self.offset.load(Ordering::Relaxed);
        let result = step(&mut offset);
        self.offset.store(offset, Ordering::Relaxed);
        result
    }

    /// The offset, as the last transfer that ended left it.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// So many bytes of it were read, perhaps not by its own calls (sendfile).
    #[inline]
    pub fn was_read(&self, count: usize) {
        self.touch();
        self.tell(count, Event::ACCESS);
    }

    /// What it holds was looked at: that counts as an access, unless it was opened with `O_NOATIME`.
    #[inline]
    pub fn touch(&self) {
        if let Some(inode) = self.inode()
            && !self.flags().contains(OpenFlags::NOATIME)
        {
            inode.touch();
        }
    }

    #[inline]
    fn tell(&self, count: usize, what: Event) {
        if let (true, Some(entry)) = (count > 0, &self.entry) {
            inotify::on_entry(entry, what);
        }
    }

    /// Who holds this description's locks.
    fn description(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// The owner of its OFD record locks.
    #[must_use]
    pub fn lock_owner(&self) -> LockOwner {
        LockOwner::Description(self.description())
    }

    /// Its inode's locks, about to be used by this description.
    ///
    /// # Errors
    /// `ENOLCK`: the file has none.
    pub fn locks(&self) -> Result<&Arc<crate::locks::FileLocks>, Errno> {
        let extras = self.inode().and_then(|inode| inode.extras()).ok_or(Errno::ENOLCK)?;
        self.has_locks.store(true, Ordering::Relaxed);
        Ok(extras.locks())
    }

    /// flock(2): `None` unlocks.
    ///
    /// # Errors
    /// `EAGAIN`: held by somebody else; wait for the locks' notifier.
    pub fn flock(&self, exclusive: Option<bool>) -> Result<(), Errno> {
        let locks = self.locks()?;
        match exclusive {
            Some(exclusive) => locks.lock_whole(self.description(), exclusive),
            None => {
                locks.unlock_whole(self.description());
                Ok(())
            }
        }
    }

    /// A descriptor to the file was closed: the process loses its record locks on it, whichever
    /// descriptor they were made through (POSIX).
    pub fn descriptor_closed(&self) {
        let extras = self.inode().and_then(|inode| inode.extras());
        if let Some(locks) = extras.and_then(|extras| extras.locks_if_any()) {
            locks.unlock_record(LockOwner::Process, 0, u64::MAX);
        }
    }

    /// An epoll instance watches this file: it is told when the file is closed.
    pub(crate) fn watched_by(&self, epoll: &Weak<Epoll>) {
        let mut epolls = self.epolls.lock();
        if !epolls.iter().any(|known| known.ptr_eq(epoll)) {
            epolls.retain(|known| known.strong_count() > 0);
            epolls.push(epoll.clone());
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let epolls = core::mem::take(&mut *self.epolls.lock());
        for epoll in epolls.iter().filter_map(Weak::upgrade) {
            epoll.file_closed(self);
        }
        if self.has_locks.load(Ordering::Relaxed) {
            let extras = self.inode().and_then(|inode| inode.extras());
            if let Some(locks) = extras.and_then(|extras| extras.locks_if_any()) {
                locks.release_description(self.description());
            }
        }
        if let Some(entry) = &self.entry {
            let wrote = self.flags().is_writable();
            inotify::on_entry(entry, if wrote { Event::CLOSE_WRITE } else { Event::CLOSE_NOWRITE });
        }
        if !self.flags().contains(OpenFlags::PATH) {
            self.file.released();
        }
    }
}
