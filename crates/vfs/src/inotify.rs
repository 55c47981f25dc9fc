//! inotify(7): what happened to files and directories.

use crate::entry::Entry;
use crate::file::{File, IoctlArgument};
use crate::inode::{InodeId, InodeRef, Place};
use crate::metadata::{FileType, Metadata};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::Errno;
use base::io::{Sink, Source};
use base::sync::SpinLock;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sched::{Notifier, PollEvents};

bitflags::bitflags! {
    /// Events and watch flags of inotify(7).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Event: u32 {
        /// The file was read.
        const ACCESS = 0x1;
        /// The file was written.
        const MODIFY = 0x2;
        /// Attributes changed.
        const ATTRIB = 0x4;
        /// A file open for writing was closed.
        const CLOSE_WRITE = 0x8;
        /// A file not open for writing was closed.
        const CLOSE_NOWRITE = 0x10;
        /// The file was opened.
        const OPEN = 0x20;
        /// An entry was moved away.
        const MOVED_FROM = 0x40;
        /// An entry was moved here.
        const MOVED_TO = 0x80;
        /// An entry was made.
        const CREATE = 0x100;
        /// An entry was removed.
        const DELETE = 0x200;
        /// The file itself was removed.
        const DELETE_SELF = 0x400;
        /// The file itself was moved.
        const MOVE_SELF = 0x800;
        /// Events were lost.
        const Q_OVERFLOW = 0x4000;
        /// The watch is gone.
        const IGNORED = 0x8000;
        /// Watch only a directory.
        const ONLYDIR = 0x0100_0000;
        /// Do not follow a symbolic link.
        const DONT_FOLLOW = 0x0200_0000;
        /// No events of unlinked files.
        const EXCL_UNLINK = 0x0400_0000;
        /// Fail if the watch exists.
        const MASK_CREATE = 0x1000_0000;
        /// Add to the watch's mask.
        const MASK_ADD = 0x2000_0000;
        /// It is a directory.
        const ISDIR = 0x4000_0000;
        /// One event, then no more.
        const ONESHOT = 0x8000_0000;
    }
}

impl Event {
    /// Everything that one can wait for.
    const ALL: Self = Self::from_bits_truncate(0xfff);
}

/// Events kept for a reader that does not come (`max_queued_events`).
const QUEUE_MAX: usize = 16_384;
/// `sizeof(struct inotify_event)`; names are padded to a multiple of it.
const HEADER: usize = 16;

