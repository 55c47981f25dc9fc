//! Escape sequences, as xterm takes them (ctlseqs, "XTerm Control Sequences"; ECMA-48).

use crate::cell::{Attributes, Colour, Style};
use crate::modes::Modes;
use crate::terminal::Terminal;
use alloc::format;
use vte::{Params, Perform};

impl Perform for Terminal {
    fn print(&mut self, character: char) {
        self.print_character(character);
    }

    fn execute(&mut self, byte: u8) {
        self.control(byte);
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore {
            return;
        }
        match intermediates {
            [] => self.sequence(params, action),
            [b'?'] => match action {
                'h' | 'l' => self.set_modes(params, true, action == 'h'),
                'J' | 'K' => self.sequence(params, action),
                _ => {}
            },
            [b'>'] if action == 'c' => self.answer(b"\x1b[>41;0;0c"),
            [b'!'] if action == 'p' => self.soft_reset(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
        match (intermediates, byte) {
            _ if ignore => {}
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'D') => self.line_feed(),
            ([], b'E') => {
                self.line_feed();
                self.cursor.column = 0;
            }
            ([], b'H') => self.set_tab(true),
            ([], b'M') => self.reverse_line_feed(),
            ([], b'c') => self.reset(),
            ([b'('], set) => self.cursor.drawing[0] = set == b'0',
            ([b')'], set) => self.cursor.drawing[1] = set == b'0',
            ([b'#'], b'8') => self.fill_with_e(),
            _ => {}
        }
    }
}

/// A parameter; `default` when it is missing or 0.
fn number(params: &Params, at: usize, default: usize) -> usize {
    match params.iter().nth(at).and_then(|group| group.first()) {
        None | Some(0) => default,
        Some(value) => usize::from(*value),
    }
}

impl Terminal {
    fn sequence(&mut self, params: &Params, action: char) {
        let count = number(params, 0, 1);
        let (row, column) = (self.cursor.row, self.cursor.column.min(self.columns - 1));
        let style = self.erased();
        match action {
            '@' => self.grid.shift(row, column, count, true, style),
            'A' | 'F' => self.go_by(count, true),
            'B' | 'E' | 'e' => self.go_by(count, false),
            'C' | 'a' => self.cursor.column = (column + count).min(self.columns - 1),
            'D' => self.cursor.column = column.saturating_sub(count),
            'G' | '`' => self.cursor.column = (count - 1).min(self.columns - 1),
            'H' | 'f' => self.go_to(count - 1, number(params, 1, 1) - 1),
            'I' => (0..count.min(self.columns)).for_each(|_| self.tab(false)),
            'J' => self.erase_screen(number(params, 0, 0)),
            'K' => self.erase_line(number(params, 0, 0)),
            'L' | 'M' if (self.region.0..self.region.1).contains(&row) => {
                self.scroll_below(row, count, action == 'M');
            }
            'P' => self.grid.shift(row, column, count, false, style),
            'S' | 'T' => self.scroll(self.region, count, action == 'S'),
            'X' => self.grid.erase(row, column, column + count, style),
            'Z' => (0..count.min(self.columns)).for_each(|_| self.tab(true)),
            'b' => {
                if let Some(last) = self.last {
                    (0..count.min(self.columns * self.rows))
                        .for_each(|_| self.print_character(last));
                }
            }
            'c' => self.answer(b"\x1b[?62;22c"),
            'd' => self.go_to(count - 1, column),
            'g' if number(params, 0, 0) == 3 => self.tabs.fill(false),
            'g' => self.set_tab(false),
            'h' | 'l' => self.set_modes(params, false, action == 'h'),
            'm' => self.cursor.style = restyled(self.cursor.style, params),
            'n' => self.report(number(params, 0, 0)),
            'r' => self.set_region(count - 1, number(params, 1, self.rows)),
            's' => self.save_cursor(),
            't' if count == 18 => {
                let size = format!("\x1b[8;{};{}t", self.rows, self.columns);
                self.answer(size.as_bytes());
            }
            'u' => self.restore_cursor(),
            _ => {}
        }
        if matches!(action, 'E' | 'F') {
            self.cursor.column = 0;
        }
    }

    /// Inserts or deletes lines; what leaves at the cursor is not kept.
    fn scroll_below(&mut self, row: usize, count: usize, up: bool) {
        let style = self.erased();
        self.grid.scroll((row, self.region.1), count, up, style, |_| {});
        self.cursor.column = 0;
    }

    fn erase_line(&mut self, what: usize) {
        let (row, column) = (self.cursor.row, self.cursor.column.min(self.columns - 1));
        let (from, to) = match what {
            0 => (column, usize::MAX),
            1 => (0, column + 1),
            _ => (0, usize::MAX),
        };
        self.grid.erase(row, from, to, self.erased());
    }

    fn erase_screen(&mut self, what: usize) {
        let row = self.cursor.row;
        let rows = match what {
            0 => row + 1..self.rows,
            1 => 0..row,
            2 => 0..self.rows,
            3 => return self.history.clear(),
            _ => return,
        };
        let style = self.erased();
        for row in rows {
            self.grid.erase(row, 0, usize::MAX, style);
        }
        if what < 2 {
            self.erase_line(what);
        }
    }

