//! System calls about threads: clone, exit, futex, scheduling.

use crate::call::{Call, Outcome, Restart};
use crate::process::{ExitStatus, PROCESS_ID};
use crate::table::{Row, full, partial, refused};
use crate::thread::{self, Thread};
use crate::trace::Argument::{Flags, Hex, Int, Name, Size, Timespec as TimespecArg};
use abi::number as nr;
use abi::time::Timespec;
use alloc::sync::Arc;
use base::{Errno, Instant, Tid, UserAddr};
use core::sync::atomic::Ordering;
use mm::Mm;

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(
        nr::CLONE,
        "clone",
        &[Flags(CLONE_NAMES), Hex, Hex, Hex, Hex],
        "threads only (CLONE_THREAD); a new process is ENOSYS: eggos runs one program",
        clone,
    ),
    refused(nr::CLONE3, "clone3", "ENOSYS: callers fall back to clone", not_here),
    refused(nr::FORK, "fork", "ENOSYS: eggos runs one program", no_process),
    refused(nr::VFORK, "vfork", "ENOSYS: eggos runs one program", no_process),
    refused(nr::EXECVE, "execve", "ENOSYS: eggos runs one program", no_process),
    refused(nr::EXECVEAT, "execveat", "ENOSYS: eggos runs one program", no_process),
    full(nr::EXIT, "exit", &[Int], exit),
    full(nr::EXIT_GROUP, "exit_group", &[Int], exit_group),
    full(nr::GETTID, "gettid", &[], |call| Ok(call.thread.tid.0 as usize).into()),
    full(nr::SET_TID_ADDRESS, "set_tid_address", &[Hex], set_tid_address),
    partial(
        nr::SET_ROBUST_LIST,
        "set_robust_list",
        &[Hex, Size],
        "accepted; a process that ends takes all its threads with it",
        set_robust_list,
    ),
    partial(
        nr::FUTEX,
        "futex",
        &[Hex, Name(FUTEX_NAMES), Int, TimespecArg, Hex, Int],
        "no priority inheritance: those operations are ENOSYS, and the console says so",
        futex,
    ),
    full(nr::SCHED_YIELD, "sched_yield", &[], sched_yield),
    full(nr::SCHED_GETAFFINITY, "sched_getaffinity", &[Int, Size, Hex], sched_getaffinity),
    full(nr::SCHED_SETAFFINITY, "sched_setaffinity", &[Int, Size, Hex], sched_setaffinity),
    full(nr::GETCPU, "getcpu", &[Hex, Hex], getcpu),
    full(nr::ARCH_PRCTL, "arch_prctl", &[Hex, Hex], arch_prctl),
];

const CLONE_VM: u64 = 0x100;
const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_SIGHAND: u64 = 0x800;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_SYSVSEM: u64 = 0x4_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;

