//! System calls about who the program is: users, groups, process ids. It starts as root.

use crate::call::{Call, Outcome};
use crate::process::PROCESS_ID;
use crate::table::{Row, full, partial};
use crate::threads::process_id;
use crate::trace::Argument::{Hex, Int};
use abi::number as nr;
use alloc::vec::Vec;
use base::Errno;

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
    partial(nr::SETUID, "setuid", &[Int], FILES_NOTE, |call| set(call, user, Ids::set)),
    partial(nr::SETGID, "setgid", &[Int], FILES_NOTE, |call| set(call, group, Ids::set)),
    partial(nr::SETREUID, "setreuid", &[Int, Int], FILES_NOTE, |call| {
        set(call, user, Ids::set_real_and_effective)
    }),
    partial(nr::SETREGID, "setregid", &[Int, Int], FILES_NOTE, |call| {
        set(call, group, Ids::set_real_and_effective)
    }),
    partial(nr::SETRESUID, "setresuid", &[Int, Int, Int], FILES_NOTE, |call| {
        set(call, user, Ids::set_all)
    }),
    partial(nr::SETRESGID, "setresgid", &[Int, Int, Int], FILES_NOTE, |call| {
        set(call, group, Ids::set_all)
    }),
    full(nr::GETGROUPS, "getgroups", &[Int, Hex], getgroups),
    full(nr::SETGROUPS, "setgroups", &[Int, Hex], setgroups),
    partial(nr::CAPGET, "capget", &[Hex, Hex], "all capabilities are held", capget),
    partial(nr::CAPSET, "capset", &[Hex, Hex], "checked, not enforced", capset),
];

const FILES_NOTE: &str = "kept and reported; file access is not checked against it";
/// Most supplementary groups (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;
/// "Leave as it is" in setresuid(2) and kin.
const UNCHANGED: u32 = u32::MAX;

/// Real, effective and saved id.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
}

