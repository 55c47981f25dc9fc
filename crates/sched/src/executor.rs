//! The run queues, one a CPU.
//!
//! A task is a boxed future and a state that says whether it stands in a queue. Waking costs one
//! atomic exchange and a push to the queue of the CPU that wakes; no allocation.
//!
//! Who else runs what was woken is decided late: a CPU that is about to do something long (it goes
//! back into the program, or picks one task while others stand behind it) calls a CPU that has
//! nothing to do ([`Spawner::share`]), which takes a task from the longest queue. A CPU that wakes
//! a task and then goes to sleep itself simply runs the task next, and nobody is disturbed.
//!
//! A task that wakes itself while it runs (it yields) goes back to the queue only when the next
//! task is picked: what happens in between, device work for instance, wakes others ahead of it.

use crate::affinity::Affinity;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use base::CpuId;
use base::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use base::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, fence};
use base::sync::{Rank, SpinLock};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Picks which of `count` runnable tasks runs next; a simulation passes a seeded one.
pub type Shuffle = Box<dyn FnMut(usize) -> usize + Send>;

/// A task's state when it waits: neither in a run queue nor being polled.
const IDLE: u8 = 0;
/// Woken since its last poll began. It stands in a queue, or will when the poll has ended.
const WOKEN: u8 = 1;
/// Being polled.
const RUNNING: u8 = 2;

struct Task {
    future: SpinLock<Option<BoxFuture>>,
    state: AtomicU8,
    affinity: Arc<Affinity>,
    queues: Arc<RunQueues>,
}

impl Task {
    /// Notes a wake-up. True when the task must be put in a queue.
    ///
    /// It writes also when the task is woken already: the exchange that begins the next poll reads
    /// what the last of all writes left, and so sees what this CPU has done before.
    fn note_wake(&self) -> bool {
        self.state.fetch_or(WOKEN, AcqRel) == IDLE
    }

    /// The poll begins: whoever wakes the task from here on asks for another.
    fn begin_poll(&self) {
        self.state.swap(RUNNING, AcqRel);
    }

    /// The poll has ended. True when the task was woken meanwhile.
    fn end_poll(&self) -> bool {
        self.state.compare_exchange(RUNNING, IDLE, AcqRel, Acquire).is_err()
            && self.state.fetch_and(!RUNNING, AcqRel) & WOKEN != 0
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.note_wake() {
            let queues = Arc::clone(&self.queues);
            queues.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.note_wake() {
            self.queues.push(Arc::clone(self));
        }
    }
}

/// The queue of one CPU.
#[derive(Default)]
struct RunQueue {
    ready: SpinLock<VecDeque<Arc<Task>>>,
    /// How long `ready` is, readable without the lock.
    length: AtomicUsize,
    /// The task that yielded in the last turn.
    yielded: SpinLock<Option<Arc<Task>>>,
}

impl RunQueue {
    fn push(&self, task: Arc<Task>) {
        let mut ready = self.ready.lock();
        ready.push_back(task);
        self.length.store(ready.len(), Relaxed);
    }

    /// Takes out the first task that may run on `cpu`.
    fn pop(&self, cpu: CpuId) -> Option<Arc<Task>> {
        let mut ready = self.ready.lock();
        let at = ready.iter().position(|task| task.affinity.allows(cpu))?;
        let task = ready.remove(at);
        self.length.store(ready.len(), Relaxed);
        task
    }
}

struct RunQueues {
    queues: Box<[RunQueue]>,
    /// CPUs that have nothing to do, and have not been called since they found out.
    idle: AtomicU64,
    live: AtomicUsize,
}

impl RunQueues {
    fn of(&self, cpu: CpuId) -> &RunQueue {
        &self.queues[cpu.0 as usize % self.queues.len()]
    }

    /// Puts a task in the queue of this CPU, or of one that may run it.
    fn push(&self, task: Arc<Task>) {
        let here = hal::cpu::current();
        if task.affinity.allows(here) {
            self.of(here).push(task);
            return;
        }
        let cpu = task.affinity.first();
        self.of(cpu).push(task);
        fence(SeqCst);
        // It may run the program, where it does not look at its queue.
        self.idle.fetch_and(!cpu.bit(), AcqRel);
        hal::cpu::kick(cpu);
    }

    fn spawn(
        self: &Arc<Self>,
        affinity: Arc<Affinity>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.live.fetch_add(1, Relaxed);
        let task = Arc::new(Task {
            future: SpinLock::ranked(Rank::Task, Some(Box::pin(future))),
            state: AtomicU8::new(WOKEN),
            affinity,
            queues: Arc::clone(self),
        });
        self.push(task);
    }

    /// Takes the next task from the longest queue of another CPU.
    fn steal(&self, cpu: CpuId) -> Option<Arc<Task>> {
        let longest = || {
            let others = self.queues.iter().enumerate().filter(|(at, _)| *at != cpu.0 as usize);
            let lengths = others.map(|(_, queue)| (queue.length.load(Relaxed), queue));
            lengths.filter(|(length, _)| *length > 0).max_by_key(|(length, _)| *length)
        };
        if let Some(task) = longest().and_then(|(_, queue)| queue.pop(cpu)) {
            return Some(task);
        }
        // The longest may hold nothing for this CPU.
        self.queues
            .iter()
            .filter(|queue| queue.length.load(Relaxed) > 0)
            .find_map(|queue| queue.pop(cpu))
    }

    /// Calls a CPU that has nothing to do if tasks stand in the queue of this one.
    #[inline]
    fn share(&self) {
        if self.queues.len() > 1 && self.of(hal::cpu::current()).length.load(Relaxed) > 0 {
            self.call_idle();
        }
    }

