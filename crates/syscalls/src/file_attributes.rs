//! Changing files' attributes and lengths; extended attributes.

use crate::call::Call;
use crate::files::{find, place_of, raised};
use crate::table::{Row, full, partial};
use crate::trace::Argument::{self, DirFd, Fd, Flags, Hex, Int, Mode, Path, Size};
use abi::file::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use abi::number as nr;
use abi::time::{Timespec, Timeval};
use alloc::vec::Vec;
use base::{Errno, UserAddr, WallTime};
use core::sync::atomic::Ordering;
use vfs::access::{AccessMode, Powers, ROOT};
use vfs::attributes::{change_extras, set_owner, set_permissions, set_times, truncate};
use vfs::extras::{ATTRIBUTE_BYTES_MAX, Extras};
use vfs::{FileType, InodeRef, Place, Who};

const AT: Argument = Flags(&[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x1000, "AT_EMPTY_PATH")]);
const CWD: base::Fd = base::Fd(AT_FDCWD);

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::TRUNCATE, "truncate", &[Path, Int], |call| truncate_path(call).into()),
    full(nr::FTRUNCATE, "ftruncate", &[Fd, Int], |call| ftruncate(call).into()),
    partial(
        nr::FALLOCATE,
        "fallocate",
        &[Fd, Hex, Int, Int],
        "0, KEEP_SIZE, PUNCH_HOLE; others EOPNOTSUPP, as on tmpfs",
        |call| fallocate(call).into(),
    ),
    full(nr::CHMOD, "chmod", &[Path, Mode], |call| {
        chmod(call, path_place(call, CWD, 0, 0), 1).into()
    }),
    full(nr::FCHMOD, "fchmod", &[Fd, Mode], |call| chmod(call, fd_place(call), 1).into()),
    full(nr::FCHMODAT, "fchmodat", &[DirFd, Path, Mode], |call| {
        chmod(call, path_place(call, call.fd(0), 1, 0), 2).into()
    }),
    full(nr::FCHMODAT2, "fchmodat2", &[DirFd, Path, Mode, AT], |call| {
        chmod(call, path_place(call, call.fd(0), 1, call.unsigned(3)), 2).into()
    }),
    full(nr::CHOWN, "chown", &[Path, Int, Int], |call| {
        chown(call, path_place(call, CWD, 0, 0), 1).into()
    }),
    full(nr::LCHOWN, "lchown", &[Path, Int, Int], |call| {
        chown(call, path_place(call, CWD, 0, AT_SYMLINK_NOFOLLOW), 1).into()
    }),
    full(nr::FCHOWN, "fchown", &[Fd, Int, Int], |call| chown(call, fd_place(call), 1).into()),
    full(nr::FCHOWNAT, "fchownat", &[DirFd, Path, Int, Int, AT], |call| {
        chown(call, path_place(call, call.fd(0), 1, call.unsigned(4)), 2).into()
    }),
    full(nr::UTIMENSAT, "utimensat", &[DirFd, Path, Hex, AT], |call| utimensat(call).into()),
    full(nr::FUTIMESAT, "futimesat", &[DirFd, Path, Hex], |call| {
        utimes(call, call.fd(0), 1).into()
    }),
    full(nr::UTIMES, "utimes", &[Path, Hex], |call| utimes(call, CWD, 0).into()),
    full(nr::UTIME, "utime", &[Path, Hex], |call| utime(call).into()),
    full(nr::UMASK, "umask", &[Mode], |call| {
        let mask = call.unsigned(0) & 0o777;
        Ok(call.process().umask.swap(mask, Ordering::Relaxed) as usize).into()
    }),
    partial(nr::SETXATTR, "setxattr", &[Path, Path, Hex, Size, Hex], XATTR, |call| {
        setxattr(call, path_place(call, CWD, 0, 0)).into()
    }),
    partial(nr::LSETXATTR, "lsetxattr", &[Path, Path, Hex, Size, Hex], XATTR, |call| {
        setxattr(call, path_place(call, CWD, 0, AT_SYMLINK_NOFOLLOW)).into()
    }),
    partial(nr::FSETXATTR, "fsetxattr", &[Fd, Path, Hex, Size, Hex], XATTR, |call| {
        setxattr(call, fd_place(call)).into()
    }),
    partial(nr::GETXATTR, "getxattr", &[Path, Path, Hex, Size], XATTR, |call| {
        getxattr(call, path_place(call, CWD, 0, 0)).into()
    }),
    partial(nr::LGETXATTR, "lgetxattr", &[Path, Path, Hex, Size], XATTR, |call| {
        getxattr(call, path_place(call, CWD, 0, AT_SYMLINK_NOFOLLOW)).into()
    }),
    partial(nr::FGETXATTR, "fgetxattr", &[Fd, Path, Hex, Size], XATTR, |call| {
        getxattr(call, fd_place(call)).into()
    }),
    partial(nr::LISTXATTR, "listxattr", &[Path, Hex, Size], XATTR, |call| {
        listxattr(call, path_place(call, CWD, 0, 0)).into()
    }),
    partial(nr::LLISTXATTR, "llistxattr", &[Path, Hex, Size], XATTR, |call| {
        listxattr(call, path_place(call, CWD, 0, AT_SYMLINK_NOFOLLOW)).into()
    }),
    partial(nr::FLISTXATTR, "flistxattr", &[Fd, Hex, Size], XATTR, |call| {
        listxattr(call, fd_place(call)).into()
    }),
    partial(nr::REMOVEXATTR, "removexattr", &[Path, Path], XATTR, |call| {
        removexattr(call, path_place(call, CWD, 0, 0)).into()
    }),
    partial(nr::LREMOVEXATTR, "lremovexattr", &[Path, Path], XATTR, |call| {
        removexattr(call, path_place(call, CWD, 0, AT_SYMLINK_NOFOLLOW)).into()
    }),
    partial(nr::FREMOVEXATTR, "fremovexattr", &[Fd, Path], XATTR, |call| {
        removexattr(call, fd_place(call)).into()
    }),
];

