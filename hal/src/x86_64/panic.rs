//! The kernel's own failure: says what and where, then ends the machine.
//!
//! Addresses are printed raw and sent to the host command (`panic <message>`,
//! `frame <hexadecimal address>`), which knows the kernel's symbols.

use super::{console, paging, power};
use core::arch::asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const FRAMES: usize = 32;

static PANICKING: AtomicBool = AtomicBool::new(false);
/// Where an exception hit kernel code: its instruction and frame pointer, 0 when none did.
static EXCEPTION: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The panic that follows is about an exception at `instruction`: the trace starts there.
pub(super) fn note_exception(instruction: u64, frame_pointer: u64) {
    EXCEPTION[0].store(instruction, Relaxed);
    EXCEPTION[1].store(frame_pointer, Relaxed);
}

/// A line under construction; what does not fit is cut off.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 512], length: 0 }
    }

    fn text(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default())
                .unwrap_or_default(),
        }
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

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Relaxed) {
        power::fail();
    }
    let mut line = Line::new();
    let _ = write!(line, "{}", info.message());
    if let Some(place) = info.location() {
        let _ = write!(line, " ({}:{})", place.file(), place.line());
    }
    console::write_last(b"\r\neggos: kernel panic: ");
    console::write_last(line.text().as_bytes());
    console::write_last(b"\r\n");
    let mut control = Line::new();
    let _ = write!(control, "panic {}", line.text());
    console::control_unlocked(control.text());
    backtrace();
    console::finish();
    console::linger();
    power::fail()
}

fn print_frame(address: u64) {
    let mut line = Line::new();
    let _ = write!(line, "frame {address:#x}");
    console::control_unlocked(line.text());
    console::write_last(b"  ");
    console::write_last(line.text().as_bytes());
    console::write_last(b"\r\n");
}

/// Walks the frame pointers.
fn backtrace() {
    let mut frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nostack, nomem, preserves_flags)) };
    let [instruction, exception_frame] = [EXCEPTION[0].load(Relaxed), EXCEPTION[1].load(Relaxed)];
    if instruction != 0 {
        print_frame(instruction);
        frame = exception_frame;
    }
    for _ in 0..FRAMES {
        if !paging::in_kernel_data(frame) {
            return;
        }
        // SAFETY: the two words lie in the kernel's data, where its stacks are.
        let [next, address] = unsafe { (frame as *const [u64; 2]).read() };
        if !paging::in_kernel_text(address) {
            return;
        }
        print_frame(address);
        if next <= frame {
            return;
        }
        frame = next;
    }
}
