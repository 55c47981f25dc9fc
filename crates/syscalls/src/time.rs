//! System calls about time.

use crate::accounting::Counter;
use crate::call::{Call, Failure, Outcome, Restart};
use crate::process::PROCESS_ID;
use crate::table::{Row, full, partial};
use crate::thread::Thread;
use crate::timer::{Counts, Notice, Setting, Timer};
use crate::trace::Argument::{Flags, Hex, Int, Name, Timespec as TimespecArg};
use abi::number as nr;
use abi::time::{Timespec, Timeval};
use alloc::sync::Arc;
use base::{Errno, Instant, Tid, UserAddr};
use core::time::Duration;
use hal::clock;
use sched::WaitQueue;

pub(crate) const CLOCKS: &[(u64, &str)] = &[
    (0, "CLOCK_REALTIME"),
    (1, "CLOCK_MONOTONIC"),
    (2, "CLOCK_PROCESS_CPUTIME_ID"),
    (3, "CLOCK_THREAD_CPUTIME_ID"),
    (4, "CLOCK_MONOTONIC_RAW"),
    (5, "CLOCK_REALTIME_COARSE"),
    (6, "CLOCK_MONOTONIC_COARSE"),
    (7, "CLOCK_BOOTTIME"),
];

/// The calls of this family.
pub const ROWS: &[Row] =
    &[
        full(nr::CLOCK_GETTIME, "clock_gettime", &[Name(CLOCKS), Hex], clock_gettime),
        full(nr::CLOCK_GETRES, "clock_getres", &[Name(CLOCKS), Hex], clock_getres),
        partial(
            nr::CLOCK_SETTIME,
            "clock_settime",
            &[Name(CLOCKS), TimespecArg],
            "EPERM: the machine's clock is the host's",
            clock_settime,
        ),
        full(
            nr::CLOCK_NANOSLEEP,
            "clock_nanosleep",
            &[Name(CLOCKS), Flags(&[(1, "TIMER_ABSTIME")]), TimespecArg, Hex],
            clock_nanosleep,
        ),
        full(nr::NANOSLEEP, "nanosleep", &[TimespecArg, Hex], nanosleep),
        full(nr::GETTIMEOFDAY, "gettimeofday", &[Hex, Hex], gettimeofday),
        full(nr::TIME, "time", &[Hex], time),
        partial(nr::ADJTIMEX, "adjtimex", &[Hex], ADJUST_NOTE, |call| adjust(call, 0).into()),
        partial(nr::CLOCK_ADJTIME, "clock_adjtime", &[Name(CLOCKS), Hex], ADJUST_NOTE, |call| {
            match call.int(0) {
                0 => adjust(call, 1).into(),
                id => decode_clock(call, id).and(Err(Errno::EOPNOTSUPP)).into(),
            }
        }),
        full(nr::TIMES, "times", &[Hex], times),
        partial(
            nr::GETRUSAGE,
            "getrusage",
            &[Int, Hex],
            "times, peak memory, minor faults and switches; others are 0",
            getrusage,
        ),
    ];

const ADJUST_NOTE: &str = "reads only: changes are EPERM, the machine's clock is the host's";

/// adjtimex(2): tells of a clock that nobody disciplines.
fn adjust(call: &Call<'_>, index: usize) -> Result<usize, Errno> {
    const UNSYNCHRONIZED: u64 = 0x40;
    /// What it answers then.
    const TIME_ERROR: usize = 5;
    const SINGLESHOT_READ: u32 = 0xa001;
    /// `NTP_PHASE_LIMIT` in microseconds: nothing is known of the error.
    const MAXIMUM_ERROR: u64 = 16_000_000;
    let at = call.address(index);
    // struct timex: words of 64 bits, but for modes and status, whose upper halves are padding.
    let mut timex: [u64; 26] = call.memory().read(at)?;
    let modes = timex[0] as u32;
    if modes != 0 && modes != SINGLESHOT_READ {
        return Err(Errno::EPERM);
    }
    let now = Timeval::from(read_clock(call, &Clock::Wall));
    timex[1..].fill(0);
    (timex[3], timex[4], timex[5]) = (MAXIMUM_ERROR, MAXIMUM_ERROR, UNSYNCHRONIZED);
    // Time constant, precision and tolerance as Linux has them at boot; then the time itself.
    (timex[6], timex[7], timex[8]) = (2, 1, 32_768_000);
    timex[9] = now.seconds.cast_unsigned();
    timex[10] = now.microseconds.cast_unsigned();
    timex[11] = 10_000;
    call.memory().write(at, &timex)?;
    Ok(TIME_ERROR)
}

/// What a clock counts (clock_gettime(2)).
pub(crate) enum Clock {
    /// Time since 1970.
    Wall,
    /// Time since the machine started.
    Monotonic,
    /// Running time of the process.
    ProcessTime,
    /// Running time of a thread.
    ThreadTime(Arc<Thread>),
}

