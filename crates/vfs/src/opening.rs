//! open(2): from a path to an open file description.

use crate::access::{AccessMode, Who};
use crate::file::FileRef;
use crate::flags::OpenFlags;
use crate::inode::{InodeRef, LinkTarget, NewInode, NewKind, Place};
use crate::inotify::{self, Event};
use crate::metadata::FileType;
use crate::open::OpenFile;
use crate::path::{At, Followed, Last, Walk};
use crate::pipe::PipeEnd;
use crate::tree::{Vfs, as_file};
use alloc::sync::Arc;
use base::Errno;

impl Vfs {
    /// openat(2). `permissions`: for a file to be made, umask applied. A FIFO opens at once: see
    /// [`PipeEnd::peer_arrived`] for the waiting that open(2) does.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(
        &self,
        at: At<'_>,
        path: &[u8],
        flags: OpenFlags,
        permissions: u32,
    ) -> Result<Arc<OpenFile>, Errno> {
        let create = flags.contains(OpenFlags::CREAT);
        if create && flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(OpenFlags::TMPFILE) {
            return self.open_unnamed(at, path, flags, permissions);
        }
        let mut walk = Walk::new(self, at, path)?;
        loop {
            let name = match walk.walk_to_last()? {
                Last::Name(name) => name,
                other => {
                    if other == Last::DotDot {
                        walk.up()?;
                    }
                    return self.open_found(at.who, Place::of(walk.current), flags);
                }
            };
            if create && walk.trailing_slash {
                return Err(Errno::EISDIR);
            }
            let inode = match walk.child(&name) {
                Err(Errno::ENOENT) if create => {
                    let new = NewInode::of(at.who, NewKind::Regular, permissions);
                    match self.create_file(at.who, &walk.current, &name, flags, &new)? {
                        Some(open) => return Ok(open),
                        None => walk.child(&name)?,
                    }
                }
                found => found?,
            };
            let exclusive = create && flags.contains(OpenFlags::EXCL);
            let follow = !exclusive && !flags.contains(OpenFlags::NOFOLLOW);
            if inode.kind() == FileType::SymbolicLink && (follow || walk.trailing_slash) {
                match walk.follow(&inode)? {
                    Followed::Onward => continue,
                    Followed::Jump(LinkTarget::Inode(place)) => {
                        return self.open_found(at.who, place, flags);
                    }
                    Followed::Jump(LinkTarget::File(file)) => return reopen(&file, flags),
                    Followed::Jump(LinkTarget::Path(_)) => return Err(Errno::ELOOP),
                }
            }
            if walk.trailing_slash && inode.kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            let place = Place { inode, parent: Some(walk.current), name };
            return self.open_found(at.who, place, flags);
        }
    }

    /// Makes and opens a regular file. `None`: somebody else just made it.
    fn create_file(
        &self,
        who: &Who,
        directory: &InodeRef,
        name: &[u8],
        flags: OpenFlags,
        new: &NewInode<'_>,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let inode = {
            let _names = self.names.lock();
            match directory.lookup(name) {
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
                Ok(_) => return Ok(None),
            }
            if directory.file_system().is_read_only() {
                return Err(Errno::EROFS);
            }
            who.check_directory(directory)?;
            directory.create(name, new)?
        };
        inotify::in_directory(directory, name, Event::CREATE, 0);
        let place = Place { inode, parent: Some(directory.clone()), name: name.into() };
        inotify::on_place(&place, Event::OPEN);
        let file = as_file(&place.inode);
        Ok(Some(OpenFile::with_place(file, Some(place), flags)))
    }

    fn open_unnamed(
        &self,
        at: At<'_>,
        path: &[u8],
        flags: OpenFlags,
        permissions: u32,
    ) -> Result<Arc<OpenFile>, Errno> {
        if !flags.contains(OpenFlags::DIRECTORY) || flags.access_mode() == 0 {
            return Err(Errno::EINVAL);
        }
        let directory = self.resolve(at, path, !flags.contains(OpenFlags::NOFOLLOW))?.inode;
        if directory.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if directory.file_system().is_read_only() {
            return Err(Errno::EROFS);
        }
        at.who.check_directory(&directory)?;
        let new = NewInode::of(at.who, NewKind::Regular, permissions);
        let inode = directory.create_unnamed(&new, !flags.contains(OpenFlags::EXCL))?;
        let number = alloc::format!("#{}", inode.id().number);
        let name = number.into_bytes().into_boxed_slice();
        let place = Place { inode, parent: Some(directory), name };
        Ok(OpenFile::with_place(as_file(&place.inode), Some(place), flags))
    }

    /// Opens what is there already.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_found(
        &self,
        who: &Who,
        place: Place,
        flags: OpenFlags,
    ) -> Result<Arc<OpenFile>, Errno> {
        let inode = &place.inode;
        let kind = inode.kind();
        let is_directory = kind == FileType::Directory;
        if flags.contains(OpenFlags::CREAT) {
            if flags.contains(OpenFlags::EXCL) {
                return Err(Errno::EEXIST);
            }
            if is_directory {
                return Err(Errno::EISDIR);
            }
        }
        if flags.contains(OpenFlags::DIRECTORY) && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        if flags.contains(OpenFlags::PATH) {
            let file = as_file(inode);
            return Ok(OpenFile::with_place(file, Some(place), flags));
        }
        match kind {
            FileType::SymbolicLink => return Err(Errno::ELOOP),
            FileType::Directory if flags.wants_write() => return Err(Errno::EISDIR),
            FileType::Socket => return Err(Errno::ENXIO),
            _ => {}
        }
        if kind == FileType::Regular && flags.wants_write() && inode.file_system().is_read_only() {
            return Err(Errno::EROFS);
        }
        who.check(&**inode, wanted(flags))?;
        if flags.contains(OpenFlags::NOATIME) {
            who.check_owner(&**inode)?;
        }
        let file = match kind {
            FileType::CharacterDevice => match inode.open_file()? {
                Some(file) => file,
                None => self.device(inode.status()?.special_device)?.open(who)?,
            },
            FileType::BlockDevice => return Err(Errno::ENXIO),
            FileType::Fifo => {
                let pipe = inode.fifo().ok_or(Errno::ENXIO)?;
                let end: FileRef = PipeEnd::open(pipe, flags, true)?;
                end
            }
            _ => inode.open_file()?.unwrap_or_else(|| as_file(inode)),
        };
        if kind == FileType::Regular && flags.contains(OpenFlags::TRUNC) {
            file.truncate(0)?;
            inotify::on_place(&place, Event::MODIFY);
        }
        inotify::on_place(&place, Event::OPEN);
        Ok(OpenFile::with_place(file, Some(place), flags))
    }
}

/// What the bits of a file must allow for it to be opened so.
fn wanted(flags: OpenFlags) -> AccessMode {
    let mut wanted = AccessMode::empty();
    wanted.set(AccessMode::READ, flags.access_mode() != 1);
    wanted.set(AccessMode::WRITE, flags.wants_write());
    wanted
}

fn reopen(file: &FileRef, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
    if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    if flags.contains(OpenFlags::DIRECTORY) {
        return Err(Errno::ENOTDIR);
    }
    if flags.contains(OpenFlags::PATH) {
        return Ok(OpenFile::new(Arc::clone(file), flags));
    }
    Ok(OpenFile::new(file.reopen(flags)?, flags))
}
