//! The run queue of one CPU.
//!
//! A task is a boxed future and a flag that says whether it stands in the queue. Waking costs one
//! atomic swap and a push; no allocation.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use base::sync::SpinLock;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Picks which of `count` runnable tasks runs next; a simulation passes a seeded one.
pub type Shuffle = Box<dyn FnMut(usize) -> usize + Send>;

struct Task {
    future: SpinLock<Option<BoxFuture>>,
    queued: AtomicBool,
    run_queue: Arc<RunQueue>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let run_queue = Arc::clone(&self.run_queue);
            run_queue.ready.lock().push_back(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.run_queue.ready.lock().push_back(Arc::clone(self));
        }
    }
}

#[derive(Default)]
struct RunQueue {
    ready: SpinLock<VecDeque<Arc<Task>>>,
    live: AtomicUsize,
}

/// Runs futures, one at a time, in the order in which they became ready.
pub struct Executor {
    run_queue: Arc<RunQueue>,
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
        Self { run_queue: Arc::default(), shuffle: SpinLock::new(None) }
    }

    /// An executor that lets `shuffle` choose among the runnable tasks.
    #[must_use]
    pub fn shuffled(shuffle: Shuffle) -> Self {
        Self { run_queue: Arc::default(), shuffle: SpinLock::new(Some(shuffle)) }
    }

    /// Adds a task; it runs when its turn comes.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.run_queue.live.fetch_add(1, Ordering::Relaxed);
        let task = Arc::new(Task {
            future: SpinLock::new(Some(Box::pin(future))),
            queued: AtomicBool::new(true),
            run_queue: Arc::clone(&self.run_queue),
        });
        self.run_queue.ready.lock().push_back(task);
    }

    /// Runs one task until it waits or ends. `false` when none is runnable.
    pub fn run_one(&self) -> bool {
        let Some(task) = self.pick() else { return false };
        // Cleared first: a wake during the poll puts the task back in the queue.
        task.queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&task));
        let mut slot = task.future.lock();
        if let Some(future) = slot.as_mut() {
            let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if done {
                let finished = slot.take();
                drop(slot);
                drop(finished);
                self.run_queue.live.fetch_sub(1, Ordering::Relaxed);
            }
        }
        true
    }

    fn pick(&self) -> Option<Arc<Task>> {
        let mut shuffle = self.shuffle.lock();
        let mut ready = self.run_queue.ready.lock();
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
        self.run_queue.ready.lock().len()
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
        self.run_queue.live.fetch_add(1, Ordering::Relaxed);
        let task = Arc::new(Task {
            future: SpinLock::new(Some(Box::pin(future))),
            queued: AtomicBool::new(true),
            run_queue: Arc::clone(&self.run_queue),
        });
        self.run_queue.ready.lock().push_back(task);
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
