//! Memory that devices read and write.

use super::paging::direct_mut;
use super::pool::{self, Purpose};
use super::{memory, slab};
use crate::types::OutOfMemory;
use base::{PAGE_SIZE, PhysAddr};
use core::alloc::Layout;
use core::arch::asm;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Physically contiguous, zeroed, owned memory in the direct map.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: owned memory.
unsafe impl Send for Memory {}
// SAFETY: shared access is atomic (`DmaRing`) or read-only (`DmaBuffer`).
unsafe impl Sync for Memory {}

/// Buffers up to half a page come from the heap's slabs, which keep such blocks within one page and aligned.
fn small_layout(bytes: usize) -> Option<Layout> {
    let size = bytes.max(16).next_power_of_two();
    (size <= slab::MAX_SIZE).then(|| Layout::from_size_align(size, size).ok()).flatten()
}

fn frames(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(PAGE_SIZE)
}

impl Memory {
    fn pages(bytes: usize) -> Result<Self, OutOfMemory> {
        let physical = pool::allocate_range(frames(bytes), 0, Purpose::Program)?;
        let start = direct_mut::<u8>(physical);
        // SAFETY: all of these frames were just handed out.
        unsafe { core::ptr::write_bytes(start, 0, (frames(bytes) * PAGE_SIZE) as usize) };
        Ok(Self { start: NonNull::new(start).ok_or(OutOfMemory)?, bytes })
    }

    fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let Some(layout) = small_layout(bytes) else { return Self::pages(bytes) };
        if !pool::has_room() {
            return Err(OutOfMemory);
        }
        let class = slab::class_of(layout).ok_or(OutOfMemory)?;
        let start = NonNull::new(slab::allocate(class)).ok_or(OutOfMemory)?;
        // SAFETY: objects of the class are at least as large as the layout.
        unsafe { start.write_bytes(0, layout.size()) };
        Ok(Self { start, bytes })
    }

    fn physical(&self) -> PhysAddr {
        PhysAddr(memory::physical(self.start.as_ptr()))
    }

    /// Frees memory from `new` (`small`) or `pages`.
    fn free(&mut self, small: bool) {
        match small_layout(self.bytes).filter(|_| small).and_then(slab::class_of) {
            // SAFETY: an object of this class.
            Some(class) => unsafe { slab::release(self.start.as_ptr(), class) },
            // SAFETY: allocated as this many frames.
            None => unsafe { pool::release_range(self.physical().0, frames(self.bytes)) },
        }
    }
}

/// A physically contiguous buffer. While the driver holds it, it owns the bytes; a driver gives it
/// to a device by moving it into the queue and takes it back when the device is done.
pub struct DmaBuffer {
    memory: Memory,
}

impl DmaBuffer {
    /// A zeroed buffer of `bytes` bytes, page-aligned when a page or more, else aligned to its
    /// size rounded up to a power of two. At most 4 MiB.
    ///
    /// # Errors
    /// No contiguous memory.
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { memory: Memory::new(bytes)? })
    }

    /// Where the device finds it.
    #[must_use]
    pub fn physical(&self) -> PhysAddr {
        self.memory.physical()
    }
}

impl Deref for DmaBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: owned, initialised memory of this length.
        unsafe { core::slice::from_raw_parts(self.memory.start.as_ptr(), self.memory.bytes) }
    }
}

impl DerefMut for DmaBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: owned, initialised memory of this length, borrowed with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.memory.bytes) }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        self.memory.free(true);
    }
}

/// Memory that driver and device use at the same time (rings, pictures). All accesses are atomic, little
/// endian and bounds-checked: a load beyond the end (or not aligned) is 0, a store there is dropped.
pub struct DmaRing {
    memory: Memory,
}

macro_rules! access {
    ($read:ident, $write:ident, $int:ty, $atomic:ty) => {
        /// Loads one value at a byte offset, aligned to its size.
        #[must_use]
        #[inline]
        pub fn $read(&self, offset: usize) -> $int {
            let Some(at) = self.at(offset, size_of::<$int>()) else { return 0 };
            // SAFETY: inside the ring and aligned; all other accesses are atomic too.
            unsafe { &*at.cast::<$atomic>() }.load(Ordering::Acquire)
        }

        /// Stores one value at a byte offset, aligned to its size.
        #[inline]
        pub fn $write(&self, offset: usize, value: $int) {
            if let Some(at) = self.at(offset, size_of::<$int>()) {
                // SAFETY: as above.
                unsafe { &*at.cast::<$atomic>() }.store(value, Ordering::Release);
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
        Ok(Self { memory: Memory::pages(bytes)? })
    }

    /// Where the device finds it.
    #[must_use]
    pub fn physical(&self) -> PhysAddr {
        self.memory.physical()
    }

    #[inline]
    fn at(&self, offset: usize, size: usize) -> Option<*mut u8> {
        let end = offset.checked_add(size)?;
        let inside = end <= self.memory.bytes && offset.is_multiple_of(size);
        inside.then(|| self.memory.start.as_ptr().wrapping_add(offset))
    }

    access!(read_u16, write_u16, u16, AtomicU16);
    access!(read_u32, write_u32, u32, AtomicU32);
    access!(read_u64, write_u64, u64, AtomicU64);

    /// Stores words one after the other from a byte offset on, a multiple of 8: those that lie inside.
    pub fn write_words(&self, offset: usize, words: &[u64]) {
        const LONG: usize = 32;
        let inside = self.memory.bytes.saturating_sub(offset) / size_of::<u64>();
        let Some(at) = self.at(offset, size_of::<u64>()) else { return };
        let words = words.get(..inside).unwrap_or(words);
        if words.len() >= LONG {
            // SAFETY: as many words as the slice has and the ring has room for, and aligned. The instruction
            // stores each at once, and the compiler does not see it: as good as atomic stores.
            unsafe {
                asm!(
                    "rep movsq",
                    inout("rcx") words.len() => _,
                    inout("rsi") words.as_ptr() => _,
                    inout("rdi") at => _,
                    options(nostack, preserves_flags),
                );
            }
            return;
        }
        let mut at = at.cast::<AtomicU64>();
        for word in words {
            // SAFETY: inside the ring and aligned; all other accesses are atomic too.
            unsafe { &*at }.store(*word, Ordering::Relaxed);
            at = at.wrapping_add(1);
        }
    }
}

impl Drop for DmaRing {
    fn drop(&mut self) {
        self.memory.free(false);
    }
}

/// Orders everything before it against everything after it, for the device too.
pub fn barrier() {
    fence(Ordering::SeqCst);
}
