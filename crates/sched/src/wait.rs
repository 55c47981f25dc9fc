//! A queue of sleeping tasks.
//!
//! To wait for a condition without losing a wake-up: make the [`Wait`] future first, *then* look
//! at the condition, then await. A wake that comes after the future was made completes it.

use alloc::collections::VecDeque;
use base::sync::SpinLock;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

struct Waiter {
    ticket: u64,
    /// `None` until the future is first polled.
    waker: Option<Waker>,
}

#[derive(Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    next_ticket: u64,
}

/// Tasks waiting for one thing, first come first served.
#[derive(Default)]
pub struct WaitQueue {
    queue: SpinLock<Queue>,
}

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { queue: SpinLock::new(Queue { waiters: VecDeque::new(), next_ticket: 0 }) }
    }

    /// Joins the queue. The future completes when it is woken; dropping it leaves the queue.
    pub fn wait(&self) -> Wait<'_> {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiters.push_back(Waiter { ticket, waker: None });
        Wait { queue: self, ticket }
    }

    /// Wakes all tasks that wait now, longest waiting first. Returns how many. Those that come
    /// back while it works wait for the next time.
    pub fn wake_all(&self) -> usize {
        let mut woken = 0;
        let mut end = None;
        loop {
            // A waker takes locks of its own: called without this one.
            let waiter = {
                let mut queue = self.queue.lock();
                let end = *end.get_or_insert(queue.next_ticket);
                queue.waiters.pop_front_if(|waiter| waiter.ticket < end)
            };
            let Some(waiter) = waiter else { break };
            if let Some(waker) = waiter.waker {
                waker.wake();
            }
            woken += 1;
        }
        woken
    }

    /// True when nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.lock().waiters.is_empty()
    }
}

/// Waiting in a [`WaitQueue`].
#[must_use = "a wait does nothing unless awaited"]
pub struct Wait<'a> {
    queue: &'a WaitQueue,
    ticket: u64,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.queue.lock();
        match queue.waiters.iter_mut().find(|waiter| waiter.ticket == self.ticket) {
            Some(waiter) => {
                waiter.waker = Some(context.waker().clone());
                Poll::Pending
            }
            // Taken off the queue: woken.
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut queue = self.queue.queue.lock();
        if let Some(at) = queue.waiters.iter().position(|waiter| waiter.ticket == self.ticket) {
            queue.waiters.remove(at);
        }
    }
}
