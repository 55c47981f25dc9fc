//! A process has no keyboard of its own.

use super::irq::Irq;
use crate::types::Typed;

/// Switches the keyboard on: there is none.
#[must_use]
pub fn init() -> Option<Irq> {
    None
}

/// Switches the mouse on: there is none.
#[must_use]
pub fn init_mouse() -> Option<(Irq, bool)> {
    None
}

/// The next byte from the keyboard or the mouse: never.
#[must_use]
pub fn read() -> Option<Typed> {
    None
}

/// Sets the keyboard's lights: there are none.
pub fn set_lights(lights: u8) {
    let _ = lights;
}
