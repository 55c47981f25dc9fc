//! The port between what paints and whatever shows it: a screen, or a test.

/// Where the pixels of a picture lie: 32 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from a row to the next, a multiple of 4.
    pub pitch: u32,
    /// The lowest bit of red, green and blue within a pixel; each has eight.
    pub shifts: [u8; 3],
}

/// A picture that can only be written: reading a screen's memory is slow.
pub trait Surface: Send + Sync {
    /// Where its pixels lie.
    fn layout(&self) -> Layout;

    /// Stores pixels from `x` on in the row `y`. What lies outside is dropped.
    fn put(&self, x: u32, y: u32, pixels: &[u32]);
}
