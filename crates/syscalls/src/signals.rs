//! System calls about signals: rt_sigaction, rt_sigprocmask, kill and kin.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::process::PROCESS_ID;
use crate::signal::frame::{self, StackRecord};
use crate::signal::{Action, Origin, SIGKILL, SIGSEGV, SIGSTOP, SignalInfo, UNBLOCKABLE, code};
use crate::table::{Row, full, partial};
use crate::thread::AlternateStack;
use crate::trace::Argument::{Hex, Int, Name, Signal as Sig, Size};
use abi::number as nr;
use abi::time::Timespec;
use alloc::sync::Arc;
use base::{Errno, Signal, Tid, UserAddr};

const HOW: &[(u64, &str)] = &[(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")];

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::RT_SIGACTION, "rt_sigaction", &[Sig, Hex, Hex, Size], rt_sigaction),
    full(nr::RT_SIGPROCMASK, "rt_sigprocmask", &[Name(HOW), Hex, Hex, Size], rt_sigprocmask),
    full(nr::RT_SIGRETURN, "rt_sigreturn", &[], rt_sigreturn),
    full(nr::RT_SIGPENDING, "rt_sigpending", &[Hex, Size], rt_sigpending),
    full(nr::RT_SIGSUSPEND, "rt_sigsuspend", &[Hex, Size], rt_sigsuspend),
    full(nr::RT_SIGTIMEDWAIT, "rt_sigtimedwait", &[Hex, Hex, Hex, Size], rt_sigtimedwait),
    full(nr::RT_SIGQUEUEINFO, "rt_sigqueueinfo", &[Int, Sig, Hex], rt_sigqueueinfo),
    full(nr::RT_TGSIGQUEUEINFO, "rt_tgsigqueueinfo", &[Int, Int, Sig, Hex], rt_tgsigqueueinfo),
    full(nr::SIGALTSTACK, "sigaltstack", &[Hex, Hex], sigaltstack),
    full(nr::PAUSE, "pause", &[], pause),
    partial(nr::KILL, "kill", &[Int, Sig], "there is one process", kill),
    full(nr::TKILL, "tkill", &[Int, Sig], tkill),
    full(nr::TGKILL, "tgkill", &[Int, Int, Sig], tgkill),
];

/// The only size of a signal set there is: 64 signals.
const SET_BYTES: usize = 8;

fn rt_sigaction(call: &mut Call<'_>) -> Outcome {
    rt_sigaction_result(call).into()
}

fn rt_sigaction_result(call: &Call<'_>) -> Result<usize, Errno> {
    let signal = call.signal(0)?;
    let (new_at, old_at) = (call.address(1), call.address(2));
    if call.size(3) != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let index = usize::from(signal.0) - 1;
    let new: Option<Action> =
        if new_at.is_null() { None } else { Some(call.memory().read(new_at)?) };
    if new.is_some() && (signal == SIGKILL || signal == SIGSTOP) {
        return Err(Errno::EINVAL);
    }
    let old = {
        let mut actions = call.process().actions.lock();
        let slot = actions.get_mut(index).ok_or(Errno::EINVAL)?;
        let old = *slot;
        if let Some(mut new) = new {
            new.mask &= !UNBLOCKABLE;
            *slot = new;
        }
        old
    };
    if let Some(new) = new
        && new.is_ignored(signal)
    {
        discard(call, signal);
    }
    if !old_at.is_null() {
        call.memory().write(old_at, &old)?;
    }
    Ok(0)
}

/// A signal that becomes ignored is dropped where it is pending (sigaction(2), POSIX).
fn discard(call: &Call<'_>, signal: Signal) {
    call.process().pending.lock().discard(signal);
    for tid in call.process().thread_ids() {
        if let Some(thread) = call.process().thread(tid) {
            thread.signals.lock().pending.discard(signal);
        }
    }
}

fn rt_sigprocmask(call: &mut Call<'_>) -> Outcome {
    rt_sigprocmask_result(call).into()
}

