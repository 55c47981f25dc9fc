//! The calls of futex2 (futex_waitv, futex_wait, futex_wake, futex_requeue), and FUTEX_WAKE_OP.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::file_io::outcome;
use crate::table::{Row, full};
use crate::threads::with_word;
use crate::trace::Argument::{Hex, Int, Timespec as TimespecArg};
use abi::number as nr;
use abi::time::Timespec;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, Instant, UserAddr};
use core::future::Future;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use sched::FutexWait;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::FUTEX_WAITV, "futex_waitv", &[Hex, Int, Hex, TimespecArg, Int], |call| {
        outcome(call, futex_waitv)
    }),
    full(nr::FUTEX_WAKE, "futex_wake", &[Hex, Hex, Int, Hex], |call| futex_wake(call).into()),
    full(nr::FUTEX_WAIT, "futex_wait", &[Hex, Hex, Hex, Hex, TimespecArg, Int], |call| {
        outcome(call, futex_wait)
    }),
    full(nr::FUTEX_REQUEUE, "futex_requeue", &[Hex, Hex, Int, Int], |call| {
        futex_requeue(call).into()
    }),
];

/// `struct futex_waitv`: one word to wait for.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Word {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Most words that one call waits for (`FUTEX_WAITV_MAX`).
const WORDS_MAX: u32 = 128;

/// Checks the flags of a word: 32 bits, private or not.
fn check_flags(flags: u32) -> Result<(), Errno> {
    const SIZE_U32: u32 = 2;
    const PRIVATE: u32 = 128;
    if flags & !PRIVATE == SIZE_U32 { Ok(()) } else { Err(Errno::EINVAL) }
}

fn check_address(address: UserAddr) -> Result<UserAddr, Errno> {
    if address.0.is_multiple_of(4) { Ok(address) } else { Err(Errno::EINVAL) }
}

fn narrow(value: u64) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

impl Word {
    fn decode(self) -> Result<(UserAddr, u32), Errno> {
        check_flags(self.flags)?;
        if self.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        Ok((check_address(UserAddr(self.address))?, narrow(self.value)?))
    }
}

/// The deadline at `at`, an absolute time of clock `clock`.
fn deadline(call: &Call<'_>, at: UserAddr, clock: i32) -> Result<Option<Instant>, Errno> {
    const REALTIME: i32 = 0;
    const MONOTONIC: i32 = 1;
    if at.is_null() {
        return Ok(None);
    }
    if !matches!(clock, REALTIME | MONOTONIC) {
        return Err(Errno::EINVAL);
    }
    let time = call.memory().read::<Timespec>(at)?.duration()?;
    if clock == MONOTONIC {
        return Ok(Some(Instant::ZERO + time));
    }
    let now = hal::clock::now();
    let wall = Duration::from_nanos(hal::clock::wall(now).nanoseconds);
    Ok(Some(now + time.saturating_sub(wall)))
}

fn join(call: &Call<'_>, address: UserAddr, value: u32, bits: u32) -> Result<FutexWait, Errno> {
    let futexes = &call.process().futexes;
    with_word(call.memory(), address, Some(value), |check| futexes.wait_if(address, bits, check))
}

/// Leaves all queues; the last of those that were woken before.
fn leave(waits: &mut [FutexWait]) -> Option<usize> {
    let mut woken = None;
    for (at, wait) in waits.iter_mut().enumerate() {
        if wait.leave() {
            woken = Some(at);
        }
    }
    woken
}

fn futex_waitv(call: &Call<'_>) -> Result<Outcome, Errno> {
    let (first, count) = (call.address(0), call.unsigned(1));
    if call.unsigned(2) != 0 || !(1..=WORDS_MAX).contains(&count) || first.is_null() {
        return Err(Errno::EINVAL);
    }
    let deadline = deadline(call, call.address(3), call.int(4))?;
    let mut words = Vec::with_capacity(count as usize);
    for at in 0..u64::from(count) {
        let word: Word = call.memory().read(first.wrapping_add(at * size_of::<Word>() as u64))?;
        words.push(word.decode()?);
    }
    let mut waits = Vec::with_capacity(words.len());
    for (address, value) in words {
        match join(call, address, value, u32::MAX) {
            Ok(wait) => waits.push(wait),
            Err(errno) => return Ok(leave(&mut waits).ok_or(errno).into()),
        }
    }
    Ok(wait_for_one(call, waits, deadline))
}

fn wait_for_one(call: &Call<'_>, mut waits: Vec<FutexWait>, deadline: Option<Instant>) -> Outcome {
    let thread = Arc::clone(call.thread);
    Outcome::wait(async move {
        let any = core::future::poll_fn(|context| {
            let woken = |wait: &mut FutexWait| Pin::new(wait).poll(context).is_ready();
            if waits.iter_mut().any(woken) { Poll::Ready(()) } else { Poll::Pending }
        });
        // The time is absolute: it can be waited for again.
        let result = thread.interruptible(any, deadline, Restart::Automatic).await;
        match (leave(&mut waits), result) {
            (Some(woken), _) => Ok(woken),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => Err(Failure::Errno(Errno::EAGAIN)),
        }
    })
}

