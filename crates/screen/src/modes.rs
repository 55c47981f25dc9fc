//! What programs switch on and off.

bitflags::bitflags! {
    /// Modes (ECMA-48, and DEC's private ones).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Modes: u16 {
        /// Characters push others to the right (IRM).
        const INSERT = 1;
        /// Cursor keys send what applications want (DECCKM).
        const CURSOR_KEYS = 1 << 1;
        /// Rows count from the top of the region (DECOM).
        const ORIGIN = 1 << 2;
        /// Writing goes on in the next row (DECAWM).
        const WRAP = 1 << 3;
        /// The cursor is seen (DECTCEM).
        const CURSOR = 1 << 4;
        /// A line feed goes to the first column too (LNM).
        const NEW_LINE = 1 << 5;
    }
}

/// Modes by their numbers: DEC's, then ECMA's.
const PRIVATE: &[(u16, Modes)] =
    &[(1, Modes::CURSOR_KEYS), (6, Modes::ORIGIN), (7, Modes::WRAP), (25, Modes::CURSOR)];
const STANDARD: &[(u16, Modes)] = &[(4, Modes::INSERT), (20, Modes::NEW_LINE)];

impl Modes {
    /// The mode with a number; empty when it means nothing here.
    pub(crate) fn numbered(private: bool, number: u16) -> Self {
        let table = if private { PRIVATE } else { STANDARD };
        table.iter().find(|row| row.0 == number).map_or(Self::empty(), |row| row.1)
    }

    /// As after a reset.
    pub(crate) fn initial() -> Self {
        Self::WRAP | Self::CURSOR
    }
}
