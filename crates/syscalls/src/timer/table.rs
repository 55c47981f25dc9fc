//! The timers that a process has.

use super::{Counts, Notice, Setting, Timer};
use crate::process::Process;
use crate::signal::{SIGALRM, SIGPROF, SIGVTALRM};
use crate::thread::Thread;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::sync::{Rank, SpinLock};
use base::{Errno, Instant};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// Most timers of timer_create(2), whatever RLIMIT_SIGPENDING allows: more are `EAGAIN`.
const TIMERS_MAX: usize = 16_384;

/// The timers of setitimer(2), by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interval {
    Real = 0,
    Virtual = 1,
    Profile = 2,
}

/// All timers of a process.
pub(crate) struct ProcessTimers {
    intervals: [Arc<Timer>; 3],
    /// RLIMIT_CPU.
    limit: Arc<Timer>,
    posix: SpinLock<Posix>,
    /// Armed timers that count running time.
    running: SpinLock<Vec<Arc<Timer>>>,
    has_running: AtomicBool,
}

#[derive(Default)]
struct Posix {
    /// By their numbers, ascending.
    timers: Vec<(i32, Arc<Timer>)>,
    next: i32,
}

impl Posix {
    /// Where the timer of this number is, or would be.
    fn find(&self, id: i32) -> Result<usize, usize> {
        self.timers.binary_search_by_key(&id, |row| row.0)
    }
}

impl ProcessTimers {
    pub(crate) fn new(process: &Weak<Process>) -> Self {
        let timer = |counts, signal| Timer::new(process, counts, Notice::Interval(signal));
        Self {
            intervals: [
                timer(Counts::Time { is_wall: false }, SIGALRM),
                timer(Counts::UserTime, SIGVTALRM),
                timer(Counts::ProcessTime, SIGPROF),
            ],
            limit: Timer::new(process, Counts::ProcessTime, Notice::Limit),
            posix: SpinLock::ranked(Rank::Timers, Posix::default()),
            running: SpinLock::default(),
            has_running: AtomicBool::new(false),
        }
    }

    /// A timer of setitimer(2).
    pub(crate) fn interval(&self, which: Interval) -> &Arc<Timer> {
        let [real, virtual_time, profile] = &self.intervals;
        match which {
            Interval::Real => real,
            Interval::Virtual => virtual_time,
            Interval::Profile => profile,
        }
    }

    /// RLIMIT_CPU is now so many seconds: when the process has run so long, and every second from then
    /// on, [`Process::running_limit_reached`] says what happens.
    pub(crate) fn limit_running_time(&self, seconds: u64) {
        let at = Instant::ZERO + Duration::from_secs(seconds);
        let next = (seconds != u64::MAX).then_some(at);
        self.limit.set(Setting { next, interval: Duration::from_secs(1) }, hal::clock::now());
    }

    /// Takes the next free number for the timer that `make` builds.
    ///
    /// # Errors
    /// `EAGAIN`: there are too many.
    pub(crate) fn insert(&self, make: impl FnOnce(i32) -> Arc<Timer>) -> Result<i32, Errno> {
        let mut posix = self.posix.lock();
        if posix.timers.len() >= TIMERS_MAX {
            return Err(Errno::EAGAIN);
        }
        // Numbers come back only after all others were used: an old one names no new timer.
        let mut id = posix.next;
        let at = loop {
            match posix.find(id) {
                Err(at) => break at,
                Ok(_) => id = id.checked_add(1).unwrap_or(0),
            }
        };
        posix.next = id.checked_add(1).unwrap_or(0);
        posix.timers.insert(at, (id, make(id)));
        Ok(id)
    }

    /// How many there are of timer_create(2).
    pub(crate) fn count(&self) -> usize {
        self.posix.lock().timers.len()
    }

    /// A timer of timer_create(2).
    ///
    /// # Errors
    /// `EINVAL`: there is none of this number.
    pub(crate) fn get(&self, id: i32) -> Result<Arc<Timer>, Errno> {
        let posix = self.posix.lock();
        let at = posix.find(id).map_err(|_| Errno::EINVAL)?;
        posix.timers.get(at).map(|row| Arc::clone(&row.1)).ok_or(Errno::EINVAL)
    }

    /// Takes a timer of timer_create(2) out.
    ///
    /// # Errors
    /// `EINVAL`: there is none of this number.
    pub(crate) fn remove(&self, id: i32) -> Result<Arc<Timer>, Errno> {
        let mut posix = self.posix.lock();
        let at = posix.find(id).map_err(|_| Errno::EINVAL)?;
        Ok(posix.timers.remove(at).1)
    }

    /// Has the timer looked at on every turn, or no longer.
    pub(super) fn watch_running_time(&self, timer: &Arc<Timer>, watch: bool) {
        let mut running = self.running.lock();
        let at = running.iter().position(|other| Arc::ptr_eq(other, timer));
        match (at, watch) {
            (None, true) => running.push(Arc::clone(timer)),
            (Some(at), false) => {
                running.swap_remove(at);
            }
            _ => {}
        }
        self.has_running.store(!running.is_empty(), Ordering::Relaxed);
    }

    /// The turn of `thread` begins: what is due on a clock of running time acts, and the turn
    /// ends when the next will be.
    pub(crate) fn turn(&self, thread: &Arc<Thread>, now: Instant) {
        if !self.has_running.load(Ordering::Relaxed) {
            return;
        }
        let concerned: Vec<Arc<Timer>> = {
            let running = self.running.lock();
            running.iter().filter(|timer| concerns(timer, thread)).cloned().collect()
        };
        for timer in concerned {
            timer.expire(now, Some(thread));
            if let (Some(due), _) = timer.due(now) {
                thread.process.machine.shorten_turn(due);
            }
        }
    }
}

/// True when the timer counts what `thread` runs.
fn concerns(timer: &Timer, thread: &Arc<Thread>) -> bool {
    match timer.counts() {
        Counts::ThreadTime(of) => core::ptr::eq(of.as_ptr(), Arc::as_ptr(thread)),
        _ => true,
    }
}
