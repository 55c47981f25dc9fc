//! The processors of the simulated machine: they take their steps in a seeded order, and an idle one
//! goes on only when it is interrupted.

use base::{CpuId, Instant};
use hal::sim;
use system::{ExitStatus, Next, System};

pub(crate) struct Processors {
    count: u32,
    /// Those that have something to do, as bits.
    awake: u64,
    /// Those whose last step ended idle.
    idle: u64,
}

impl Processors {
    pub(crate) fn new(count: u32) -> Self {
        sim::set_processors(count);
        Self { count, awake: (1 << count) - 1, idle: 0 }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    fn all(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.count
    }

    /// Lets them step until all are idle (`None`) or the program ended.
    pub(crate) fn run(&mut self, system: &System) -> Option<ExitStatus> {
        while self.awake != 0 {
            let nth = sim::random() as u32 % self.awake.count_ones();
            let is_awake = |cpu: &u32| self.awake >> cpu & 1 == 1;
            let cpu = self.all().filter(is_awake).nth(nth as usize).expect("one is awake");
            sim::switch_to(CpuId(cpu));
            if self.idle >> cpu & 1 == 1 {
                self.idle &= !(1 << cpu);
                system.woken();
            }
            match system.step() {
                Next::Again => {}
                Next::Idle => {
                    self.awake &= !(1 << cpu);
                    self.idle |= 1 << cpu;
                }
                Next::Ended(status) => return Some(status),
            }
            self.awake |= sim::take_kicked();
        }
        None
    }

    /// A device interrupts a processor.
    pub(crate) fn wake(&mut self, cpu: u32) {
        self.awake |= 1 << cpu;
    }

    /// The earliest timer of them all.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.all().filter_map(timer_of).min()
    }

    /// Interrupts those whose timers are due.
    pub(crate) fn wake_due(&mut self) {
        let now = hal::clock::now();
        let is_due = |cpu: &u32| timer_of(*cpu).is_some_and(|deadline| deadline <= now);
        self.awake = self.all().filter(is_due).fold(self.awake, |awake, cpu| awake | 1 << cpu);
    }
}

fn timer_of(cpu: u32) -> Option<Instant> {
    sim::switch_to(CpuId(cpu));
    sim::armed_timer()
}
