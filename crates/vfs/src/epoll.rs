//! epoll(7).
//!
//! An [`Item`] is a pair of descriptor number and open file, with what to look for. It observes
//! the file's notifier; on an edge it puts itself on the ready list, which costs no allocation.
//! Waiting takes items off that list and asks their files again: level-triggered items that are
//! still ready go back to its end.
//!
//! Items are off the list while their files are asked. So only one CPU asks at a time, under a lock
//! of its own, or another would find the list empty and go to sleep; that of an outer instance is
//! held while an inner one is asked, which asks its own files.

use crate::file::File;
use crate::metadata::{FileType, Metadata};
use crate::open::OpenFile;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::io::{Sink, Source};
use base::sync::{Rank, SpinLock};
use base::{Errno, Fd};
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use sched::{Notifier, Observer, PollEvents, Registration, Wait, WaitQueue};

/// Flags beside the events themselves.
pub mod flag {
    /// Of several instances that watch so, wake one that somebody waits for.
    pub const EXCLUSIVE: u32 = 1 << 28;
    /// Keep the machine awake; no meaning here.
    pub const WAKEUP: u32 = 1 << 29;
    /// Report once, then disarm.
    pub const ONESHOT: u32 = 1 << 30;
    /// Report edges.
    pub const EDGE: u32 = 1 << 31;

    pub(super) const ALL: u32 = EXCLUSIVE | WAKEUP | ONESHOT | EDGE;
}

/// How deep epoll instances may watch each other (EP_MAX_NESTS).
const DEPTH_MAX: u32 = 4;
/// Held while an instance is made to watch another: two threads could close a circle together.
static NESTING: SpinLock<()> = SpinLock::ranked(Rank::EpollNesting, ());
/// Reported whether asked for or not.
const ALWAYS: PollEvents = PollEvents::ERR.union(PollEvents::HUP);

/// `struct epoll_event`: what to look for, and the word that comes back with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Events and flags.
    pub events: u32,
    /// The program's own word.
    pub data: u64,
}

impl Interest {
    /// The events looked for. Empty: disarmed by `ONESHOT`.
    fn mask(self) -> PollEvents {
        PollEvents::from_bits_retain(self.events & !flag::ALL)
    }

    fn is_exclusive(self) -> bool {
        self.events & flag::EXCLUSIVE != 0
    }

    fn armed(mut self) -> Self {
        self.events |= ALWAYS.bits();
        self
    }
}

struct Item {
    own: Weak<Self>,
    file: Weak<OpenFile>,
    epoll: Weak<Epoll>,
    interest: SpinLock<Interest>,
    registration: SpinLock<Option<Registration>>,
    /// It stands on the ready list.
    queued: AtomicBool,
    removed: AtomicBool,
}

impl Item {
    fn mask(&self) -> PollEvents {
        self.interest.lock().mask()
    }

    fn detach(&self, file: &OpenFile) {
        let registration = self.registration.lock().take();
        if let (Some(notifier), Some(registration)) = (file.file().notifier(), registration) {
            notifier.detach(&registration);
        }
    }
}

impl Observer for Item {
    fn notify(&self, events: PollEvents) -> bool {
        let interest = *self.interest.lock();
        let mask = interest.mask();
        let concerns = events.is_empty() || mask.intersects(events);
        if mask.is_empty() || !concerns {
            return false;
        }
        let (Some(epoll), Some(own)) = (self.epoll.upgrade(), self.own.upgrade()) else {
            return false;
        };
        epoll.enqueue(own);
        // Also when it stood there already: an outer instance sees every edge.
        let woken = epoll.tell();
        interest.is_exclusive() && woken > 0
    }

    fn is_exclusive(&self) -> bool {
        self.interest.lock().is_exclusive()
    }
}

type Key = (Fd, usize);

fn key(fd: Fd, file: &OpenFile) -> Key {
    (fd, core::ptr::from_ref(file).addr())
}

/// There was no place for an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// An epoll instance.
pub struct Epoll {
    own: Weak<Self>,
    number: u64,
    /// Held while files are asked whether they are ready.
    scanning: SpinLock<()>,
    items: SpinLock<BTreeMap<Key, Arc<Item>>>,
    ready: SpinLock<VecDeque<Arc<Item>>>,
    /// Sleepers in epoll_wait. Apart from `notifier`, which tells outer instances: those see an
    /// edge when an item becomes ready, not whenever a waiter leaves something behind.
    waiting: WaitQueue,
    notifier: Notifier,
}

