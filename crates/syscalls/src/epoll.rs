//! epoll.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::file_io::outcome;
use crate::pipe::install;
use crate::poll::{Timeout, set_mask};
use crate::table::{Row, full};
use crate::trace::Argument::{self, Fd, Flags, Hex, Int, Name};
use abi::number as nr;
use abi::time::Timespec;
use alloc::sync::Arc;
use base::address::USER_END;
use base::{Errno, UserAddr};
use core::time::Duration;
use hal::Access;
use mm::Mm;
use vfs::epoll::{Epoll, Full, Interest};
use vfs::{OpenFile, OpenFlags};

const CREATE: Argument = Flags(&[(0o2_000_000, "EPOLL_CLOEXEC")]);
const OPERATIONS: &[(u64, &str)] =
    &[(1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD")];

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::EPOLL_CREATE, "epoll_create", &[Int], |call| epoll_create(call).into()),
    full(nr::EPOLL_CREATE1, "epoll_create1", &[CREATE], |call| epoll_create1(call).into()),
    full(nr::EPOLL_CTL, "epoll_ctl", &[Fd, Name(OPERATIONS), Fd, Hex], |call| {
        epoll_ctl(call).into()
    }),
    full(nr::EPOLL_WAIT, "epoll_wait", &[Fd, Hex, Int, Int], |call| outcome(call, epoll_wait)),
    full(nr::EPOLL_PWAIT, "epoll_pwait", &[Fd, Hex, Int, Int, Hex, Int], |call| {
        outcome(call, epoll_pwait)
    }),
    full(nr::EPOLL_PWAIT2, "epoll_pwait2", &[Fd, Hex, Int, Hex, Hex, Int], |call| {
        outcome(call, epoll_pwait2)
    }),
];

/// `struct epoll_event` is packed on x86-64: events in 4 bytes, then the data in 8.
const EVENT_BYTES: u64 = 12;
/// Most events of one call (`EP_MAX_EVENTS`).
const EVENTS_MAX: i32 = i32::MAX / EVENT_BYTES as i32;

/// Memory made for events at once, in bytes.
const PREPARED_BYTES: u64 = 4096;
/// How often an event's memory may refuse though it was made.
const ATTEMPTS: u32 = 16;

fn epoll_create(call: &Call<'_>) -> Result<usize, Errno> {
    if call.int(0) <= 0 {
        return Err(Errno::EINVAL);
    }
    install(call, Epoll::new(), OpenFlags::RDWR)
}

fn epoll_create1(call: &Call<'_>) -> Result<usize, Errno> {
    let flags = call.unsigned(0);
    if flags & !OpenFlags::CLOEXEC.bits() != 0 {
        return Err(Errno::EINVAL);
    }
    install(call, Epoll::new(), OpenFlags::from_bits_truncate(flags) | OpenFlags::RDWR)
}

