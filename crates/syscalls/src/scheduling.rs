//! System calls about scheduling policies. Threads take turns whatever their policy is: the
//! time-sharing policies are kept and reported, those that promise something are refused.

use crate::call::{Call, Outcome};
use crate::credentials::capability;
use crate::machine::SLICE;
use crate::table::{Row, full, partial};
use crate::thread::Thread;
use crate::trace::Argument::{Hex, Int, Size};
use abi::number as nr;
use abi::time::Timespec;
use alloc::sync::Arc;
use base::{Errno, Tid, UserAddr};

const NOTE: &str = "SCHED_OTHER, BATCH and IDLE are kept and reported, threads take turns whatever it is; real-time and deadline policies are EPERM, as on a Linux that gives them no time";

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(nr::SCHED_SETSCHEDULER, "sched_setscheduler", &[Int, Int, Hex], NOTE, set_scheduler),
    full(nr::SCHED_GETSCHEDULER, "sched_getscheduler", &[Int], get_scheduler),
    partial(nr::SCHED_SETPARAM, "sched_setparam", &[Int, Hex], NOTE, set_parameter),
    full(nr::SCHED_GETPARAM, "sched_getparam", &[Int, Hex], get_parameter),
    full(nr::SCHED_GET_PRIORITY_MAX, "sched_get_priority_max", &[Int], priority_max),
    full(nr::SCHED_GET_PRIORITY_MIN, "sched_get_priority_min", &[Int], priority_min),
    full(nr::SCHED_RR_GET_INTERVAL, "sched_rr_get_interval", &[Int, Hex], interval),
    partial(nr::SCHED_SETATTR, "sched_setattr", &[Int, Hex, Hex], NOTE, set_attributes),
    full(nr::SCHED_GETATTR, "sched_getattr", &[Int, Hex, Size, Hex], get_attributes),
];

/// Policies (uapi/linux/sched.h).
const OTHER: i32 = 0;
const FIFO: i32 = 1;
const ROUND_ROBIN: i32 = 2;
const BATCH: i32 = 3;
const IDLE: i32 = 5;
const DEADLINE: i32 = 6;
/// A flag of a policy.
const RESET_ON_FORK: i32 = 0x4000_0000;
const PRIORITY_MAX: u32 = 99;

/// A thread's policy, one of those that share the time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    number: i32,
    resets_on_fork: bool,
}

/// What a call asks for.
struct Wanted {
    /// `None`: as it is.
    policy: Option<i32>,
    resets_on_fork: bool,
    priority: u32,
    /// `None`: as it is.
    nice: Option<i32>,
}

fn thread_of(call: &Call<'_>) -> Result<Arc<Thread>, Errno> {
    match call.int(0) {
        0 => Ok(Arc::clone(call.thread)),
        id => call.process().thread(Tid(id.cast_unsigned())).ok_or(Errno::ESRCH),
    }
}

