//! futex(2): waiting on a word of the program's memory.
//!
//! The table knows addresses, not memory. The caller compares the word under the bucket's lock
//! ([`FutexTable::wait_if`]), so that a wake between the comparison and the sleep is not lost.

use alloc::sync::Arc;
use alloc::vec::Vec;
use base::UserAddr;
use base::sync::{self, Rank, SpinLock};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Buckets; a power of two.
const BUCKETS: usize = 256;

struct Waiter {
    address: UserAddr,
    bitset: u32,
    ticket: Arc<Ticket>,
}

type Bucket = SpinLock<Vec<Waiter>>;

struct Ticket {
    state: SpinLock<TicketState>,
}

struct TicketState {
    address: UserAddr,
    woken: bool,
    /// It stands in no bucket any more, though nobody woke it.
    left: bool,
    waker: Option<Waker>,
}

/// All futex waiters of a process.
pub struct FutexTable {
    buckets: Vec<Bucket>,
}

impl Default for FutexTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FutexTable {
    /// A table without waiters.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buckets: (0..BUCKETS)
                .map(|_| SpinLock::ranked(Rank::FutexBucket, Vec::new()))
                .collect(),
        }
    }

    fn bucket(&self, address: UserAddr) -> &Bucket {
        let hash = (address.0 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        &self.buckets[hash as usize % BUCKETS]
    }

    /// Joins the waiters of `address` if `check`, called under the bucket's lock, says so.
    ///
    /// # Errors
    /// What `check` returned.
    pub fn wait_if<E>(
        self: &Arc<Self>,
        address: UserAddr,
        bitset: u32,
        check: impl FnOnce() -> Result<(), E>,
    ) -> Result<FutexWait, E> {
        let mut bucket = self.bucket(address).lock();
        check()?;
        let ticket = Arc::new(Ticket {
            state: SpinLock::new(TicketState { address, woken: false, left: false, waker: None }),
        });
        bucket.push(Waiter { address, bitset, ticket: Arc::clone(&ticket) });
        Ok(FutexWait { table: Arc::clone(self), ticket })
    }

    /// Wakes up to `count` waiters of `address` that share a bit with `bitset`, longest waiting
    /// first. Returns how many.
    pub fn wake(&self, address: UserAddr, count: usize, bitset: u32) -> usize {
        wake_in(&mut self.bucket(address).lock(), address, count, bitset)
    }

    /// FUTEX_REQUEUE: wakes up to `wake` waiters of `from` and moves up to `requeue` others to
    /// `to`, if `check`, called under the buckets' locks, says so. Returns (woken, moved). All in
    /// one step: whoever looks for a waiter finds it at one of the two.
    ///
    /// # Errors
    /// What `check` returned.
    pub fn requeue<E>(
        &self,
        (from, wake): (UserAddr, usize),
        (to, requeue): (UserAddr, usize),
        check: impl FnOnce() -> Result<(), E>,
    ) -> Result<(usize, usize), E> {
        let (source, target) = (self.bucket(from), self.bucket(to));
        let (mut source, mut target) = if core::ptr::eq(source, target) {
            (source.lock(), None)
        } else {
            let (source, target) = sync::lock_both(source, target);
            (source, Some(target))
        };
        check()?;
        let woken = wake_in(&mut source, from, wake, u32::MAX);
        if from == to {
            return Ok((woken, 0));
        }
        let mut moving: Vec<Waiter> =
            source.extract_if(.., |waiter| waiter.address == from).take(requeue).collect();
        for waiter in &mut moving {
            waiter.address = to;
            waiter.ticket.state.lock().address = to;
        }
        let moved = moving.len();
        target.as_deref_mut().unwrap_or(&mut source).append(&mut moving);
        Ok((woken, moved))
    }
}

/// Wakes up to `count` waiters of `address` in its bucket, which is locked.
fn wake_in(bucket: &mut Vec<Waiter>, address: UserAddr, count: usize, bitset: u32) -> usize {
    let concerns = |waiter: &mut Waiter| waiter.address == address && waiter.bitset & bitset != 0;
    let mut woken = 0;
    for waiter in bucket.extract_if(.., concerns).take(count) {
        let waker = {
            let mut state = waiter.ticket.state.lock();
            state.woken = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        woken += 1;
    }
    woken
}

/// Waiting on a futex. Completes when woken; dropping it leaves the queue.
#[must_use = "a wait does nothing unless awaited"]
pub struct FutexWait {
    table: Arc<FutexTable>,
    ticket: Arc<Ticket>,
}

impl Future for FutexWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.ticket.state.lock();
        if state.woken {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl FutexWait {
    /// Leaves the queue. True when it was woken before that: whoever woke it counted this waiter,
    /// which therefore must not say that it timed out or was interrupted.
    pub fn leave(&mut self) -> bool {
        loop {
            let address = {
                let state = self.ticket.state.lock();
                if state.woken {
                    return true;
                }
                state.address
            };
            let mut bucket = self.table.bucket(address).lock();
            if let Some(at) = bucket.iter().position(|w| Arc::ptr_eq(&w.ticket, &self.ticket)) {
                let waiter = bucket.remove(at);
                waiter.ticket.state.lock().left = true;
                return false;
            }
            if self.ticket.state.lock().left {
                return false;
            }
            // Woken or moved to another address between the two locks: look again.
        }
    }
}

impl Drop for FutexWait {
    fn drop(&mut self) {
        self.leave();
    }
}
