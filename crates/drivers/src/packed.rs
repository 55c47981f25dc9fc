//! Pictures whose pixels are not 32 bits with eight of each colour: 15, 16 or 24 bits, as VBE has them, or
//! others. Whoever paints sees the usual pixels, which are converted on their way.

use crate::display::{MOST_PIXELS, SHIFTS, sane_size};
use base::PhysAddr;
use base::display::{GROUP_PIXELS, Layout, Pairs, Surface, group};
use hal::mmio::MmioWindow;

/// Where red, green and blue are in a pixel: the lowest bit, and how many there are.
pub type Colours = [(u8, u8); 3];

/// A picture of such pixels.
pub struct PackedFrame {
    window: MmioWindow,
    /// What painters see.
    layout: Layout,
    /// Bytes from one row to the next, and of a pixel.
    pitch: usize,
    pixel_bytes: usize,
    colours: Colours,
}

/// Pixels beside each other in a word of those that are stored.
const PAIR: usize = 2;

impl PackedFrame {
    /// The picture there, which firmware or a loader has set up: of so many bits a pixel, `layout` in its
    /// own size and pitch. `None` when it makes no sense.
    #[must_use]
    pub fn of(address: PhysAddr, layout: Layout, bits: u8, colours: Colours) -> Option<Self> {
        // Words are two pixels.
        let width = layout.width / PAIR as u32 * PAIR as u32;
        let Layout { height, pitch, .. } = layout;
        let pixel_bytes = usize::from(bits.div_ceil(8));
        let in_pixel = |&(shift, size): &(u8, u8)| {
            (1..=16).contains(&size) && u16::from(shift) + u16::from(size) <= u16::from(bits)
        };
        let sane = sane_size(width, height)
            && (2..=4).contains(&pixel_bytes)
            && colours.iter().all(in_pixel)
            && (width * u32::from(bits.div_ceil(8))..=MOST_PIXELS * 8).contains(&pitch)
            && pitch.is_multiple_of(4)
            && address.0.is_multiple_of(8);
        let pitch = pitch as usize;
        let window = sane.then(|| MmioWindow::map_picture(address, pitch * height as usize))??;
        let layout = Layout { width, height, pitch: width * 4, shifts: SHIFTS };
        Some(Self { window, layout, pitch, pixel_bytes, colours })
    }

    fn converted(&self, pixel: u32) -> u32 {
        self.colours.iter().zip(SHIFTS).fold(0, |all, (&(shift, size), from)| {
            let part = pixel >> from & 0xff;
            let part = if size <= 8 { part >> (8 - size) } else { part << (size - 8) };
            all | part << shift
        })
    }

    /// Stores pairs of pixels from a place on, row after row.
    fn pairs(&self, x: usize, y: usize, words: impl Iterator<Item = u64>) {
        let Layout { width, height, .. } = self.layout;
        let (mut x, mut y) = (x, y);
        // Most pairs are as those before them.
        let (mut last, mut pair) = (0, [self.converted(0); PAIR]);
        for word in words {
            if y >= height as usize {
                return;
            }
            if word != last {
                last = word;
                pair = [word as u32, (word >> 32) as u32].map(|pixel| self.converted(pixel));
            }
            self.pair(y * self.pitch + x * self.pixel_bytes, pair);
            x += PAIR;
            if x >= width as usize {
                (x, y) = (0, y + 1);
            }
        }
    }

    /// Stores one at an offset, which is a multiple of two pixels.
    fn pair(&self, offset: usize, [left, right]: [u32; PAIR]) {
        match self.pixel_bytes {
            2 => self.window.write_u32(offset, right << 16 | left & 0xffff),
            3 => {
                let bytes = u64::from(right) << 24 | u64::from(left & 0xff_ffff);
                for part in 0..3 {
                    self.window.write_u16(offset + 2 * part, (bytes >> (16 * part)) as u16);
                }
            }
            _ => {
                self.window.write_u32(offset, left);
                self.window.write_u32(offset + 4, right);
            }
        }
    }
}

