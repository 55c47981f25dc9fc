//! From a PS/2 mouse's bytes to what moved (IBM PS/2 Hardware Interface Technical Reference, "Mouse";
//! Microsoft's wheel: a fourth byte).

use alloc::vec::Vec;
use base::input::{Event, kind};

/// Linux's numbers of the buttons, by their bits in the first byte.
pub const BUTTONS: [u16; 3] = [0x110, 0x111, 0x112];
/// Left and right, up and down, and the wheel.
pub const AXES: [u16; 3] = [0, 1, 8];
/// Always set in the first byte.
const FIRST: u8 = 1 << 3;

/// A mouse's state.
pub struct Mouse {
    bytes: Vec<u8>,
    length: usize,
    buttons: u8,
}

impl Mouse {
    /// A mouse, nothing pressed.
    #[must_use]
    pub fn new(has_wheel: bool) -> Self {
        Self { bytes: Vec::new(), length: if has_wheel { 4 } else { 3 }, buttons: 0 }
    }

    /// Takes a byte; the events of the packet that it completes, none of them a report.
    pub fn take(&mut self, byte: u8) -> Option<Vec<Event>> {
        // One got lost, and this is no beginning.
        if self.bytes.is_empty() && byte & FIRST == 0 {
            return None;
        }
        self.bytes.push(byte);
        if self.bytes.len() < self.length {
            return None;
        }
        let bytes = core::mem::take(&mut self.bytes);
        let [first, x, y, wheel @ ..] = bytes.as_slice() else { return None };
        let mut events = Vec::new();
        let mut add = |kind, code, value| events.push(Event { kind, code, value });
        for (bit, button) in BUTTONS.into_iter().enumerate() {
            let pressed = first >> bit & 1;
            if pressed != self.buttons >> bit & 1 {
                add(kind::KEY, button, i32::from(pressed));
            }
        }
        self.buttons = *first;
        // Nine bits, the ninth in the first byte; upwards is more.
        let moved = |low: u8, sign: u8| i32::from(low) - (i32::from(first >> sign & 1) << 8);
        let wheel = wheel.first().map_or(0, |wheel| -i32::from(wheel.cast_signed()));
        for (axis, value) in AXES.into_iter().zip([moved(*x, 4), -moved(*y, 5), wheel]) {
            if value != 0 {
                add(kind::REL, axis, value);
            }
        }
        Some(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(has_wheel: bool, bytes: &[u8]) -> Vec<(u16, u16, i32)> {
        let mut mouse = Mouse::new(has_wheel);
        let all = bytes.iter().filter_map(|byte| mouse.take(*byte)).flatten();
        all.map(|event| (event.kind, event.code, event.value)).collect()
    }

    #[test]
    fn moves_and_buttons() {
        assert_eq!(events(false, &[0x08, 5, 3]), [(2, 0, 5), (2, 1, -3)]);
        assert_eq!(events(false, &[0x38, 0xfb, 0xfd]), [(2, 0, -5), (2, 1, 3)]);
        assert_eq!(events(false, &[0x18, 0, 0]), [(2, 0, -256)]);
        let held = [0x09, 0, 0, 0x09, 1, 0, 0x0e, 0, 0, 0x08, 0, 0];
        let want = [
            (1, 0x110, 1),
            (2, 0, 1),
            (1, 0x110, 0),
            (1, 0x111, 1),
            (1, 0x112, 1),
            (1, 0x111, 0),
            (1, 0x112, 0),
        ];
        assert_eq!(events(false, &held), want);
    }

    #[test]
    fn the_wheel_turns_both_ways() {
        assert_eq!(events(true, &[0x08, 0, 0, 1, 0x08, 0, 0, 0xff]), [(2, 8, -1), (2, 8, 1)]);
    }

    #[test]
    fn what_is_no_beginning_is_left_out() {
        assert_eq!(events(false, &[0x00, 0x07, 0x08, 1, 0]), [(2, 0, 1)]);
    }
}
