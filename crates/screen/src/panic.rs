//! The last words of a kernel that fails, on the screen: without memory, locks or the terminal,
//! whose state nobody knows then.

use crate::font::{self, CELL_HEIGHT, CELL_WIDTH};
use crate::paint::{cells, pixel};
use alloc::boxed::Box;
use base::display::{Layout, Pairs, Surface, pairs};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const FRONT: [u8; 3] = [255, 255, 255];
const BACK: [u8; 3] = [128, 0, 0];

/// Writes ASCII from the screen's first row on, and stays at its last.
pub struct LastWords {
    surface: Box<dyn Surface>,
    layout: Layout,
    colours: Pairs,
    /// Row * columns + column.
    place: AtomicUsize,
}

impl LastWords {
    /// On this surface.
    #[must_use]
    pub fn new(surface: Box<dyn Surface>) -> Self {
        let layout = surface.layout();
        let colours = pairs([FRONT, BACK].map(|colour| pixel(&layout, colour)));
        Self { surface, layout, colours, place: AtomicUsize::new(0) }
    }

    /// Writes.
    pub fn write(&self, bytes: &[u8]) {
        let (rows, columns) = cells(&self.layout);
        for &byte in bytes {
            let place = self.place.load(Relaxed);
            let (row, column) = (place / columns, place % columns);
            if row >= rows {
                return;
            }
            let next = match byte {
                b'\n' => {
                    (column..columns).for_each(|column| self.cell(row, column, b' '));
                    (row + 1) * columns
                }
                b'\r' => place,
                byte => {
                    self.cell(row, column, if byte.is_ascii_graphic() { byte } else { b' ' });
                    place + 1
                }
            };
            self.place.store(next, Relaxed);
        }
    }

    fn cell(&self, row: usize, column: usize, byte: u8) {
        let (x, y) = ((column * CELL_WIDTH) as u32, (row * CELL_HEIGHT) as u32);
        for (line, bits) in (0..).zip(font::ascii(byte)) {
            self.surface.put(x, y + line, &[bits], &[self.colours]);
        }
    }
}
