//! Calls that change an inode's attributes or length.

use crate::inode::{AttributeChange, InodeRef, Place};
use crate::inotify::{self, Event};
use crate::metadata::FileType;
use base::{Errno, WallTime};

fn change(place: &Place, change: &AttributeChange) -> Result<(), Errno> {
    let inode = &place.inode;
    if inode.file_system().is_read_only() {
        return Err(Errno::EROFS);
    }
    inode.set_attributes(change)?;
    inotify::on_place(place, Event::ATTRIB);
    Ok(())
}

/// chmod(2).
///
/// # Errors
/// `EOPNOTSUPP`: a symbolic link. `EROFS`, `EPERM`.
pub fn set_permissions(place: &Place, permissions: u32) -> Result<(), Errno> {
    if place.inode.kind() == FileType::SymbolicLink {
        return Err(Errno::EOPNOTSUPP);
    }
    change(
        place,
        &AttributeChange { permissions: Some(permissions & 0o7777), ..Default::default() },
    )
}

/// chown(2); `None` leaves as is. A file that is not a directory loses its set-id bits.
///
/// # Errors
/// `EROFS`, `EPERM`.
pub fn set_owner(place: &Place, user: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
    let inode = &place.inode;
    let old = inode.status()?.permissions;
    let mut permissions = None;
    if !matches!(inode.kind(), FileType::Directory | FileType::SymbolicLink) {
        let group_bit = if old & 0o010 != 0 { 0o2000 } else { 0 };
        permissions = Some(old & !(0o4000 | group_bit));
    }
    change(place, &AttributeChange { permissions, user, group, ..Default::default() })
}

/// utimensat(2); `None` leaves as is.
///
/// # Errors
/// `EROFS`, `EPERM`.
pub fn set_times(
    place: &Place,
    accessed: Option<WallTime>,
    modified: Option<WallTime>,
) -> Result<(), Errno> {
    if accessed.is_none() && modified.is_none() {
        return Ok(());
    }
    change(place, &AttributeChange { accessed, modified, ..Default::default() })
}

/// truncate(2).
///
/// # Errors
/// `EISDIR`, `EINVAL`: not a regular file. `EFBIG`, `EROFS`, `EPERM` (sealed).
pub fn truncate(place: &Place, bytes: u64) -> Result<(), Errno> {
    let inode = &place.inode;
    match inode.kind() {
        FileType::Directory => return Err(Errno::EISDIR),
        FileType::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    if inode.file_system().is_read_only() {
        return Err(Errno::EROFS);
    }
    inode.truncate(bytes)?;
    inotify::on_place(place, Event::MODIFY);
    Ok(())
}

bitflags::bitflags! {
    /// What access(2) asks for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AccessMode: u32 {
        /// Run or search.
        const EXECUTE = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

/// access(2) for the superuser, which the program is: reading and writing always, running only
/// what somebody may run.
///
/// # Errors
/// `EACCES`, `EROFS`.
pub fn check_access(inode: &InodeRef, mode: AccessMode) -> Result<(), Errno> {
    let kind = inode.kind();
    let on_disk = matches!(kind, FileType::Regular | FileType::Directory | FileType::SymbolicLink);
    if mode.contains(AccessMode::EXECUTE)
        && kind != FileType::Directory
        && inode.status()?.permissions & 0o111 == 0
    {
        return Err(Errno::EACCES);
    }
    if mode.contains(AccessMode::WRITE) && on_disk && inode.file_system().is_read_only() {
        return Err(Errno::EROFS);
    }
    Ok(())
}
