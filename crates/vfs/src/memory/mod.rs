//! The file system in memory: the root (archive below, writable above), /tmp, /dev and memfd.
//!
//! A file from the boot archive is served where it lies; its pages are copied one by one when
//! they are first written. Everything else is page frames, so a full memory is `ENOSPC`.

mod content;
mod directory;
mod inode;
mod regular;

pub use inode::MemoryInode;
pub use regular::Seals;
pub(crate) use regular::put_zeros;

use crate::inode::{FileSystem, FileSystemStatistics, NewInode, NewKind};
use crate::metadata::FileType;
use alloc::sync::Arc;
use base::{Errno, PAGE_SIZE};
use core::sync::atomic::{AtomicU64, Ordering};

/// statfs magic of tmpfs.
pub const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Frames that files leave to the kernel and to the program.
const RESERVE_FRAMES: u64 = 64;

/// Says whether files may take `bytes` more.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn check_space(bytes: u64) -> Result<(), Errno> {
    if free_frames() < bytes.div_ceil(PAGE_SIZE) {
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

fn free_frames() -> u64 {
    hal::memory::statistics().free.saturating_sub(RESERVE_FRAMES)
}

/// The pages that the files of a file system hold. They are bounded, as on Linux (tmpfs(5),
/// `size`): a program that fills the file system is to see `ENOSPC`, not to end because it finds no
/// page for its own next step.
pub(crate) struct Pages {
    used: AtomicU64,
    /// They may be this part of the memory.
    part: u64,
    /// No file may become longer, in bytes (RLIMIT_FSIZE).
    longest: AtomicU64,
}

impl Pages {
    /// How many there may be.
    pub(crate) fn limit(&self) -> u64 {
        hal::memory::statistics().total / self.part
    }

    /// The length to which a file may grow, in bytes.
    pub(crate) fn longest(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }

    /// How many there may be besides.
    pub(crate) fn free(&self) -> u64 {
        self.limit().saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// One more.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub(crate) fn take(&self) -> Result<(), Errno> {
        if self.used.fetch_add(1, Ordering::Relaxed) < self.limit() {
            return Ok(());
        }
        self.give(1);
        Err(Errno::ENOSPC)
    }

    /// So many fewer.
    pub(crate) fn give(&self, pages: u64) {
        self.used.fetch_sub(pages, Ordering::Relaxed);
    }
}

/// One file system in memory.
pub struct MemoryFs {
    name: &'static str,
    device: u64,
    next_inode: AtomicU64,
    /// Inodes alive.
    inodes: AtomicU64,
    pages: Arc<Pages>,
}

impl MemoryFs {
    /// An empty file system and its root directory. `name`: as /proc/mounts shows it.
    #[must_use]
    pub fn root(name: &'static str, device: u64, root_permissions: u32) -> Arc<MemoryInode> {
        let fs = Self::detached(name, device, 2);
        let root =
            NewInode { kind: NewKind::Directory, permissions: root_permissions, user: 0, group: 0 };
        MemoryInode::new(&fs, &root)
    }

    /// The file system of files that never had a name (memfd_create). Linux does not bound it; here
    /// what is in it and in the root together leaves a quarter of the memory.
    #[must_use]
    pub fn nameless() -> Arc<Self> {
        const DEVICE: u64 = 1;
        Self::detached("tmpfs", DEVICE, 4)
    }

    /// Without a root; `part`: what part of the memory its files may take.
    fn detached(name: &'static str, device: u64, part: u64) -> Arc<Self> {
        let longest = AtomicU64::new(u64::MAX);
        let pages = Arc::new(Pages { used: AtomicU64::new(0), part, longest });
        let (next_inode, inodes) = (AtomicU64::new(1), AtomicU64::new(0));
        Arc::new(Self { name, device, next_inode, inodes, pages })
    }

    fn next_number(&self) -> u64 {
        self.inodes.fetch_add(1, Ordering::Relaxed);
        self.next_inode.fetch_add(1, Ordering::Relaxed)
    }
}

impl FileSystem for MemoryFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn limit_files(&self, bytes: u64) {
        self.pages.longest.store(bytes, Ordering::Relaxed);
    }

    fn statistics(&self) -> FileSystemStatistics {
        let memory = hal::memory::statistics();
        let used = self.inodes.load(Ordering::Relaxed);
        FileSystemStatistics {
            magic: TMPFS_MAGIC,
            blocks: self.pages.limit(),
            free: self.pages.free().min(free_frames()),
            inodes: memory.total.max(used),
            inodes_free: memory.total.saturating_sub(used),
        }
    }
}

fn kind_of(kind: &NewKind<'_>) -> FileType {
    match kind {
        NewKind::Regular => FileType::Regular,
        NewKind::Directory => FileType::Directory,
        NewKind::SymbolicLink(_) => FileType::SymbolicLink,
        NewKind::Device(kind, _) => *kind,
        NewKind::Fifo => FileType::Fifo,
        NewKind::Socket => FileType::Socket,
    }
}
