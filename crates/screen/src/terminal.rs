//! The terminal's state, and what printing and the control characters do to it.

use crate::cell::{Attributes, Cell, Style};
use crate::grid::{Grid, History};
use crate::modes::Modes;
use crate::width;
use alloc::vec::Vec;

/// True where a tab stops from the start.
fn is_tab(column: usize) -> bool {
    const TAB: usize = 8;
    column.is_multiple_of(TAB)
}

/// A place; the column may be one behind the last: the next character wraps.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) style: Style,
    /// Which of the two character sets is in use, and which of them hold DEC's line drawing.
    pub(crate) shifted: bool,
    pub(crate) drawing: [bool; 2],
}

impl Cursor {
    /// Its row has moved by so many (down where positive), on a screen of another size.
    fn shift(&mut self, moved: isize, rows: usize, columns: usize) {
        self.row = self.row.saturating_add_signed(moved).min(rows - 1);
        self.column = self.column.min(columns);
    }
}

/// Fills a grid with what stood in one of another size, whose cursor stays on it; with a history, what leaves
/// goes there, and comes from there. Returns by how many rows all has moved down.
fn carry(old: &Grid, new: &mut Grid, cursor: usize, history: Option<&mut History>) -> isize {
    let (had, have) = (old.len(), new.len());
    let gone = (cursor + 1).saturating_sub(have);
    let mut come = 0;
    if let Some(history) = history {
        (0..gone).for_each(|row| history.push(old.row(row)));
        let room = have.saturating_sub(had);
        come = room.min(history.len());
        for row in (0..come).rev() {
            new.store(row, &history.pop().unwrap_or_default());
        }
    }
    for row in gone..had {
        new.store(come + row - gone, old.row(row));
    }
    // Some hundreds.
    come as isize - gone as isize
}

pub(crate) struct Terminal {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) grid: Grid,
    /// The other screen: the main one while an application shows its own.
    pub(crate) other: Grid,
    pub(crate) alternate: bool,
    pub(crate) history: History,
    /// How many rows of it stand above the screen that is looked at.
    pub(crate) back: usize,
    pub(crate) cursor: Cursor,
    pub(crate) saved: [Cursor; 2],
    pub(crate) modes: Modes,
    /// First row, and the one behind the last, of what scrolls.
    pub(crate) region: (usize, usize),
    pub(crate) tabs: Vec<bool>,
    /// What was printed last, for REP.
    pub(crate) last: Option<char>,
    pub(crate) answers: Vec<u8>,
    pub(crate) stale: bool,
    /// By how many rows the whole screen has moved up since it was painted.
    pub(crate) scrolled: usize,
}

impl Terminal {
    pub(crate) fn new(rows: usize, columns: usize, history: usize) -> Self {
        Self {
            rows,
            columns,
            grid: Grid::new(rows, columns),
            other: Grid::new(rows, columns),
            alternate: false,
            history: History::new(history),
            back: 0,
            cursor: Cursor::default(),
            saved: [Cursor::default(); 2],
            modes: Modes::initial(),
            region: (0, rows),
            tabs: (0..columns).map(is_tab).collect(),
            last: None,
            answers: Vec::new(),
            stale: true,
            scrolled: 0,
        }
    }

    /// Another size, as xterm does it: rows that have no room above the cursor leave at the top, and come back
    /// when there is room again; what is cut off at the right is lost. False: there is no memory, and nothing
    /// has changed.
    pub(crate) fn resize(&mut self, rows: usize, columns: usize) -> bool {
        let grids = (Grid::try_new(rows, columns), Grid::try_new(rows, columns));
        let (Some(mut grid), Some(mut other)) = grids else { return false };
        let [main, application] = &mut self.saved;
        // The main screen has the history, wherever it is.
        let (saved, hidden) =
            if self.alternate { (application, main) } else { (main, application) };
        let (history, hidden_history) = match &mut self.history {
            history if self.alternate => (None, Some(history)),
            history => (Some(history), None),
        };
        let moved = carry(&self.grid, &mut grid, self.cursor.row, history);
        self.cursor.shift(moved, rows, columns);
        saved.shift(moved, rows, columns);
        let moved = carry(&self.other, &mut other, hidden.row, hidden_history);
        hidden.shift(moved, rows, columns);
        (self.grid, self.other) = (grid, other);
        (self.rows, self.columns) = (rows, columns);
        self.region = (0, rows);
        self.tabs.truncate(columns);
        self.tabs.extend((self.tabs.len()..columns).map(is_tab));
        (self.back, self.scrolled, self.stale) = (0, 0, true);
        true
    }

    /// As after power-on (RIS).
    pub(crate) fn reset(&mut self) {
        let history = core::mem::take(&mut self.history);
        *self = Self { history, ..Self::new(self.rows, self.columns, 0) };
    }

    /// The row of the picture: of the screen, or of what has left it while it is looked at.
    pub(crate) fn shown(&self, row: usize) -> &[Cell] {
        match self.back.checked_sub(row) {
            Some(back) if back > 0 => self.history.row(back),
            _ => self.grid.row(row - self.back),
        }
    }

    /// Where the cursor is seen, if it is.
    pub(crate) fn shown_cursor(&self) -> Option<(usize, usize)> {
        let row = self.cursor.row + self.back;
        let seen = self.modes.contains(Modes::CURSOR) && row < self.rows;
        seen.then_some((row, self.cursor.column.min(self.columns - 1)))
    }

    pub(crate) fn look_back(&mut self, back: bool) {
        let step = self.rows / 2;
        let there = if back { self.back + step } else { self.back.saturating_sub(step) };
        let most = if self.alternate { 0 } else { self.history.len() };
        self.back = there.min(most);
        self.stale = true;
    }

