//! The serial port (16550 at COM1), and the control channel to the host command (debug console).

use super::clock;
use super::instructions::Port;
use super::irq::{self, Irq};
use base::sync::{Once, Rank, SpinLock};
use core::fmt::Arguments;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use core::time::Duration;

// SAFETY: a serial port and the debug console only move bytes.
const DATA: Port = unsafe { Port::at(0x3f8) };
// SAFETY: as above.
const INTERRUPT_ENABLE: Port = unsafe { Port::at(0x3f9) };
// SAFETY: as above.
const FIFO_CONTROL: Port = unsafe { Port::at(0x3fa) };
// SAFETY: as above.
const LINE_CONTROL: Port = unsafe { Port::at(0x3fb) };
// SAFETY: as above.
const MODEM_CONTROL: Port = unsafe { Port::at(0x3fc) };
// SAFETY: as above.
const LINE_STATUS: Port = unsafe { Port::at(0x3fd) };
// SAFETY: as above.
const SCRATCH: Port = unsafe { Port::at(0x3ff) };
// SAFETY: as above.
const CONTROL: Port = unsafe { Port::at(0xe9) };

/// The serial port's interrupt line.
const LINE: u32 = 4;
const RECEIVED: u8 = 1;
const TRANSMITTER_EMPTY: u8 = 0x20;
/// What an empty transmitter takes at once.
const FIFO_BYTES: usize = 16;
/// A port that stays busy this long is given up: a stuck console must not stop the machine.
const WAIT_LIMIT: u32 = 1_000_000;
const NO_IRQ: u32 = u32::MAX;

static SERIAL: AtomicBool = AtomicBool::new(false);
static CONTROL_CHANNEL: AtomicBool = AtomicBool::new(false);
static IRQ: AtomicU32 = AtomicU32::new(NO_IRQ);
static LOCK: SpinLock<()> = SpinLock::ranked(Rank::Console, ());

/// Finds the ports. Output works from here on.
pub(super) fn init() {
    SCRATCH.write8(0x5a);
    if SCRATCH.read8() == 0x5a {
        const DIVISOR_LATCH: u8 = 0x80;
        const EIGHT_BITS: u8 = 3;
        // Calls at eight bytes, or when no more came for the time of four: what was sent together, as
        // the bytes of an arrow key, is read together. Nobody could tell it from a lone Escape else.
        // (At one, QEMU does not even store a second before the first is read.)
        const FIFO_ON_CLEARED: u8 = 0x87;
        // Data terminal ready, request to send, and OUT2, which connects the interrupt.
        const MODEM_ON: u8 = 0x0b;
        INTERRUPT_ENABLE.write8(0);
        LINE_CONTROL.write8(DIVISOR_LATCH);
        DATA.write8(1); // 115200 baud
        INTERRUPT_ENABLE.write8(0);
        LINE_CONTROL.write8(EIGHT_BITS);
        FIFO_CONTROL.write8(FIFO_ON_CLEARED);
        MODEM_CONTROL.write8(MODEM_ON);
        SERIAL.store(true, Relaxed);
    }
    CONTROL_CHANNEL.store(CONTROL.read8() == 0xe9, Relaxed);
}

/// Asks for an interrupt when something is typed.
pub(super) fn init_input() {
    if !SERIAL.load(Relaxed) {
        return;
    }
    if let Some(Irq(id)) = irq::allocate_line(LINE) {
        IRQ.store(id, Relaxed);
        INTERRUPT_ENABLE.write8(RECEIVED);
    }
}

/// The source that fires when bytes can be read. It fires again only after [`read`] has returned
/// less than it was asked for.
#[must_use]
pub fn irq() -> Option<Irq> {
    let id = IRQ.load(Relaxed);
    (id != NO_IRQ).then_some(Irq(id))
}