impl Surface for PackedFrame {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]) {
        let Layout { width, height, .. } = self.layout;
        if x >= width || y >= height {
            return;
        }
        let room = ((width - x) / GROUP_PIXELS) as usize;
        let groups = bits.iter().zip(pairs).take(room);
        let words = groups.flat_map(|(bits, pairs)| group(*bits, pairs));
        self.pairs(x as usize / PAIR * PAIR, y as usize, words);
    }

    fn store(&self, offset: u64, words: &[u64]) {
        let pitch = u64::from(self.layout.pitch);
        let (row, inside) = (offset / pitch, offset % pitch);
        if row < u64::from(self.layout.height) && offset.is_multiple_of(8) {
            // A row has some thousand pixels, four bytes each.
            self.pairs(inside as usize / 4, row as usize, words.iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::display::pairs;
    use std::sync::{Arc, Mutex};
    use std::vec;
    use std::vec::Vec;

    const AT: PhysAddr = PhysAddr(0xe000_0000);
    /// 565, as VBE has it.
    const HIGH: Colours = [(11, 5), (5, 6), (0, 5)];
    const TRUE: Colours = [(16, 8), (8, 8), (0, 8)];

    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl hal::mmio::Model for Memory {
        fn read(&mut self, _offset: usize, _bytes: usize) -> u64 {
            panic!("reading a screen is slow");
        }
        fn write(&mut self, offset: usize, bytes: usize, value: u64) {
            assert!(offset.is_multiple_of(bytes));
            self.0.lock().unwrap()[offset..][..bytes]
                .copy_from_slice(&value.to_le_bytes()[..bytes]);
        }
    }

    fn frame(
        width: u32,
        pitch: u32,
        bits: u8,
        colours: Colours,
    ) -> (PackedFrame, Arc<Mutex<Vec<u8>>>) {
        let bytes = Arc::new(Mutex::new(vec![0x77; 64 * pitch as usize]));
        let model = Arc::new(Mutex::new(Memory(Arc::clone(&bytes))));
        hal::sim::place(AT, MmioWindow::of_model(model, 64 * pitch as usize));
        let layout = Layout { width, height: 64, pitch, shifts: [0; 3] };
        (PackedFrame::of(AT, layout, bits, colours).unwrap(), bytes)
    }

    fn word(left: u32, right: u32) -> u64 {
        u64::from(right) << 32 | u64::from(left)
    }

    #[test]
    fn sixteen_bits() {
        // Behind each row there is something.
        let (frame, bytes) = frame(80, 168, 16, HIGH);
        let seen = |x: usize, y: usize| {
            let all = bytes.lock().unwrap();
            u16::from_le_bytes([all[168 * y + 2 * x], all[168 * y + 2 * x + 1]])
        };
        assert_eq!(
            frame.layout(),
            Layout { width: 80, height: 64, pitch: 320, shifts: [16, 8, 0] }
        );
        frame.put(8, 2, &[0b1100_0001], &[pairs([0xff_0000, 0x00_00ff])]);
        assert_eq!([8, 9, 10, 15].map(|x| seen(x, 2)), [0xf800, 0xf800, 0x1f, 0xf800]);
        assert_eq!((seen(7, 2), seen(16, 2)), (0x7777, 0x7777));
        // Over the end of a row; black, which comes first, too.
        frame.store(320 * 4 - 8, &[0, word(0x00_ff00, 0x80_8080), word(0x00_ff00, 0x80_8080)]);
        assert_eq!([77, 78, 79, 80].map(|x| seen(x, 3)), [0x7777, 0, 0, 0x7777]);
        assert_eq!([0, 1, 2, 3, 4].map(|x| seen(x, 4)), [0x7e0, 0x8410, 0x7e0, 0x8410, 0x7777]);
        // What is outside is left out.
        frame.store(320 * 64 - 8, &[0; 3]);
        frame.store(320 * 64, &[0]);
        frame.store(u64::MAX - 7, &[0]);
        frame.put(80, 0, &[0xff], &[pairs([0; 2])]);
        frame.put(0, 64, &[0xff], &[pairs([0; 2])]);
        frame.put(72, 5, &[0xff; 3], &[pairs([0; 2]); 3]);
        assert_eq!([79, 80].map(|x| seen(x, 5)), [0, 0x7777]);
        assert_eq!(seen(0, 6), 0x7777);
    }

    #[test]
    fn twenty_four_bits_and_strange_ones() {
        let (frame, bytes) = frame(81, 244, 24, TRUE);
        assert_eq!(frame.layout().width, 80);
        frame.store(320 + 8, &[word(0x11_2233, 0x44_5566)]);
        assert_eq!(bytes.lock().unwrap()[244 + 6..][..6], [0x33, 0x22, 0x11, 0x66, 0x55, 0x44]);
        assert_eq!(bytes.lock().unwrap()[244 + 12], 0x77);
        drop(frame);
        // Ten bits a colour.
        let (frame, bytes) = self::frame(80, 320, 32, [(20, 10), (10, 10), (0, 10)]);
        frame.store(0, &[word(0xff_0001, 0x00_8000)]);
        let left = 0xff << 22 | 1 << 2;
        let want: [[u8; 4]; 2] = [u32::to_le_bytes(left), u32::to_le_bytes(0x80 << 12)];
        assert_eq!(bytes.lock().unwrap()[..8], want.concat());
    }

    #[test]
    fn nonsense_is_no_picture() {
        let window = MmioWindow::of_model(Arc::new(Mutex::new(Memory(Arc::default()))), 1 << 20);
        hal::sim::place(AT, window);
        let layout = Layout { width: 80, height: 64, pitch: 160, shifts: [0; 3] };
        let of = |at: u64, layout, bits, colours| {
            PackedFrame::of(PhysAddr(at), layout, bits, colours).is_some()
        };
        assert!(of(AT.0, layout, 16, HIGH) && of(AT.0, layout, 15, [(10, 5), (5, 5), (0, 5)]));
        assert!(!of(AT.0 + 2, layout, 16, HIGH));
        assert!(!of(AT.0, Layout { width: 82, ..layout }, 16, HIGH));
        assert!(!of(AT.0, Layout { width: 8, ..layout }, 16, HIGH));
        assert!(!of(AT.0, Layout { height: u32::MAX, ..layout }, 16, HIGH));
        assert!(!of(AT.0, Layout { width: u32::MAX, pitch: u32::MAX - 3, ..layout }, 16, HIGH));
        assert!(!of(AT.0, Layout { pitch: 162, ..layout }, 16, HIGH));
        for bits in [0, 8, 14, 33, 64, 255] {
            assert!(!of(AT.0, layout, bits, HIGH), "{bits}");
        }
        for colour in [(16, 1), (0, 0), (0, 17), (255, 255)] {
            assert!(!of(AT.0, layout, 16, [HIGH[0], colour, HIGH[2]]), "{colour:?}");
        }
    }
}
