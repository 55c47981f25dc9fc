//! Timers of the process: setitimer(2), timer_create(2), and sleeping on a clock of running time.
//!
//! A timer on the wall or the monotonic clock sleeps in the machine's timers. One that counts
//! running time stands in a list that is looked at when a thread's turn begins, and shortens the
//! turn so that it ends when the timer is due.

mod running;
mod table;

pub(crate) use running::RunningTime;
pub(crate) use table::{Interval, ProcessTimers};

use crate::accounting::TICK;
use crate::process::Process;
use crate::signal::{Origin, SignalInfo, code};
use crate::thread::Thread;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use base::sync::SpinLock;
use base::{Instant, Signal};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use core::time::Duration;
use sched::{Sleep, WaitQueue};

/// A timer whose signal is ignored comes back after this time at the earliest (Linux: a tick).
const IGNORED_PAUSE: Duration = Duration::from_millis(4);

/// Nothing is woken by a periodic timer more often than this, however short its interval: the
/// expiries between are overrun, and the program gets on.
const SHORTEST_PERIOD: Duration = Duration::from_micros(50);

/// What a timer counts.
pub(crate) enum Counts {
    /// Time, on the monotonic clock.
    Time {
        /// Absolute settings are on the wall clock.
        is_wall: bool,
    },
    /// Running time of all threads.
    ProcessTime,
    /// What of it was not in the kernel.
    UserTime,
    /// Running time of this thread.
    ThreadTime(Weak<Thread>),
}

/// What a timer does when it expires.
pub(crate) enum Notice {
    /// Nothing: it is only read (`SIGEV_NONE`).
    Nothing,
    /// setitimer(2): this signal, from the kernel.
    Interval(Signal),
    /// timer_create(2).
    Posix(PosixNotice),
    /// The process has run as long as RLIMIT_CPU allows.
    Limit,
    /// Wakes who sleeps here.
    Wake(Arc<WaitQueue>),
}

/// `struct sigevent`, decoded.
pub(crate) struct PosixNotice {
    /// The timer's number.
    pub(crate) id: i32,
    /// Which signal.
    pub(crate) signal: Signal,
    /// `si_value`.
    pub(crate) value: u64,
    /// `SIGEV_THREAD_ID`: the only receiver.
    pub(crate) thread: Option<Weak<Thread>>,
}

/// When a timer expires. The instants of a timer that counts running time are points on that
/// clock: so long after zero running time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Setting {
    /// Next expiry; `None`: disarmed.
    pub(crate) next: Option<Instant>,
    /// Time between expiries; zero: once.
    pub(crate) interval: Duration,
}

impl Setting {
    /// Moves the expiry, which has passed, beyond `now`; a timer without interval is disarmed.
    /// Returns how many expiries were passed over besides the first.
    fn forward(&mut self, now: Instant) -> u64 {
        let Some(next) = self.next.filter(|next| *next <= now) else { return 0 };
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let Some(missed) = (now - next).as_nanos().checked_div(u128::from(interval)) else {
            self.next = None;
            return 0;
        };
        let missed = u64::try_from(missed).unwrap_or(u64::MAX);
        let step = interval.saturating_mul(missed.saturating_add(1));
        self.next = Some(next + Duration::from_nanos(step));
        missed
    }
}

#[derive(Default)]
struct State {
    setting: Setting,
    /// A POSIX timer's signal is pending. The timer stands still until it is delivered: expiries
    /// of that time are the overrun.
    is_queued: bool,
    /// Overrun of the last delivery.
    overrun: u32,
    /// Counts changes of what is above, so that [`Timer::rearm`] notices one by another CPU.
    version: u64,
    sleep: Option<Sleep>,
}

/// A timer.
pub(crate) struct Timer {
    own: Weak<Self>,
    process: Weak<Process>,
    counts: Counts,
    notice: Notice,
    state: SpinLock<State>,
}

/// Tells the timer that its time has come.
struct Alarm(Weak<Timer>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(timer) = self.0.upgrade() {
            timer.expire(hal::clock::now(), None);
        }
    }
}

