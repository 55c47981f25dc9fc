//! Calls that make, remove and move names. The order of the checks is Linux's (fs/namei.c), since
//! programs see which error comes first.

use crate::access::AccessMode;
use crate::entry;
use crate::flags::RenameFlags;
use crate::inode::{InodeRef, NewInode, NewKind, Place};
use crate::inotify::{self, Event};
use crate::metadata::FileType;
use crate::path::{At, Last, Walk};
use crate::tree::Vfs;
use alloc::boxed::Box;
use base::Errno;

/// The parent directory and the last component, for a name about to be made.
struct NewName {
    directory: InodeRef,
    name: Box<[u8]>,
    trailing_slash: bool,
}

impl Vfs {
    /// As the kernel's `filename_create`: `EEXIST` comes before everything else.
    fn new_name(&self, at: At<'_>, path: &[u8], want_directory: bool) -> Result<NewName, Errno> {
        let mut walk = Walk::new(self, at, path)?;
        let Last::Name(name) = walk.walk_to_last()? else { return Err(Errno::EEXIST) };
        match walk.current.lookup(&name) {
            Ok(_) => return Err(Errno::EEXIST),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let trailing_slash = walk.trailing_slash;
        if trailing_slash && !want_directory {
            return Err(Errno::ENOENT);
        }
        if walk.current.file_system().is_read_only() {
            return Err(Errno::EROFS);
        }
        at.who.check_directory(&walk.current)?;
        Ok(NewName { directory: walk.current, name, trailing_slash })
    }

    fn make(
        &self,
        at: At<'_>,
        path: &[u8],
        kind: NewKind<'_>,
        permissions: u32,
    ) -> Result<Place, Errno> {
        let _names = self.names.lock();
        let is_directory = kind == NewKind::Directory;
        let who = at.who;
        let at = self.new_name(at, path, is_directory)?;
        debug_assert!(is_directory || !at.trailing_slash);
        if let NewKind::Device(kind, number) = kind {
            who.check_device(kind, number)?;
        }
        let new = NewInode::of(who, kind, permissions);
        let inode = at.directory.create(&at.name, &new)?;
        let what = if is_directory { Event::CREATE | Event::ISDIR } else { Event::CREATE };
        inotify::in_directory(&at.directory, &at.name, what, 0);
        Ok(Place { inode, parent: Some(at.directory), name: at.name })
    }

    /// mkdir(2); the umask is applied already.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn mkdir(&self, at: At<'_>, path: &[u8], permissions: u32) -> Result<Place, Errno> {
        // Of the bits above the permissions only the sticky one is heeded.
        self.make(at, path, NewKind::Directory, permissions & 0o1777)
    }

    /// mknod(2); the umask is applied already. `number`: major << 8 | minor.
    ///
    /// # Errors
    /// As mknod(2).
    pub fn mknod(
        &self,
        at: At<'_>,
        path: &[u8],
        kind: FileType,
        permissions: u32,
        number: u64,
    ) -> Result<Place, Errno> {
        let kind = match kind {
            FileType::Regular => NewKind::Regular,
            FileType::Fifo => NewKind::Fifo,
            FileType::Socket => NewKind::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => NewKind::Device(kind, number),
            FileType::Directory => return Err(Errno::EPERM),
            FileType::SymbolicLink => return Err(Errno::EINVAL),
        };
        self.make(at, path, kind, permissions)
    }

    /// symlink(2).
    ///
    /// # Errors
    /// As symlink(2).
    pub fn symlink(&self, target: &[u8], at: At<'_>, path: &[u8]) -> Result<Place, Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= crate::flags::PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        self.make(at, path, NewKind::SymbolicLink(target), 0o777)
    }

    /// link(2) to an inode that was looked up.
    ///
    /// # Errors
    /// As link(2).
    pub fn link(&self, target: &InodeRef, at: At<'_>, path: &[u8]) -> Result<(), Errno> {
        let _names = self.names.lock();
        let at = self.new_name(at, path, false)?;
        if target.id().device != at.directory.id().device {
            return Err(Errno::EXDEV);
        }
        if target.kind() == FileType::Directory {
            return Err(Errno::EPERM);
        }
        at.directory.link(&at.name, target)?;
        inotify::on_inode(target, Event::ATTRIB);
        inotify::in_directory(&at.directory, &at.name, Event::CREATE, 0);
        Ok(())
    }

