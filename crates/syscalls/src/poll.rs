//! poll and select.
//!
//! A call that must wait attaches one [`Watcher`] to every file; what it observes wakes the call,
//! which asks all files again. Many files are epoll's business.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::file_io::outcome;
use crate::table::{Row, full};
use crate::thread::Thread;
use crate::trace::Argument::{Hex, Int, Size, Timespec as Time};
use abi::file::PollFd;
use abi::number as nr;
use abi::time::{Timespec, Timeval};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, Fd, Instant, UserAddr};
use core::time::Duration;
use mm::Mm;
use sched::{Observer, PollEvents, Registration, WaitQueue};
use vfs::{FdTable, OpenFile};

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::POLL, "poll", &[Hex, Size, Int], |call| outcome(call, poll)),
    full(nr::PPOLL, "ppoll", &[Hex, Size, Time, Hex, Size], |call| outcome(call, ppoll)),
    full(nr::SELECT, "select", &[Int, Hex, Hex, Hex, Hex], |call| outcome(call, select)),
    full(nr::PSELECT6, "pselect6", &[Int, Hex, Hex, Hex, Time, Hex], |call| {
        outcome(call, pselect6)
    }),
];

/// How long a call waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timeout {
    /// Not at all.
    Now,
    /// Until then.
    At(Instant),
    /// For ever.
    Never,
}

impl Timeout {
    /// From now on.
    pub(crate) fn of(duration: Duration) -> Self {
        if duration.is_zero() { Self::Now } else { Self::At(hal::clock::now() + duration) }
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Now => Some(Instant::ZERO),
            Self::At(at) => Some(at),
            Self::Never => None,
        }
    }
}

/// Bytes of a signal set.
const SET_BYTES: usize = 8;

/// The signal mask of ppoll and kin.
pub(crate) fn read_mask(
    call: &Call<'_>,
    address: UserAddr,
    size: usize,
) -> Result<Option<u64>, Errno> {
    if address.is_null() {
        return Ok(None);
    }
    if size != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    call.memory().read(address).map(Some)
}

/// Puts the mask in force until the call ends.
pub(crate) fn set_mask(call: &Call<'_>, mask: Option<u64>) {
    if let Some(mask) = mask {
        call.thread.swap_mask(mask);
    }
}

/// Wakes a call when one of its files may have become ready.
struct Watcher {
    woken: WaitQueue,
}

impl Observer for Watcher {
    fn notify(&self, _events: PollEvents) -> bool {
        self.woken.wake_all();
        false
    }
}

/// A watcher on the files of one call. Dropping it takes it off them.
struct Attached {
    watcher: Arc<Watcher>,
    files: Vec<(Arc<OpenFile>, Registration)>,
}

impl Attached {
    fn new(files: impl Iterator<Item = Arc<OpenFile>>) -> Self {
        let watcher = Arc::new(Watcher { woken: WaitQueue::new() });
        let files = files.filter_map(|open| {
            let registration = open.file().notifier()?.attach(sched::weak(&watcher));
            Some((open, registration))
        });
        let files = files.collect();
        Self { watcher, files }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        for (open, registration) in &self.files {
            if let Some(notifier) = open.file().notifier() {
                notifier.detach(registration);
            }
        }
    }
}