impl Timer {
    pub(crate) fn new(process: &Weak<Process>, counts: Counts, notice: Notice) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            process: process.clone(),
            counts,
            notice,
            state: SpinLock::default(),
        })
    }

    /// What it counts.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The timer's own clock when the monotonic one shows `now`.
    pub(crate) fn clock(&self, now: Instant) -> Instant {
        let ran = match &self.counts {
            Counts::Time { .. } => return now,
            Counts::ProcessTime => self.process.upgrade().map(|process| process.running_time(now)),
            Counts::UserTime => self.process.upgrade().map(|process| {
                let (_, times) = process.usage(None);
                Duration::from_nanos(times.user)
            }),
            Counts::ThreadTime(thread) => {
                thread.upgrade().map(|thread| Duration::from_nanos(thread.running.at(now)))
            }
        };
        Instant::ZERO + ran.unwrap_or_default()
    }

    /// Sets it; returns what was set before. A signal that is on its way is taken back.
    pub(crate) fn set(&self, setting: Setting, now: Instant) -> Setting {
        if let (Notice::Posix(posix), Some(process)) = (&self.notice, self.process.upgrade()) {
            process.discard_timer_signals(posix.id);
        }
        let old = {
            let mut state = self.state.lock();
            let old = core::mem::replace(&mut state.setting, setting);
            state.is_queued = false;
            state.overrun = 0;
            state.version += 1;
            old
        };
        self.rearm(now);
        self.advanced(old, now)
    }

    /// When it expires next.
    pub(crate) fn get(&self, now: Instant) -> Setting {
        let setting = self.state.lock().setting;
        self.advanced(setting, now)
    }

    /// A setting whose expiry may have passed without anybody taking note.
    fn advanced(&self, mut setting: Setting, now: Instant) -> Setting {
        setting.forward(self.clock(now));
        setting
    }

    /// Overrun of the last delivery (timer_getoverrun(2)).
    pub(crate) fn overrun(&self) -> u32 {
        self.state.lock().overrun
    }

    /// When to look at it again, on the monotonic clock (if the threads that it counts run all the
    /// time); `None`: disarmed, or its signal has not been taken yet. And the version of the state
    /// that says so.
    fn due(&self, now: Instant) -> (Option<Instant>, u64) {
        let (setting, version) = {
            let state = self.state.lock();
            let next = state.setting.next.filter(|_| !state.is_queued);
            (Setting { next, ..state.setting }, state.version)
        };
        let shortest = match self.counts {
            // It may stand still while the threads run: what it counts is known from tick to tick.
            Counts::UserTime => TICK,
            _ if setting.interval.is_zero() => Duration::ZERO,
            _ => SHORTEST_PERIOD,
        };
        let due = setting.next.map(|next| now + (next - self.clock(now)).max(shortest));
        (due, version)
    }

    /// Acts if it is due. `runner` is the thread whose turn it is: the first choice for a signal
    /// to the process, since it is what a profiler wants to look at.
    fn expire(&self, now: Instant, runner: Option<&Arc<Thread>>) {
        let clock = self.clock(now);
        {
            let mut state = self.state.lock();
            let is_due = state.setting.next.is_some_and(|next| next <= clock);
            if !is_due || state.is_queued {
                return;
            }
            state.version += 1;
            match self.notice {
                // The expiry stays where it is until delivery, which counts from it.
                Notice::Posix(_) => state.is_queued = true,
                _ => {
                    state.setting.forward(clock);
                }
            }
        }
        if !self.notify(runner) {
            let mut state = self.state.lock();
            state.is_queued = false;
            state.version += 1;
            state.setting.forward(clock);
            let earliest = clock + IGNORED_PAUSE;
            state.setting.next = state.setting.next.map(|next| next.max(earliest));
        }
        self.rearm(now);
    }

    /// `false`: the signal is ignored, or there is nobody to take it.
    fn notify(&self, runner: Option<&Arc<Thread>>) -> bool {
        let Some(process) = self.process.upgrade() else { return true };
        match &self.notice {
            Notice::Nothing => true,
            Notice::Wake(sleepers) => {
                sleepers.wake_all();
                true
            }
            Notice::Interval(signal) => {
                process.send_signal_near(SignalInfo::from_kernel(*signal), runner) == Ok(true)
            }
            Notice::Limit => {
                process.running_limit_reached(runner);
                true
            }
            Notice::Posix(notice) => {
                let origin = Origin::Timer { id: notice.id, overrun: 0, value: notice.value };
                let info = SignalInfo { signal: notice.signal, code: code::SI_TIMER, origin };
                match &notice.thread {
                    None => process.send_signal_near(info, runner) == Ok(true),
                    Some(thread) => {
                        thread.upgrade().is_some_and(|thread| thread.queue(info) == Ok(true))
                    }
                }
            }
        }
    }

    /// Its signal is delivered: the timer goes on. Returns the overrun.
    pub(crate) fn delivered(&self, now: Instant) -> u32 {
        /// `DELAYTIMER_MAX` of Linux.
        const OVERRUN_MAX: u64 = i32::MAX as u64;
        let clock = self.clock(now);
        let overrun = {
            let mut state = self.state.lock();
            state.is_queued = false;
            state.version += 1;
            let overrun = state.setting.forward(clock).min(OVERRUN_MAX) as u32;
            state.overrun = overrun;
            overrun
        };
        self.rearm(now);
        overrun
    }

    /// Enters the next expiry where it is waited for.
    fn rearm(&self, now: Instant) {
        let (Some(process), Some(own)) = (self.process.upgrade(), self.own.upgrade()) else {
            return;
        };
        if matches!(self.counts, Counts::Time { .. }) {
            while !self.try_rearm(&process, now) {}
            return;
        }
        loop {
            let (is_armed, version) = {
                let state = self.state.lock();
                (state.setting.next.is_some(), state.version)
            };
            process.timers.watch_running_time(&own, is_armed);
            if self.state.lock().version == version {
                break;
            }
        }
        if let (Some(due), _) = self.due(now) {
            process.machine.shorten_turn(due);
        }
    }

    /// `false`: the state changed meanwhile. What another CPU entered for a newer state must not
    /// be replaced by what this one made of an older one.
    fn try_rearm(&self, process: &Process, now: Instant) -> bool {
        let (due, version) = self.due(now);
        let sleep = due.filter(|_| !matches!(self.notice, Notice::Nothing)).map(|due| {
            let mut sleep = process.machine.timers.sleep_until(due);
            let waker = Waker::from(Arc::new(Alarm(self.own.clone())));
            // The first poll only enters it into the heap.
            let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
            sleep
        });
        let mut state = self.state.lock();
        if state.version != version {
            drop(state);
            drop(sleep);
            return false;
        }
        let old = core::mem::replace(&mut state.sleep, sleep);
        // Dropped without this timer's lock: that takes the lock of the machine's timers.
        drop(state);
        drop(old);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(next: u64, interval: u64) -> Setting {
        let next = Some(Instant::from_nanoseconds(next));
        Setting { next, interval: Duration::from_nanos(interval) }
    }

    #[test]
    fn expiries_that_passed_are_counted() {
        let now = Instant::from_nanoseconds(1000);
        let mut once = setting(900, 0);
        assert_eq!(once.forward(now), 0);
        assert_eq!(once.next, None);
        let mut periodic = setting(700, 100);
        assert_eq!(periodic.forward(now), 3);
        assert_eq!(periodic, setting(1100, 100));
        assert_eq!(periodic.forward(now), 0);
        assert_eq!(periodic, setting(1100, 100));
    }

    #[test]
    fn no_setting_overflows() {
        let now = Instant::from_nanoseconds(u64::MAX - 1);
        let mut smallest = setting(1, 1);
        assert_eq!(smallest.forward(now), u64::MAX - 2);
        assert_eq!(smallest.next, Some(Instant::from_nanoseconds(u64::MAX)));
        let mut longest = Setting { next: Some(Instant::ZERO), interval: Duration::MAX };
        assert_eq!(longest.forward(now), 0);
        assert_eq!(longest.next, Some(Instant::FAR));
    }
}
