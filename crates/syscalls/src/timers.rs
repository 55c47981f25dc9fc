//! System calls about the process's timers: setitimer, alarm, timer_create and kin.

use crate::call::{Call, Outcome};
use crate::signal::SIGALRM;
use crate::table::{Row, full};
use crate::time::{self, CLOCKS, Clock};
use crate::timer::{Counts, Interval, Notice, PosixNotice, Setting, Timer};
use crate::trace::Argument::{Flags, Hex, Int, Name};
use abi::number as nr;
use abi::time::{Timespec, Timeval};
use alloc::sync::Arc;
use base::{Errno, Instant, Signal, Tid};
use core::time::Duration;
use hal::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const INTERVALS: &[(u64, &str)] = &[(0, "ITIMER_REAL"), (1, "ITIMER_VIRTUAL"), (2, "ITIMER_PROF")];

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::GETITIMER, "getitimer", &[Name(INTERVALS), Hex], |call| getitimer(call).into()),
    full(nr::SETITIMER, "setitimer", &[Name(INTERVALS), Hex, Hex], |call| setitimer(call).into()),
    full(nr::ALARM, "alarm", &[Int], alarm),
    full(nr::TIMER_CREATE, "timer_create", &[Name(CLOCKS), Hex, Hex], |call| {
        timer_create(call).into()
    }),
    full(
        nr::TIMER_SETTIME,
        "timer_settime",
        &[Int, Flags(&[(1, "TIMER_ABSTIME")]), Hex, Hex],
        |call| timer_settime(call).into(),
    ),
    full(nr::TIMER_GETTIME, "timer_gettime", &[Int, Hex], |call| timer_gettime(call).into()),
    full(nr::TIMER_GETOVERRUN, "timer_getoverrun", &[Int], |call| {
        let timer = call.process().timers.get(call.int(0));
        timer.map(|timer| timer.overrun() as usize).into()
    }),
    full(nr::TIMER_DELETE, "timer_delete", &[Int], |call| timer_delete(call).into()),
];

/// What is left until the next expiry. An armed timer never shows zero: that means disarmed.
fn left(timer: &Timer, setting: Setting, now: Instant) -> Duration {
    let left = |next: Instant| (next - timer.clock(now)).max(Duration::from_nanos(1));
    setting.next.map_or(Duration::ZERO, left)
}

fn which_interval(call: &Call<'_>) -> Result<Interval, Errno> {
    match call.int(0) {
        0 => Ok(Interval::Real),
        1 => Ok(Interval::Virtual),
        2 => Ok(Interval::Profile),
        _ => Err(Errno::EINVAL),
    }
}

/// `struct itimerval`: interval, then value.
fn write_interval(
    call: &Call<'_>,
    index: usize,
    timer: &Timer,
    setting: Setting,
    now: Instant,
) -> Result<usize, Errno> {
    // Microseconds, rounded up for the same reason.
    let left = left(timer, setting, now) + Duration::from_nanos(999);
    let both = [Timeval::from(setting.interval), Timeval::from(left)];
    call.memory().write(call.address(index), &both).map(|()| 0)
}

fn getitimer(call: &Call<'_>) -> Result<usize, Errno> {
    let timer = call.process().timers.interval(which_interval(call)?);
    let now = clock::now();
    write_interval(call, 1, timer, timer.get(now), now)
}

fn setitimer(call: &Call<'_>) -> Result<usize, Errno> {
    let which = which_interval(call);
    let new = if call.address(1).is_null() {
        [Timeval::default(); 2]
    } else {
        call.memory().read::<[Timeval; 2]>(call.address(1))?
    };
    let [interval, value] = [new[0].duration()?, new[1].duration()?];
    let timer = call.process().timers.interval(which?);
    let now = clock::now();
    let next = (!value.is_zero()).then(|| timer.clock(now) + value);
    let old = timer.set(Setting { next, interval }, now);
    if call.address(2).is_null() { Ok(0) } else { write_interval(call, 2, timer, old, now) }
}

fn alarm(call: &mut Call<'_>) -> Outcome {
    let timer = call.process().timers.interval(Interval::Real);
    let now = clock::now();
    let seconds = u64::from(call.unsigned(0));
    let next = (seconds != 0).then(|| now + Duration::from_secs(seconds));
    let old = timer.set(Setting { next, interval: Duration::ZERO }, now);
    // Rounded to the nearest second, but never to zero while it was armed.
    let left = left(timer, old, now);
    let rounded = (left + Duration::from_millis(500)).as_secs() as usize;
    Ok(if left.is_zero() { 0 } else { rounded.max(1) }).into()
}

/// `struct sigevent`, as far as the kernel looks at it (64 bytes).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SignalEvent {
    value: u64,
    signal: i32,
    notify: i32,
    thread: i32,
    padding: [u32; 11],
}

