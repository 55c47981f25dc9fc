//! Directories in memory.

use super::inode::{MemoryInode, now};
use crate::flags::NAME_MAX;
use crate::inode::{DirectoryEntry, Inode, InodeRef, NewInode, NewKind};
use crate::metadata::FileType;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use base::{Errno, sync};

/// What an entry adds to a directory's size, as tmpfs counts.
pub(super) const BYTES_PER_ENTRY: u64 = 20;
/// Most names of one inode.
const LINKS_MAX: u32 = 0x7fff_ffff;
/// Cookies 0 to 2 stand for the start, `.` and `..`.
const FIRST_COOKIE: u64 = 3;

pub(super) struct Entry {
    cookie: u64,
    inode: Arc<MemoryInode>,
}

/// Names and inodes, and the order in which getdents64 gives them: that of creation, so that a
/// listing neither repeats nor skips while the directory changes.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) entries: BTreeMap<Arc<[u8]>, Entry>,
    order: BTreeMap<u64, Arc<[u8]>>,
    next_cookie: u64,
    pub(super) parent: Weak<MemoryInode>,
    pub(super) name: Box<[u8]>,
}

impl Directory {
    pub(super) fn get(&self, name: &[u8]) -> Option<InodeRef> {
        let inode: InodeRef = Arc::clone(&self.entries.get(name)?.inode) as InodeRef;
        Some(inode)
    }

    fn insert(&mut self, name: &[u8], inode: Arc<MemoryInode>) {
        let cookie = self.next_cookie.max(FIRST_COOKIE);
        self.next_cookie = cookie + 1;
        let name: Arc<[u8]> = name.into();
        self.order.insert(cookie, Arc::clone(&name));
        if let Some(replaced) = self.entries.insert(name, Entry { cookie, inode }) {
            self.order.remove(&replaced.cookie);
        }
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<MemoryInode>> {
        let entry = self.entries.remove(name)?;
        self.order.remove(&entry.cookie);
        Some(entry.inode)
    }
}

fn memory_inode(inode: &InodeRef) -> Result<&MemoryInode, Errno> {
    inode.as_any().downcast_ref().ok_or(Errno::EXDEV)
}

impl MemoryInode {
    fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(super) fn list_entries(
        &self,
        from: u64,
        each: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let directory = self.directory()?.lock();
        for (&cookie, name) in directory.order.range(from.max(FIRST_COOKIE)..) {
            let Some(entry) = directory.entries.get(name) else { continue };
            let entry = DirectoryEntry {
                name,
                inode: entry.inode.id().number,
                kind: entry.inode.kind(),
                next: cookie + 1,
            };
            if !each(entry) {
                break;
            }
        }
        Ok(())
    }

    /// Makes an inode and its name.
    pub(super) fn create_entry(&self, name: &[u8], new: &NewInode<'_>) -> Result<InodeRef, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        super::check_space(1)?;
        self.refuse_removed()?;
        let parent_permissions = self.attributes.lock().permissions;
        let mut new = *new;
        // A set-group-id directory hands down its group, and to directories the bit itself.
        if parent_permissions & 0o2000 != 0 {
            new.group = self.attributes.lock().group;
            if new.kind == NewKind::Directory {
                new.permissions |= 0o2000;
            }
        }
        let inode = Self::new(&self.fs, &new);
        self.attach(name, &inode)?;
        Ok(inode)
    }

    /// Puts an inode under a name, and tells it if it is a directory.
    pub(crate) fn attach(&self, name: &[u8], inode: &Arc<Self>) -> Result<(), Errno> {
        if let Ok(child) = inode.directory() {
            let mut child = child.lock();
            child.parent = self.own.clone();
            child.name = name.into();
            drop(child);
            self.add_links(1);
        } else {
            inode.add_links(1);
        }
        self.directory()?.lock().insert(name, Arc::clone(inode));
        self.touch_modified();
        Ok(())
    }

    fn refuse_removed(&self) -> Result<(), Errno> {
        if self.is_removed() { Err(Errno::ENOENT) } else { Ok(()) }
    }

    pub(super) fn link_entry(&self, name: &[u8], target: &InodeRef) -> Result<(), Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let inode = memory_inode(target)?;
        if inode.is_directory() {
            return Err(Errno::EPERM);
        }
        super::check_space(1)?;
        self.refuse_removed()?;
        {
            let mut attributes = inode.attributes.lock();
            // What lost its last name gets no other one.
            if attributes.links == 0 && !attributes.linkable {
                return Err(Errno::ENOENT);
            }
            if attributes.links >= LINKS_MAX {
                return Err(Errno::EMLINK);
            }
            attributes.linkable = false;
        }
        let inode = inode.own.upgrade().ok_or(Errno::ENOENT)?;
        self.attach(name, &inode)
    }

    pub(super) fn unlink_entry(&self, name: &[u8]) -> Result<(), Errno> {
        let removed = self.directory()?.lock().remove(name).ok_or(Errno::ENOENT)?;
        self.forget(&removed);
        self.touch_modified();
        Ok(())
    }

    /// An inode lost its name in this directory.
    fn forget(&self, removed: &Self) {
        if let Ok(directory) = removed.directory() {
            directory.lock().parent = Weak::new();
            removed.attributes.lock().links = 0;
            self.add_links(-1);
        } else {
            removed.add_links(-1);
        }
    }

    pub(super) fn rename_entry(
        &self,
        name: &[u8],
        to: &InodeRef,
        to_name: &[u8],
        exchange: bool,
    ) -> Result<(), Errno> {
        if to_name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let to = memory_inode(to)?;
        to.refuse_removed()?;
        let (moving, replaced) = self.move_entry(name, to, to_name, exchange)?;
        match (replaced, exchange) {
            (Some(other), true) => self.adopt(name, &other, to),
            (Some(other), false) => to.forget(&other),
            (None, _) => {}
        }
        to.adopt(to_name, &moving, self);
        self.touch_modified();
        to.touch_modified();
        Ok(())
    }

    /// Moves an entry, or exchanges two, in one step: whoever looks a name up meanwhile finds the
    /// old inode or the new one (rename(2)). Returns what moved, and what had the new name.
    fn move_entry(
        &self,
        name: &[u8],
        to: &Self,
        to_name: &[u8],
        exchange: bool,
    ) -> Result<(Arc<Self>, Option<Arc<Self>>), Errno> {
        let (here, there) = (self.directory()?, to.directory()?);
        let (mut from, mut other) = if core::ptr::eq(here, there) {
            (here.lock(), None)
        } else {
            let (from, into) = sync::lock_both(here, there);
            (from, Some(into))
        };
        let moving = from.remove(name).ok_or(Errno::ENOENT)?;
        let into = other.as_deref_mut().unwrap_or(&mut from);
        let replaced = into.remove(to_name);
        into.insert(to_name, Arc::clone(&moving));
        if let (Some(replaced), true) = (&replaced, exchange) {
            from.insert(name, Arc::clone(replaced));
        }
        Ok((moving, replaced))
    }

    /// An inode that had a name in `from` has one here now.
    fn adopt(&self, name: &[u8], inode: &Self, from: &Self) {
        if let Ok(child) = inode.directory() {
            let mut child = child.lock();
            child.parent = self.own.clone();
            child.name = name.into();
            drop(child);
            from.add_links(-1);
            self.add_links(1);
        }
        inode.attributes.lock().changed = now();
    }
}
