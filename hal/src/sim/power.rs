//! The simulated machine's power button, and its end.

use super::irq::{self, Irq};
use super::mmio::MmioWindow;
use std::cell::Cell;

thread_local! {
    static BUTTON: Cell<Option<Irq>> = const { Cell::new(None) };
    static FAILURE: Cell<Option<MmioWindow>> = const { Cell::new(None) };
    static PRESSED: Cell<bool> = const { Cell::new(false) };
}

/// Ends the machine. `true`: as asked by the program; `false`: kernel failure.
///
/// # Panics
/// Always: the test catches it.
pub fn off(orderly: bool) -> ! {
    panic!("simulated machine off, orderly: {orderly}")
}

/// Resets the machine.
///
/// # Panics
/// Always: the test catches it.
pub fn restart() -> ! {
    panic!("simulated machine restarts")
}

/// A failure of the kernel is told to the hypervisor by this register.
pub fn tell_failure_to(register: MmioWindow) {
    FAILURE.set(Some(register));
}

pub(super) fn failure_register() -> Option<MmioWindow> {
    FAILURE.take()
}

/// From now on the power button raises this interrupt. Once.
#[must_use]
pub fn button() -> Option<Irq> {
    BUTTON.set(irq::allocate());
    BUTTON.get()
}

/// True when the power button was pressed since the last call.
#[must_use]
pub fn button_pressed() -> bool {
    PRESSED.take()
}

pub(super) fn press() {
    PRESSED.set(true);
    BUTTON.get().into_iter().for_each(irq::raise);
}
