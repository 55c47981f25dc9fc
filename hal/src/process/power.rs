//! The end of the process.

use super::irq::Irq;

/// As QEMU ends after the same call on bare metal: see `hal/src/x86_64/power.rs`.
const EXIT_ORDERLY: i32 = 0x10 << 1 | 1;
const EXIT_FAILURE: i32 = 0x11 << 1 | 1;

/// Ends the machine. `true`: as asked by the program; `false`: kernel failure.
pub fn off(orderly: bool) -> ! {
    // SAFETY: ends the process; other threads do nothing that must be finished.
    unsafe { libc::_exit(if orderly { EXIT_ORDERLY } else { EXIT_FAILURE }) }
}

/// Resets the machine: a process can only end.
pub fn restart() -> ! {
    off(true)
}

/// From now on the power button raises this interrupt. A process has no such button.
#[must_use]
pub fn button() -> Option<Irq> {
    None
}

/// True when the power button was pressed since the last call: never.
#[must_use]
pub fn button_pressed() -> bool {
    false
}
