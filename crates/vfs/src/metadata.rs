//! What stat(2) tells.

use base::WallTime;

/// The type part of a mode (`S_IFMT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum FileType {
    /// Named or unnamed pipe.
    Fifo = 0o010_000,
    /// Character device.
    CharacterDevice = 0o020_000,
    /// Directory.
    Directory = 0o040_000,
    /// Block device.
    BlockDevice = 0o060_000,
    /// Regular file.
    Regular = 0o100_000,
    /// Symbolic link.
    SymbolicLink = 0o120_000,
    /// Socket.
    Socket = 0o140_000,
}

/// Everything that stat, statx and getdents64 report of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Type.
    pub kind: FileType,
    /// Permission bits, set-id and sticky bits: `mode & 0o7777`.
    pub permissions: u32,
    /// Inode number.
    pub inode: u64,
    /// Device the file lies on.
    pub device: u64,
    /// For device files: major << 8 | minor, as `makedev(3)` packs them.
    pub special_device: u64,
    /// Hard links.
    pub links: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Length in bytes.
    pub bytes: u64,
    /// Memory held, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub accessed: WallTime,
    /// Last change of content.
    pub modified: WallTime,
    /// Last change of the inode.
    pub changed: WallTime,
    /// Creation.
    pub created: WallTime,
}
