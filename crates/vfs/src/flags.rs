//! The flags of open(2) and their kin, with Linux's values for x86-64.

bitflags::bitflags! {
    /// Flags of open(2): how to open, and (what stays of them) the status flags of an open file.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// Write only. With neither this nor `RDWR`: read only.
        const WRONLY = 0o1;
        /// Read and write.
        const RDWR = 0o2;
        /// Make the file when there is none.
        const CREAT = 0o100;
        /// With `CREAT`: fail when there is one.
        const EXCL = 0o200;
        /// Do not become the controlling terminal.
        const NOCTTY = 0o400;
        /// Cut to length 0.
        const TRUNC = 0o1_000;
        /// Every write goes to the end.
        const APPEND = 0o2_000;
        /// Calls do not sleep.
        const NONBLOCK = 0o4_000;
        /// Writes reach the device with their data.
        const DSYNC = 0o10_000;
        /// SIGIO when it becomes ready.
        const ASYNC = 0o20_000;
        /// No cache.
        const DIRECT = 0o40_000;
        /// 64-bit offsets; set by the kernel on every open.
        const LARGEFILE = 0o100_000;
        /// Fail unless it is a directory.
        const DIRECTORY = 0o200_000;
        /// Fail when the last component is a symbolic link.
        const NOFOLLOW = 0o400_000;
        /// Leave the access time alone.
        const NOATIME = 0o1_000_000;
        /// Close on exec; belongs to the descriptor, not to the open file.
        const CLOEXEC = 0o2_000_000;
        /// The upper bit of `O_SYNC`.
        const SYNC = 0o4_000_000;
        /// Only a place in the tree: no reading or writing.
        const PATH = 0o10_000_000;
        /// The upper bit of `O_TMPFILE`: a file without a name.
        const TMPFILE = 0o20_000_000;
    }
}

impl OpenFlags {
    /// Flags that open(2) consumes: they never show in `F_GETFL`.
    const CONSUMED: Self =
        Self::CREAT.union(Self::EXCL).union(Self::NOCTTY).union(Self::TRUNC).union(Self::CLOEXEC);

    /// Flags that mean something beside `PATH`.
    const WITH_PATH: Self =
        Self::DIRECTORY.union(Self::NOFOLLOW).union(Self::PATH).union(Self::CLOEXEC);

    /// What `F_SETFL` may change. `ASYNC` is apart: only some files have it.
    pub const SETTABLE: Self =
        Self::APPEND.union(Self::NONBLOCK).union(Self::DIRECT).union(Self::NOATIME);

    /// The flags as open(2) and openat(2) take them: unknown bits are ignored, `LARGEFILE` is set
    /// (as on every 64-bit Linux), and `PATH` silences most others.
    #[must_use]
    pub fn of_open(bits: u32) -> Self {
        let flags = Self::from_bits_truncate(bits) | Self::LARGEFILE;
        if flags.contains(Self::PATH) { flags & Self::WITH_PATH } else { flags }
    }

    /// The access mode: bits 0 and 1.
    #[must_use]
    pub fn access_mode(self) -> u32 {
        self.bits() & 3
    }

    /// Reading is allowed.
    #[must_use]
    pub fn is_readable(self) -> bool {
        !self.contains(Self::PATH) && matches!(self.access_mode(), 0 | 2)
    }

    /// Writing is allowed.
    #[must_use]
    pub fn is_writable(self) -> bool {
        !self.contains(Self::PATH) && matches!(self.access_mode(), 1 | 2)
    }

    /// Opening needs write permission: any access mode but read-only, or `TRUNC`.
    #[must_use]
    pub fn wants_write(self) -> bool {
        self.access_mode() != 0 || self.contains(Self::TRUNC)
    }

    /// What stays with the open file.
    #[must_use]
    pub fn status(self) -> Self {
        self - Self::CONSUMED
    }
}

bitflags::bitflags! {
    /// Flags of renameat2(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RenameFlags: u32 {
        /// Fail when the new name exists.
        const NOREPLACE = 1;
        /// Swap the two.
        const EXCHANGE = 2;
        /// Leave a whiteout where the old name was: a character device 0:0 (overlay file systems).
        const WHITEOUT = 4;
    }
}

/// From where lseek(2) counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whence {
    /// The start.
    Set,
    /// The current offset.
    Current,
    /// The end.
    End,
    /// The next byte at or after the offset that is not in a hole.
    Data,
    /// The next hole at or after the offset.
    Hole,
}

impl Whence {
    /// Decodes lseek's third argument.
    #[must_use]
    pub fn decode(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Set,
            1 => Self::Current,
            2 => Self::End,
            3 => Self::Data,
            4 => Self::Hole,
            _ => return None,
        })
    }
}

/// Longest file name, in bytes.
pub const NAME_MAX: usize = 255;
/// Longest path, in bytes, with its terminating zero.
pub const PATH_MAX: usize = 4096;
/// How many symbolic links one look-up follows.
pub const SYMLINKS_MAX: u32 = 40;
