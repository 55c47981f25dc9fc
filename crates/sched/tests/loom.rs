//! Every interleaving of a few threads over the futex table and the wait queue, by loom: no wake-up
//! is lost, none is counted twice, none is counted for somebody who left.
//!
//! The modules are compiled a second time, from their sources, against loom's locks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

extern crate alloc;
// What the modules know as `base` is this file.
extern crate self as base;

#[path = "../src/futex.rs"]
#[expect(unreachable_pub, reason = "the second copy is a part of this file")]
mod futex;
#[path = "../src/wait.rs"]
#[expect(unreachable_pub, reason = "the second copy is a part of this file")]
mod wait;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use futex::{FutexTable, FutexWait};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Arc;

/// As in the real crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserAddr(pub u64);

#[path = "model/sync.rs"]
pub mod sync;

const HERE: UserAddr = UserAddr(0x1000);
/// Another bucket than that of `HERE`.
const THERE: UserAddr = UserAddr(0x2004);

fn join(table: &Arc<FutexTable>, word: &AtomicU32) -> Option<FutexWait> {
    let is_zero = || if word.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(()) };
    table.wait_if(HERE, 1, is_zero).ok()
}

/// Polls once with a waker of no consequence.
fn is_ready(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

/// Who sets the word and wakes reaches a waiter that saw it unset: else this never ends, which
/// loom reports.
#[test]
fn a_futex_waiter_is_woken() {
    loom::model(|| {
        let (table, word) = (Arc::new(FutexTable::new()), Arc::new(AtomicU32::new(0)));
        let waiter = {
            let (table, word) = (Arc::clone(&table), Arc::clone(&word));
            thread::spawn(move || {
                if let Some(wait) = join(&table, &word) {
                    loom::future::block_on(wait);
                }
                assert_eq!(word.load(Ordering::Relaxed), 1);
            })
        };
        word.store(1, Ordering::Relaxed);
        table.wake(HERE, 1, 1);
        waiter.join().unwrap();
    });
}

/// A wake counts exactly those who then find themselves woken, also when they give up meanwhile.
#[test]
fn a_futex_wake_counts_who_was_woken() {
    loom::model(|| {
        let (table, word) = (Arc::new(FutexTable::new()), AtomicU32::new(0));
        let leavers: Vec<_> = (0..2)
            .map(|_| {
                let mut wait = join(&table, &word).unwrap();
                thread::spawn(move || {
                    let ready = is_ready(&mut wait);
                    let woken = wait.leave();
                    assert!(woken || !ready);
                    usize::from(woken)
                })
            })
            .collect();
        let counted = table.wake(HERE, 1, 1);
        let woken: usize = leavers.into_iter().map(|leaver| leaver.join().unwrap()).sum();
        assert_eq!(counted, woken);
        assert_eq!(table.wake(HERE, 9, 1), 0);
    });
}

/// A waiter that is moved is at every moment at one of the two addresses: who wakes at the first
/// and then at the second reaches it.
#[test]
fn a_moved_futex_waiter_is_never_nowhere() {
    loom::model(|| {
        let (table, word) = (Arc::new(FutexTable::new()), AtomicU32::new(0));
        let mut wait = join(&table, &word).unwrap();
        let mover = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.requeue((HERE, 0), (THERE, 1), || Ok::<_, ()>(())))
        };
        let woken = table.wake(HERE, 1, 1) + table.wake(THERE, 1, 1);
        let (_, moved) = mover.join().unwrap().unwrap();
        assert!(woken == 1 && moved <= 1);
        assert!(is_ready(&mut wait));
    });
}

/// Leaving finds the waiter wherever it was moved to, and nothing stays behind.
#[test]
fn a_futex_waiter_leaves_while_it_is_moved() {
    loom::model(|| {
        let (table, word) = (Arc::new(FutexTable::new()), AtomicU32::new(0));
        let mut wait = join(&table, &word).unwrap();
        let mover = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.requeue((HERE, 0), (THERE, 1), || Ok::<_, ()>(())))
        };
        assert!(!wait.leave());
        mover.join().unwrap().unwrap();
        assert_eq!(table.wake(HERE, 9, 1) + table.wake(THERE, 9, 1), 0);
    });
}

/// Two requeues in opposite directions do not wait for each other, and nobody gets lost.
#[test]
fn futex_waiters_move_both_ways_at_once() {
    loom::model(|| {
        let (table, word) = (Arc::new(FutexTable::new()), AtomicU32::new(0));
        let mut wait = join(&table, &word).unwrap();
        let mover = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.requeue((HERE, 0), (THERE, 1), || Ok::<_, ()>(())))
        };
        table.requeue((THERE, 0), (HERE, 1), || Ok::<_, ()>(())).unwrap();
        mover.join().unwrap().unwrap();
        assert_eq!(table.wake(HERE, 9, 1) + table.wake(THERE, 9, 1), 1);
        assert!(wait.leave());
    });
}

/// The rule of the wait queue: future first, then the condition, then sleep. Two may wake.
#[test]
fn a_wait_queue_loses_no_wake() {
    loom::model(|| {
        let (queue, word) = (Arc::new(wait::WaitQueue::new()), Arc::new(AtomicU32::new(0)));
        let waiter = {
            let (queue, word) = (Arc::clone(&queue), Arc::clone(&word));
            thread::spawn(move || {
                loop {
                    let wait = queue.wait();
                    if word.load(Ordering::Acquire) == 1 {
                        break;
                    }
                    loom::future::block_on(wait);
                }
            })
        };
        queue.wake_all();
        word.store(1, Ordering::Release);
        queue.wake_all();
        waiter.join().unwrap();
        assert!(queue.is_empty());
    });
}

/// Who leaves while all are woken takes nobody's wake-up along.
#[test]
fn leaving_a_wait_queue_costs_nobody_a_wake() {
    loom::model(|| {
        let queue = Arc::new(wait::WaitQueue::new());
        let first = Arc::clone(&queue);
        let leaver = thread::spawn(move || drop(first.wait()));
        let waiter = {
            let queue = Arc::clone(&queue);
            let mut wait = Box::pin(async move { queue.wait().await });
            // Joins the queue before the thread that wakes goes on.
            assert!(!is_ready(&mut wait));
            thread::spawn(move || loom::future::block_on(wait))
        };
        assert!(queue.wake_all() >= 1);
        leaver.join().unwrap();
        waiter.join().unwrap();
    });
}
