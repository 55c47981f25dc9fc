//! The tree of mounted file systems, and looking things up in it.

use crate::device::Device;
use crate::file::FileRef;
use crate::inode::{FileSystem, Inode, InodeId, InodeRef, Place};
use crate::memory::MemoryFs;
use crate::metadata::{FileType, Metadata};
use crate::path::{At, End, Walk};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::sync::{Rank, SpinLock};

/// A mounted file system.
#[derive(Clone)]
pub struct Mount {
    /// The directory that it hides. `None` for the root.
    pub covered: Option<InodeRef>,
    /// Its root.
    pub root: InodeRef,
    /// Where, as a path.
    pub path: String,
    /// What /proc/mounts shows as its source.
    pub source: &'static str,
    /// Options as /proc/mounts shows them.
    pub options: &'static str,
}

/// The tree.
pub struct Vfs {
    root: InodeRef,
    mounts: SpinLock<Vec<Arc<Mount>>>,
    devices: SpinLock<BTreeMap<u64, Arc<dyn Device>>>,
    /// Held while names change, so that what was checked still holds when it is done.
    pub(crate) names: SpinLock<()>,
    nameless: Arc<MemoryFs>,
}

/// What a path leads to: an inode, or (through `/proc/self/fd`) an open file that has none.
pub enum Found {
    /// An inode.
    Place(Place),
    /// An open file.
    File(FileRef),
}

impl Found {
    /// What stat(2) tells.
    ///
    /// # Errors
    /// As stat(2).
    pub fn metadata(&self) -> Result<Metadata, Errno> {
        match self {
            Self::Place(place) => place.inode.status(),
            Self::File(file) => file.metadata(),
        }
    }
}

impl Vfs {
    /// A tree with nothing but `root` in it.
    #[must_use]
    pub fn new(root: InodeRef) -> Arc<Self> {
        let mount = Mount {
            covered: None,
            root: root.clone(),
            path: String::from("/"),
            source: "rootfs",
            options: "rw",
        };
        Arc::new(Self {
            root,
            mounts: SpinLock::new(alloc::vec![Arc::new(mount)]),
            devices: SpinLock::default(),
            names: SpinLock::ranked(Rank::Names, ()),
            nameless: MemoryFs::nameless(),
        })
    }

    /// The file system of memfd_create(2).
    #[must_use]
    pub fn nameless(&self) -> &Arc<MemoryFs> {
        &self.nameless
    }

    /// RLIMIT_FSIZE: no file may grow beyond so many bytes. The limit is the tree's, as there is one
    /// process.
    pub fn limit_files(&self, bytes: u64) {
        self.nameless.limit_files(bytes);
        for mount in &*self.mounts.lock() {
            mount.root.file_system().limit_files(bytes);
        }
    }

    /// The number of the mount that an inode of `device` is in, as /proc/self/mountinfo tells it.
    /// `None`: in none, as pipes.
    #[must_use]
    pub fn mount_number(&self, device: u64) -> Option<u64> {
        let mounts = self.mounts.lock();
        let at = mounts.iter().position(|mount| mount.root.id().device == device)?;
        Some(at as u64 + 1)
    }

    /// True when the inode is the root of a mount.
    #[must_use]
    pub fn is_mount_root(&self, id: InodeId) -> bool {
        self.mounts.lock().iter().any(|mount| mount.root.id() == id)
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &InodeRef {
        &self.root
    }

    /// The start for kernel look-ups: everything from the root.
    #[must_use]
    pub fn at_root(&self) -> At<'_> {
        At::new(&self.root, &self.root)
    }

    /// Mounts a file system on the directory at `path`, which is made if there is none.
    ///
    /// # Errors
    /// As mkdir(2) and mount(2).
    pub fn mount(
        &self,
        path: &str,
        root: InodeRef,
        source: &'static str,
        options: &'static str,
    ) -> Result<(), Errno> {
        match self.mkdir(self.at_root(), path.as_bytes(), 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let place = self.resolve(self.at_root(), path.as_bytes(), true)?;
        if place.inode.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let mount = Mount { covered: Some(place.inode), root, path: path.into(), source, options };
        self.mounts.lock().push(Arc::new(mount));
        Ok(())
    }

    /// Every mount, oldest first.
    #[must_use]
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().clone()
    }

