//! The PC's old interrupt controllers (two 8259): silenced where there are I/O APICs, used where there
//! are none. The local APIC then passes their interrupts on to the first processor.

use super::apic;
use super::boot::tables::OLD_LINES;
use super::instructions::Port;
use super::irq::Irq;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};

const COMMAND: [u16; 2] = [0x20, 0xa0];
const DATA: [u16; 2] = [0x21, 0xa1];
/// Where the second is connected to the first.
const CASCADE_LINE: u8 = 2;
/// Of the mask registers: lines that are let through.
static OPEN: AtomicU16 = AtomicU16::new(0);
/// The source that a line is, plus one; 0: none.
static SOURCES: [AtomicU32; OLD_LINES] = [const { AtomicU32::new(0) }; OLD_LINES];

fn port(ports: [u16; 2], second: bool) -> Port {
    // SAFETY: the controllers only raise interrupts.
    unsafe { Port::at(ports[usize::from(second)]) }
}

/// Silences them: vectors from `first_vector` on, all lines masked.
pub(super) fn init(first_vector: u8) {
    const INITIALISE: u8 = 0x11;
    const CASCADE: [u8; 2] = [1 << CASCADE_LINE, CASCADE_LINE];
    const MODE_8086: u8 = 1;
    for (at, second) in [false, true].into_iter().enumerate() {
        let data = port(DATA, second);
        port(COMMAND, second).write8(INITIALISE);
        data.write8(first_vector + 8 * at as u8);
        data.write8(CASCADE[at]);
        data.write8(MODE_8086);
        data.write8(0xff);
    }
}

/// Makes a line a source: it raises that from now on. `false`: there is no such line.
pub(super) fn route(line: u32, irq: Irq) -> bool {
    let Some(source) = SOURCES.get(line as usize) else { return false };
    if line == u32::from(CASCADE_LINE) {
        return false;
    }
    source.store(irq.0 + 1, Relaxed);
    let more = 1 << line | 1 << CASCADE_LINE;
    let before = OPEN.fetch_or(more, Relaxed);
    if before == 0 {
        apic::pass_on_external();
    }
    let [first, second] = (!(before | more)).to_le_bytes();
    port(DATA, false).write8(first);
    port(DATA, true).write8(second);
    true
}

/// Takes the interrupt of a line, and acknowledges it: the source that it is.
pub(super) fn take(line: u8) -> Option<u32> {
    const READ_IN_SERVICE: u8 = 0x0b;
    const END: u8 = 0x20;
    let second = line >= 8;
    let command = port(COMMAND, second);
    // The last line of each is also raised when an interrupt is taken back: then it is not in service.
    let spurious = line & 7 == 7 && {
        command.write8(READ_IN_SERVICE);
        command.read8() & 0x80 == 0
    };
    if !spurious {
        command.write8(END);
    }
    if second {
        port(COMMAND, false).write8(END);
    }
    let source = SOURCES.get(usize::from(line)).filter(|_| !spurious)?;
    source.load(Relaxed).checked_sub(1)
}
