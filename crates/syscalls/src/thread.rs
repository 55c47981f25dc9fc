//! A thread, and its life.

use crate::accounting::{Counter, Mode, Usage};
use crate::call::{Failure, Restart, Waiting};
use crate::credentials::Identity;
use crate::dispatch::{self, Step};
use crate::io_counts::IoCounts;
use crate::prctl;
use crate::process::Process;
use crate::signal::{Origin, Pending, SignalInfo, deliver};
use crate::timer::RunningTime;
use alloc::sync::Arc;
use base::sync::{Rank, SpinLock};
use base::{CpuId, Errno, Instant, Signal, Tid, UserAddr};
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use core::task::{Poll, Waker};
use hal::Trap;
use hal::user::UserContext;
use sched::{Affinity, Notifier, PollEvents};

/// A thread of the program. Its registers live in the future that runs it ([`run`]).
pub struct Thread {
    /// As gettid(2) says.
    pub tid: Tid,
    /// The process it belongs to.
    pub process: Arc<Process>,
    pub(crate) signals: SpinLock<ThreadSignals>,
    /// Something wants to be looked at before the program goes on: a signal, or the end of the
    /// process.
    attention: AtomicBool,
    /// The CPU that runs the program for this thread right now, plus 1; 0: none.
    running_on: AtomicU32,
    /// The CPUs it may run on.
    pub(crate) affinity: Arc<Affinity>,
    /// What wakes the thread's task while it sleeps in a call: a signal interrupts that.
    sleeper: SpinLock<Option<Waker>>,
    /// Word to clear and wake when the thread ends (`CLONE_CHILD_CLEARTID`), or 0.
    pub(crate) clear_on_exit: AtomicU64,
    /// How long it ran, in the program and in the kernel.
    pub(crate) running: RunningTime,
    /// What it used beside time.
    pub(crate) usage: Usage,
    /// What it read and wrote.
    pub(crate) io: IoCounts,
    /// Who it is.
    pub(crate) identity: Identity,
    /// What prctl(2) set beside the name.
    pub(crate) settings: SpinLock<prctl::Settings>,
    /// The name that prctl(PR_SET_NAME) gave.
    pub(crate) name: SpinLock<[u8; 16]>,
}

/// The signal state of a thread.
#[derive(Default)]
pub struct ThreadSignals {
    /// Blocked signals; bit n-1 is signal n.
    pub mask: u64,
    /// The mask to go back to after a call that swapped it (sigsuspend, ppoll, epoll_pwait).
    pub saved_mask: Option<u64>,
    /// Signals for this thread alone.
    pub pending: Pending,
    /// The alternate stack.
    pub alternate_stack: AlternateStack,
    /// Signals that sigtimedwait waits for.
    pub awaited: u64,
}

/// sigaltstack(2).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AlternateStack {
    /// Lowest address.
    pub base: UserAddr,
    /// Length in bytes; 0: none.
    pub bytes: u64,
    /// `SS_AUTODISARM` or 0.
    pub flags: u32,
}

impl AlternateStack {
    /// True when the stack pointer lies on it.
    #[must_use]
    pub fn contains(&self, stack_pointer: u64) -> bool {
        self.bytes != 0 && stack_pointer > self.base.0 && stack_pointer - self.base.0 <= self.bytes
    }
}

