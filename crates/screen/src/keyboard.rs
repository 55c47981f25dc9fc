//! From a keyboard's codes to keys, and from keys to what a terminal's program reads.

use crate::layouts::{Layout, compose};
use alloc::format;
use alloc::vec::Vec;

/// A key that went down or up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Linux's number of it (input-event-codes.h).
    pub code: u16,
    /// Down: also while it is held, again and again.
    pub pressed: bool,
}

impl Key {
    /// Its codes as a PC's keyboard sends them (set 1), which it is or not (Linux: emulate_raw in
    /// drivers/tty/vt/keyboard.c). Empty: a PC's keyboard has no such key.
    #[must_use]
    pub fn raw(self) -> Vec<u8> {
        const PAUSE: u16 = 119;
        const PRINT: u16 = 99;
        let up = if self.pressed { 0 } else { 0x80 };
        let extended = EXTENDED.iter().find(|row| row.1 == self.code);
        match (self.code, extended) {
            (PRINT, _) => alloc::vec![0xe0, 0x2a | up, 0xe0, 0x37 | up],
            (PAUSE, _) => alloc::vec![0xe1, 0x1d | up, 0x45 | up],
            (_, Some((code, _))) => alloc::vec![0xe0, code | up],
            // Below 0x80.
            (code @ 1..=LAST_CODE, _) => alloc::vec![code as u8 | up],
            _ => Vec::new(),
        }
    }

    /// Its number in one byte, or from 128 on in three (Linux: kbd_keycode there).
    #[must_use]
    pub fn medium_raw(self) -> Vec<u8> {
        let up = if self.pressed { 0 } else { 0x80 };
        match self.code {
            // Each has seven bits.
            code @ ..128 => alloc::vec![code as u8 | up],
            code => alloc::vec![up, (code >> 7) as u8 | 0x80, code as u8 | 0x80],
        }
    }
}

/// The lights of a PC's keyboard as it is told of them, from a bit for each by Linux's numbers.
#[must_use]
pub fn lights(lights: u16) -> u8 {
    const NUM_CAPS_SCROLL: [u8; 3] = [1 << 1, 1 << 2, 1];
    let on = (0..).zip(NUM_CAPS_SCROLL).filter(|(light, _)| lights >> light & 1 != 0);
    on.fold(0, |all, (_, bit)| all | bit)
}

/// What typing means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Typed {
    /// The terminal's program reads this.
    Bytes(Vec<u8>),
    /// Look at what has left the screen: further back, or forth.
    Look {
        /// Back.
        back: bool,
    },
}

bitflags::bitflags! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    struct Modifiers: u8 {
        const LEFT_SHIFT = 1;
        const RIGHT_SHIFT = 1 << 1;
        const LEFT_CONTROL = 1 << 2;
        const RIGHT_CONTROL = 1 << 3;
        const LEFT_ALT = 1 << 4;
        const RIGHT_ALT = 1 << 5;
        const SHIFT = Self::LEFT_SHIFT.bits() | Self::RIGHT_SHIFT.bits();
        const CONTROL = Self::LEFT_CONTROL.bits() | Self::RIGHT_CONTROL.bits();
    }
}

const MODIFIERS: &[(u16, Modifiers)] = &[
    (42, Modifiers::LEFT_SHIFT),
    (54, Modifiers::RIGHT_SHIFT),
    (29, Modifiers::LEFT_CONTROL),
    (97, Modifiers::RIGHT_CONTROL),
    (56, Modifiers::LEFT_ALT),
    (100, Modifiers::RIGHT_ALT),
];

/// Codes behind the prefix 0xe0, and the keys that send them.
const EXTENDED: &[(u8, u16)] = &[
    (0x1c, 96),
    (0x1d, 97),
    (0x35, 98),
    (0x37, 99),
    (0x38, 100),
    (0x47, 102),
    (0x48, 103),
    (0x49, 104),
    (0x4b, 105),
    (0x4d, 106),
    (0x4f, 107),
    (0x50, 108),
    (0x51, 109),
    (0x52, 110),
    (0x53, 111),
    (0x5b, 125),
    (0x5c, 126),
    (0x5d, 127),
];

/// The codes of all keys that [`Keyboard::take`] may give.
pub fn codes() -> impl Iterator<Item = u16> {
    (1..=LAST_PLAIN).map(u16::from).chain(EXTENDED.iter().map(|row| row.1))
}

