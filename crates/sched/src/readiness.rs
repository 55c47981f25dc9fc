//! Readiness: a file tells whoever watches it that reading or writing may work now.

use crate::wait::{Wait, WaitQueue};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::sync::SpinLock;

bitflags::bitflags! {
    /// What a file is ready for; the bits of poll(2) and epoll(7).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        /// Readable.
        const IN = 0x1;
        /// Exceptional condition.
        const PRI = 0x2;
        /// Writable.
        const OUT = 0x4;
        /// Error.
        const ERR = 0x8;
        /// Hung up.
        const HUP = 0x10;
        /// Not open (poll only).
        const NVAL = 0x20;
        /// Readable, normal data.
        const RDNORM = 0x40;
        /// Writable, normal data.
        const WRNORM = 0x100;
        /// The peer stopped sending.
        const RDHUP = 0x2000;
        /// There is something to read, as poll(2) says it of most files.
        const READABLE = Self::IN.bits() | Self::RDNORM.bits();
        /// There is room for something to be written.
        const WRITABLE = Self::OUT.bits() | Self::WRNORM.bits();
    }
}

/// Somebody who wants to know when a file becomes ready: an epoll item.
pub trait Observer: Send + Sync {
    /// The file may have become ready for `events`. Called with the file's own locks possibly
    /// held, and perhaps once more after its registration ended: it must only take note, not call
    /// the file back. True: exclusive ones after it need not be told.
    fn notify(&self, events: PollEvents) -> bool;

    /// Of such ones only the first that has somebody to wake is told (`EPOLLEXCLUSIVE`).
    fn is_exclusive(&self) -> bool {
        false
    }
}

/// The readiness side of a file: each has one.
///
/// `notify` is called on every *edge*: when data arrives (also when there was some already), when
/// room appears, at end of stream, on errors.
#[derive(Default)]
pub struct Notifier {
    observers: SpinLock<Vec<(u64, Weak<dyn Observer>)>>,
    waiting: WaitQueue,
}

impl Notifier {
    /// A notifier that nobody watches.
    #[must_use]
    pub const fn new() -> Self {
        Self { observers: SpinLock::new(Vec::new()), waiting: WaitQueue::new() }
    }

    /// Tells all observers, but one of the exclusive ones, and wakes all waiting tasks.
    pub fn notify(&self, events: PollEvents) {
        let mut told = None;
        let mut is_taken = false;
        loop {
            // Told without the lock: an observer's file may have observers in turn.
            let (observer, more) = {
                let observers = self.observers.lock();
                let next = observers.partition_point(|row| Some(row.0) <= told);
                let Some((id, observer)) = observers.get(next) else { break };
                told = Some(*id);
                (observer.upgrade(), next + 1 < observers.len())
            };
            if let Some(observer) = observer
                && !(is_taken && observer.is_exclusive())
            {
                is_taken |= observer.notify(events);
            }
            if !more {
                break;
            }
        }
        self.waiting.wake_all();
    }

    /// Completes at the next [`Notifier::notify`]. Make it before looking at the file's state.
    pub fn wait(&self) -> Ready<'_> {
        self.waiting.wait()
    }

    /// Adds an observer, until the registration is given to [`Notifier::detach`].
    pub fn attach(&self, observer: Weak<dyn Observer>) -> Registration {
        let mut observers = self.observers.lock();
        let id = observers.last().map_or(0, |last| last.0 + 1);
        observers.push((id, observer));
        Registration(id)
    }

    /// Removes an observer.
    pub fn detach(&self, registration: &Registration) {
        let mut observers = self.observers.lock();
        observers.retain(|row| row.0 != registration.0);
        if let Some(room) = base::room::smaller(observers.len(), observers.capacity()) {
            observers.shrink_to(room);
        }
    }
}

/// The future of [`Notifier::wait`].
pub type Ready<'a> = Wait<'a>;

/// Proof of an [`Notifier::attach`].
#[derive(Debug)]
pub struct Registration(u64);

/// An observer that can be held weakly.
pub fn weak<O: Observer + 'static>(observer: &Arc<O>) -> Weak<dyn Observer> {
    let weak: Weak<O> = Arc::downgrade(observer);
    weak
}
