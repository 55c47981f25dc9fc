//! The picture once more in memory: what scrolls is copied from there, not painted again. A screen's own
//! memory is slow to read.

use crate::font::{CELL_HEIGHT, CELL_WIDTH};
use alloc::vec::Vec;
use base::display::{Layout, Pairs, Surface, group};
use core::ops::Range;

/// Words, of two pixels each, in a line of a cell.
const CELL_WORDS: usize = CELL_WIDTH / 2;

/// A strip of pixels for each row of cells.
pub(crate) struct Image {
    /// Lines one after the other.
    strips: Vec<Vec<u64>>,
    line_words: usize,
}

impl Image {
    /// A picture of so many rows and columns. `None`: there is no memory for it, or the surface is smaller
    /// than that.
    pub(crate) fn new(rows: usize, columns: usize, layout: &Layout) -> Option<Self> {
        let (width, height) = (columns * CELL_WIDTH, rows * CELL_HEIGHT);
        if width > layout.width as usize || height > layout.height as usize {
            return None;
        }
        let line_words = columns * CELL_WORDS;
        let mut strips = Vec::new();
        strips.try_reserve_exact(rows).ok()?;
        for _ in 0..rows {
            let mut strip = Vec::new();
            strip.try_reserve_exact(CELL_HEIGHT * line_words).ok()?;
            strip.resize(CELL_HEIGHT * line_words, 0);
            strips.push(strip);
        }
        Some(Self { strips, line_words })
    }

    /// Moves the rows up by `count`; those that leave at the top are the last then.
    pub(crate) fn scroll(&mut self, count: usize) {
        let count = count.min(self.strips.len());
        self.strips.rotate_left(count);
    }

    /// Stores a line of cells from a column on: for each its bits and its colours.
    pub(crate) fn put(&mut self, place: [usize; 3], bits: &[u8], pairs: &[Pairs]) {
        let [row, line, column] = place;
        let start = line * self.line_words + column * CELL_WORDS;
        let strip = self.strips.get_mut(row).and_then(|strip| strip.get_mut(start..));
        let words = strip.map_or(&mut [][..], |words| words.as_chunks_mut::<CELL_WORDS>().0);
        for ((bits, pairs), words) in bits.iter().zip(pairs).zip(words) {
            *words = group(*bits, pairs);
        }
    }

    /// Shows a part of a row on the surface.
    pub(crate) fn show(&self, row: usize, columns: Range<usize>, surface: &dyn Surface) {
        let Some(strip) = self.strips.get(row) else { return };
        let pitch = surface.layout().pitch as usize;
        let (from, to) = (columns.start * CELL_WORDS, columns.end * CELL_WORDS);
        if (from, to * size_of::<u64>()) == (0, pitch) {
            // Its lines follow each other on the surface too.
            surface.store((row * CELL_HEIGHT * pitch) as u64, strip);
            return;
        }
        for (line, words) in strip.chunks(self.line_words.max(1)).enumerate() {
            let offset = (row * CELL_HEIGHT + line) * pitch + from * size_of::<u64>();
            surface.store(offset as u64, words.get(from..to).unwrap_or_default());
        }
    }
}
