//! What is known of a file: stat and its relatives, access, statfs.

use crate::call::Call;
use crate::credentials::Credentials;
use crate::files::{find, find_as, itself};
use crate::table::{Row, full};
use crate::trace::Argument::{self, DirFd, Fd, Flags, Hex, Mode, Path};
use abi::file::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
    Stat, Statfs, Statx, StatxTime,
};
use abi::number as nr;
use base::{Errno, PAGE_SIZE, WallTime};
use vfs::access::{AccessMode, check_access};
use vfs::flags::NAME_MAX;
use vfs::{FileSystem, FileType, Found, InodeId, Metadata};

const AT_FLAGS: &[(u64, &str)] = &[
    (0x100, "AT_SYMLINK_NOFOLLOW"),
    (0x200, "AT_EACCESS"),
    (0x800, "AT_NO_AUTOMOUNT"),
    (0x1000, "AT_EMPTY_PATH"),
    (0x2000, "AT_STATX_FORCE_SYNC"),
    (0x4000, "AT_STATX_DONT_SYNC"),
];
const AT: Argument = Flags(AT_FLAGS);

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::NEWFSTATAT, "newfstatat", &[DirFd, Path, Hex, AT], |call| newfstatat(call).into()),
    full(nr::STAT, "stat", &[Path, Hex], |call| stat_path(call, true).into()),
    full(nr::LSTAT, "lstat", &[Path, Hex], |call| stat_path(call, false).into()),
    full(nr::FSTAT, "fstat", &[Fd, Hex], |call| fstat(call).into()),
    full(nr::STATX, "statx", &[DirFd, Path, AT, Hex, Hex], |call| statx(call).into()),
    full(nr::ACCESS, "access", &[Path, Mode], |call| access(call, base::Fd(AT_FDCWD), 0, 0).into()),
    full(nr::FACCESSAT, "faccessat", &[DirFd, Path, Mode], |call| {
        access(call, call.fd(0), 1, 0).into()
    }),
    full(nr::FACCESSAT2, "faccessat2", &[DirFd, Path, Mode, AT], |call| {
        let flags = call.unsigned(3);
        access(call, call.fd(0), 1, flags).into()
    }),
    full(nr::STATFS, "statfs", &[Path, Hex], |call| statfs(call).into()),
    full(nr::FSTATFS, "fstatfs", &[Fd, Hex], |call| fstatfs(call).into()),
];

fn pair(time: WallTime) -> [i64; 2] {
    [time.seconds().cast_signed(), i64::from(time.subsecond_nanoseconds())]
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.kind as u32 | metadata.permissions
}

fn store(call: &Call<'_>, index: usize, metadata: &Metadata) -> Result<usize, Errno> {
    let stat = Stat {
        device: metadata.device,
        inode: metadata.inode,
        links: u64::from(metadata.links),
        mode: mode(metadata),
        user: metadata.user,
        group: metadata.group,
        special_device: metadata.special_device,
        bytes: metadata.bytes.cast_signed(),
        block_bytes: PAGE_SIZE.cast_signed(),
        blocks: metadata.blocks.cast_signed(),
        accessed: pair(metadata.accessed),
        modified: pair(metadata.modified),
        changed: pair(metadata.changed),
        ..Default::default()
    };
    call.memory().write(call.address(index), &stat)?;
    Ok(0)
}

