//! The console: a buffer that the test reads and fills.

use std::cell::RefCell;
use std::collections::VecDeque;

thread_local! {
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static INPUT: RefCell<VecDeque<u8>> = const { RefCell::new(VecDeque::new()) };
}

/// Writes bytes as they are.
pub fn write(bytes: &[u8]) {
    OUTPUT.with_borrow_mut(|output| output.extend_from_slice(bytes));
}

/// Takes typed bytes, up to `into.len()`; returns how many.
pub fn read(into: &mut [u8]) -> usize {
    INPUT.with_borrow_mut(|input| {
        let count = into.len().min(input.len());
        for (slot, byte) in into.iter_mut().zip(input.drain(..count)) {
            *slot = byte;
        }
        count
    })
}

/// Sends a line to the host command (`egg`), apart from the console.
pub fn control(line: &str) {
    OUTPUT.with_borrow_mut(|output| {
        output.extend_from_slice(format!("\u{1}{line}\n").as_bytes());
    });
}

/// Sends a line to the host command, and bytes as they are that the line announces; nothing of
/// another processor comes between.
pub fn control_with(line: &str, bytes: &[&[u8]]) {
    control(line);
    bytes.iter().for_each(|part| write(part));
}

/// True when the host command listens to [`control`]; else what matters goes to the console.
#[must_use]
pub fn has_control() -> bool {
    true
}

pub(super) fn take_output() -> Vec<u8> {
    OUTPUT.take()
}

pub(super) fn type_input(bytes: &[u8]) {
    INPUT.with_borrow_mut(|input| input.extend(bytes));
}
