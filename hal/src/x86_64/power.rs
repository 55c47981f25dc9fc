//! The power button, and the end of the machine.

use super::instructions::{self, Port};
use super::irq::{self, Irq};
use base::sync::Once;

/// What QEMU's isa-debug-exit turns into exit status `value << 1 | 1`.
const EXIT_ORDERLY: u32 = 0x10;
const EXIT_FAILURE: u32 = 0x11;

/// Ends the machine. `true`: as asked by the program; `false`: kernel failure.
pub fn off(orderly: bool) -> ! {
    // SAFETY: these devices end the machine, or do nothing. Nothing runs after this.
    let (debug_exit, keyboard) = unsafe { (Port::at(0xf4), Port::at(0x64)) };
    debug_exit.write32(if orderly { EXIT_ORDERLY } else { EXIT_FAILURE });
    if orderly {
        // Soft-off by the power management of QEMU's q35 and pc, older QEMU and Bochs, VirtualBox.
        for (port, value) in [(0x604, 0x2000), (0xb004, 0x2000), (0x4004, 0x3400)] {
            // SAFETY: as above.
            unsafe { Port::at(port) }.write16(value);
        }
    }
    // A reset ends Firecracker, and QEMU with -no-reboot.
    keyboard.write8(0xfe);
    instructions::reset()
}

/// ACPI's fixed power button (ACPI 6.5, 4.8.2.2.1.1): a bit in the PM1 event registers, told by the
/// system control interrupt. I/O ports, as firmware names them.
#[derive(Clone, Copy)]
pub(super) struct Button {
    pub(super) status: u16,
    pub(super) enable: u16,
    pub(super) control: u16,
    /// Where to write what, to have the events go to the system and not to firmware. Port 0: they
    /// always do.
    pub(super) switch: (u16, u8),
    /// The line of the I/O APICs that the interrupt comes on.
    pub(super) line: u32,
    pub(super) active_low: bool,
}

/// Of the event registers.
const POWER_BUTTON: u16 = 1 << 8;
/// Of the control register: events go to the system.
const SYSTEM_CONTROL: u16 = 1;

static BUTTON: Once<Button> = Once::new();

/// The machine has this button.
pub(super) fn set_button(button: Button) {
    BUTTON.call_once(|| button);
}

/// A port that firmware's tables name.
fn port(number: u16) -> Port {
    // SAFETY: power management's registers change no memory.
    unsafe { Port::at(number) }
}

/// From now on the power button raises this interrupt. `None`: there is no button that could. Once.
#[must_use]
pub fn button() -> Option<Irq> {
    let button = BUTTON.get()?;
    let irq = irq::allocate_system_line(button.line, button.active_low)?;
    let (switch, value) = button.switch;
    if switch != 0 && button.control != 0 && port(button.control).read16() & SYSTEM_CONTROL == 0 {
        port(switch).write8(value);
    }
    port(button.status).write16(POWER_BUTTON);
    // Nothing else may raise the line: it would stay raised, and no press be seen.
    port(button.enable).write16(POWER_BUTTON);
    Some(irq)
}

/// True when the power button was pressed since the last call.
#[must_use]
pub fn button_pressed() -> bool {
    let Some(button) = BUTTON.get() else { return false };
    let pressed = port(button.status).read16() & POWER_BUTTON != 0;
    if pressed {
        // Writing the bit clears it, and lowers the line.
        port(button.status).write16(POWER_BUTTON);
    }
    pressed
}
