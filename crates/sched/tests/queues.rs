//! The executor, the wait queue and the futex table, step by step. (`loom.rs` and `loom_executor.rs` have
//! them used at once.)

use base::UserAddr;
use base::sync::SpinLock;
use sched::{Executor, FutexTable, FutexWait, WaitQueue, yield_now};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

const HERE: UserAddr = UserAddr(0x1000);
const THERE: UserAddr = UserAddr(0x2004);

fn wait(table: &Arc<FutexTable>, address: UserAddr) -> FutexWait {
    match table.wait_if(address, 1, || Ok::<_, ()>(())) {
        Ok(wait) => wait,
        Err(()) => unreachable!(),
    }
}

fn is_woken(wait: &mut FutexWait) -> bool {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn who_leaves_knows_whether_a_wake_counted_it() {
    let table = Arc::new(FutexTable::new());
    let (mut first, mut second) = (wait(&table, HERE), wait(&table, HERE));
    assert_eq!(table.wake(HERE, 1, 1), 1);
    assert!(first.leave());
    assert!(!second.leave());
    assert!(!second.leave());
    assert_eq!(table.wake(HERE, 1, 1), 0);
}

#[test]
fn requeueing_wakes_moves_and_checks() {
    let table = Arc::new(FutexTable::new());
    let mut waits: Vec<_> = (0..4).map(|_| wait(&table, HERE)).collect();
    assert_eq!(table.requeue((HERE, 1), (THERE, 2), || Err(())), Err(()));
    assert_eq!(table.requeue((HERE, 1), (THERE, 2), || Ok::<_, ()>(())), Ok((1, 2)));
    assert!(is_woken(&mut waits[0]) && !is_woken(&mut waits[1]));
    assert_eq!(table.wake(THERE, 9, 1), 2);
    assert_eq!(table.wake(HERE, 9, 1), 1);
    assert!(waits.iter_mut().all(is_woken));
}

/// Waits again as soon as it is woken.
struct Insistent {
    queue: Arc<WaitQueue>,
    woken: AtomicUsize,
}

impl Wake for Insistent {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
        core::mem::forget(self.queue.wait());
    }
}

/// What joins while others are woken is not woken with them: that could go on for ever.
#[test]
fn waking_all_ends_though_they_come_back() {
    let queue = Arc::new(WaitQueue::new());
    let insistent = Arc::new(Insistent { queue: Arc::clone(&queue), woken: AtomicUsize::new(0) });
    let mut wait = queue.wait();
    let waker = Waker::from(Arc::clone(&insistent));
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(queue.wake_all(), 1);
    assert_eq!(insistent.woken.load(Ordering::Relaxed), 1);
    assert!(!queue.is_empty());
}

/// A task that yields stands behind what was woken before the next one is picked.
#[test]
fn yielding_lets_woken_tasks_go_first() {
    let executor = Executor::new(1);
    let order = Arc::new(SpinLock::new(Vec::new()));
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
