//! termios: the settings of a terminal.

use core::time::Duration;

bitflags::bitflags! {
    /// `c_iflag`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct InputFlags: u32 {
        /// Drop carriage returns.
        const IGNCR = 0o200;
        /// Carriage return becomes newline.
        const ICRNL = 0o400;
        /// Newline becomes carriage return.
        const INLCR = 0o100;
        /// ^S and ^Q stop and start output (here: they are swallowed).
        const IXON = 0o2_000;
        /// Input is UTF-8: erasing takes whole characters.
        const IUTF8 = 0o40_000;
        const _ = !0;
    }

    /// `c_oflag`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct OutputFlags: u32 {
        /// Any processing at all.
        const OPOST = 1;
        /// Newline becomes carriage return and newline.
        const ONLCR = 4;
        const _ = !0;
    }

    /// `c_lflag`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LocalFlags: u32 {
        /// ^C, ^\ and ^Z send signals.
        const ISIG = 0o1;
        /// Lines, with editing.
        const ICANON = 0o2;
        /// Echo.
        const ECHO = 0o10;
        /// Erasing is shown.
        const ECHOE = 0o20;
        /// Newline is echoed even without `ECHO`.
        const ECHONL = 0o100;
        /// Signals do not flush the input.
        const NOFLSH = 0o200;
        /// Control characters are echoed as ^X.
        const ECHOCTL = 0o1_000;
        /// ^W and ^V.
        const IEXTEN = 0o100_000;
        const _ = !0;
    }
}

/// Indices into `c_cc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Interrupt = 0,
    Quit = 1,
    Erase = 2,
    Kill = 3,
    EndOfFile = 4,
    Time = 5,
    Minimum = 6,
    Start = 8,
    Stop = 9,
    Suspend = 10,
    EndOfLine = 11,
    WordErase = 14,
    LiteralNext = 15,
    EndOfLine2 = 16,
}

/// `struct termios2` of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Input flags.
    pub input: InputFlags,
    /// Output flags.
    pub output: OutputFlags,
    /// Speed, size and parity; kept for the program.
    pub control: u32,
    /// Local flags.
    pub local: LocalFlags,
    line: u8,
    keys: [u8; 19],
    input_speed: u32,
    output_speed: u32,
}

impl Default for Settings {
    /// Linux's `tty_std_termios` at 38400 baud.
    fn default() -> Self {
        Self {
            input: InputFlags::from_bits_retain(0o2_400),
            output: OutputFlags::from_bits_retain(0o5),
            control: 0o2_277,
            local: LocalFlags::from_bits_retain(0o105_073),
            line: 0,
            keys: [
                3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0x0f, 0x17, 0x16, 0, 0,
                0,
            ],
            input_speed: 38_400,
            output_speed: 38_400,
        }
    }
}

impl Settings {
    /// Bytes of `struct termios`.
    pub const BYTES: usize = 36;
    /// Bytes of `struct termios2`.
    pub const BYTES2: usize = 44;

    /// True when `byte` is the control character `key` (0 switches one off).
    pub(super) fn is(&self, byte: u8, key: Key) -> bool {
        byte != 0 && self.keys.get(key as usize) == Some(&byte)
    }

    /// True when ^S stops the output and ^Q starts it, as packet mode tells.
    pub(super) fn stops(&self) -> bool {
        self.input.contains(InputFlags::IXON)
            && self.is(0x13, Key::Stop)
            && self.is(0x11, Key::Start)
    }

    /// The least number of bytes that a read in raw mode waits for.
    pub(super) fn minimum(&self) -> usize {
        usize::from(self.keys.get(Key::Minimum as usize).copied().unwrap_or(1))
    }

    /// How long a read in raw mode waits: from its start without a least number of bytes, else from
    /// the last byte. Zero: for ever.
    pub(super) fn time(&self) -> Duration {
        let tenths = self.keys.get(Key::Time as usize).copied().unwrap_or(0);
        Duration::from_millis(100 * u64::from(tenths))
    }

    /// The structure as bytes; `struct termios` is its first part.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES2] {
        let mut bytes = [0; Self::BYTES2];
        let words = [self.input.bits(), self.output.bits(), self.control, self.local.bits()];
        for (slot, word) in bytes.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes[16] = self.line;
        bytes[17..36].copy_from_slice(&self.keys);
        bytes[36..40].copy_from_slice(&self.input_speed.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.output_speed.to_le_bytes());
        bytes
    }

    /// The settings in `bytes`, a `struct termios` or `struct termios2`; what is missing is as by
    /// default.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let word = |at: usize, otherwise: u32| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(otherwise, u32::from_le_bytes)
        };
        let default = Self::default();
        let mut keys = default.keys;
        if let Some(given) = bytes.get(17..36) {
            keys.copy_from_slice(given);
        }
        Self {
            input: InputFlags::from_bits_retain(word(0, 0)),
            output: OutputFlags::from_bits_retain(word(4, 0)),
            control: word(8, 0),
            local: LocalFlags::from_bits_retain(word(12, 0)),
            line: bytes.get(16).copied().unwrap_or(0),
            keys,
            input_speed: word(36, default.input_speed),
            output_speed: word(40, default.output_speed),
        }
    }
}

/// `struct winsize`. All zero: unknown, as on a serial line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WindowSize {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

impl WindowSize {
    pub(super) fn encode(self) -> [u8; 8] {
        let fields = [self.rows, self.columns, self.width, self.height];
        let mut bytes = [0; 8];
        for (slot, field) in bytes.chunks_exact_mut(2).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            rows: u16::from_le_bytes([a, b]),
            columns: u16::from_le_bytes([c, d]),
            width: u16::from_le_bytes([e, f]),
            height: u16::from_le_bytes([g, h]),
        }
    }
}