    /// Makes a device number (major << 8 | minor) work.
    pub fn register_device(&self, number: u64, device: Arc<dyn Device>) {
        self.devices.lock().insert(number, device);
    }

    pub(crate) fn device(&self, number: u64) -> Result<Arc<dyn Device>, Errno> {
        self.devices.lock().get(&number).cloned().ok_or(Errno::ENXIO)
    }

    /// The inode that one sees at a directory that may be mounted over.
    fn cross(&self, inode: InodeRef) -> InodeRef {
        if inode.kind() != FileType::Directory {
            return inode;
        }
        let id = inode.id();
        let mounts = self.mounts.lock();
        let covers = |mount: &&Arc<Mount>| mount.covered.as_ref().is_some_and(|c| c.id() == id);
        mounts.iter().rev().find(covers).map_or(inode, |mount| mount.root.clone())
    }

    /// True when something is mounted on the directory.
    pub(crate) fn is_mount_point(&self, id: InodeId) -> bool {
        let mounts = self.mounts.lock();
        mounts.iter().any(|mount| mount.root.id() == id && mount.covered.is_some())
            || mounts.iter().any(|mount| mount.covered.as_ref().is_some_and(|c| c.id() == id))
    }

    fn covered_by(&self, root: InodeId) -> Option<InodeRef> {
        let mounts = self.mounts.lock();
        mounts.iter().find(|mount| mount.root.id() == root)?.covered.clone()
    }

    /// The entry of a directory, mounts crossed.
    pub(crate) fn child_of(&self, directory: &InodeRef, name: &[u8]) -> Result<InodeRef, Errno> {
        Ok(self.cross(directory.lookup(name)?))
    }

    /// The parent of a directory, mounts crossed; the root is its own.
    #[must_use]
    pub fn parent_of(&self, directory: &InodeRef) -> InodeRef {
        let here = self.covered_by(directory.id()).unwrap_or_else(|| directory.clone());
        match here.parent() {
            Some((parent, _)) => parent,
            None => here,
        }
    }

    /// The parent of a directory and the name it has there.
    fn named_parent_of(&self, directory: &InodeRef) -> Option<(InodeRef, Box<[u8]>)> {
        self.covered_by(directory.id()).unwrap_or_else(|| directory.clone()).parent()
    }

    /// The path of a directory as seen from `root`.
    ///
    /// # Errors
    /// `ENOENT`: it was removed.
    pub fn path_of(&self, directory: &InodeRef, root: &InodeRef) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        let mut current = directory.clone();
        while current.id() != root.id() && current.id() != self.root.id() {
            let (parent, name) = self.named_parent_of(&current).ok_or(Errno::ENOENT)?;
            names.push(name);
            current = parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }

    /// The path by which a place was reached, as /proc/self/fd shows it: with ` (deleted)` when
    /// the name is gone.
    #[must_use]
    pub fn path_of_place(&self, place: &Place, root: &InodeRef) -> Vec<u8> {
        let Some(parent) = &place.parent else {
            if !place.name.is_empty() {
                // A file that never had a name in a directory: memfd.
                return [b"/", &*place.name, b" (deleted)"].concat();
            }
            let path = self.path_of(&place.inode, root);
            return path.unwrap_or_else(|_| b"/ (deleted)".to_vec());
        };
        let mut path = self.path_of(parent, root).unwrap_or_default();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(&place.name);
        let there = self.child_of(parent, &place.name);
        if !there.is_ok_and(|inode| inode.id() == place.inode.id()) {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// Looks a path up.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`; `ENXIO`: an open file without an inode.
    pub fn resolve(&self, at: At<'_>, path: &[u8], follow: bool) -> Result<Place, Errno> {
        match Walk::new(self, at, path)?.walk_to_end(follow)? {
            End::Place(place) => Ok(place),
            End::File(_) => Err(Errno::ENXIO),
        }
    }

    /// Looks a path up, also one that leads to an open file without an inode.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`.
    pub fn find(&self, at: At<'_>, path: &[u8], follow: bool) -> Result<Found, Errno> {
        Ok(match Walk::new(self, at, path)?.walk_to_end(follow)? {
            End::Place(place) => Found::Place(place),
            End::File(file) => Found::File(file),
        })
    }
}

/// An inode as its file.
pub(crate) fn as_file(inode: &InodeRef) -> FileRef {
    let inode: Arc<dyn Inode> = Arc::clone(inode);
    inode
}
