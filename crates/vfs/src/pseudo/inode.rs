//! The inodes of /proc and /sys. They are made on look-up and forgotten; their numbers are hashes
//! of their paths, so two look-ups of a path agree.

use super::file::PseudoFile;
use super::memory::MemoryFile;
use super::{Entry, Link, ProcSource, Row, process};
use crate::file::{File, FileRef};
use crate::flags::{NAME_MAX, Whence};
use crate::inode::{
    AttributeChange, DirectoryEntry, FileSystem, FileSystemStatistics, Inode, InodeId, InodeRef,
    LinkTarget, NewInode, NewKind, Place,
};
use crate::metadata::{FileType, Metadata};
use crate::open::OpenFile;
use crate::tree::Vfs;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::io::{Sink, Source};
use base::{Errno, Fd, Tid};
use core::any::Any;

/// One of the two file systems.
pub struct PseudoFs {
    pub(super) name: &'static str,
    pub(super) device: u64,
    pub(super) magic: u64,
    pub(super) rows: &'static [Row],
    pub(super) source: Weak<dyn ProcSource>,
    pub(super) vfs: Weak<Vfs>,
}

impl PseudoFs {
    pub(super) fn into_root(self) -> InodeRef {
        let entry = Entry::ProcessRoot(self.rows);
        let fs = Arc::new(self);
        PseudoInode::new(fs, entry, None, Box::default(), None, 0)
    }

    /// Changes of names, answered as Linux does: /proc says that there is no such thing, /sys
    /// that it is not permitted.
    fn refusal(&self) -> Errno {
        if self.magic == super::PROC_MAGIC { Errno::ENOENT } else { Errno::EPERM }
    }
}

impl FileSystem for PseudoFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics { magic: self.magic, ..Default::default() }
    }
}

/// A file, directory or link of /proc or /sys.
pub struct PseudoInode {
    own: Weak<Self>,
    fs: Arc<PseudoFs>,
    entry: Entry,
    number: u64,
    parent: Option<Arc<Self>>,
    name: Box<[u8]>,
    /// The thread whose files these are. `None` outside of process directories.
    thread: Option<Tid>,
    /// Which of a [`Family`] it is about.
    member: u32,
}

fn hash(parent: u64, name: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let start = 0xcbf2_9ce4_8422_2325 ^ parent;
    // Kept below 2^53, and away from the root's 1.
    name.iter().fold(start, step) >> 11 | 2
}