    fn call_idle(&self) {
        // With the fence in `prepare_idle`: either it sees the task, or this CPU sees it idle.
        fence(SeqCst);
        let idle = self.idle.load(Relaxed);
        if idle == 0 {
            return;
        }
        let cpu = CpuId(idle.trailing_zeros());
        if self.idle.fetch_and(!cpu.bit(), AcqRel) & cpu.bit() != 0 {
            hal::cpu::kick(cpu);
        }
    }
}

/// Runs futures, on each CPU one at a time, in the order in which they became ready.
pub struct Executor {
    queues: Arc<RunQueues>,
    shuffle: SpinLock<Option<Shuffle>>,
}

impl Executor {
    /// An executor without tasks, for so many CPUs (at least one, at most [`CpuId::COUNT_MAX`]).
    #[must_use]
    pub fn new(cpus: u32) -> Self {
        let queues =
            (0..cpus.clamp(1, CpuId::COUNT_MAX as u32)).map(|_| RunQueue::default()).collect();
        let (idle, live) = (AtomicU64::new(0), AtomicUsize::new(0));
        let shuffle = SpinLock::ranked(Rank::Choice, None);
        Self { queues: Arc::new(RunQueues { queues, idle, live }), shuffle }
    }

    /// An executor that lets `shuffle` choose among the runnable tasks.
    #[must_use]
    pub fn shuffled(cpus: u32, shuffle: Shuffle) -> Self {
        Self { shuffle: SpinLock::ranked(Rank::Choice, Some(shuffle)), ..Self::new(cpus) }
    }

    /// Adds a task; it runs when its turn comes.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.queues.spawn(Arc::default(), future);
    }

    /// Runs one task on this CPU until it waits or ends. `false` when none is runnable.
    pub fn run_one(&self) -> bool {
        let cpu = hal::cpu::current();
        let Some(task) = self.pick(cpu) else { return false };
        self.queues.share();
        task.begin_poll();
        let waker = Waker::from(Arc::clone(&task));
        let mut slot = task.future.lock();
        if let Some(future) = slot.as_mut() {
            let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if done {
                let finished = slot.take();
                drop(slot);
                drop(finished);
                self.queues.live.fetch_sub(1, Relaxed);
                return true;
            }
        }
        drop(slot);
        if task.end_poll() {
            *self.queues.of(cpu).yielded.lock() = Some(task);
        }
        true
    }

    fn pick(&self, cpu: CpuId) -> Option<Arc<Task>> {
        let own = self.queues.of(cpu);
        let yielded = own.yielded.lock().take();
        if let Some(task) = yielded {
            self.queues.push(task);
        }
        let mut shuffle = self.shuffle.lock();
        if let Some(shuffle) = shuffle.as_mut() {
            let mut ready = own.ready.lock();
            if ready.len() > 1 {
                let at = shuffle(ready.len()) % ready.len();
                if let Some(task) = ready.remove(at) {
                    ready.push_front(task);
                }
            }
        }
        drop(shuffle);
        own.pop(cpu).or_else(|| self.queues.steal(cpu))
    }

    /// This CPU is about to wait for an interrupt. `false`: there is a task for it after all.
    /// Otherwise [`Executor::finish_idle`] follows when it goes on.
    pub fn prepare_idle(&self) -> bool {
        let cpu = hal::cpu::current();
        self.queues.idle.fetch_or(cpu.bit(), AcqRel);
        // With the fence in `share`.
        fence(SeqCst);
        let runnable = self.queues.queues.iter().any(|queue| {
            queue.length.load(Relaxed) > 0
                && queue.ready.lock().iter().any(|task| task.affinity.allows(cpu))
        });
        if runnable {
            self.finish_idle();
        }
        !runnable
    }

    /// This CPU goes on.
    pub fn finish_idle(&self) {
        self.queues.idle.fetch_and(!hal::cpu::current().bit(), AcqRel);
    }

    /// How many tasks are runnable.
    #[must_use]
    pub fn runnable(&self) -> usize {
        let count = |queue: &RunQueue| {
            queue.ready.lock().len() + usize::from(queue.yielded.lock().is_some())
        };
        self.queues.queues.iter().map(count).sum()
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.queues.live.load(Relaxed)
    }

    /// A handle for spawning from within tasks.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner { queues: Arc::clone(&self.queues) }
    }
}

/// Adds tasks to an [`Executor`] from anywhere.
#[derive(Clone)]
pub struct Spawner {
    queues: Arc<RunQueues>,
}

impl Spawner {
    /// Adds a task that runs on the CPUs of `affinity`.
    pub fn spawn(
        &self,
        affinity: Arc<Affinity>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.queues.spawn(affinity, future);
    }

    /// How many tasks are runnable, the current ones not counted.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.queues.queues.iter().map(|queue| queue.length.load(Relaxed)).sum()
    }

    /// How many tasks are runnable or run on other CPUs than this one.
    #[must_use]
    pub fn active(&self) -> usize {
        let idle = self.queues.idle.load(Relaxed).count_ones() as usize;
        let others = self.queues.queues.len() - 1;
        let yielded = self.queues.of(hal::cpu::current()).yielded.lock().is_some();
        self.runnable() + usize::from(yielded) + others.saturating_sub(idle)
    }

    /// Calls a CPU that has nothing to do if tasks wait for this one, which is about to be busy.
    #[inline]
    pub fn share(&self) {
        self.queues.share();
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
