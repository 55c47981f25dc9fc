//! What hangs on an inode only when somebody asks for it: locks, extended attributes, watches.

use crate::inotify::Watch;
use crate::locks::FileLocks;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::Errno;
use base::sync::{Once, SpinLock};

/// Longest value of an extended attribute (XATTR_SIZE_MAX), in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 65_536;

type Attributes = BTreeMap<Box<[u8]>, Box<[u8]>>;

#[derive(Default)]
struct Inner {
    locks: Arc<FileLocks>,
    attributes: SpinLock<Attributes>,
    watches: SpinLock<Vec<Weak<Watch>>>,
}

/// Locks, extended attributes and inotify watches of one inode. Two words until first used.
#[derive(Default)]
pub struct Extras {
    inner: Once<Box<Inner>>,
}

impl Extras {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: Once::new() }
    }

    fn inner(&self) -> &Inner {
        self.inner.call_once(Box::default)
    }

    /// The locks of flock(2) and fcntl(2).
    #[must_use]
    pub fn locks(&self) -> &Arc<FileLocks> {
        &self.inner().locks
    }

    /// The locks, if any were ever taken.
    #[must_use]
    pub fn locks_if_any(&self) -> Option<&Arc<FileLocks>> {
        self.inner.get().map(|inner| &inner.locks)
    }

    /// Copies out the value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`: there is none of that name.
    pub fn attribute(&self, name: &[u8]) -> Result<Box<[u8]>, Errno> {
        let inner = self.inner.get().ok_or(Errno::ENODATA)?;
        inner.attributes.lock().get(name).cloned().ok_or(Errno::ENODATA)
    }

    /// Sets an extended attribute. `create`: it must not exist; `replace`: it must.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA`, `ENOSPC` (out of memory).
    pub fn set_attribute(
        &self,
        name: &[u8],
        value: &[u8],
        create: bool,
        replace: bool,
    ) -> Result<(), Errno> {
        crate::memory::check_space(value.len() as u64)?;
        let mut attributes = self.inner().attributes.lock();
        let exists = attributes.contains_key(name);
        if create && exists {
            return Err(Errno::EEXIST);
        }
        if replace && !exists {
            return Err(Errno::ENODATA);
        }
        attributes.insert(name.into(), value.into());
        Ok(())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`: there is none of that name.
    pub fn remove_attribute(&self, name: &[u8]) -> Result<(), Errno> {
        let inner = self.inner.get().ok_or(Errno::ENODATA)?;
        inner.attributes.lock().remove(name).map(|_| ()).ok_or(Errno::ENODATA)
    }

    /// All names, each ended by a zero, as listxattr(2) gives them.
    #[must_use]
    pub fn attribute_names(&self) -> Vec<u8> {
        let mut names = Vec::new();
        if let Some(inner) = self.inner.get() {
            for name in inner.attributes.lock().keys() {
                names.extend_from_slice(name);
                names.push(0);
            }
        }
        names
    }

    /// Adds an inotify watch.
    pub fn watch(&self, watch: &Arc<Watch>) {
        let mut watches = self.inner().watches.lock();
        watches.retain(|row| row.strong_count() > 0);
        watches.push(Arc::downgrade(watch));
    }

    /// Calls `each` for every watch.
    pub fn each_watch(&self, mut each: impl FnMut(&Arc<Watch>)) {
        let Some(inner) = self.inner.get() else { return };
        // Cloned out: a watch that queues an event takes its instance's lock.
        let watches: Vec<_> = inner.watches.lock().iter().filter_map(Weak::upgrade).collect();
        for watch in &watches {
            each(watch);
        }
    }
}
