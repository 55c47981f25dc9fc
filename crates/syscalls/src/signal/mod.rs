//! Signals: what is sent, what is pending, what is done about it.

pub(crate) mod deliver;
pub(crate) mod frame;

use alloc::collections::VecDeque;
use base::{Errno, Pid, Signal, UserAddr};

/// SIGKILL and SIGSTOP, as mask bits.
pub(crate) const UNBLOCKABLE: u64 = 1 << (SIGKILL.0 - 1) | 1 << (SIGSTOP.0 - 1);

macro_rules! signals {
    ($($name:ident = $number:literal;)*) => {
        $(#[doc = concat!("Signal ", stringify!($number), ", see signal(7).")]
        pub const $name: Signal = Signal($number);)*
    };
}

signals! {
    SIGINT = 2; SIGQUIT = 3; SIGILL = 4; SIGTRAP = 5; SIGBUS = 7; SIGFPE = 8; SIGKILL = 9;
    SIGSEGV = 11; SIGPIPE = 13; SIGALRM = 14; SIGTERM = 15; SIGCHLD = 17; SIGCONT = 18; SIGSTOP = 19;
    SIGTSTP = 20; SIGTTIN = 21; SIGTTOU = 22; SIGURG = 23; SIGXCPU = 24; SIGXFSZ = 25; SIGVTALRM = 26; SIGPROF = 27;
    SIGWINCH = 28; SIGIO = 29;
}

/// `si_code` values (sigaction(2)).
#[expect(missing_docs, reason = "the manual's own names")]
pub mod code {
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_INTOVF: i32 = 2;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTOVF: i32 = 4;
    pub const FPE_FLTUND: i32 = 5;
    pub const FPE_FLTRES: i32 = 6;
    pub const FPE_FLTINV: i32 = 7;
    pub const ILL_ILLOPN: i32 = 2;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
}

/// The part of a `siginfo_t` that depends on the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// kill, tkill, tgkill: the sender, which is the process itself.
    Process(Pid),
    /// A fault: the address, and what the processor said.
    Fault(FaultDetail),
    /// A timer of timer_create(2).
    Timer {
        /// Its number.
        id: i32,
        /// Expiries that the program missed; known on delivery.
        overrun: u32,
        /// `si_value`, as timer_create got it.
        value: u64,
    },
    /// rt_sigqueueinfo: the 112 bytes after the header, as the sender gave them.
    Raw([u8; 112]),
}

/// What a fault adds to the signal frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultDetail {
    /// `si_addr`.
    pub address: UserAddr,
    /// Exception vector (`trapno`).
    pub vector: u8,
    /// Error code (`err`).
    pub error_code: u64,
    /// Page-fault address (`cr2`).
    pub page_fault_address: u64,
}

/// A signal on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalInfo {
    /// Which.
    pub signal: Signal,
    /// `si_code`, see [`code`].
    pub code: i32,
    /// Where from.
    pub origin: Origin,
}

impl SignalInfo {
    /// A signal that the kernel sends without more to say (SIGINT from the console, SIGPIPE).
    #[must_use]
    pub fn from_kernel(signal: Signal) -> Self {
        Self { signal, code: code::SI_KERNEL, origin: Origin::Process(Pid(0)) }
    }

    /// The signal's bit in a mask.
    #[must_use]
    pub fn signal_bit(&self) -> u64 {
        1 << (u32::from(self.signal.0).wrapping_sub(1) & 63)
    }

    /// True when RLIMIT_SIGPENDING counts it: every one that is queued. Timers have their place from the
    /// start, and a standard signal needs none of its own.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.signal.0 >= 32 && !matches!(self.origin, Origin::Timer { .. })
    }

    /// As `siginfo_t` lies in memory (x86-64, 128 bytes).
    #[must_use]
    pub fn encode(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[0..4].copy_from_slice(&u32::from(self.signal.0).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        match self.origin {
            Origin::Process(pid) => bytes[16..20].copy_from_slice(&pid.0.to_le_bytes()),
            Origin::Fault(detail) => {
                bytes[16..24].copy_from_slice(&detail.address.0.to_le_bytes());
            }
            Origin::Timer { id, overrun, value } => {
                bytes[16..20].copy_from_slice(&id.to_le_bytes());
                bytes[20..24].copy_from_slice(&overrun.to_le_bytes());
                bytes[24..32].copy_from_slice(&value.to_le_bytes());
            }
            Origin::Raw(rest) => bytes[16..].copy_from_slice(&rest),
        }
        bytes
    }
}

/// Signals that were sent and not yet taken.
#[derive(Default)]
pub struct Pending {
    queue: VecDeque<SignalInfo>,
    set: u64,
}

impl Pending {
    /// Which are pending, as a mask.
    #[must_use]
    pub fn set(&self) -> u64 {
        self.set
    }

    /// Queues a signal. A standard signal that is pending already is not queued again, unless a
    /// timer sends it: each has its own place in the queue.
    ///
    /// `has_room`: RLIMIT_SIGPENDING allows one more. Without room a real-time signal of kill(2) is as
    /// a standard one (`__send_signal_locked` of Linux).
    ///
    /// # Errors
    /// `EAGAIN`: there is no room for another real-time signal.
    pub fn push(&mut self, info: SignalInfo, has_room: bool) -> Result<(), Errno> {
        let bit = info.signal_bit();
        let is_timer = matches!(info.origin, Origin::Timer { .. });
        if !has_room && info.is_counted() && info.code != code::SI_USER {
            return Err(Errno::EAGAIN);
        }
        if self.set & bit != 0 && !is_timer && !(has_room && info.is_counted()) {
            return Ok(());
        }
        self.set |= bit;
        self.queue.push_back(info);
        Ok(())
    }

