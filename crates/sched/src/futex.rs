//! futex(2): waiting on a word of the program's memory.
//!
//! The table knows addresses, not memory. The caller compares the word under the bucket's lock
//! ([`FutexTable::wait_if`]), so that a wake between the comparison and the sleep is not lost.

use alloc::sync::Arc;
use alloc::vec::Vec;
use base::UserAddr;
use base::sync::SpinLock;
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

struct Ticket {
    state: SpinLock<TicketState>,
}

struct TicketState {
    address: UserAddr,
    woken: bool,
    waker: Option<Waker>,
}

/// All futex waiters of a process.
pub struct FutexTable {
    buckets: Vec<SpinLock<Vec<Waiter>>>,
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
        Self { buckets: (0..BUCKETS).map(|_| SpinLock::new(Vec::new())).collect() }
    }

    fn bucket(&self, address: UserAddr) -> &SpinLock<Vec<Waiter>> {
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
            state: SpinLock::new(TicketState { address, woken: false, waker: None }),
        });
        bucket.push(Waiter { address, bitset, ticket: Arc::clone(&ticket) });
        Ok(FutexWait { table: Arc::clone(self), ticket })
    }

    /// Wakes up to `count` waiters of `address` that share a bit with `bitset`, longest waiting
    /// first. Returns how many.
    pub fn wake(&self, address: UserAddr, count: usize, bitset: u32) -> usize {
        let mut woken = 0;
        let mut bucket = self.bucket(address).lock();
        let mut at = 0;
        while woken < count && at < bucket.len() {
            if bucket[at].address == address && bucket[at].bitset & bitset != 0 {
                let waiter = bucket.remove(at);
                let mut state = waiter.ticket.state.lock();
                state.woken = true;
                if let Some(waker) = state.waker.take() {
                    drop(state);
                    waker.wake();
                }
                woken += 1;
            } else {
                at += 1;
            }
        }
        woken
    }

    /// FUTEX_REQUEUE: wakes up to `wake` waiters of `from` and moves up to `requeue` others to
    /// `to`. Returns (woken, moved).
    pub fn requeue(
        &self,
        from: UserAddr,
        wake: usize,
        to: UserAddr,
        requeue: usize,
    ) -> (usize, usize) {
        let woken = self.wake(from, wake, u32::MAX);
        if from == to {
            return (woken, 0);
        }
        let mut moving = Vec::new();
        {
            let mut bucket = self.bucket(from).lock();
            let mut at = 0;
            while moving.len() < requeue && at < bucket.len() {
                if bucket[at].address == from {
                    moving.push(bucket.remove(at));
                } else {
                    at += 1;
                }
            }
        }
        let moved = moving.len();
        let mut bucket = self.bucket(to).lock();
        for mut waiter in moving {
            waiter.address = to;
            waiter.ticket.state.lock().address = to;
            bucket.push(waiter);
        }
        (woken, moved)
    }
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

impl Drop for FutexWait {
    fn drop(&mut self) {
        loop {
            let address = {
                let state = self.ticket.state.lock();
                if state.woken {
                    return;
                }
                state.address
            };
            let mut bucket = self.table.bucket(address).lock();
            if let Some(at) = bucket.iter().position(|w| Arc::ptr_eq(&w.ticket, &self.ticket)) {
                bucket.remove(at);
                return;
            }
            // Woken or moved to another address between the two locks: look again.
        }
    }
}
