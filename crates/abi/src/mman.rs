//! Memory mapping: flags of mmap(2), mprotect(2), madvise(2), mremap(2), msync(2), mlock(2)
//! (`linux/include/uapi/asm-generic/mman*.h`, x86-64 values).

use bitflags::bitflags;

bitflags! {
    /// `PROT_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Prot: u32 {
        /// `PROT_READ`.
        const READ = 1;
        /// `PROT_WRITE`.
        const WRITE = 2;
        /// `PROT_EXEC`.
        const EXEC = 4;
        /// May be used for atomic operations; without meaning on x86.
        const SEM = 8;
        /// `PROT_GROWSDOWN`.
        const GROWSDOWN = 0x0100_0000;
        /// `PROT_GROWSUP`.
        const GROWSUP = 0x0200_0000;
    }

    /// `MAP_*` without the type ([`MAP_TYPE`]).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 {
        /// `MAP_FIXED`.
        const FIXED = 0x10;
        /// `MAP_ANONYMOUS`.
        const ANONYMOUS = 0x20;
        /// `MAP_32BIT`.
        const MAP_32BIT = 0x40;
        /// `MAP_GROWSDOWN`.
        const GROWSDOWN = 0x100;
        /// `MAP_DENYWRITE`.
        const DENYWRITE = 0x800;
        /// `MAP_EXECUTABLE`.
        const EXECUTABLE = 0x1000;
        /// `MAP_LOCKED`.
        const LOCKED = 0x2000;
        /// `MAP_NORESERVE`.
        const NORESERVE = 0x4000;
        /// `MAP_POPULATE`.
        const POPULATE = 0x8000;
        /// `MAP_NONBLOCK`.
        const NONBLOCK = 0x10000;
        /// `MAP_STACK`.
        const STACK = 0x20000;
        /// `MAP_HUGETLB`.
        const HUGETLB = 0x40000;
        /// `MAP_SYNC`.
        const SYNC = 0x80000;
        /// `MAP_FIXED_NOREPLACE`.
        const FIXED_NOREPLACE = 0x10_0000;
        /// `MAP_UNINITIALIZED`.
        const UNINITIALIZED = 0x400_0000;
    }

    /// `MREMAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MremapFlags: u32 {
        /// `MREMAP_MAYMOVE`.
        const MAYMOVE = 1;
        /// `MREMAP_FIXED`.
        const FIXED = 2;
        /// `MREMAP_DONTUNMAP`.
        const DONTUNMAP = 4;
    }

    /// `MS_*` of msync(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsyncFlags: u32 {
        /// `MS_ASYNC`.
        const ASYNC = 1;
        /// `MS_INVALIDATE`.
        const INVALIDATE = 2;
        /// `MS_SYNC`.
        const SYNC = 4;
    }

    /// `MCL_*` of mlockall(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MlockallFlags: u32 {
        /// `MCL_CURRENT`.
        const CURRENT = 1;
        /// `MCL_FUTURE`.
        const FUTURE = 2;
        /// `MCL_ONFAULT`.
        const ONFAULT = 4;
    }
}

/// The bits of mmap's flags that hold the mapping type.
pub const MAP_TYPE: u32 = 0x0f;
/// Writes go to the file and to everybody who maps it.
pub const MAP_SHARED: u32 = 1;
/// Writes stay here.
pub const MAP_PRIVATE: u32 = 2;
/// As shared, and unknown flags are refused.
pub const MAP_SHARED_VALIDATE: u32 = 3;
/// Anonymous memory that the kernel may drop at any time (Linux 6.11).
pub const MAP_DROPPABLE: u32 = 8;

/// `MLOCK_ONFAULT` of mlock2(2).
pub const MLOCK_ONFAULT: u32 = 1;

/// `MADV_*` of madvise(2).
#[expect(missing_docs, reason = "the manual's names")]
pub mod madv {
    pub const NORMAL: i32 = 0;
    pub const RANDOM: i32 = 1;
    pub const SEQUENTIAL: i32 = 2;
    pub const WILLNEED: i32 = 3;
    pub const DONTNEED: i32 = 4;
    pub const FREE: i32 = 8;
    pub const REMOVE: i32 = 9;
    pub const DONTFORK: i32 = 10;
    pub const DOFORK: i32 = 11;
    pub const MERGEABLE: i32 = 12;
    pub const UNMERGEABLE: i32 = 13;
    pub const HUGEPAGE: i32 = 14;
    pub const NOHUGEPAGE: i32 = 15;
    pub const DONTDUMP: i32 = 16;
    pub const DODUMP: i32 = 17;
    pub const WIPEONFORK: i32 = 18;
    pub const KEEPONFORK: i32 = 19;
    pub const COLD: i32 = 20;
    pub const PAGEOUT: i32 = 21;
    pub const POPULATE_READ: i32 = 22;
    pub const POPULATE_WRITE: i32 = 23;
    pub const DONTNEED_LOCKED: i32 = 24;
    pub const COLLAPSE: i32 = 25;
    pub const GUARD_INSTALL: i32 = 102;
    pub const GUARD_REMOVE: i32 = 103;
}

/// `PR_SET_VMA` and its one sub-command (prctl(2)).
pub const PR_SET_VMA: u32 = 0x5356_4d41;
/// Names anonymous memory.
pub const PR_SET_VMA_ANON_NAME: u64 = 0;
/// Longest such name with its final NUL, in bytes.
pub const ANON_VMA_NAME_MAX_LEN: usize = 80;
