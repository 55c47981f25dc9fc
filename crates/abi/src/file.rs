//! Structures of the calls about files.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "Relative to the working directory", as a directory descriptor.
pub const AT_FDCWD: i32 = -100;
/// Do not follow a symbolic link at the end.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// faccessat: with the effective ids.
pub const AT_EACCESS: u32 = 0x200;
/// unlinkat: remove a directory.
pub const AT_REMOVEDIR: u32 = 0x200;
/// linkat: follow a symbolic link at the end.
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// Do not trigger an automount.
pub const AT_NO_AUTOMOUNT: u32 = 0x800;
/// An empty path means the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// statx: how fresh (two bits).
pub const AT_STATX_SYNC_TYPE: u32 = 0x6000;

/// `struct stat` (asm/stat.h).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the names of stat(2) without their prefix")]
pub struct Stat {
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
    pub padding: u32,
    pub special_device: u64,
    pub bytes: i64,
    pub block_bytes: i64,
    pub blocks: i64,
    pub accessed: [i64; 2],
    pub modified: [i64; 2],
    pub changed: [i64; 2],
    pub unused: [i64; 3],
}

/// `struct statx_timestamp`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the names of statx(2)")]
pub struct StatxTime {
    pub seconds: i64,
    pub nanoseconds: u32,
    pub reserved: i32,
}

/// `struct statx`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the names of statx(2) without their prefix")]
pub struct Statx {
    pub mask: u32,
    pub block_bytes: u32,
    pub attributes: u64,
    pub links: u32,
    pub user: u32,
    pub group: u32,
    pub mode: u16,
    pub padding: u16,
    pub inode: u64,
    pub bytes: u64,
    pub blocks: u64,
    pub attributes_mask: u64,
    pub accessed: StatxTime,
    pub created: StatxTime,
    pub changed: StatxTime,
    pub modified: StatxTime,
    pub special_device_major: u32,
    pub special_device_minor: u32,
    pub device_major: u32,
    pub device_minor: u32,
    pub mount: u64,
    pub direct_io_memory_alignment: u32,
    pub direct_io_offset_alignment: u32,
    pub spare: [u64; 12],
}

/// `struct statfs`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the names of statfs(2) without their prefix")]
pub struct Statfs {
    pub magic: i64,
    pub block_bytes: i64,
    pub blocks: u64,
    pub free: u64,
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub id: [i32; 2],
    pub name_bytes: i64,
    pub fragment_bytes: i64,
    pub flags: i64,
    pub spare: [i64; 4],
}

/// `struct flock`, as fcntl(2) takes it.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Flock {
    /// `F_RDLCK` 0, `F_WRLCK` 1 or `F_UNLCK` 2.
    pub kind: i16,
    /// From where `start` counts: as lseek(2).
    pub whence: i16,
    /// Padding.
    pub padding: u32,
    /// First byte.
    pub start: i64,
    /// How many; 0: to the end; negative: before `start`.
    pub length: i64,
    /// Whose lock stands in the way.
    pub process: i32,
    /// Padding.
    pub tail: u32,
}

/// `struct pollfd`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PollFd {
    /// Descriptor; negative: ignored.
    pub fd: i32,
    /// Events asked for.
    pub events: u16,
    /// Events that are.
    pub returned: u16,
}

/// `struct open_how` of openat2(2).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct OpenHow {
    /// Flags of open(2).
    pub flags: u64,
    /// Permissions of a file to be made.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}