    fn set_region(&mut self, top: usize, bottom: usize) {
        let bottom = bottom.min(self.rows);
        if top + 1 < bottom {
            self.region = (top, bottom);
            self.go_to(0, 0);
        }
    }

    fn set_tab(&mut self, stops: bool) {
        if let Some(tab) = self.tabs.get_mut(self.cursor.column) {
            *tab = stops;
        }
    }

    fn fill_with_e(&mut self) {
        for row in 0..self.rows {
            for column in 0..self.columns {
                if let Some(cell) = self.grid.cell_mut(row, column) {
                    cell.character = 'E';
                }
            }
        }
    }

    fn soft_reset(&mut self) {
        self.modes = Modes::initial();
        self.region = (0, self.rows);
        self.cursor.style = Style::default();
    }

    fn set_modes(&mut self, params: &Params, private: bool, on: bool) {
        for &mode in params.iter().filter_map(|group| group.first()) {
            let known = Modes::numbered(private, mode);
            self.modes.set(known, on);
            if known == Modes::ORIGIN {
                self.go_to(0, 0);
            }
            match (private, mode) {
                (true, 47 | 1047) => self.show_alternate(on),
                (true, 1048) if on => self.save_cursor(),
                (true, 1048) => self.restore_cursor(),
                (true, 1049) if on => {
                    self.save_cursor();
                    self.show_alternate(true);
                    self.erase_screen(2);
                }
                (true, 1049) => {
                    self.show_alternate(false);
                    self.restore_cursor();
                }
                _ => {}
            }
        }
    }

    /// Answers a question. A program that asks on and reads nothing gets no more.
    fn answer(&mut self, answer: &[u8]) {
        const MOST: usize = 4096;
        if self.answers.len() < MOST {
            self.answers.extend_from_slice(answer);
        }
    }

    fn report(&mut self, what: usize) {
        match what {
            5 => self.answer(b"\x1b[0n"),
            6 => {
                let top = if self.modes.contains(Modes::ORIGIN) { self.region.0 } else { 0 };
                let column = self.cursor.column.min(self.columns - 1);
                let place = format!("\x1b[{};{}R", self.cursor.row - top + 1, column + 1);
                self.answer(place.as_bytes());
            }
            _ => {}
        }
    }
}

/// Attributes by the numbers that set them; those that clear them are in [`CLEARS`].
const SETS: &[(u16, Attributes)] = &[
    (1, Attributes::BOLD),
    (2, Attributes::DIM),
    (4, Attributes::UNDERLINE),
    (7, Attributes::REVERSE),
    (8, Attributes::HIDDEN),
    (9, Attributes::STRIKE),
    (21, Attributes::UNDERLINE),
];
const CLEARS: &[(u16, Attributes)] = &[
    (22, Attributes::BOLD.union(Attributes::DIM)),
    (24, Attributes::UNDERLINE),
    (27, Attributes::REVERSE),
    (28, Attributes::HIDDEN),
    (29, Attributes::STRIKE),
];

/// What SGR makes of a style.
fn restyled(mut style: Style, params: &Params) -> Style {
    let mut groups = params.iter();
    while let Some(group) = groups.next() {
        let Some(&code) = group.first() else { continue };
        let find = |table: &[(u16, Attributes)]| {
            table.iter().find(|row| row.0 == code).map_or(Attributes::empty(), |row| row.1)
        };
        // "No underline" as a sort of underline.
        let none = code == 4 && group.get(1) == Some(&0);
        style.attributes.set(find(SETS), !none);
        style.attributes.remove(find(CLEARS));
        let basic = |first: u16| Colour::indexed((code - first) as u8);
        match code {
            0 => style = Style::default(),
            30..=37 => style.foreground = basic(30),
            40..=47 => style.background = basic(40),
            90..=97 => style.foreground = basic(90 - 8),
            100..=107 => style.background = basic(100 - 8),
            39 => style.foreground = Colour::default(),
            49 => style.background = Colour::default(),
            38 | 48 => {
                let colour = match group {
                    [_] => {
                        extended(&mut groups.by_ref().filter_map(|group| group.first().copied()))
                    }
                    // With colons there may be a colour space before the colour.
                    [_, 2, _, rest @ ..] if rest.len() >= 3 => direct(rest),
                    [_, rest @ ..] => extended(&mut rest.iter().copied()),
                    [] => None,
                };
                match colour {
                    Some(colour) if code == 38 => style.foreground = colour,
                    Some(colour) => style.background = colour,
                    None => {}
                }
            }
            _ => {}
        }
    }
    style
}

/// What follows 38 or 48: `5;index` or `2;red;green;blue`.
fn extended(numbers: &mut dyn Iterator<Item = u16>) -> Option<Colour> {
    match numbers.next()? {
        5 => Some(Colour::indexed(u8::try_from(numbers.next()?).ok()?)),
        2 => direct(&[numbers.next()?, numbers.next()?, numbers.next()?]),
        _ => None,
    }
}

fn direct(parts: &[u16]) -> Option<Colour> {
    let part = |at: usize| parts.get(at).and_then(|part| u8::try_from(*part).ok());
    Some(Colour::direct([part(0)?, part(1)?, part(2)?]))
}