#[derive(Clone, PartialEq, Eq)]
struct Record {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

/// One watch: an inode, what to tell, whom.
pub struct Watch {
    descriptor: i32,
    inode: InodeId,
    mask: AtomicU32,
    instance: Weak<Inotify>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Record>,
    watches: BTreeMap<i32, Arc<Watch>>,
    last_descriptor: i32,
}

/// An inotify instance.
pub struct Inotify {
    own: Weak<Self>,
    number: u64,
    state: SpinLock<State>,
    notifier: Notifier,
}

static NEXT_COOKIE: AtomicU32 = AtomicU32::new(1);

/// Set by the first watch ever: before it nobody listens, and reads and writes need not tell.
static WATCHED: AtomicBool = AtomicBool::new(false);

impl Inotify {
    /// An instance without watches.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            number: crate::anonymous::next_number(),
            state: SpinLock::default(),
            notifier: Notifier::new(),
        })
    }

    /// inotify_add_watch(2): returns the watch descriptor.
    ///
    /// # Errors
    /// `EINVAL`: nothing to wait for. `ENOTDIR`, `EEXIST` (by the flags). `ENOSPC`: the file
    /// system tells nothing.
    pub fn add(&self, inode: &InodeRef, mask: Event) -> Result<i32, Errno> {
        if (mask & Event::ALL).is_empty() || mask.contains(Event::MASK_ADD | Event::MASK_CREATE) {
            return Err(Errno::EINVAL);
        }
        if mask.contains(Event::ONLYDIR) && inode.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let extras = inode.extras().ok_or(Errno::ENOSPC)?;
        let mut state = self.state.lock();
        if let Some(known) = state.watches.values().find(|watch| watch.inode == inode.id()) {
            if mask.contains(Event::MASK_CREATE) {
                return Err(Errno::EEXIST);
            }
            if mask.contains(Event::MASK_ADD) {
                known.mask.fetch_or(mask.bits(), Ordering::Relaxed);
            } else {
                known.mask.store(mask.bits(), Ordering::Relaxed);
            }
            return Ok(known.descriptor);
        }
        state.last_descriptor += 1;
        let watch = Arc::new(Watch {
            descriptor: state.last_descriptor,
            inode: inode.id(),
            mask: AtomicU32::new(mask.bits()),
            instance: self.own.clone(),
        });
        state.watches.insert(watch.descriptor, Arc::clone(&watch));
        drop(state);
        WATCHED.store(true, Ordering::Relaxed);
        extras.watch(&watch);
        Ok(watch.descriptor)
    }

    /// inotify_rm_watch(2).
    ///
    /// # Errors
    /// `EINVAL`: no such watch.
    pub fn remove(&self, descriptor: i32) -> Result<(), Errno> {
        self.state.lock().watches.remove(&descriptor).ok_or(Errno::EINVAL)?;
        self.push(descriptor, Event::IGNORED, 0, &[]);
        Ok(())
    }

    fn push(&self, watch: i32, mask: Event, cookie: u32, name: &[u8]) {
        {
            let mut state = self.state.lock();
            let mut record = Record { watch, mask: mask.bits(), cookie, name: name.into() };
            if state.queue.back() == Some(&record) {
                return;
            }
            if state.queue.len() >= QUEUE_MAX {
                if state.queue.back().is_some_and(|last| last.watch == -1) {
                    return;
                }
                let mask = Event::Q_OVERFLOW.bits();
                record = Record { watch: -1, mask, cookie: 0, name: Box::default() };
            }
            state.queue.push_back(record);
        }
        self.notifier.notify(PollEvents::READABLE);
    }
}

/// What watches are told.
struct Told<'a> {
    what: Event,
    /// Of a move, else 0.
    cookie: u32,
    /// The entry of a directory that it is about, or empty.
    name: &'a [u8],
    /// It came by an open file whose entry is in no directory any more.
    is_removed: bool,
}

impl<'a> Told<'a> {
    fn of_entry(name: &'a [u8], what: Event, cookie: u32) -> Self {
        Self { what, cookie, name, is_removed: false }
    }

    fn to_watches_of(&self, inode: &InodeRef) {
        if let Some(extras) = inode.extras() {
            extras.each_watch(|watch| watch.tell(self));
        }
    }
}

impl Watch {
    fn tell(&self, told: &Told<'_>) {
        let Told { what, cookie, name, is_removed } = *told;
        let Some(instance) = self.instance.upgrade() else { return };
        let mask = Event::from_bits_truncate(self.mask.load(Ordering::Relaxed));
        let is_excluded = is_removed && mask.contains(Event::EXCL_UNLINK);
        if (mask & what & Event::ALL).is_empty() || is_excluded {
            return;
        }
        if !mask.contains(Event::ONESHOT) {
            instance.push(self.descriptor, what, cookie, name);
        } else if instance.state.lock().watches.remove(&self.descriptor).is_some() {
            // Of several that want to tell the only event, the one that takes the watch out does.
            instance.push(self.descriptor, what, cookie, name);
            instance.push(self.descriptor, Event::IGNORED, 0, &[]);
        }
    }

    /// The inode is no more: it had no name left, and nobody holds it.
    pub(crate) fn end(&self) {
        let Some(instance) = self.instance.upgrade() else { return };
        if instance.state.lock().watches.remove(&self.descriptor).is_none() {
            return;
        }
        let mask = Event::from_bits_truncate(self.mask.load(Ordering::Relaxed));
        if mask.contains(Event::DELETE_SELF) {
            instance.push(self.descriptor, Event::DELETE_SELF, 0, &[]);
        }
        instance.push(self.descriptor, Event::IGNORED, 0, &[]);
    }
}

impl Record {
    fn bytes(&self) -> usize {
        HEADER + if self.name.is_empty() { 0 } else { self.name_bytes() }
    }

