//! Rows of cells, and the rows that have left the screen.

use crate::cell::{Attributes, Cell, Style};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub(crate) type Row = Vec<Cell>;

/// One screen full.
pub(crate) struct Grid {
    rows: Vec<Row>,
    columns: usize,
}

impl Grid {
    /// A blank one; without memory for it one that keeps nothing.
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        Self::try_new(rows, columns).unwrap_or_else(|| Self { rows: Vec::new(), columns })
    }

    /// The same. `None`: there is no memory.
    pub(crate) fn try_new(rows: usize, columns: usize) -> Option<Self> {
        let mut all = Vec::new();
        all.try_reserve_exact(rows).ok()?;
        for _ in 0..rows {
            let mut row = Vec::new();
            row.try_reserve_exact(columns).ok()?;
            row.resize(columns, Cell::blank(Style::default()));
            all.push(row);
        }
        Some(Self { rows: all, columns })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn row(&self, row: usize) -> &[Cell] {
        self.rows.get(row).map_or(&[], Vec::as_slice)
    }

    /// Stores the cells of a row as far as there is room. No half of a character is left at its end.
    pub(crate) fn store(&mut self, row: usize, cells: &[Cell]) {
        let Some(to) = self.rows.get_mut(row) else { return };
        to.iter_mut().zip(cells).for_each(|(to, from)| *to = *from);
        let cut = cells.get(to.len());
        if cut.is_some_and(|cell| cell.style.attributes.contains(Attributes::RIGHT_HALF))
            && let Some(last) = to.last_mut()
        {
            *last = Cell::blank(last.style.erased());
        }
    }

    pub(crate) fn cell_mut(&mut self, row: usize, column: usize) -> Option<&mut Cell> {
        self.rows.get_mut(row)?.get_mut(column)
    }

    /// Blanks a part of a row.
    pub(crate) fn erase(&mut self, row: usize, from: usize, to: usize, style: Style) {
        if let Some(row) = self.rows.get_mut(row) {
            let (from, to) = (from.min(row.len()), to.min(row.len()));
            if let Some(cells) = row.get_mut(from..to) {
                cells.fill(Cell::blank(style));
            }
        }
    }

    /// Makes room for `count` cells in a row, or takes as many out.
    pub(crate) fn shift(
        &mut self,
        row: usize,
        column: usize,
        count: usize,
        insert: bool,
        style: Style,
    ) {
        let columns = self.columns;
        let Some(cells) = self.rows.get_mut(row).and_then(|row| row.get_mut(column..)) else {
            return;
        };
        let count = count.min(cells.len());
        if insert {
            cells.rotate_right(count);
            self.erase(row, column, column + count, style);
        } else {
            cells.rotate_left(count);
            self.erase(row, columns - count, columns, style);
        }
    }

    /// Moves the rows of `top..bottom` up by `count`, those at the top leave by `leave`; or down.
    pub(crate) fn scroll(
        &mut self,
        (top, bottom): (usize, usize),
        count: usize,
        up: bool,
        style: Style,
        mut leave: impl FnMut(&Row),
    ) {
        let Some(rows) = self.rows.get_mut(top..bottom) else { return };
        let count = count.min(rows.len());
        let fresh = if up {
            rows.iter().take(count).for_each(&mut leave);
            rows.rotate_left(count);
            bottom - count..bottom
        } else {
            rows.rotate_right(count);
            top..top + count
        };
        for row in fresh {
            self.erase(row, 0, usize::MAX, style);
        }
    }
}

/// Rows that have left the screen at its top, the oldest first; without the blank cells at their ends.
#[derive(Default)]
pub(crate) struct History {
    rows: VecDeque<Row>,
    limit: usize,
}

impl History {
    pub(crate) fn new(limit: usize) -> Self {
        Self { rows: VecDeque::new(), limit }
    }

    pub(crate) fn push(&mut self, row: &[Cell]) {
        if self.limit == 0 {
            return;
        }
        if self.rows.len() >= self.limit {
            self.rows.pop_front();
        }
        let blank = Cell::blank(Style::default());
        let length = row.iter().rposition(|cell| *cell != blank).map_or(0, |last| last + 1);
        self.rows.push_back(row.iter().take(length).copied().collect());
    }

    /// The last row that left.
    pub(crate) fn pop(&mut self) -> Option<Row> {
        self.rows.pop_back()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row so many back from the screen's first; 1 is the last that left.
    pub(crate) fn row(&self, back: usize) -> &[Cell] {
        let at = self.rows.len().checked_sub(back);
        at.and_then(|at| self.rows.get(at)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }
}