/// What a timer on the clock with number `id` counts.
fn counts(call: &Call<'_>, id: i32) -> Result<Counts, Errno> {
    let clock = time::decode_clock(call, id)?;
    Ok(match clock {
        // Linux has no timers on the raw and the coarse clocks.
        _ if matches!(id, 4..=6) => return Err(Errno::EOPNOTSUPP),
        Clock::Wall => Counts::Time { is_wall: true },
        Clock::Monotonic => Counts::Time { is_wall: false },
        Clock::ProcessTime => Counts::ProcessTime,
        Clock::ThreadTime(thread) => Counts::ThreadTime(Arc::downgrade(&thread)),
    })
}

/// The notice of timer `id` (sigevent(3type)).
fn notice(call: &Call<'_>, id: i32, event: Option<SignalEvent>) -> Result<Notice, Errno> {
    const SIGEV_SIGNAL: i32 = 0;
    const SIGEV_NONE: i32 = 1;
    const SIGEV_THREAD: i32 = 2;
    const SIGEV_THREAD_ID: i32 = 4;
    let Some(event) = event else {
        let value = u64::from(id.cast_unsigned());
        return Ok(Notice::Posix(PosixNotice { id, signal: SIGALRM, value, thread: None }));
    };
    let thread = match event.notify {
        SIGEV_NONE => return Ok(Notice::Nothing),
        SIGEV_SIGNAL | SIGEV_THREAD => None,
        SIGEV_THREAD_ID => {
            let thread = call.process().thread(Tid(event.thread.cast_unsigned()));
            Some(Arc::downgrade(&thread.ok_or(Errno::EINVAL)?))
        }
        _ => return Err(Errno::EINVAL),
    };
    let signal = match event.signal {
        number @ 1..=64 => Signal(number as u8),
        _ => return Err(Errno::EINVAL),
    };
    Ok(Notice::Posix(PosixNotice { id, signal, value: event.value, thread }))
}

fn timer_create(call: &Call<'_>) -> Result<usize, Errno> {
    let counts = counts(call, call.int(0))?;
    let event = match call.address(1) {
        at if at.is_null() => None,
        at => Some(call.memory().read::<SignalEvent>(at)?),
    };
    // Everything that can be refused, before a number is taken.
    notice(call, 0, event)?;
    let limit = call.process().limits.lock().signals();
    if call.process().counted_signals() >= limit {
        return Err(Errno::EAGAIN);
    }
    let process = Arc::downgrade(call.process());
    let id = call.process().timers.insert(|id| {
        let notice = notice(call, id, event).unwrap_or(Notice::Nothing);
        Timer::new(&process, counts, notice)
    })?;
    if let Err(errno) = call.memory().write(call.address(2), &id) {
        call.process().timers.remove(id)?;
        return Err(errno);
    }
    Ok(0)
}

fn write_setting(
    call: &Call<'_>,
    index: usize,
    timer: &Timer,
    setting: Setting,
    now: Instant,
) -> Result<usize, Errno> {
    let both = [Timespec::from(setting.interval), Timespec::from(left(timer, setting, now))];
    call.memory().write(call.address(index), &both).map(|()| 0)
}

fn timer_settime(call: &Call<'_>) -> Result<usize, Errno> {
    const TIMER_ABSTIME: i32 = 1;
    if call.address(2).is_null() {
        return Err(Errno::EINVAL);
    }
    let [interval, value] = call.memory().read::<[Timespec; 2]>(call.address(2))?;
    let (interval, value) = (interval.duration()?, value.duration()?);
    let timer = call.process().timers.get(call.int(0))?;
    let now = clock::now();
    let next = match timer.counts() {
        _ if value.is_zero() => None,
        _ if call.int(1) & TIMER_ABSTIME == 0 => Some(timer.clock(now) + value),
        Counts::Time { is_wall: true } => {
            let wall = Duration::from_nanos(clock::wall(now).nanoseconds);
            Some(now + value.saturating_sub(wall))
        }
        _ => Some(Instant::ZERO + value),
    };
    let old = timer.set(Setting { next, interval }, now);
    if call.address(3).is_null() { Ok(0) } else { write_setting(call, 3, &timer, old, now) }
}

fn timer_gettime(call: &Call<'_>) -> Result<usize, Errno> {
    let timer = call.process().timers.get(call.int(0))?;
    let now = clock::now();
    write_setting(call, 1, &timer, timer.get(now), now)
}

fn timer_delete(call: &Call<'_>) -> Result<usize, Errno> {
    let timer = call.process().timers.remove(call.int(0))?;
    timer.set(Setting::default(), clock::now());
    Ok(0)
}