/// What shows the console's output beside the serial port, and shows the last words of a kernel
/// that fails, when no lock can be trusted.
#[derive(Clone, Copy)]
pub struct Mirror {
    /// Shows bytes.
    pub write: fn(&[u8]),
    /// Shows bytes, taking no locks and no memory.
    pub write_last: fn(&[u8]),
    /// Nothing follows.
    pub finish: fn(),
}

static MIRROR: Once<Mirror> = Once::new();

/// From now on output is shown there too. Once.
pub fn set_mirror(mirror: Mirror) {
    MIRROR.call_once(|| mirror);
}

/// Leaves the serial port alone from now on.
pub fn leave_serial() {
    SERIAL.store(false, Relaxed);
    IRQ.store(NO_IRQ, Relaxed);
    INTERRUPT_ENABLE.write8(0);
}

/// Writes bytes as they are.
pub fn write(bytes: &[u8]) {
    {
        let _guard = LOCK.lock();
        write_unlocked(bytes);
    }
    if let Some(mirror) = MIRROR.get() {
        (mirror.write)(bytes);
    }
}

/// Waits for somebody to read the screen, when there is one and no host command that reads the
/// console: what follows is the end of the machine.
pub fn linger() {
    const TIME: Duration = Duration::from_secs(30);
    if MIRROR.get().is_none() || CONTROL_CHANNEL.load(Relaxed) {
        return;
    }
    let end = clock::now() + TIME;
    while clock::now() < end {
        core::hint::spin_loop();
    }
}

/// Writes the last words of a kernel that fails.
pub(super) fn write_last(bytes: &[u8]) {
    write_unlocked(bytes);
    if let Some(mirror) = MIRROR.get() {
        (mirror.write_last)(bytes);
    }
}

/// The last words are written.
pub(super) fn finish() {
    if let Some(mirror) = MIRROR.get() {
        (mirror.finish)();
    }
}

/// Sends a line to the host command, and bytes as they are that the line announces; nothing of
/// another processor comes between.
pub fn control_with(line: &str, bytes: &[&[u8]]) {
    let _guard = LOCK.lock();
    if CONTROL_CHANNEL.load(Relaxed) {
        control_unlocked(line);
        bytes.iter().for_each(|part| CONTROL.write_all(part));
    }
}

/// True when the host command listens to [`control`]; else what matters goes to the console.
#[must_use]
pub fn has_control() -> bool {
    CONTROL_CHANNEL.load(Relaxed)
}

/// For the panic, when the lock may be held.
pub(super) fn write_unlocked(bytes: &[u8]) {
    if !SERIAL.load(Relaxed) {
        return;
    }
    for burst in bytes.chunks(FIFO_BYTES) {
        let ready = (0..WAIT_LIMIT).any(|_| LINE_STATUS.read8() & TRANSMITTER_EMPTY != 0);
        if !ready {
            return;
        }
        DATA.write_all(burst);
    }
}

/// Says where the console is.
pub(super) fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    let found = |found: &AtomicBool| if found.load(Relaxed) { "yes" } else { "no" };
    each("serial", format_args!("16550 at 0x3f8: {}", found(&SERIAL)));
    each("control", format_args!("debug console at 0xe9: {}", found(&CONTROL_CHANNEL)));
}

/// Takes typed bytes, up to `into.len()`; returns how many.
pub fn read(into: &mut [u8]) -> usize {
    if !SERIAL.load(Relaxed) {
        return 0;
    }
    let _guard = LOCK.lock();
    let mut count = 0;
    for slot in into {
        if LINE_STATUS.read8() & RECEIVED == 0 {
            break;
        }
        *slot = DATA.read8();
        count += 1;
    }
    count
}

/// Sends a line to the host command (`egg`), apart from the console.
pub fn control(line: &str) {
    let _guard = LOCK.lock();
    control_unlocked(line);
}

/// For the panic, when the lock may be held.
pub(super) fn control_unlocked(line: &str) {
    if CONTROL_CHANNEL.load(Relaxed) {
        CONTROL.write_all(line.as_bytes());
        CONTROL.write8(b'\n');
    }
}
