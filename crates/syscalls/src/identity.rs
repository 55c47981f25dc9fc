//! System calls about who the program is: users, groups, process ids. It starts as root.

use crate::call::{Call, Outcome};
use crate::credentials::{Capabilities, Credentials, Ids, UNCHANGED, capability};
use crate::process::PROCESS_ID;
use crate::table::{Row, full, partial};
use crate::threads::process_id;
use crate::trace::Argument::{Hex, Int};
use abi::number as nr;
use alloc::vec::Vec;
use base::{Errno, Tid};
use core::sync::atomic::Ordering;

/// The calls of this family.
pub const ROWS: &[Row] = &[
    full(nr::GETPID, "getpid", &[], |_| Ok(process_id()).into()),
    full(nr::GETPPID, "getppid", &[], |_| Ok(1).into()),
    full(nr::GETPGRP, "getpgrp", &[], |_| Ok(process_id()).into()),
    full(nr::GETPGID, "getpgid", &[Int], own_process),
    full(nr::GETSID, "getsid", &[Int], own_process),
    partial(nr::SETPGID, "setpgid", &[Int, Int], "there is one process group", setpgid),
    partial(nr::SETSID, "setsid", &[], "EPERM: the program leads its session", |_| {
        Errno::EPERM.into()
    }),
    full(nr::GETUID, "getuid", &[], |call| id(call, |who| who.user.real)),
    full(nr::GETEUID, "geteuid", &[], |call| id(call, |who| who.user.effective)),
    full(nr::GETGID, "getgid", &[], |call| id(call, |who| who.group.real)),
    full(nr::GETEGID, "getegid", &[], |call| id(call, |who| who.group.effective)),
    full(nr::GETRESUID, "getresuid", &[Hex, Hex, Hex], |call| get_three(call, |who| who.user)),
    full(nr::GETRESGID, "getresgid", &[Hex, Hex, Hex], |call| get_three(call, |who| who.group)),
    full(nr::SETUID, "setuid", &[Int], |call| {
        set(call, USER, |ids, may, new| ids.set(may, new[0]))
    }),
    full(nr::SETGID, "setgid", &[Int], |call| {
        set(call, GROUP, |ids, may, new| ids.set(may, new[0]))
    }),
    full(nr::SETREUID, "setreuid", &[Int, Int], |call| {
        set(call, USER, |ids, may, new| ids.set_two(may, new[0], new[1]))
    }),
    full(nr::SETREGID, "setregid", &[Int, Int], |call| {
        set(call, GROUP, |ids, may, new| ids.set_two(may, new[0], new[1]))
    }),
    full(nr::SETRESUID, "setresuid", &[Int, Int, Int], |call| set(call, USER, Ids::set_three)),
    full(nr::SETRESGID, "setresgid", &[Int, Int, Int], |call| set(call, GROUP, Ids::set_three)),
    full(nr::SETFSUID, "setfsuid", &[Int], |call| set_for_files(call, USER)),
    full(nr::SETFSGID, "setfsgid", &[Int], |call| set_for_files(call, GROUP)),
    full(nr::GETGROUPS, "getgroups", &[Int, Hex], getgroups),
    full(nr::SETGROUPS, "setgroups", &[Int, Hex], setgroups),
    full(nr::CAPGET, "capget", &[Hex, Hex], capget),
    partial(
        nr::CAPSET,
        "capset",
        &[Hex, Hex],
        "asked for by what changes ids, by files, chroot, reboot and raw sockets",
        capset,
    ),
];

/// Most supplementary groups (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

fn id(call: &Call<'_>, which: impl FnOnce(&Credentials) -> u32) -> Outcome {
    Ok(call.thread.identity.get(which) as usize).into()
}

fn get_three(call: &Call<'_>, which: impl FnOnce(&Credentials) -> Ids) -> Outcome {
    let ids = call.thread.identity.get(which);
    let write = || {
        for (at, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
            call.memory().write(call.address(at), &id)?;
        }
        Ok(0)
    };
    Outcome::Done(write())
}

/// Users or groups: which ids, and the capability that lets them be anything.
struct Which {
    ids: fn(&mut Credentials) -> &mut Ids,
    capability: u32,
}

const USER: Which = Which { ids: |who| &mut who.user, capability: capability::SETUID };
const GROUP: Which = Which { ids: |who| &mut who.group, capability: capability::SETGID };

/// Changes the ids of the calling thread. Linux does no more: a program changes every thread.
fn set(
    call: &Call<'_>,
    which: Which,
    change: impl FnOnce(&mut Ids, bool, [u32; 3]) -> Result<(), Errno>,
) -> Outcome {
    let new = [call.unsigned(0), call.unsigned(1), call.unsigned(2)];
    let changed = call.thread.identity.change(|credentials| {
        let may = credentials.capabilities.has(which.capability);
        let old = [credentials.user, credentials.group];
        change((which.ids)(credentials), may, new)?;
        credentials.user_changed(old[0]);
        Ok((old, [credentials.user, credentials.group]))
    });
    let (old, now) = match changed {
        Ok(both) => both,
        Err(errno) => return Outcome::Done(Err(errno)),
    };
    if old.map(|ids| ids.effective) != now.map(|ids| ids.effective) {
        // Linux: who became another tells nobody of before, and dies with nobody.
        call.process().dumpable.store(false, Ordering::Relaxed);
        call.thread.settings.lock().forget_death_signal();
    }
    Ok(0).into()
}

