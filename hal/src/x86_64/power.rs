//! The power button, and the end of the machine.

use super::console;
use super::instructions::{self, Port};
use super::irq::{self, Irq};
use super::mmio::MmioWindow;
use super::pci::{self, Address};
use super::pvpanic;
use crate::acpi::ResetRegister;
use base::sync::Once;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What QEMU's isa-debug-exit turns into exit status `value << 1 | 1`.
const EXIT_ORDERLY: u32 = 0x10;
const EXIT_FAILURE: u32 = 0x11;

/// Ends the machine. `true`: as asked by the program; `false`: kernel failure.
pub fn off(orderly: bool) -> ! {
    // SAFETY: these devices end the machine, or do nothing. Nothing runs after this.
    let (debug_exit, keyboard) = unsafe { (Port::at(0xf4), Port::at(0x64)) };
    debug_exit.write32(if orderly { EXIT_ORDERLY } else { EXIT_FAILURE });
    if orderly {
        if let Some(soft_off) = SOFT_OFF.get() {
            soft_off.go();
        }
        // Soft-off by the power management of QEMU's q35 and pc, older QEMU and Bochs, VirtualBox.
        for (number, value) in [(0x604, 0x2000), (0xb004, 0x2000), (0x4004, 0x3400)] {
            port(number).write16(value);
        }
    }
    // A reset ends Firecracker, and QEMU with -no-reboot.
    keyboard.write8(KEYBOARD_RESET);
    instructions::reset()
}

/// The keyboard controller's command to pull the processor's reset line.
const KEYBOARD_RESET: u8 = 0xfe;

/// Resets the machine: as ACPI says, else by the chipset's register (0xcf9, Intel's ICH data sheets:
/// first the kind of reset, then the edge that starts it), by the keyboard controller, and last by an
/// exception that cannot be handled.
pub fn restart() -> ! {
    const HARD: u8 = 0x02;
    const HARD_NOW: u8 = 0x06;
    if let Some((register, value)) = RESET.get() {
        match *register {
            ResetRegister::Port(number) => port(number).write8(*value),
            ResetRegister::Function(device, function, offset) => {
                pci::write8(Address { bus: 0, device, function }, offset, *value);
            }
        }
        pause();
    }
    port(0xcf9).write8(HARD);
    pause();
    port(0xcf9).write8(HARD_NOW);
    pause();
    port(0x64).write8(KEYBOARD_RESET);
    pause();
    instructions::reset()
}

/// A reset takes effect after a while; an access to this port takes about a microsecond.
fn pause() {
    const MICROSECONDS: u32 = 20_000;
    for _ in 0..MICROSECONDS {
        port(0x80).write8(0);
    }
}

/// What to write to reset the machine, and where.
static RESET: Once<(ResetRegister, u8)> = Once::new();
static SOFT_OFF: Once<SoftOff> = Once::new();

/// After a failure the machine starts anew.
static RESTARTS: AtomicBool = AtomicBool::new(false);

/// From now on a failure of the kernel restarts the machine instead of ending it, unless the host
/// command watches, which decides itself.
pub fn restart_on_failure() {
    RESTARTS.store(true, Relaxed);
}

/// A failure of the kernel is told to the hypervisor by this register (pvpanic's).
pub fn tell_failure_to(register: MmioWindow) {
    pvpanic::set_device(register);
}

/// Ends the machine after a failure.
pub(super) fn fail() -> ! {
    pvpanic::tell();
    if RESTARTS.load(Relaxed) && !console::has_control() {
        restart();
    }
    off(false)
}

/// The machine is reset so.
pub(super) fn set_reset(reset: (ResetRegister, u8)) {
    RESET.call_once(|| reset);
}

/// ACPI's soft-off (ACPI 6.5, 4.8.3.2.1): for each control register, the sleep type.
pub(super) struct SoftOff {
    pub(super) controls: [u16; 2],
    pub(super) types: [u8; 2],
}

impl SoftOff {
    fn go(&self) {
        const SLEEP_TYPE: u32 = 10;
        const SLEEP: u16 = 1 << 13;
        const OTHERS: u16 = 0x03ff;
        for (number, kind) in self.controls.into_iter().zip(self.types) {
            if number != 0 {
                let others = port(number).read16() & OTHERS;
                port(number).write16(others | u16::from(kind) << SLEEP_TYPE | SLEEP);
            }
        }
        pause();
    }
}

/// The machine is switched off so.
pub(super) fn set_soft_off(soft_off: SoftOff) {
    SOFT_OFF.call_once(|| soft_off);
}

/// Says how the machine ends.
pub(super) fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    match SOFT_OFF.get() {
        Some(SoftOff { controls: [a, b], types }) => {
            each("soft-off", format_args!("ports {a:#x} {b:#x}, types {types:?}"));
        }
        None => each("soft-off", format_args!("none known")),
    }
    match RESET.get() {
        Some((register, value)) => each("reset", format_args!("{register:x?}, {value:#x}")),
        None => each("reset", format_args!("none told: port 0xcf9, keyboard controller")),
    }
    let button = if BUTTON.get().is_some() { "yes" } else { "none" };
    each("button", format_args!("{button}"));
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
