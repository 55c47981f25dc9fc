//! Memory that devices read and write.

use crate::types::OutOfMemory;
use base::PhysAddr;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU8, Ordering, fence};

thread_local! {
    static NEXT: Cell<u64> = const { Cell::new(0x1000_0000) };
}

fn address(bytes: usize) -> PhysAddr {
    NEXT.with(|next| {
        let at = next.get();
        next.set(at + (bytes as u64).next_multiple_of(4096));
        PhysAddr(at)
    })
}

/// A physically contiguous buffer. While the driver holds it, it owns the bytes; a driver gives it
/// to a device by moving it into the queue and takes it back when the device is done.
pub struct DmaBuffer {
    physical: PhysAddr,
    bytes: Box<[u8]>,
}

impl DmaBuffer {
    /// A zeroed buffer of `bytes` bytes, page-aligned when a page or more, else aligned to its
    /// size rounded up to a power of two.
    ///
    /// # Errors
    /// No contiguous memory.
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { physical: address(bytes), bytes: vec![0; bytes].into_boxed_slice() })
    }

    /// Where the device finds it.
    #[must_use]
    pub fn physical(&self) -> PhysAddr {
        self.physical
    }
}

impl Deref for DmaBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for DmaBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// Memory that driver and device use at the same time (rings). All accesses are volatile, little
/// endian and bounds-checked: a load beyond the end is 0, a store beyond it is dropped.
pub struct DmaRing {
    physical: PhysAddr,
    bytes: Box<[AtomicU8]>,
}

macro_rules! access {
    ($read:ident, $write:ident, $int:ty) => {
        /// Loads one value at a byte offset, aligned to its size.
        #[must_use]
        pub fn $read(&self, offset: usize) -> $int {
            let mut bytes = [0; size_of::<$int>()];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = self.bytes.get(offset + at).map_or(0, |b| b.load(Ordering::SeqCst));
            }
            <$int>::from_le_bytes(bytes)
        }

        /// Stores one value at a byte offset, aligned to its size.
        pub fn $write(&self, offset: usize, value: $int) {
            for (at, byte) in value.to_le_bytes().into_iter().enumerate() {
                if let Some(slot) = self.bytes.get(offset + at) {
                    slot.store(byte, Ordering::SeqCst);
                }
            }
        }
    };
}

impl DmaRing {
    /// Zeroed, page-aligned.
    ///
    /// # Errors
    /// No contiguous memory.
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let memory = (0..bytes).map(|_| AtomicU8::new(0)).collect();
        Ok(Self { physical: address(bytes), bytes: memory })
    }

    /// Where the device finds it.
    #[must_use]
    pub fn physical(&self) -> PhysAddr {
        self.physical
    }

    access!(read_u16, write_u16, u16);
    access!(read_u32, write_u32, u32);
    access!(read_u64, write_u64, u64);
}

/// Orders everything before it against everything after it, for the device too.
pub fn barrier() {
    fence(Ordering::SeqCst);
}
