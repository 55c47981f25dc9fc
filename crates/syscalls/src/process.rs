//! The process: the one program that the machine runs.

use crate::accounting::{Counter, Ended};
use crate::machine::Machine;
use crate::signal::{Action, Pending, SignalInfo};
use crate::thread::Thread;
use crate::timer::ProcessTimers;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::sync::{Rank, SpinLock};
use base::{CpuId, Errno, Instant, Pid, Signal, Tid};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use mm::Mm;
use sched::{Affinity, FutexTable, Notifier, PollEvents, WaitQueue};
use vfs::{FdTable, InodeRef, Vfs};

/// The process id of the program. Linux would give it any; 1 would make programs think that they
/// are init.
pub const PROCESS_ID: Pid = Pid(2);

/// How the program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// It called `exit_group(code)`, or its last thread `exit(code)`: the low 8 bits.
    Code(u8),
    /// A signal ended it.
    Signal(Signal),
    /// It called `reboot`.
    Machine(MachineEnd),
}

/// What becomes of the machine by `reboot`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MachineEnd {
    /// It is switched off.
    PowerOff,
    /// It starts anew.
    Restart,
    /// It stands still, switched on.
    Halt,
}

/// What the program was started with, as /proc and the trace show it.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Path of the program in the machine.
    pub executable: String,
    /// Its arguments, the name first.
    pub arguments: Vec<String>,
    /// Its environment, `K=V`.
    pub environment: Vec<String>,
    /// Its auxiliary vector as it lies on the stack.
    pub auxiliary_vector: Vec<u8>,
}

/// Where the paths of the process start.
#[derive(Clone)]
pub struct Directories {
    /// `/` (chroot(2)).
    pub root: InodeRef,
    /// The working directory (chdir(2)).
    pub working: InodeRef,
}

/// The process and everything its threads share.
pub struct Process {
    /// The program's memory.
    pub memory: Arc<Mm>,
    /// What the machine offers.
    pub machine: Arc<Machine>,
    /// Its descriptors.
    pub files: Arc<FdTable>,
    /// The tree of files.
    pub vfs: Arc<Vfs>,
    /// Where paths start.
    pub directories: SpinLock<Directories>,
    /// Permissions that new files do not get (umask(2)).
    pub umask: AtomicU32,
    /// Futex waiters.
    pub futexes: Arc<FutexTable>,
    /// What it was started with.
    pub launch: Launch,
    /// When it started.
    pub started: Instant,
    /// Signal handlers.
    pub(crate) actions: SpinLock<[Action; 64]>,
    /// Signals for the process as a whole.
    pub(crate) pending: SpinLock<Pending>,
    pub(crate) threads: SpinLock<BTreeMap<Tid, Arc<Thread>>>,
    pub(crate) limits: SpinLock<crate::information::Limits>,
    /// One of the limits of memory is set.
    pub(crate) memory_limited: AtomicBool,
    /// For which kinds of membarrier(2) it has registered.
    pub(crate) barriers: AtomicU32,
    /// `PR_SET_DUMPABLE`.
    pub(crate) dumpable: AtomicBool,
    /// `PR_SET_CHILD_SUBREAPER`.
    pub(crate) subreaper: AtomicBool,
    /// Tells signalfd(2) that a signal was sent.
    pub(crate) signal_sent: Arc<Notifier>,
    /// Tells pidfds that a thread ended.
    pub(crate) thread_ended: Arc<Notifier>,
    /// setitimer(2), timer_create(2).
    pub(crate) timers: ProcessTimers,
    /// What threads that ended used.
    pub(crate) ended_usage: Ended,
    /// What threads that ended read and wrote.
    pub(crate) ended_io: SpinLock<crate::io_counts::Sum>,
    /// Whose turn it is on each CPU.
    on_cpu: [AtomicU32; CpuId::COUNT_MAX],
    next_tid: AtomicU32,
    exit: SpinLock<Option<ExitStatus>>,
    exiting: AtomicBool,
    exited: WaitQueue,
}