/// `__sched_setscheduler` in kernel/sched/syscalls.c: what is wrong comes before what is forbidden.
fn set(call: &Call<'_>, thread: &Thread, wanted: &Wanted) -> Result<usize, Errno> {
    // Before the settings: both locks are leaves.
    let may_raise = call.thread.identity.has(capability::SYS_NICE);
    let mut settings = thread.settings.lock();
    let current = settings.policy;
    let number = wanted.policy.unwrap_or(current.number);
    let resets_on_fork = match wanted.policy {
        Some(_) => wanted.resets_on_fork,
        None => current.resets_on_fork,
    };
    match number {
        OTHER | BATCH | IDLE if wanted.priority != 0 => return Err(Errno::EINVAL),
        FIFO | ROUND_ROBIN if !(1..=PRIORITY_MAX).contains(&wanted.priority) => {
            return Err(Errno::EINVAL);
        }
        OTHER | BATCH | IDLE => {}
        FIFO | ROUND_ROBIN | DEADLINE => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    let nice = wanted.nice.unwrap_or(settings.nice);
    let needs_right = nice < settings.nice
        || (current.number == IDLE && number != IDLE)
        || (current.resets_on_fork && !resets_on_fork);
    if needs_right && !may_raise {
        return Err(Errno::EPERM);
    }
    settings.policy = Policy { number, resets_on_fork };
    settings.nice = nice;
    Ok(0)
}

fn set_scheduler(call: &mut Call<'_>) -> Outcome {
    let policy = call.int(1);
    if policy < 0 {
        return Errno::EINVAL.into();
    }
    set_with(call, call.address(2), Some(policy)).into()
}

fn set_parameter(call: &mut Call<'_>) -> Outcome {
    set_with(call, call.address(1), None).into()
}

/// `parameter`: where the priority lies, `struct sched_param`.
fn set_with(call: &Call<'_>, parameter: UserAddr, policy: Option<i32>) -> Result<usize, Errno> {
    if parameter.is_null() || call.int(0) < 0 {
        return Err(Errno::EINVAL);
    }
    let priority: i32 = call.memory().read(parameter)?;
    let thread = thread_of(call)?;
    let wanted = Wanted {
        policy: policy.map(|policy| policy & !RESET_ON_FORK),
        resets_on_fork: policy.is_some_and(|policy| policy & RESET_ON_FORK != 0),
        priority: u32::try_from(priority).map_err(|_| Errno::EINVAL)?,
        nice: None,
    };
    set(call, &thread, &wanted)
}

fn get_scheduler(call: &mut Call<'_>) -> Outcome {
    if call.int(0) < 0 {
        return Errno::EINVAL.into();
    }
    let word = |thread: Arc<Thread>| {
        let policy = thread.settings.lock().policy;
        let flag = if policy.resets_on_fork { RESET_ON_FORK } else { 0 };
        (policy.number | flag).cast_unsigned() as usize
    };
    thread_of(call).map(word).into()
}

fn get_parameter(call: &mut Call<'_>) -> Outcome {
    let parameter = call.address(1);
    if parameter.is_null() || call.int(0) < 0 {
        return Errno::EINVAL.into();
    }
    // Who shares the time has no priority.
    thread_of(call).and_then(|_| call.memory().write(parameter, &0_i32)).map(|()| 0).into()
}

fn priority_max(call: &mut Call<'_>) -> Outcome {
    priority(call.int(0), PRIORITY_MAX).into()
}

fn priority_min(call: &mut Call<'_>) -> Outcome {
    priority(call.int(0), 1).into()
}

fn priority(policy: i32, of_real_time: u32) -> Result<usize, Errno> {
    match policy {
        FIFO | ROUND_ROBIN => Ok(of_real_time as usize),
        OTHER | BATCH | IDLE | DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn interval(call: &mut Call<'_>) -> Outcome {
    if call.int(0) < 0 {
        return Errno::EINVAL.into();
    }
    let slice = Timespec::from(SLICE);
    thread_of(call).and_then(|_| call.memory().write(call.address(1), &slice)).map(|()| 0).into()
}

/// Sizes of `struct sched_attr`: the first one, and with the clamps of utilization.
const ATTRIBUTES_FIRST: usize = 48;
const ATTRIBUTES: usize = 56;
/// Flags of `struct sched_attr`.
const FLAG_RESET_ON_FORK: u64 = 1;
const FLAG_KEEP_POLICY: u64 = 8;
const FLAG_KEEP_PARAMETERS: u64 = 0x10;
const FLAG_CLAMP: u64 = 0x60;
const FLAGS: u64 = 0x7f;

fn set_attributes(call: &mut Call<'_>) -> Outcome {
    set_attributes_result(call).into()
}

fn set_attributes_result(call: &Call<'_>) -> Result<usize, Errno> {
    let at = call.address(1);
    if at.is_null() || call.int(0) < 0 || call.unsigned(2) != 0 {
        return Err(Errno::EINVAL);
    }
    let bytes = attributes(call, at)?;
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let flags = u64::from(word(12)) << 32 | u64::from(word(8));
    let (size, policy) = (word(0) as usize, word(4).cast_signed());
    if flags & FLAG_CLAMP != 0 && size < ATTRIBUTES {
        return Err(Errno::EINVAL);
    }
    if policy < 0 {
        return Err(Errno::EINVAL);
    }
    let thread = thread_of(call)?;
    let keeps = flags & FLAG_KEEP_PARAMETERS != 0;
    let nice = word(16).cast_signed().clamp(-20, 19);
    let wanted = Wanted {
        policy: (flags & FLAG_KEEP_POLICY == 0).then_some(policy),
        resets_on_fork: flags & FLAG_RESET_ON_FORK != 0,
        priority: if keeps { 0 } else { word(20) },
        // Linux takes the niceness of who is idle too.
        nice: (!keeps).then_some(nice),
    };
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & FLAG_CLAMP != 0 {
        // As Linux without CONFIG_UCLAMP_TASK.
        return Err(Errno::EOPNOTSUPP);
    }
    set(call, &thread, &wanted)
}

/// The caller's structure, which may be from the past (shorter) or the future (longer, then of
/// zeros).
fn attributes(call: &Call<'_>, at: UserAddr) -> Result<[u8; ATTRIBUTES], Errno> {
    let size: u32 = call.memory().read(at)?;
    let size = if size == 0 { ATTRIBUTES_FIRST } else { size as usize };
    let too_big = || {
        // The caller learns what would fit, if it can.
        let _ = call.memory().write(at, &(ATTRIBUTES as u32));
        Err(Errno::E2BIG)
    };
    if !(ATTRIBUTES_FIRST..=base::PAGE_SIZE as usize).contains(&size) {
        return too_big();
    }
    let mut bytes = [0; ATTRIBUTES];
    let known = size.min(ATTRIBUTES);
    call.memory().read_bytes(at, bytes.get_mut(..known).unwrap_or_default())?;
    if size > ATTRIBUTES {
        let mut beyond = alloc::vec![0; size - ATTRIBUTES];
        call.memory().read_bytes(at.wrapping_add(ATTRIBUTES as u64), &mut beyond)?;
        if beyond.iter().any(|byte| *byte != 0) {
            return too_big();
        }
    }
    bytes[..4].copy_from_slice(&(size as u32).to_le_bytes());
    Ok(bytes)
}

fn get_attributes(call: &mut Call<'_>) -> Outcome {
    get_attributes_result(call).into()
}

fn get_attributes_result(call: &Call<'_>) -> Result<usize, Errno> {
    let (at, size) = (call.address(1), call.size(2) & u32::MAX as usize);
    let sizes = ATTRIBUTES_FIRST..=base::PAGE_SIZE as usize;
    if at.is_null() || call.int(0) < 0 || !sizes.contains(&size) || call.unsigned(3) != 0 {
        return Err(Errno::EINVAL);
    }
    let thread = thread_of(call)?;
    let settings = *thread.settings.lock();
    let flags = if settings.policy.resets_on_fork { FLAG_RESET_ON_FORK } else { 0 };
    let known = size.min(ATTRIBUTES);
    let mut bytes = [0; ATTRIBUTES];
    bytes[..4].copy_from_slice(&(known as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&settings.policy.number.to_le_bytes());
    bytes[8..16].copy_from_slice(&flags.to_le_bytes());
    bytes[16..20].copy_from_slice(&settings.nice.to_le_bytes());
    call.memory().write_bytes(at, bytes.get(..known).unwrap_or_default())?;
    Ok(0)
}
