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
/// The interrupt lines of the keyboard and of the mouse.
const LINE: u32 = 1;
const MOUSE_LINE: u32 = 12;
/// The controller's settings: a byte.
const READ_SETTINGS: u8 = 0x20;
const WRITE_SETTINGS: u8 = 0x60;
/// What keyboard and mouse answer.
const TAKEN: u8 = 0xfa;
/// What is read where there is no controller.
const ABSENT: u8 = 0xff;
const LOOKS: u32 = 20_000;

/// The controller, and what the keyboard is being told.
static LOCK: SpinLock<Lights> = SpinLock::new(Lights { step: Step::Idle, wanted: None });

/// How far the keyboard has been told of its lights.
enum Step {
    Idle,
    /// The command went out; these are to follow.
    Command(u8),
    /// The lights went out.
    Value,
}

struct Lights {
    step: Step,
    /// What it is to be told next.
    wanted: Option<u8>,
}

impl Lights {
    /// Begins with what is wanted, if the keyboard is not busy.
    fn begin(&mut self) {
        const SET_LIGHTS: u8 = 0xed;
        if !matches!(self.step, Step::Idle) {
            return;
        }
        if let Some(lights) = self.wanted.take()
            && send(SET_LIGHTS).is_some()
        {
            self.step = Step::Command(lights);
        }
    }

    /// True for an answer of the keyboard's, after which it is told more.
    fn answered(&mut self, byte: u8) -> bool {
        const AGAIN: u8 = 0xfe;
        self.step = match (byte, &self.step) {
            (_, Step::Idle) => return false,
            (TAKEN, Step::Command(lights)) if send(*lights).is_some() => Step::Value,
            // What it did not understand is not said again.
            (TAKEN | AGAIN, _) => Step::Idle,
            _ => return false,
        };
        self.begin();
        true
    }
}

/// Sets the keyboard's lights: ScrollLock, NumLock, CapsLock from the lowest bit on. Does not wait for its
/// answers, which come among the keys.
pub fn set_lights(lights: u8) {
    let mut told = LOCK.lock();
    told.wanted = Some(lights);
    told.begin();
}

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
    const KEYBOARD_OFF: u8 = 0xad;
    const MOUSE_OFF: u8 = 0xa7;
    const KEYBOARD_ON: u8 = 0xae;
    const SEND: u8 = 0xf4;
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

/// A byte to the mouse; its answer.
fn tell_mouse(byte: u8) -> Option<()> {
    const TO_MOUSE: u8 = 0xd4;
    command(TO_MOUSE)?;
    send(byte)?;
    (receive_from_mouse()? == TAKEN).then_some(())
}

/// What the mouse says next; a key pressed meanwhile is lost.
fn receive_from_mouse() -> Option<u8> {
    for _ in 0..LOOKS {
        let status = COMMAND.read8();
        if status & FULL != 0 {
            let byte = DATA.read8();
            if status & FROM_MOUSE != 0 {
                return Some(byte);
            }
        }
    }
    None
}

/// Switches the mouse on; returns what it raises, and whether it has a wheel: then its packets have
/// four bytes. `None`: there is none. After [`init`], once.
#[must_use]
pub fn init_mouse() -> Option<(Irq, bool)> {
    const MOUSE_ON: u8 = 0xa8;
    const MOUSE_OFF: u8 = 0xa7;
    if COMMAND.read8() == ABSENT {
        return None;
    }
    let guard = LOCK.lock();
    command(MOUSE_ON)?;
    let Some(has_wheel) = start_mouse() else {
        let _ = command(MOUSE_OFF);
        return None;
    };
    command(READ_SETTINGS)?;
    let settings = receive()?;
    command(WRITE_SETTINGS)?;
    // Its interrupt, and its clock on.
    send(settings & !0x20 | 0x02)?;
    drop(guard);
    Some((irq::allocate_line(MOUSE_LINE)?, has_wheel))
}

/// Sets the mouse to what all have in common, looks for a wheel, and lets it speak.
fn start_mouse() -> Option<bool> {
    const DEFAULTS: u8 = 0xf6;
    const RATE: u8 = 0xf3;
    const IDENTIFY: u8 = 0xf2;
    const SPEAK: u8 = 0xf4;
    const WITH_WHEEL: u8 = 3;
    const USUAL_RATE: u8 = 100;
    tell_mouse(DEFAULTS)?;
    // Microsoft's sign: these rates one after the other make a mouse with a wheel say so.
    for rate in [200, 100, 80] {
        tell_mouse(RATE)?;
        tell_mouse(rate)?;
    }
    tell_mouse(IDENTIFY)?;
    let has_wheel = receive_from_mouse()? == WITH_WHEEL;
    tell_mouse(RATE)?;
    tell_mouse(USUAL_RATE)?;
    tell_mouse(SPEAK)?;
    Some(has_wheel)
}

/// The next byte from the keyboard or the mouse. The interrupt comes again only after `None`.
#[must_use]
pub fn read() -> Option<Typed> {
    // Answers at most, between two keys.
    const MOST_ANSWERS: u32 = 16;
    let mut lights = LOCK.lock();
    for _ in 0..MOST_ANSWERS {
        let status = COMMAND.read8();
        if status & FULL == 0 {
            break;
        }
        let byte = DATA.read8();
        if status & FROM_MOUSE != 0 {
            return Some(Typed::Mouse(byte));
        }
        if !lights.answered(byte) {
            return Some(Typed::Keyboard(byte));
        }
    }
    None
}