impl Process {
    /// A process without threads.
    #[must_use]
    pub fn new(
        memory: Arc<Mm>,
        machine: Arc<Machine>,
        vfs: Arc<Vfs>,
        working_directory: InodeRef,
        launch: Launch,
    ) -> Arc<Self> {
        let root = Arc::clone(vfs.root());
        let limits = crate::information::Limits::default();
        let files = FdTable::new();
        files.set_limit(usize::try_from(limits.descriptors()).unwrap_or(usize::MAX));
        Arc::new_cyclic(|own| Self {
            files: Arc::new(files),
            vfs,
            directories: SpinLock::new(Directories { root, working: working_directory }),
            umask: AtomicU32::new(0o022),
            memory,
            machine,
            futexes: Arc::new(FutexTable::new()),
            launch,
            started: hal::clock::now(),
            actions: SpinLock::new([Action::default(); 64]),
            pending: SpinLock::default(),
            threads: SpinLock::ranked(Rank::Threads, BTreeMap::new()),
            limits: SpinLock::new(limits),
            memory_limited: AtomicBool::new(false),
            barriers: AtomicU32::new(0),
            dumpable: AtomicBool::new(true),
            subreaper: AtomicBool::new(false),
            signal_sent: Arc::new(Notifier::new()),
            thread_ended: Arc::new(Notifier::new()),
            timers: ProcessTimers::new(own),
            ended_usage: Ended::default(),
            ended_io: SpinLock::default(),
            on_cpu: [const { AtomicU32::new(0) }; CpuId::COUNT_MAX],
            next_tid: AtomicU32::new(PROCESS_ID.0),
            exit: SpinLock::new(None),
            exiting: AtomicBool::new(false),
            exited: WaitQueue::new(),
        })
    }

    /// Makes a thread known. The first one's id is the process's.
    pub fn add_thread(self: &Arc<Self>, signal_mask: u64, affinity: Arc<Affinity>) -> Arc<Thread> {
        let tid = Tid(self.next_tid.fetch_add(1, Ordering::Relaxed));
        let thread = Thread::new(tid, Arc::clone(self), signal_mask, affinity);
        self.threads.lock().insert(tid, Arc::clone(&thread));
        thread
    }

    /// A thread ended. The last one ends the process with `code`.
    pub(crate) fn remove_thread(&self, tid: Tid, code: u8) {
        let last = {
            let mut threads = self.threads.lock();
            if let Some(thread) = threads.remove(&tid) {
                self.count_ended(&thread);
                let mut sum = self.ended_io.lock();
                *sum = *sum + thread.io.sum();
            }
            threads.is_empty()
        };
        // Who else holds it is a pidfd.
        if Arc::strong_count(&self.thread_ended) > 1 {
            self.thread_ended.notify(PollEvents::READABLE | PollEvents::HUP);
        }
        if last {
            self.end(ExitStatus::Code(code));
        } else {
            self.pass_on(u64::MAX);
        }
    }

    /// The thread with this id.
    #[must_use]
    pub fn thread(&self, tid: Tid) -> Option<Arc<Thread>> {
        self.threads.lock().get(&tid).cloned()
    }

    /// The turn of `thread` begins on this CPU.
    pub(crate) fn begin_turn(&self, thread: &Arc<Thread>, now: Instant) {
        if let Some(slot) = self.on_cpu.get(hal::cpu::current().0 as usize) {
            slot.store(thread.tid.0, Ordering::Relaxed);
        }
        thread.usage.count(Counter::Turns, 1);
        self.timers.turn(thread, now);
    }

    /// The thread whose turn it is on this CPU.
    pub(crate) fn current_thread(&self) -> Option<Arc<Thread>> {
        let slot = self.on_cpu.get(hal::cpu::current().0 as usize)?;
        self.thread(Tid(slot.load(Ordering::Relaxed)))
    }

    /// The ids of all threads, ascending.
    #[must_use]
    pub fn thread_ids(&self) -> Vec<Tid> {
        self.threads.lock().keys().copied().collect()
    }

