//! Deadlines.
//!
//! Each CPU has a binary heap of (deadline, sequence) with wakers beside it; a cancelled timer
//! leaves its heap entry behind, which is dropped when it comes up (or when there are more dead
//! than live ones).

use alloc::boxed::Box;
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

/// The timers of one CPU. It alone waits for them, so that arming one never disturbs another CPU.
struct Shard {
    heap: SpinLock<Heap>,
    /// A lower bound of the earliest deadline, in nanoseconds, readable without the lock.
    earliest: AtomicU64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { heap: SpinLock::default(), earliest: AtomicU64::new(Instant::FAR.nanoseconds()) }
    }
}

impl Shard {
    /// Takes out the waker of a timer that is due.
    fn take_due(&self, now: Instant) -> Option<Option<Waker>> {
        let mut heap = self.heap.lock();
        heap.drop_dead();
        let first = heap.order.peek().map(|Reverse(first)| *first);
        let (deadline, sequence) = first.unwrap_or((Instant::FAR, 0));
        if first.is_none() || deadline > now {
            self.earliest.store(deadline.nanoseconds(), Ordering::Relaxed);
            return None;
        }
        heap.order.pop();
        Some(heap.wakers.remove(&sequence))
    }
}

/// The timers of all CPUs. A timer belongs to the CPU on which its future was first polled.
pub struct Timers {
    shards: Box<[Shard]>,
}

impl Timers {
    /// No timers, on so many CPUs (at least one).
    #[must_use]
    pub fn new(cpus: u32) -> Arc<Self> {
        Arc::new(Self { shards: (0..cpus.max(1)).map(|_| Shard::default()).collect() })
    }

    fn here(&self) -> usize {
        hal::cpu::current().0 as usize % self.shards.len()
    }

    fn own(&self) -> &Shard {
        &self.shards[self.here()]
    }

    /// A future that completes at `deadline`: on the first [`Timers::expire`] at or after it.
    pub fn sleep_until(self: &Arc<Self>, deadline: Instant) -> Sleep {
        Sleep { timers: Arc::clone(self), deadline, place: None, done: false }
    }

    /// Wakes everything of this CPU that is due at `now`. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        if self.earliest() > now {
            return 0;
        }
        let mut woken = 0;
        while let Some(due) = self.own().take_due(now) {
            if let Some(waker) = due {
                waker.wake();
                woken += 1;
            }
        }
        woken
    }

    /// The earliest deadline of this CPU or something before it ([`Instant::FAR`] when there is
    /// none): what to arm the timer for. Costs one load; cancelled timers still count until they
    /// come up.
    #[inline]
    pub fn earliest(&self) -> Instant {
        Instant::from_nanoseconds(self.own().earliest.load(Ordering::Relaxed))
    }

    /// The earliest deadline of this CPU.
    pub fn next(&self) -> Option<Instant> {
        let mut heap = self.own().heap.lock();
        heap.drop_dead();
        heap.order.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

/// The future of [`Timers::sleep_until`].
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    timers: Arc<Timers>,
    deadline: Instant,
    /// The shard and the sequence number there.
    place: Option<(usize, u64)>,
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
        let Some((shard, sequence)) = self.place else {
            let here = timers.here();
            let shard = &timers.shards[here];
            let mut heap = shard.heap.lock();
            let sequence = heap.next_sequence;
            heap.next_sequence += 1;
            heap.order.push(Reverse((self.deadline, sequence)));
            heap.wakers.insert(sequence, context.waker().clone());
            shard.earliest.fetch_min(self.deadline.nanoseconds(), Ordering::Relaxed);
            hal::clock::arm_sooner(self.deadline);
            self.place = Some((here, sequence));
            return Poll::Pending;
        };
        match timers.shards[shard].heap.lock().wakers.get_mut(&sequence) {
            Some(waker) => {
                waker.clone_from(context.waker());
                Poll::Pending
            }
            None => {
                self.done = true;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((shard, sequence)) = self.place {
            self.timers.shards[shard].heap.lock().wakers.remove(&sequence);
        }
    }
}