    fn name_bytes(&self) -> usize {
        (self.name.len() + 1).next_multiple_of(HEADER)
    }

    fn put(&self, sink: &mut dyn Sink) -> Result<(), Errno> {
        let padded = self.bytes() - HEADER;
        let mut header = [0; HEADER];
        let fields = [self.watch.cast_unsigned(), self.mask, self.cookie, padded as u32];
        for (slot, field) in header.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        sink.put(&header)?;
        if padded > 0 {
            sink.put(&self.name)?;
            crate::memory::put_zeros(sink, padded - self.name.len())?;
        }
        Ok(())
    }
}

impl File for Inotify {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Regular, 0o600, self.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        loop {
            let record = {
                let mut state = self.state.lock();
                let Some(next) = state.queue.front() else { break };
                if next.bytes() > sink.room() {
                    if done == 0 {
                        return Err(Errno::EINVAL);
                    }
                    break;
                }
                state.queue.pop_front()
            };
            let Some(record) = record else { break };
            record.put(sink)?;
            done += record.bytes();
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EBADF)
    }

    fn poll(&self) -> PollEvents {
        if self.state.lock().queue.is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn ioctl(&self, command: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        const FIONREAD: u32 = 0x541b;
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes: usize = self.state.lock().queue.iter().map(Record::bytes).sum();
        argument.store(&u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes())?;
        Ok(0)
    }

    fn describe(&self) -> String {
        String::from("anon_inode:inotify")
    }
}

/// Something happened to the entry `name` of a directory.
pub(crate) fn in_directory(directory: &InodeRef, name: &[u8], what: Event, cookie: u32) {
    Told::of_entry(name, what, cookie).to_watches_of(directory);
}

/// Something happened to an inode itself. (That a directory itself moves is told without ISDIR.)
pub(crate) fn on_inode(inode: &InodeRef, what: Event) {
    let what = if what == Event::MOVE_SELF { what } else { what | directory_flag(inode) };
    in_directory(inode, &[], what, 0);
}

fn directory_flag(inode: &InodeRef) -> Event {
    if inode.kind() == FileType::Directory { Event::ISDIR } else { Event::empty() }
}

/// Something happened to an inode, for its own watches and those of its directory.
#[inline]
pub(crate) fn on_place(place: &Place, what: Event) {
    if WATCHED.load(Ordering::Relaxed) {
        tell_place(place, what, false);
    }
}

/// As [`on_place`], by way of an open file.
#[inline]
pub(crate) fn on_entry(entry: &Entry, what: Event) {
    if WATCHED.load(Ordering::Relaxed) {
        let (place, is_removed) = entry.standing();
        tell_place(&place, what, is_removed);
    }
}

fn tell_place(place: &Place, what: Event, is_removed: bool) {
    let what = what | directory_flag(&place.inode);
    let told = Told { what, cookie: 0, name: &[], is_removed };
    told.to_watches_of(&place.inode);
    if let Some(parent) = &place.parent {
        Told { name: &place.name, ..told }.to_watches_of(parent);
    }
}

/// An entry was removed: the inode has a link less, and ends here if nobody else holds it.
pub(crate) fn removed(directory: &InodeRef, name: &[u8], inode: InodeRef) {
    let flag = directory_flag(&inode);
    if flag.is_empty() {
        on_inode(&inode, Event::ATTRIB);
    }
    drop(inode);
    in_directory(directory, name, Event::DELETE | flag, 0);
}

/// An entry was moved, over one of the inode `replaced`.
pub(crate) fn moved(
    (from, name): (&InodeRef, &[u8]),
    (to, to_name): (&InodeRef, &[u8]),
    inode: &InodeRef,
    replaced: Option<&InodeRef>,
) {
    let cookie = NEXT_COOKIE.fetch_add(1, Ordering::Relaxed);
    let flag = directory_flag(inode);
    in_directory(from, name, Event::MOVED_FROM | flag, cookie);
    in_directory(to, to_name, Event::MOVED_TO | flag, cookie);
    if let Some(replaced) = replaced {
        on_inode(replaced, Event::ATTRIB);
    }
    on_inode(inode, Event::MOVE_SELF);
}
