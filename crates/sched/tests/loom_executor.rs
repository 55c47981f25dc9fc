//! Interleavings of two or three CPUs over the run queues, by loom: a task that is woken is polled
//! after that, and no CPU sleeps while a task waits for it.
//!
//! The modules are compiled a second time, from their sources, against loom's locks and atomics.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

extern crate alloc;
// What the modules know as `base` and as `hal` is this file.
extern crate self as base;
extern crate self as hal;

#[path = "../src/affinity.rs"]
#[expect(dead_code, unreachable_pub, reason = "the second copy is a part of this file")]
mod affinity;
#[path = "../src/executor.rs"]
#[expect(dead_code, unreachable_pub, reason = "the second copy is a part of this file")]
mod executor;
#[path = "model/sync.rs"]
pub mod sync;

use affinity::Affinity;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use executor::Executor;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Mutex, Notify};
use loom::thread;
use std::sync::{Arc, OnceLock};

/// As in the real crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuId(pub u32);

impl CpuId {
    /// As in the real crate.
    pub const COUNT_MAX: usize = 64;

    /// As in the real crate.
    pub fn bit(self) -> u64 {
        1 << self.0
    }
}

/// As in the real crate: a thread of the model is a CPU.
pub mod cpu {
    use crate::CpuId;
    use loom::sync::Notify;
    use std::cell::Cell;

    loom::thread_local! {
        pub(crate) static SELF: Cell<u32> = Cell::new(0);
    }

    loom::lazy_static! {
        pub(crate) static ref INTERRUPTS: [Notify; 2] = [Notify::new(), Notify::new()];
    }

    /// As in the real crate.
    pub fn current() -> CpuId {
        SELF.with(|cpu| CpuId(cpu.get()))
    }

    /// As in the real crate: an interrupt that waits if the CPU does not.
    pub fn kick(cpu: CpuId) {
        INTERRUPTS[cpu.0 as usize].notify();
    }
}

/// All interleavings with so many places where a thread that could go on does not.
fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// What a CPU does until there are no tasks any more. If it slept for good, loom would say so.
fn run(executor: &Executor, cpu: u32) {
    cpu::SELF.with(|id| id.set(cpu));
    loop {
        while executor.run_one() {}
        if executor.live() == 0 {
            break;
        }
        if executor.prepare_idle() {
            cpu::INTERRUPTS[cpu as usize].wait();
            executor.finish_idle();
        }
    }
    cpu::kick(CpuId(1 - cpu));
}

fn run_on_two(executor: Executor) {
    let executor = Arc::new(executor);
    let other = {
        let executor = Arc::clone(&executor);
        thread::spawn(move || run(&executor, 1))
    };
    run(&executor, 0);
    other.join().unwrap();
    assert_eq!((executor.live(), executor.runnable()), (0, 0));
}

/// A condition, and who waits for it.
struct Flag {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self { set: AtomicBool::new(false), waker: Mutex::new(None) })
    }

    /// Sets it, and wakes who waits.
    fn set(&self) {
        self.set.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap().clone();
        // It has not been polled yet when there is none.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends when it is set; with `yields`, goes to the end of the queue once before it sleeps.
    async fn wait(&self, mut yields: bool) {
        poll_fn(|context| {
            *self.waker.lock().unwrap() = Some(context.waker().clone());
            if self.set.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            if core::mem::take(&mut yields) {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

/// Whoever wakes a task is seen by a poll after that, also when it stands in a queue already or is
/// being polled: what was done before the wake-up is not synchronized by anything else.
#[test]
fn what_comes_before_a_wake_is_seen_by_a_poll() {
    model(3, || {
        let executor = Executor::new(1);
        let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let (waited, shown) = (Arc::clone(&flags), Arc::new(OnceLock::new()));
        let show = Arc::clone(&shown);
        executor.spawn(poll_fn(move |context| {
            show.get_or_init(|| context.waker().clone());
            let set = waited.iter().all(|flag| flag.load(Ordering::Relaxed));
            if set { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert!(executor.run_one());
        let wakers = [0, 1].map(|which| {
            let (flags, waker) = (Arc::clone(&flags), shown.get().unwrap().clone());
            thread::spawn(move || {
                flags[which].store(true, Ordering::Relaxed);
                waker.wake();
            })
        });
        while executor.run_one() {}
        for waker in wakers {
            waker.join().unwrap();
        }
        // The last may have put it in the queue since.
        while executor.run_one() {}
        assert_eq!(executor.live(), 0);
    });
}

/// A CPU that sleeps is called by the CPU that wakes a task and then does something long.
#[test]
fn who_is_busy_calls_a_cpu_that_sleeps() {
    model(2, || {
        let executor = Executor::new(2);
        let spawner = executor.spawner();
        let done = Arc::new(Notify::new());
        executor.spawn(async move {
            let told = Arc::clone(&done);
            spawner.spawn(Arc::default(), async move { told.notify() });
            spawner.share();
            // In the program, as it were, until the other CPU has run the other task.
            done.wait();
        });
        run_on_two(executor);
    });
}

/// A task that may run on one CPU only is run there, whoever wakes it and whatever that CPU does.
#[test]
fn a_bound_task_reaches_its_cpu() {
    model(2, || {
        let executor = Executor::new(2);
        let flag = Flag::new();
        let (bound, waited) = (Affinity::default(), Arc::clone(&flag));
        assert!(bound.set(CpuId(1).bit()));
        let ran_on = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&ran_on);
        executor.spawner().spawn(Arc::new(bound), async move {
            waited.wait(false).await;
            log.lock().unwrap().push(cpu::current());
        });
        executor.spawn(async move { flag.set() });
        run_on_two(executor);
        assert_eq!(*ran_on.lock().unwrap(), [CpuId(1)]);
    });
}

/// Two tasks that wake each other in turn, on two CPUs that sleep whenever they can.
#[test]
fn tasks_that_wake_each_other_come_to_an_end() {
    model(2, || {
        let executor = Executor::new(2);
        let (there, back) = (Flag::new(), Flag::new());
        let (first, last) = (Arc::clone(&there), Arc::clone(&back));
        executor.spawn(async move {
            first.wait(true).await;
            last.set();
        });
        executor.spawn(async move {
            there.set();
            back.wait(true).await;
        });
        run_on_two(executor);
    });
}