    /// Ends the process; the first call decides how. All threads stop at their next step.
    pub fn end(&self, status: ExitStatus) {
        {
            let mut exit = self.exit.lock();
            if exit.is_some() {
                return;
            }
            *exit = Some(status);
        }
        self.exiting.store(true, Ordering::Release);
        let threads: Vec<_> = self.threads.lock().values().cloned().collect();
        for thread in threads {
            thread.call_attention();
        }
        self.exited.wake_all();
    }

    /// True once [`Process::end`] was called.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.exiting.load(Ordering::Acquire)
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.lock()
    }

    /// Sends a signal to the process: some thread that does not block it gets it.
    ///
    /// # Errors
    /// `EAGAIN`: the queue of real-time signals is full.
    pub fn send_signal(&self, info: SignalInfo) -> Result<(), Errno> {
        self.send_signal_near(info, None).map(|_| ())
    }

    /// As [`Process::send_signal`], to `first` if it does not block the signal. `false`: the
    /// signal is ignored.
    pub(crate) fn send_signal_near(
        &self,
        info: SignalInfo,
        first: Option<&Arc<Thread>>,
    ) -> Result<bool, Errno> {
        if self.is_ignored(info.signal) {
            return Ok(false);
        }
        let has_room = self.has_signal_room(&info);
        self.pending.lock().push(info, has_room)?;
        let threads: Vec<_> = self.threads.lock().values().cloned().collect();
        let taker = first.into_iter().chain(&threads).find(|thread| thread.accepts(info.signal));
        if let Some(thread) = taker {
            thread.call_attention();
        }
        self.signal_sent.notify(PollEvents::IN);
        Ok(true)
    }

    /// A thread that was to take them does not take these signals (bits as in a mask) any more: what is pending of
    /// them goes to others (`retarget_shared_pending` of Linux). Called without that thread's locks.
    #[inline]
    pub(crate) fn pass_on(&self, signals: u64) {
        let pending = self.pending.lock().set() & signals;
        if pending != 0 {
            self.call_takers(pending);
        }
    }

    #[cold]
    #[inline(never)]
    fn call_takers(&self, signals: u64) {
        let threads: Vec<_> = self.threads.lock().values().cloned().collect();
        for signal in (1..=64).map(Signal).filter(|signal| signals >> (signal.0 - 1) & 1 != 0) {
            if let Some(taker) = threads.iter().find(|thread| thread.accepts(signal)) {
                taker.call_attention();
            }
        }
    }

    /// How many signals and timers RLIMIT_SIGPENDING counts.
    pub(crate) fn counted_signals(&self) -> usize {
        let own = |thread: &Arc<Thread>| thread.signals.lock().pending.counted();
        let of_threads: usize = self.threads.lock().values().map(own).sum();
        let shared = self.pending.lock().counted();
        of_threads + shared + self.timers.count()
    }

    /// True when RLIMIT_SIGPENDING allows to queue one more.
    pub(crate) fn has_signal_room(&self, info: &SignalInfo) -> bool {
        if !info.is_counted() {
            return true;
        }
        let limit = self.limits.lock().signals();
        self.counted_signals() < limit
    }

    /// Takes back the signals of a timer that are pending.
    pub(crate) fn discard_timer_signals(&self, id: i32) {
        self.pending.lock().discard_timer(id);
        let threads: Vec<_> = self.threads.lock().values().cloned().collect();
        for thread in threads {
            thread.signals.lock().pending.discard_timer(id);
        }
    }

    /// True when the signal would be dropped: ignored, or ignored by default. Threads that wait
    /// for it in sigtimedwait get it all the same.
    fn is_ignored(&self, signal: Signal) -> bool {
        let ignored = self.action(signal).is_ignored(signal);
        ignored && !self.threads.lock().values().any(|thread| thread.blocks_or_awaits(signal))
    }

    /// RLIMIT_NOFILE is now `descriptors`: the descriptor table follows.
    pub(crate) fn descriptor_limit_changed(&self, descriptors: u64) {
        self.files.set_limit(usize::try_from(descriptors).unwrap_or(usize::MAX));
    }

    /// How `signal` is handled.
    pub(crate) fn action(&self, signal: Signal) -> Action {
        let index = usize::from(signal.0).wrapping_sub(1);
        self.actions.lock().get(index).copied().unwrap_or_default()
    }
}