    /// How many are queued that RLIMIT_SIGPENDING counts.
    #[must_use]
    pub fn counted(&self) -> usize {
        self.queue.iter().filter(|info| info.is_counted()).count()
    }

    /// Takes the first signal in `allowed`: faults of the thread first, then the lowest number,
    /// as Linux does.
    pub fn take(&mut self, allowed: u64) -> Option<SignalInfo> {
        if self.set & allowed == 0 {
            return None;
        }
        let rank = |info: &SignalInfo| {
            let is_fault = matches!(info.origin, Origin::Fault(_));
            (!is_fault, info.signal.0)
        };
        let (at, _) = self
            .queue
            .iter()
            .enumerate()
            .filter(|(_, info)| info.signal_bit() & allowed != 0)
            .min_by_key(|(_, info)| rank(info))?;
        let info = self.queue.remove(at)?;
        let bit = info.signal_bit();
        if !self.queue.iter().any(|other| other.signal_bit() == bit) {
            self.set &= !bit;
        }
        Some(info)
    }

    /// Drops what timer `id` sent.
    pub fn discard_timer(&mut self, id: i32) {
        self.queue.retain(|info| !matches!(info.origin, Origin::Timer { id: of, .. } if of == id));
        self.set = self.queue.iter().fold(0, |set, info| set | info.signal_bit());
    }

    /// Drops every pending `signal` (it became ignored).
    pub fn discard(&mut self, signal: Signal) {
        self.queue.retain(|info| info.signal != signal);
        self.set &= !(1 << (signal.0 - 1));
    }
}

/// `SA_*` flags.
#[expect(missing_docs, reason = "the manual's own names")]
pub mod action_flags {
    pub const SA_SIGINFO: u64 = 0x4;
    pub const SA_RESTORER: u64 = 0x0400_0000;
    pub const SA_ONSTACK: u64 = 0x0800_0000;
    pub const SA_RESTART: u64 = 0x1000_0000;
    pub const SA_NODEFER: u64 = 0x4000_0000;
    pub const SA_RESETHAND: u64 = 0x8000_0000;
}

/// How a signal is handled: the kernel's `struct sigaction`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C)]
pub struct Action {
    /// Address of the handler, [`Action::DEFAULT`] or [`Action::IGNORE`].
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while it runs.
    pub mask: u64,
}

/// What happens without a handler (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DefaultAction {
    Terminate,
    Ignore,
    Stop,
}

impl Action {
    /// `SIG_DFL`.
    pub const DEFAULT: u64 = 0;
    /// `SIG_IGN`.
    pub const IGNORE: u64 = 1;

    /// True when `signal` is dropped under this action.
    #[must_use]
    pub fn is_ignored(&self, signal: Signal) -> bool {
        match self.handler {
            Self::IGNORE => true,
            Self::DEFAULT => default_action(signal) == DefaultAction::Ignore,
            _ => false,
        }
    }
}

/// What `signal` does without a handler. There is nobody to continue a stopped machine, so the
/// stop signals are said on the console and otherwise ignored.
pub(crate) fn default_action(signal: Signal) -> DefaultAction {
    match signal {
        SIGCHLD | SIGURG | SIGWINCH | SIGCONT => DefaultAction::Ignore,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => DefaultAction::Stop,
        _ => DefaultAction::Terminate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u8) -> SignalInfo {
        let origin = Origin::Process(Pid(2));
        SignalInfo { signal: Signal(number), code: code::SI_USER, origin }
    }

    #[test]
    fn standard_signals_merge_and_real_time_ones_queue() {
        let mut pending = Pending::default();
        for _ in 0..3 {
            pending.push(user(10), true).unwrap();
            pending.push(user(40), true).unwrap();
        }
        let mut order = alloc::vec::Vec::new();
        while let Some(info) = pending.take(u64::MAX) {
            order.push(info.signal.0);
        }
        assert_eq!(order, [10, 40, 40, 40]);
        assert_eq!(pending.set(), 0);
    }

    #[test]
    fn without_room_real_time_signals_merge_or_fail() {
        let mut pending = Pending::default();
        pending.push(user(40), false).unwrap();
        pending.push(user(40), false).unwrap();
        let queued = SignalInfo { code: code::SI_TKILL, ..user(41) };
        assert_eq!(pending.push(queued, false), Err(Errno::EAGAIN));
        pending.push(user(10), false).unwrap();
        assert_eq!((pending.counted(), pending.set()), (1, 1 << 39 | 1 << 9));
    }

    #[test]
    fn blocked_signals_stay() {
        let mut pending = Pending::default();
        pending.push(user(10), true).unwrap();
        pending.push(user(12), true).unwrap();
        assert_eq!(pending.take(1 << 11).map(|info| info.signal.0), Some(12));
        assert_eq!(pending.take(1 << 11), None);
        assert_eq!(pending.set(), 1 << 9);
    }
}