fn futex_wait(call: &Call<'_>) -> Result<Outcome, Errno> {
    check_flags(call.unsigned(3))?;
    let (value, bits) = (narrow(call.long(1))?, narrow(call.long(2))?);
    let deadline = deadline(call, call.address(4), call.int(5))?;
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let wait = join(call, check_address(call.address(0))?, value, bits)?;
    Ok(wait_for_one(call, alloc::vec![wait], deadline))
}

fn futex_wake(call: &Call<'_>) -> Result<usize, Errno> {
    check_flags(call.unsigned(3))?;
    let bits = narrow(call.long(1))?;
    let address = check_address(call.address(0))?;
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    // Unlike FUTEX_WAKE, none when none is asked for.
    let count = usize::try_from(call.int(2)).unwrap_or(0);
    Ok(if call.int(2) == 0 { 0 } else { call.process().futexes.wake(address, count.max(1), bits) })
}

fn futex_requeue(call: &Call<'_>) -> Result<usize, Errno> {
    let first = call.address(0);
    if call.unsigned(1) != 0 || first.is_null() {
        return Err(Errno::EINVAL);
    }
    let [from, to]: [Word; 2] = {
        let second = first.wrapping_add(size_of::<Word>() as u64);
        [call.memory().read(first)?, call.memory().read(second)?]
    };
    let ((from, value), (to, _)) = (from.decode()?, to.decode()?);
    let count = |at| usize::try_from(call.int(at)).map_err(|_| Errno::EINVAL);
    let (wake, requeue) = (count(2)?, count(3)?);
    let futexes = &call.process().futexes;
    let (woken, moved) = with_word(call.memory(), from, Some(value), |check| {
        futexes.requeue((from, wake), (to, requeue), check)
    })?;
    Ok(woken + moved)
}

/// FUTEX_WAKE_OP: changes the word at `uaddr2` as argument 5 says, wakes waiters of `first`, and those
/// of the word if what it held compares.
pub(crate) fn wake_op(
    call: &Call<'_>,
    first: (UserAddr, usize),
    second: usize,
) -> Result<usize, Errno> {
    let operation = Operation(call.unsigned(5));
    let word = check_address(call.address(4))?;
    let mut old = call.memory().load_u32(word)?;
    loop {
        let held = call.memory().compare_exchange_u32(word, old, operation.apply(old)?)?;
        if held == old {
            break;
        }
        old = held;
    }
    let also = operation.compares(old)?;
    // Linux changes the word and wakes in one step. Here one who comes in between, for the word as it
    // is now, may be woken too: a waiter looks at its word again whenever it is woken.
    let futexes = &call.process().futexes;
    let woken = futexes.wake(first.0, first.1, u32::MAX);
    Ok(woken + if also { futexes.wake(word, second, u32::MAX) } else { 0 })
}

/// `FUTEX_OP(op, oparg, cmp, cmparg)`.
#[derive(Clone, Copy)]
struct Operation(u32);

impl Operation {
    /// The 12 bits from `at` on, with their sign.
    fn number(self, at: u32) -> i32 {
        (self.0 << (20 - at)).cast_signed() >> 20
    }

    fn apply(self, old: u32) -> Result<u32, Errno> {
        const SHIFT: u32 = 8;
        let kind = self.0 >> 28;
        let given = self.number(12);
        let operand = if kind & SHIFT != 0 { 1 << (given & 31) } else { given.cast_unsigned() };
        Ok(match kind & !SHIFT {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return Err(Errno::ENOSYS),
        })
    }

    fn compares(self, old: u32) -> Result<bool, Errno> {
        let (old, with) = (old.cast_signed(), self.number(0));
        Ok(match self.0 >> 24 & 15 {
            0 => old == with,
            1 => old != with,
            2 => old < with,
            3 => old <= with,
            4 => old > with,
            5 => old >= with,
            _ => return Err(Errno::ENOSYS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_decode_as_the_manual_says() {
        // FUTEX_OP(FUTEX_OP_ADD, -3, FUTEX_OP_CMP_LT, -1)
        let add = Operation(1 << 28 | 2 << 24 | (0xffd << 12) | 0xfff);
        assert_eq!(add.apply(10), Ok(7));
        assert_eq!(add.compares(u32::MAX - 1), Ok(true));
        assert_eq!(add.compares(0), Ok(false));
        // FUTEX_OP_OR with the shift, 4; FUTEX_OP_CMP_EQ, 5.
        let or = Operation(10 << 28 | 4 << 12 | 5);
        assert_eq!(or.apply(1), Ok(17));
        assert_eq!(or.compares(5), Ok(true));
        assert_eq!(Operation(5 << 28).apply(0), Err(Errno::ENOSYS));
        assert_eq!(Operation(6 << 24).compares(0), Err(Errno::ENOSYS));
    }
}
