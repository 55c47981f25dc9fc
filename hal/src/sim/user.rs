//! The program's registers, and running it: here a program is a script, an async function that
//! makes system calls through [`super::sim::Script`].

use super::sim::{Machine, ScriptFuture};
use super::space::AddressSpace;
use crate::types::{Registers, Trap};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

/// The register file of one thread: general registers and vector state.
pub struct UserContext {
    /// General registers; the kernel reads and writes them between runs.
    pub registers: Registers,
    script: Option<(Arc<Mutex<Machine>>, ScriptFuture)>,
    vector: Vec<u8>,
}

/// Bytes of the XSAVE area that signal frames carry.
#[must_use]
pub fn vector_state_bytes() -> usize {
    576
}

/// The XCR0 feature mask that user code may use.
#[must_use]
pub fn vector_state_features() -> u64 {
    3
}

/// The thread that ran on this processor goes to sleep or waits for its turn: it may go on
/// elsewhere.
pub fn park() {}

impl UserContext {
    /// A thread about to start at `entry` with stack pointer `stack`, all else as the System V ABI
    /// wants it at process start: MXCSR 0x1f80, x87 control word 0x37f, DF clear.
    #[must_use]
    pub fn new(entry: u64, stack: u64) -> Self {
        let registers = Registers { rip: entry, rsp: stack, rflags: 0x202, ..Default::default() };
        Self { registers, script: None, vector: vec![0; vector_state_bytes()] }
    }

    /// A thread that runs a script.
    pub(super) fn of_script(machine: Arc<Mutex<Machine>>, script: ScriptFuture) -> Self {
        let mut context = Self::new(0, 0);
        context.script = Some((machine, script));
        context
    }

    /// A copy for a new thread (clone(2)): same registers, same vector state.
    #[must_use]
    pub fn duplicate(&mut self) -> Self {
        let next = self.script.as_ref().and_then(|(machine, _)| {
            let mut locked = machine.lock().unwrap_or_else(PoisonError::into_inner);
            locked.take_thread()
        });
        let script = next.map(super::sim::thread);
        Self { registers: self.registers, script, vector: self.vector.clone() }
    }

    /// Runs the program until it traps.
    pub fn run(&mut self, space: &AddressSpace) -> Trap {
        let Some((machine, script)) = &mut self.script else {
            return Trap::Interrupt;
        };
        {
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.enter(self.registers.rax, space);
        }
        let _ = script.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.leave(&mut self.registers, space)
    }

    /// The vector state in XSAVE's standard (non-compacted) format,
    /// [`vector_state_bytes`] long.
    pub fn vector_state(&mut self, into: &mut [u8]) {
        let count = into.len().min(self.vector.len());
        into[..count].copy_from_slice(&self.vector[..count]);
    }

    /// Makes the vector state what it is at process start.
    pub fn reset_vector_state(&mut self) {
        self.vector.fill(0);
    }

    /// Replaces the vector state by one in the same format. Reserved bits are masked, never
    /// trusted. `false` (and nothing changed) when the header is not valid.
    pub fn set_vector_state(&mut self, from: &[u8]) -> bool {
        if from.len() != self.vector.len() {
            return false;
        }
        self.vector.copy_from_slice(from);
        true
    }
}