/// Asks for readiness until something is, the time is over, or a signal comes.
async fn until_ready(
    thread: &Thread,
    deadline: Option<Instant>,
    files: impl Iterator<Item = Arc<OpenFile>>,
    mut ask: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Failure> {
    let attached = Attached::new(files);
    loop {
        let woken = attached.watcher.woken.wait();
        let ready = ask()?;
        if ready > 0 {
            return Ok(ready);
        }
        match thread.interruptible(woken, deadline, Restart::NoHandler).await {
            Ok(()) => {}
            Err(Failure::Errno(Errno::ETIMEDOUT)) => return Ok(ask()?),
            Err(failure) => return Err(failure),
        }
    }
}

const ALWAYS: u16 =
    (PollEvents::ERR.bits() | PollEvents::HUP.bits() | PollEvents::NVAL.bits()) as u16;

/// Fills in what each entry is ready for; returns how many are for something.
fn ask_poll(table: &FdTable, entries: &mut [PollFd]) -> usize {
    let mut ready = 0;
    for entry in entries {
        entry.returned = if entry.fd < 0 {
            0
        } else {
            match table.get(Fd(entry.fd)).and_then(|open| open.usable().cloned()) {
                Ok(file) => file.poll().bits() as u16 & (entry.events | ALWAYS),
                Err(_) => PollEvents::NVAL.bits() as u16,
            }
        };
        ready += usize::from(entry.returned != 0);
    }
    ready
}

fn write_poll(memory: &Mm, address: UserAddr, entries: &[PollFd]) -> Result<(), Errno> {
    memory.write(address, entries)
}

fn poll(call: &Call<'_>) -> Result<Outcome, Errno> {
    let timeout = match u64::try_from(call.int(2)) {
        Ok(milliseconds) => Timeout::of(Duration::from_millis(milliseconds)),
        Err(_) => Timeout::Never,
    };
    poll_until(call, timeout)
}

fn ppoll(call: &Call<'_>) -> Result<Outcome, Errno> {
    let at = call.address(2);
    let timeout = if at.is_null() {
        Timeout::Never
    } else {
        Timeout::of(call.memory().read::<Timespec>(at)?.duration()?)
    };
    let mask = read_mask(call, call.address(3), call.size(4))?;
    set_mask(call, mask);
    poll_until(call, timeout)
}

fn poll_until(call: &Call<'_>, timeout: Timeout) -> Result<Outcome, Errno> {
    let address = call.address(0);
    let count = call.unsigned(1) as usize;
    if count > call.process().files.limit() {
        return Err(Errno::EINVAL);
    }
    let mut entries = Vec::new();
    entries.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    entries.resize(count, PollFd::default());
    call.memory().read_slice(address, &mut entries)?;
    let ready = ask_poll(&call.process().files, &mut entries);
    if ready > 0 || timeout == Timeout::Now {
        write_poll(call.memory(), address, &entries)?;
        return Ok(Ok(ready).into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let table = &thread.process.files;
        let files: Vec<_> =
            entries.iter().filter_map(|entry| table.get(Fd(entry.fd)).ok()).collect();
        let ask = || Ok(ask_poll(table, &mut entries));
        let ready = until_ready(&thread, timeout.deadline(), files.into_iter(), ask).await?;
        write_poll(&thread.process.memory, address, &entries)?;
        Ok(ready)
    }))
}

/// Most descriptors of a set (FD_SETSIZE is the C library's; the kernel takes what the table can
/// hold).
const WORD_BITS: usize = 64;

/// The three sets of select: to read, to write, exceptional.
struct Sets {
    addresses: [UserAddr; 3],
    wanted: [Vec<u64>; 3],
    count: usize,
}

/// What each set asks for (fs/select.c).
const CONDITIONS: [PollEvents; 3] = [
    PollEvents::READABLE.union(PollEvents::HUP).union(PollEvents::ERR),
    PollEvents::WRITABLE.union(PollEvents::ERR),
    PollEvents::PRI,
];

impl Sets {
    fn read(call: &Call<'_>) -> Result<Self, Errno> {
        let count = usize::try_from(call.int(0)).map_err(|_| Errno::EINVAL)?;
        // Beyond the table nothing can be open.
        let count = count.min(call.process().files.size().next_multiple_of(WORD_BITS));
        let addresses = [call.address(1), call.address(2), call.address(3)];
        let mut wanted = [Vec::new(), Vec::new(), Vec::new()];
        for (set, address) in wanted.iter_mut().zip(addresses) {
            if address.is_null() {
                continue;
            }
            let words = count.div_ceil(WORD_BITS);
            set.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
            set.resize(words, 0);
            call.memory().read_slice(address, set)?;
            if let (Some(last), true) = (set.last_mut(), !count.is_multiple_of(WORD_BITS)) {
                *last &= (1 << (count % WORD_BITS)) - 1;
            }
        }
        Ok(Self { addresses, wanted, count })
    }

    /// Every descriptor in some set, with the sets it is in as bits.
    fn members(&self) -> impl Iterator<Item = (Fd, u8)> {
        (0..self.count).filter_map(|at| {
            let mut sets = 0;
            for (index, set) in self.wanted.iter().enumerate() {
                let word = set.get(at / WORD_BITS).copied().unwrap_or(0);
                sets |= ((word >> (at % WORD_BITS) & 1) as u8) << index;
            }
            (sets != 0).then_some((Fd(at as i32), sets))
        })
    }

