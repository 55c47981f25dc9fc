//! The inode of the file system in memory.

use super::content::Content;
use super::directory::{BYTES_PER_ENTRY, Directory};
use super::regular::Regular;
use super::{MemoryFs, kind_of};
use crate::entry::Entries;
use crate::extras::Extras;
use crate::file::File;
use crate::flags::{NAME_MAX, Whence};
use crate::inode::{
    AttributeChange, DirectoryEntry, FileSystem, Inode, InodeId, InodeRef, LinkTarget, NewInode,
    NewKind,
};
use crate::metadata::{FileType, Metadata};
use crate::pipe::Pipe;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use base::io::{Sink, Source};
use base::sync::{Rank, SpinLock};
use base::{Errno, WallTime};
use core::any::Any;
use core::sync::atomic::Ordering;
use hal::memory::Frame;

/// What can be changed of an inode beside its content.
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    pub(super) permissions: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) links: u32,
    /// Made without a name (`O_TMPFILE`) and may get one.
    pub(super) linkable: bool,
    pub(super) accessed: WallTime,
    pub(super) modified: WallTime,
    pub(super) changed: WallTime,
    created: WallTime,
}

pub(super) enum Body {
    Directory(SpinLock<Directory>),
    Regular(Regular),
    SymbolicLink(Box<[u8]>),
    Device(u64),
    Fifo(Arc<Pipe>),
    Socket,
}

/// A file, directory, link, device, named pipe or socket name in memory.
pub struct MemoryInode {
    pub(super) fs: Arc<MemoryFs>,
    /// Itself: directories hand it to their children, link(2) makes a strong one of it.
    pub(super) own: Weak<Self>,
    number: u64,
    kind: FileType,
    pub(super) attributes: SpinLock<Attributes>,
    pub(super) body: Body,
    extras: Extras,
    entries: Entries,
}

/// The wall clock now.
pub(super) fn now() -> WallTime {
    hal::clock::wall(hal::clock::now())
}

impl MemoryInode {
    /// An inode without a name yet: links are 0, or 2 for a directory.
    pub(super) fn new(fs: &Arc<MemoryFs>, new: &NewInode<'_>) -> Arc<Self> {
        let body = match new.kind {
            NewKind::Regular => Body::Regular(Regular::new(Content::new(&fs.pages, &[]))),
            NewKind::Directory => {
                Body::Directory(SpinLock::ranked(Rank::Directory, Directory::default()))
            }
            NewKind::SymbolicLink(target) => Body::SymbolicLink(target.into()),
            NewKind::Device(_, number) => Body::Device(number),
            NewKind::Fifo => Body::Fifo(Pipe::new()),
            NewKind::Socket => Body::Socket,
        };
        Self::of_body(fs, kind_of(&new.kind), new.permissions, (new.user, new.group), now(), body)
    }

    /// A regular file whose content is `data`, in place.
    pub(crate) fn of_archive(
        fs: &Arc<MemoryFs>,
        permissions: u32,
        owner: (u32, u32),
        modified: WallTime,
        data: &'static [u8],
    ) -> Arc<Self> {
        let body = Body::Regular(Regular::new(Content::new(&fs.pages, data)));
        Self::of_body(fs, FileType::Regular, permissions, owner, modified, body)
    }

    /// A regular file that has no name (memfd_create), with seals allowed or not.
    #[must_use]
    pub fn unnamed(fs: &Arc<MemoryFs>, permissions: u32, sealable: bool) -> Arc<Self> {
        let new = NewInode { kind: NewKind::Regular, permissions, user: 0, group: 0 };
        let inode = Self::new(fs, &new);
        if let (Body::Regular(regular), true) = (&inode.body, sealable) {
            regular.allow_seals();
        }
        inode
    }