/// The last code without a prefix.
const LAST_PLAIN: u8 = 0x58;
const LAST_CODE: u16 = LAST_PLAIN as u16;
const CAPS_LOCK: u16 = 58;
const NUM_LOCK: u16 = 69;
const PAGE_UP: u16 = 104;
const PAGE_DOWN: u16 = 109;

/// What a key sends that is no character.
#[derive(Clone, Copy)]
enum Special {
    /// This, whatever is held with it.
    Byte(u8),
    /// `CSI letter`, or `SS3 letter` for applications that asked for that.
    Cursor(u8),
    /// `SS3 letter`.
    Function(u8),
    /// `CSI number ~`.
    Number(u8),
}

const SPECIALS: &[(u16, Special)] = &[
    (1, Special::Byte(0x1b)),
    (28, Special::Byte(b'\r')),
    (96, Special::Byte(b'\r')),
    (98, Special::Byte(b'/')),
    (55, Special::Byte(b'*')),
    (74, Special::Byte(b'-')),
    (78, Special::Byte(b'+')),
    (102, Special::Cursor(b'H')),
    (103, Special::Cursor(b'A')),
    (105, Special::Cursor(b'D')),
    (106, Special::Cursor(b'C')),
    (107, Special::Cursor(b'F')),
    (108, Special::Cursor(b'B')),
    (PAGE_UP, Special::Number(5)),
    (PAGE_DOWN, Special::Number(6)),
    (110, Special::Number(2)),
    (111, Special::Number(3)),
    (59, Special::Function(b'P')),
    (60, Special::Function(b'Q')),
    (61, Special::Function(b'R')),
    (62, Special::Function(b'S')),
    (63, Special::Number(15)),
    (64, Special::Number(17)),
    (65, Special::Number(18)),
    (66, Special::Number(19)),
    (67, Special::Number(20)),
    (68, Special::Number(21)),
    (87, Special::Number(23)),
    (88, Special::Number(24)),
];

/// The number block from its 7 on: with NumLock these, without the keys of the same place.
const BLOCK: (u16, &[u8; 13], [u16; 13]) =
    (71, b"789-456+1230.", [102, 103, 104, 74, 105, 0, 106, 78, 107, 108, 109, 110, 111]);

/// A keyboard's state.
pub struct Keyboard {
    layout: &'static Layout,
    held: Modifiers,
    caps_lock: bool,
    num_lock: bool,
    dead: Option<char>,
    /// The prefix that came last, and how many codes it still swallows.
    prefix: (u8, u8),
}

impl Keyboard {
    /// A keyboard of this layout, nothing held.
    #[must_use]
    pub fn new(layout: &'static Layout) -> Self {
        Self {
            layout,
            held: Modifiers::empty(),
            caps_lock: false,
            num_lock: true,
            dead: None,
            prefix: (0, 0),
        }
    }

    /// Takes a code of the keyboard (set 1: IBM PC/AT Technical Reference); gives the key that it
    /// completes.
    pub fn take(&mut self, code: u8) -> Option<Key> {
        const RELEASED: u8 = 0x80;
        let (prefix, count) = self.prefix;
        if count > 0 {
            self.prefix = (prefix, count - 1);
        }
        match (code, prefix, count) {
            (0xe0, ..) => {
                self.prefix = (0xe0, 1);
                None
            }
            // Pause: two codes more, and again for its release, which comes at once.
            (0xe1, ..) => {
                self.prefix = (0xe1, 2);
                None
            }
            (_, 0xe1, 1..) => None,
            (_, 0xe0, 1) => {
                let row = EXTENDED.iter().find(|row| row.0 == code & !RELEASED)?;
                Some(Key { code: row.1, pressed: code & RELEASED == 0 })
            }
            _ if (1..=LAST_PLAIN).contains(&(code & !RELEASED)) => {
                Some(Key { code: u16::from(code & !RELEASED), pressed: code & RELEASED == 0 })
            }
            _ => None,
        }
    }

    /// Follows which keys are held that change others. True for such a one.
    pub fn follow(&mut self, key: Key) -> bool {
        let row = MODIFIERS.iter().find(|row| row.0 == key.code);
        row.inspect(|row| self.held.set(row.1, key.pressed)).is_some()
    }

    /// What a key means to a terminal. `application`: see
    /// [`crate::Screen::cursor_keys_for_application`].
    pub fn typed(&mut self, key: Key, application: bool) -> Option<Typed> {
        if self.follow(key) || !key.pressed {
            return None;
        }
        let shift = self.held.intersects(Modifiers::SHIFT);
        match key.code {
            CAPS_LOCK => self.caps_lock = !self.caps_lock,
            NUM_LOCK => self.num_lock = !self.num_lock,
            PAGE_UP | PAGE_DOWN if shift => {
                return Some(Typed::Look { back: key.code == PAGE_UP });
            }
            code => return self.bytes(code, application).map(Typed::Bytes),
        }
        None
    }

