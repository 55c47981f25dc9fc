//! The console on a screen: [`Screen`] is a terminal as xterm is one, painted with a bitmap font
//! into a picture ([`base::display::Surface`]).
//!
//! What the program writes changes cells in memory; [`Screen::refresh`] paints those that look
//! different from what is shown. A flood of output costs no more painting than a trickle.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cell;
mod font;
mod grid;
mod image;
pub mod keyboard;
mod layouts;
mod modes;
pub mod mouse;
mod paint;
mod panic;
mod sequences;
mod shared;
mod terminal;
#[cfg(test)]
mod tests;
mod width;

pub use cell::{Attributes, Cell, Colour, Style};
pub use font::{CELL_HEIGHT, CELL_WIDTH, Font, Glyph};
pub use layouts::{LAYOUTS, Layout};
pub use panic::LastWords;
pub use shared::SharedScreen;

use alloc::sync::Arc;
use alloc::vec::Vec;
use base::display::Surface;
use paint::Painter;
use terminal::Terminal;

/// The terminal on a screen.
pub struct Screen {
    parser: vte::Parser<OSC_BYTES>,
    terminal: Terminal,
    painter: Painter,
}

/// The longest operating-system command that is understood; they are all ignored.
const OSC_BYTES: usize = 128;

impl Screen {
    /// A blank terminal that fills the surface. `history`: rows kept that have left it at the top.
    /// `with_image`: the picture is kept in memory too, with four bytes a pixel; scrolling is faster then.
    #[must_use]
    pub fn new(surface: Arc<dyn Surface>, history: usize, with_image: bool) -> Self {
        let mut screen = Self {
            parser: vte::Parser::new_with_size(),
            terminal: Terminal::new(1, 1, history),
            painter: Painter::new(Arc::clone(&surface)),
        };
        screen.move_to(surface, with_image);
        screen
    }

    /// What it is painted on.
    #[must_use]
    pub fn surface(&self) -> &Arc<dyn Surface> {
        self.painter.surface()
    }

    /// Rows and columns.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        // No surface has more than 1000 of either: see `Painter`.
        let Terminal { rows, columns, .. } = self.terminal;
        (rows as u16, columns as u16)
    }

    /// Goes on on another surface, with as many rows and columns as it has room for, and the same text. False:
    /// for these there is no memory, and it keeps those that it has. `with_image`: see [`Screen::new`].
    pub fn move_to(&mut self, surface: Arc<dyn Surface>, with_image: bool) -> bool {
        let (rows, columns) = paint::cells(&surface.layout());
        let mut room = Vec::new();
        let fits =
            room.try_reserve_exact(rows * columns).is_ok() && self.terminal.resize(rows, columns);
        self.painter.move_to(surface, fits.then_some((room, rows, columns)), with_image);
        self.terminal.stale = true;
        fits
    }

    /// Takes what the program wrote. Nothing is painted yet.
    pub fn write(&mut self, bytes: &[u8]) {
        self.terminal.look_at_present();
        self.parser.advance(&mut self.terminal, bytes);
    }

    /// What the terminal answers to questions in what was written, as if it were typed.
    #[must_use]
    pub fn take_answers(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.terminal.answers)
    }

    /// True when [`Screen::take_answers`] gives something.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.terminal.answers.is_empty()
    }

    /// True when [`Screen::refresh`] has something to do.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.terminal.stale
    }

    /// Paints what has changed. The surface is to be flushed then.
    pub fn refresh(&mut self) {
        if core::mem::take(&mut self.terminal.stale) {
            self.painter.scroll(core::mem::take(&mut self.terminal.scrolled));
            self.painter.paint(&self.terminal);
        }
    }

    /// Something else painted on the surface: all of it is painted anew.
    pub fn repaint(&mut self) {
        self.painter.forget();
        self.terminal.stale = true;
    }

    /// Looks half a screen further back (or forth) into what has left it. Output brings the
    /// present back.
    pub fn look_back(&mut self, back: bool) {
        self.terminal.look_back(back);
    }

    /// True when cursor keys are to send what applications want (DECCKM).
    #[must_use]
    pub fn cursor_keys_for_application(&self) -> bool {
        self.terminal.modes.contains(modes::Modes::CURSOR_KEYS)
    }
}