    /// The sets of what is ready, and how many bits they have.
    fn ask(&self, table: &FdTable) -> Result<([Vec<u64>; 3], usize), Errno> {
        let mut result = self.wanted.clone();
        for set in &mut result {
            set.fill(0);
        }
        let mut ready = 0;
        for (fd, sets) in self.members() {
            let events = table.get(fd)?.usable()?.poll();
            for (index, set) in result.iter_mut().enumerate() {
                let condition = CONDITIONS.get(index).copied().unwrap_or_default();
                if sets & 1 << index != 0 && events.intersects(condition) {
                    let at = fd.0.cast_unsigned() as usize;
                    if let Some(word) = set.get_mut(at / WORD_BITS) {
                        *word |= 1 << (at % WORD_BITS);
                    }
                    ready += 1;
                }
            }
        }
        Ok((result, ready))
    }

    fn write(&self, memory: &Mm, result: &[Vec<u64>; 3]) -> Result<(), Errno> {
        let bytes = self.count.div_ceil(8).next_multiple_of(8);
        for (address, set) in self.addresses.iter().zip(result) {
            if address.is_null() {
                continue;
            }
            let words = set.get(..bytes.div_ceil(8).min(set.len())).unwrap_or_default();
            memory.write(*address, words)?;
        }
        Ok(())
    }
}

fn select(call: &Call<'_>) -> Result<Outcome, Errno> {
    let at = call.address(4);
    let timeout = if at.is_null() {
        Timeout::Never
    } else {
        let time: Timeval = call.memory().read(at)?;
        let micros = u64::try_from(time.microseconds).map_err(|_| Errno::EINVAL)?;
        let seconds = u64::try_from(time.seconds).map_err(|_| Errno::EINVAL)?;
        // Linux takes more than a second of microseconds here.
        Timeout::of(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
    };
    select_until(call, timeout, |left| Timeval::from(left).to_bytes())
}

fn pselect6(call: &Call<'_>) -> Result<Outcome, Errno> {
    let at = call.address(4);
    let timeout = if at.is_null() {
        Timeout::Never
    } else {
        Timeout::of(call.memory().read::<Timespec>(at)?.duration()?)
    };
    let mask_at = call.address(5);
    if !mask_at.is_null() {
        let [set, size]: [u64; 2] = call.memory().read(mask_at)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mask = read_mask(call, UserAddr(set), size)?;
        set_mask(call, mask);
    }
    select_until(call, timeout, |left| Timespec::from(left).to_bytes())
}

/// The two words of a time.
trait ToBytes {
    fn to_bytes(self) -> [i64; 2];
}

impl ToBytes for Timeval {
    fn to_bytes(self) -> [i64; 2] {
        [self.seconds, self.microseconds]
    }
}

impl ToBytes for Timespec {
    fn to_bytes(self) -> [i64; 2] {
        [self.seconds, self.nanoseconds]
    }
}

fn select_until(
    call: &Call<'_>,
    timeout: Timeout,
    left: fn(Duration) -> [i64; 2],
) -> Result<Outcome, Errno> {
    let sets = Sets::read(call)?;
    let time_at = call.address(4);
    let (result, ready) = sets.ask(&call.process().files)?;
    if ready > 0 || timeout == Timeout::Now {
        sets.write(call.memory(), &result)?;
        write_left(call.memory(), time_at, timeout, left);
        return Ok(Ok(ready).into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let table = &thread.process.files;
        let mut result = result;
        let files: Vec<_> = sets.members().filter_map(|(fd, _)| table.get(fd).ok()).collect();
        let ask = || {
            let (now, ready) = sets.ask(table)?;
            result = now;
            Ok(ready)
        };
        let ended = until_ready(&thread, timeout.deadline(), files.into_iter(), ask).await;
        let memory = &thread.process.memory;
        write_left(memory, time_at, timeout, left);
        let ready = ended?;
        sets.write(memory, &result)?;
        Ok(ready)
    }))
}

/// Linux writes back how much time is left; that it cannot is no error.
fn write_left(memory: &Mm, at: UserAddr, timeout: Timeout, left: fn(Duration) -> [i64; 2]) {
    let rest = match timeout {
        Timeout::Never => return,
        Timeout::Now => Duration::ZERO,
        Timeout::At(deadline) => deadline.saturating_since(hal::clock::now()),
    };
    let _ = memory.write(at, &left(rest));
}