fn instance(open: &OpenFile) -> Result<&Epoll, Errno> {
    open.usable()?.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

fn epoll_ctl(call: &Call<'_>) -> Result<usize, Errno> {
    const ADD: i32 = 1;
    const DEL: i32 = 2;
    const MOD: i32 = 3;
    let operation = call.int(1);
    // Linux reads the event first, and for DEL not at all.
    let interest = if operation == DEL {
        Interest { events: 0, data: 0 }
    } else {
        let mut bytes = [0; EVENT_BYTES as usize];
        call.memory().read_bytes(call.address(3), &mut bytes)?;
        let [a, b, c, d, data @ ..] = bytes;
        Interest { events: u32::from_le_bytes([a, b, c, d]), data: u64::from_le_bytes(data) }
    };
    let outer = call.open_file(0)?;
    let fd = call.fd(2);
    let file = call.process().files.get(fd)?;
    if file.usable()?.notifier().is_none() {
        return Err(Errno::EPERM);
    }
    let epoll = instance(&outer)?;
    if Arc::ptr_eq(&outer, &file) {
        return Err(Errno::EINVAL);
    }
    match operation {
        ADD => epoll.add(fd, &file, interest)?,
        DEL => epoll.remove(fd, &file)?,
        MOD => epoll.modify(fd, &file, interest)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn epoll_wait(call: &Call<'_>) -> Result<Outcome, Errno> {
    wait(call, milliseconds(call.int(3)), None)
}

fn milliseconds(timeout: i32) -> Timeout {
    match u64::try_from(timeout) {
        Ok(milliseconds) => Timeout::of(Duration::from_millis(milliseconds)),
        Err(_) => Timeout::Never,
    }
}

/// The signal mask in arguments `index` and `index + 1`.
fn mask(call: &Call<'_>, index: usize) -> Result<Option<u64>, Errno> {
    crate::poll::read_mask(call, call.address(index), call.size(index + 1))
}

fn epoll_pwait(call: &Call<'_>) -> Result<Outcome, Errno> {
    let mask = mask(call, 4)?;
    wait(call, milliseconds(call.int(3)), mask)
}

fn epoll_pwait2(call: &Call<'_>) -> Result<Outcome, Errno> {
    let at = call.address(3);
    let timeout = if at.is_null() {
        Timeout::Never
    } else {
        Timeout::of(call.memory().read::<Timespec>(at)?.duration()?)
    };
    let mask = mask(call, 4)?;
    wait(call, timeout, mask)
}

/// Where events go.
#[derive(Clone, Copy)]
struct Events {
    address: UserAddr,
    count: usize,
}

impl Events {
    fn collect(self, memory: &Mm, epoll: &Epoll) -> Result<usize, Errno> {
        for _ in 0..ATTEMPTS {
            let mut at = self.address;
            let result = epoll.collect(self.count, &mut |events, data| {
                let mut bytes = [0; EVENT_BYTES as usize];
                let (first, second) = bytes.split_at_mut(4);
                first.copy_from_slice(&events.to_le_bytes());
                second.copy_from_slice(&data.to_le_bytes());
                let stored = memory.write_if_present(at, &bytes);
                at = at.wrapping_add(EVENT_BYTES * u64::from(stored));
                stored
            });
            match result {
                Ok(count) => return Ok(count),
                // Not one event could be stored: its memory is made without the lock. A later one
                // is left for the next call.
                Err(Full) => {
                    let bytes = self.count as u64 * EVENT_BYTES;
                    memory.prepare(at, bytes.min(PREPARED_BYTES) as usize, Access::Write)?;
                    let last = at.wrapping_add(EVENT_BYTES - 1);
                    memory.prepare(last, 1, Access::Write)?;
                }
            }
        }
        Err(Errno::EFAULT)
    }
}

fn wait(call: &Call<'_>, timeout: Timeout, mask: Option<u64>) -> Result<Outcome, Errno> {
    let count = call.int(2);
    if count <= 0 || count > EVENTS_MAX {
        return Err(Errno::EINVAL);
    }
    let (address, count) = (call.address(1), count.cast_unsigned() as usize);
    let end = address.checked_add(count as u64 * EVENT_BYTES).ok_or(Errno::EFAULT)?;
    if end.0 > USER_END {
        return Err(Errno::EFAULT);
    }
    let open = call.open_file(0)?;
    let epoll = instance(&open)?;
    let events = Events { address, count };
    set_mask(call, mask);
    let ready = events.collect(call.memory(), epoll);
    if ready != Ok(0) || timeout == Timeout::Now {
        return Ok(ready.into());
    }
    let deadline = timeout.deadline();
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let epoll = instance(&open)?;
        loop {
            let woken = epoll.wait();
            let ready = events.collect(&thread.process.memory, epoll)?;
            if ready > 0 {
                return Ok(ready);
            }
            match thread.interruptible(woken, deadline, Restart::Never).await {
                Ok(()) => {}
                Err(Failure::Errno(Errno::ETIMEDOUT)) => {
                    return Ok(events.collect(&thread.process.memory, epoll)?);
                }
                Err(failure) => return Err(failure),
            }
        }
    }))
}
