//! Calls that change an inode's attributes or length.

use crate::access::{AccessMode, Who};
use crate::extras::Extras;
use crate::inode::{AttributeChange, Place};
use crate::inotify::{self, Event};
use crate::metadata::FileType;
use base::{Errno, WallTime};

fn writable(place: &Place) -> Result<(), Errno> {
    if place.inode.file_system().is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
}

fn change(place: &Place, change: &AttributeChange) -> Result<(), Errno> {
    place.inode.set_attributes(change)?;
    inotify::on_place(place, Event::ATTRIB);
    Ok(())
}

/// setxattr(2), removexattr(2): `how` changes what hangs on the inode.
///
/// # Errors
/// `EROFS`; `EOPNOTSUPP`: nothing can hang there; those of `how`.
pub fn change_extras(
    place: &Place,
    how: impl FnOnce(&Extras) -> Result<(), Errno>,
) -> Result<(), Errno> {
    writable(place)?;
    how(place.inode.extras().ok_or(Errno::EOPNOTSUPP)?)?;
    change(place, &AttributeChange::default())
}

/// chmod(2).
///
/// # Errors
/// `EOPNOTSUPP`: a symbolic link. `EROFS`, `EPERM`.
pub fn set_permissions(who: &Who, place: &Place, permissions: u32) -> Result<(), Errno> {
    let inode = &place.inode;
    if inode.kind() == FileType::SymbolicLink {
        return Err(Errno::EOPNOTSUPP);
    }
    writable(place)?;
    who.check_owner(&**inode)?;
    let permissions = who.permissions_for(&inode.status()?, permissions & 0o7777);
    change(place, &AttributeChange { permissions: Some(permissions), ..Default::default() })
}

/// chown(2); `None` leaves as is. A file that is not a directory loses its set-id bits.
///
/// # Errors
/// `EROFS`, `EPERM`.
pub fn set_owner(
    who: &Who,
    place: &Place,
    user: Option<u32>,
    group: Option<u32>,
) -> Result<(), Errno> {
    let inode = &place.inode;
    writable(place)?;
    let metadata = inode.status()?;
    who.check_new_owner(&metadata, user, group)?;
    let old = metadata.permissions;
    let mut permissions = None;
    if !matches!(inode.kind(), FileType::Directory | FileType::SymbolicLink) {
        let group_bit = if old & 0o010 != 0 { 0o2000 } else { 0 };
        permissions = Some(old & !(0o4000 | group_bit));
    }
    change(place, &AttributeChange { permissions, user, group, ..Default::default() })
}

/// utimensat(2); `None` leaves as is. `touch`: both are now, which those may say who may write.
///
/// # Errors
/// `EROFS`, `EPERM`; `EACCES` of `touch`.
pub fn set_times(
    who: &Who,
    place: &Place,
    accessed: Option<WallTime>,
    modified: Option<WallTime>,
    touch: bool,
) -> Result<(), Errno> {
    if accessed.is_none() && modified.is_none() {
        return Ok(());
    }
    writable(place)?;
    let inode = &*place.inode;
    match who.check_owner(inode) {
        Err(Errno::EPERM) if touch => who.check(inode, AccessMode::WRITE)?,
        other => other?,
    }
    change(place, &AttributeChange { accessed, modified, ..Default::default() })
}

/// truncate(2).
///
/// # Errors
/// `EISDIR`, `EINVAL`: not a regular file. `EFBIG`, `EROFS`, `EACCES`, `EPERM` (sealed).
pub fn truncate(who: &Who, place: &Place, bytes: u64) -> Result<(), Errno> {
    let inode = &place.inode;
    match inode.kind() {
        FileType::Directory => return Err(Errno::EISDIR),
        FileType::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    writable(place)?;
    who.check(&**inode, AccessMode::WRITE)?;
    inode.truncate(bytes)?;
    inotify::on_place(place, Event::MODIFY);
    Ok(())
}
