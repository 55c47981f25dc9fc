//! prctl(2): settings of a thread and of the process.

use crate::call::{Call, Outcome};
use crate::credentials::{Credentials, capability};
use crate::scheduling::Policy;
use base::Errno;
use core::sync::atomic::Ordering;
use core::time::Duration;

/// Operations.
mod pr {
    pub(super) const SET_PDEATHSIG: i32 = 1;
    pub(super) const GET_PDEATHSIG: i32 = 2;
    pub(super) const GET_DUMPABLE: i32 = 3;
    pub(super) const SET_DUMPABLE: i32 = 4;
    pub(super) const GET_KEEPCAPS: i32 = 7;
    pub(super) const SET_KEEPCAPS: i32 = 8;
    pub(super) const SET_NAME: i32 = 15;
    pub(super) const GET_NAME: i32 = 16;
    pub(super) const GET_SECCOMP: i32 = 21;
    pub(super) const CAPBSET_READ: i32 = 23;
    pub(super) const CAPBSET_DROP: i32 = 24;
    pub(super) const SET_TIMERSLACK: i32 = 29;
    pub(super) const GET_TIMERSLACK: i32 = 30;
    pub(super) const SET_CHILD_SUBREAPER: i32 = 36;
    pub(super) const GET_CHILD_SUBREAPER: i32 = 37;
    pub(super) const SET_NO_NEW_PRIVS: i32 = 38;
    pub(super) const GET_NO_NEW_PRIVS: i32 = 39;
    pub(super) const CAP_AMBIENT: i32 = 47;
    pub(super) const SET_VMA: i32 = abi::mman::PR_SET_VMA.cast_signed();
}

/// Nanoseconds by which a sleep may be late, unless set otherwise.
const DEFAULT_TIMER_SLACK: u64 = 50_000;

/// Settings of a thread that only it can see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    death_signal: u32,
    timer_slack: u64,
    /// Niceness, -20 to 19 (setpriority(2)).
    pub(crate) nice: i32,
    /// Scheduling policy (sched_setscheduler(2)).
    pub(crate) policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            death_signal: 0,
            timer_slack: DEFAULT_TIMER_SLACK,
            nice: 0,
            policy: Policy::default(),
        }
    }
}

impl Settings {
    /// Sets the timer slack, in nanoseconds; 0: as it was at first.
    pub(crate) fn set_timer_slack(&mut self, value: u64) {
        self.timer_slack = if value == 0 { DEFAULT_TIMER_SLACK } else { value };
    }

    /// The same, in nanoseconds.
    pub(crate) fn timer_slack_nanoseconds(&self) -> u64 {
        self.timer_slack
    }

    /// By how much a sleep may be late.
    pub(crate) fn timer_slack(&self) -> Duration {
        Duration::from_nanos(self.timer_slack)
    }

    /// The death of a parent is no longer told.
    pub(crate) fn forget_death_signal(&mut self) {
        self.death_signal = 0;
    }
}

pub(crate) fn prctl(call: &mut Call<'_>) -> Outcome {
    prctl_result(call).into()
}

fn prctl_result(call: &Call<'_>) -> Result<usize, Errno> {
    let (process, value) = (call.process(), call.long(1));
    let no_more = |from: usize| (from..5).all(|at| call.long(at) == 0);
    let truth = || match value {
        0 | 1 => Ok(value == 1),
        _ => Err(Errno::EINVAL),
    };
    match call.int(0) {
        pr::SET_NAME => return set_name(call),
        pr::GET_NAME => {
            let name = *call.thread.name.lock();
            call.memory().write_bytes(call.address(1), &name)?;
        }
        pr::GET_DUMPABLE => return Ok(usize::from(process.dumpable.load(Ordering::Relaxed))),
        pr::SET_DUMPABLE => process.dumpable.store(truth()?, Ordering::Relaxed),
        pr::SET_PDEATHSIG if value <= 64 => {
            call.thread.settings.lock().death_signal = value as u32;
        }
        pr::GET_PDEATHSIG => {
            let signal = call.thread.settings.lock().death_signal;
            call.memory().write(call.address(1), &signal)?;
        }
        pr::SET_TIMERSLACK => {
            call.thread.settings.lock().set_timer_slack(value);
        }
        pr::GET_TIMERSLACK => return Ok(call.thread.settings.lock().timer_slack as usize),
        pr::SET_CHILD_SUBREAPER => process.subreaper.store(value != 0, Ordering::Relaxed),
        pr::GET_CHILD_SUBREAPER => {
            let on = u32::from(process.subreaper.load(Ordering::Relaxed));
            call.memory().write(call.address(1), &on)?;
        }
        pr::GET_SECCOMP => {}
        pr::SET_KEEPCAPS => {
            let keep = truth()?;
            call.thread.identity.change(|who| who.keep_capabilities = keep);
        }
        pr::GET_KEEPCAPS => {
            return Ok(usize::from(call.thread.identity.get(|who| who.keep_capabilities)));
        }
        pr::SET_NO_NEW_PRIVS if value == 1 && no_more(2) => {
            call.thread.identity.change(|who| who.no_new_privileges = true);
        }
        pr::GET_NO_NEW_PRIVS if no_more(1) => {
            return Ok(usize::from(call.thread.identity.get(|who| who.no_new_privileges)));
        }
        pr::CAPBSET_READ => {
            let bounding = call.thread.identity.get(|who| who.capabilities.bounding);
            return Ok((bounding & bit(value)? != 0).into());
        }
        pr::CAPBSET_DROP => {
            if !call.thread.identity.has(capability::SETPCAP) {
                return Err(Errno::EPERM);
            }
            let bit = bit(value)?;
            call.thread.identity.change(|who| who.capabilities.bounding &= !bit);
        }
        pr::CAP_AMBIENT => return ambient(call, no_more(3)),
        pr::SET_VMA => return crate::memory::set_name(call),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn bit(capability: u64) -> Result<u64, Errno> {
    if capability <= u64::from(capability::LAST) { Ok(1 << capability) } else { Err(Errno::EINVAL) }
}

/// `PR_CAP_AMBIENT`. `no_more`: nothing stands behind the third argument.
fn ambient(call: &Call<'_>, no_more: bool) -> Result<usize, Errno> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    if !no_more {
        return Err(Errno::EINVAL);
    }
    let (how, which) = (call.long(1), call.long(2));
    call.thread.identity.change(|Credentials { capabilities, .. }| {
        match how {
            CLEAR_ALL if which == 0 => capabilities.ambient = 0,
            IS_SET => return Ok((capabilities.ambient & bit(which)? != 0).into()),
            RAISE => {
                let bit = bit(which)?;
                if capabilities.permitted & capabilities.inheritable & bit == 0 {
                    return Err(Errno::EPERM);
                }
                capabilities.ambient |= bit;
            }
            LOWER => capabilities.ambient &= !bit(which)?,
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    })
}

/// Longer names are cut: byte by byte, since what follows the name may be unmapped.
fn set_name(call: &Call<'_>) -> Result<usize, Errno> {
    let mut name = [0_u8; 16];
    for (slot, at) in name.iter_mut().take(15).zip(0..) {
        let byte: u8 = call.memory().read(call.address(1).wrapping_add(at))?;
        if byte == 0 {
            break;
        }
        *slot = byte;
    }
    *call.thread.name.lock() = name;
    Ok(0)
}
