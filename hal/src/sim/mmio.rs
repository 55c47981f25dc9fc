//! Device registers: a test gives the model of the device.

use base::PhysAddr;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// A simulated device behind a window: reads and writes of `bytes` (1, 2, 4 or 8) at an offset.
pub trait Model: Send {
    /// A load.
    fn read(&mut self, offset: usize, bytes: usize) -> u64;
    /// A store.
    fn write(&mut self, offset: usize, bytes: usize, value: u64);
}

thread_local! {
    static PLACED: RefCell<Vec<(PhysAddr, MmioWindow)>> = const { RefCell::new(Vec::new()) };
}

/// Makes `window` what [`MmioWindow::map`] finds at `physical`.
pub(super) fn place(physical: PhysAddr, window: MmioWindow) {
    PLACED.with_borrow_mut(|placed| placed.push((physical, window)));
}

/// Forgets all placed windows.
pub(super) fn clear() {
    PLACED.with_borrow_mut(Vec::clear);
}

/// A window of device registers.
#[derive(Clone)]
pub struct MmioWindow {
    model: Arc<Mutex<dyn Model>>,
    start: usize,
    bytes: usize,
}

macro_rules! access {
    ($read:ident, $write:ident, $int:ty) => {
        /// Loads a register. 0 beyond the window.
        #[must_use]
        pub fn $read(&self, offset: usize) -> $int {
            if offset + size_of::<$int>() > self.bytes {
                return 0;
            }
            let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            model.read(self.start + offset, size_of::<$int>()) as $int
        }

        /// Stores a register. Nothing beyond the window.
        pub fn $write(&self, offset: usize, value: $int) {
            if offset + size_of::<$int>() <= self.bytes {
                let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
                model.write(self.start + offset, size_of::<$int>(), u64::from(value));
            }
        }
    };
}

impl MmioWindow {
    /// Maps device registers. `None` on bare metal when the range overlaps RAM or the kernel. The
    /// simulation has only what the test has placed (`sim::place`).
    #[must_use]
    pub fn map(physical: PhysAddr, bytes: usize) -> Option<Self> {
        PLACED.with_borrow(|placed| {
            placed.iter().rev().find_map(|(start, window)| {
                let offset = usize::try_from(physical.0.checked_sub(start.0)?).ok()?;
                window.part(offset, bytes)
            })
        })
    }

    /// Maps a picture, as [`MmioWindow::map`].
    #[must_use]
    pub fn map_picture(physical: PhysAddr, bytes: usize) -> Option<Self> {
        Self::map(physical, bytes)
    }

    /// Stores words one after the other from an offset on, for each byte four of its choice: two
    /// bits, the highest first, say which. What does not lie inside is left out.
    pub fn write_chosen(&self, offset: usize, bits: &[u8], words: &[[u64; 4]]) {
        let chosen = bits.iter().zip(words).flat_map(|(bits, words)| {
            [6, 4, 2, 0].map(|shift| words[usize::from(bits >> shift & 3)])
        });
        for (at, word) in chosen.enumerate() {
            self.write_u64(offset + at * size_of::<u64>(), word);
        }
    }

    /// Stores words one after the other from an offset on: those that lie inside.
    pub fn write_words(&self, offset: usize, words: &[u64]) {
        for (at, word) in words.iter().enumerate() {
            self.write_u64(offset + at * size_of::<u64>(), *word);
        }
    }

    /// A window onto a simulated device.
    pub fn of_model(model: Arc<Mutex<dyn Model>>, bytes: usize) -> Self {
        Self { model, start: 0, bytes }
    }

    /// A part of the window. `None` when it does not lie inside.
    #[must_use]
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self {
            model: Arc::clone(&self.model),
            start: self.start + offset,
            bytes,
        })
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    access!(read_u8, write_u8, u8);
    access!(read_u16, write_u16, u16);
    access!(read_u32, write_u32, u32);
    access!(read_u64, write_u64, u64);
}
