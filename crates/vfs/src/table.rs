//! Descriptors: small numbers that lead to open files.

use crate::open::OpenFile;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::sync::SpinLock;
use base::{Errno, Fd};

/// Most descriptors that RLIMIT_NOFILE can allow (/proc/sys/fs/nr_open).
pub const DESCRIPTORS_MAX: usize = 1 << 20;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

#[derive(Clone, Default)]
struct Inner {
    slots: Vec<Option<Slot>>,
    /// One bit a slot: taken.
    taken: Vec<u64>,
    /// No word before this one has a free bit.
    first_free_word: usize,
    /// No word from this one on has a taken bit.
    end_word: usize,
    open: usize,
}

/// The descriptors of a process.
pub struct FdTable {
    inner: SpinLock<Inner>,
    limit: SpinLock<usize>,
}

fn index(fd: Fd) -> Result<usize, Errno> {
    usize::try_from(fd.0).map_err(|_| Errno::EBADF)
}

impl Inner {
    fn slot(&self, fd: Fd) -> Result<&Slot, Errno> {
        self.slots.get(index(fd)?).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    /// The lowest free descriptor from `minimum` on.
    fn lowest_free(&mut self, minimum: usize) -> usize {
        let mut word = minimum / 64;
        let mut mask = u64::MAX << (minimum % 64);
        let from_first = minimum <= self.first_free_word * 64;
        if word < self.first_free_word {
            word = self.first_free_word;
            mask = u64::MAX;
        }
        while let Some(taken) = self.taken.get(word) {
            let free = !taken & mask;
            if free != 0 {
                break;
            }
            word += 1;
            mask = u64::MAX;
        }
        if from_first {
            self.first_free_word = word;
        }
        let taken = self.taken.get(word).copied().unwrap_or(0);
        let free = !taken & mask;
        word * 64 + free.trailing_zeros() as usize
    }

    fn make_room(&mut self, at: usize) -> Result<(), Errno> {
        if at >= self.slots.len() {
            let size = (at + 1).next_multiple_of(64);
            let grow = size - self.slots.len();
            self.slots.try_reserve(grow).map_err(|_| Errno::ENFILE)?;
            self.taken.try_reserve(grow / 64).map_err(|_| Errno::ENFILE)?;
            self.slots.resize(size, None);
            self.taken.resize(size / 64, 0);
        }
        Ok(())
    }

    /// Fills a slot that there is room for; returns what it held.
    fn put(&mut self, at: usize, slot: Slot) -> Option<Slot> {
        if let Some(word) = self.taken.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        self.end_word = self.end_word.max(at / 64 + 1);
        let old = self.slots.get_mut(at).and_then(|place| place.replace(slot));
        self.open += usize::from(old.is_none());
        old
    }

    fn take(&mut self, at: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(at)?.take()?;
        if let Some(word) = self.taken.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
        self.first_free_word = self.first_free_word.min(at / 64);
        self.open -= 1;
        if at / 64 + 1 == self.end_word {
            self.give_room_back();
        }
        Some(slot)
    }

    /// Makes the table smaller when the high descriptors are gone.
    fn give_room_back(&mut self) {
        let taken = self.taken.get(..self.end_word).unwrap_or_default();
        self.end_word = taken.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        if let Some(room) = base::room::smaller(self.end_word * 64, self.slots.len()) {
            // Descriptors of a word are there together.
            let words = room.div_ceil(64).max(1);
            self.slots.truncate(words * 64);
            self.slots.shrink_to_fit();
            self.taken.truncate(words);
            self.taken.shrink_to_fit();
        }
    }
}

impl Default for FdTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FdTable {
    /// An empty table with Linux's usual limit, 1024.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: SpinLock::default(), limit: SpinLock::new(1024) }
    }

    /// RLIMIT_NOFILE's soft limit: one more than the highest descriptor that may be made.
    #[must_use]
    pub fn limit(&self) -> usize {
        *self.limit.lock()
    }

    /// Sets RLIMIT_NOFILE; descriptors beyond it stay open.
    pub fn set_limit(&self, limit: usize) {
        *self.limit.lock() = limit.min(DESCRIPTORS_MAX);
    }

