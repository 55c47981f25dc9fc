//! Device registers.

use super::boot::map;
use super::paging::{self, Caching};
use super::{apic, ioapic};
use base::PhysAddr;
use base::display::group;
use core::ptr;

/// A window of device registers.
#[derive(Clone)]
pub struct MmioWindow {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: every access is one volatile load or store; devices order them.
unsafe impl Send for MmioWindow {}
// SAFETY: as above.
unsafe impl Sync for MmioWindow {}

macro_rules! access {
    ($read:ident, $write:ident, $int:ty) => {
        /// Loads a register. 0 beyond the window, and at an offset that is not aligned.
        #[must_use]
        #[inline]
        pub fn $read(&self, offset: usize) -> $int {
            match self.at(offset, size_of::<$int>()) {
                // SAFETY: inside the window, aligned.
                Some(register) => unsafe { register.cast::<$int>().read_volatile() },
                None => 0,
            }
        }

        /// Stores a register. Nothing beyond the window, or at an offset that is not aligned.
        #[inline]
        pub fn $write(&self, offset: usize, value: $int) {
            if let Some(register) = self.at(offset, size_of::<$int>()) {
                // SAFETY: inside the window, aligned; the window holds no memory.
                unsafe { register.cast::<$int>().write_volatile(value) };
            }
        }
    };
}

impl MmioWindow {
    /// Maps device registers. `None` when the range overlaps RAM, the kernel, or the interrupt
    /// controllers.
    #[must_use]
    pub fn map(physical: PhysAddr, bytes: usize) -> Option<Self> {
        Self::map_as(physical, bytes, Caching::Off)
    }

    fn map_as(physical: PhysAddr, bytes: usize, caching: Caching) -> Option<Self> {
        let start = physical.0 & !(base::PAGE_SIZE - 1);
        let end =
            physical.0.checked_add(bytes as u64)?.checked_next_multiple_of(base::PAGE_SIZE)?;
        if map::has_memory(start, end) || apic::owns(start, end) || ioapic::owns(start, end) {
            return None;
        }
        Some(Self { start: paging::map_device_as(physical.0, bytes as u64, caching)?, bytes })
    }

    /// Maps a picture: stores are gathered, and loads are slow. `None` as above.
    #[must_use]
    pub fn map_picture(physical: PhysAddr, bytes: usize) -> Option<Self> {
        Self::map_as(physical, bytes, Caching::Combining)
    }

    /// Stores words one after the other from an offset on, for each byte four of its choice: two
    /// bits, the highest first, say which. What does not lie inside is left out.
    pub fn write_chosen(&self, offset: usize, bits: &[u8], words: &[[u64; 4]]) {
        const EACH: usize = 4 * size_of::<u64>();
        let inside = self.bytes.saturating_sub(offset) / EACH;
        let Some(mut to) = self.at(offset, size_of::<u64>()).map(<*mut u8>::cast::<u64>) else {
            return;
        };
        for (bits, words) in bits.iter().zip(words).take(inside) {
            for word in group(*bits, words) {
                // SAFETY: inside the window, aligned; the window holds no memory of the kernel.
                unsafe { to.write_volatile(word) };
                to = to.wrapping_add(1);
            }
        }
    }

    /// Stores words one after the other from an offset on: those that lie inside.
    pub fn write_words(&self, offset: usize, words: &[u64]) {
        let inside = self.bytes.saturating_sub(offset) / size_of::<u64>();
        let Some(start) = self.at(offset, size_of::<u64>()).map(<*mut u8>::cast::<u64>) else {
            return;
        };
        // SAFETY: inside the window, aligned; the window holds no memory of the kernel, so that it is apart
        // from `words`. The order of the stores does not matter: it is memory, not registers.
        unsafe { ptr::copy_nonoverlapping(words.as_ptr(), start, words.len().min(inside)) };
    }

    /// A part of the window. `None` when it does not lie inside.
    #[must_use]
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self { start: self.start.wrapping_add(offset), bytes })
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn at(&self, offset: usize, size: usize) -> Option<*mut u8> {
        let end = offset.checked_add(size)?;
        let register = self.start.wrapping_add(offset);
        (end <= self.bytes && (register as usize).is_multiple_of(size)).then_some(register)
    }

    access!(read_u8, write_u8, u8);
    access!(read_u16, write_u16, u16);
    access!(read_u32, write_u32, u32);
    access!(read_u64, write_u64, u64);
}
