//! What comes over the console's line, taken apart: bytes for the program, and escapes.
//!
//! An escape is DLE and a letter; a DLE of the input is doubled. The other side is `egg/src/vm.rs`.

use alloc::vec::Vec;
use bundle::config::Window;

/// Starts an escape.
pub(crate) const ESCAPE: u8 = 0x10;
/// The end of the input.
const END: u8 = b'd';
/// The signals of Ctrl-C and Ctrl-\.
const INTERRUPT: u8 = b'c';
const QUIT: u8 = b'q';
/// As the power button: the program shall end.
const TERMINATE: u8 = b't';
/// The size of the terminal's window as text, to the end of the line.
const WINDOW: u8 = b'w';
/// The longest text of a window's size.
const WINDOW_BYTES: usize = 32;

/// One thing that came over the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    Byte(u8),
    End,
    Interrupt,
    Quit,
    Terminate,
    Window(Window),
}

#[derive(Default)]
enum State {
    #[default]
    Plain,
    Escaped,
    Window(Vec<u8>),
}

/// Takes the line apart, byte by byte.
#[derive(Default)]
pub(crate) struct Line(State);

impl Line {
    /// Takes a byte; gives what it completes.
    pub(crate) fn take(&mut self, byte: u8) -> Option<Item> {
        match core::mem::take(&mut self.0) {
            State::Plain if byte == ESCAPE => self.0 = State::Escaped,
            State::Plain => return Some(Item::Byte(byte)),
            State::Escaped => return self.escape(byte),
            State::Window(text) if byte == b'\n' => {
                return core::str::from_utf8(&text).ok()?.parse().ok().map(Item::Window);
            }
            State::Window(mut text) => {
                if text.len() < WINDOW_BYTES {
                    text.push(byte);
                }
                self.0 = State::Window(text);
            }
        }
        None
    }

    fn escape(&mut self, letter: u8) -> Option<Item> {
        Some(match letter {
            END => Item::End,
            INTERRUPT => Item::Interrupt,
            QUIT => Item::Quit,
            TERMINATE => Item::Terminate,
            WINDOW => {
                self.0 = State::Window(Vec::new());
                return None;
            }
            byte => Item::Byte(byte),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_told_from_bytes() {
        let mut line = Line::default();
        let sent = b"a\x10\x10\x10c\x10q\x10d\x10w24x80x0x1\nb\x10wjunk\n\x10t";
        let items: Vec<Item> = sent.iter().filter_map(|byte| line.take(*byte)).collect();
        let window = Window { rows: 24, columns: 80, width: 0, height: 1 };
        let want = [
            Item::Byte(b'a'),
            Item::Byte(ESCAPE),
            Item::Interrupt,
            Item::Quit,
            Item::End,
            Item::Window(window),
            Item::Byte(b'b'),
            Item::Terminate,
        ];
        assert_eq!(items, want);
    }
}
