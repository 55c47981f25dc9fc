//! The font: Spleen 8x16 (Frederic Cambus, BSD 2-clause), which is in the format PSF 1 (Linux,
//! kbd's psf.h): 512 glyphs, and for each the characters that it shows. Blocks, quadrants and
//! Braille, of which it lacks most, are computed.

use alloc::vec::Vec;

/// Pixels of a cell from left to right.
pub const CELL_WIDTH: usize = 8;
/// Pixels of a cell from top to bottom.
pub const CELL_HEIGHT: usize = 16;

/// The rows of a glyph; the highest bit is the leftmost pixel.
pub type Glyph = [u8; CELL_HEIGHT];

const HEADER_BYTES: usize = 4;
const GLYPHS: usize = 512;
const REPLACEMENT: char = '\u{fffd}';

/// A font that can find its glyphs.
pub struct Font {
    /// Characters and the glyphs that show them, sorted.
    map: Vec<(u16, u16)>,
}

impl Default for Font {
    fn default() -> Self {
        Self::new()
    }
}

impl Font {
    /// Reads the font's table.
    #[must_use]
    pub fn new() -> Self {
        const END: u16 = 0xffff;
        /// What follows are sequences, of which there are none here.
        const SEQUENCE: u16 = 0xfffe;
        let table = spleen_font::FONT_8X16.get(HEADER_BYTES + GLYPHS * CELL_HEIGHT..);
        let (mut map, mut glyph) = (Vec::with_capacity(GLYPHS * 3 / 2), 0);
        for word in table.unwrap_or_default().chunks_exact(2) {
            let word = u16::from_le_bytes([word[0], word[1]]);
            match word {
                END => glyph += 1,
                SEQUENCE => {}
                character => map.push((character, glyph)),
            }
        }
        base::sort(&mut map);
        Self { map }
    }

    /// The glyph for a character, ASCII without a search; that of U+FFFD when there is none.
    #[must_use]
    pub fn glyph(&self, character: char) -> Glyph {
        if (' '..='~').contains(&character) {
            return ascii(character as u8);
        }
        self.find(character)
            .or_else(|| computed(character))
            .or_else(|| self.find(REPLACEMENT))
            .unwrap_or([0x55; CELL_HEIGHT])
    }

    fn find(&self, character: char) -> Option<Glyph> {
        let wanted = u16::try_from(u32::from(character)).ok()?;
        let at = self.map.binary_search_by_key(&wanted, |row| row.0).ok()?;
        ascii_independent(self.map.get(at)?.1)
    }
}

fn ascii_independent(glyph: u16) -> Option<Glyph> {
    let at = HEADER_BYTES + usize::from(glyph) * CELL_HEIGHT;
    spleen_font::FONT_8X16.get(at..at + CELL_HEIGHT)?.try_into().ok()
}

/// The glyph of an ASCII character without the table: for a kernel that fails. In this font they
/// stand at their own numbers.
pub(crate) fn ascii(byte: u8) -> Glyph {
    ascii_independent(u16::from(byte)).unwrap_or_default()
}

/// Block elements (U+2580) and Braille (U+2800), by their systems.
fn computed(character: char) -> Option<Glyph> {
    let code = u32::from(character);
    let mut glyph = [0; CELL_HEIGHT];
    match code {
        // Lower eighths; the upper half stands before them.
        0x2581..=0x2588 => {
            let rows = (code as usize - 0x2580) * CELL_HEIGHT / 8;
            glyph.iter_mut().rev().take(rows).for_each(|row| *row = 0xff);
        }
        // Left eighths, from seven down to one.
        0x2589..=0x258f => glyph.fill(0xff << (code - 0x2588)),
        0x2594 => glyph[..CELL_HEIGHT / 8].fill(0xff),
        0x2595 => glyph.fill(1),
        0x2596..=0x259f => {
            // Upper left, upper right, lower left, lower right.
            const QUADRANTS: [u8; 10] = [2, 1, 8, 11, 9, 14, 13, 4, 6, 7];
            let quadrants = QUADRANTS.get(code as usize - 0x2596)?;
            for (at, row) in glyph.iter_mut().enumerate() {
                let pair = if at < CELL_HEIGHT / 2 { quadrants >> 2 } else { quadrants & 3 };
                *row = [0, 0x0f, 0xf0, 0xff].get(usize::from(pair)).copied()?;
            }
        }
        0x2800..=0x28ff => {
            // Dots 1 to 3 and 7 on the left, 4 to 6 and 8 on the right.
            const DOTS: [(usize, u8); 8] =
                [(0, 0x60), (1, 0x60), (2, 0x60), (0, 6), (1, 6), (2, 6), (3, 0x60), (3, 6)];
            for (dot, (line, bits)) in DOTS.into_iter().enumerate() {
                if code >> dot & 1 != 0 {
                    glyph.iter_mut().skip(4 * line + 1).take(2).for_each(|row| *row |= bits);
                }
            }
        }
        _ => return None,
    }
    Some(glyph)
}
