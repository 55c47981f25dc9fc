//! The PC's keyboard controller (8042): the keyboard, and the mouse behind it.
//!
//! Commands and bits are those of the IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
//! Auxiliary Device Controller".

use super::instructions::Port;
use super::irq::{self, Irq};
use crate::types::Typed;
use base::sync::SpinLock;

// SAFETY: the controller moves bytes; what it can do else (resetting the machine) is not asked for.
const DATA: Port = unsafe { Port::at(0x60) };
// SAFETY: as above.
const COMMAND: Port = unsafe { Port::at(0x64) };

/// A byte can be read.
const FULL: u8 = 1;
/// The last byte was not taken yet.
const BUSY: u8 = 1 << 1;
/// What can be read comes from the mouse.
const FROM_MOUSE: u8 = 1 << 5;
/// The interrupt line of the keyboard.
const LINE: u32 = 1;
const LOOKS: u32 = 20_000;

static LOCK: SpinLock<()> = SpinLock::new(());

fn wait(bit: u8, value: u8) -> bool {
    (0..LOOKS).any(|_| COMMAND.read8() & bit == value)
}

fn command(command: u8) -> Option<()> {
    wait(BUSY, 0).then(|| COMMAND.write8(command))
}

fn send(byte: u8) -> Option<()> {
    wait(BUSY, 0).then(|| DATA.write8(byte))
}

fn receive() -> Option<u8> {
    wait(FULL, FULL).then(|| DATA.read8())
}

/// Switches the keyboard on; returns what typing raises. `None`: there is no controller, or no
/// keyboard behind it. Once.
#[must_use]
pub fn init() -> Option<Irq> {
    const ABSENT: u8 = 0xff;
    const READ_SETTINGS: u8 = 0x20;
    const WRITE_SETTINGS: u8 = 0x60;
    const KEYBOARD_OFF: u8 = 0xad;
    const MOUSE_OFF: u8 = 0xa7;
    const KEYBOARD_ON: u8 = 0xae;
    const SEND: u8 = 0xf4;
    const TAKEN: u8 = 0xfa;
    const MOST_WAITING: u32 = 32;
    if COMMAND.read8() == ABSENT {
        return None;
    }
    let guard = LOCK.lock();
    command(KEYBOARD_OFF)?;
    command(MOUSE_OFF)?;
    for _ in 0..MOST_WAITING {
        if COMMAND.read8() & FULL == 0 {
            break;
        }
        let _ = DATA.read8();
    }
    command(READ_SETTINGS)?;
    let settings = receive()?;
    // Interrupt of the keyboard, not of the mouse; its clock on; codes translated to set 1.
    command(WRITE_SETTINGS)?;
    send(settings & !0x32 | 0x41)?;
    command(KEYBOARD_ON)?;
    send(SEND)?;
    // What was typed meanwhile may come before the answer.
    if !(0..4).any(|_| receive() == Some(TAKEN)) {
        return None;
    }
    drop(guard);
    irq::allocate_line(LINE)
}

/// The next byte from the keyboard or the mouse. The interrupt comes again only after `None`.
#[must_use]
pub fn read() -> Option<Typed> {
    let _guard = LOCK.lock();
    let status = COMMAND.read8();
    if status & FULL == 0 {
        return None;
    }
    let byte = DATA.read8();
    Some(if status & FROM_MOUSE == 0 { Typed::Keyboard(byte) } else { Typed::Mouse(byte) })
}
