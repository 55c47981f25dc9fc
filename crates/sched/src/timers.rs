//! Deadlines.
//!
//! A binary heap of (deadline, sequence) with wakers beside it; a cancelled timer leaves its heap
//! entry behind, which is dropped when it comes up (or when there are more dead than live ones).

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::sync::Arc;
use base::Instant;
use base::sync::SpinLock;
use core::cmp::Reverse;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

#[derive(Default)]
struct Heap {
    order: BinaryHeap<Reverse<(Instant, u64)>>,
    wakers: BTreeMap<u64, Waker>,
    next_sequence: u64,
}

impl Heap {
    fn drop_dead(&mut self) {
        while let Some(Reverse((_, sequence))) = self.order.peek() {
            if self.wakers.contains_key(sequence) {
                break;
            }
            self.order.pop();
        }
        if self.order.len() > 64 && self.order.len() > 2 * self.wakers.len() {
            let Heap { order, wakers, .. } = self;
            order.retain(|Reverse((_, sequence))| wakers.contains_key(sequence));
        }
    }
}

/// The timers of one CPU.
pub struct Timers {
    heap: SpinLock<Heap>,
    /// A lower bound of the earliest deadline, in nanoseconds, readable without the lock.
    earliest: AtomicU64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { heap: SpinLock::default(), earliest: AtomicU64::new(Instant::FAR.nanoseconds()) }
    }
}

impl Timers {
    /// No timers.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A future that completes at `deadline`: on the first [`Timers::expire`] at or after it.
    pub fn sleep_until(self: &Arc<Self>, deadline: Instant) -> Sleep {
        Sleep { timers: Arc::clone(self), deadline, sequence: None, done: false }
    }

    /// Wakes everything due at `now`. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        let mut woken = 0;
        if self.earliest() > now {
            return 0;
        }
        loop {
            let waker = {
                let mut heap = self.heap.lock();
                heap.drop_dead();
                let Some(&Reverse((deadline, sequence))) = heap.order.peek() else {
                    self.earliest.store(Instant::FAR.nanoseconds(), Ordering::Relaxed);
                    break;
                };
                if deadline > now {
                    self.earliest.store(deadline.nanoseconds(), Ordering::Relaxed);
                    break;
                }
                heap.order.pop();
                heap.wakers.remove(&sequence)
            };
            if let Some(waker) = waker {
                waker.wake();
                woken += 1;
            }
        }
        woken
    }

    /// The earliest deadline or something before it ([`Instant::FAR`] when there is none): what
    /// to arm the timer for. Costs one load; cancelled timers still count until they come up.
    pub fn earliest(&self) -> Instant {
        Instant::from_nanoseconds(self.earliest.load(Ordering::Relaxed))
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        let mut heap = self.heap.lock();
        heap.drop_dead();
        heap.order.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

/// The future of [`Timers::sleep_until`].
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    timers: Arc<Timers>,
    deadline: Instant,
    sequence: Option<u64>,
    done: bool,
}

impl Sleep {
    /// When it completes.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        let timers = Arc::clone(&self.timers);
        let mut heap = timers.heap.lock();
        match self.sequence {
            None => {
                let sequence = heap.next_sequence;
                heap.next_sequence += 1;
                heap.order.push(Reverse((self.deadline, sequence)));
                heap.wakers.insert(sequence, context.waker().clone());
                timers.earliest.fetch_min(self.deadline.nanoseconds(), Ordering::Relaxed);
                self.sequence = Some(sequence);
                Poll::Pending
            }
            Some(sequence) => match heap.wakers.get_mut(&sequence) {
                Some(waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
                None => {
                    self.done = true;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(sequence) = self.sequence {
            self.timers.heap.lock().wakers.remove(&sequence);
        }
    }
}
