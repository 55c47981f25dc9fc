//! The run queue of one CPU.
//!
//! A task is a boxed future and a state that says whether it stands in the queue. Waking costs one
//! atomic exchange and a push; no allocation.
//!
//! A task that wakes itself while it runs (it yields) goes back to the queue only when the next
//! task is picked: what happens in between, device work for instance, wakes others ahead of it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use base::sync::SpinLock;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Picks which of `count` runnable tasks runs next; a simulation passes a seeded one.
pub type Shuffle = Box<dyn FnMut(usize) -> usize + Send>;

/// Neither runnable nor running.
const IDLE: u8 = 0;
/// In the run queue, or about to be put there.
const QUEUED: u8 = 1;
/// Being polled.
const RUNNING: u8 = 2;
/// Being polled, and woken since the poll began.
const RUNNING_WOKEN: u8 = 3;

struct Task {
    future: SpinLock<Option<BoxFuture>>,
    state: AtomicU8,
    run_queue: Arc<RunQueue>,
}

impl Task {
    /// Notes a wake-up. True when the task must be put in the queue.
    fn note_wake(&self) -> bool {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(RUNNING_WOKEN),
            _ => None,
        };
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        before == Ok(IDLE)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.note_wake() {
            let run_queue = Arc::clone(&self.run_queue);
            run_queue.ready.lock().push_back(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.note_wake() {
            self.run_queue.ready.lock().push_back(Arc::clone(self));
        }
    }
}

#[derive(Default)]
struct RunQueue {
    ready: SpinLock<VecDeque<Arc<Task>>>,
    live: AtomicUsize,
}

impl RunQueue {
    fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        self.live.fetch_add(1, Ordering::Relaxed);
        let task = Arc::new(Task {
            future: SpinLock::new(Some(Box::pin(future))),
            state: AtomicU8::new(QUEUED),
            run_queue: Arc::clone(self),
        });
        self.ready.lock().push_back(task);
    }
}

/// Runs futures, one at a time, in the order in which they became ready.
pub struct Executor {
    run_queue: Arc<RunQueue>,
    /// The task that yielded in the last turn.
    yielded: SpinLock<Option<Arc<Task>>>,
    shuffle: SpinLock<Option<Shuffle>>,
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor {
    /// An executor without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            run_queue: Arc::default(),
            yielded: SpinLock::default(),
            shuffle: SpinLock::default(),
        }
    }

    /// An executor that lets `shuffle` choose among the runnable tasks.
    #[must_use]
    pub fn shuffled(shuffle: Shuffle) -> Self {
        Self { shuffle: SpinLock::new(Some(shuffle)), ..Self::new() }
    }

    /// Adds a task; it runs when its turn comes.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.run_queue.spawn(future);
    }

    /// Runs one task until it waits or ends. `false` when none is runnable.
    pub fn run_one(&self) -> bool {
        let Some(task) = self.pick() else { return false };
        task.state.store(RUNNING, Ordering::Release);
        let waker = Waker::from(Arc::clone(&task));
        let mut slot = task.future.lock();
        if let Some(future) = slot.as_mut() {
            let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if done {
                let finished = slot.take();
                drop(slot);
                drop(finished);
                self.run_queue.live.fetch_sub(1, Ordering::Relaxed);
                return true;
            }
        }
        drop(slot);
        let to_idle =
            task.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if to_idle.is_err() {
            task.state.store(QUEUED, Ordering::Release);
            *self.yielded.lock() = Some(task);
        }
        true
    }

    fn pick(&self) -> Option<Arc<Task>> {
        let mut shuffle = self.shuffle.lock();
        let yielded = self.yielded.lock().take();
        let mut ready = self.run_queue.ready.lock();
        ready.extend(yielded);
        match shuffle.as_mut() {
            Some(shuffle) if ready.len() > 1 => {
                let at = shuffle(ready.len()) % ready.len();
                ready.remove(at)
            }
            _ => ready.pop_front(),
        }
    }

    /// How many tasks are runnable.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.run_queue.ready.lock().len() + usize::from(self.yielded.lock().is_some())
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.run_queue.live.load(Ordering::Relaxed)
    }

    /// A handle for spawning from within tasks.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner { run_queue: Arc::clone(&self.run_queue) }
    }
}

/// Adds tasks to an [`Executor`] from anywhere.
#[derive(Clone)]
pub struct Spawner {
    run_queue: Arc<RunQueue>,
}

impl Spawner {
    /// Adds a task; it runs when its turn comes.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.run_queue.spawn(future);
    }

    /// How many tasks are runnable, the current one not counted.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.run_queue.ready.lock().len()
    }
}

/// Lets every other runnable task run once.
pub fn yield_now() -> impl Future<Output = ()> + Send {
    let mut yielded = false;
    core::future::poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WaitQueue;

    /// A task that yields stands behind what was woken before the next one is picked.
    #[test]
    fn yielding_lets_woken_tasks_go_first() {
        let executor = Executor::new();
        let order = Arc::new(SpinLock::new(alloc::vec::Vec::new()));
        let queue = Arc::new(WaitQueue::new());
        let (log, wait) = (Arc::clone(&order), Arc::clone(&queue));
        executor.spawn(async move {
            wait.wait().await;
            log.lock().push("woken");
        });
        let log = Arc::clone(&order);
        executor.spawn(async move {
            yield_now().await;
            log.lock().push("yielded");
        });
        assert!(executor.run_one() && executor.run_one());
        queue.wake_all();
        while executor.run_one() {}
        assert_eq!(*order.lock(), ["woken", "yielded"]);
        assert_eq!(executor.live(), 0);
    }
}
