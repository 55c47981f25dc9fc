//! What threads used (getrusage(2)): turns and how they ended, page faults, and time in the program
//! told apart from time in the kernel.
//!
//! The last as Linux does without CONFIG_VIRT_CPU_ACCOUNTING_GEN: each CPU looks once every
//! [`TICK`] of what it runs where it is, and the exact sum is divided as the looks were.

use alloc::sync::Arc;
use base::sync::SpinLock;
use base::{CpuId, Instant};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use crate::machine::Machine;
use crate::process::Process;
use crate::signal::{SIGKILL, SIGXCPU, SignalInfo};
use crate::thread::Thread;
use crate::timer::RunningTime;

/// Running time between two looks at a CPU.
pub(crate) const TICK: Duration = Duration::from_millis(4);

/// Where a CPU was when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    User,
    System,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Times that a CPU was given.
    Turns,
    /// Turns that did not end by sleeping.
    Yields,
    /// Of these, those after which others ran.
    Involuntary,
    /// How long it had to wait after these, in nanoseconds.
    Waited,
    /// Pages made present by page faults, all of them minor ones.
    Faults,
    UserTicks,
    SystemTicks,
    /// Running time in nanoseconds. With what follows it is kept elsewhere.
    Ran,
    /// Turns that have not ended.
    Running,
}

const COUNTERS: usize = Counter::Running as usize + 1;

/// What one thread used. Only the thread itself counts: no read-modify-write is needed.
#[derive(Default)]
pub(crate) struct Usage {
    counters: [AtomicU64; COUNTERS],
    /// It waits for its next turn because others run.
    waits: AtomicBool,
    told: Told,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Where and when a thread was put off.
pub(crate) struct PutOff {
    cpu: CpuId,
    turns: u64,
    since: Instant,
}

impl Usage {
    #[inline]
    pub(crate) fn count(&self, counter: Counter, more: u64) {
        count(&self.counters[counter as usize], more);
    }

    /// The turn ends without that the thread sleeps.
    #[inline(never)]
    pub(crate) fn put_off(&self, machine: &Machine) -> PutOff {
        self.count(Counter::Yields, 1);
        self.waits.store(true, Ordering::Relaxed);
        let turns = machine.cpu_time().turns();
        PutOff { cpu: hal::cpu::current(), turns, since: hal::clock::now() }
    }

    /// The next turn has begun.
    #[inline(never)]
    pub(crate) fn goes_on(&self, machine: &Machine, before: &PutOff) {
        self.waits.store(false, Ordering::Relaxed);
        // Unless it is the next of all on the same CPU, others ran.
        let next = before.turns + 1;
        if before.cpu != hal::cpu::current() || machine.cpu_time().turns() != next {
            self.count(Counter::Involuntary, 1);
            let waited = hal::clock::now().nanoseconds() - before.since.nanoseconds();
            self.count(Counter::Waited, waited);
            count(&machine.cpu_time().waited, waited);
        }
    }

    /// A look found it there.
    pub(crate) fn tick(&self, mode: Mode) {
        self.count(if mode == Mode::User { Counter::UserTicks } else { Counter::SystemTicks }, 1);
    }

    /// True while it waits for its turn because others run.
    pub(crate) fn waits_for_turn(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// What was counted so far, beside running time.
    fn counts(&self) -> Counts {
        Counts(core::array::from_fn(|at| self.counters[at].load(Ordering::Relaxed)))
    }
}

/// What one or more threads used.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts([u64; COUNTERS]);

impl Counts {
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Turns that ended by sleeping.
    pub(crate) fn voluntary(&self) -> u64 {
        let others = self.get(Counter::Yields) + self.get(Counter::Running);
        self.get(Counter::Turns).saturating_sub(others)
    }

