//! timerfd_create(2): a timer that one can wait for like a file.

use crate::file::File;
use crate::metadata::{FileType, Metadata};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use base::io::{Sink, Source};
use base::sync::SpinLock;
use base::{Errno, Instant};
use core::any::Any;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use core::time::Duration;
use sched::{Notifier, PollEvents, Sleep, Timers};

/// A setting: when next, and how often after that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimerSetting {
    /// Next expiry. `None`: disarmed.
    pub next: Option<Instant>,
    /// Time between expiries; zero: once.
    pub interval: Duration,
}

#[derive(Default)]
struct State {
    setting: TimerSetting,
    /// Expiries before `setting.next` that nobody has read.
    expired: u64,
    /// It expired and nobody has looked since: it stands still. A short interval would else keep
    /// the machine busy with a timer that nobody reads (timerfd_tmrproc in Linux's
    /// fs/timerfd.c); what expires meanwhile is counted by the next look.
    stands: bool,
    sleep: Option<Sleep>,
}

impl State {
    /// Counts what expired by `now` and moves the next expiry past it.
    fn advance(&mut self, now: Instant) {
        let Some(next) = self.setting.next.filter(|next| *next <= now) else { return };
        let interval = u64::try_from(self.setting.interval.as_nanos()).unwrap_or(u64::MAX);
        let Some(more) = (now - next).as_nanos().checked_div(u128::from(interval)) else {
            self.expired = self.expired.saturating_add(1);
            self.setting.next = None;
            return;
        };
        let count = u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1);
        self.expired = self.expired.saturating_add(count);
        self.setting.next = Some(next + Duration::from_nanos(interval.saturating_mul(count)));
    }
}

/// A timer.
pub struct TimerFd {
    number: u64,
    own: Weak<Self>,
    timers: Arc<Timers>,
    is_wall: bool,
    state: SpinLock<State>,
    notifier: Notifier,
}

/// Tells the timer that its time has come.
struct Alarm {
    timer: Weak<TimerFd>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(timer) = self.timer.upgrade() {
            timer.expire();
        }
    }
}

impl TimerFd {
    /// A disarmed timer on `timers`. `is_wall`: absolute settings are on the wall clock; it is
    /// kept for whoever sets the timer.
    #[must_use]
    pub fn new(timers: &Arc<Timers>, is_wall: bool) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            number: crate::anonymous::next_number(),
            own: own.clone(),
            timers: Arc::clone(timers),
            is_wall,
            state: SpinLock::default(),
            notifier: Notifier::new(),
        })
    }

    /// True when absolute settings are on the wall clock.
    #[must_use]
    pub fn is_wall(&self) -> bool {
        self.is_wall
    }

    /// timerfd_settime(2): returns what was set before.
    pub fn set(&self, setting: TimerSetting, now: Instant) -> TimerSetting {
        let old = {
            let mut state = self.state.lock();
            state.advance(now);
            let old = state.setting;
            state.setting = setting;
            state.expired = 0;
            state.stands = false;
            old
        };
        self.rearm();
        old
    }

    /// timerfd_gettime(2).
    #[must_use]
    pub fn get(&self, now: Instant) -> TimerSetting {
        let (setting, stood) = {
            let mut state = self.state.lock();
            state.advance(now);
            (state.setting, core::mem::take(&mut state.stands))
        };
        if stood {
            self.rearm();
        }
        setting
    }

    fn expire(&self) {
        let stands = {
            let mut state = self.state.lock();
            state.advance(hal::clock::now());
            // Who read just before this counted the expiry, and nobody looks again unless it
            // goes on.
            state.stands = state.expired > 0;
            state.stands
        };
        if !stands {
            self.rearm();
        }
        self.notifier.notify(PollEvents::IN);
    }

    /// Sleeps until the next expiry. Sleeps are entered and dropped without this timer's lock: they
    /// take that of the timer heap.
    fn rearm(&self) {
        loop {
            let next = self.state.lock().setting.next;
            let mut sleep = next.map(|next| self.sleep_until(next));
            let mut state = self.state.lock();
            // Somebody may have set it anew meanwhile, and entered a sleep that must stay.
            let is_current = state.setting.next == next;
            if is_current {
                core::mem::swap(&mut state.sleep, &mut sleep);
            }
            drop(state);
            drop(sleep);
            if is_current {
                return;
            }
        }
    }

    fn sleep_until(&self, next: Instant) -> Sleep {
        let mut sleep = self.timers.sleep_until(next);
        let waker = Waker::from(Arc::new(Alarm { timer: self.own.clone() }));
        // The first poll only enters it into the heap.
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
        sleep
    }

    fn expirations(&self) -> u64 {
        let mut state = self.state.lock();
        state.advance(hal::clock::now());
        state.expired
    }
}

impl File for TimerFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Regular, 0o600, self.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() < 8 {
            return Err(Errno::EINVAL);
        }
        if self.expirations() == 0 {
            return Err(Errno::EAGAIN);
        }
        let (expired, stood) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.expired), core::mem::take(&mut state.stands))
        };
        if stood {
            self.rearm();
        }
        if expired == 0 {
            return Err(Errno::EAGAIN);
        }
        sink.put(&expired.to_le_bytes())
    }

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        if self.expirations() > 0 { PollEvents::IN } else { PollEvents::empty() }
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn describe(&self) -> String {
        String::from("anon_inode:[timerfd]")
    }
}