/// Which clock a number names.
///
/// # Errors
/// `EINVAL`: none.
pub(crate) fn decode_clock(call: &Call<'_>, id: i32) -> Result<Clock, Errno> {
    match id {
        // REALTIME, REALTIME_COARSE, REALTIME_ALARM, TAI (offset unknown: 0, as Linux at boot).
        0 | 5 | 8 | 11 => Ok(Clock::Wall),
        // MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME, BOOTTIME_ALARM.
        1 | 4 | 6 | 7 | 9 => Ok(Clock::Monotonic),
        2 => Ok(Clock::ProcessTime),
        3 => Ok(Clock::ThreadTime(Arc::clone(call.thread))),
        ..0 => decode_running_clock(call, id),
        _ => Err(Errno::EINVAL),
    }
}

/// Clocks of running time of a process or thread by its id (clock_getcpuclockid(3),
/// pthread_getcpuclockid(3)): the id, inverted, above three bits.
fn decode_running_clock(call: &Call<'_>, id: i32) -> Result<Clock, Errno> {
    const KIND: i32 = 3;
    const NOT_A_RUNNING_CLOCK: i32 = 3;
    const OF_THREAD: i32 = 4;
    let owner = !(id >> 3);
    if id & KIND == NOT_A_RUNNING_CLOCK {
        return Err(Errno::EINVAL);
    }
    match (id & OF_THREAD != 0, owner.cast_unsigned()) {
        (true, 0) => Ok(Clock::ThreadTime(Arc::clone(call.thread))),
        (true, owner) => {
            call.process().thread(Tid(owner)).map(Clock::ThreadTime).ok_or(Errno::EINVAL)
        }
        (false, owner) if owner == 0 || owner == PROCESS_ID.0 => Ok(Clock::ProcessTime),
        (false, _) => Err(Errno::EINVAL),
    }
}

fn read_clock(call: &Call<'_>, which: &Clock) -> Duration {
    let now = clock::now();
    match which {
        Clock::Wall => Duration::from_nanos(clock::wall(now).nanoseconds),
        Clock::Monotonic => now - Instant::ZERO,
        Clock::ProcessTime => call.process().running_time(now),
        Clock::ThreadTime(thread) => Duration::from_nanos(thread.running.at(now)),
    }
}

fn clock_gettime(call: &mut Call<'_>) -> Outcome {
    decode_clock(call, call.int(0))
        .and_then(|which| {
            let time = Timespec::from(read_clock(call, &which));
            call.memory().write(call.address(1), &time)
        })
        .map(|()| 0)
        .into()
}

fn clock_getres(call: &mut Call<'_>) -> Outcome {
    decode_clock(call, call.int(0))
        .and_then(|_| match call.address(1) {
            UserAddr::NULL => Ok(()),
            at => call.memory().write(at, &Timespec { seconds: 0, nanoseconds: 1 }),
        })
        .map(|()| 0)
        .into()
}

fn clock_settime(call: &mut Call<'_>) -> Outcome {
    match decode_clock(call, call.int(0)) {
        Ok(Clock::Wall) => Errno::EPERM.into(),
        _ => Errno::EINVAL.into(),
    }
}

fn gettimeofday(call: &mut Call<'_>) -> Outcome {
    let now = read_clock(call, &Clock::Wall);
    let (time_at, zone_at) = (call.address(0), call.address(1));
    let write = || {
        if !time_at.is_null() {
            call.memory().write(time_at, &Timeval::from(now))?;
        }
        if !zone_at.is_null() {
            call.memory().write(zone_at, &[0_u32; 2])?;
        }
        Ok(0)
    };
    Outcome::Done(write())
}

fn time(call: &mut Call<'_>) -> Outcome {
    let seconds = read_clock(call, &Clock::Wall).as_secs();
    let at = call.address(0);
    let written = if at.is_null() { Ok(()) } else { call.memory().write(at, &seconds) };
    written.map(|()| seconds as usize).into()
}

/// Sleeps until `deadline`; on a signal writes what is left to `remaining_at`.
///
/// It takes as much longer as the thread's timer slack says, as on Linux when nothing else wakes
/// the CPU (prctl(2), `PR_SET_TIMERSLACK`). Go's runtime is tuned to that: before it takes away a
/// goroutine that another thread just made runnable it sleeps for 3 µs, and finds it still there if
/// these are all.
fn sleep(call: &Call<'_>, deadline: Instant, remaining_at: UserAddr, is_absolute: bool) -> Outcome {
    let thread = Arc::clone(call.thread);
    let slack = thread.settings.lock().timer_slack();
    Outcome::wait(async move {
        let sleep = thread.process.machine.timers.sleep_until(deadline + slack);
        // An interrupted absolute sleep is simply made again; a relative one tells what is left.
        let restart = if is_absolute { Restart::NoHandler } else { Restart::Never };
        match thread.interruptible(sleep, None, restart).await {
            Ok(()) => Ok(0),
            Err(Failure::Interrupted(Restart::Never)) if thread.next_signal_is_silent() => {
                // No handler will run: Linux sleeps on (restart_block).
                Err(Failure::Interrupted(Restart::NoHandler))
            }
            Err(failure) => {
                if !is_absolute && !remaining_at.is_null() {
                    let left = Timespec::from(deadline.saturating_since(clock::now()));
                    thread.process.memory.write(remaining_at, &left)?;
                }
                Err(failure)
            }
        }
    })
}

