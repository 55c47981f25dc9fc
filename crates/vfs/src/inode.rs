//! What lies in a file system: files with a place in the tree.

use crate::access::Who;
use crate::entry::Entries;
use crate::extras::Extras;
use crate::file::{File, FileRef};
use crate::metadata::{FileType, Metadata};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, WallTime};

/// Which inode: unique in the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InodeId {
    /// Device of the file system.
    pub device: u64,
    /// Number within it.
    pub number: u64,
}

/// A counted inode.
pub type InodeRef = Arc<dyn Inode>;

/// What statfs(2) tells, in blocks of 4096 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileSystemStatistics {
    /// Type, see statfs(2).
    pub magic: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// All inodes.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
}

/// A mounted file system.
pub trait FileSystem: Send + Sync {
    /// Its type as /proc/mounts shows it.
    fn name(&self) -> &'static str;

    /// Its device number.
    fn device(&self) -> u64;

    /// Sizes.
    fn statistics(&self) -> FileSystemStatistics;

    /// True when nothing in it can be changed.
    fn is_read_only(&self) -> bool {
        false
    }

    /// RLIMIT_FSIZE is now so many bytes. For file systems whose files grow: growing beyond is `EFBIG`.
    fn limit_files(&self, _bytes: u64) {}
}

/// What to make in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewKind<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to the path.
    SymbolicLink(&'a [u8]),
    /// A character or block device with its number.
    Device(FileType, u64),
    /// A named pipe.
    Fifo,
    /// The name of a Unix socket.
    Socket,
}

/// A new inode: what, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewInode<'a> {
    /// What.
    pub kind: NewKind<'a>,
    /// Permission bits, umask applied.
    pub permissions: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
}

impl<'a> NewInode<'a> {
    /// What somebody makes: theirs.
    #[must_use]
    pub fn of(who: &Who, kind: NewKind<'a>, permissions: u32) -> Self {
        Self { kind, permissions: permissions & 0o7777, user: who.user, group: who.group }
    }
}

/// One entry of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryEntry<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Inode number.
    pub inode: u64,
    /// Type.
    pub kind: FileType,
    /// Where to go on after this entry; stable while the directory changes.
    pub next: u64,
}

/// Changes of an inode's attributes; `None` leaves as is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AttributeChange {
    /// `mode & 0o7777`.
    pub permissions: Option<u32>,
    /// Owner.
    pub user: Option<u32>,
    /// Group.
    pub group: Option<u32>,
    /// Last access.
    pub accessed: Option<WallTime>,
    /// Last change of content.
    pub modified: Option<WallTime>,
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// To a path.
    Path(Vec<u8>),
    /// Right to an inode, whatever its path (`/proc/self/fd/3`).
    Inode(Place),
    /// Right to a file that has no inode: opening it means [`File::reopen`].
    File(FileRef),
}

/// An inode and the name by which it was found.
#[derive(Clone)]
pub struct Place {
    /// The inode.
    pub inode: InodeRef,
    /// The directory that has the name; `None` for roots and files without a name.
    pub parent: Option<InodeRef>,
    /// The name in that directory.
    pub name: Box<[u8]>,
}

impl Place {
    /// An inode that knows its own place (a directory), or has none.
    #[must_use]
    pub fn of(inode: InodeRef) -> Self {
        Self { inode, parent: None, name: Box::default() }
    }
}

/// A file of a file system. Beside what [`File`] says it can stand in directories.
///
/// Name-changing calls ([`Inode::create`] to [`Inode::rename`]) are made one at a time, by
/// [`crate::Vfs`], which has checked what rename(2) and its kin want checked; the file system only
/// does the work.
pub trait Inode: File {
    /// The file system it belongs to.
    fn file_system(&self) -> &dyn FileSystem;

    /// Type.
    fn kind(&self) -> FileType;

    /// Identity.
    fn id(&self) -> InodeId;

    /// What hangs on it: locks, extended attributes, watches. `None`: not supported here.
    fn extras(&self) -> Option<&Extras> {
        None
    }

    /// Its entries that are open. `None`: they are never moved nor removed.
    fn entries(&self) -> Option<&Entries> {
        None
    }

    /// A file or directory was looked into: that counts as an access.
    fn touch(&self) {}

    /// What stat(2) tells.
    ///
    /// # Errors
    /// As stat(2).
    fn status(&self) -> Result<Metadata, Errno> {
        self.metadata()
    }

    /// The inode called `name` in this directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    fn lookup(&self, _name: &[u8]) -> Result<InodeRef, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// A directory's parent and its name there. `None` for the root of a file system and for
    /// directories that were removed.
    fn parent(&self) -> Option<(InodeRef, Box<[u8]>)> {
        None
    }

    /// A directory that was removed and lives on only because it is open.
    fn is_removed(&self) -> bool {
        false
    }

    /// True when the directory has no entries.
    fn is_empty(&self) -> bool {
        false
    }

    /// Calls `each` for the entries from cookie `from` on (0: the first), until it returns false.
    /// `.` and `..` are not among them; cookies start at 3.
    ///
    /// # Errors
    /// `ENOTDIR`.
    fn list(
        &self,
        _from: u64,
        _each: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Makes `name` in this directory.
    ///
    /// # Errors
    /// `EPERM` (or what Linux answers there): nothing can be made here. `ENOSPC`, `ENOENT`: the
    /// directory was removed.
    fn create(&self, _name: &[u8], _new: &NewInode<'_>) -> Result<InodeRef, Errno> {
        Err(Errno::EPERM)
    }

    /// A regular file without a name in this directory's file system (`O_TMPFILE`). `linkable`: it
    /// may get one.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `ENOSPC`.
    fn create_unnamed(&self, _new: &NewInode<'_>, _linkable: bool) -> Result<InodeRef, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Gives `target` another name.
    ///
    /// # Errors
    /// `EPERM`, `EMLINK`, `ENOSPC`.
    fn link(&self, _name: &[u8], _target: &InodeRef) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Removes a name (of a file or of an empty directory).
    ///
    /// # Errors
    /// `EPERM`, `ENOENT`.
    fn unlink(&self, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Moves `name` to `to_name` in `to`, in place of what is there; with `exchange` swaps them.
    ///
    /// # Errors
    /// `EPERM`, `ENOENT`.
    fn rename(
        &self,
        _name: &[u8],
        _to: &InodeRef,
        _to_name: &[u8],
        _exchange: bool,
    ) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Where this symbolic link leads.
    ///
    /// # Errors
    /// `EINVAL`: not a symbolic link.
    fn link_target(&self) -> Result<LinkTarget, Errno> {
        Err(Errno::EINVAL)
    }

    /// What readlink(2) gives.
    ///
    /// # Errors
    /// `EINVAL`: not a symbolic link.
    fn link_text(&self) -> Result<Vec<u8>, Errno> {
        match self.link_target()? {
            LinkTarget::Path(path) => Ok(path),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// `EPERM`, `EROFS`.
    fn set_attributes(&self, _change: &AttributeChange) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// The file to read and write when this is opened. `None`: the inode is the file itself.
    ///
    /// # Errors
    /// As open(2).
    fn open_file(&self) -> Result<Option<FileRef>, Errno> {
        Ok(None)
    }

    /// True for what is the asking process's own whatever its bits say: its list of descriptors
    /// (`proc_fd_permission` of Linux).
    fn is_of_asker(&self) -> bool {
        false
    }

    /// The pipe behind a named pipe.
    fn fifo(&self) -> Option<&Arc<crate::pipe::Pipe>> {
        None
    }
}
