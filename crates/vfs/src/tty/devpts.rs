//! devpts: the device files of pseudo terminals, mounted at /dev/pts.

use super::pty::{Pty, PtyMaster, Ptys};
use crate::device::device_number;
use crate::file::{File, FileRef};
use crate::flags::OpenFlags;
use crate::inode::{
    AttributeChange, DirectoryEntry, FileSystem, FileSystemStatistics, Inode, InodeId, InodeRef,
    Place,
};
use crate::metadata::{FileType, Metadata};
use crate::open::OpenFile;
use alloc::string::ToString;
use alloc::sync::Arc;
use base::Errno;
use base::io::{Sink, Source};
use core::any::Any;
use core::sync::atomic::Ordering;

/// statfs magic of devpts.
pub const DEVPTS_MAGIC: u64 = 0x1cd1;
const DEVICE: u64 = 23;
/// The inode numbers of the root, of ptmx, and of the first terminal.
const ROOT: u64 = 1;
const PTMX: u64 = 2;
const FIRST: u64 = 3;

/// The file system.
pub(crate) struct DevPts {
    pub(crate) ptys: Arc<Ptys>,
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn device(&self) -> u64 {
        DEVICE
    }

    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics { magic: DEVPTS_MAGIC, ..FileSystemStatistics::default() }
    }
}

#[derive(Clone)]
enum Node {
    Root,
    Ptmx,
    Terminal(Arc<Pty>),
}

/// A file of it, made when it is looked up.
pub(crate) struct PtsInode {
    fs: Arc<DevPts>,
    node: Node,
}

impl DevPts {
    /// The root directory.
    pub(crate) fn root(ptys: &Arc<Ptys>) -> InodeRef {
        Arc::new(PtsInode { fs: Arc::new(Self { ptys: Arc::clone(ptys) }), node: Node::Root })
    }
}

impl PtsInode {
    fn number(&self) -> u64 {
        match &self.node {
            Node::Root => ROOT,
            Node::Ptmx => PTMX,
            Node::Terminal(pty) => FIRST + u64::from(pty.index()),
        }
    }
}

impl PtyMaster {
    /// TIOCGPTPEER: opens the slave, wherever devpts is mounted.
    ///
    /// # Errors
    /// `EIO`: it is locked.
    pub fn open_peer(&self, flags: OpenFlags, root: InodeRef) -> Result<Arc<OpenFile>, Errno> {
        let name = self.pty().index().to_string().into_bytes().into_boxed_slice();
        let place = Place { inode: root.lookup(&name)?, parent: Some(root), name };
        Ok(OpenFile::with_place(self.pty().open_slave()?, Some(place), flags))
    }
}

impl File for PtsInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let (permissions, device) = match &self.node {
            Node::Root => (0o755, 0),
            Node::Ptmx => (0, device_number(5, 2)),
            Node::Terminal(pty) => (pty.permissions().load(Ordering::Relaxed), pty.number()),
        };
        let mut metadata = Metadata::anonymous(self.kind(), permissions, self.number());
        metadata.device = DEVICE;
        metadata.special_device = device;
        if matches!(self.node, Node::Root) {
            metadata.links = 2;
        }
        if let Node::Terminal(pty) = &self.node {
            metadata.user = pty.owner().load(Ordering::Relaxed);
            metadata.group = pty.group().load(Ordering::Relaxed);
        }
        Ok(metadata)
    }

    fn read(&self, _offset: u64, _sink: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }
}

impl Inode for PtsInode {
    fn file_system(&self) -> &dyn FileSystem {
        &*self.fs
    }

    fn kind(&self) -> FileType {
        match self.node {
            Node::Root => FileType::Directory,
            _ => FileType::CharacterDevice,
        }
    }

    fn id(&self) -> InodeId {
        InodeId { device: DEVICE, number: self.number() }
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        if !matches!(self.node, Node::Root) {
            return Err(Errno::ENOTDIR);
        }
        let node = if name == b"ptmx" {
            Node::Ptmx
        } else {
            let text = core::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
            let index = text.parse().map_err(|_| Errno::ENOENT)?;
            let pty = self.fs.ptys.get(index).ok_or(Errno::ENOENT)?;
            if pty.index().to_string() != text {
                return Err(Errno::ENOENT);
            }
            Node::Terminal(pty)
        };
        Ok(Arc::new(Self { fs: Arc::clone(&self.fs), node }))
    }

    fn list(
        &self,
        from: u64,
        each: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        if !matches!(self.node, Node::Root) {
            return Err(Errno::ENOTDIR);
        }
        // The cookies: 3 before ptmx, 4 and its number before a terminal.
        let kind = FileType::CharacterDevice;
        if from < 4 && !each(DirectoryEntry { name: b"ptmx", inode: PTMX, kind, next: 4 }) {
            return Ok(());
        }
        for index in self.fs.ptys.numbers(from.saturating_sub(4) as u32) {
            let (name, inode) = (index.to_string(), FIRST + u64::from(index));
            let next = 5 + u64::from(index);
            if !each(DirectoryEntry { name: name.as_bytes(), inode, kind, next }) {
                break;
            }
        }
        Ok(())
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let Node::Terminal(pty) = &self.node else { return Err(Errno::EPERM) };
        if let Some(permissions) = change.permissions {
            pty.permissions().store(permissions, Ordering::Relaxed);
        }
        if let Some(user) = change.user {
            pty.owner().store(user, Ordering::Relaxed);
        }
        if let Some(group) = change.group {
            pty.group().store(group, Ordering::Relaxed);
        }
        Ok(())
    }

    fn open_file(&self) -> Result<Option<FileRef>, Errno> {
        match &self.node {
            Node::Terminal(pty) => pty.open_slave().map(Some),
            _ => Ok(None),
        }
    }
}
