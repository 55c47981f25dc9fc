//! On which CPUs a task may run.

use base::CpuId;
use core::sync::atomic::{AtomicU64, Ordering};

/// A set of CPUs, never empty; bit n is CPU n. All of them at first.
#[derive(Debug)]
pub struct Affinity(AtomicU64);

impl Default for Affinity {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Affinity {
    /// The CPUs, as bits.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// A set of its own with the same CPUs.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(AtomicU64::new(self.mask()))
    }

    /// Changes the set. `false`, and nothing changed, for an empty one.
    pub fn set(&self, mask: u64) -> bool {
        if mask != 0 {
            self.0.store(mask, Ordering::Release);
        }
        mask != 0
    }

    /// True when `cpu` is in the set.
    #[must_use]
    #[inline]
    pub fn allows(&self, cpu: CpuId) -> bool {
        self.mask() & cpu.bit() != 0
    }

    /// The CPU with the lowest number.
    #[must_use]
    pub fn first(&self) -> CpuId {
        CpuId(self.mask().trailing_zeros())
    }
}