    /// The open file of a descriptor. Does not allocate.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        self.inner.lock().slot(fd).map(|slot| Arc::clone(&slot.file))
    }

    /// Takes the lowest free descriptor.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<Fd, Errno> {
        self.insert_from(0, file, close_on_exec)
    }

    /// Takes the lowest free descriptor from `minimum` on (`F_DUPFD`).
    ///
    /// # Errors
    /// `EMFILE`. `EINVAL`: `minimum` is not below the limit.
    pub fn insert_from(
        &self,
        minimum: usize,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<Fd, Errno> {
        let limit = self.limit();
        if minimum >= limit && minimum > 0 {
            return Err(Errno::EINVAL);
        }
        let mut inner = self.inner.lock();
        let at = inner.lowest_free(minimum);
        if at >= limit {
            return Err(Errno::EMFILE);
        }
        inner.make_room(at)?;
        inner.put(at, Slot { file, close_on_exec });
        i32::try_from(at).map(Fd).map_err(|_| Errno::EMFILE)
    }

    /// Makes `to` lead to `file` (dup2); what it led to is closed.
    ///
    /// # Errors
    /// `EBADF`: not a possible descriptor.
    pub fn replace(&self, to: Fd, file: Arc<OpenFile>, close_on_exec: bool) -> Result<(), Errno> {
        let at = index(to)?;
        if at >= self.limit() {
            return Err(Errno::EBADF);
        }
        // Dropped outside the lock, also the new one when there is no room: see `close`.
        let old = {
            let mut inner = self.inner.lock();
            inner.make_room(at)?;
            inner.put(at, Slot { file, close_on_exec })
        };
        if let Some(old) = old {
            old.file.descriptor_closed();
        }
        Ok(())
    }

    /// close(2).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&self, fd: Fd) -> Result<(), Errno> {
        let at = index(fd)?;
        // Closed outside the lock: the last reference runs the file's own closing.
        let slot = self.inner.lock().take(at).ok_or(Errno::EBADF)?;
        slot.file.descriptor_closed();
        Ok(())
    }

    /// The close-on-exec flag (`F_GETFD`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close_on_exec(&self, fd: Fd) -> Result<bool, Errno> {
        self.inner.lock().slot(fd).map(|slot| slot.close_on_exec)
    }

    /// Sets the close-on-exec flag (`F_SETFD`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_close_on_exec(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let slot = inner.slots.get_mut(index(fd)?).and_then(Option::as_mut);
        slot.ok_or(Errno::EBADF)?.close_on_exec = on;
        Ok(())
    }

    /// The first open descriptor from `from` on.
    #[must_use]
    pub fn next_open(&self, from: usize) -> Option<Fd> {
        let inner = self.inner.lock();
        let mut word = from / 64;
        let mut mask = u64::MAX << (from % 64);
        loop {
            let taken = inner.taken.get(word)? & mask;
            if taken != 0 {
                let at = word * 64 + taken.trailing_zeros() as usize;
                return i32::try_from(at).ok().map(Fd);
            }
            word += 1;
            mask = u64::MAX;
        }
    }

    /// close_range(2): closes the descriptors `first..=last`, or marks them close-on-exec.
    pub fn close_range(&self, first: u32, last: u32, only_mark: bool) {
        let mut from = first as usize;
        while let Some(fd) = self.next_open(from) {
            let at = fd.0.cast_unsigned();
            if at > last {
                break;
            }
            // Somebody else may have closed it meanwhile.
            let _ = if only_mark { self.set_close_on_exec(fd, true) } else { self.close(fd) };
            from = at as usize + 1;
        }
    }

    /// How many descriptors are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.inner.lock().open
    }

    /// One more than the highest descriptor there is room for (`FDSize` in /proc/self/status).
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.lock().slots.len()
    }

    /// A copy whose descriptors lead to the same open files (unshare(2)).
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let inner = self.inner.lock().clone();
        Self { inner: SpinLock::new(inner), limit: SpinLock::new(self.limit()) }
    }
}