    pub(crate) fn look_at_present(&mut self) {
        self.back = 0;
        self.stale = true;
    }

    /// What erasing leaves here.
    pub(crate) fn erased(&self) -> Style {
        self.cursor.style.erased()
    }

    /// Scrolls a region of the screen; rows that leave the main screen are kept.
    pub(crate) fn scroll(&mut self, region: (usize, usize), count: usize, up: bool) {
        let style = self.erased();
        let keep = region.0 == 0 && !self.alternate;
        if up && region == (0, self.rows) {
            self.scrolled = self.scrolled.saturating_add(count);
        }
        let Self { grid, history, .. } = self;
        grid.scroll(region, count, up, style, |row| {
            if keep {
                history.push(row);
            }
        });
    }

    /// Down one row; at the end of the region its rows move up.
    pub(crate) fn line_feed(&mut self) {
        if self.cursor.row + 1 == self.region.1 {
            self.scroll(self.region, 1, true);
        } else if self.cursor.row + 1 < self.rows {
            self.cursor.row += 1;
        }
        self.cursor.column = self.cursor.column.min(self.columns - 1);
    }

    /// Up one row; at the start of the region its rows move down (RI).
    pub(crate) fn reverse_line_feed(&mut self) {
        if self.cursor.row == self.region.0 {
            self.scroll(self.region, 1, false);
        } else {
            self.cursor.row = self.cursor.row.saturating_sub(1);
        }
    }

    /// To the next place where a tab stops.
    pub(crate) fn tab(&mut self, back: bool) {
        let at = self.cursor.column;
        let stops = |column: &usize| self.tabs.get(*column).copied().unwrap_or(false);
        self.cursor.column = if back {
            (0..at).rev().find(stops).unwrap_or(0)
        } else {
            (at + 1..self.columns).find(stops).unwrap_or(self.columns - 1)
        };
    }

    pub(crate) fn print_character(&mut self, character: char) {
        let character = self.drawn(character);
        let width = width::columns(character);
        if width == 0 || width > self.columns {
            return;
        }
        self.last = Some(character);
        if self.cursor.column + width > self.columns {
            if self.modes.contains(Modes::WRAP) {
                self.line_feed();
                self.cursor.column = 0;
            } else {
                self.cursor.column = self.columns - width;
            }
        }
        let Cursor { row, column, style, .. } = self.cursor;
        if self.modes.contains(Modes::INSERT) {
            self.grid.shift(row, column, width, true, self.erased());
        }
        self.set(row, column, Cell { character, style });
        if width == 2 {
            let attributes = style.attributes | Attributes::RIGHT_HALF;
            self.set(
                row,
                column + 1,
                Cell { character: ' ', style: Style { attributes, ..style } },
            );
        }
        self.cursor.column += width;
    }

    fn set(&mut self, row: usize, column: usize, cell: Cell) {
        if let Some(place) = self.grid.cell_mut(row, column) {
            *place = cell;
        }
    }

    /// DEC's line drawing, where it is chosen.
    fn drawn(&self, character: char) -> char {
        const DRAWING: [char; 31] = [
            '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻',
            '─', '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
        ];
        let set = usize::from(self.cursor.shifted);
        if !self.cursor.drawing.get(set).copied().unwrap_or(false) {
            return character;
        }
        let at = (u32::from(character)).checked_sub(0x60);
        at.and_then(|at| DRAWING.get(at as usize)).copied().unwrap_or(character)
    }

    pub(crate) fn control(&mut self, byte: u8) {
        match byte {
            0x08 => {
                let column = self.cursor.column.min(self.columns - 1);
                self.cursor.column = column.saturating_sub(1);
            }
            b'\t' => self.tab(false),
            b'\n' | 0x0b | 0x0c => {
                self.line_feed();
                if self.modes.contains(Modes::NEW_LINE) {
                    self.cursor.column = 0;
                }
            }
            b'\r' => self.cursor.column = 0,
            0x0e => self.cursor.shifted = true,
            0x0f => self.cursor.shifted = false,
            _ => {}
        }
    }

    /// To a place, rows counted as ORIGIN says; within the screen.
    pub(crate) fn go_to(&mut self, row: usize, column: usize) {
        let (top, bottom) =
            if self.modes.contains(Modes::ORIGIN) { self.region } else { (0, self.rows) };
        self.cursor.row = top.saturating_add(row).min(bottom - 1);
        self.cursor.column = column.min(self.columns - 1);
    }

    /// Rows up or down, not over the edge of the region when the cursor is within.
    pub(crate) fn go_by(&mut self, rows: usize, up: bool) {
        let row = self.cursor.row;
        self.cursor.row = if up {
            let edge = if row >= self.region.0 { self.region.0 } else { 0 };
            row.saturating_sub(rows).max(edge)
        } else {
            let edge = if row < self.region.1 { self.region.1 } else { self.rows };
            row.saturating_add(rows).min(edge - 1)
        };
        self.cursor.column = self.cursor.column.min(self.columns - 1);
    }

    pub(crate) fn save_cursor(&mut self) {
        self.saved[usize::from(self.alternate)] = self.cursor;
    }

    pub(crate) fn restore_cursor(&mut self) {
        self.cursor = self.saved[usize::from(self.alternate)];
    }

    /// Shows the application's own screen, or the main one again.
    pub(crate) fn show_alternate(&mut self, alternate: bool) {
        if self.alternate != alternate {
            self.alternate = alternate;
            core::mem::swap(&mut self.grid, &mut self.other);
        }
    }
}
