//! One system call on its way: who makes it, with which arguments, and how it may end.

use crate::process::Process;
use crate::thread::Thread;
use alloc::boxed::Box;
use alloc::sync::Arc;
use base::{Errno, Fd, Signal, UserAddr};
use core::future::Future;
use core::pin::Pin;
use hal::Registers;
use hal::user::UserContext;
use mm::Mm;

/// A system call being handled.
pub struct Call<'a> {
    /// The calling thread.
    pub thread: &'a Arc<Thread>,
    /// Its registers, with the call's number still in `rax`.
    pub user: &'a mut UserContext,
}

/// The six argument registers.
#[must_use]
pub(crate) fn arguments(registers: &Registers) -> [u64; 6] {
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
}

impl Call<'_> {
    /// The calling process.
    #[must_use]
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.thread.process
    }

    /// The program's memory.
    #[must_use]
    #[inline]
    pub fn memory(&self) -> &Arc<Mm> {
        &self.thread.process.memory
    }

    #[inline]
    fn argument(&self, index: usize) -> u64 {
        let registers = &self.user.registers;
        match index {
            0 => registers.rdi,
            1 => registers.rsi,
            2 => registers.rdx,
            3 => registers.r10,
            4 => registers.r8,
            5 => registers.r9,
            _ => 0,
        }
    }

    /// Argument `index` as a 64-bit number: `size_t`, `unsigned long`.
    #[must_use]
    #[inline]
    pub fn long(&self, index: usize) -> u64 {
        self.argument(index)
    }

    /// Argument `index` as a C `int`: the low 32 bits, as the ABI says.
    #[must_use]
    #[inline]
    pub fn int(&self, index: usize) -> i32 {
        (self.argument(index) as u32).cast_signed()
    }

    /// Argument `index` as a C `unsigned int`: the low 32 bits.
    #[must_use]
    #[inline]
    pub fn unsigned(&self, index: usize) -> u32 {
        self.argument(index) as u32
    }

    /// Argument `index` as a length in bytes.
    #[must_use]
    #[inline]
    pub fn size(&self, index: usize) -> usize {
        usize::try_from(self.argument(index)).unwrap_or(usize::MAX)
    }

    /// Argument `index` as a descriptor number.
    #[must_use]
    #[inline]
    pub fn fd(&self, index: usize) -> Fd {
        Fd(self.int(index))
    }

    /// Argument `index` as a pointer.
    #[must_use]
    #[inline]
    pub fn address(&self, index: usize) -> UserAddr {
        UserAddr(self.argument(index))
    }

    /// Argument `index` as a signal number.
    ///
    /// # Errors
    /// `EINVAL` unless it is 1 to 64.
    pub fn signal(&self, index: usize) -> Result<Signal, Errno> {
        match self.int(index) {
            number @ 1..=64 => Ok(Signal(number as u8)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What a call that sleeps ends with when it does not end with a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// An error for the program.
    Errno(Errno),
    /// A signal came first; what the program sees depends on the handler.
    Interrupted(Restart),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// What becomes of an interrupted call (signal(7), "Interruption of system calls").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// Made again when the handler has `SA_RESTART` or when no handler runs, else `EINTR`
    /// (Linux: `ERESTARTSYS`).
    Automatic,
    /// `EINTR` when a handler runs, made again otherwise (Linux: `ERESTARTNOHAND`).
    NoHandler,
    /// Always `EINTR`.
    Never,
}

/// The future of a call that sleeps.
pub type Waiting = Pin<Box<dyn Future<Output = Result<usize, Failure>> + Send>>;

/// How a handler ends.
pub enum Outcome {
    /// At once. The common case: no allocation on the way.
    Done(Result<usize, Errno>),
    /// The thread sleeps; the future gives the result.
    Wait(Waiting),
    /// The handler set all registers itself (`rt_sigreturn`): no result is written.
    Resumed,
    /// The thread ends (`exit`, `exit_group`).
    Ended,
}

impl Outcome {
    /// Sleeps in `future`.
    pub fn wait(future: impl Future<Output = Result<usize, Failure>> + Send + 'static) -> Self {
        Self::Wait(Box::pin(future))
    }
}

impl From<Result<usize, Errno>> for Outcome {
    fn from(result: Result<usize, Errno>) -> Self {
        Self::Done(result)
    }
}

impl From<Errno> for Outcome {
    fn from(errno: Errno) -> Self {
        Self::Done(Err(errno))
    }
}
