//! The loop that everything hangs on, and one step of it. Each CPU runs it.

use crate::display::Keys;
use crate::start::System;
use alloc::format;
use alloc::string::String;
use base::Instant;
use core::sync::atomic::Ordering;
use hal::{clock, irq};
use syscalls::process::{ExitStatus, MachineEnd};

/// What to do after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Step again: something may be runnable.
    Again,
    /// Nothing to do until an interrupt; the timer is armed. [`System::woken`] follows.
    Idle,
    /// The program ended.
    Ended(ExitStatus),
}

impl System {
    /// Runs the program to its end and the machine to its. Each CPU calls it.
    pub fn run(&self) -> ! {
        loop {
            match self.step() {
                Next::Again => {}
                Next::Idle => {
                    hal::cpu::idle();
                    self.woken();
                }
                Next::Ended(status) => self.end(status),
            }
        }
    }

    /// The machine ends with the program. The CPU that sees it first says so.
    fn end(&self, status: ExitStatus) -> ! {
        if self.ending.swap(true, Ordering::Relaxed) {
            loop {
                hal::cpu::idle();
            }
        }
        self.return_files();
        if !hal::console::has_control() {
            match status {
                ExitStatus::Machine(MachineEnd::Restart) => hal::power::restart(),
                ExitStatus::Machine(MachineEnd::Halt) => {
                    if let Some(keys) = &self.keys {
                        keys.settle();
                    }
                    loop {
                        let _ = irq::take_pending();
                        hal::cpu::idle();
                    }
                }
                _ => {}
            }
        }
        hal::console::control(&last_words(status));
        hal::power::off(true)
    }

    /// Takes pending device work, wakes what is due, runs one task for one turn.
    pub fn step(&self) -> Next {
        if self.process.is_exiting()
            && let Some(status) = self.process.exit_status()
        {
            return Next::Ended(status);
        }
        let pending = irq::take_pending();
        if pending & self.console_interrupts != 0 {
            self.console.receive();
        }
        if pending & self.button_interrupts != 0 && hal::power::button_pressed() {
            self.target.terminate();
        }
        let now = clock::now();
        self.machine.count_load(now);
        if let Some(keys) = &self.keys {
            keys.serve(now, pending, &self.console.tty);
        }
        if pending & self.inputs.interrupts != 0 {
            self.inputs.serve(now, self.keys.as_ref(), &self.console.tty);
        }
        self.network.poll_if_due(now, pending);
        self.machine.timers.expire(now);
        if self.machine.begin_turn(now) {
            self.process.look(now);
        }
        if self.executor.run_one() {
            return Next::Again;
        }
        self.prepare_idle(now)
    }

    /// Arms the timer for whatever comes first. Devices are asked for interrupts last: what they
    /// have by then is work.
    fn prepare_idle(&self, now: Instant) -> Next {
        if self.network.enable_interrupts() || irq::any_pending() {
            return Next::Again;
        }
        if !self.executor.prepare_idle() {
            return Next::Again;
        }
        // After saying so: what other CPUs did before they knew.
        if self.network.wants_attention() || self.process.is_exiting() {
            self.executor.finish_idle();
            return Next::Again;
        }
        let timer = self.machine.timers.next();
        let network = self.network.next_deadline();
        let screen = self.keys.as_ref().and_then(Keys::next_deadline);
        let first = [timer, network, screen].into_iter().flatten().min();
        if first.is_some_and(|deadline| deadline <= now) {
            self.executor.finish_idle();
            return Next::Again;
        }
        clock::arm(first);
        self.machine.begin_idle(now);
        Next::Idle
    }

    /// This CPU was idle and goes on.
    pub fn woken(&self) {
        self.executor.finish_idle();
    }
}

/// The lines for the control channel that tell how the program ended.
fn last_words(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exit {code}"),
        ExitStatus::Signal(signal) => format!("signal {signal}"),
        ExitStatus::Machine(MachineEnd::PowerOff) => String::from("exit 0"),
        // Whoever watches may start it anew.
        ExitStatus::Machine(MachineEnd::Restart) => {
            String::from("warn the program restarts the machine, which ends here\nexit 0")
        }
        ExitStatus::Machine(MachineEnd::Halt) => {
            String::from("warn the program halts the machine, which ends here\nexit 0")
        }
    }
}
