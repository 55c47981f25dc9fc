//! The port between what paints and whatever shows it: a screen, or a test.

use alloc::sync::Arc;

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

/// Pixels in a row that are put together: one byte says which of two colours each has, the highest bit
/// of the leftmost.
pub const GROUP_PIXELS: u32 = 8;

/// Two colours as two pixels beside each other, the left one in the lower half: for both bits clear,
/// for 01, 10 and 11.
pub type Pairs = [u64; 4];

/// The pairs for two pixels: that of a set bit, and of a clear one.
#[must_use]
pub fn pairs([set, clear]: [u32; 2]) -> Pairs {
    let pair = |left: u32, right: u32| u64::from(right) << 32 | u64::from(left);
    [pair(clear, clear), pair(clear, set), pair(set, clear), pair(set, set)]
}

/// The pixels of a group, two a word: its bits, the first the uppermost, in its colours.
#[inline]
#[must_use]
pub fn group(bits: u8, pairs: &Pairs) -> [u64; 4] {
    // Most bytes are 0: between letters, above and below them.
    match bits {
        0 => [pairs[0]; 4],
        bits => [6, 4, 2, 0].map(|shift| pairs[usize::from(bits >> shift & 3)]),
    }
}

/// A picture that can only be written: reading a screen's memory is slow.
pub trait Surface: Send + Sync {
    /// Where its pixels lie.
    fn layout(&self) -> Layout;

    /// Stores groups of pixels from `x` on, a multiple of their length, in the row `y`: for each its
    /// bits and its colours. What lies outside is dropped.
    fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]);

    /// Stores two pixels a word from an offset in bytes on, a multiple of 8. What lies outside is
    /// dropped.
    fn store(&self, offset: u64, words: &[u64]);

    /// Lets be seen what was stored before, where storing is not enough. Never waits for the screen: false
    /// when it is still busy with what came before, and then this must be called again, a frame later or so.
    fn flush(&self) -> bool {
        true
    }

    /// The same of a kernel that fails: without memory, whoever holds which locks, and waiting for the screen
    /// a moment at most.
    fn flush_last(&self) {}

    /// The surface that takes this one's place, black, once the screen has another size. `None`: it has not.
    /// To be asked when the screen's interrupt has come. What is stored here is not seen any more afterwards.
    fn successor(&self) -> Option<Arc<dyn Surface>> {
        None
    }
}
