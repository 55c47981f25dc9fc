//! Who a thread is and what it may do (credentials(7), capabilities(7)). Each thread has its own;
//! programs that change them change all threads.

use alloc::boxed::Box;
use alloc::vec::Vec;
use base::Errno;
use base::sync::SpinLock;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
use vfs::Who;
use vfs::access::{Powers, ROOT};

/// Capability numbers, and the set of all.
pub(crate) mod capability {
    pub(crate) const CHOWN: u32 = 0;
    pub(crate) const DAC_OVERRIDE: u32 = 1;
    pub(crate) const DAC_READ_SEARCH: u32 = 2;
    pub(crate) const FOWNER: u32 = 3;
    pub(crate) const FSETID: u32 = 4;
    pub(crate) const SETGID: u32 = 6;
    pub(crate) const SETUID: u32 = 7;
    pub(crate) const SETPCAP: u32 = 8;
    pub(crate) const LINUX_IMMUTABLE: u32 = 9;
    pub(crate) const NET_ADMIN: u32 = 12;
    pub(crate) const NET_RAW: u32 = 13;
    pub(crate) const SYS_CHROOT: u32 = 18;
    pub(crate) const SYS_BOOT: u32 = 22;
    pub(crate) const SYS_NICE: u32 = 23;
    pub(crate) const SYS_RESOURCE: u32 = 24;
    pub(crate) const MKNOD: u32 = 27;
    pub(crate) const MAC_OVERRIDE: u32 = 32;
    /// The highest (`CAP_CHECKPOINT_RESTORE`).
    pub(crate) const LAST: u32 = 40;
    pub(crate) const ALL: u64 = (1 << (LAST + 1)) - 1;
    /// Those that go and come with the user for files (`CAP_FS_MASK`).
    pub(crate) const FILES: u64 = 1 << CHOWN
        | 1 << DAC_OVERRIDE
        | 1 << DAC_READ_SEARCH
        | 1 << FOWNER
        | 1 << FSETID
        | 1 << LINUX_IMMUTABLE
        | 1 << MKNOD
        | 1 << MAC_OVERRIDE;
}

/// "Leave as it is" in setresuid(2) and kin.
pub(crate) const UNCHANGED: u32 = u32::MAX;

/// Real, effective and saved id, and the one for files.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
    pub(crate) files: u32,
}

impl Ids {
    fn take(&mut self, [real, effective, saved]: [u32; 3]) {
        let slots = [&mut self.real, &mut self.effective, &mut self.saved];
        for (slot, new) in slots.into_iter().zip([real, effective, saved]) {
            if new != UNCHANGED {
                *slot = new;
            }
        }
        self.files = self.effective;
    }

    /// setuid(2). `may`: to anything.
    pub(crate) fn set(&mut self, may: bool, id: u32) -> Result<(), Errno> {
        match id {
            UNCHANGED => return Err(Errno::EINVAL),
            _ if may => self.take([id; 3]),
            _ if id == self.real || id == self.saved => self.take([UNCHANGED, id, UNCHANGED]),
            _ => return Err(Errno::EPERM),
        }
        Ok(())
    }

    /// setreuid(2).
    pub(crate) fn set_two(&mut self, may: bool, real: u32, effective: u32) -> Result<(), Errno> {
        let old = *self;
        let is_real = [UNCHANGED, old.real, old.effective].contains(&real);
        let is_effective = [UNCHANGED, old.real, old.effective, old.saved].contains(&effective);
        if !(may || is_real && is_effective) {
            return Err(Errno::EPERM);
        }
        self.take([real, effective, UNCHANGED]);
        if real != UNCHANGED || (effective != UNCHANGED && effective != old.real) {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// setresuid(2).
    pub(crate) fn set_three(&mut self, may: bool, new: [u32; 3]) -> Result<(), Errno> {
        let held = [UNCHANGED, self.real, self.effective, self.saved];
        if !may && !new.iter().all(|id| held.contains(id)) {
            return Err(Errno::EPERM);
        }
        self.take(new);
        Ok(())
    }

    /// True of those the thread has anyway.
    pub(crate) fn holds(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved, self.files].contains(&id)
    }

    fn has_root(self) -> bool {
        [self.real, self.effective, self.saved].contains(&0)
    }
}

/// Sets of capabilities, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) bounding: u64,
    pub(crate) ambient: u64,
}

impl Capabilities {
    /// True when the capability counts.
    pub(crate) fn has(&self, capability: u32) -> bool {
        self.effective >> capability & 1 != 0
    }

    /// capset(2).
    pub(crate) fn set(
        &mut self,
        effective: u64,
        permitted: u64,
        inheritable: u64,
    ) -> Result<(), Errno> {
        let more = if self.has(capability::SETPCAP) { self.bounding } else { self.permitted };
        let beyond = permitted & !self.permitted
            | effective & !permitted
            | inheritable & !(self.inheritable | more);
        if beyond != 0 {
            return Err(Errno::EPERM);
        }
        let ambient = self.ambient & permitted & inheritable;
        *self = Self { effective, permitted, inheritable, ambient, ..*self };
        Ok(())
    }
}

/// Who a thread is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: Ids,
    pub(crate) group: Ids,
    /// Ascending.
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: Capabilities,
    /// `PR_SET_KEEPCAPS`.
    pub(crate) keep_capabilities: bool,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub(crate) no_new_privileges: bool,
}

impl Default for Credentials {
    /// Root's.
    fn default() -> Self {
        let all = capability::ALL;
        Self {
            user: Ids::default(),
            group: Ids::default(),
            groups: Vec::new(),
            capabilities: Capabilities {
                effective: all,
                permitted: all,
                inheritable: 0,
                bounding: all,
                ambient: 0,
            },
            keep_capabilities: false,
            no_new_privileges: false,
        }
    }
}

