//! The last words of a kernel that fails, on the screen: without memory, locks or the terminal,
//! whose state nobody knows then.

use crate::font::{self, CELL_HEIGHT, CELL_WIDTH};
use crate::paint::{cells, pixel};
use alloc::sync::Arc;
use base::display::{GROUP_PIXELS, Layout, Pairs, Surface, pairs};
use base::sync::SpinLock;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use qrcodegen_no_heap::{Mask, QrCode, QrCodeEcc, Version};

const FRONT: [u8; 3] = [255, 255, 255];
const BACK: [u8; 3] = [128, 0, 0];
const WHITE: [u8; 3] = [255, 255, 255];
const BLACK: [u8; 3] = [0, 0, 0];

/// The largest QR code that is made, as a telephone reads it from a screen.
const LARGEST: Version = Version::new(20);
/// Bytes that it holds (ISO/IEC 18004, level L).
const CODE_BYTES: usize = 858;
/// Modules that stay white around it.
const QUIET: i32 = 4;

/// Writes ASCII from the screen's first row on, and stays at its last.
pub struct LastWords {
    surface: SpinLock<Arc<dyn Surface>>,
    /// Row * columns + column.
    place: AtomicUsize,
    /// What was written, for the QR code, and how much of it.
    said: [AtomicU8; CODE_BYTES],
    length: AtomicUsize,
}

impl LastWords {
    /// On this surface.
    #[must_use]
    pub fn new(surface: Arc<dyn Surface>) -> Self {
        Self {
            surface: SpinLock::new(surface),
            place: AtomicUsize::new(0),
            said: [const { AtomicU8::new(0) }; CODE_BYTES],
            length: AtomicUsize::new(0),
        }
    }

    /// On another surface from now on.
    pub fn move_to(&self, surface: Arc<dyn Surface>) {
        // What it was on ends outside of the lock.
        let _old = core::mem::replace(&mut *self.surface.lock(), surface);
    }

    /// What to write on, unless somebody who never comes back has it.
    fn surface(&self) -> Option<Arc<dyn Surface>> {
        const LOOKS: u32 = 10_000;
        (0..LOOKS).find_map(|_| {
            core::hint::spin_loop();
            self.surface.try_lock().map(|surface| Arc::clone(&surface))
        })
    }

    /// Writes.
    pub fn write(&self, bytes: &[u8]) {
        self.keep(bytes);
        if let Some(surface) = self.surface() {
            self.show(bytes, &*surface);
            surface.flush_last();
        }
    }

    fn show(&self, bytes: &[u8], surface: &dyn Surface) {
        let layout = surface.layout();
        let colours = pairs([FRONT, BACK].map(|colour| pixel(&layout, colour)));
        let cell = |row, column, byte| cell(surface, &colours, (row, column), byte);
        let (rows, columns) = cells(&layout);
        for &byte in bytes {
            let place = self.place.load(Relaxed);
            let (row, column) = (place / columns, place % columns);
            if row >= rows {
                return;
            }
            let next = match byte {
                b'\n' => {
                    (column..columns).for_each(|column| cell(row, column, b' '));
                    (row + 1) * columns
                }
                b'\r' => place,
                byte => {
                    cell(row, column, if byte.is_ascii_graphic() { byte } else { b' ' });
                    place + 1
                }
            };
            self.place.store(next, Relaxed);
        }
    }

    fn keep(&self, bytes: &[u8]) {
        for &byte in bytes.iter().filter(|byte| **byte != b'\r') {
            let at = self.length.load(Relaxed);
            if let Some(slot) = self.said.get(at) {
                slot.store(byte, Relaxed);
                self.length.store(at + 1, Relaxed);
            }
        }
    }

    /// Nothing follows: shows what was written as a QR code, too, in the lower right corner, if there
    /// is room.
    pub fn finish(&self) {
        const ROOM: usize = LARGEST.buffer_len();
        let (mut text, mut buffer) = ([0; ROOM], [0; ROOM]);
        let length = self.length.load(Relaxed);
        for (to, from) in text.iter_mut().zip(self.said.iter().take(length)) {
            *to = from.load(Relaxed);
        }
        let (level, smallest) = (QrCodeEcc::Low, Version::MIN);
        // Choosing among the masks, and better levels, would take more code than it is worth.
        let (mask, better) = (Some(Mask::new(0)), false);
        let (text, buffer) = (&mut text, &mut buffer);
        let code =
            QrCode::encode_binary(text, length, buffer, level, smallest, LARGEST, mask, better);
        if let (Ok(code), Some(surface)) = (code, self.surface()) {
            paint(&code, &*surface);
            surface.flush_last();
        }
    }
}

fn paint(code: &QrCode<'_>, surface: &dyn Surface) {
    const GROUP: u32 = GROUP_PIXELS;
    const SCALES: [u32; 4] = [5, 4, 3, 2];
    // Positive, at most 105.
    let modules = (code.size() + 2 * QUIET) as u32;
    let layout = surface.layout();
    let Layout { width, height, .. } = layout;
    let fits = |scale: &u32| modules * scale <= height * 3 / 5 && modules * scale <= width / 2;
    let Some(scale) = SCALES.into_iter().find(fits) else { return };
    let side = (modules * scale).next_multiple_of(GROUP);
    let (left, top) = ((width - side) / GROUP * GROUP, height - side);
    let module = |at: u32| (at / scale) as i32 - QUIET;
    let colours = pairs([BLACK, WHITE].map(|colour| pixel(&layout, colour)));
    for y in 0..side {
        for group in 0..side / GROUP {
            let bits = (0..GROUP).fold(0, |bits, x| {
                bits << 1 | u8::from(code.get_module(module(group * GROUP + x), module(y)))
            });
            surface.put(left + group * GROUP, top + y, &[bits], &[colours]);
        }
    }
}

fn cell(surface: &dyn Surface, colours: &Pairs, (row, column): (usize, usize), byte: u8) {
    let (x, y) = ((column * CELL_WIDTH) as u32, (row * CELL_HEIGHT) as u32);
    for (line, bits) in (0..).zip(font::ascii(byte)) {
        surface.put(x, y + line, &[bits], &[*colours]);
    }
}
