//! Small identifiers as types.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(/// A thread, as `gettid(2)` reports it.
    Tid(u32));
id!(/// A process, as `getpid(2)` reports it. eggos runs one.
    Pid(u32));
id!(/// A file descriptor number, as the program wrote it.
    Fd(i32));
id!(/// A processor, counted from 0 in the order in which they came up.
    CpuId(u32));
id!(/// A signal number, 1 to 64 when valid.
    Signal(u8));

impl CpuId {
    /// Most CPUs that a machine has: a set of them is a `u64`.
    pub const COUNT_MAX: usize = 64;

    /// Its bit in a set of CPUs.
    #[must_use]
    #[inline]
    pub const fn bit(self) -> u64 {
        1 << (self.0 as usize % Self::COUNT_MAX)
    }
}
