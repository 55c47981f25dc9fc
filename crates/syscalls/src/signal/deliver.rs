//! Delivery: which pending signal is next and what becomes of it; and the signals that the
//! processor's exceptions become.

use super::frame::{self, Entry};
use super::{
    Action, DefaultAction, FaultDetail, Origin, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP,
    SignalInfo, action_flags, code, default_action,
};
use crate::process::ExitStatus;
use crate::thread::{AlternateStack, Thread};
use alloc::format;
use alloc::sync::Arc;
use base::sync::SpinLock;
use base::{Signal, UserAddr};
use hal::user::UserContext;
use hal::{Exception, PageFault, vector};
use mm::FaultError;

/// Delivers every signal that is pending and not blocked: pushes frames, or ends the process.
#[inline(never)]
pub(crate) fn pending(thread: &Arc<Thread>, user: &mut UserContext) {
    loop {
        let allowed = !thread.signals.lock().mask;
        let Some(info) = thread.take_signal(allowed) else { break };
        if thread.process.is_exiting() {
            return;
        }
        one(thread, user, &info);
    }
    // No handler ran for the swapped mask of sigsuspend, ppoll and the like: put it back.
    let saved = thread.signals.lock().saved_mask.take();
    if let Some(mask) = saved {
        thread.set_mask(mask);
    }
}

fn one(thread: &Arc<Thread>, user: &mut UserContext, info: &SignalInfo) {
    let action = thread.process.action(info.signal);
    match action.handler {
        Action::IGNORE if info.signal != SIGKILL => {}
        Action::DEFAULT | Action::IGNORE => without_handler(thread, user, info),
        _ => to_handler(thread, user, info, &action),
    }
}

fn without_handler(thread: &Thread, user: &UserContext, info: &SignalInfo) {
    match default_action(info.signal) {
        DefaultAction::Ignore => {}
        DefaultAction::Stop => {
            let name = crate::trace::signal_name(info.signal.0);
            hal::console::write(
                format!("eggos: {name} ignored: there is nobody to continue the program\n")
                    .as_bytes(),
            );
        }
        DefaultAction::Terminate => {
            if let Origin::Fault(detail) = info.origin {
                let name = crate::trace::signal_name(info.signal.0);
                let (rip, address) = (user.registers.rip, detail.address);
                let words =
                    format!("eggos: {name} at {rip:#x}, address {address}: the program ends\n");
                hal::console::write(words.as_bytes());
            }
            thread.process.end(ExitStatus::Signal(info.signal));
        }
    }
}

fn to_handler(thread: &Arc<Thread>, user: &mut UserContext, info: &SignalInfo, action: &Action) {
    let (mask_now, mask_after, alternate) = {
        let mut signals = thread.signals.lock();
        let after = signals.saved_mask.take().unwrap_or(signals.mask);
        (signals.mask, after, signals.alternate_stack)
    };
    if thread.process.machine.trace {
        let address = match info.origin {
            Origin::Fault(detail) => detail.address.0,
            _ => 0,
        };
        crate::trace::print_signal(thread.tid, info.signal, info.code, address);
    }
    let entry = Entry {
        handler: action.handler,
        restorer: action.restorer,
        on_alternate_stack: action.flags & action_flags::SA_ONSTACK != 0,
    };
    if frame::push(thread, user, info, &entry, mask_after, alternate).is_err() {
        hal::console::write(b"eggos: no room on the stack for a signal frame\n");
        thread.process.end(ExitStatus::Signal(SIGSEGV));
        return;
    }
    if action.flags & action_flags::SA_RESETHAND != 0 {
        let index = usize::from(info.signal.0) - 1;
        if let Some(slot) = thread.process.actions.lock().get_mut(index) {
            slot.handler = Action::DEFAULT;
        }
    }
    let mut blocked = mask_now | action.mask;
    if action.flags & action_flags::SA_NODEFER == 0 {
        blocked |= info.signal_bit();
    }
    {
        let mut signals = thread.signals.lock();
        signals.mask = blocked & !super::UNBLOCKABLE;
        const SS_AUTODISARM: u32 = 1 << 31;
        if alternate.flags & SS_AUTODISARM != 0 {
            signals.alternate_stack = AlternateStack::default();
        }
    }
    thread.process.pass_on(blocked & !mask_now);
}

/// Whether the handler of the next signal to be delivered has `SA_RESTART`; `None` when no
/// handler will run.
pub(crate) fn next_handler_restarts(thread: &Thread) -> Option<bool> {
    let deliverable = {
        let signals = thread.signals.lock();
        let process = thread.process.pending.lock();
        (signals.pending.set() | process.set()) & !signals.mask
    };
    (1..=64).map(Signal).filter(|signal| deliverable >> (signal.0 - 1) & 1 != 0).find_map(
        |signal| {
            let action = thread.process.action(signal);
            let has_handler = action.handler != Action::DEFAULT && action.handler != Action::IGNORE;
            has_handler.then_some(action.flags & action_flags::SA_RESTART != 0)
        },
    )
}