const XATTR: &str = "user.*, trusted.* and security.* in memory; others EOPNOTSUPP";

/// The place at the path in argument `path`.
fn path_place(call: &Call<'_>, from: base::Fd, path: usize, flags: u32) -> Result<Place, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
    place_of(find(call, from, call.address(path), flags, follow)?)
}

/// The place of the descriptor in argument 0.
fn fd_place(call: &Call<'_>) -> Result<Place, Errno> {
    let open = call.open_file(0)?;
    open.usable()?;
    open.place().ok_or(Errno::EINVAL)
}

/// Tells memory that pages beyond the new end are gone.
fn cut(call: &Call<'_>, inode: &InodeRef, bytes: u64) -> Result<usize, Errno> {
    call.process().file_truncated(&inode.status()?, bytes);
    Ok(0)
}

fn length(call: &Call<'_>, index: usize) -> Result<u64, Errno> {
    u64::try_from(call.long(index).cast_signed()).map_err(|_| Errno::EINVAL)
}

fn truncate_path(call: &Call<'_>) -> Result<usize, Errno> {
    let bytes = length(call, 1)?;
    let place = path_place(call, CWD, 0, 0)?;
    raised(call.thread, truncate(&call.asker(), &place, bytes))?;
    cut(call, &place.inode, bytes)
}

fn ftruncate(call: &Call<'_>) -> Result<usize, Errno> {
    let bytes = length(call, 1)?;
    let open = call.open_file(0)?;
    open.usable()?;
    let place = open.place().ok_or(Errno::EINVAL)?;
    if place.inode.kind() != FileType::Regular || open.writable().is_err() {
        return Err(Errno::EINVAL);
    }
    raised(call.thread, truncate(&ROOT, &place, bytes))?;
    cut(call, &place.inode, bytes)
}

fn fallocate(call: &Call<'_>) -> Result<usize, Errno> {
    let (offset, length) = (call.long(2).cast_signed(), call.long(3).cast_signed());
    let open = call.open_file(0)?;
    raised(call.thread, open.allocate(call.unsigned(1), offset, length)).map(|()| 0)
}

