//! The kernel's own failure: says what and where, to the host command and on the console, and ends the
//! process. It may happen anywhere, also in the allocator: nothing here allocates or waits for a lock.

use super::{console, power};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Arguments, Write};
use std::panic::PanicHookInfo;

/// Has every panic, on whatever thread, end the machine as a kernel failure.
pub(super) fn install() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            eprintln!("{trace}");
        }
        let text = info.payload_as_str().unwrap_or("no message");
        match info.location() {
            Some(place) => end(format_args!("{text} ({}:{})", place.file(), place.line())),
            None => end(format_args!("{text}")),
        }
    }));
}

/// A line under construction; what does not fit is cut off.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    fn of(problem: Arguments<'_>) -> Self {
        let mut line = Self { bytes: [0; 512], length: 0 };
        // It never fails.
        let _ = line.write_fmt(problem);
        line
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // One line, whatever the message is.
            let byte = if byte == b'\n' || byte == b'\r' { b' ' } else { byte };
            if let Some(slot) = self.bytes.get_mut(self.length) {
                *slot = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Tells and ends.
pub(super) fn end(problem: Arguments<'_>) -> ! {
    let line = Line::of(problem);
    for part in [b"\r\neggos: kernel panic: ", line.bytes(), b"\r\n"] {
        console::write_unlocked(part);
    }
    console::control_unlocked(b"panic ");
    console::control_unlocked(line.bytes());
    console::control_unlocked(b"\n");
    power::off(false)
}
