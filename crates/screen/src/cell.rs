//! What a place on the screen holds.

bitflags::bitflags! {
    /// How a character looks, and what its cell is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Attributes: u16 {
        /// Bright.
        const BOLD = 1;
        /// Darker.
        const DIM = 1 << 1;
        /// With a line below.
        const UNDERLINE = 1 << 2;
        /// The colours change places.
        const REVERSE = 1 << 3;
        /// Not shown.
        const HIDDEN = 1 << 4;
        /// With a line through it.
        const STRIKE = 1 << 5;
        /// The right half of the character before.
        const RIGHT_HALF = 1 << 6;
    }
}

/// A colour as the program named it: that of text or of what is behind it (`default`), one of the 256, or
/// red, green and blue. In one word, for all cells are compared before they are painted: the upper byte
/// says which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Colour(u32);

impl Colour {
    const INDEXED: u8 = 1;
    const DIRECT: u8 = 2;

    /// One of the 256.
    #[must_use]
    pub const fn indexed(index: u8) -> Self {
        Self(u32::from_be_bytes([Self::INDEXED, 0, 0, index]))
    }

    /// Red, green, blue.
    #[must_use]
    pub const fn direct([red, green, blue]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([Self::DIRECT, red, green, blue]))
    }

    /// Red, green and blue as they are seen. `bright`: the first eight of the 256 are with light.
    fn seen(self, default: [u8; 3], bright: bool) -> [u8; 3] {
        match self.0.to_be_bytes() {
            [Self::INDEXED, .., index] if bright && index < 8 => indexed(index + 8),
            [Self::INDEXED, .., index] => indexed(index),
            [Self::DIRECT, colour @ ..] => colour,
            _ => default,
        }
    }
}

/// Linux's console colours (VGA), then those with light.
const BASIC: [[u8; 3]; 16] = [
    [0, 0, 0],
    [170, 0, 0],
    [0, 170, 0],
    [170, 85, 0],
    [0, 0, 170],
    [170, 0, 170],
    [0, 170, 170],
    [170, 170, 170],
    [85, 85, 85],
    [255, 85, 85],
    [85, 255, 85],
    [255, 255, 85],
    [85, 85, 255],
    [255, 85, 255],
    [85, 255, 255],
    [255, 255, 255],
];

/// xterm's 256 colours: the basic ones, a cube of six steps, a row of greys.
fn indexed(index: u8) -> [u8; 3] {
    const CUBE: u8 = 16;
    const GREYS: u8 = 232;
    let step = |level: u8| if level == 0 { 0 } else { 55 + 40 * level };
    match index {
        GREYS.. => [8 + 10 * (index - GREYS); 3],
        CUBE.. => {
            let index = index - CUBE;
            [step(index / 36), step(index / 6 % 6), step(index % 6)]
        }
        _ => BASIC.get(usize::from(index)).copied().unwrap_or_default(),
    }
}

/// How text is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Style {
    /// Colour of the character.
    pub foreground: Colour,
    /// Colour behind it.
    pub background: Colour,
    /// The rest.
    pub attributes: Attributes,
}

impl Style {
    /// The two colours as they are seen: the character's, and what is behind it.
    #[must_use]
    pub fn colours(&self) -> [[u8; 3]; 2] {
        const TEXT: [u8; 3] = [204, 204, 204];
        const BACK: [u8; 3] = [0, 0, 0];
        let has = |attribute| self.attributes.contains(attribute);
        let bold = has(Attributes::BOLD);
        let text = if bold { [255, 255, 255] } else { TEXT };
        let mut front = self.foreground.seen(text, bold);
        let mut back = self.background.seen(BACK, false);
        if has(Attributes::DIM) {
            front = front.map(|part| part / 2);
        }
        if has(Attributes::REVERSE) {
            core::mem::swap(&mut front, &mut back);
        }
        if has(Attributes::HIDDEN) {
            front = back;
        }
        [front, back]
    }

    /// What erasing leaves: the colour behind, and nothing else.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self { background: self.background, ..Self::default() }
    }
}

/// A place on the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The character; a space when there is none.
    pub character: char,
    /// How it is written.
    pub style: Style,
}

impl Cell {
    /// An empty one.
    #[must_use]
    pub const fn blank(style: Style) -> Self {
        Self { character: ' ', style }
    }

    /// True when all of it is the colour behind.
    #[must_use]
    pub fn shows_nothing(&self) -> bool {
        let lines = Attributes::UNDERLINE.union(Attributes::STRIKE);
        self.character == ' ' && !self.style.attributes.intersects(lines)
    }
}