    /// unlink(2).
    ///
    /// # Errors
    /// As unlink(2): `EISDIR` for a directory.
    pub fn unlink(&self, at: At<'_>, path: &[u8]) -> Result<(), Errno> {
        let _names = self.names.lock();
        let mut walk = Walk::new(self, at, path)?;
        let Last::Name(name) = walk.walk_to_last()? else { return Err(Errno::EISDIR) };
        let inode = walk.current.lookup(&name)?;
        let is_directory = inode.kind() == FileType::Directory;
        if walk.trailing_slash {
            return Err(if is_directory { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        if walk.current.file_system().is_read_only() {
            return Err(Errno::EROFS);
        }
        at.who.check_removal(&walk.current, &inode)?;
        if is_directory {
            return Err(Errno::EISDIR);
        }
        walk.current.unlink(&name)?;
        entry::removed(&inode, (&walk.current, &name));
        inotify::removed(&walk.current, &name, inode);
        Ok(())
    }

    /// rmdir(2).
    ///
    /// # Errors
    /// As rmdir(2).
    pub fn rmdir(&self, at: At<'_>, path: &[u8]) -> Result<(), Errno> {
        let _names = self.names.lock();
        let mut walk = Walk::new(self, at, path)?;
        let name = match walk.walk_to_last()? {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        if walk.current.file_system().is_read_only() {
            return Err(Errno::EROFS);
        }
        let inode = walk.current.lookup(&name)?;
        at.who.check_removal(&walk.current, &inode)?;
        if inode.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if self.is_mount_point(inode.id()) {
            return Err(Errno::EBUSY);
        }
        if !inode.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        walk.current.unlink(&name)?;
        entry::removed(&inode, (&walk.current, &name));
        inotify::removed(&walk.current, &name, inode);
        Ok(())
    }

    /// renameat2(2).
    ///
    /// # Errors
    /// As renameat2(2).
    pub fn rename(
        &self,
        from_at: At<'_>,
        from: &[u8],
        to_at: At<'_>,
        to: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        if exchange && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT) {
            return Err(Errno::EINVAL);
        }
        let _names = self.names.lock();
        let mut from = Walk::new(self, from_at, from)?;
        let from_last = from.walk_to_last()?;
        let mut to = Walk::new(self, to_at, to)?;
        let to_last = to.walk_to_last()?;
        if from.current.id().device != to.current.id().device {
            return Err(Errno::EXDEV);
        }
        let Last::Name(name) = from_last else { return Err(Errno::EBUSY) };
        let Last::Name(to_name) = to_last else {
            let must_not_exist = flags.contains(RenameFlags::NOREPLACE);
            return Err(if must_not_exist { Errno::EEXIST } else { Errno::EBUSY });
        };
        if from.current.file_system().is_read_only() {
            return Err(Errno::EROFS);
        }
        let moving = from.current.lookup(&name)?;
        let target = match to.current.lookup(&to_name) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let slashes = (from.trailing_slash, to.trailing_slash);
        self.check_rename(&from.current, &moving, &to.current, target.as_ref(), slashes, flags)?;
        if target.as_ref().is_some_and(|target| target.id() == moving.id()) {
            return Ok(());
        }
        let who = from_at.who;
        who.check_removal(&from.current, &moving)?;
        match &target {
            Some(target) => who.check_removal(&to.current, target)?,
            None => who.check_directory(&to.current)?,
        }
        if from.current.id() != to.current.id() {
            let other = target.as_ref().filter(|_| exchange);
            for inode in [Some(&moving), other].into_iter().flatten() {
                // What changes in a directory that moves is its `..`.
                if inode.kind() == FileType::Directory {
                    who.check(&**inode, AccessMode::WRITE)?;
                }
            }
        }
        if let Some(target) = &target {
            self.check_replaced(&moving, target, exchange)?;
        }
        from.current.rename(&name, &to.current, &to_name, exchange)?;
        let (here, there) = ((&from.current, &*name), (&to.current, &*to_name));
        // What is there leaves before another comes.
        match &target {
            Some(target) if exchange => entry::moved(target, there, here),
            Some(target) => entry::removed(target, there),
            None => {}
        }
        entry::moved(&moving, here, there);
        inotify::moved(here, there, &moving, target.as_ref().filter(|_| !exchange));
        if let (Some(target), true) = (&target, exchange) {
            inotify::moved(there, here, target, None);
        }
        // It ends here if it was the last.
        drop(target);
        if flags.contains(RenameFlags::WHITEOUT) {
            let kind = NewKind::Device(FileType::CharacterDevice, 0);
            let whiteout = NewInode::of(from_at.who, kind, 0);
            from.current.create(&name, &whiteout)?;
        }
        Ok(())
    }

    /// What stands in the way of a rename whoever asks, in Linux's order.
    fn check_rename(
        &self,
        from: &InodeRef,
        moving: &InodeRef,
        to: &InodeRef,
        target: Option<&InodeRef>,
        (from_slash, to_slash): (bool, bool),
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let is_directory = |inode: &InodeRef| inode.kind() == FileType::Directory;
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange {
            let target = target.ok_or(Errno::ENOENT)?;
            if to_slash && !is_directory(target) {
                return Err(Errno::ENOTDIR);
            }
        }
        if !is_directory(moving) && (from_slash || (!exchange && to_slash)) {
            return Err(Errno::ENOTDIR);
        }
        if is_directory(moving) && self.is_within(to, moving) {
            return Err(Errno::EINVAL);
        }
        let Some(target) = target else { return Ok(()) };
        if is_directory(target) && self.is_within(from, target) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        Ok(())
    }

    /// What stands in the way of putting something in the place of something else.
    fn check_replaced(
        &self,
        moving: &InodeRef,
        target: &InodeRef,
        exchange: bool,
    ) -> Result<(), Errno> {
        let is_directory = |inode: &InodeRef| inode.kind() == FileType::Directory;
        if !exchange {
            match (is_directory(moving), is_directory(target)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                _ => {}
            }
        }
        if self.is_mount_point(moving.id()) || self.is_mount_point(target.id()) {
            return Err(Errno::EBUSY);
        }
        if !exchange && is_directory(target) && !target.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        Ok(())
    }

    /// True when `inner` is `outer` or lies below it, in one file system.
    fn is_within(&self, inner: &InodeRef, outer: &InodeRef) -> bool {
        let mut current = inner.clone();
        loop {
            if current.id() == outer.id() {
                return true;
            }
            match current.parent() {
                Some((parent, _)) => current = parent,
                None => return false,
            }
        }
    }
}
