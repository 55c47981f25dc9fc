//! System calls that tell about the machine, and the limits: uname, sysinfo, prlimit, prctl,
//! getrandom.

use crate::call::{Call, Outcome};
use crate::credentials::capability;
use crate::process::PROCESS_ID;
use crate::table::{Row, full, partial};
use crate::thread::Thread;
use crate::trace::Argument::{Flags, Hex, Int, Name, Out, Size};
use abi::number as nr;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, Tid};
use core::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const RESOURCES: &[(u64, &str)] = &[
    (0, "RLIMIT_CPU"),
    (1, "RLIMIT_FSIZE"),
    (2, "RLIMIT_DATA"),
    (3, "RLIMIT_STACK"),
    (4, "RLIMIT_CORE"),
    (5, "RLIMIT_RSS"),
    (6, "RLIMIT_NPROC"),
    (7, "RLIMIT_NOFILE"),
    (8, "RLIMIT_MEMLOCK"),
    (9, "RLIMIT_AS"),
    (10, "RLIMIT_LOCKS"),
    (11, "RLIMIT_SIGPENDING"),
    (12, "RLIMIT_MSGQUEUE"),
    (13, "RLIMIT_NICE"),
    (14, "RLIMIT_RTPRIO"),
    (15, "RLIMIT_RTTIME"),
];

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::UNAME, "uname", &[Hex], uname),
    full(nr::SYSINFO, "sysinfo", &[Hex], sysinfo),
    full(
        nr::GETRANDOM,
        "getrandom",
        &[Out, Size, Flags(&[(1, "GRND_NONBLOCK"), (2, "GRND_RANDOM"), (4, "GRND_INSECURE")])],
        getrandom,
    ),
    partial(nr::PRLIMIT64, "prlimit64", &[Int, Name(RESOURCES), Hex, Hex], LIMITS_NOTE, prlimit64),
    partial(nr::GETRLIMIT, "getrlimit", &[Name(RESOURCES), Hex], LIMITS_NOTE, getrlimit),
    partial(nr::SETRLIMIT, "setrlimit", &[Name(RESOURCES), Hex], LIMITS_NOTE, setrlimit),
    partial(
        nr::PRCTL,
        "prctl",
        &[Int, Hex, Hex, Hex, Hex],
        "names, PDEATHSIG, DUMPABLE, KEEPCAPS, CAPBSET, CAP_AMBIENT, TIMERSLACK, NO_NEW_PRIVS, \
         SUBREAPER; others EINVAL",
        crate::prctl::prctl,
    ),
    partial(nr::GETPRIORITY, "getpriority", &[Int, Int], NICE_NOTE, getpriority),
    partial(nr::SETPRIORITY, "setpriority", &[Int, Int, Int], NICE_NOTE, setpriority),
    partial(nr::PERSONALITY, "personality", &[Hex], "PER_LINUX only", personality),
    partial(nr::SYSLOG, "syslog", &[Int, Hex, Int], "EPERM", |_| Errno::EPERM.into()),
];

const NICE_NOTE: &str = "kept and reported; threads take turns whatever it is";
const LIMITS_NOTE: &str =
    "kept and reported; CPU, FSIZE, NOFILE, AS, DATA and SIGPENDING are enforced";