fn rt_sigprocmask_result(call: &Call<'_>) -> Result<usize, Errno> {
    let (new_at, old_at) = (call.address(1), call.address(2));
    if call.size(3) != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let old = call.thread.signals.lock().mask;
    if !new_at.is_null() {
        let set: u64 = call.memory().read(new_at)?;
        let mask = match call.int(0) {
            0 => old | set,
            1 => old & !set,
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
        call.thread.set_mask(mask);
    }
    if !old_at.is_null() {
        call.memory().write(old_at, &old)?;
    }
    Ok(0)
}

fn rt_sigreturn(call: &mut Call<'_>) -> Outcome {
    match frame::pop(call.thread, call.user) {
        Ok(restored) => {
            set_alternate_stack(call, &restored.stack);
            call.thread.set_mask(restored.mask);
        }
        Err(_) => {
            hal::console::write(b"eggos: a signal handler returned to a broken frame\n");
            call.process().end(crate::process::ExitStatus::Signal(SIGSEGV));
        }
    }
    Outcome::Resumed
}

/// The frame's record of the alternate stack takes effect if it is valid (Linux's
/// restore_altstack ignores errors).
fn set_alternate_stack(call: &Call<'_>, record: &StackRecord) {
    const SS_AUTODISARM: u32 = 1 << 31;
    const SS_DISABLE: u32 = 2;
    let mut signals = call.thread.signals.lock();
    if signals.alternate_stack.contains(call.user.registers.rsp) {
        return;
    }
    signals.alternate_stack = if record.flags & SS_DISABLE != 0 {
        AlternateStack::default()
    } else {
        AlternateStack {
            base: UserAddr(record.base),
            bytes: record.bytes,
            flags: record.flags & SS_AUTODISARM,
        }
    };
}

fn rt_sigpending(call: &mut Call<'_>) -> Outcome {
    if call.size(1) > SET_BYTES {
        return Errno::EINVAL.into();
    }
    let set = {
        let signals = call.thread.signals.lock();
        let process = call.process().pending.lock();
        (signals.pending.set() | process.set()) & signals.mask
    };
    let count = call.size(1);
    let result = call.memory().write_bytes(call.address(0), &set.to_le_bytes()[..count]);
    result.map(|()| 0).into()
}

fn pause(call: &mut Call<'_>) -> Outcome {
    let thread = Arc::clone(call.thread);
    Outcome::wait(async move {
        thread.interrupted().await;
        Err(Failure::Interrupted(Restart::NoHandler))
    })
}

fn rt_sigsuspend(call: &mut Call<'_>) -> Outcome {
    if call.size(1) != SET_BYTES {
        return Errno::EINVAL.into();
    }
    let mask: u64 = match call.memory().read(call.address(0)) {
        Ok(mask) => mask,
        Err(errno) => return errno.into(),
    };
    call.thread.swap_mask(mask);
    pause(call)
}

impl crate::thread::Thread {
    /// Sets the mask for the duration of one call; delivery puts the old one back (through the
    /// frame when a handler runs).
    pub fn swap_mask(&self, mask: u64) {
        {
            let mut signals = self.signals.lock();
            let old = signals.mask;
            signals.saved_mask.get_or_insert(old);
        }
        self.set_mask(mask);
    }
}

fn rt_sigtimedwait(call: &mut Call<'_>) -> Outcome {
    match rt_sigtimedwait_start(call) {
        Ok(outcome) => outcome,
        Err(errno) => errno.into(),
    }
}

fn rt_sigtimedwait_start(call: &Call<'_>) -> Result<Outcome, Errno> {
    let (set_at, info_at, timeout_at) = (call.address(0), call.address(1), call.address(2));
    if call.size(3) != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let set: u64 = call.memory().read::<u64>(set_at)? & !UNBLOCKABLE;
    let deadline = if timeout_at.is_null() {
        None
    } else {
        Some(hal::clock::now() + call.memory().read::<Timespec>(timeout_at)?.duration()?)
    };
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        // While it waits, the awaited signals count as not blocked, so that senders wake it.
        let old_mask = {
            let mut signals = thread.signals.lock();
            signals.awaited = set;
            let old = signals.mask;
            signals.mask &= !set;
            old
        };
        let waited = thread.interruptible(core::future::pending(), deadline, Restart::Never);
        let waited: Result<(), Failure> = waited.await;
        let taken = {
            let mut signals = thread.signals.lock();
            signals.awaited = 0;
            signals.mask = old_mask;
            drop(signals);
            thread.take_signal(set)
        };
        thread.process.pass_on(set & old_mask);
        match taken {
            Some(info) => {
                if !info_at.is_null() {
                    thread.process.memory.write_bytes(info_at, &info.encode())?;
                }
                Ok(usize::from(info.signal.0))
            }
            None => Err(match waited {
                Err(Failure::Errno(_)) => Errno::EAGAIN.into(),
                _ => Failure::Interrupted(Restart::Never),
            }),
        }
    }))
}

fn sigaltstack(call: &mut Call<'_>) -> Outcome {
    sigaltstack_result(call).into()
}