const CLONE_NAMES: &[(u64, &str)] = &[
    (CLONE_VM, "CLONE_VM"),
    (CLONE_FS, "CLONE_FS"),
    (CLONE_FILES, "CLONE_FILES"),
    (CLONE_SIGHAND, "CLONE_SIGHAND"),
    (CLONE_PIDFD, "CLONE_PIDFD"),
    (CLONE_VFORK, "CLONE_VFORK"),
    (CLONE_THREAD, "CLONE_THREAD"),
    (CLONE_SYSVSEM, "CLONE_SYSVSEM"),
    (CLONE_SETTLS, "CLONE_SETTLS"),
    (CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"),
    (CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID"),
    (CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID"),
];

/// Most threads there may be (`/proc/sys/kernel/threads-max`).
pub const THREADS_MAX: usize = 32_768;

fn clone(call: &mut Call<'_>) -> Outcome {
    let flags = call.long(0);
    if flags & CLONE_THREAD == 0 {
        if flags & CLONE_PIDFD != 0 {
            // Go's os.FindProcess tries whether that works, and goes on without.
            return Errno::ENOSYS.into();
        }
        return no_process(call);
    }
    clone_thread(call, flags).into()
}

fn clone_thread(call: &mut Call<'_>, flags: u64) -> Result<usize, Errno> {
    // clone(2): CLONE_THREAD needs CLONE_SIGHAND, which needs CLONE_VM.
    if flags & CLONE_SIGHAND == 0 || flags & CLONE_VM == 0 {
        return Err(Errno::EINVAL);
    }
    let (stack, parent_tid_at, child_tid_at, tls) =
        (call.long(1), call.address(2), call.address(3), call.long(4));
    if call.process().threads.lock().len() >= THREADS_MAX {
        return Err(Errno::EAGAIN);
    }
    if flags & CLONE_SETTLS != 0 && tls >= base::address::USER_END {
        return Err(Errno::EPERM);
    }
    let mut user = call.user.duplicate();
    user.registers.rax = 0;
    if stack != 0 {
        user.registers.rsp = stack;
    }
    if flags & CLONE_SETTLS != 0 {
        user.registers.fs_base = tls;
    }
    let mask = call.thread.signals.lock().mask;
    let affinity = Arc::new(call.thread.affinity.duplicate());
    let new = call.process().add_thread(mask, affinity);
    let name = *call.thread.name.lock();
    *new.name.lock() = name;
    let settings = *call.thread.settings.lock();
    *new.settings.lock() = settings;
    let credentials = call.thread.identity.get(Clone::clone);
    new.identity.change(|who| *who = credentials);
    let tid = new.tid;
    if flags & CLONE_PARENT_SETTID != 0 {
        call.memory().write(parent_tid_at, &tid.0)?;
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        call.memory().write(child_tid_at, &tid.0)?;
    }
    if flags & CLONE_CHILD_CLEARTID != 0 {
        new.clear_on_exit.store(child_tid_at.0, Ordering::Relaxed);
    }
    let affinity = Arc::clone(&new.affinity);
    call.process().machine.spawner.spawn(affinity, thread::run(new, user));
    Ok(tid.0 as usize)
}

fn not_here(_call: &mut Call<'_>) -> Outcome {
    Errno::ENOSYS.into()
}

/// fork and exec: refused, and said with the program's function that asked.
fn no_process(call: &mut Call<'_>) -> Outcome {
    crate::signal::deliver::say_unimplemented(call.thread, call.user, call.user.registers.rax);
    Errno::ENOSYS.into()
}

fn exit(call: &mut Call<'_>) -> Outcome {
    let _ = call;
    Outcome::Ended
}

fn exit_group(call: &mut Call<'_>) -> Outcome {
    call.process().end(ExitStatus::Code((call.long(0) & 0xff) as u8));
    Outcome::Ended
}

fn set_tid_address(call: &mut Call<'_>) -> Outcome {
    call.thread.clear_on_exit.store(call.long(0), Ordering::Relaxed);
    Ok(call.thread.tid.0 as usize).into()
}

fn set_robust_list(call: &mut Call<'_>) -> Outcome {
    /// `sizeof(struct robust_list_head)`.
    const HEAD_BYTES: usize = 24;
    if call.size(1) == HEAD_BYTES { Ok(0).into() } else { Errno::EINVAL.into() }
}

fn sched_yield(call: &mut Call<'_>) -> Outcome {
    if call.process().machine.spawner.runnable() == 0 && !hal::irq::any_pending() {
        return Ok(0).into();
    }
    let_others_run(call)
}

/// Returns 0 after the others' turns.
fn let_others_run(call: &Call<'_>) -> Outcome {
    let thread = Arc::clone(call.thread);
    Outcome::wait(async move {
        thread.yield_now().await;
        Ok(0)
    })
}

fn own_thread(call: &Call<'_>, index: usize) -> Result<Arc<Thread>, Errno> {
    match call.unsigned(index) {
        0 => Ok(Arc::clone(call.thread)),
        id => call.process().thread(Tid(id)).ok_or(Errno::ESRCH),
    }
}

/// The machine's CPUs, as bits.
fn online_mask(call: &Call<'_>) -> u64 {
    u64::MAX >> (64 - call.process().machine.cpus.clamp(1, 64))
}

fn sched_getaffinity(call: &mut Call<'_>) -> Outcome {
    sched_getaffinity_result(call).into()
}

fn sched_getaffinity_result(call: &Call<'_>) -> Result<usize, Errno> {
    /// The kernel's mask is one word: up to 64 CPUs.
    const MASK_BYTES: usize = 8;
    let thread = own_thread(call, 0)?;
    if call.size(1) < MASK_BYTES || !call.size(1).is_multiple_of(MASK_BYTES) {
        return Err(Errno::EINVAL);
    }
    let mask = thread.affinity.mask() & online_mask(call);
    call.memory().write(call.address(2), &mask)?;
    Ok(MASK_BYTES)
}

/// A thread that runs where it may not any more goes on elsewhere.
fn sched_setaffinity(call: &mut Call<'_>) -> Outcome {
    if let Err(errno) = sched_setaffinity_result(call) {
        return errno.into();
    }
    if call.thread.affinity.allows(hal::cpu::current()) {
        return Ok(0).into();
    }
    let_others_run(call)
}

fn sched_setaffinity_result(call: &Call<'_>) -> Result<(), Errno> {
    let thread = own_thread(call, 0)?;
    let mut bytes = [0; 8];
    let count = call.size(1).min(bytes.len());
    call.memory().read_bytes(call.address(2), &mut bytes[..count])?;
    if !thread.affinity.set(u64::from_le_bytes(bytes) & online_mask(call)) {
        return Err(Errno::EINVAL);
    }
    thread.call_attention();
    Ok(())
}

fn getcpu(call: &mut Call<'_>) -> Outcome {
    getcpu_result(call).into()
}

fn getcpu_result(call: &Call<'_>) -> Result<usize, Errno> {
    let (cpu_at, node_at) = (call.address(0), call.address(1));
    if !cpu_at.is_null() {
        call.memory().write(cpu_at, &hal::cpu::current().0)?;
    }
    if !node_at.is_null() {
        call.memory().write(node_at, &0_u32)?;
    }
    Ok(0)
}

fn arch_prctl(call: &mut Call<'_>) -> Outcome {
    arch_prctl_result(call).into()
}

fn arch_prctl_result(call: &mut Call<'_>) -> Result<usize, Errno> {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_SET_FS: i32 = 0x1002;
    const ARCH_GET_FS: i32 = 0x1003;
    const ARCH_GET_GS: i32 = 0x1004;
    let value = call.long(1);
    match call.int(0) {
        ARCH_SET_FS | ARCH_SET_GS if value >= base::address::USER_END => {
            return Err(Errno::EPERM);
        }
        ARCH_SET_FS => call.user.registers.fs_base = value,
        ARCH_SET_GS => call.user.registers.gs_base = value,
        ARCH_GET_FS => {
            call.memory().write(UserAddr(value), &call.user.registers.fs_base)?;
        }
        ARCH_GET_GS => {
            call.memory().write(UserAddr(value), &call.user.registers.gs_base)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

const FUTEX_WAIT: i32 = 0;
const FUTEX_WAKE: i32 = 1;
const FUTEX_REQUEUE: i32 = 3;
const FUTEX_CMP_REQUEUE: i32 = 4;
const FUTEX_WAKE_OP: i32 = 5;
/// Locks with priority inheritance: LOCK_PI, UNLOCK_PI, TRYLOCK_PI.
const FUTEX_PI: core::ops::RangeInclusive<i32> = 6..=8;
/// WAIT_REQUEUE_PI, CMP_REQUEUE_PI, LOCK_PI2.
const FUTEX_MORE_PI: core::ops::RangeInclusive<i32> = 11..=13;
const FUTEX_WAIT_BITSET: i32 = 9;
const FUTEX_WAKE_BITSET: i32 = 10;
const FUTEX_PRIVATE_FLAG: i32 = 128;
const FUTEX_CLOCK_REALTIME: i32 = 256;

const FUTEX_NAMES: &[(u64, &str)] = &[
    (0, "FUTEX_WAIT"),
    (1, "FUTEX_WAKE"),
    (128, "FUTEX_WAIT_PRIVATE"),
    (129, "FUTEX_WAKE_PRIVATE"),
    (131, "FUTEX_REQUEUE_PRIVATE"),
    (132, "FUTEX_CMP_REQUEUE_PRIVATE"),
    (133, "FUTEX_WAKE_OP_PRIVATE"),
    (137, "FUTEX_WAIT_BITSET_PRIVATE"),
    (138, "FUTEX_WAKE_BITSET_PRIVATE"),
];

/// futex(2). All memory belongs to one process, so shared and private futexes are the same.
fn futex(call: &mut Call<'_>) -> Outcome {
    let address = call.address(0);
    let operation = call.int(1);
    let command = operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    // The other clock is for deadlines, which only these have.
    if operation & FUTEX_CLOCK_REALTIME != 0 && !matches!(command, FUTEX_WAIT_BITSET | 11 | 13) {
        return Errno::ENOSYS.into();
    }
    if FUTEX_PI.contains(&command) || FUTEX_MORE_PI.contains(&command) {
        crate::signal::deliver::say_unimplemented(call.thread, call.user, u64::from(nr::FUTEX));
        return Errno::ENOSYS.into();
    }
    if !address.0.is_multiple_of(4) {
        return Errno::EINVAL.into();
    }
    // A count is an int; negative or zero still wakes one, as Linux does.
    let count = |index: usize| usize::try_from(call.int(index)).unwrap_or(0);
    match command {
        FUTEX_WAIT => futex_wait(call, operation, u32::MAX),
        FUTEX_WAIT_BITSET => futex_wait(call, operation, call.unsigned(5)),
        FUTEX_WAKE => Ok(call.process().futexes.wake(address, count(2).max(1), u32::MAX)).into(),
        FUTEX_WAKE_BITSET if call.unsigned(5) == 0 => Errno::EINVAL.into(),
        FUTEX_WAKE_BITSET => {
            Ok(call.process().futexes.wake(address, count(2).max(1), call.unsigned(5))).into()
        }
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => futex_requeue(call, command).into(),
        FUTEX_WAKE_OP => {
            let (first, second) = (count(2).max(1), count(3).max(1));
            crate::futex2::wake_op(call, (address, first), second).into()
        }
        _ => Errno::ENOSYS.into(),
    }
}

fn futex_requeue(call: &Call<'_>, command: i32) -> Result<usize, Errno> {
    let (wake, requeue) = (call.int(2), call.int(3));
    let (Ok(wake), Ok(requeue)) = (usize::try_from(wake), usize::try_from(requeue)) else {
        return Err(Errno::EINVAL);
    };
    let (from, to) = (call.address(0), call.address(4));
    if !to.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let compares = command == FUTEX_CMP_REQUEUE;
    let expected = compares.then(|| call.unsigned(5));
    let futexes = &call.process().futexes;
    let (woken, moved) = with_word(call.memory(), from, expected, |check| {
        futexes.requeue((from, wake), (to, requeue), check)
    })?;
    Ok(if command == FUTEX_CMP_REQUEUE { woken + moved } else { woken })
}

fn futex_wait(call: &Call<'_>, operation: i32, bitset: u32) -> Outcome {
    if bitset == 0 {
        return Errno::EINVAL.into();
    }
    let (address, expected) = (call.address(0), call.unsigned(2));
    let deadline = match futex_deadline(call, operation) {
        Ok(deadline) => deadline,
        Err(errno) => return errno.into(),
    };
    let futexes = &call.process().futexes;
    let wait = with_word(call.memory(), address, Some(expected), |check| {
        futexes.wait_if(address, bitset, check)
    });
    let wait = match wait {
        Ok(wait) => wait,
        Err(errno) => return errno.into(),
    };
    let thread = Arc::clone(call.thread);
    // A relative timeout cannot be started over, so such a wait ends with EINTR (futex(2)).
    let restart = if deadline.is_none() { Restart::Automatic } else { Restart::Never };
    Outcome::wait(async move {
        let mut wait = wait;
        let result = thread.interruptible(&mut wait, deadline, restart).await;
        if wait.leave() {
            return Ok(0);
        }
        result.map(|()| 0)
    })
}

/// Does `attempt`, which locks buckets and then calls its argument: whether the word at `address`
/// is `expected`. When its page is not there, it is made without the locks.
///
/// # Errors
/// `EAGAIN`: another word. `EFAULT`.
pub(crate) fn with_word<T>(
    memory: &Mm,
    address: UserAddr,
    expected: Option<u32>,
    mut attempt: impl FnMut(&dyn Fn() -> Result<(), Option<Errno>>) -> Result<T, Option<Errno>>,
) -> Result<T, Errno> {
    let check = || match expected {
        None => Ok(()),
        Some(expected) => match memory.load_u32_if_present(address) {
            Some(word) if word == expected => Ok(()),
            Some(_) => Err(Some(Errno::EAGAIN)),
            None => Err(None),
        },
    };
    loop {
        match attempt(&check) {
            Ok(done) => return Ok(done),
            Err(Some(errno)) => return Err(errno),
            Err(None) => memory.load_u32(address).map(|_| ())?,
        }
    }
}

/// FUTEX_WAIT has a relative timeout, FUTEX_WAIT_BITSET an absolute one.
fn futex_deadline(call: &Call<'_>, operation: i32) -> Result<Option<Instant>, Errno> {
    let at = call.address(3);
    if at.is_null() {
        return Ok(None);
    }
    let duration = call.memory().read::<Timespec>(at)?.duration()?;
    let now = hal::clock::now();
    let is_absolute = operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) != FUTEX_WAIT;
    if !is_absolute {
        return Ok(Some(now + duration));
    }
    if operation & FUTEX_CLOCK_REALTIME == 0 {
        return Ok(Some(Instant::ZERO + duration));
    }
    let wall_now = core::time::Duration::from_nanos(hal::clock::wall(now).nanoseconds);
    Ok(Some(now + duration.saturating_sub(wall_now)))
}

/// The process's id, for getpid and kin.
pub(crate) fn process_id() -> usize {
    PROCESS_ID.0 as usize
}