    /// Turns, those that followed at once as one: `pcount` in /proc/PID/schedstat.
    pub(crate) fn turns(&self) -> u64 {
        self.voluntary() + self.get(Counter::Involuntary) + self.get(Counter::Running)
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// Running time in nanoseconds, divided.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Times {
    pub(crate) user: u64,
    pub(crate) system: u64,
}

/// What was said last: neither time ever goes back.
#[derive(Default)]
pub(crate) struct Told(SpinLock<Times>);

impl Told {
    /// `cputime_adjust` in kernel/sched/cputime.c.
    #[inline(never)]
    pub(crate) fn divide(&self, total: u64, user_ticks: u64, system_ticks: u64) -> Times {
        let mut told = self.0.lock();
        if told.user + told.system < total {
            let ticks = u128::from(user_ticks + system_ticks);
            let share = u128::from(total) * u128::from(system_ticks);
            let system = share.checked_div(ticks).unwrap_or(0) as u64;
            // Between what was told, and that with all that was added.
            let system = system.clamp(told.system, total - told.user);
            *told = Times { user: total - system, system };
        }
        *told
    }
}

/// The time of one CPU.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct CpuTime {
    /// When the turn of the task that runs ends, in nanoseconds since boot.
    pub(crate) slice_end: AtomicU64,
    /// When it is looked at next. 0: it has nothing to do until the next turn.
    tick_at: AtomicU64,
    turns: AtomicU64,
    user_ticks: AtomicU64,
    system_ticks: AtomicU64,
    /// Time without anything to do.
    idle: RunningTime,
    idles: AtomicU64,
    /// How long threads that were put off waited until they went on here, in nanoseconds.
    waited: AtomicU64,
    told: Told,
}

impl CpuTime {
    /// A task's turn starts, and ends by `slice_end`. True when a look was due before, in the kernel:
    /// [`CpuTime::look`] must follow.
    #[inline]
    pub(crate) fn begin_turn(&self, now: Instant, slice_end: Instant) -> bool {
        count(&self.turns, 1);
        self.slice_end.store(slice_end.nanoseconds(), Ordering::Relaxed);
        self.is_due(now)
    }

    /// When the task that runs is to be interrupted at the latest.
    #[inline]
    pub(crate) fn turn_end(&self) -> Instant {
        let (slice, tick) =
            (self.slice_end.load(Ordering::Relaxed), self.tick_at.load(Ordering::Relaxed));
        Instant::from_nanoseconds(slice.min(tick))
    }

    /// True when [`CpuTime::look`] is due.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.nanoseconds() >= self.tick_at.load(Ordering::Relaxed)
    }

    /// Looks where it is, `mode`, and says whether it had something to do until now.
    #[cold]
    #[inline(never)]
    pub(crate) fn look(&self, now: Instant, mode: Mode) -> bool {
        let was_busy = self.tick_at.swap((now + TICK).nanoseconds(), Ordering::Relaxed) != 0;
        if was_busy {
            count(if mode == Mode::User { &self.user_ticks } else { &self.system_ticks }, 1);
        } else {
            self.idle.end(now);
        }
        was_busy
    }

    /// There is nothing to do from `now` on.
    pub(crate) fn begin_idle(&self, now: Instant) {
        self.tick_at.store(0, Ordering::Relaxed);
        count(&self.idles, 1);
        self.idle.begin(now);
    }

    /// Turns so far.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// How long threads waited for it, in nanoseconds.
    pub(crate) fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// How often it had nothing to do.
    pub(crate) fn idles(&self) -> u64 {
        self.idles.load(Ordering::Relaxed)
    }

    /// Busy and idle nanoseconds since boot.
    #[inline(never)]
    pub(crate) fn times(&self, now: Instant) -> (Times, u64) {
        let ticks = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let idle = self.idle.at(now);
        let busy = now.nanoseconds().saturating_sub(idle);
        (self.told.divide(busy, ticks(&self.user_ticks), ticks(&self.system_ticks)), idle)
    }
}

/// What the threads that ended used.
#[derive(Default)]
pub(crate) struct Ended {
    counts: SpinLock<Counts>,
    told: Told,
}

impl Thread {
    /// What it used.
    #[inline(never)]
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        let mut counts = self.usage.counts();
        counts.0[Counter::Ran as usize] = self.running.at(now);
        counts.0[Counter::Running as usize] = u64::from(self.running.is_running());
        counts
    }
}

impl Process {
    /// This CPU was in the kernel, between two turns, when a look at it was due.
    #[cold]
    #[inline(never)]
    pub fn look(&self, now: Instant) {
        if self.machine.cpu_time().look(now, Mode::System)
            && let Some(thread) = self.current_thread()
        {
            thread.usage.tick(Mode::System);
        }
    }

    /// A thread ends, on its own turn.
    pub(crate) fn count_ended(&self, thread: &Thread) {
        let counts = thread.counts(hal::clock::now());
        self.ended_usage.counts.lock().add(&counts);
    }

