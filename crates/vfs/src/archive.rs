//! The root file system from the boot archive.

use crate::inode::{InodeRef, NewInode, NewKind};
use crate::memory::{MemoryFs, MemoryInode};
use crate::metadata::FileType;
use alloc::sync::Arc;
use base::{Errno, WallTime};
use bundle::{Archive, ArchiveError, Entry, Kind};

const ROOT: u64 = 2;

/// Why the archive did not become a root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootError {
    /// It is malformed.
    Archive(ArchiveError),
    /// A path in it cannot be made (a file where a directory must be, no memory).
    Path(Errno),
}

impl From<ArchiveError> for RootError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Errno> for RootError {
    fn from(errno: Errno) -> Self {
        Self::Path(errno)
    }
}

/// The root with everything in `archive`; file contents stay where they are. Directories that
/// every system has (/tmp, /root, /etc …) are made if the archive lacks them.
///
/// # Errors
/// See [`RootError`].
pub fn root_of(archive: &Archive<'static>) -> Result<Arc<MemoryInode>, RootError> {
    let root = MemoryFs::root("rootfs", ROOT, 0o755);
    for entry in archive.entries() {
        add(&root, &entry?)?;
    }
    for (path, permissions) in
        [("tmp", 0o1777), ("root", 0o700), ("etc", 0o755), ("run", 0o755), ("var/tmp", 0o1777)]
    {
        let (directory, name) = parent(&root, path.as_bytes())?;
        if directory.lookup(name).is_err() {
            make(&directory, name, NewKind::Directory, permissions)?;
        }
    }
    Ok(root)
}

fn make(
    directory: &InodeRef,
    name: &[u8],
    kind: NewKind<'_>,
    permissions: u32,
) -> Result<InodeRef, Errno> {
    directory.create(name, &NewInode { kind, permissions, user: 0, group: 0 })
}

/// The directory that holds the last component of `path`; missing ones on the way are made.
fn parent<'p>(root: &Arc<MemoryInode>, path: &'p [u8]) -> Result<(InodeRef, &'p [u8]), Errno> {
    let mut directory: InodeRef = Arc::clone(root) as InodeRef;
    let mut rest = path;
    while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
        let (name, tail) = rest.split_at(at);
        rest = tail.get(1..).unwrap_or_default();
        directory = match directory.lookup(name) {
            Ok(inode) if inode.kind() == FileType::Directory => inode,
            Ok(_) => return Err(Errno::ENOTDIR),
            Err(_) => make(&directory, name, NewKind::Directory, 0o755)?,
        };
    }
    Ok((directory, rest))
}

fn add(root: &Arc<MemoryInode>, entry: &Entry<'static>) -> Result<(), Errno> {
    let metadata = &entry.metadata;
    let permissions = u32::from(metadata.permissions);
    let modified = WallTime { nanoseconds: u64::from(metadata.modified) * 1_000_000_000 };
    let owner = (metadata.uid, metadata.gid);
    if entry.path.is_empty() {
        return root.set_root_attributes(permissions, owner, modified);
    }
    let (directory, name) = parent(root, entry.path)?;
    match directory.lookup(name) {
        // A directory may come after what lies in it.
        Ok(there) if there.kind() == FileType::Directory && entry.kind == Kind::Directory => {
            return memory(&there)?.set_root_attributes(permissions, owner, modified);
        }
        Ok(there) if there.kind() == FileType::Directory => return Err(Errno::EISDIR),
        Ok(_) => directory.unlink(name)?,
        Err(_) => {}
    }
    let device = |major: u32, minor: u32| u64::from(major) << 8 | u64::from(minor);
    let kind = match entry.kind {
        Kind::File => {
            let directory = memory(&directory)?;
            let fs = directory.fs();
            let file = MemoryInode::of_archive(fs, permissions, owner, modified, entry.data);
            return directory.attach(name, &file);
        }
        Kind::Directory => NewKind::Directory,
        Kind::Symlink => NewKind::SymbolicLink(entry.data),
        Kind::Fifo => NewKind::Fifo,
        Kind::CharacterDevice { major, minor } => {
            NewKind::Device(FileType::CharacterDevice, device(major, minor))
        }
        Kind::BlockDevice { major, minor } => {
            NewKind::Device(FileType::BlockDevice, device(major, minor))
        }
    };
    let inode = make(&directory, name, kind, permissions)?;
    memory(&inode)?.set_root_attributes(permissions, owner, modified)
}

fn memory(inode: &InodeRef) -> Result<&MemoryInode, Errno> {
    inode.as_any().downcast_ref().ok_or(Errno::EXDEV)
}
