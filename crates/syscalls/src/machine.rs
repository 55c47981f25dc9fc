//! What the machine offers to the process: time, tasks, randomness, its words to the outside.

use crate::accounting::CpuTime;
use crate::load::Load;
use crate::random::Random;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use base::Instant;
use base::sync::Once;
use core::sync::atomic::Ordering;
use core::time::Duration;
use net::{Stack, StackConfig};
use sched::{Spawner, Timers};
use vfs::pseudo::ProcFile;

/// Longest time the program runs before others get their turn.
pub(crate) const SLICE: Duration = Duration::from_millis(4);

/// The parts of the machine that system calls use.
pub struct Machine {
    /// Deadlines.
    pub timers: Arc<Timers>,
    /// Adds tasks to the run queue.
    pub spawner: Spawner,
    /// The random number generator.
    pub random: Random,
    /// What uname(2) calls the machine.
    pub hostname: String,
    /// How many CPUs the program may use.
    pub cpus: u32,
    /// Print every system call.
    pub trace: bool,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: [u8; 16],
    pub(crate) load: Load,
    network: Once<Arc<Stack>>,
    /// The time of each CPU.
    pub(crate) cpu_times: Box<[CpuTime]>,
}

impl Machine {
    /// A machine with these parts.
    #[must_use]
    pub fn new(
        timers: Arc<Timers>,
        spawner: Spawner,
        random: Random,
        hostname: String,
        cpus: u32,
        trace: bool,
    ) -> Arc<Self> {
        let mut boot_id = [0; 16];
        random.fill(&mut boot_id);
        let cpu_times = (0..cpus.max(1)).map(|_| CpuTime::default()).collect();
        let network = Once::new();
        Arc::new(Self {
            timers,
            spawner,
            random,
            hostname,
            cpus,
            trace,
            boot_id,
            load: Load::new(),
            network,
            cpu_times,
        })
    }

    /// The network stack. Unless [`Machine::set_network`] came first, it has a loopback
    /// interface and nothing else.
    pub fn network(&self) -> &Arc<Stack> {
        self.network.call_once(|| Stack::new(self.stack_config(&|_| {})))
    }

    /// Gives the machine its network stack. Only the first call counts.
    pub fn set_network(&self, stack: &Arc<Stack>) {
        self.network.call_once(|| Arc::clone(stack));
    }

    /// Descriptors were closed: frees the sockets that only they led to.
    #[inline]
    pub(crate) fn descriptors_closed(&self) {
        if let Some(stack) = self.network.get() {
            stack.unix().collect_unreachable();
        }
    }

    /// What a network stack of this machine needs. `log` takes its warnings.
    #[must_use]
    pub fn stack_config(&self, log: &'static (dyn Fn(&str) + Send + Sync)) -> StackConfig {
        let mut seed = [0; 32];
        self.random.fill(&mut seed);
        let random = Random::new(&seed);
        let bytes = hal::memory::statistics().total * base::PAGE_SIZE;
        StackConfig {
            clock: Box::new(hal::clock::now),
            random: Box::new(move || random.number()),
            log: Box::new(log),
            // A quarter of the memory for what is on its way.
            socket_memory: usize::try_from(bytes / 4).unwrap_or(usize::MAX),
        }
    }

    /// A file of /proc/net.
    #[must_use]
    pub fn network_text(&self, file: ProcFile) -> String {
        crate::socket_proc::text(self.network(), file)
    }

    /// The time of this CPU.
    pub(crate) fn cpu_time(&self) -> &CpuTime {
        &self.cpu_times[hal::cpu::current().0 as usize % self.cpu_times.len()]
    }

    /// This CPU is about to run the program for a turn: arms the timer for the next thing to come,
    /// the end of the turn or a deadline. What comes up during the turn arms it sooner.
    pub fn arm_turn(&self) {
        hal::clock::arm(Some(self.timers.earliest().min(self.cpu_time().turn_end())));
    }

    /// Keeps the load averages. Called before what is due at `now` makes tasks runnable: those that
    /// are have been so for a while.
    #[inline]
    pub fn count_load(&self, now: Instant) {
        if self.load.is_due(now) {
            self.load.count(now, self.spawner.active());
        }
    }

    /// A task's turn starts. True when [`crate::process::Process::look`] must follow.
    #[inline]
    #[must_use]
    pub fn begin_turn(&self, now: Instant) -> bool {
        self.cpu_time().begin_turn(now, now + SLICE)
    }

    /// This CPU has nothing to do from `now` on.
    pub fn begin_idle(&self, now: Instant) {
        self.cpu_time().begin_idle(now);
    }

    /// The running task's turn ends at `deadline` if not before.
    pub fn shorten_turn(&self, deadline: Instant) {
        self.cpu_time().slice_end.fetch_min(deadline.nanoseconds(), Ordering::Relaxed);
        hal::clock::arm_sooner(deadline);
    }

    /// True when the running task should let others run: devices, timers, or its turn is over.
    #[must_use]
    pub fn yield_due(&self, now: Instant) -> bool {
        hal::irq::any_pending()
            || self.timers.earliest() <= now
            || now.nanoseconds() >= self.cpu_time().slice_end.load(Ordering::Relaxed)
    }
}
