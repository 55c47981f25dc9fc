//! The entries of directories by which files were opened.
//!
//! An open file goes by the name that its entry has now, not by the one that it was opened with: rename(2) moves
//! the entry, unlink(2) takes it out of its directory, and inotify and /proc/self/fd tell so (Linux: `struct
//! dentry`). Only entries that somebody has open are kept, by their inodes.

use crate::inode::{InodeRef, Place};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::sync::SpinLock;

/// An entry that is open, perhaps more than once.
pub(crate) struct Entry {
    inode: InodeRef,
    standing: SpinLock<Standing>,
}

/// Where an entry stands.
struct Standing {
    parent: Option<InodeRef>,
    name: Box<[u8]>,
    is_removed: bool,
}

impl Standing {
    fn is(&self, directory: &InodeRef, name: &[u8]) -> bool {
        let parent = self.parent.as_ref();
        !self.is_removed
            && *self.name == *name
            && parent.is_some_and(|parent| parent.id() == directory.id())
    }
}

impl Entry {
    /// The entry of a file that is opened.
    pub(crate) fn of(place: Place) -> Arc<Self> {
        let known = place.inode.entries().zip(place.parent.as_ref());
        let known = known.and_then(|(entries, parent)| {
            entries.first().filter(|entry| entry.standing.lock().is(parent, &place.name))
        });
        if let Some(known) = known {
            return known;
        }
        let Place { inode, parent, name } = place;
        let can_move = parent.is_some();
        let standing = SpinLock::new(Standing { parent, name, is_removed: false });
        let entry = Arc::new(Self { inode, standing });
        if let (Some(entries), true) = (entry.inode.entries(), can_move) {
            entries.add(&entry);
        }
        entry
    }

    pub(crate) fn inode(&self) -> &InodeRef {
        &self.inode
    }

    /// The inode and its name of now, or the last that it had.
    pub(crate) fn place(&self) -> Place {
        self.standing().0
    }

    /// The same, and whether unlink(2), or a rename(2) over it, has taken it out of its directory.
    pub(crate) fn standing(&self) -> (Place, bool) {
        let standing = self.standing.lock();
        let (parent, name) = (standing.parent.clone(), standing.name.clone());
        (Place { inode: self.inode.clone(), parent, name }, standing.is_removed)
    }
}

/// The entries of an inode that are open.
#[derive(Default)]
pub struct Entries {
    held: SpinLock<Held>,
}

#[derive(Default)]
struct Held {
    /// Nearly always the only one.
    first: Weak<Entry>,
    more: Vec<Weak<Entry>>,
}

impl Entries {
    fn first(&self) -> Option<Arc<Entry>> {
        self.held.lock().first.upgrade()
    }

    fn add(&self, entry: &Arc<Entry>) {
        let mut held = self.held.lock();
        if held.first.strong_count() == 0 {
            held.first = Arc::downgrade(entry);
            return;
        }
        if held.more.len() == held.more.capacity() {
            held.more.retain(|entry| entry.strong_count() > 0);
        }
        held.more.push(Arc::downgrade(entry));
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        let held = self.held.lock();
        let more = held.more.iter().filter_map(Weak::upgrade);
        held.first.upgrade().into_iter().chain(more).collect()
    }
}

/// An entry of `inode` moved.
pub(crate) fn moved(
    inode: &InodeRef,
    (from, name): (&InodeRef, &[u8]),
    (to, to_name): (&InodeRef, &[u8]),
) {
    for entry in inode.entries().map(Entries::all).unwrap_or_default() {
        let mut standing = entry.standing.lock();
        if standing.is(from, name) {
            let old = standing.parent.replace(to.clone());
            standing.name = to_name.into();
            drop(standing);
            // Perhaps the last who knows that directory.
            drop(old);
        }
    }
}

/// An entry of `inode` was removed.
pub(crate) fn removed(inode: &InodeRef, (directory, name): (&InodeRef, &[u8])) {
    for entry in inode.entries().map(Entries::all).unwrap_or_default() {
        let mut standing = entry.standing.lock();
        if standing.is(directory, name) {
            standing.is_removed = true;
        }
    }
}