    /// What all threads used, those that ended included.
    #[inline(never)]
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        let threads = self.threads.lock();
        let mut sum = *self.ended_usage.counts.lock();
        for thread in threads.values() {
            sum.add(&thread.counts(now));
        }
        sum.0[Counter::Faults as usize] += self.memory.kernel_touches();
        sum
    }

    /// How long all threads ran, those that ended included.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.counts(now).get(Counter::Ran))
    }

    /// What all threads used, or one, and its running time divided.
    #[inline(never)]
    pub(crate) fn usage(&self, thread: Option<&Thread>) -> (Counts, Times) {
        let now = hal::clock::now();
        let (counts, told) = match thread {
            Some(thread) => (thread.counts(now), &thread.usage.told),
            None => (self.counts(now), &self.ended_usage.told),
        };
        let [ran, user, system] = [Counter::Ran, Counter::UserTicks, Counter::SystemTicks]
            .map(|counter| counts.get(counter));
        (counts, told.divide(ran, user, system))
    }

    /// It has run as long as the soft limit of RLIMIT_CPU allows, which is moved by a second
    /// (`check_process_timers` in kernel/time/posix-cpu-timers.c). The thread `runner` has its turn.
    pub(crate) fn running_limit_reached(&self, runner: Option<&Arc<Thread>>) {
        let ran = self.running_time(hal::clock::now()).as_secs();
        let is_over = self.limits.lock().running_reached(ran);
        let signal = if is_over { SIGKILL } else { SIGXCPU };
        // A standard signal always fits the queue.
        let _ = self.send_signal_near(SignalInfo::from_kernel(signal), runner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanoseconds: u64) -> Instant {
        Instant::from_nanoseconds(nanoseconds)
    }

    #[test]
    fn a_time_is_divided_as_the_ticks_were_and_never_goes_back() {
        let told = Told::default();
        assert_eq!(told.divide(1000, 0, 0), Times { user: 1000, system: 0 });
        assert_eq!(told.divide(2000, 1, 3), Times { user: 1000, system: 1000 });
        assert_eq!(told.divide(4000, 1, 3), Times { user: 1000, system: 3000 });
        assert_eq!(told.divide(5000, 9, 1), Times { user: 2000, system: 3000 });
        assert_eq!(told.divide(4000, 9, 1), Times { user: 2000, system: 3000 });
        assert_eq!(told.divide(u64::MAX, u64::MAX / 2, 0).system, 3000);
    }

    #[test]
    fn a_cpu_is_looked_at_while_it_runs() {
        let (cpu, tick) = (CpuTime::default(), TICK.as_nanos() as u64);
        // What was before the first turn is nobody's time.
        assert!(cpu.begin_turn(at(10), at(u64::MAX)));
        assert!(!cpu.look(at(10), Mode::System));
        assert!(!cpu.begin_turn(at(9 + tick), at(u64::MAX)));
        assert_eq!(cpu.turn_end(), at(10 + tick));
        assert!(cpu.is_due(at(10 + tick)));
        assert!(cpu.look(at(10 + tick), Mode::User));
        assert_eq!(cpu.turn_end(), at(10 + 2 * tick));
        assert!(cpu.begin_turn(at(11 + 2 * tick), at(u64::MAX)));
        assert!(cpu.look(at(11 + 2 * tick), Mode::System));
        assert_eq!(cpu.times(at(100)).0, Times { user: 50, system: 50 });
        assert_eq!(cpu.turns(), 3);
    }

    #[test]
    fn turns_end_by_sleeping_or_not() {
        let usage = Usage::default();
        let counts = |running| {
            let mut counts = usage.counts();
            counts.0[Counter::Running as usize] = running;
            (counts.turns(), counts.voluntary(), counts.get(Counter::Involuntary))
        };
        usage.count(Counter::Turns, 1);
        assert_eq!(counts(1), (1, 0, 0));
        assert_eq!(counts(0), (1, 1, 0));
        usage.count(Counter::Turns, 1);
        usage.count(Counter::Yields, 1);
        usage.count(Counter::Turns, 1);
        // A turn that follows its own is none.
        assert_eq!(counts(1), (2, 1, 0));
        usage.count(Counter::Involuntary, 1);
        assert_eq!(counts(1), (3, 1, 1));
    }

    #[test]
    fn a_cpu_that_does_nothing_is_idle() {
        let cpu = CpuTime::default();
        cpu.begin_idle(at(100));
        assert_eq!(cpu.times(at(300)), (Times { user: 100, system: 0 }, 200));
        assert!(cpu.begin_turn(at(400), at(u64::MAX)));
        assert!(!cpu.look(at(400), Mode::System));
        assert_eq!(cpu.times(at(1000)), (Times { user: 700, system: 0 }, 300));
        assert_eq!(cpu.idles(), 1);
    }
}