impl Ids {
    /// setuid(2): all three, or, without privilege, the effective id to one that is held.
    fn set(&mut self, new: [u32; 3], privileged: bool) -> Result<(), Errno> {
        let [id, ..] = new;
        if id == UNCHANGED {
            return Err(Errno::EINVAL);
        }
        if privileged {
            *self = Self { real: id, effective: id, saved: id };
        } else if [self.real, self.saved].contains(&id) {
            self.effective = id;
        } else {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// setreuid(2): the saved id becomes the new effective one when the real id is set, or the
    /// effective one to something else than the real id was.
    fn set_real_and_effective(&mut self, new: [u32; 3], privileged: bool) -> Result<(), Errno> {
        let [real, effective, _] = new;
        let old = *self;
        let takes_real = ![UNCHANGED, old.real, old.effective].contains(&real);
        let takes_effective = ![UNCHANGED, old.real, old.effective, old.saved].contains(&effective);
        if !privileged && (takes_real || takes_effective) {
            return Err(Errno::EPERM);
        }
        let saves = real != UNCHANGED || (effective != UNCHANGED && effective != old.real);
        self.change([real, effective, UNCHANGED]);
        if saves {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// setresuid(2).
    fn set_all(&mut self, new: [u32; 3], privileged: bool) -> Result<(), Errno> {
        let held = [UNCHANGED, self.real, self.effective, self.saved];
        if !privileged && !new.iter().all(|id| held.contains(id)) {
            return Err(Errno::EPERM);
        }
        self.change(new);
        Ok(())
    }

    fn change(&mut self, new: [u32; 3]) {
        for (slot, new) in
            [&mut self.real, &mut self.effective, &mut self.saved].into_iter().zip(new)
        {
            if new != UNCHANGED {
                *slot = new;
            }
        }
    }
}

/// Who the program is.
#[derive(Clone, Default, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: Ids,
    pub(crate) group: Ids,
    pub(crate) groups: Vec<u32>,
}

fn id(call: &Call<'_>, which: impl FnOnce(&Credentials) -> u32) -> Outcome {
    Ok(which(&call.process().credentials.lock()) as usize).into()
}

fn get_three(call: &Call<'_>, which: impl FnOnce(&Credentials) -> Ids) -> Outcome {
    let ids = which(&call.process().credentials.lock());
    let write = || {
        for (at, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
            call.memory().write(call.address(at), &id)?;
        }
        Ok(0)
    };
    Outcome::Done(write())
}

fn user(credentials: &mut Credentials) -> &mut Ids {
    &mut credentials.user
}

fn group(credentials: &mut Credentials) -> &mut Ids {
    &mut credentials.group
}

/// Changes ids. Whoever is user 0 by the effective id may set any.
fn set(
    call: &Call<'_>,
    which: fn(&mut Credentials) -> &mut Ids,
    change: fn(&mut Ids, [u32; 3], bool) -> Result<(), Errno>,
) -> Outcome {
    let new = [call.unsigned(0), call.unsigned(1), call.unsigned(2)];
    let mut credentials = call.process().credentials.lock();
    let privileged = credentials.user.effective == 0;
    change(which(&mut credentials), new, privileged).map(|()| 0).into()
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
    let groups = call.process().credentials.lock().groups.clone();
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
    let count = call.size(0);
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
    let groups = bytes.as_chunks::<4>().0.iter().map(|group| u32::from_le_bytes(*group)).collect();
    let mut credentials = call.process().credentials.lock();
    if credentials.user.effective != 0 {
        return Errno::EPERM.into();
    }
    credentials.groups = groups;
    Ok(0).into()
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// Capabilities 0 to 40 (`CAP_LAST_CAP` of Linux 6), in two words.
const ALL_CAPABILITIES: [u32; 2] = [u32::MAX, 0x1ff];

fn capget(call: &mut Call<'_>) -> Outcome {
    capget_result(call).into()
}

fn capget_result(call: &Call<'_>) -> Result<usize, Errno> {
    let [version, pid] = call.memory().read::<[u32; 2]>(call.address(0))?;
    if version != CAPABILITY_VERSION {
        call.memory().write(call.address(0), &CAPABILITY_VERSION)?;
        return if call.address(1).is_null() { Ok(0) } else { Err(Errno::EINVAL) };
    }
    if pid != 0 && pid != PROCESS_ID.0 {
        return Err(Errno::ESRCH);
    }
    if call.address(1).is_null() {
        return Ok(0);
    }
    let [low, high] = ALL_CAPABILITIES;
    // (effective, permitted, inheritable) of the low and of the high word.
    call.memory().write(call.address(1), &[low, low, 0, high, high, 0])?;
    Ok(0)
}

fn capset(call: &mut Call<'_>) -> Outcome {
    match call.memory().read::<[u32; 2]>(call.address(0)) {
        Ok([CAPABILITY_VERSION, _]) => Ok(0).into(),
        Ok(_) => Errno::EINVAL.into(),
        Err(errno) => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u32 = UNCHANGED;

    fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved }
    }

    /// Before, arguments, privilege, after.
    type Case = (Ids, [u32; 3], bool, Result<Ids, Errno>);

    #[track_caller]
    fn check(change: fn(&mut Ids, [u32; 3], bool) -> Result<(), Errno>, rows: &[Case]) {
        for (before, new, privileged, expected) in rows {
            let mut after = *before;
            let result = change(&mut after, *new, *privileged).map(|()| after);
            assert_eq!(result, *expected, "{before:?} {new:?} {privileged}");
        }
    }

    #[test]
    fn one_id() {
        let (held, denied) = (ids(1, 2, 3), Err(Errno::EPERM));
        check(
            Ids::set,
            &[
                (held, [9, 0, 0], true, Ok(ids(9, 9, 9))),
                (held, [3, 0, 0], false, Ok(ids(1, 3, 3))),
                (held, [2, 0, 0], false, denied),
                (held, [NONE, 0, 0], true, Err(Errno::EINVAL)),
            ],
        );
    }

    #[test]
    fn real_and_effective_id() {
        let (held, denied) = (ids(1, 2, 3), Err(Errno::EPERM));
        check(
            Ids::set_real_and_effective,
            &[
                (ids(0, 0, 0), [101, 0, 0], true, Ok(ids(101, 0, 0))),
                (held, [NONE, 1, 0], false, Ok(ids(1, 1, 3))),
                (held, [NONE, 3, 0], false, Ok(ids(1, 3, 3))),
                (held, [2, NONE, 0], false, Ok(ids(2, 2, 2))),
                (held, [NONE, NONE, 0], false, Ok(held)),
                (held, [3, NONE, 0], false, denied),
                (held, [NONE, 9, 0], false, denied),
            ],
        );
    }

    #[test]
    fn all_three_ids() {
        let held = ids(1, 2, 3);
        check(
            Ids::set_all,
            &[
                (held, [NONE, 9, NONE], true, Ok(ids(1, 9, 3))),
                (held, [3, 1, 2], false, Ok(ids(3, 1, 2))),
                (held, [NONE, NONE, 9], false, Err(Errno::EPERM)),
            ],
        );
    }
}
