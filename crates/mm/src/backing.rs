//! Files as memory sees them, and shared memory without a file.

use alloc::collections::BTreeMap;
use base::Errno;
use base::sync::SpinLock;
use core::fmt;
use hal::memory::Frame;

/// Which file this is: the numbers in /proc/self/maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileIdentity {
    /// Device, `major << 8 | minor`.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// Where the pages of a mapping come from. Called without any lock of this crate.
pub trait Backing: Send + Sync {
    /// The frame that holds page `page` of the file. With `write` it is the file's own writable
    /// one; without, it may be a page of the boot archive.
    ///
    /// # Errors
    /// `ENXIO`: beyond the end (SIGBUS). `ENOMEM`: no memory. Others count as an I/O error
    /// (SIGBUS).
    fn frame(&self, page: u64, write: bool) -> Result<Frame, Errno>;

    /// A page of it is about to be mapped for writing, with its own frame.
    fn mapped_for_writing(&self) {}

    /// Which file this is.
    fn identity(&self) -> FileIdentity;

    /// Writes the name for the last column of /proc/self/maps.
    ///
    /// # Errors
    /// Only those of `out`.
    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// Makes `pages` pages from `first` durable (msync).
    ///
    /// # Errors
    /// `EIO`.
    fn sync(&self, _first: u64, _pages: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// Frees the storage of `pages` pages from `first`; they read as zeros afterwards
    /// (`MADV_REMOVE`).
    ///
    /// # Errors
    /// `EOPNOTSUPP`: the file cannot.
    fn discard(&self, _first: u64, _pages: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// Memory for `MAP_SHARED | MAP_ANONYMOUS`: an object that has pages and no name.
#[derive(Default)]
pub struct SharedMemory {
    pages: SpinLock<BTreeMap<u64, Frame>>,
    bytes: u64,
}

impl SharedMemory {
    /// An object of `bytes` bytes, all zero, that holds no memory yet.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { pages: SpinLock::default(), bytes }
    }
}

impl Backing for SharedMemory {
    fn frame(&self, page: u64, _write: bool) -> Result<Frame, Errno> {
        if page >= self.bytes.div_ceil(base::PAGE_SIZE) {
            return Err(Errno::ENXIO);
        }
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&page) {
            return Ok(frame.clone());
        }
        let frame = Frame::zeroed().map_err(|_| Errno::ENOMEM)?;
        pages.insert(page, frame.clone());
        Ok(frame)
    }

    fn identity(&self) -> FileIdentity {
        // Device 0:1 is the kernel's internal tmpfs, where Linux keeps such memory too.
        FileIdentity { device: 1, inode: 0 }
    }

    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/dev/zero (deleted)")
    }

    fn discard(&self, first: u64, pages: u64) -> Result<(), Errno> {
        let end = first.saturating_add(pages);
        self.pages.lock().retain(|page, _| !(first..end).contains(page));
        Ok(())
    }
}
