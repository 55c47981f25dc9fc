//! From cells to pixels.

use crate::cell::{Attributes, Cell, Style};
use crate::font::{CELL_HEIGHT, CELL_WIDTH, Font, Glyph};
use crate::terminal::Terminal;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use base::display::{Layout, Pairs, Surface, pairs};

/// Cells painted in one go.
const RUN: usize = 32;
/// More than any screen has; keeps sizes small numbers.
const MOST: usize = 1000;

/// Paints cells, and remembers how each looks.
pub(crate) struct Painter {
    surface: Box<dyn Surface>,
    layout: Layout,
    font: Font,
    rows: usize,
    columns: usize,
    /// `None`: not known.
    shown: Vec<Option<Cell>>,
}

/// A colour as a pixel.
pub(crate) fn pixel(layout: &Layout, colour: [u8; 3]) -> u32 {
    colour.iter().zip(layout.shifts).fold(0, |all, (part, shift)| {
        all | u32::from(*part).checked_shl(u32::from(shift)).unwrap_or(0)
    })
}

/// How many rows and columns of cells fit; at least one of each.
pub(crate) fn cells(layout: &Layout) -> (usize, usize) {
    let fit = |pixels: u32, cell: usize| (pixels as usize / cell).clamp(1, MOST);
    (fit(layout.height, CELL_HEIGHT), fit(layout.width, CELL_WIDTH))
}

impl Painter {
    pub(crate) fn new(surface: Box<dyn Surface>) -> Self {
        let layout = surface.layout();
        let (rows, columns) = cells(&layout);
        let shown = vec![None; rows * columns];
        Self { surface, layout, font: Font::new(), rows, columns, shown }
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Nothing is known of what is shown.
    pub(crate) fn forget(&mut self) {
        self.shown.fill(None);
    }

    /// Paints what looks different from before.
    pub(crate) fn paint(&mut self, terminal: &Terminal) {
        let cursor = terminal.shown_cursor();
        for row in 0..self.rows {
            let cells = terminal.shown(row);
            let at = cursor.and_then(|(there, column)| (there == row).then_some(column));
            let look = |column: usize| {
                let blank = Cell::blank(Style::default());
                let mut cell = cells.get(column).copied().unwrap_or(blank);
                if at == Some(column) {
                    cell.style.attributes.toggle(Attributes::REVERSE);
                }
                cell
            };
            self.paint_row(row, look);
        }
    }

    fn paint_row(&mut self, row: usize, look: impl Fn(usize) -> Cell) {
        let mut run = [Cell::blank(Style::default()); RUN];
        let (mut start, mut length) = (0, 0);
        for column in 0..self.columns {
            let cell = look(column);
            let Some(shown) = self.shown.get_mut(row * self.columns + column) else { return };
            if shown.replace(cell) == Some(cell) {
                continue;
            }
            if length == RUN || (length > 0 && start + length != column) {
                self.paint_run(row, start, run.get(..length).unwrap_or_default());
                length = 0;
            }
            if length == 0 {
                start = column;
            }
            if let Some(slot) = run.get_mut(length) {
                *slot = cell;
                length += 1;
            }
        }
        self.paint_run(row, start, run.get(..length).unwrap_or_default());
    }

    fn paint_run(&self, row: usize, column: usize, cells: &[Cell]) {
        if cells.is_empty() {
            return;
        }
        let mut lines = [[0; RUN]; CELL_HEIGHT];
        let mut colours: [Pairs; RUN] = [[0; 4]; RUN];
        let mut last = None;
        for (at, (cell, colours)) in cells.iter().zip(&mut colours).enumerate() {
            // Most cells are written as those before them.
            *colours = match last {
                Some((style, pairs)) if style == cell.style => pairs,
                _ => pairs(cell.style.colours().map(|colour| pixel(&self.layout, colour))),
            };
            last = Some((cell.style, *colours));
            if cell.shows_nothing() {
                continue;
            }
            for (line, bits) in lines.iter_mut().zip(self.glyph(cell)) {
                line[at % RUN] = bits;
            }
        }
        for (y, line) in (row * CELL_HEIGHT..).zip(&lines) {
            let line = line.get(..cells.len()).unwrap_or_default();
            self.surface.put((column * CELL_WIDTH) as u32, y as u32, line, &colours);
        }
    }

    fn glyph(&self, cell: &Cell) -> Glyph {
        let attributes = cell.style.attributes;
        let mut glyph = self.font.glyph(cell.character);
        for (attribute, row) in [(Attributes::UNDERLINE, 14), (Attributes::STRIKE, 8)] {
            if attributes.contains(attribute)
                && let Some(row) = glyph.get_mut(row)
            {
                *row = 0xff;
            }
        }
        glyph
    }
}