impl PseudoInode {
    fn new(
        fs: Arc<PseudoFs>,
        entry: Entry,
        parent: Option<Arc<Self>>,
        name: Box<[u8]>,
        thread: Option<Tid>,
        member: u32,
    ) -> Arc<Self> {
        let number = parent.as_ref().map_or(1, |parent| hash(parent.number, &name));
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            fs,
            entry,
            number,
            parent,
            name,
            thread,
            member,
        })
    }

    fn child(&self, entry: Entry, name: &[u8], thread: Option<Tid>) -> Result<InodeRef, Errno> {
        self.child_about(entry, name, thread, self.member)
    }

    fn child_about(
        &self,
        entry: Entry,
        name: &[u8],
        thread: Option<Tid>,
        member: u32,
    ) -> Result<InodeRef, Errno> {
        let own = self.own.upgrade().ok_or(Errno::ENOENT)?;
        Ok(Self::new(Arc::clone(&self.fs), entry, Some(own), name.into(), thread, member))
    }

    /// The names of the directories beside the rows, and what is in each.
    fn members(&self) -> Option<(Vec<String>, &'static [Row])> {
        let Entry::Family(family, _) = self.entry else { return None };
        let interfaces = || self.source().map(|source| source.interfaces()).unwrap_or_default();
        Some((family.names(interfaces), family.rows()))
    }

    pub(super) fn source(&self) -> Result<Arc<dyn ProcSource>, Errno> {
        self.fs.source.upgrade().ok_or(Errno::ESRCH)
    }

    fn main_thread(&self) -> Option<Tid> {
        self.source().ok().map(|source| Tid(source.process_id().0))
    }

    fn open_file_of(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let files = self.source()?.files().ok_or(Errno::ENOENT)?;
        files.get(fd).map_err(|_| Errno::ENOENT)
    }

    /// The thread whose directory in /proc this is; of a process its first.
    #[must_use]
    pub fn directory_of(&self) -> Option<Tid> {
        self.thread.filter(|_| matches!(self.entry, Entry::Thread))
    }

    fn rows(&self) -> &'static [Row] {
        match self.entry {
            Entry::Directory(rows) | Entry::ProcessRoot(rows) | Entry::Family(_, rows) => rows,
            Entry::Thread => process::PROCESS,
            _ => &[],
        }
    }

    /// True for the directory of a thread in that of a process.
    fn is_in_task(&self) -> bool {
        let parent = self.parent.as_ref().map(|parent| parent.entry);
        matches!(self.entry, Entry::Thread) && matches!(parent, Some(Entry::Threads))
    }

    /// The rows seen here: a thread within a task directory has no task directory of its own.
    fn visible(&self) -> impl Iterator<Item = &'static Row> {
        let in_task = self.is_in_task();
        self.rows().iter().filter(move |row| !in_task || !matches!(row.entry, Entry::Threads))
    }

    /// Makes the content of a file.
    pub(super) fn content(&self) -> Result<Vec<u8>, Errno> {
        match self.entry {
            Entry::Text(text) => Ok(text.as_bytes().to_vec()),
            Entry::Kernel(make) => {
                let vfs = self.fs.vfs.upgrade().ok_or(Errno::ESRCH)?;
                Ok(make(&vfs).into_bytes())
            }
            Entry::OfInterface(make) => {
                let interfaces = self.source()?.interfaces();
                let one = interfaces.get(self.member as usize).ok_or(Errno::ENODEV)?;
                Ok(make(one).text().into_bytes())
            }
            Entry::OfProcessor(make) => Ok(make(self.member).text().into_bytes()),
            Entry::Process(file, _) => {
                let source = self.source()?;
                let thread = self.thread.unwrap_or(Tid(source.process_id().0));
                let in_task = self.parent.as_ref().is_some_and(|parent| parent.is_in_task());
                Ok(source.content(file, thread, !in_task))
            }
            Entry::Descriptor { fd, info: true } => {
                let open = self.open_file_of(fd)?;
                let position = open.position();
                let flags = open.flags().bits();
                let inode = open.metadata()?.inode;
                let details = open.file().details();
                Ok(format!(
                    "pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t1\nino:\t{inode}\n{details}"
                )
                .into_bytes())
            }
            _ => Err(Errno::EISDIR),
        }
    }

    /// Takes what was written to a file.
    pub(super) fn store(&self, bytes: &[u8]) -> Result<(), Errno> {
        let Entry::Process(file, _) = self.entry else { return Err(Errno::EPERM) };
        let source = self.source()?;
        let thread = self.thread.unwrap_or(Tid(source.process_id().0));
        source.write(file, thread, bytes)
    }

    fn permissions(&self) -> u32 {
        match self.entry {
            Entry::Directory(_)
            | Entry::Family(..)
            | Entry::Thread
            | Entry::Threads
            | Entry::ProcessRoot(_) => 0o555,
            Entry::Descriptors { .. } => 0o500,
            Entry::Text(_) | Entry::Kernel(_) | Entry::OfInterface(_) | Entry::OfProcessor(_) => {
                0o444
            }
            Entry::Process(_, permissions) => permissions,
            Entry::Link(_) => 0o777,
            Entry::Memory(kind) => kind.permissions(),
            Entry::Descriptor { info: true, .. } => 0o400,
            Entry::Descriptor { fd, info: false } => {
                let flags = self.open_file_of(fd).map(|open| open.flags());
                let (read, write) =
                    flags.map_or((true, true), |flags| (flags.is_readable(), flags.is_writable()));
                0o100 | if read { 0o400 } else { 0 } | if write { 0o200 } else { 0 }
            }
        }
    }

    fn link_path(&self, link: Link) -> Result<LinkTarget, Errno> {
        let source = self.source();
        let path = match link {
            Link::Fixed(path) | Link::Namespace(path) => path.to_string(),
            Link::Own => source?.process_id().to_string(),
            Link::OwnThread => {
                let source = source?;
                format!("{}/task/{}", source.process_id(), source.current())
            }
            Link::Executable => source?.executable(),
            Link::Root => String::from("/"),
            Link::WorkingDirectory => {
                let directory = source?.working_directory().ok_or(Errno::ENOENT)?;
                return Ok(LinkTarget::Inode(Place::of(directory)));
            }
        };
        Ok(LinkTarget::Path(path.into_bytes()))
    }

    fn place_text(&self, place: &Place) -> Result<Vec<u8>, Errno> {
        let vfs = self.fs.vfs.upgrade().ok_or(Errno::ESRCH)?;
        Ok(vfs.path_of_place(place, vfs.root()))
    }
}

fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let is_canonical = !text.starts_with('0') || text == "0";
    text.parse().ok().filter(|_| is_canonical && !text.starts_with('+'))
}

impl File for PseudoInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let kind = self.kind();
        let mut metadata = Metadata::anonymous(kind, self.permissions(), self.number);
        metadata.device = self.fs.device;
        if kind == FileType::Directory {
            let is_directory =
                |row: &&Row| matches!(row.entry, Entry::Directory(_) | Entry::Family(..));
            let members = self.members().map_or(0, |members| members.0.len());
            let rows = self.rows().iter().filter(is_directory).count();
            metadata.links = 2 + (rows + members) as u32;
        }
        if matches!(self.entry, Entry::Descriptor { info: false, .. }) {
            metadata.bytes = 64;
        }
        Ok(metadata)
    }

    fn read(&self, _offset: u64, _sink: &mut dyn Sink) -> Result<usize, Errno> {
        Err(if self.kind() == FileType::Directory { Errno::EISDIR } else { Errno::EINVAL })
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, position: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        match whence {
            Whence::Set | Whence::Current => crate::file::seek_within(0, position, whence, offset),
            _ => Err(Errno::EINVAL),
        }
    }

    fn truncate(&self, _bytes: u64) -> Result<(), Errno> {
        Ok(())
    }
}

impl Inode for PseudoInode {
    fn file_system(&self) -> &dyn FileSystem {
        &*self.fs
    }

    fn is_of_asker(&self) -> bool {
        matches!(self.entry, Entry::Descriptors { .. })
    }

    fn kind(&self) -> FileType {
        match self.entry {
            Entry::Directory(_)
            | Entry::Family(..)
            | Entry::Thread
            | Entry::Threads
            | Entry::ProcessRoot(_)
            | Entry::Descriptors { .. } => FileType::Directory,
            Entry::Link(_) | Entry::Descriptor { info: false, .. } => FileType::SymbolicLink,
            _ => FileType::Regular,
        }
    }