fn chmod(call: &Call<'_>, place: Result<Place, Errno>, mode: usize) -> Result<usize, Errno> {
    set_permissions(&call.asker(), &place?, call.unsigned(mode)).map(|()| 0)
}

/// -1 leaves an id as it is.
fn id(call: &Call<'_>, index: usize) -> Option<u32> {
    match call.unsigned(index) {
        u32::MAX => None,
        id => Some(id),
    }
}

fn chown(call: &Call<'_>, place: Result<Place, Errno>, first: usize) -> Result<usize, Errno> {
    set_owner(&call.asker(), &place?, id(call, first), id(call, first + 1)).map(|()| 0)
}

fn now() -> WallTime {
    hal::clock::wall(hal::clock::now())
}

/// A time before 1970 becomes 1970: the kernel's wall clock does not go further back.
fn wall(seconds: i64, nanoseconds: i64) -> WallTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = nanoseconds.cast_unsigned();
    WallTime { nanoseconds: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds) }
}

/// `UTIME_NOW` of utimensat(2).
const NOW: i64 = (1 << 30) - 1;

/// The times of utimensat: now, given, or left alone.
fn decode_times(times: [Timespec; 2]) -> Result<[Option<WallTime>; 2], Errno> {
    const OMIT: i64 = (1 << 30) - 2;
    let mut decoded = [None; 2];
    for (slot, time) in decoded.iter_mut().zip(times) {
        *slot = match time.nanoseconds {
            NOW => Some(now()),
            OMIT => None,
            nanoseconds @ 0..=999_999_999 => Some(wall(time.seconds, nanoseconds)),
            _ => return Err(Errno::EINVAL),
        };
    }
    Ok(decoded)
}

fn utimensat(call: &Call<'_>) -> Result<usize, Errno> {
    let times_at = call.address(2);
    let mut touch = times_at.is_null();
    let [accessed, modified] = if touch {
        [Some(now()); 2]
    } else {
        let second = times_at.wrapping_add(size_of::<Timespec>() as u64);
        let times: [Timespec; 2] = [call.memory().read(times_at)?, call.memory().read(second)?];
        touch = times.iter().all(|time| time.nanoseconds == NOW);
        decode_times(times)?
    };
    if accessed.is_none() && modified.is_none() {
        return Ok(0);
    }
    let flags = call.unsigned(3);
    let place = if call.address(1).is_null() && call.fd(0) != CWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        fd_place(call)?
    } else {
        path_place(call, call.fd(0), 1, flags)?
    };
    set_times(&call.asker(), &place, accessed, modified, touch).map(|()| 0)
}

fn utimes(call: &Call<'_>, from: base::Fd, path: usize) -> Result<usize, Errno> {
    let times_at = call.address(path + 1);
    let [accessed, modified] = if times_at.is_null() {
        [Some(now()); 2]
    } else {
        let read = |at: UserAddr| -> Result<Option<WallTime>, Errno> {
            let time: Timeval = call.memory().read(at)?;
            match time.microseconds {
                0..=999_999 => Ok(Some(wall(time.seconds, time.microseconds * 1000))),
                _ => Err(Errno::EINVAL),
            }
        };
        [read(times_at)?, read(times_at.wrapping_add(size_of::<Timeval>() as u64))?]
    };
    let place = path_place(call, from, path, 0)?;
    set_times(&call.asker(), &place, accessed, modified, times_at.is_null()).map(|()| 0)
}

fn utime(call: &Call<'_>) -> Result<usize, Errno> {
    let times_at = call.address(1);
    let [accessed, modified] = if times_at.is_null() {
        [Some(now()); 2]
    } else {
        let [accessed, modified]: [i64; 2] = call.memory().read(times_at)?;
        [Some(wall(accessed, 0)), Some(wall(modified, 0))]
    };
    let place = path_place(call, CWD, 0, 0)?;
    set_times(&call.asker(), &place, accessed, modified, times_at.is_null()).map(|()| 0)
}

