//! The keyboard, on which the test types.

use super::irq::{self, Irq};
use crate::types::Typed;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

thread_local! {
    static CODES: RefCell<VecDeque<u8>> = const { RefCell::new(VecDeque::new()) };
    static IRQ: Cell<Option<Irq>> = const { Cell::new(None) };
}

/// Switches the keyboard on; returns what typing raises.
#[must_use]
pub fn init() -> Option<Irq> {
    IRQ.set(irq::allocate());
    IRQ.get()
}

/// The next byte from the keyboard or the mouse.
#[must_use]
pub fn read() -> Option<Typed> {
    CODES.with_borrow_mut(VecDeque::pop_front).map(Typed::Keyboard)
}

pub(super) fn type_codes(codes: &[u8]) {
    CODES.with_borrow_mut(|all| all.extend(codes));
    IRQ.get().into_iter().for_each(irq::raise);
}