impl Credentials {
    /// What a change of user does to the capabilities (capabilities(7), "Effect of user ID
    /// changes"). `old`: the ids of before.
    pub(crate) fn user_changed(&mut self, old: Ids) {
        let new = self.user;
        let capabilities = &mut self.capabilities;
        if old.has_root() && !new.has_root() {
            if !self.keep_capabilities {
                (capabilities.permitted, capabilities.effective) = (0, 0);
            }
            capabilities.ambient = 0;
        }
        match (old.effective, new.effective) {
            (0, 0) => {}
            (0, _) => capabilities.effective = 0,
            (_, 0) => capabilities.effective = capabilities.permitted,
            _ => {}
        }
    }

    /// What setfsuid(2) does to the capabilities. `old`: the id for files of before.
    pub(crate) fn file_user_changed(&mut self, old: u32) {
        let Capabilities { effective, permitted, .. } = &mut self.capabilities;
        match (old, self.user.files) {
            (0, 0) => {}
            (0, _) => *effective &= !capability::FILES,
            (_, 0) => *effective |= *permitted & capability::FILES,
            _ => {}
        }
    }

    /// Whom files see.
    fn who(&self) -> Who {
        Who {
            user: self.user.files,
            group: self.group.files,
            groups: self.groups.clone(),
            powers: Powers::from_bits_truncate(self.capabilities.effective),
        }
    }

    /// Whom access(2) asks for: the real user, as that one would come (`access_override_creds`).
    pub(crate) fn real_who(&self) -> Who {
        let powers = match self.user.real {
            0 => Powers::from_bits_truncate(self.capabilities.permitted),
            _ => Powers::empty(),
        };
        Who { user: self.user.real, group: self.group.real, powers, ..self.who() }
    }
}

/// A thread's credentials.
#[derive(Default)]
pub(crate) struct Identity {
    credentials: SpinLock<Credentials>,
    /// Files see somebody else than root with all powers. Kept apart, since each path asks.
    limited: AtomicBool,
}

impl Identity {
    /// Looks at the credentials.
    pub(crate) fn get<R>(&self, look: impl FnOnce(&Credentials) -> R) -> R {
        look(&self.credentials.lock())
    }

    /// True when the capability counts.
    pub(crate) fn has(&self, capability: u32) -> bool {
        self.get(|who| who.capabilities.has(capability))
    }

    /// Changes the credentials.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Credentials) -> R) -> R {
        let mut credentials = self.credentials.lock();
        let result = change(&mut credentials);
        let Who { user, group, powers, .. } = credentials.who();
        self.limited.store((user, group, powers) != (0, 0, Powers::all()), Ordering::Relaxed);
        result
    }

    /// Whom files see.
    #[inline]
    pub(crate) fn asker(&self) -> Asker {
        let limited = self.limited.load(Ordering::Relaxed);
        Asker(limited.then(|| Box::new(self.get(Credentials::who))))
    }
}

/// Whom files see; `None`: root.
pub(crate) struct Asker(Option<Box<Who>>);

impl Deref for Asker {
    type Target = Who;

    fn deref(&self) -> &Who {
        self.0.as_deref().unwrap_or(&ROOT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u32 = UNCHANGED;

    fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, files: effective }
    }

    /// Before, arguments, privilege, after.
    type Case = (Ids, [u32; 3], bool, Result<Ids, Errno>);

    #[track_caller]
    fn check(change: fn(&mut Ids, bool, [u32; 3]) -> Result<(), Errno>, rows: &[Case]) {
        for (before, new, privileged, expected) in rows {
            let mut after = *before;
            let result = change(&mut after, *privileged, *new).map(|()| after);
            assert_eq!(result, *expected, "{before:?} {new:?} {privileged}");
        }
    }

    #[test]
    fn one_id() {
        let (held, denied) = (ids(1, 2, 3), Err(Errno::EPERM));
        check(
            |ids, may, new| ids.set(may, new[0]),
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
            |ids, may, new| ids.set_two(may, new[0], new[1]),
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
            Ids::set_three,
            &[
                (held, [NONE, 9, NONE], true, Ok(ids(1, 9, 3))),
                (held, [3, 1, 2], false, Ok(ids(3, 1, 2))),
                (held, [NONE, NONE, 9], false, Err(Errno::EPERM)),
            ],
        );
    }

    #[test]
    fn capabilities_go_with_the_user() {
        let mut who = Credentials::default();
        let old = who.user;
        who.user.set_three(true, [1000, 1000, 0]).unwrap();
        who.user_changed(old);
        assert_eq!((who.capabilities.effective, who.capabilities.permitted), (0, capability::ALL));
        let old = who.user;
        who.user.set_three(false, [UNCHANGED, 0, UNCHANGED]).unwrap();
        who.user_changed(old);
        assert_eq!(who.capabilities.effective, capability::ALL);
        let old = who.user;
        who.user.set(true, 1000).unwrap();
        who.user_changed(old);
        assert_eq!((who.capabilities.effective, who.capabilities.permitted), (0, 0));
        assert_eq!(who.user.set(false, 0), Err(Errno::EPERM));
    }

    #[test]
    fn capset_takes_and_never_gives() {
        let mut own = Credentials::default().capabilities;
        assert_eq!(own.set(1, 3, 0), Ok(()));
        assert_eq!(own.set(3, 3, 0), Ok(()));
        assert_eq!(own.set(1, 7, 0), Err(Errno::EPERM));
        assert_eq!(own.set(4, 3, 0), Err(Errno::EPERM));
        assert_eq!(own.set(1, 1, 4), Err(Errno::EPERM));
    }
}
