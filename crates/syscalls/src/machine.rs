//! What the machine offers to the process: time, tasks, randomness, its words to the outside.

use crate::random::Random;
use alloc::string::String;
use alloc::sync::Arc;
use base::Instant;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use sched::{Spawner, Timers};
use vfs::pseudo::ProcFile;

/// Longest time the program runs before others get their turn.
const SLICE: Duration = Duration::from_millis(4);

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
    /// When the running task's turn began.
    turn_began: AtomicU64,
    /// When the running task's turn ends.
    slice_end: AtomicU64,
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
        let (turn_began, slice_end) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { timers, spawner, random, hostname, cpus, trace, boot_id, turn_began, slice_end })
    }

    /// A file of /proc/net.
    #[must_use]
    pub fn network_text(&self, _file: ProcFile) -> String {
        String::new()
    }

    /// Arms the timer for the next thing to come: the end of this turn, or a deadline. Called
    /// before the program runs; cheap when nothing changed.
    pub fn arm_for_user(&self) {
        let slice_end = Instant::from_nanoseconds(self.slice_end.load(Ordering::Relaxed));
        let deadline = self.timers.earliest().min(slice_end);
        hal::clock::arm(Some(deadline));
    }

    /// A task's turn starts.
    pub fn begin_turn(&self, now: Instant) {
        self.turn_began.store(now.nanoseconds(), Ordering::Relaxed);
        self.slice_end.store((now + SLICE).nanoseconds(), Ordering::Relaxed);
    }

    /// When the running task's turn began.
    #[must_use]
    pub fn turn_began(&self) -> Instant {
        Instant::from_nanoseconds(self.turn_began.load(Ordering::Relaxed))
    }

    /// True when the running task should let others run: devices, timers, or its turn is over.
    #[must_use]
    pub fn yield_due(&self) -> bool {
        if hal::irq::any_pending() {
            return true;
        }
        let now = hal::clock::now();
        if self.timers.earliest() <= now {
            return true;
        }
        let over = now.nanoseconds() >= self.slice_end.load(Ordering::Relaxed);
        if over && self.spawner.runnable() == 0 {
            self.slice_end.store((now + SLICE).nanoseconds(), Ordering::Relaxed);
            return false;
        }
        over
    }
}