/// Longest name of an extended attribute.
const XATTR_NAME_MAX: usize = 255;

fn attribute_name(call: &Call<'_>, index: usize) -> Result<Vec<u8>, Errno> {
    let name = call.memory().read_c_string(call.address(index), XATTR_NAME_MAX + 1);
    let name =
        name.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::ERANGE } else { errno })?;
    if name.is_empty() {
        return Err(Errno::ERANGE);
    }
    Ok(name)
}

fn extras(inode: &InodeRef) -> Result<&Extras, Errno> {
    inode.extras().ok_or(Errno::EOPNOTSUPP)
}

/// Which names a file may have, and for whom: user.* only on files and directories, for those who may
/// read and write them; trusted.* and security.* are the superuser's (xattr(7)).
fn check_name(who: &Who, inode: &InodeRef, name: &[u8], change: bool) -> Result<(), Errno> {
    let is_user = name.starts_with(b"user.");
    let is_trusted = name.starts_with(b"trusted.");
    let known = is_user || is_trusted || name.starts_with(b"security.");
    let has_name = name.iter().position(|byte| *byte == b'.').is_some_and(|at| at + 1 < name.len());
    if !known {
        return Err(Errno::EOPNOTSUPP);
    }
    if !has_name {
        return Err(Errno::EINVAL);
    }
    if is_user && !matches!(inode.kind(), FileType::Regular | FileType::Directory) {
        return Err(if change { Errno::EPERM } else { Errno::ENODATA });
    }
    if is_user {
        return who.check(&**inode, if change { AccessMode::WRITE } else { AccessMode::READ });
    }
    match who.powers.contains(Powers::SYS_ADMIN) {
        false if change => Err(Errno::EPERM),
        false if is_trusted => Err(Errno::ENODATA),
        _ => Ok(()),
    }
}

fn setxattr(call: &Call<'_>, place: Result<Place, Errno>) -> Result<usize, Errno> {
    const CREATE: u32 = 1;
    const REPLACE: u32 = 2;
    let flags = call.unsigned(4);
    if flags & !(CREATE | REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = attribute_name(call, 1)?;
    let length = call.size(3);
    if length > ATTRIBUTE_BYTES_MAX {
        return Err(Errno::E2BIG);
    }
    let mut value = Vec::new();
    value.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    value.resize(length, 0);
    call.memory().read_bytes(call.address(2), &mut value)?;
    let place = place?;
    let (create, replace) = (flags & CREATE != 0, flags & REPLACE != 0);
    change_extras(&place, |extras| {
        check_name(&call.asker(), &place.inode, &name, true)?;
        extras.set_attribute(&name, &value, create, replace)
    })
    .map(|()| 0)
}

/// Copies a value out; a size of 0 only asks how long it is.
fn store(call: &Call<'_>, first: usize, value: &[u8]) -> Result<usize, Errno> {
    let size = call.size(first + 1);
    if size > 0 {
        if value.len() > size {
            return Err(Errno::ERANGE);
        }
        call.memory().write_bytes(call.address(first), value)?;
    }
    Ok(value.len())
}

fn getxattr(call: &Call<'_>, place: Result<Place, Errno>) -> Result<usize, Errno> {
    let name = attribute_name(call, 1)?;
    let inode = place?.inode;
    check_name(&call.asker(), &inode, &name, false)?;
    store(call, 2, &extras(&inode)?.attribute(&name)?)
}

fn listxattr(call: &Call<'_>, place: Result<Place, Errno>) -> Result<usize, Errno> {
    let inode = place?.inode;
    let names = inode.extras().map(Extras::attribute_names).unwrap_or_default();
    store(call, 1, &names)
}

fn removexattr(call: &Call<'_>, place: Result<Place, Errno>) -> Result<usize, Errno> {
    let name = attribute_name(call, 1)?;
    let place = place?;
    change_extras(&place, |extras| {
        check_name(&call.asker(), &place.inode, &name, true)?;
        extras.remove_attribute(&name)
    })
    .map(|()| 0)
}