    fn of_body(
        fs: &Arc<MemoryFs>,
        kind: FileType,
        permissions: u32,
        (user, group): (u32, u32),
        at: WallTime,
        body: Body,
    ) -> Arc<Self> {
        let attributes = Attributes {
            permissions: permissions & 0o7777,
            user,
            group,
            links: if kind == FileType::Directory { 2 } else { 0 },
            linkable: false,
            accessed: at,
            modified: at,
            changed: at,
            created: at,
        };
        let attributes = SpinLock::new(attributes);
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            fs: Arc::clone(fs),
            number: fs.next_number(),
            kind,
            attributes,
            body,
            extras: Extras::new(),
            entries: Entries::default(),
        })
    }

    /// The file system.
    pub(crate) fn fs(&self) -> &Arc<MemoryFs> {
        &self.fs
    }

    /// Sets what the boot archive says of an inode.
    pub(crate) fn set_root_attributes(
        &self,
        permissions: u32,
        (user, group): (u32, u32),
        modified: WallTime,
    ) -> Result<(), Errno> {
        let mut attributes = self.attributes.lock();
        attributes.permissions = permissions & 0o7777;
        (attributes.user, attributes.group) = (user, group);
        (attributes.accessed, attributes.modified) = (modified, modified);
        Ok(())
    }

    /// The regular file's side.
    pub(crate) fn regular(&self) -> Option<&Regular> {
        match &self.body {
            Body::Regular(regular) => Some(regular),
            _ => None,
        }
    }

    /// The file's seals (memfd_create(2)). `None`: not a regular file in memory.
    #[must_use]
    pub fn seals(&self) -> Option<&super::Seals> {
        self.regular().map(Regular::seals)
    }

    pub(super) fn directory(&self) -> Result<&SpinLock<Directory>, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Content changed: modification and change time.
    pub(super) fn touch_modified(&self) {
        let at = now();
        let mut attributes = self.attributes.lock();
        attributes.modified = at;
        attributes.changed = at;
    }

    /// As mount option `relatime`: only the first access after a change counts.
    pub(super) fn touch_accessed(&self) {
        let mut attributes = self.attributes.lock();
        if attributes.accessed <= attributes.modified || attributes.accessed <= attributes.changed {
            attributes.accessed = now();
        }
    }

    /// One more or one less name. The inode's change time moves.
    pub(super) fn add_links(&self, difference: i32) {
        let mut attributes = self.attributes.lock();
        attributes.links = attributes.links.saturating_add_signed(difference);
        attributes.changed = now();
    }

    fn sizes(&self) -> (u64, u64) {
        match &self.body {
            Body::Regular(regular) => {
                let content = regular.content.lock();
                (content.bytes(), content.held_pages() * 8)
            }
            Body::Directory(directory) => {
                ((directory.lock().entries.len() as u64 + 2) * BYTES_PER_ENTRY, 0)
            }
            Body::SymbolicLink(target) => (target.len() as u64, 0),
            _ => (0, 0),
        }
    }
}

impl Drop for MemoryInode {
    fn drop(&mut self) {
        self.fs.inodes.fetch_sub(1, Ordering::Relaxed);
        if self.attributes.lock().links == 0 {
            self.extras.each_watch(|watch| watch.end());
        }
    }
}