/// Number of resources (`RLIM_NLIMITS`).
const RESOURCE_COUNT: usize = 16;
const RLIMIT_CPU: usize = 0;
const RLIMIT_FSIZE: usize = 1;
const RLIMIT_DATA: usize = 2;
const RLIMIT_STACK: usize = 3;
const RLIMIT_CORE: usize = 4;
const RLIMIT_RSS: usize = 5;
const RLIMIT_NPROC: usize = 6;
const RLIMIT_NOFILE: usize = 7;
const RLIMIT_MEMLOCK: usize = 8;
const RLIMIT_AS: usize = 9;
const RLIMIT_SIGPENDING: usize = 11;
const RLIMIT_MSGQUEUE: usize = 12;
const RLIMIT_NICE: usize = 13;
const RLIMIT_RTPRIO: usize = 14;
const INFINITY: u64 = u64::MAX;
/// Highest limit of descriptors (`fs.nr_open`).
pub const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Soft and hard limit of one resource: `struct rlimit64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limit {
    /// What counts.
    pub soft: u64,
    /// What it may be raised to.
    pub hard: u64,
}

/// The limits of the process, by resource number.
#[derive(Clone, Copy, Debug)]
pub struct Limits(pub [Limit; RESOURCE_COUNT]);

/// Most threads that there may be, by the memory (`set_max_threads` of Linux): until their stacks in the
/// kernel fill an eighth of it.
pub(crate) fn threads_max() -> u64 {
    const BYTES_PER_THREAD: u64 = 8 * (16 << 10);
    const THREADS_MIN: u64 = 20;
    let memory = hal::memory::statistics().total.saturating_mul(base::PAGE_SIZE);
    (memory / BYTES_PER_THREAD).max(THREADS_MIN)
}

impl Default for Limits {
    /// What a root shell on Debian has, but for the descriptors: a machine of one server gives it
    /// what a container engine does, and programs that do not raise the soft limit themselves
    /// (Go's runtime before 1.19) profit.
    fn default() -> Self {
        // As Linux: half of the threads, and as many signals.
        let threads = threads_max() / 2;
        let mut limits = [Limit { soft: INFINITY, hard: INFINITY }; RESOURCE_COUNT];
        let mut both = |resource: usize, value| {
            if let Some(limit) = limits.get_mut(resource) {
                *limit = Limit { soft: value, hard: value };
            }
        };
        both(RLIMIT_NPROC, threads);
        both(RLIMIT_NOFILE, DESCRIPTORS_MAX);
        both(RLIMIT_MEMLOCK, 8 << 20);
        both(RLIMIT_SIGPENDING, threads);
        both(RLIMIT_MSGQUEUE, 819_200);
        both(RLIMIT_NICE, 0);
        both(RLIMIT_RTPRIO, 0);
        limits[RLIMIT_STACK].soft = 8 << 20;
        limits[RLIMIT_CORE].soft = 0;
        Self(limits)
    }
}

impl Limits {
    /// The soft limit of a file's length, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.0[RLIMIT_FSIZE].soft
    }

    /// The process has run `seconds`, as long as the soft limit of RLIMIT_CPU or longer: true when the
    /// hard one is reached too, else the soft one is now a second higher.
    pub(crate) fn running_reached(&mut self, seconds: u64) -> bool {
        let limit = &mut self.0[RLIMIT_CPU];
        let is_over = seconds >= limit.hard;
        if !is_over {
            limit.soft = limit.soft.saturating_add(1);
        }
        is_over
    }

    /// The soft limit of memory that is present, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.0[RLIMIT_RSS].soft
    }

    /// The soft limit of signals that wait in queues.
    pub(crate) fn signals(&self) -> usize {
        usize::try_from(self.0[RLIMIT_SIGPENDING].soft).unwrap_or(usize::MAX)
    }

    /// The soft limit of descriptors.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.0[RLIMIT_NOFILE].soft
    }

    /// The soft limit of all that is mapped, in bytes.
    pub(crate) fn address_space(&self) -> u64 {
        self.0[RLIMIT_AS].soft
    }

    /// The soft limit of private writable memory, in bytes.
    pub(crate) fn data(&self) -> u64 {
        self.0[RLIMIT_DATA].soft
    }
}

fn change_limit(call: &Call<'_>, resource: usize, new: Option<Limit>) -> Result<Limit, Errno> {
    let may = call.thread.identity.has(capability::SYS_RESOURCE);
    let mut limits = call.process().limits.lock();
    let slot = limits.0.get_mut(resource).ok_or(Errno::EINVAL)?;
    let old = *slot;
    if let Some(new) = new {
        if new.soft > new.hard {
            return Err(Errno::EINVAL);
        }
        if resource == RLIMIT_NOFILE && new.hard > DESCRIPTORS_MAX {
            return Err(Errno::EPERM);
        }
        if new.hard > old.hard && !may {
            return Err(Errno::EPERM);
        }
        *slot = new;
    }
    let (descriptors, file_bytes) = (limits.descriptors(), limits.file_bytes());
    let memory_limited = limits.address_space() != INFINITY || limits.data() != INFINITY;
    drop(limits);
    call.process().memory_limited.store(memory_limited, Ordering::Relaxed);
    match (resource, new) {
        (RLIMIT_CPU, Some(new)) => call.process().timers.limit_running_time(new.soft),
        (RLIMIT_NOFILE, Some(_)) => call.process().descriptor_limit_changed(descriptors),
        (RLIMIT_FSIZE, Some(_)) => call.process().vfs.limit_files(file_bytes),
        _ => {}
    }
    Ok(old)
}

fn prlimit64(call: &mut Call<'_>) -> Outcome {
    prlimit64_result(call).into()
}

fn prlimit64_result(call: &Call<'_>) -> Result<usize, Errno> {
    if call.int(0) != 0 && call.unsigned(0) != PROCESS_ID.0 {
        return Err(Errno::ESRCH);
    }
    let (new_at, old_at) = (call.address(2), call.address(3));
    let new = if new_at.is_null() { None } else { Some(call.memory().read(new_at)?) };
    let old = change_limit(call, call.unsigned(1) as usize, new)?;
    if !old_at.is_null() {
        call.memory().write(old_at, &old)?;
    }
    Ok(0)
}

fn getrlimit(call: &mut Call<'_>) -> Outcome {
    change_limit(call, call.unsigned(0) as usize, None)
        .and_then(|old| call.memory().write(call.address(1), &old))
        .map(|()| 0)
        .into()
}

fn setrlimit(call: &mut Call<'_>) -> Outcome {
    call.memory()
        .read(call.address(1))
        .and_then(|new| change_limit(call, call.unsigned(0) as usize, Some(new)))
        .map(|_| 0)
        .into()
}

/// The Linux release that eggos says it is: programs look for features by it.
pub const RELEASE: &str = "6.6.0-eggos";

/// Which build of it.
pub(crate) const BUILD: &str = concat!("#1 eggos ", env!("CARGO_PKG_VERSION"));

fn uname(call: &mut Call<'_>) -> Outcome {
    const FIELD_BYTES: usize = 65;
    let mut bytes = [0; 6 * FIELD_BYTES];
    let hostname = call.process().machine.hostname.as_str();
    let fields = ["Linux", hostname, RELEASE, BUILD, "x86_64", "(none)"];
    for (slot, text) in bytes.as_chunks_mut::<FIELD_BYTES>().0.iter_mut().zip(fields) {
        for (byte, from) in slot.iter_mut().take(FIELD_BYTES - 1).zip(text.bytes()) {
            *byte = from;
        }
    }
    call.memory().write_bytes(call.address(0), &bytes).map(|()| 0).into()
}

/// `struct sysinfo` (112 bytes on x86-64).
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct SystemInformation {
    uptime_seconds: u64,
    loads: [u64; 3],
    total_bytes: u64,
    free_bytes: u64,
    shared_bytes: u64,
    buffer_bytes: u64,
    swap_bytes: [u64; 2],
    threads: u16,
    padding: [u16; 3],
    high_bytes: [u64; 2],
    unit_bytes: u32,
    tail: u32,
}

fn sysinfo(call: &mut Call<'_>) -> Outcome {
    let memory = hal::memory::statistics();
    let threads = call.process().threads.lock().len();
    let information = SystemInformation {
        uptime_seconds: hal::clock::now().nanoseconds() / 1_000_000_000,
        loads: call.process().machine.load.with_16_bits(),
        total_bytes: memory.total * base::PAGE_SIZE,
        free_bytes: memory.free * base::PAGE_SIZE,
        threads: u16::try_from(threads).unwrap_or(u16::MAX),
        unit_bytes: 1,
        ..Default::default()
    };
    call.memory().write(call.address(0), &information).map(|()| 0).into()
}

fn getrandom(call: &mut Call<'_>) -> Outcome {
    const FLAGS: u32 = 7;
    const GRND_RANDOM_INSECURE: u32 = 6;
    let flags = call.unsigned(2);
    if flags & !FLAGS != 0 || flags & GRND_RANDOM_INSECURE == GRND_RANDOM_INSECURE {
        return Errno::EINVAL.into();
    }
    // Linux gives at most this much at once.
    let wanted = call.size(1).min(0x7fff_f000);
    let mut done = 0;
    let mut chunk = [0; 256];
    while done < wanted {
        let count = (wanted - done).min(chunk.len());
        call.process().machine.random.fill(&mut chunk[..count]);
        let at = call.address(0).wrapping_add(done as u64);
        if let Err(errno) = call.memory().write_bytes(at, &chunk[..count]) {
            return if done > 0 { Ok(done).into() } else { errno.into() };
        }
        done += count;
    }
    Ok(done).into()
}

/// The threads that getpriority and setpriority mean.
fn prioritized(call: &Call<'_>) -> Result<Vec<Arc<Thread>>, Errno> {
    const PRIO_PROCESS: i32 = 0;
    const PRIO_PGRP: i32 = 1;
    const PRIO_USER: i32 = 2;
    let who = call.unsigned(1);
    let all = || call.process().threads.lock().values().cloned().collect();
    match call.int(0) {
        PRIO_PROCESS if who == 0 => Ok(alloc::vec![Arc::clone(call.thread)]),
        PRIO_PROCESS => {
            call.process().thread(Tid(who)).map(|one| alloc::vec![one]).ok_or(Errno::ESRCH)
        }
        PRIO_PGRP if who == 0 || who == PROCESS_ID.0 => Ok(all()),
        PRIO_USER if who == call.thread.identity.get(|who| who.user.real) => Ok(all()),
        PRIO_PGRP | PRIO_USER => Err(Errno::ESRCH),
        _ => Err(Errno::EINVAL),
    }
}

/// The raw call returns 20 - nice, of the one that is first in line.
fn getpriority(call: &mut Call<'_>) -> Outcome {
    let best = |threads: Vec<Arc<Thread>>| {
        let nice = threads.iter().map(|thread| thread.settings.lock().nice).min();
        (20 - nice.unwrap_or(0)).cast_unsigned() as usize
    };
    prioritized(call).map(best).into()
}

fn setpriority(call: &mut Call<'_>) -> Outcome {
    let nice = call.int(2).clamp(-20, 19);
    let may = call.thread.identity.has(capability::SYS_NICE);
    let set = |threads: Vec<Arc<Thread>>| {
        for thread in threads {
            let mut settings = thread.settings.lock();
            if nice < settings.nice && !may {
                return Err(Errno::EACCES);
            }
            settings.nice = nice;
        }
        Ok(0)
    };
    prioritized(call).and_then(set).into()
}

fn personality(call: &mut Call<'_>) -> Outcome {
    const QUERY: u32 = u32::MAX;
    match call.unsigned(0) {
        0 | QUERY => Ok(0).into(),
        _ => Errno::EINVAL.into(),
    }
}