    fn id(&self) -> InodeId {
        InodeId { device: self.fs.device, number: self.number }
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if let Some(row) = self.visible().find(|row| row.name.as_bytes() == name) {
            return self.child(row.entry, name, self.thread);
        }
        if let Some((names, rows)) = self.members() {
            let at = names.iter().position(|one| one.as_bytes() == name).ok_or(Errno::ENOENT)?;
            return self.child_about(Entry::Directory(rows), name, self.thread, at as u32);
        }
        let number = number(name).ok_or(Errno::ENOENT);
        match self.entry {
            // Linux shows only processes here, but finds threads too.
            Entry::ProcessRoot(_) if self.fs.magic == super::PROC_MAGIC => {
                let thread = Tid(number?);
                let known = self.source()?.threads().contains(&thread);
                let known = known || self.main_thread() == Some(thread);
                if !known {
                    return Err(Errno::ENOENT);
                }
                self.child(Entry::Thread, name, Some(thread))
            }
            Entry::Threads => {
                let thread = Tid(number?);
                if !self.source()?.threads().contains(&thread) {
                    return Err(Errno::ENOENT);
                }
                self.child(Entry::Thread, name, Some(thread))
            }
            Entry::Descriptors { info } => {
                let fd = Fd(i32::try_from(number?).map_err(|_| Errno::ENOENT)?);
                self.open_file_of(fd)?;
                self.child(Entry::Descriptor { fd, info }, name, self.thread)
            }
            _ if self.kind() == FileType::Directory => Err(Errno::ENOENT),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn parent(&self) -> Option<(InodeRef, Box<[u8]>)> {
        let parent: InodeRef = Arc::clone(self.parent.as_ref()?) as InodeRef;
        Some((parent, self.name.clone()))
    }

    fn list(
        &self,
        from: u64,
        each: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        const FIRST: u64 = 3;
        let mut give = |at: u64, name: &[u8], kind: FileType| {
            at + FIRST < from
                || each(DirectoryEntry {
                    name,
                    inode: hash(self.number, name),
                    kind,
                    next: at + FIRST + 1,
                })
        };
        let mut at = 0;
        for row in self.visible() {
            let kind = match row.entry {
                Entry::Directory(_)
                | Entry::Family(..)
                | Entry::Threads
                | Entry::Descriptors { .. } => FileType::Directory,
                Entry::Link(_) => FileType::SymbolicLink,
                _ => FileType::Regular,
            };
            if !give(at, row.name.as_bytes(), kind) {
                return Ok(());
            }
            at += 1;
        }
        for name in self.members().map_or(Vec::new(), |members| members.0) {
            if !give(at, name.as_bytes(), FileType::Directory) {
                return Ok(());
            }
            at += 1;
        }
        // Numbers stand at their own cookies, so that the list may change between calls.
        let base = at;
        let kind = match self.entry {
            Entry::Descriptors { info: false } => FileType::SymbolicLink,
            Entry::Descriptors { info: true } => FileType::Regular,
            _ => FileType::Directory,
        };
        for number in self.numbers(from.saturating_sub(base + FIRST)) {
            if !give(base + u64::from(number), number.to_string().as_bytes(), kind) {
                break;
            }
        }
        Ok(())
    }

    fn create(&self, _name: &[u8], new: &NewInode<'_>) -> Result<InodeRef, Errno> {
        match (self.fs.refusal(), new.kind) {
            (Errno::EPERM, NewKind::Regular) => Err(Errno::EACCES),
            (errno, _) => Err(errno),
        }
    }

    fn rename(
        &self,
        _name: &[u8],
        _to: &InodeRef,
        _to_name: &[u8],
        _exchange: bool,
    ) -> Result<(), Errno> {
        Err(self.fs.refusal())
    }

    fn link_target(&self) -> Result<LinkTarget, Errno> {
        match self.entry {
            Entry::Link(link) => self.link_path(link),
            Entry::Descriptor { fd, info: false } => {
                let open = self.open_file_of(fd)?;
                Ok(match open.place() {
                    Some(place) => LinkTarget::Inode(place),
                    None => LinkTarget::File(Arc::clone(open.file())),
                })
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn link_text(&self) -> Result<Vec<u8>, Errno> {
        match self.link_target()? {
            LinkTarget::Path(path) => Ok(path),
            LinkTarget::Inode(place) => self.place_text(&place),
            LinkTarget::File(file) => Ok(file.describe().into_bytes()),
        }
    }

    /// Linux takes them and forgets them with the inode; here there is nothing to forget.
    fn set_attributes(&self, _change: &AttributeChange) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn open_file(&self) -> Result<Option<FileRef>, Errno> {
        if self.kind() != FileType::Regular {
            return Ok(None);
        }
        let own = self.own.upgrade().ok_or(Errno::ENOENT)?;
        Ok(Some(match self.entry {
            Entry::Memory(kind) => MemoryFile::open(own, kind),
            _ => PseudoFile::new(own),
        }))
    }
}

impl PseudoInode {
    /// The numbered entries of this directory from `from` on: processes, threads, descriptors.
    fn numbers(&self, from: u64) -> Vec<u32> {
        let Ok(source) = self.source() else { return Vec::new() };
        match self.entry {
            Entry::ProcessRoot(_) if self.fs.magic == super::PROC_MAGIC => {
                alloc::vec![source.process_id().0]
            }
            Entry::Threads => source.threads().iter().map(|thread| thread.0).collect(),
            Entry::Descriptors { .. } => {
                let mut open = Vec::new();
                let Some(files) = source.files() else { return open };
                let mut next = usize::try_from(from).unwrap_or(usize::MAX);
                while let Some(fd) = files.next_open(next) {
                    open.push(fd.0.cast_unsigned());
                    next = fd.0 as usize + 1;
                }
                open
            }
            _ => Vec::new(),
        }
    }
}