fn nanosleep(call: &mut Call<'_>) -> Outcome {
    match call.memory().read::<Timespec>(call.address(0)).and_then(Timespec::duration) {
        Ok(duration) => sleep(call, clock::now() + duration, call.address(1), false),
        Err(errno) => errno.into(),
    }
}

fn clock_nanosleep(call: &mut Call<'_>) -> Outcome {
    clock_nanosleep_start(call).unwrap_or_else(Outcome::from)
}

fn clock_nanosleep_start(call: &Call<'_>) -> Result<Outcome, Errno> {
    const TIMER_ABSTIME: i32 = 1;
    let which = decode_clock(call, call.int(0))?;
    // Linux cannot sleep on the raw and the coarse clocks, nor on a thread's own running time.
    if matches!(call.int(0), 3..=6) {
        return Err(Errno::EOPNOTSUPP);
    }
    let duration = call.memory().read::<Timespec>(call.address(2))?.duration()?;
    let is_absolute = call.int(1) & TIMER_ABSTIME != 0;
    let now = clock::now();
    let deadline = match which {
        Clock::ProcessTime | Clock::ThreadTime(_) => {
            return sleep_running(call, which, duration, is_absolute);
        }
        _ if !is_absolute => return Ok(sleep(call, now + duration, call.address(3), false)),
        Clock::Wall => now + duration.saturating_sub(read_clock(call, &Clock::Wall)),
        Clock::Monotonic => Instant::ZERO + duration,
    };
    if deadline <= now {
        return Ok(Ok(0).into());
    }
    Ok(sleep(call, deadline, UserAddr::NULL, true))
}

/// Sleeps while others run: until a clock of running time has got so far.
fn sleep_running(
    call: &Call<'_>,
    which: Clock,
    duration: Duration,
    is_absolute: bool,
) -> Result<Outcome, Errno> {
    let counts = match which {
        Clock::ThreadTime(thread) if Arc::ptr_eq(&thread, call.thread) => {
            return Err(Errno::EINVAL);
        }
        Clock::ThreadTime(thread) => Counts::ThreadTime(Arc::downgrade(&thread)),
        _ => Counts::ProcessTime,
    };
    let sleepers = Arc::new(WaitQueue::new());
    let notice = Notice::Wake(Arc::clone(&sleepers));
    let timer = Timer::new(&Arc::downgrade(call.process()), counts, notice);
    let now = clock::now();
    let start = if is_absolute { Instant::ZERO } else { timer.clock(now) };
    let until = start + duration;
    timer.set(Setting { next: Some(until), interval: Duration::ZERO }, now);
    let (thread, remaining_at) = (Arc::clone(call.thread), call.address(3));
    Ok(Outcome::wait(async move {
        let woken = async {
            loop {
                let wait = sleepers.wait();
                if timer.clock(clock::now()) >= until {
                    return;
                }
                wait.await;
            }
        };
        let slept = thread.interruptible(woken, None, Restart::Never).await;
        let now = clock::now();
        timer.set(Setting::default(), now);
        if slept.is_err() && !is_absolute && !remaining_at.is_null() {
            let left = Timespec::from(until - timer.clock(now));
            thread.process.memory.write(remaining_at, &left)?;
        }
        slept.map(|()| 0)
    }))
}

/// Clock ticks a second, as `sysconf(_SC_CLK_TCK)` says.
const TICKS_PER_SECOND: u64 = 100;

fn ticks(duration: Duration) -> u64 {
    duration.as_nanos() as u64 / (1_000_000_000 / TICKS_PER_SECOND)
}

fn times(call: &mut Call<'_>) -> Outcome {
    let at = call.address(0);
    let used = call.process().usage(None).1;
    let [user, system] = [used.user, used.system].map(|time| ticks(Duration::from_nanos(time)));
    let written =
        if at.is_null() { Ok(()) } else { call.memory().write(at, &[user, system, 0, 0]) };
    written.map(|()| ticks(clock::now() - Instant::ZERO) as usize).into()
}

fn getrusage(call: &mut Call<'_>) -> Outcome {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    // struct rusage: user time, system time, then 14 longs, the first the peak size in KiB.
    let mut usage = [0_u64; 18];
    let thread = match call.int(0) {
        RUSAGE_SELF => None,
        RUSAGE_THREAD => Some(&**call.thread),
        RUSAGE_CHILDREN => return call.memory().write(call.address(1), &usage).map(|()| 0).into(),
        _ => return Errno::EINVAL.into(),
    };
    let (counts, times) = call.process().usage(thread);
    for (slot, time) in usage.as_chunks_mut().0.iter_mut().zip([times.user, times.system]) {
        *slot = [time / 1_000_000_000, time % 1_000_000_000 / 1000];
    }
    usage[4] = call.memory().space().resident_pages() as u64 * 4;
    usage[8] = counts.get(Counter::Faults);
    (usage[16], usage[17]) = (counts.voluntary(), counts.get(Counter::Involuntary));
    call.memory().write(call.address(1), &usage).map(|()| 0).into()
}
