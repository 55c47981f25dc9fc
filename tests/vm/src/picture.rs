//! What stands on a machine's screen: QEMU's picture of it (PPM), read back with the font that it was
//! painted with.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use screen::{CELL_HEIGHT, CELL_WIDTH, Font, Glyph};

/// A colour: red, green, blue.
pub(crate) type Colour = [u8; 3];

/// A cell of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// What stands there; U+FFFD: no character that is looked for.
    pub(crate) character: char,
    /// Its colour; that behind it when it has no pixel.
    pub(crate) front: Colour,
    /// The colour behind it.
    pub(crate) back: Colour,
}

/// The characters that are looked for, in the order that decides among those that look the same.
const KNOWN: &str = "┌─┬┐│├┼┤└┴┘═║╔╗╚╝╭╮╰╯░▒▓█▁▂▃▄▅▆▇▏▎▍▌▋▊▉▖▗▘▙▚▛▜▝▞▟⠁⠃⠇⡇⣿äßéж→←↑↓≤≥∞€…“”";

/// A picture, cell by cell.
pub(crate) struct Picture {
    /// Rows of cells.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Picture {
    /// Reads a picture that is all text.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file)?;
        let (width, height, pixels) = pixels(&bytes).context("no picture")?;
        let (font, mut known) = (Font::new(), HashMap::new());
        for character in (' '..='~').chain(KNOWN.chars()) {
            known.entry(font.glyph(character)).or_insert(character);
        }
        let colour = |x: usize, y: usize| -> Colour {
            let at = 3 * (y * width + x);
            [pixels[at], pixels[at + 1], pixels[at + 2]]
        };
        let cell = |row: usize, column: usize| {
            cell(&known, |x, y| colour(column * CELL_WIDTH + x, row * CELL_HEIGHT + y))
        };
        let rows = (0..height / CELL_HEIGHT)
            .map(|row| (0..width / CELL_WIDTH).map(|column| cell(row, column)).collect())
            .collect();
        Ok(Self { rows })
    }

    /// The text of a row, without the blanks at its end.
    pub(crate) fn text(&self, row: usize) -> String {
        self.padded(row).trim_end().to_owned()
    }

    fn padded(&self, row: usize) -> String {
        let row = self.rows.get(row).map(Vec::as_slice).unwrap_or_default();
        row.iter().map(|cell| cell.character).collect()
    }

    /// All rows up to the last that is not blank.
    pub(crate) fn all(&self) -> String {
        let rows: Vec<String> = (0..self.rows.len()).map(|row| self.text(row)).collect();
        rows.join("\n").trim_end().to_owned()
    }

    /// The first row with this text.
    pub(crate) fn find(&self, text: &str) -> Result<usize> {
        match (0..self.rows.len()).find(|row| self.padded(*row).contains(text)) {
            Some(row) => Ok(row),
            None => bail!("{text:?} is not on the screen:\n{}", self.all()),
        }
    }
}

/// Width, height and pixels of a PPM file (netpbm's ppm(5), as QEMU writes it).
fn pixels(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    if parts.next()? != b"P6" {
        return None;
    }
    let size = std::str::from_utf8(parts.next()?).ok()?;
    let (width, height) = size.split_once(' ')?;
    let (width, height): (usize, usize) = (width.parse().ok()?, height.parse().ok()?);
    let pixels = parts.nth(1)?;
    (pixels.len() >= 3 * width * height).then_some((width, height, pixels))
}

/// Reads a cell. The colour of its first pixel is the one behind, unless that makes no character.
fn cell(known: &HashMap<Glyph, char>, colour: impl Fn(usize, usize) -> Colour) -> Cell {
    let first = colour(0, 0);
    let (mut glyph, mut other) = ([0; CELL_HEIGHT], first);
    for (y, bits) in glyph.iter_mut().enumerate() {
        for x in 0..CELL_WIDTH {
            if colour(x, y) != first {
                *bits |= 0x80 >> x;
                other = colour(x, y);
            }
        }
    }
    if let Some(&character) = known.get(&glyph) {
        return Cell { character, front: other, back: first };
    }
    let inverse = glyph.map(|bits| !bits);
    let character = known.get(&inverse).copied().unwrap_or('\u{fffd}');
    Cell { character, front: first, back: other }
}