    fn bytes(&mut self, code: u16, application: bool) -> Option<Vec<u8>> {
        let (mut bytes, code) = (Vec::new(), self.in_block(code).ok()?);
        let code = match code {
            Numbered::Digit(digit) => return Some(alloc::vec![digit]),
            Numbered::Key(code) => code,
        };
        if self.held.contains(Modifiers::LEFT_ALT) && self.character(code).is_some() {
            bytes.push(0x1b);
        }
        let control = self.held.intersects(Modifiers::CONTROL);
        match code {
            14 => bytes.push(if control { 0x08 } else { 0x7f }),
            15 if self.held.intersects(Modifiers::SHIFT) => bytes.extend_from_slice(b"\x1b[Z"),
            15 => bytes.push(b'\t'),
            _ => match SPECIALS.iter().find(|row| row.0 == code) {
                Some((_, special)) => self.special(*special, application, &mut bytes),
                None => {
                    let character = self.composed(code)?;
                    if control {
                        bytes.push(controlled(character)?);
                    } else {
                        let mut utf8 = [0; 4];
                        bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                    }
                }
            },
        }
        Some(bytes)
    }

    /// A key of the number block as what it is just now.
    fn in_block(&self, code: u16) -> Result<Numbered, ()> {
        let (first, digits, keys) = BLOCK;
        let Some(at) = code.checked_sub(first).map(usize::from).filter(|at| *at < digits.len())
        else {
            return Ok(Numbered::Key(code));
        };
        match (self.num_lock, digits.get(at), keys.get(at)) {
            (true, Some(digit), _) => Ok(Numbered::Digit(*digit)),
            (false, _, Some(key)) if *key != 0 => Ok(Numbered::Key(*key)),
            _ => Err(()),
        }
    }

    fn special(&self, special: Special, application: bool, into: &mut Vec<u8>) {
        // xterm's parameter for what is held: 1 and bits.
        let held = |modifiers, bit| if self.held.intersects(modifiers) { bit } else { 0 };
        let modifier = 1
            + held(Modifiers::SHIFT, 1)
            + held(Modifiers::LEFT_ALT, 2)
            + held(Modifiers::CONTROL, 4);
        let text = match special {
            Special::Byte(byte) => return into.push(byte),
            Special::Cursor(letter) | Special::Function(letter) if modifier > 1 => {
                format!("\x1b[1;{modifier}{}", letter as char)
            }
            Special::Cursor(letter) if !application => format!("\x1b[{}", letter as char),
            Special::Cursor(letter) | Special::Function(letter) => {
                format!("\x1bO{}", letter as char)
            }
            Special::Number(number) if modifier > 1 => format!("\x1b[{number};{modifier}~"),
            Special::Number(number) => format!("\x1b[{number}~"),
        };
        into.extend_from_slice(text.as_bytes());
    }

    /// The character of a key just now.
    fn character(&self, code: u16) -> Option<char> {
        const SPACE: u16 = 57;
        if code == SPACE {
            return Some(' ');
        }
        if self.held.contains(Modifiers::RIGHT_ALT) {
            return self.layout.character(code, 2);
        }
        let letter = self.layout.character(code, 0).is_some_and(char::is_alphabetic);
        let shift = self.held.intersects(Modifiers::SHIFT) != (self.caps_lock && letter);
        self.layout.character(code, usize::from(shift))
    }

    /// The same with what a dead key before makes of it.
    fn composed(&mut self, code: u16) -> Option<char> {
        let character = self.character(code)?;
        if let Some(dead) = self.dead.take() {
            return Some(compose(dead, character).unwrap_or(character));
        }
        let is_dead = self.layout.dead.contains(character);
        if is_dead && !self.held.contains(Modifiers::RIGHT_ALT) {
            self.dead = Some(character);
            return None;
        }
        Some(character)
    }
}

enum Numbered {
    Digit(u8),
    Key(u16),
}

/// What Ctrl makes of a character, as Linux's console.
fn controlled(character: char) -> Option<u8> {
    match u8::try_from(character).ok()? {
        b' ' | b'2' => Some(0),
        b'/' | b'-' | b'7' => Some(0x1f),
        digit @ b'3'..=b'6' => Some(digit - b'3' + 0x1b),
        b'8' => Some(0x7f),
        letter @ b'@'..=b'~' => Some(letter & 0x1f),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
