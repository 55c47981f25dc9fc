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

impl FileType {
    /// The type byte of getdents64 (`DT_*`).
    #[must_use]
    pub fn directory_type(self) -> u8 {
        (self as u32 >> 12) as u8
    }

    /// The type in a mode, as mknod(2) passes it; 0 stands for a regular file.
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0 | 0o100_000 => Self::Regular,
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharacterDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o120_000 => Self::SymbolicLink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }
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

impl Metadata {
    /// The metadata of a file without an inode: pipe, socket, epoll instance. Device 15 stands for
    /// the kernel's own file systems of such files.
    #[must_use]
    pub fn anonymous(kind: FileType, permissions: u32, inode: u64) -> Self {
        let now = hal::clock::wall(hal::clock::now());
        Self {
            kind,
            permissions,
            inode,
            device: 15,
            special_device: 0,
            links: 1,
            user: 0,
            group: 0,
            bytes: 0,
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
            created: now,
        }
    }
}
