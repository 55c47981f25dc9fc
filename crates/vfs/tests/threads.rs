//! What holds while several CPUs work on the same files at once: here, host threads.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::io::SliceSource;
use base::{Fd, Instant};
use core::task::{Context, Waker};
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vfs::epoll::{Epoll, Interest, flag};
use vfs::eventfd::EventFd;
use vfs::flags::RenameFlags;
use vfs::timerfd::{TimerFd, TimerSetting};
use vfs::{File, OpenFile, OpenFlags, Vfs};

const ROUNDS: usize = 3000;
const READABLE: u32 = 1;

fn tree() -> Arc<Vfs> {
    let empty = bundle::Writer::new().finish();
    let archive = bundle::Archive::new(Box::leak(empty.into_boxed_slice()));
    Vfs::new(vfs::archive::root_of(&archive).unwrap())
}

/// Runs `step` over and over beside the rounds of `other`.
fn beside(mut step: impl FnMut() + Send, mut other: impl FnMut(usize) + Send) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            (0..ROUNDS).for_each(&mut other);
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) && !others.is_finished() {
            step();
        }
    });
}

/// rename(2): there is no moment at which the new name is missing.
#[test]
fn a_replaced_name_is_always_there() {
    let vfs = tree();
    let at = || vfs.at_root();
    for path in ["/one", "/other"] {
        vfs.mkdir(at(), path.as_bytes(), 0o755).unwrap();
    }
    let create = OpenFlags::CREAT | OpenFlags::WRONLY;
    vfs.open(at(), b"/other/file", create, 0o644).unwrap();
    beside(
        || drop(vfs.resolve(at(), b"/other/file", true).unwrap()),
        |_| {
            vfs.open(at(), b"/one/new", create, 0o644).unwrap();
            vfs.rename(at(), b"/one/new", at(), b"/other/file", RenameFlags::empty()).unwrap();
        },
    );
}

/// Two directories are locked in one order whichever way names move.
#[test]
fn names_move_both_ways_at_once() {
    let vfs = tree();
    let at = || vfs.at_root();
    for path in ["/one", "/other", "/one/a", "/other/b"] {
        vfs.mkdir(at(), path.as_bytes(), 0o755).unwrap();
    }
    let rename = |from: &str, to: &str| {
        vfs.rename(at(), from.as_bytes(), at(), to.as_bytes(), RenameFlags::empty()).unwrap();
    };
    let there_and_back = |from: &str, to: &str| {
        rename(from, to);
        rename(to, from);
    };
    beside(|| there_and_back("/one/a", "/other/a"), |_| there_and_back("/other/b", "/one/b"));
}

fn counter(value: u32) -> Arc<OpenFile> {
    OpenFile::new(EventFd::new(value, false), OpenFlags::RDWR)
}

/// A file that stays ready is seen by everybody who asks, whoever else asks at that moment.
#[test]
fn a_ready_file_is_ready_for_all() {
    let epoll = Epoll::new();
    let file = counter(1);
    epoll.add(Fd(1), &file, Interest { events: READABLE, data: 7 }).unwrap();
    let found = |epoll: &Epoll| epoll.collect(8, &mut |_, _| true).unwrap();
    beside(|| assert_eq!(found(&epoll), 1), |_| assert!(!epoll.poll().is_empty()));
    assert_eq!(found(&epoll), 1);
}

/// EPOLLONESHOT: however many wait and however many edges come, one event until it is armed anew.
#[test]
fn a_oneshot_event_is_given_out_once() {
    let epoll = Epoll::new();
    let file = counter(0);
    let interest = Interest { events: READABLE | flag::ONESHOT, data: 7 };
    epoll.add(Fd(1), &file, interest).unwrap();
    let seen = AtomicUsize::new(0);
    let collect = || {
        let count = epoll.collect(8, &mut |_, _| true).unwrap();
        seen.fetch_add(count, Ordering::Relaxed);
    };
    beside(collect, |_| {
        file.write(&mut SliceSource::new(&1_u64.to_le_bytes())).unwrap();
        collect();
    });
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// EPOLLEXCLUSIVE: of those instances one is told that somebody waits for; others as ever.
#[test]
fn one_of_the_exclusive_instances_wakes() {
    let file = counter(0);
    let exclusive = READABLE | flag::EXCLUSIVE;
    let instances = [exclusive, exclusive, READABLE, exclusive].map(|events| {
        let epoll = Epoll::new();
        epoll.add(Fd(1), &file, Interest { events, data: 7 }).unwrap();
        epoll
    });
    let mut context = Context::from_waker(Waker::noop());
    let [_, waits @ ..] = instances.each_ref().map(|epoll| Box::pin(epoll.wait()));
    let mut waits = waits.map(|mut wait| {
        assert!(wait.as_mut().poll(&mut context).is_pending());
        wait
    });
    let mut write = || {
        file.write(&mut SliceSource::new(&1_u64.to_le_bytes())).unwrap();
        waits.each_mut().map(|wait| wait.as_mut().poll(&mut context).is_ready())
    };
    // Nobody waits for the first.
    assert_eq!(write(), [true, true, false]);
    let found = instances.each_ref().map(|epoll| epoll.collect(8, &mut |_, _| true).unwrap());
    assert_eq!(found, [1, 1, 1, 0]);
}

/// Instances never watch each other in a circle, also when two threads try to close one.
#[test]
fn no_circle_is_closed_by_two() {
    for _ in 0..ROUNDS / 10 {
        let instances = [Epoll::new(), Epoll::new()];
        let files =
            instances.each_ref().map(|epoll| OpenFile::new(epoll.clone(), OpenFlags::empty()));
        let interest = Interest { events: READABLE, data: 0 };
        let [one, other] = std::thread::scope(|scope| {
            let adds = [(0, 1), (1, 0)].map(|(outer, inner): (usize, usize)| {
                let (outer, inner) = (&instances[outer], &files[inner]);
                scope.spawn(move || outer.add(Fd(3), inner, interest))
            });
            adds.map(|thread| thread.join().unwrap())
        });
        assert!(one.is_ok() != other.is_ok());
    }
}

/// Of two settings made at once the last one counts, and its expiry is waited for.
#[test]
fn a_timer_set_by_two_sleeps_until_the_last_setting() {
    let timers = sched::Timers::new(1);
    let timer = TimerFd::new(&timers, false);
    let at = |second: u64| TimerSetting {
        next: Some(Instant::from_nanoseconds(second * 1_000_000_000)),
        interval: Duration::ZERO,
    };
    for round in 0..ROUNDS as u64 {
        std::thread::scope(|scope| {
            scope.spawn(|| timer.set(at(1000 + round), Instant::ZERO));
            timer.set(at(9000 - round), Instant::ZERO);
        });
        let setting = timer.get(Instant::ZERO);
        assert_eq!(timers.next(), setting.next);
    }
}