impl Epoll {
    /// An instance that watches nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            number: crate::anonymous::next_number(),
            scanning: SpinLock::ranked(Rank::EpollScan, ()),
            items: SpinLock::ranked(Rank::EpollItems, BTreeMap::new()),
            ready: SpinLock::ranked(Rank::EpollReady, VecDeque::new()),
            waiting: WaitQueue::new(),
            notifier: Notifier::new(),
        })
    }

    /// Completes when an item may have become ready. Make it before [`Epoll::collect`].
    pub fn wait(&self) -> Wait<'_> {
        self.waiting.wait()
    }

    /// Wakes who waits, and says how many that were.
    fn tell(&self) -> usize {
        let woken = self.waiting.wake_all();
        self.notifier.notify(PollEvents::READABLE);
        woken
    }

    /// Puts an item on the ready list unless it stands there or is gone.
    fn enqueue(&self, item: Arc<Item>) -> bool {
        let mut ready = self.ready.lock();
        if item.removed.load(Ordering::Acquire) || item.queued.swap(true, Ordering::AcqRel) {
            return false;
        }
        ready.push_back(item);
        true
    }

    /// Puts an item that was only looked at back to where it was.
    fn put_back(&self, item: Arc<Item>) {
        let mut ready = self.ready.lock();
        if !item.removed.load(Ordering::Acquire) && !item.queued.swap(true, Ordering::AcqRel) {
            ready.push_front(item);
        }
    }

    fn dequeue(&self) -> Option<Arc<Item>> {
        let item = self.ready.lock().pop_front()?;
        // Before the file is asked: an edge from now on queues it again.
        item.queued.store(false, Ordering::Release);
        Some(item)
    }

    /// EPOLL_CTL_ADD.
    ///
    /// # Errors
    /// `EEXIST`; `EPERM`: the file is always ready; `EINVAL`: flags that do not go together, or
    /// the instance itself; `ELOOP`: instances would watch each other in a circle.
    pub fn add(&self, fd: Fd, file: &Arc<OpenFile>, interest: Interest) -> Result<(), Errno> {
        let Some(notifier) = file.file().notifier() else { return Err(Errno::EPERM) };
        let inner = file.file().as_any().downcast_ref::<Self>();
        if interest.is_exclusive() {
            let allowed = flag::ALL & !flag::ONESHOT | (PollEvents::IN | PollEvents::OUT).bits();
            if inner.is_some() || interest.events & !(allowed | ALWAYS.bits()) != 0 {
                return Err(Errno::EINVAL);
            }
        }
        let nesting = inner.map(|inner| (NESTING.lock(), inner));
        if let Some((_, inner)) = &nesting {
            if core::ptr::eq(*inner, self) {
                return Err(Errno::EINVAL);
            }
            inner.refuse_loop(self, 1)?;
        }
        let item = Arc::new_cyclic(|own| Item {
            own: own.clone(),
            file: Arc::downgrade(file),
            epoll: self.own.clone(),
            interest: SpinLock::new(interest.armed()),
            registration: SpinLock::new(None),
            queued: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        });
        {
            let mut items = self.items.lock();
            if items.contains_key(&key(fd, file)) {
                return Err(Errno::EEXIST);
            }
            // Room for every item at once: an edge must not need memory.
            let mut ready = self.ready.lock();
            let missing = (items.len() + 1).saturating_sub(ready.len());
            ready.try_reserve(missing).map_err(|_| Errno::ENOSPC)?;
            items.insert(key(fd, file), Arc::clone(&item));
        }
        drop(nesting);
        file.watched_by(&self.own);
        *item.registration.lock() = Some(notifier.attach(sched::weak(&item)));
        if item.removed.load(Ordering::Acquire) {
            // Somebody was faster, and found nothing to detach.
            item.detach(file);
        }
        self.look(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_MOD.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL`: an exclusive item.
    pub fn modify(&self, fd: Fd, file: &Arc<OpenFile>, interest: Interest) -> Result<(), Errno> {
        if interest.is_exclusive() {
            return Err(Errno::EINVAL);
        }
        let item = self.items.lock().get(&key(fd, file)).cloned().ok_or(Errno::ENOENT)?;
        {
            // Not while an event of before is given out and then disarms the item.
            let _scanning = self.scanning.lock();
            let mut current = item.interest.lock();
            if current.is_exclusive() {
                return Err(Errno::EINVAL);
            }
            *current = interest.armed();
        }
        self.look(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_DEL.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(&self, fd: Fd, file: &OpenFile) -> Result<(), Errno> {
        let item = self.items.lock().remove(&key(fd, file)).ok_or(Errno::ENOENT)?;
        self.forget(&item, file);
        Ok(())
    }

    fn forget(&self, item: &Arc<Item>, file: &OpenFile) {
        item.detach(file);
        let mut ready = self.ready.lock();
        item.removed.store(true, Ordering::Release);
        if item.queued.load(Ordering::Acquire) {
            ready.retain(|queued| !Arc::ptr_eq(queued, item));
        }
    }

    /// The last descriptor to `file` was closed: its items go.
    pub(crate) fn file_closed(&self, file: &OpenFile) {
        let address = core::ptr::from_ref(file).addr();
        loop {
            let item = {
                let mut items = self.items.lock();
                let found = items.keys().find(|key| key.1 == address).copied();
                found.and_then(|key| items.remove(&key))
            };
            let Some(item) = item else { break };
            self.forget(&item, file);
        }
    }

    /// Queues an item whose file is ready already.
    fn look(&self, item: &Arc<Item>, file: &OpenFile) {
        if file.file().poll().intersects(item.mask()) && self.enqueue(Arc::clone(item)) {
            self.tell();
        }
    }

    /// Takes up to `max` events; `each` gets the event bits and the program's word, under a lock,
    /// and returns whether it could store them. If not, the event is kept for later.
    ///
    /// # Errors
    /// The first event could not be stored.
    pub fn collect(
        &self,
        max: usize,
        each: &mut dyn FnMut(u32, u64) -> bool,
    ) -> Result<usize, Full> {
        let _scanning = self.scanning.lock();
        let mut looks = self.ready.lock().len();
        let mut done = 0;
        let mut left_behind = false;
        while done < max && looks > 0 {
            looks -= 1;
            let Some(item) = self.dequeue() else { break };
            let Some(file) = item.file.upgrade() else { continue };
            let interest = *item.interest.lock();
            let events = file.file().poll() & interest.mask();
            if events.is_empty() || interest.mask().is_empty() {
                continue;
            }
            if !each(events.bits(), interest.data) {
                self.put_back(item);
                if done == 0 {
                    return Err(Full);
                }
                break;
            }
            done += 1;
            if interest.events & flag::ONESHOT != 0 {
                item.interest.lock().events &= flag::ALL;
            } else if interest.events & flag::EDGE == 0 {
                left_behind |= self.enqueue(item);
            }
        }
        if left_behind {
            self.waiting.wake_all();
        }
        Ok(done)
    }

    /// True when an item is ready. Items that are not leave the list.
    fn any_ready(&self) -> bool {
        // Nested: instances do not watch each other in a circle.
        let _scanning = self.scanning.lock_nested();
        let looks = self.ready.lock().len();
        for _ in 0..looks {
            let Some(item) = self.dequeue() else { break };
            let Some(file) = item.file.upgrade() else { continue };
            if file.file().poll().intersects(item.mask()) {
                self.put_back(item);
                return true;
            }
        }
        false
    }

    /// Refuses if `outer` can be reached from here, or if the nesting is too deep.
    fn refuse_loop(&self, outer: &Self, depth: u32) -> Result<(), Errno> {
        if depth > DEPTH_MAX {
            return Err(Errno::ELOOP);
        }
        let files: Vec<_> =
            self.items.lock().values().filter_map(|item| item.file.upgrade()).collect();
        for file in files {
            if let Some(inner) = file.file().as_any().downcast_ref::<Self>() {
                if core::ptr::eq(inner, outer) {
                    return Err(Errno::ELOOP);
                }
                inner.refuse_loop(outer, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The items as (descriptor, events, word), for /proc/self/fdinfo.
    #[must_use]
    pub fn interests(&self) -> Vec<(Fd, Interest)> {
        self.items.lock().iter().map(|(key, item)| (key.0, *item.interest.lock())).collect()
    }
}

impl File for Epoll {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Regular, 0o600, self.number))
    }

    fn read(&self, _offset: u64, _sink: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        if self.any_ready() { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn released(&self) {
        let items = core::mem::take(&mut *self.items.lock());
        for item in items.values() {
            if let Some(file) = item.file.upgrade() {
                self.forget(item, &file);
            }
        }
        let queued = core::mem::take(&mut *self.ready.lock());
        drop(queued);
    }

    fn describe(&self) -> String {
        String::from("anon_inode:[eventpoll]")
    }
}
