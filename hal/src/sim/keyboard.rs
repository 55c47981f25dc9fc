//! The keyboard, on which the test types.

use super::irq::{self, Irq};
use crate::types::Typed;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

thread_local! {
    static CODES: RefCell<VecDeque<Typed>> = const { RefCell::new(VecDeque::new()) };
    static MOUSE_IRQ: Cell<Option<Irq>> = const { Cell::new(None) };
    static IRQ: Cell<Option<Irq>> = const { Cell::new(None) };
}

/// Switches the keyboard on; returns what typing raises.
#[must_use]
pub fn init() -> Option<Irq> {
    IRQ.set(irq::allocate());
    IRQ.get()
}

/// Switches the mouse on; returns what it raises, and whether it has a wheel.
#[must_use]
pub fn init_mouse() -> Option<(Irq, bool)> {
    MOUSE_IRQ.set(irq::allocate());
    MOUSE_IRQ.get().map(|irq| (irq, true))
}

/// The next byte from the keyboard or the mouse.
#[must_use]
pub fn read() -> Option<Typed> {
    CODES.with_borrow_mut(VecDeque::pop_front)
}

/// Sets the keyboard's lights, which nobody sees.
pub fn set_lights(lights: u8) {
    let _ = lights;
}

pub(super) fn type_codes(codes: &[u8]) {
    CODES.with_borrow_mut(|all| all.extend(codes.iter().copied().map(Typed::Keyboard)));
    IRQ.get().into_iter().for_each(irq::raise);
}

pub(super) fn move_mouse(bytes: &[u8]) {
    CODES.with_borrow_mut(|all| all.extend(bytes.iter().copied().map(Typed::Mouse)));
    MOUSE_IRQ.get().into_iter().for_each(irq::raise);
}
