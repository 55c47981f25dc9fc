//! What stands on a machine's screen: QEMU's picture of it (PPM), read back with the font that it was
//! painted with. What a program writes on a serial line is painted by [`Emulator`] first.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use base::display::{Layout, Pairs, Surface};
use screen::{CELL_HEIGHT, CELL_WIDTH, Font, Glyph, Screen};

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
    width: usize,
    /// Red, green and blue of each pixel, row by row.
    pixels: Vec<u8>,
}

impl Picture {
    /// Reads a picture that is all text.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file)?;
        let (width, height, pixels) = pixels(&bytes).context("no picture")?;
        Ok(Self::of(width, height, pixels))
    }

    fn of(width: usize, height: usize, pixels: &[u8]) -> Self {
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
        Self { rows, width, pixels: pixels.to_vec() }
    }

    /// Stores the part with text as PNG.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let texts: Vec<String> = (0..self.rows.len()).map(|row| self.text(row)).collect();
        let rows = texts.iter().rposition(|text| !text.is_empty()).map_or(1, |last| last + 1);
        let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let (width, height) = (longest.max(1) * CELL_WIDTH, rows * CELL_HEIGHT);
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        let lines = self.pixels.chunks_exact(3 * self.width).take(height);
        let part: Vec<u8> = lines.flat_map(|line| &line[..3 * width]).copied().collect();
        let mut encoder = png::Encoder::new(fs::File::create(file)?, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        encoder.write_header()?.write_image_data(&part)?;
        Ok(())
    }

    /// The text of a QR code in it. `None`: there is none that can be read.
    pub(crate) fn code(&self) -> Option<String> {
        let (width, height) = self.size();
        let grey = |x: usize, y: usize| self.pixel(x, y).map_or(0, |colour| colour[1]);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
        image.detect_grids().iter().find_map(|grid| grid.decode().ok()).map(|(_, text)| text)
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.pixels.len() / (3 * self.width))
    }

    /// The colour of a pixel.
    pub(crate) fn pixel(&self, x: usize, y: usize) -> Option<Colour> {
        let at = 3 * (y * self.width + x);
        self.pixels.get(at..at + 3)?.try_into().ok()
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

/// A terminal at the end of a serial line.
pub(crate) struct Emulator {
    screen: Screen,
    picture: Memory,
    taken: usize,
}

#[derive(Clone)]
struct Memory {
    layout: Layout,
    pixels: Arc<Mutex<Vec<u8>>>,
}

impl Surface for Memory {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]) {
        let mut all = self.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        let at = 3 * (y * self.layout.width + x) as usize;
        let words = bits.iter().zip(pairs).flat_map(|(bits, pairs)| {
            [6, 4, 2, 0].map(|shift| pairs[usize::from(bits >> shift & 3)])
        });
        let pixels = words.flat_map(|word| [word as u32, (word >> 32) as u32]);
        let bytes = pixels.flat_map(|pixel| pixel.to_be_bytes().into_iter().skip(1));
        all.iter_mut().skip(at).zip(bytes).for_each(|(to, byte)| *to = byte);
    }

    // No picture is stored here.
    fn store(&self, _offset: u64, _words: &[u64]) {}
}

impl Emulator {
    pub(crate) fn new(rows: u16, columns: u16) -> Self {
        let (width, height) =
            (u32::from(columns) * CELL_WIDTH as u32, u32::from(rows) * CELL_HEIGHT as u32);
        let layout = Layout { width, height, pitch: 4 * width, shifts: [16, 8, 0] };
        let pixels = Arc::new(Mutex::new(vec![0; (3 * width * height) as usize]));
        let picture = Memory { layout, pixels };
        Self { screen: Screen::new(Arc::new(picture.clone()), 0, false), picture, taken: 0 }
    }

    /// Takes what has come since the last time, of all that has ever come; returns the terminal's
    /// answers.
    pub(crate) fn take(&mut self, all: &[u8]) -> Vec<u8> {
        self.screen.write(all.get(self.taken..).unwrap_or_default());
        self.taken = all.len();
        self.screen.take_answers()
    }

    /// What stands there.
    pub(crate) fn picture(&mut self) -> Picture {
        self.screen.refresh();
        let Layout { width, height, .. } = self.picture.layout;
        let pixels = self.picture.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        Picture::of(width as usize, height as usize, &pixels)
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