impl Thread {
    pub(crate) fn new(
        tid: Tid,
        process: Arc<Process>,
        mask: u64,
        affinity: Arc<Affinity>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tid,
            process,
            signals: SpinLock::ranked(Rank::Signals, ThreadSignals { mask, ..Default::default() }),
            // The end of the process may have come before this thread was known.
            attention: AtomicBool::new(true),
            running_on: AtomicU32::new(0),
            affinity,
            sleeper: SpinLock::new(None),
            clear_on_exit: AtomicU64::new(0),
            running: RunningTime::default(),
            usage: Usage::default(),
            io: IoCounts::default(),
            identity: Identity::default(),
            settings: SpinLock::default(),
            name: SpinLock::new([0; 16]),
        })
    }

    /// Sends a signal to this thread.
    ///
    /// # Errors
    /// `EAGAIN`: the queue of real-time signals is full.
    pub fn send_signal(&self, info: SignalInfo) -> Result<(), Errno> {
        self.queue(info).map(|_| ())
    }

    /// As [`Thread::send_signal`]; `false`: the signal is ignored.
    pub(crate) fn queue(&self, info: SignalInfo) -> Result<bool, Errno> {
        let ignored = self.process.action(info.signal).is_ignored(info.signal);
        let has_room = self.process.has_signal_room(&info);
        {
            let mut signals = self.signals.lock();
            let bit = info.signal_bit();
            if ignored && signals.mask & bit == 0 && signals.awaited & bit == 0 {
                return Ok(false);
            }
            signals.pending.push(info, has_room)?;
        }
        self.call_attention();
        self.process.signal_sent.notify(PollEvents::IN);
        Ok(true)
    }

    /// Takes the first pending signal in `set`, its own before the process's. The signal of a
    /// timer lets the timer go on.
    pub(crate) fn take_signal(&self, set: u64) -> Option<SignalInfo> {
        let own = self.signals.lock().pending.take(set);
        let mut info = own.or_else(|| self.process.pending.lock().take(set))?;
        if let Origin::Timer { id, overrun, .. } = &mut info.origin
            && let Ok(timer) = self.process.timers.get(*id)
        {
            *overrun = timer.delivered(hal::clock::now());
        }
        Some(info)
    }

    /// Lets every other runnable task run once.
    pub(crate) async fn yield_now(&self) {
        let before = self.usage.put_off(&self.process.machine);
        sched::yield_now().await;
        self.usage.goes_on(&self.process.machine, &before);
    }

    /// Makes the thread look at its signals before the program goes on, and ends its sleep if
    /// there is something to look at.
    pub(crate) fn call_attention(&self) {
        self.attention.store(true, Ordering::Release);
        if hal::cpu::count() > 1 {
            // With the fence in `run_program`: either that sees the call, or this sees it run.
            fence(Ordering::SeqCst);
            if let Some(cpu) = self.running_on.load(Ordering::Relaxed).checked_sub(1) {
                hal::cpu::kick(CpuId(cpu));
            }
        }
        let sleeper = self.sleeper.lock().take();
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// As [`Thread::call_attention`], by the thread itself: it does not sleep.
    pub(crate) fn look_again(&self) {
        self.attention.store(true, Ordering::Release);
    }

    /// Runs the program until it traps; not at all (as after an interrupt) when the thread was
    /// called meanwhile.
    #[inline]
    fn run_program(&self, user: &mut UserContext) -> Trap {
        let space = self.process.memory.space();
        if hal::cpu::count() == 1 {
            return user.run(space);
        }
        // Tasks that stand behind this one are left to CPUs that have nothing to do.
        self.process.machine.spawner.share();
        self.running_on.store(hal::cpu::current().0 + 1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let trap = match self.attention.load(Ordering::Relaxed) {
            true => Trap::Interrupt,
            false => user.run(space),
        };
        self.running_on.store(0, Ordering::Relaxed);
        trap
    }

    #[inline]
    pub(crate) fn take_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire) && self.attention.swap(false, Ordering::AcqRel)
    }

    /// True when the thread does not block `signal`.
    pub(crate) fn accepts(&self, signal: Signal) -> bool {
        let signals = self.signals.lock();
        let bit = 1 << (signal.0 - 1);
        signals.mask & bit == 0 || signals.awaited & bit != 0
    }

    pub(crate) fn blocks_or_awaits(&self, signal: Signal) -> bool {
        let signals = self.signals.lock();
        (signals.mask | signals.awaited) & (1 << (signal.0 - 1)) != 0
    }

    /// True when a signal that is not blocked is pending, or the process ends.
    pub(crate) fn is_interrupted(&self) -> bool {
        if self.process.is_exiting() {
            return true;
        }
        let signals = self.signals.lock();
        let process = self.process.pending.lock();
        (signals.pending.set() | process.set()) & !signals.mask != 0
    }

    /// Completes when [`Thread::is_interrupted`]. Only the thread's own task waits for it.
    pub async fn interrupted(&self) {
        core::future::poll_fn(|context| {
            // Before the look: what comes after it wakes.
            {
                let mut sleeper = self.sleeper.lock();
                let waker = context.waker();
                if sleeper.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                    *sleeper = Some(waker.clone());
                }
            }
            if self.is_interrupted() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Runs `future` until it completes, a signal interrupts it, or `deadline` passes.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] with `restart`; the caller turns it into its own result if it has
    /// a partial one. `ETIMEDOUT` when the deadline passed.
    pub async fn interruptible<T>(
        &self,
        future: impl Future<Output = T>,
        deadline: Option<Instant>,
        restart: Restart,
    ) -> Result<T, Failure> {
        let mut future = pin!(future);
        let mut interrupted = pin!(self.interrupted());
        let mut sleep =
            pin!(deadline.map(|deadline| self.process.machine.timers.sleep_until(deadline)));
        core::future::poll_fn(|context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            if interrupted.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Failure::Interrupted(restart)));
            }
            if let Some(sleep) = sleep.as_mut().as_pin_mut()
                && sleep.poll(context).is_ready()
            {
                return Poll::Ready(Err(Failure::Errno(Errno::ETIMEDOUT)));
            }
            Poll::Pending
        })
        .await
    }

    /// Tries `attempt` until it returns something other than `EAGAIN`, sleeping on `notifier`
    /// between tries. The heart of every blocking read, write, accept and the like.
    ///
    /// # Errors
    /// What `attempt` failed with; interruption; `EAGAIN` when `deadline` passed (as sockets with
    /// `SO_RCVTIMEO` do).
    pub async fn retry<T>(
        &self,
        notifier: &Notifier,
        deadline: Option<Instant>,
        restart: Restart,
        mut attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        loop {
            let ready = notifier.wait();
            match attempt() {
                Err(Errno::EAGAIN) => {}
                other => return other.map_err(Failure::Errno),
            }
            match self.interruptible(ready, deadline, restart).await {
                Ok(()) => {}
                Err(Failure::Errno(Errno::ETIMEDOUT)) => return Err(Errno::EAGAIN.into()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// True when no handler will run for what interrupted the thread, and it does not end either.
    pub(crate) fn next_signal_is_silent(&self) -> bool {
        !self.process.is_exiting() && deliver::next_handler_restarts(self).is_none()
    }

    /// Sets the signal mask; unblocked pending signals are looked at before the program goes on.
    /// SIGKILL and SIGSTOP cannot be blocked.
    pub(crate) fn set_mask(&self, mask: u64) {
        let new = mask & !crate::signal::UNBLOCKABLE;
        let old = core::mem::replace(&mut self.signals.lock().mask, new);
        self.look_again();
        self.process.pass_on(new & !old);
    }
}

/// The life of a thread: run the program until it traps, handle the trap, again.
pub async fn run(thread: Arc<Thread>, user: UserContext) {
    // Accounts the time of every turn to the thread.
    let mut body = pin!(run_body(Arc::clone(&thread), user));
    core::future::poll_fn(|context| {
        let now = hal::clock::now();
        thread.running.begin(now);
        thread.process.begin_turn(&thread, now);
        let polled = body.as_mut().poll(context);
        hal::user::park();
        thread.running.end(hal::clock::now());
        polled
    })
    .await;
}

async fn run_body(thread: Arc<Thread>, mut user: UserContext) {
    let code = loop {
        match run_until_stop(&thread, &mut user) {
            Stop::Sleep(call) => {
                let result = call.await;
                thread.sleeper.lock().take();
                dispatch::woken(&thread, &mut user, result);
            }
            Stop::Yield => thread.yield_now().await,
            Stop::End(code) => break code,
        }
    };
    end(&thread, code);
}

/// Why a thread stops running the program.
enum Stop {
    /// It made a call that sleeps.
    Sleep(Waiting),
    /// It is the turn of others.
    Yield,
    /// It is over, with this exit code.
    End(u8),
}

/// Runs the program, and whatever it traps for that is done at once: most calls and faults. No
/// future is in between.
fn run_until_stop(thread: &Arc<Thread>, user: &mut UserContext) -> Stop {
    let machine = &*thread.process.machine;
    machine.arm_turn();
    loop {
        if thread.take_attention() {
            deliver::pending(thread, user);
            if thread.process.is_exiting() {
                return Stop::End(0);
            }
        }
        match thread.run_program(user) {
            Trap::Syscall => match dispatch::call(thread, user) {
                Step::Continue => {}
                Step::Sleeps(call) => return Stop::Sleep(call),
                Step::Ended(code) => return Stop::End(code),
            },
            Trap::PageFault(fault) => match thread.process.memory.fault(&fault) {
                Ok(()) => thread.usage.count(Counter::Faults, 1),
                Err(error) => deliver::raise_page_fault(thread, &fault, error),
            },
            Trap::Exception(exception) => deliver::raise_exception(thread, user, exception),
            Trap::Interrupt => {
                if !goes_on(thread, user) {
                    return Stop::Yield;
                }
                machine.arm_turn();
            }
        }
    }
}

/// After an interrupt: `false` when it is the turn of others.
#[inline(never)]
fn goes_on(thread: &Thread, user: &UserContext) -> bool {
    let machine = &*thread.process.machine;
    let now = hal::clock::now();
    let cpu = machine.cpu_time();
    if cpu.is_due(now) {
        let mode = interrupted_mode(user);
        cpu.look(now, mode);
        thread.usage.tick(mode);
    }
    !machine.yield_due(now) && thread.affinity.allows(hal::cpu::current())
}

/// Where an interrupt was due. The kernel lets none in: one that came up there comes before the first
/// instruction of the program, where rip and flags are still what SYSRET had from rcx and r11. One
/// that came up during a page fault counts for the program.
fn interrupted_mode(user: &UserContext) -> Mode {
    let registers = &user.registers;
    let is_first = registers.rip == registers.rcx && registers.rflags == registers.r11;
    if is_first { Mode::System } else { Mode::User }
}

/// The thread is over: clears the word that joiners wait on (clone(2), `CLONE_CHILD_CLEARTID`).
fn end(thread: &Arc<Thread>, code: u8) {
    let word = UserAddr(thread.clear_on_exit.load(Ordering::Relaxed));
    if !word.is_null() && thread.process.memory.write(word, &0_u32).is_ok() {
        thread.process.futexes.wake(word, 1, u32::MAX);
    }
    thread.process.remove_thread(thread.tid, code);
}
