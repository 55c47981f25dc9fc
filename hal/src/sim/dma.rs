//! Memory that devices read and write.

use crate::types::OutOfMemory;
use base::PhysAddr;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Weak};

thread_local! {
    static NEXT: Cell<u64> = const { Cell::new(0x1000_0000) };
    static MEMORY: RefCell<BTreeMap<u64, Weak<Memory>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The bytes of a buffer or ring: its owner reaches them by reference, device models by physical
/// address.
struct Memory(Box<[UnsafeCell<u8>]>);

// SAFETY: rings are only reached through atomics. Buffers belong to their `DmaBuffer`, which is
// the only one to make references; device models (tests) copy through raw pointers, on the thread
// that made the buffer, while the driver runs none of its own code.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(bytes: usize) -> (PhysAddr, Arc<Self>) {
        let at = NEXT.with(|next| {
            let at = next.get();
            next.set(at + (bytes as u64).next_multiple_of(4096));
            at
        });
        let memory = Arc::new(Self((0..bytes).map(|_| UnsafeCell::new(0)).collect()));
        MEMORY.with_borrow_mut(|all| {
            all.retain(|_, memory| memory.strong_count() > 0);
            all.insert(at, Arc::downgrade(&memory));
        });
        (PhysAddr(at), memory)
    }

    fn pointer(&self) -> *mut u8 {
        UnsafeCell::raw_get(self.0.as_ptr())
    }

    fn atomic(&self, offset: usize) -> Option<&AtomicU8> {
        let cell = self.0.get(offset)?;
        // SAFETY: the cell outlives the borrow of `self`, and a byte has no alignment.
        Some(unsafe { AtomicU8::from_ptr(cell.get()) })
    }
}

/// The memory that holds `bytes` bytes at `at`, and the offset there.
fn find(at: PhysAddr, bytes: usize) -> Option<(Arc<Memory>, usize)> {
    MEMORY.with_borrow(|all| {
        let (start, memory) = all.range(..=at.0).next_back()?;
        let memory = memory.upgrade()?;
        let offset = usize::try_from(at.0 - start).ok()?;
        (offset.checked_add(bytes)? <= memory.0.len()).then_some((memory, offset))
    })
}

/// A device model's load. `false` when no live buffer or ring of this thread holds all the bytes.
pub(super) fn device_read(from: PhysAddr, into: &mut [u8]) -> bool {
    let Some((memory, offset)) = find(from, into.len()) else { return false };
    for (at, byte) in into.iter_mut().enumerate() {
        *byte = memory.atomic(offset + at).map_or(0, |cell| cell.load(Ordering::SeqCst));
    }
    true
}

/// A device model's store, as [`device_read`].
pub(super) fn device_write(to: PhysAddr, bytes: &[u8]) -> bool {
    let Some((memory, offset)) = find(to, bytes.len()) else { return false };
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(cell) = memory.atomic(offset + at) {
            cell.store(*byte, Ordering::SeqCst);
        }
    }
    true
}

/// A physically contiguous buffer. While the driver holds it, it owns the bytes; a driver gives it
/// to a device by moving it into the queue and takes it back when the device is done.
pub struct DmaBuffer {
    physical: PhysAddr,
    memory: Arc<Memory>,
}

impl DmaBuffer {
    /// A zeroed buffer of `bytes` bytes, page-aligned when a page or more, else aligned to its
    /// size rounded up to a power of two.
    ///
    /// # Errors
    /// No contiguous memory.
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let (physical, memory) = Memory::new(bytes);
        Ok(Self { physical, memory })
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
        // SAFETY: the pointer and the length are those of the allocation; see `Memory` for who
        // else may write.
        unsafe { std::slice::from_raw_parts(self.memory.pointer(), self.memory.0.len()) }
    }
}

impl DerefMut for DmaBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` keeps the driver's other references away.
        unsafe { std::slice::from_raw_parts_mut(self.memory.pointer(), self.memory.0.len()) }
    }
}

/// Memory that driver and device use at the same time (rings, pictures). All accesses are volatile, little
/// endian and bounds-checked: a load beyond the end is 0, a store beyond it is dropped.
pub struct DmaRing {
    physical: PhysAddr,
    memory: Arc<Memory>,
}

macro_rules! access {
    ($read:ident, $write:ident, $int:ty) => {
        /// Loads one value at a byte offset, aligned to its size.
        #[must_use]
        pub fn $read(&self, offset: usize) -> $int {
            let mut bytes = [0; size_of::<$int>()];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = self.memory.atomic(offset + at).map_or(0, |b| b.load(Ordering::SeqCst));
            }
            <$int>::from_le_bytes(bytes)
        }

        /// Stores one value at a byte offset, aligned to its size.
        pub fn $write(&self, offset: usize, value: $int) {
            for (at, byte) in value.to_le_bytes().into_iter().enumerate() {
                if let Some(slot) = self.memory.atomic(offset + at) {
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
        let (physical, memory) = Memory::new(bytes);
        Ok(Self { physical, memory })
    }

    /// Where the device finds it.
    #[must_use]
    pub fn physical(&self) -> PhysAddr {
        self.physical
    }

    access!(read_u16, write_u16, u16);
    access!(read_u32, write_u32, u32);
    access!(read_u64, write_u64, u64);

    /// Stores words one after the other from a byte offset on, a multiple of 8: those that lie inside.
    pub fn write_words(&self, offset: usize, words: &[u64]) {
        for (at, word) in (offset..).step_by(size_of::<u64>()).zip(words) {
            if at.is_multiple_of(8) && at + size_of::<u64>() <= self.memory.0.len() {
                self.write_u64(at, *word);
            }
        }
    }
}

/// Orders everything before it against everything after it, for the device too.
pub fn barrier() {
    fence(Ordering::SeqCst);
}
