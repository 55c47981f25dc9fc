//! From cells to pixels.

use crate::cell::{Attributes, Cell, Style};
use crate::font::{CELL_HEIGHT, CELL_WIDTH, Font, Glyph};
use crate::image::Image;
use crate::terminal::Terminal;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::display::{Layout, Pairs, Surface, pairs};
use core::ops::Range;

/// Cells painted in one go.
const RUN: usize = 32;
/// More than any screen has; keeps sizes small numbers.
const MOST: usize = 1000;

/// Paints cells, and remembers how each looks.
pub(crate) struct Painter {
    surface: Arc<dyn Surface>,
    layout: Layout,
    font: Font,
    rows: usize,
    columns: usize,
    /// What the image holds, or without one the surface. `None`: not known.
    shown: Vec<Option<Cell>>,
    image: Option<Image>,
    /// The surface does not show the image.
    is_other: bool,
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
    /// Without cells so far: see [`Painter::move_to`].
    pub(crate) fn new(surface: Arc<dyn Surface>) -> Self {
        let layout = surface.layout();
        Self {
            surface,
            layout,
            font: Font::new(),
            rows: 0,
            columns: 0,
            shown: Vec::new(),
            image: None,
            is_other: true,
        }
    }

    pub(crate) fn surface(&self) -> &Arc<dyn Surface> {
        &self.surface
    }

    /// Goes on on another surface. `fits`: room for as many cells as there are then, their rows and columns;
    /// without it those stay that it has, of which what lies outside is not seen. `with_image`: as much memory as
    /// the picture has may be used.
    pub(crate) fn move_to(
        &mut self,
        surface: Arc<dyn Surface>,
        fits: Option<(Vec<Option<Cell>>, usize, usize)>,
        with_image: bool,
    ) {
        self.layout = surface.layout();
        self.surface = surface;
        self.image = None;
        if let Some((shown, rows, columns)) = fits {
            (self.shown, self.rows, self.columns) = (shown, rows, columns);
            let wanted = with_image.then(|| Image::new(rows, columns, &self.layout));
            self.image = wanted.flatten();
        }
        self.shown.clear();
        // A new image is black, as cells are that nobody has written.
        let blank = self.image.as_ref().map(|_| Cell::blank(Style::default()));
        self.shown.resize(self.rows * self.columns, blank);
        self.is_other = true;
    }

    /// Nothing is known of what is shown.
    pub(crate) fn forget(&mut self) {
        self.is_other = true;
        if self.image.is_none() {
            self.shown.fill(None);
        }
    }

    /// All moved up by so many rows: so need not be painted again. What is told wrongly costs time only.
    pub(crate) fn scroll(&mut self, rows: usize) {
        if rows == 0 || rows >= self.rows {
            return;
        }
        if let Some(image) = &mut self.image {
            image.scroll(rows);
            self.shown.rotate_left(rows * self.columns);
            self.is_other = true;
        }
    }

    /// Paints what looks different from before.
    pub(crate) fn paint(&mut self, terminal: &Terminal) {
        let all = core::mem::take(&mut self.is_other);
        let cursor = terminal.shown_cursor();
        let mut shown = core::mem::take(&mut self.shown);
        for (row, shown) in shown.chunks_exact_mut(self.columns.max(1)).enumerate() {
            let at = cursor.and_then(|(there, column)| (there == row).then_some(column));
            let mut changed = self.paint_row(row, shown, terminal.shown(row), at);
            if all {
                changed = 0..self.columns;
            }
            if let (Some(image), false) = (&self.image, changed.is_empty()) {
                image.show(row, changed, &*self.surface);
            }
        }
        self.shown = shown;
    }

    /// Returns the columns from the first to the last that was painted. `cursor`: the column where it is.
    fn paint_row(
        &mut self,
        row: usize,
        shown: &mut [Option<Cell>],
        cells: &[Cell],
        cursor: Option<usize>,
    ) -> Range<usize> {
        let blank = Cell::blank(Style::default());
        let (mut run, mut changed) = (0..0, 0..0);
        for column in 0..shown.len() {
            let mut cell = cells.get(column).copied().unwrap_or(blank);
            if cursor == Some(column) {
                cell.style.attributes.toggle(Attributes::REVERSE);
            }
            let place = shown.get_mut(column);
            let Some(place) = place.filter(|place| **place != Some(cell)) else { continue };
            *place = Some(cell);
            if changed.is_empty() {
                changed.start = column;
            }
            changed.end = column + 1;
            if run.end != column || run.len() == RUN {
                self.paint_run(row, run.start, shown.get(run).unwrap_or_default());
                run = column..column;
            }
            run.end = column + 1;
        }
        self.paint_run(row, run.start, shown.get(run).unwrap_or_default());
        changed
    }

    /// Paints cells beside each other, at most `RUN` of them.
    fn paint_run(&mut self, row: usize, column: usize, cells: &[Option<Cell>]) {
        if cells.is_empty() {
            return;
        }
        let mut lines = [[0; RUN]; CELL_HEIGHT];
        let mut colours: [Pairs; RUN] = [[0; 4]; RUN];
        let mut last = None;
        for (at, (cell, colours)) in cells.iter().flatten().zip(&mut colours).enumerate() {
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
        for (y, line) in lines.iter().enumerate() {
            let line = line.get(..cells.len()).unwrap_or_default();
            if let Some(image) = &mut self.image {
                image.put([row, y, column], line, &colours);
                continue;
            }
            let (x, y) = (column * CELL_WIDTH, row * CELL_HEIGHT + y);
            self.surface.put(x as u32, y as u32, line, &colours);
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
