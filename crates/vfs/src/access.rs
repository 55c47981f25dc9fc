//! Who may do what with a file: owners, groups, permission bits and the capabilities that stand above them
//! (path_resolution(7), "Permissions"; credentials(7); capabilities(7)). The order of the checks is that
//! of Linux's fs/namei.c.

use crate::inode::{Inode, InodeRef};
use crate::metadata::{FileType, Metadata};
use alloc::vec::Vec;
use base::Errno;

bitflags::bitflags! {
    /// What access(2) asks for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AccessMode: u32 {
        /// Run or search.
        const EXECUTE = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

bitflags::bitflags! {
    /// The capabilities that files ask for, with their numbers in capabilities(7).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Powers: u64 {
        /// Owners can be changed.
        const CHOWN = 1 << 0;
        /// Permission bits do not count.
        const DAC_OVERRIDE = 1 << 1;
        /// Those that forbid reading and searching do not.
        const DAC_READ_SEARCH = 1 << 2;
        /// As if everything were one's own.
        const FOWNER = 1 << 3;
        /// Set-group-id may be set for groups one is not in.
        const FSETID = 1 << 4;
        /// `trusted.*` and `security.*` attributes.
        const SYS_ADMIN = 1 << 21;
        /// Device files can be made.
        const MKNOD = 1 << 27;
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// User, for files.
    pub user: u32,
    /// Group, for files.
    pub group: u32,
    /// The other groups, ascending.
    pub groups: Vec<u32>,
    /// What counts of the capabilities.
    pub powers: Powers,
}

/// The superuser, which programs are to begin with.
pub static ROOT: Who = Who { user: 0, group: 0, groups: Vec::new(), powers: Powers::all() };

impl Who {
    fn is_in(&self, group: u32) -> bool {
        self.group == group || self.groups.binary_search(&group).is_ok()
    }

    fn has(&self, power: Powers) -> bool {
        self.powers.contains(power)
    }

    /// What the permission bits and the capabilities say to `wanted`.
    ///
    /// # Errors
    /// `EACCES`.
    #[inline]
    pub fn check(&self, inode: &dyn Inode, wanted: AccessMode) -> Result<(), Errno> {
        // Nobody forbids the superuser anything but to run what nobody may run.
        if self.has(Powers::DAC_OVERRIDE) && !wanted.contains(AccessMode::EXECUTE) {
            return Ok(());
        }
        self.check_bits(inode, wanted)
    }

    fn check_bits(&self, inode: &dyn Inode, wanted: AccessMode) -> Result<(), Errno> {
        let is_directory = inode.kind() == FileType::Directory;
        let metadata = inode.status()?;
        let granted = match &metadata {
            Metadata { user, permissions, .. } if *user == self.user => permissions >> 6,
            Metadata { group, permissions, .. } if self.is_in(*group) => permissions >> 3,
            Metadata { permissions, .. } => *permissions,
        };
        let may_be_run = is_directory || metadata.permissions & 0o111 != 0;
        let only_looks = !wanted.contains(AccessMode::WRITE)
            && (is_directory || !wanted.contains(AccessMode::EXECUTE));
        let allowed = AccessMode::from_bits_truncate(granted).contains(wanted)
            || self.has(Powers::DAC_OVERRIDE) && may_be_run
            || self.has(Powers::DAC_READ_SEARCH) && only_looks
            || inode.is_of_asker();
        if allowed { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// The directory may be walked through.
    ///
    /// # Errors
    /// `EACCES`.
    #[inline]
    pub(crate) fn check_search(&self, directory: &InodeRef) -> Result<(), Errno> {
        if self.has(Powers::DAC_OVERRIDE) {
            return Ok(());
        }
        self.check_bits(&**directory, AccessMode::EXECUTE)
    }

    /// Names may be made in the directory.
    ///
    /// # Errors
    /// `EACCES`.
    #[inline]
    pub(crate) fn check_directory(&self, directory: &InodeRef) -> Result<(), Errno> {
        if self.has(Powers::DAC_OVERRIDE) {
            return Ok(());
        }
        self.check_bits(&**directory, AccessMode::WRITE | AccessMode::EXECUTE)
    }

    /// The name of `victim` may be taken from the directory.
    ///
    /// # Errors
    /// `EACCES`; `EPERM`: the sticky bit, and both belong to others.
    pub(crate) fn check_removal(
        &self,
        directory: &InodeRef,
        victim: &InodeRef,
    ) -> Result<(), Errno> {
        const STICKY: u32 = 0o1000;
        self.check_directory(directory)?;
        if self.has(Powers::FOWNER) {
            return Ok(());
        }
        let above = directory.status()?;
        let is_own = above.user == self.user || victim.status()?.user == self.user;
        if above.permissions & STICKY == 0 || is_own { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// It is their own, or they are as an owner.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn check_owner(&self, inode: &dyn Inode) -> Result<(), Errno> {
        let is_owner = self.has(Powers::FOWNER) || inode.status()?.user == self.user;
        if is_owner { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// A device file may be made; the mark of overlays that stands for nothing (0, 0) always.
    pub(crate) fn check_device(&self, kind: FileType, number: u64) -> Result<(), Errno> {
        let is_whiteout = kind == FileType::CharacterDevice && number == 0;
        if is_whiteout || self.has(Powers::MKNOD) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// chown(2): a user's files stay theirs, and go to groups they are in.
    pub(crate) fn check_new_owner(
        &self,
        old: &Metadata,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<(), Errno> {
        let is_owner = old.user == self.user;
        let user_stays = user.is_none_or(|user| is_owner && user == old.user);
        let group_may =
            group.is_none_or(|group| is_owner && (group == old.group || self.is_in(group)));
        if self.has(Powers::CHOWN) || (user_stays && group_may) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// The bits that chmod(2) sets of those asked for: set-group-id only for one's own groups.
    pub(crate) fn permissions_for(&self, old: &Metadata, asked: u32) -> u32 {
        const SET_GROUP: u32 = 0o2000;
        let keeps = self.has(Powers::FSETID) || self.is_in(old.group);
        if keeps { asked } else { asked & !SET_GROUP }
    }
}

/// access(2): what the bits say, and whether anything can be written there at all.
///
/// # Errors
/// `EACCES`, `EROFS`.
pub fn check_access(who: &Who, inode: &InodeRef, wanted: AccessMode) -> Result<(), Errno> {
    who.check(&**inode, wanted)?;
    let on_disk =
        matches!(inode.kind(), FileType::Regular | FileType::Directory | FileType::SymbolicLink);
    if wanted.contains(AccessMode::WRITE) && on_disk && inode.file_system().is_read_only() {
        return Err(Errno::EROFS);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vfs;
    use crate::memory::MemoryFs;

    const NOTHING: AccessMode = AccessMode::empty();
    const ALL: AccessMode = AccessMode::all();

    fn somebody(powers: Powers) -> Who {
        Who { user: 7, group: 70, groups: alloc::vec![80, 90], powers }
    }

    fn allowed(who: &Who, permissions: u32, user: u32, group: u32) -> AccessMode {
        let vfs = Vfs::new(MemoryFs::root("tmpfs", 1, 0o755));
        let owner = Who { user, group, ..ROOT.clone() };
        let at = crate::At { who: &owner, ..vfs.at_root() };
        let inode = vfs.mknod(at, b"file", FileType::Regular, permissions, 0).unwrap().inode;
        let one = |mode: &AccessMode| who.check(&*inode, *mode).is_ok();
        ALL.iter().filter(one).collect()
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        use AccessMode as A;
        let who = somebody(Powers::empty());
        for (permissions, user, group, expected) in [
            (0o741, 7, 70, ALL),
            (0o047, 7, 70, NOTHING),
            (0o741, 0, 70, A::READ),
            (0o741, 0, 90, A::READ),
            (0o701, 0, 80, NOTHING),
            (0o741, 0, 0, A::EXECUTE),
        ] {
            assert_eq!(allowed(&who, permissions, user, group), expected, "{permissions:o}");
        }
    }

    #[test]
    fn powers_stand_above_the_bits() {
        use AccessMode as A;
        for (powers, permissions, expected) in [
            (Powers::DAC_OVERRIDE, 0, A::READ | A::WRITE),
            (Powers::DAC_OVERRIDE, 0o100, ALL),
            (Powers::DAC_READ_SEARCH, 0o100, A::READ),
            (Powers::FOWNER, 0, NOTHING),
        ] {
            assert_eq!(allowed(&somebody(powers), permissions, 0, 0), expected, "{powers:?}");
        }
    }
}