fn sigaltstack_result(call: &Call<'_>) -> Result<usize, Errno> {
    const SS_ONSTACK: u32 = 1;
    const SS_DISABLE: u32 = 2;
    const SS_AUTODISARM: u32 = 1 << 31;
    const MINIMUM_BYTES: u64 = 2048;
    let (new_at, old_at) = (call.address(0), call.address(1));
    let stack_pointer = call.user.registers.rsp;
    let old = call.thread.signals.lock().alternate_stack;
    if !new_at.is_null() {
        let new: StackRecord = call.memory().read(new_at)?;
        if old.contains(stack_pointer) && old.flags & SS_AUTODISARM == 0 {
            return Err(Errno::EPERM);
        }
        let stack = match new.flags & !SS_AUTODISARM {
            SS_DISABLE => AlternateStack::default(),
            0 | SS_ONSTACK if new.bytes < MINIMUM_BYTES => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => AlternateStack {
                base: UserAddr(new.base),
                bytes: new.bytes,
                flags: new.flags & SS_AUTODISARM,
            },
            _ => return Err(Errno::EINVAL),
        };
        call.thread.signals.lock().alternate_stack = stack;
    }
    if !old_at.is_null() {
        let record = StackRecord {
            base: old.base.0,
            flags: frame::stack_flags(old, stack_pointer),
            padding: 0,
            bytes: old.bytes,
        };
        call.memory().write(old_at, &record)?;
    }
    Ok(0)
}

/// Signal 0 only checks that the target exists.
pub(crate) fn signal_or_probe(call: &Call<'_>, index: usize) -> Result<Option<Signal>, Errno> {
    if call.int(index) == 0 { Ok(None) } else { call.signal(index).map(Some) }
}

fn kill(call: &mut Call<'_>) -> Outcome {
    kill_result(call).into()
}

fn kill_result(call: &Call<'_>) -> Result<usize, Errno> {
    let own = PROCESS_ID.0.cast_signed();
    let target = call.int(0);
    let signal = signal_or_probe(call, 1)?;
    // 0: the caller's process group; -own: that group by its id.
    if target != own && target != 0 && target != -own {
        return Err(Errno::ESRCH);
    }
    if let Some(signal) = signal {
        let origin = Origin::Process(PROCESS_ID);
        call.process().send_signal(SignalInfo { signal, code: code::SI_USER, origin })?;
    }
    Ok(0)
}

fn to_thread(call: &Call<'_>, tid: i32, signal: Option<Signal>) -> Result<usize, Errno> {
    let tid = u32::try_from(tid).ok().filter(|tid| *tid != 0).ok_or(Errno::EINVAL)?;
    let thread = call.process().thread(Tid(tid)).ok_or(Errno::ESRCH)?;
    if let Some(signal) = signal {
        let origin = Origin::Process(PROCESS_ID);
        thread.send_signal(SignalInfo { signal, code: code::SI_TKILL, origin })?;
    }
    Ok(0)
}

fn tkill(call: &mut Call<'_>) -> Outcome {
    signal_or_probe(call, 1).and_then(|signal| to_thread(call, call.int(0), signal)).into()
}

fn tgkill(call: &mut Call<'_>) -> Outcome {
    tgkill_result(call).into()
}

fn tgkill_result(call: &Call<'_>) -> Result<usize, Errno> {
    if call.int(0) <= 0 {
        return Err(Errno::EINVAL);
    }
    let signal = signal_or_probe(call, 2)?;
    if call.unsigned(0) != PROCESS_ID.0 {
        return Err(Errno::ESRCH);
    }
    to_thread(call, call.int(1), signal)
}

/// Reads a `siginfo_t` that the program made. It may not claim to come from the kernel or from
/// kill (rt_sigqueueinfo(2)), except to itself.
pub(crate) fn read_info(
    call: &Call<'_>,
    signal: Signal,
    at: UserAddr,
) -> Result<SignalInfo, Errno> {
    let mut bytes = [0; 128];
    call.memory().read_bytes(at, &mut bytes)?;
    let code = i32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let mut rest = [0; 112];
    rest.copy_from_slice(&bytes[16..]);
    Ok(SignalInfo { signal, code, origin: Origin::Raw(rest) })
}

fn rt_sigqueueinfo(call: &mut Call<'_>) -> Outcome {
    let result = call.signal(1).and_then(|signal| {
        if call.unsigned(0) != PROCESS_ID.0 {
            return Err(Errno::ESRCH);
        }
        let info = read_info(call, signal, call.address(2))?;
        call.process().send_signal(info)?;
        Ok(0)
    });
    result.into()
}

fn rt_tgsigqueueinfo(call: &mut Call<'_>) -> Outcome {
    let result = call.signal(2).and_then(|signal| {
        if call.unsigned(0) != PROCESS_ID.0 {
            return Err(Errno::ESRCH);
        }
        let thread = call.process().thread(Tid(call.unsigned(1))).ok_or(Errno::ESRCH)?;
        let info = read_info(call, signal, call.address(3))?;
        thread.send_signal(info)?;
        Ok(0)
    });
    result.into()
}
