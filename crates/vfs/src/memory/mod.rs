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
use hal::MemoryStatistics;

/// statfs magic of tmpfs.
pub const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Says whether files may take `bytes` more. They leave a quarter of the memory, but not less than
/// 1.5 MiB nor more than 1 GiB (Linux's tmpfs leaves half): a program that fills the file system is
/// to see `ENOSPC`, not to end because it finds no page for its own next step, or its sockets none
/// for their buffers.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn check_space(bytes: u64) -> Result<(), Errno> {
    if free_for_files(&hal::memory::statistics()) < bytes.div_ceil(PAGE_SIZE) {
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

/// Frames that files may still take.
fn free_for_files(memory: &MemoryStatistics) -> u64 {
    memory.free.saturating_sub((memory.total / 4).clamp(384, 1 << 18))
}

/// One file system in memory.
pub struct MemoryFs {
    name: &'static str,
    device: u64,
    next_inode: AtomicU64,
    /// Inodes alive.
    inodes: AtomicU64,
}

impl MemoryFs {
    /// An empty file system and its root directory. `name`: as /proc/mounts shows it.
    #[must_use]
    pub fn root(name: &'static str, device: u64, root_permissions: u32) -> Arc<MemoryInode> {
        let fs = Self::detached(name, device);
        let root =
            NewInode { kind: NewKind::Directory, permissions: root_permissions, user: 0, group: 0 };
        MemoryInode::new(&fs, &root)
    }

    /// A file system without a root, for files without a name (memfd).
    #[must_use]
    pub fn detached(name: &'static str, device: u64) -> Arc<Self> {
        Arc::new(Self { name, device, next_inode: AtomicU64::new(1), inodes: AtomicU64::new(0) })
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

    fn statistics(&self) -> FileSystemStatistics {
        let memory = hal::memory::statistics();
        let used = self.inodes.load(Ordering::Relaxed);
        FileSystemStatistics {
            magic: TMPFS_MAGIC,
            blocks: memory.total,
            free: free_for_files(&memory),
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