fn newfstatat(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = call.unsigned(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
    let metadata = find(call, call.fd(0), call.address(1), flags, follow)?.metadata()?;
    store(call, 2, &metadata)
}

fn stat_path(call: &Call<'_>, follow: bool) -> Result<usize, Errno> {
    let metadata = find(call, base::Fd(AT_FDCWD), call.address(0), 0, follow)?.metadata()?;
    store(call, 1, &metadata)
}

fn fstat(call: &Call<'_>) -> Result<usize, Errno> {
    let metadata = call.open_file(0)?.metadata()?;
    store(call, 1, &metadata)
}

fn statx_time(time: WallTime) -> StatxTime {
    StatxTime {
        seconds: time.seconds().cast_signed(),
        nanoseconds: time.subsecond_nanoseconds(),
        reserved: 0,
    }
}

fn major(device: u64) -> u32 {
    (device >> 8 & 0xfff) as u32
}

fn minor(device: u64) -> u32 {
    (device & 0xff | device >> 12 & 0xf_ff00) as u32
}

fn statx(call: &Call<'_>) -> Result<usize, Errno> {
    const BASIC_AND_BIRTH: u32 = 0xfff;
    const RESERVED: u32 = 0x8000_0000;
    /// `STATX_MNT_ID`, which Linux tells unasked. Not `STATX_DIOALIGN`: direct I/O has no rules here.
    const MOUNT: u32 = 0x1000;
    /// `STATX_ATTR_MOUNT_ROOT`.
    const MOUNT_ROOT: u64 = 0x2000;
    let flags = call.unsigned(2);
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if call.unsigned(3) & RESERVED != 0
        || flags & !known != 0
        || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL);
    }
    let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
    let metadata = find(call, call.fd(0), call.address(1), flags, follow)?.metadata()?;
    let vfs = &call.process().vfs;
    let id = InodeId { device: metadata.device, number: metadata.inode };
    let statx = Statx {
        mask: BASIC_AND_BIRTH | MOUNT,
        mount: vfs.mount_number(metadata.device).unwrap_or(0),
        attributes: if vfs.is_mount_root(id) { MOUNT_ROOT } else { 0 },
        attributes_mask: MOUNT_ROOT,
        block_bytes: PAGE_SIZE as u32,
        links: metadata.links,
        user: metadata.user,
        group: metadata.group,
        mode: mode(&metadata) as u16,
        inode: metadata.inode,
        bytes: metadata.bytes,
        blocks: metadata.blocks,
        accessed: statx_time(metadata.accessed),
        created: statx_time(metadata.created),
        changed: statx_time(metadata.changed),
        modified: statx_time(metadata.modified),
        special_device_major: major(metadata.special_device),
        special_device_minor: minor(metadata.special_device),
        device_major: major(metadata.device),
        device_minor: minor(metadata.device),
        ..Default::default()
    };
    call.memory().write(call.address(4), &statx)?;
    Ok(0)
}

fn access(call: &Call<'_>, from: base::Fd, path: usize, flags: u32) -> Result<usize, Errno> {
    let wanted = AccessMode::from_bits(call.unsigned(path + 1)).ok_or(Errno::EINVAL)?;
    if flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
    let real;
    let asker = call.asker();
    let who = if flags & AT_EACCESS != 0 {
        &*asker
    } else {
        real = call.thread.identity.get(Credentials::real_who);
        &real
    };
    match find_as(call, who, from, call.address(path), flags, follow)? {
        Found::Place(place) => check_access(who, &place.inode, wanted)?,
        Found::File(_) if wanted.contains(AccessMode::EXECUTE) => return Err(Errno::EACCES),
        Found::File(_) => {}
    }
    Ok(0)
}

fn store_statfs(call: &Call<'_>, fs: &dyn FileSystem) -> Result<usize, Errno> {
    /// "The flags are valid", and relatime.
    const FLAGS: i64 = 0x20 | 0x1000;
    let statistics = fs.statistics();
    let statfs = Statfs {
        magic: statistics.magic.cast_signed(),
        block_bytes: PAGE_SIZE.cast_signed(),
        blocks: statistics.blocks,
        free: statistics.free,
        available: statistics.free,
        inodes: statistics.inodes,
        inodes_free: statistics.inodes_free,
        id: [fs.device() as i32, 0],
        name_bytes: NAME_MAX as i64,
        fragment_bytes: PAGE_SIZE.cast_signed(),
        flags: FLAGS | i64::from(fs.is_read_only()),
        spare: [0; 4],
    };
    call.memory().write(call.address(1), &statfs)?;
    Ok(0)
}

/// statfs magic of files without a place: of pipes, of sockets, of all others.
fn anonymous_magic(kind: FileType) -> i64 {
    match kind {
        FileType::Fifo => 0x5049_5045,
        FileType::Socket => 0x534f_434b,
        _ => 0x0904_1934,
    }
}

fn statfs_of(call: &Call<'_>, found: Found) -> Result<usize, Errno> {
    match found {
        Found::Place(place) => store_statfs(call, place.inode.file_system()),
        Found::File(file) => {
            let statfs = Statfs {
                magic: anonymous_magic(file.metadata()?.kind),
                block_bytes: PAGE_SIZE.cast_signed(),
                name_bytes: NAME_MAX as i64,
                fragment_bytes: PAGE_SIZE.cast_signed(),
                ..Default::default()
            };
            call.memory().write(call.address(1), &statfs)?;
            Ok(0)
        }
    }
}

fn statfs(call: &Call<'_>) -> Result<usize, Errno> {
    let found = find(call, base::Fd(AT_FDCWD), call.address(0), 0, true)?;
    statfs_of(call, found)
}

fn fstatfs(call: &Call<'_>) -> Result<usize, Errno> {
    call.process().files.get(call.fd(0))?;
    let found = itself(call, call.fd(0))?;
    statfs_of(call, found)
}