/// setfsuid(2): the answer is the id of before, whether it was changed or not.
fn set_for_files(call: &Call<'_>, which: Which) -> Outcome {
    let new = call.unsigned(0);
    let old = call.thread.identity.change(|credentials| {
        let may = credentials.capabilities.has(which.capability);
        let user = credentials.user.files;
        let ids = (which.ids)(credentials);
        let old = ids.files;
        if new != UNCHANGED && (may || ids.holds(new)) {
            ids.files = new;
        }
        credentials.file_user_changed(user);
        old
    });
    Ok(old as usize).into()
}

fn own_process(call: &mut Call<'_>) -> Outcome {
    match call.unsigned(0) {
        0 => Ok(process_id()).into(),
        pid if pid == PROCESS_ID.0 => Ok(process_id()).into(),
        _ => Errno::ESRCH.into(),
    }
}

fn setpgid(call: &mut Call<'_>) -> Outcome {
    let is_own = |index| matches!(call.unsigned(index), 0) || call.unsigned(index) == PROCESS_ID.0;
    match (is_own(0), is_own(1)) {
        (true, true) => Ok(0).into(),
        (true, false) => Errno::EPERM.into(),
        (false, _) => Errno::ESRCH.into(),
    }
}

fn getgroups(call: &mut Call<'_>) -> Outcome {
    let groups = call.thread.identity.get(|who| who.groups.clone());
    let Ok(room) = usize::try_from(call.int(0)) else { return Errno::EINVAL.into() };
    if room == 0 {
        return Ok(groups.len()).into();
    }
    if room < groups.len() {
        return Errno::EINVAL.into();
    }
    let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_le_bytes()).collect();
    call.memory().write_bytes(call.address(1), &bytes).map(|()| groups.len()).into()
}

fn setgroups(call: &mut Call<'_>) -> Outcome {
    // An int on Linux: what does not fit is too many.
    let count = usize::try_from(call.int(0)).unwrap_or(usize::MAX);
    if !call.thread.identity.has(capability::SETGID) {
        return Errno::EPERM.into();
    }
    if count > GROUPS_MAX {
        return Errno::EINVAL.into();
    }
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(count * 4).is_err() {
        return Errno::ENOMEM.into();
    }
    bytes.resize(count * 4, 0);
    if let Err(errno) = call.memory().read_bytes(call.address(1), &mut bytes) {
        return errno.into();
    }
    let groups = bytes.as_chunks::<4>().0.iter().map(|group| u32::from_le_bytes(*group));
    let mut groups: Vec<u32> = groups.collect();
    base::sort(&mut groups);
    call.thread.identity.change(|who| who.groups = groups);
    Ok(0).into()
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

fn capget(call: &mut Call<'_>) -> Outcome {
    capget_result(call).into()
}

/// Checks the header of capget and capset: whose capabilities.
fn read_capability_header(call: &Call<'_>) -> Result<Tid, Errno> {
    let [version, id] = call.memory().read::<[u32; 2]>(call.address(0))?;
    if version != CAPABILITY_VERSION {
        call.memory().write(call.address(0), &CAPABILITY_VERSION)?;
        return Err(Errno::EINVAL);
    }
    Ok(if id == 0 { call.thread.tid } else { Tid(id) })
}

fn capget_result(call: &Call<'_>) -> Result<usize, Errno> {
    let tid = match read_capability_header(call) {
        // Without a place for the answer it is a question for the version.
        Err(Errno::EINVAL) if call.address(1).is_null() => return Ok(0),
        other => other?,
    };
    let thread = call.process().thread(tid).ok_or(Errno::ESRCH)?;
    if call.address(1).is_null() {
        return Ok(0);
    }
    let Capabilities { effective, permitted, inheritable, .. } =
        thread.identity.get(|who| who.capabilities);
    let sets = [effective, permitted, inheritable];
    let [e, p, i] = sets.map(|set| set as u32);
    let [e_high, p_high, i_high] = sets.map(|set| (set >> 32) as u32);
    call.memory().write(call.address(1), &[e, p, i, e_high, p_high, i_high])?;
    Ok(0)
}

fn capset(call: &mut Call<'_>) -> Outcome {
    capset_result(call).into()
}

fn capset_result(call: &Call<'_>) -> Result<usize, Errno> {
    if read_capability_header(call)? != call.thread.tid {
        return Err(Errno::EPERM);
    }
    let [e, p, i, e_high, p_high, i_high] = call.memory().read::<[u32; 6]>(call.address(1))?;
    let join = |low: u32, high: u32| (u64::from(high) << 32 | u64::from(low)) & capability::ALL;
    let (effective, permitted, inheritable) = (join(e, e_high), join(p, p_high), join(i, i_high));
    call.thread.identity.change(|who| who.capabilities.set(effective, permitted, inheritable))?;
    Ok(0)
}
