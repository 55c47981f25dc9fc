//! From the trap to the table row and back: the one place where results are written.

use crate::call::{Call, Failure, Outcome, Restart, Waiting};
use crate::signal::deliver;
use crate::table;
use crate::thread::Thread;
use crate::trace;
use alloc::sync::Arc;
use base::Errno;
use hal::user::UserContext;

/// Length of the `syscall` instruction, in bytes: to make a call again, go back by it.
const SYSCALL_BYTES: u64 = 2;

/// What became of a call.
pub(crate) enum Step {
    /// The program goes on.
    Continue,
    /// The call sleeps; [`woken`] takes what its future gives.
    Sleeps(Waiting),
    /// The thread ended with this exit code.
    Ended(u8),
}

/// Handles the system call that `user` trapped with.
#[inline]
pub(crate) fn call(thread: &Arc<Thread>, user: &mut UserContext) -> Step {
    let Some(row) = table::lookup(user.registers.rax) else {
        deliver::say_unimplemented(thread, user, user.registers.rax);
        finish(thread, user, Err(Errno::ENOSYS));
        return Step::Continue;
    };
    let mut call = Call { thread, user };
    match (row.handler)(&mut call) {
        Outcome::Done(result) => finish(thread, user, result),
        Outcome::Wait(future) => return Step::Sleeps(future),
        Outcome::Resumed => {}
        Outcome::Ended => {
            if thread.process.machine.trace {
                trace::print_last(&call, row);
            }
            return Step::Ended(call.long(0) as u8);
        }
    }
    Step::Continue
}

/// The call that slept is over.
pub(crate) fn woken(thread: &Arc<Thread>, user: &mut UserContext, result: Result<usize, Failure>) {
    match result {
        Ok(value) => finish(thread, user, Ok(value)),
        Err(Failure::Errno(errno)) => finish(thread, user, Err(errno)),
        Err(Failure::Interrupted(restart)) => interrupted(thread, user, restart),
    }
}

/// Writes the result over the call's number.
#[inline]
fn finish(thread: &Thread, user: &mut UserContext, result: Result<usize, Errno>) {
    if thread.process.machine.trace {
        trace::print(thread, &user.registers, result);
    }
    user.registers.rax = match result {
        Ok(value) => value as u64,
        Err(errno) => (-i64::from(errno.number())).cast_unsigned(),
    };
}

/// A signal ended the call's sleep. Decides what the program sees (signal(7)): `EINTR`, or the
/// call made again after the handler.
fn interrupted(thread: &Arc<Thread>, user: &mut UserContext, restart: Restart) {
    let again = match (restart, deliver::next_handler_restarts(thread)) {
        (Restart::Automatic, Some(handler_restarts)) => handler_restarts,
        (Restart::Automatic | Restart::NoHandler, None) => true,
        (Restart::NoHandler, Some(_)) | (Restart::Never, _) => false,
    };
    if again {
        // The number is still in rax.
        user.registers.rip = user.registers.rip.wrapping_sub(SYSCALL_BYTES);
    } else {
        finish(thread, user, Err(Errno::EINTR));
    }
    thread.look_again();
}