impl File for MemoryInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let (bytes, blocks) = self.sizes();
        let attributes = *self.attributes.lock();
        Ok(Metadata {
            kind: self.kind,
            permissions: attributes.permissions,
            inode: self.number,
            device: self.fs.device,
            special_device: if let Body::Device(number) = self.body { number } else { 0 },
            links: attributes.links,
            user: attributes.user,
            group: attributes.group,
            bytes,
            blocks,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            created: attributes.created,
        })
    }

    fn read(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        match &self.body {
            Body::Regular(regular) => regular.read(offset, sink),
            Body::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn write(&self, offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let regular = self.regular().ok_or(Errno::EINVAL)?;
        let count = regular.write(Some(offset), source)?.0;
        if count > 0 {
            self.touch_modified();
        }
        Ok(count)
    }

    fn append(&self, source: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let regular = self.regular().ok_or(Errno::EINVAL)?;
        let written = regular.write(None, source)?;
        if written.0 > 0 {
            self.touch_modified();
        }
        Ok(written)
    }

    fn is_seekable(&self) -> bool {
        matches!(self.kind, FileType::Regular | FileType::Directory)
    }

    fn seek(&self, position: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        match (&self.body, whence) {
            (Body::Regular(regular), Whence::Data | Whence::Hole) => {
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                let content = regular.content.lock();
                content.seek(offset, whence == Whence::Data).ok_or(Errno::ENXIO)
            }
            (Body::Directory(_), Whence::End | Whence::Data | Whence::Hole) => Err(Errno::EINVAL),
            _ => crate::file::seek_within(self.sizes().0, position, whence, offset),
        }
    }

    fn frame(&self, page: u64, write: bool) -> Result<Frame, Errno> {
        let regular = self.regular().ok_or(Errno::ENODEV)?;
        let frame = regular.content.lock().frame(page, write)?;
        frame.ok_or(Errno::ENXIO)
    }

    fn mapped_for_writing(&self) {
        self.touch_modified();
    }

    fn truncate(&self, bytes: u64) -> Result<(), Errno> {
        let regular = match &self.body {
            Body::Regular(regular) => regular,
            Body::Directory(_) => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        };
        regular.truncate(bytes)?;
        self.touch_modified();
        Ok(())
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<(), Errno> {
        let regular = match &self.body {
            Body::Regular(regular) => regular,
            Body::Directory(_) => return Err(Errno::EISDIR),
            Body::Fifo(_) => return Err(Errno::ESPIPE),
            _ => return Err(Errno::ENODEV),
        };
        regular.allocate(mode, offset, length)?;
        self.touch_modified();
        Ok(())
    }
}

impl Inode for MemoryInode {
    fn file_system(&self) -> &dyn FileSystem {
        &*self.fs
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn id(&self) -> InodeId {
        InodeId { device: self.fs.device, number: self.number }
    }

    fn touch(&self) {
        if matches!(self.body, Body::Regular(_) | Body::Directory(_)) {
            self.touch_accessed();
        }
    }

    fn entries(&self) -> Option<&Entries> {
        Some(&self.entries)
    }

    fn extras(&self) -> Option<&Extras> {
        Some(&self.extras)
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        let directory = self.directory()?;
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let inode = directory.lock().get(name).ok_or(Errno::ENOENT)?;
        Ok(inode)
    }

    fn parent(&self) -> Option<(InodeRef, Box<[u8]>)> {
        let directory = self.directory().ok()?.lock();
        let parent: InodeRef = directory.parent.upgrade()?;
        Some((parent, directory.name.clone()))
    }

    fn is_removed(&self) -> bool {
        self.attributes.lock().links == 0
    }

    fn is_empty(&self) -> bool {
        self.directory().is_ok_and(|directory| directory.lock().entries.is_empty())
    }

    fn list(
        &self,
        from: u64,
        each: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        self.list_entries(from, each)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<InodeRef, Errno> {
        self.create_entry(name, new)
    }

    fn create_unnamed(&self, new: &NewInode<'_>, linkable: bool) -> Result<InodeRef, Errno> {
        super::check_space(0)?;
        let inode = Self::new(&self.fs, new);
        inode.attributes.lock().linkable = linkable;
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &InodeRef) -> Result<(), Errno> {
        self.link_entry(name, target)
    }

    fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        self.unlink_entry(name)
    }

    fn rename(
        &self,
        name: &[u8],
        to: &InodeRef,
        to_name: &[u8],
        exchange: bool,
    ) -> Result<(), Errno> {
        self.rename_entry(name, to, to_name, exchange)
    }

    fn link_target(&self) -> Result<LinkTarget, Errno> {
        match &self.body {
            Body::SymbolicLink(target) => {
                self.touch_accessed();
                Ok(LinkTarget::Path(target.to_vec()))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let mut attributes = self.attributes.lock();
        if let Some(permissions) = change.permissions {
            const EXECUTE: u32 = 0o111;
            if (permissions ^ attributes.permissions) & EXECUTE != 0
                && self.seals().is_some_and(|seals| seals.get() & super::Seals::EXEC != 0)
            {
                return Err(Errno::EPERM);
            }
            attributes.permissions = permissions & 0o7777;
        }
        attributes.user = change.user.unwrap_or(attributes.user);
        attributes.group = change.group.unwrap_or(attributes.group);
        attributes.accessed = change.accessed.unwrap_or(attributes.accessed);
        attributes.modified = change.modified.unwrap_or(attributes.modified);
        attributes.changed = now();
        Ok(())
    }

    fn fifo(&self) -> Option<&Arc<Pipe>> {
        match &self.body {
            Body::Fifo(pipe) => Some(pipe),
            _ => None,
        }
    }
}
