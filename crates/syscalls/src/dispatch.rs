//! From the trap to the table row and back: the one place where results are written.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::signal::deliver;
use crate::table;
use crate::thread::Thread;
use crate::trace;
use alloc::sync::Arc;
use base::Errno;
use hal::user::UserContext;

/// Length of the `syscall` instruction, in bytes: to make a call again, go back by it.
const SYSCALL_BYTES: u64 = 2;

/// What the thread does after a call.
pub(crate) enum Step {
    /// It goes on.
    Continue,
    /// It ended with this exit code.
    Ended(u8),
}

/// Handles the system call that `user` trapped with.
pub(crate) async fn call(thread: &Arc<Thread>, user: &mut UserContext) -> Step {
    let registers = &user.registers;
    let number = registers.rax;
    let arguments =
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
    let Some(row) = table::lookup(number) else {
        deliver::say_unimplemented(thread, user, number);
        finish(thread, user, number, &arguments, Err(Errno::ENOSYS));
        return Step::Continue;
    };
    let mut call = Call { thread, user, arguments };
    match (row.handler)(&mut call) {
        Outcome::Done(result) => finish(thread, user, number, &arguments, result),
        Outcome::Wait(future) => match future.await {
            Ok(value) => finish(thread, user, number, &arguments, Ok(value)),
            Err(Failure::Errno(errno)) => finish(thread, user, number, &arguments, Err(errno)),
            Err(Failure::Interrupted(restart)) => {
                interrupted(thread, user, number, &arguments, restart);
            }
        },
        Outcome::Resumed => {}
        Outcome::Ended => {
            if thread.process.machine.trace {
                trace::print_last(&call, row);
            }
            return Step::Ended((arguments[0] & 0xff) as u8);
        }
    }
    Step::Continue
}

fn finish(
    thread: &Arc<Thread>,
    user: &mut UserContext,
    number: u64,
    arguments: &[u64; 6],
    result: Result<usize, Errno>,
) {
    user.registers.rax = match result {
        Ok(value) => value as u64,
        Err(errno) => (-i64::from(errno.number())).cast_unsigned(),
    };
    if thread.process.machine.trace {
        let row = table::lookup(number);
        trace::print(&thread.process, thread.tid, row, number, arguments, &result);
    }
}

/// A signal ended the call's sleep. Decides what the program sees (signal(7)): `EINTR`, or the
/// call made again after the handler.
fn interrupted(
    thread: &Arc<Thread>,
    user: &mut UserContext,
    number: u64,
    arguments: &[u64; 6],
    restart: Restart,
) {
    let again = match (restart, deliver::next_handler_restarts(thread)) {
        (Restart::Automatic, Some(handler_restarts)) => handler_restarts,
        (Restart::Automatic | Restart::NoHandler, None) => true,
        (Restart::NoHandler, Some(_)) | (Restart::Never, _) => false,
    };
    if again {
        user.registers.rip = user.registers.rip.wrapping_sub(SYSCALL_BYTES);
        user.registers.rax = number;
    } else {
        finish(thread, user, number, arguments, Err(Errno::EINTR));
    }
    thread.call_attention();
}