/// A fault signal cannot wait: if it is blocked or ignored, Linux resets it to the default action
/// and ends the process.
fn force(thread: &Arc<Thread>, info: SignalInfo) {
    {
        let mut signals = thread.signals.lock();
        let bit = info.signal_bit();
        let index = usize::from(info.signal.0) - 1;
        let mut actions = thread.process.actions.lock();
        if let Some(action) = actions.get_mut(index)
            && (signals.mask & bit != 0 || action.handler == Action::IGNORE)
        {
            action.handler = Action::DEFAULT;
            signals.mask &= !bit;
        }
        // A full queue cannot happen to a fault: standard signals are merged.
        let _ = signals.pending.push(info, true);
    }
    thread.call_attention();
}

/// The page fault that `mm` could not resolve becomes SIGSEGV or SIGBUS.
#[inline(never)]
pub(crate) fn raise_page_fault(thread: &Arc<Thread>, fault: &PageFault, error: FaultError) {
    let (signal, code) = match error {
        FaultError::Segv { code } => (SIGSEGV, code as i32),
        FaultError::Bus => (SIGBUS, code::BUS_ADRERR),
        FaultError::OutOfMemory => {
            let pages = thread.process.memory.space().resident_pages();
            hal::console::write(
                format!(
                    "eggos: out of memory: the program holds {} MiB and wants more; give the \
                     machine more with -m\n",
                    pages / 256
                )
                .as_bytes(),
            );
            thread.process.end(ExitStatus::Signal(SIGKILL));
            return;
        }
    };
    let detail = FaultDetail {
        address: fault.address,
        vector: vector::PAGE_FAULT,
        error_code: fault.error_code,
        page_fault_address: fault.address.0,
    };
    force(thread, SignalInfo { signal, code, origin: Origin::Fault(detail) });
}

/// Which signal and code an exception becomes (arch/x86/kernel/traps.c of Linux). The address of
/// those marked `true` is the instruction's.
const EXCEPTIONS: &[(u8, Signal, i32, bool)] = &[
    (vector::DIVIDE_ERROR, SIGFPE, code::FPE_INTDIV, true),
    (vector::DEBUG, SIGTRAP, code::TRAP_TRACE, true),
    (vector::BREAKPOINT, SIGTRAP, code::SI_KERNEL, false),
    (vector::OVERFLOW, SIGSEGV, code::SI_KERNEL, false),
    (vector::BOUND_RANGE, SIGSEGV, code::SI_KERNEL, false),
    (vector::INVALID_OPCODE, SIGILL, code::ILL_ILLOPN, true),
    (vector::SEGMENT_NOT_PRESENT, SIGBUS, code::SI_KERNEL, false),
    (vector::STACK_FAULT, SIGBUS, code::SI_KERNEL, false),
    (vector::GENERAL_PROTECTION, SIGSEGV, code::SI_KERNEL, false),
    (vector::X87_ERROR, SIGFPE, code::FPE_FLTINV, true),
    (vector::ALIGNMENT_CHECK, SIGBUS, code::BUS_ADRALN, false),
    (vector::SIMD_ERROR, SIGFPE, code::FPE_FLTINV, true),
];

/// An exception becomes the signal that Linux makes of it.
#[inline(never)]
pub(crate) fn raise_exception(thread: &Arc<Thread>, user: &mut UserContext, exception: Exception) {
    let row = EXCEPTIONS.iter().find(|row| row.0 == exception.vector);
    let (signal, code, at_instruction) =
        row.map_or((SIGSEGV, code::SI_KERNEL, false), |row| (row.1, row.2, row.3));
    let code = match exception.vector {
        vector::X87_ERROR | vector::SIMD_ERROR => frame::float_code(user, exception.vector),
        _ => code,
    };
    let address = if at_instruction { UserAddr(user.registers.rip) } else { UserAddr::NULL };
    let detail = FaultDetail {
        address,
        vector: exception.vector,
        error_code: exception.error_code,
        page_fault_address: 0,
    };
    force(thread, SignalInfo { signal, code, origin: Origin::Fault(detail) });
}

/// Says once for each number that a call is not implemented, with the return addresses of the
/// program's stack so that the host command can name the function that asked.
#[inline(never)]
pub(crate) fn say_unimplemented(thread: &Thread, user: &UserContext, number: u64) {
    static SAID: SpinLock<[u64; 16]> = SpinLock::new([0; 16]);
    {
        let mut said = SAID.lock();
        let slot = usize::try_from(number / 64).ok().and_then(|at| said.get_mut(at));
        let Some(slot) = slot else { return };
        let bit = 1 << (number % 64);
        if *slot & bit != 0 {
            return;
        }
        *slot |= bit;
    }
    let name = abi::number::name(number).unwrap_or("unknown");
    if !hal::console::has_control() {
        let words = format!("eggos: system call {name} ({number}) is not implemented: ENOSYS\n");
        hal::console::write(words.as_bytes());
        return;
    }
    let mut line = format!("enosys {name} {number} {:x}", user.registers.rip);
    let mut frame_pointer = UserAddr(user.registers.rbp);
    for _ in 0..16 {
        let Ok([next, return_address]) = thread.process.memory.read::<[u64; 2]>(frame_pointer)
        else {
            break;
        };
        line.push_str(&format!(" {return_address:x}"));
        if next <= frame_pointer.0 {
            break;
        }
        frame_pointer = UserAddr(next);
    }
    hal::console::control(&line);
}
