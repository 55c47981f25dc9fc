//! The end of the machine.

use super::instructions::{self, Port};

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
