//! The console: standard input and output; and the control channel, a file descriptor of the host
//! command.

use super::irq::{self, Irq};
use super::trap;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// With this much typed and not taken, no more is read from standard input.
const INPUT_BYTES: usize = 64 * 1024;

static CONTROL: OnceLock<File> = OnceLock::new();
/// Standard output, without the library's lock and buffer: a failing kernel writes too.
static OUTPUT: OnceLock<File> = OnceLock::new();
/// Held while something is written.
static LOCK: Mutex<()> = Mutex::new(());
static INPUT: Mutex<VecDeque<u8>> = Mutex::new(VecDeque::new());
static ROOM: Condvar = Condvar::new();
static INTERRUPT: OnceLock<Irq> = OnceLock::new();

fn input() -> MutexGuard<'static, VecDeque<u8>> {
    INPUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines for the host command go to `control`; what comes on standard input raises an interrupt.
pub(super) fn init(control: Option<File>) -> std::io::Result<()> {
    let _ = OUTPUT.set(File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    if let Some(control) = control {
        let _ = CONTROL.set(control);
    }
    if let Some(irq) = irq::allocate() {
        let _ = INTERRUPT.set(irq);
        let thread = std::thread::Builder::new().name("console".into());
        trap::with_signals_blocked(|| thread.spawn(move || follow(irq)))?;
    }
    Ok(())
}

/// Reads standard input to its end.
fn follow(irq: Irq) {
    let mut bytes = [0; 4096];
    loop {
        match std::io::stdin().lock().read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                let mut input = ROOM
                    .wait_while(input(), |input| input.len() >= INPUT_BYTES)
                    .unwrap_or_else(PoisonError::into_inner);
                input.extend(bytes.get(..count).unwrap_or_default());
                drop(input);
                irq::raise(irq);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The source that fires when bytes can be read.
#[must_use]
pub fn irq() -> Option<Irq> {
    INTERRUPT.get().copied()
}

/// Writes bytes as they are.
pub fn write(bytes: &[u8]) {
    let _guard = LOCK.lock();
    write_unlocked(bytes);
}

/// For the panic, when the lock may be held.
pub(super) fn write_unlocked(bytes: &[u8]) {
    if let Some(mut output) = OUTPUT.get() {
        // Nobody is there to be told.
        let _ = output.write_all(bytes);
    }
}

/// Takes typed bytes, up to `into.len()`; returns how many.
pub fn read(into: &mut [u8]) -> usize {
    let mut input = input();
    let count = into.len().min(input.len());
    for (slot, byte) in into.iter_mut().zip(input.drain(..count)) {
        *slot = byte;
    }
    drop(input);
    ROOM.notify_one();
    count
}

/// Sends a line to the host command (`egg`), apart from the console.
pub fn control(line: &str) {
    control_with(line, &[]);
}

/// Sends a line to the host command, and bytes as they are that the line announces; nothing of
/// another processor comes between.
pub fn control_with(line: &str, bytes: &[&[u8]]) {
    let _guard = LOCK.lock();
    control_unlocked(line.as_bytes());
    control_unlocked(b"\n");
    bytes.iter().for_each(|part| control_unlocked(part));
}

/// For the panic, when the lock may be held.
pub(super) fn control_unlocked(bytes: &[u8]) {
    if let Some(mut control) = CONTROL.get() {
        // Nobody is there to be told.
        let _ = control.write_all(bytes);
    }
}

/// True when the host command listens to [`control`]; else what matters goes to the console.
#[must_use]
pub fn has_control() -> bool {
    CONTROL.get().is_some()
}
