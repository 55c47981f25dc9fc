//! Multiboot2's information: a row of tags (multiboot2 specification 2.0, section 3.6).

const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
const FRAMEBUFFER: u32 = 8;
const RSDP: u32 = 15;
const END: u32 = 0;
/// Of an entry of the memory map.
const MAP_ENTRY: u32 = 24;
const USABLE: u32 = 1;

/// Writes tags into memory that the caller gives; what does not fit is an error at the end.
#[derive(Debug)]
pub struct Writer<'a> {
    memory: &'a mut [u8],
    used: usize,
    overrun: bool,
}

/// A screen of pixels with 8 bits a colour in 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framebuffer {
    /// Physical address.
    pub address: u64,
    /// Bytes a row.
    pub pitch: u32,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Lowest bit and number of bits of red, green and blue.
    pub colours: [(u8, u8); 3],
}

impl<'a> Writer<'a> {
    /// Information that begins at the first of `memory`.
    #[must_use]
    pub fn new(memory: &'a mut [u8]) -> Self {
        let mut writer = Self { memory, used: 0, overrun: false };
        writer.numbers(&[0, 0]);
        writer
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let place = self.memory.get_mut(self.used..).and_then(|rest| rest.get_mut(..bytes.len()));
        match place {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            None => self.overrun = true,
        }
    }

    fn numbers(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.bytes(&number.to_le_bytes()));
    }

    /// A tag with what `content` writes, padded.
    fn tag(&mut self, kind: u32, content: impl FnOnce(&mut Self)) {
        let start = self.used;
        self.numbers(&[kind, 0]);
        content(self);
        let bytes = self.used - start;
        self.put(start + 4, bytes);
        let padding = bytes.next_multiple_of(8) - bytes;
        self.bytes(&[0; 8][..padding]);
    }

    fn put(&mut self, at: usize, value: usize) {
        if let (Some(place), Ok(value)) = (self.memory.get_mut(at..at + 4), u32::try_from(value)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// The command line, without NULs; what is no ASCII becomes a question mark.
    pub fn command_line(&mut self, text: impl Iterator<Item = u16>) {
        self.tag(COMMAND_LINE, |writer| {
            for unit in text.filter(|unit| *unit != 0) {
                let byte = u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(b'?');
                writer.bytes(&[byte]);
            }
            writer.bytes(&[0]);
        });
    }

    /// Physical addresses of the archive, below 4 GiB.
    pub fn module(&mut self, start: u32, end: u32) {
        self.tag(MODULE, |writer| {
            writer.numbers(&[start, end]);
            writer.bytes(&[0]);
        });
    }

    /// A copy of ACPI's root pointer, of version 2 or later.
    pub fn rsdp(&mut self, table: &[u8]) {
        self.tag(RSDP, |writer| writer.bytes(table));
    }

    /// The screen.
    pub fn framebuffer(&mut self, screen: &Framebuffer) {
        const DIRECT_COLOUR: u8 = 1;
        self.tag(FRAMEBUFFER, |writer| {
            writer.bytes(&screen.address.to_le_bytes());
            writer.numbers(&[screen.pitch, screen.width, screen.height]);
            writer.bytes(&[32, DIRECT_COLOUR, 0, 0]);
            screen.colours.iter().for_each(|(low, bits)| writer.bytes(&[*low, *bits]));
        });
    }

    /// The usable ranges, as first byte and one past the last. Those that touch in the order given
    /// become one, so that the map has as few entries as can be.
    pub fn memory_map(&mut self, usable: impl Iterator<Item = (u64, u64)>) {
        self.tag(MEMORY_MAP, |writer| {
            writer.numbers(&[MAP_ENTRY, 0]);
            let mut last: Option<(u64, u64)> = None;
            for (start, end) in usable {
                last = Some(match last {
                    Some((first, reached)) if reached == start => (first, end),
                    Some(range) => {
                        writer.range(range);
                        (start, end)
                    }
                    None => (start, end),
                });
            }
            last.into_iter().for_each(|range| writer.range(range));
        });
    }

    fn range(&mut self, (start, end): (u64, u64)) {
        self.bytes(&start.to_le_bytes());
        self.bytes(&end.saturating_sub(start).to_le_bytes());
        self.numbers(&[USABLE, 0]);
    }

    /// Ends it. `false`: it did not fit.
    #[must_use]
    pub fn finish(mut self) -> bool {
        self.tag(END, |_| {});
        let used = self.used;
        self.put(0, used);
        !self.overrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_padded_and_counted() {
        let mut memory = [0xff; 200];
        let mut writer = Writer::new(&mut memory);
        writer.command_line("a=é\0".encode_utf16());
        writer.module(0x1000, 0x2345);
        writer.memory_map([(0x1000, 0x2000), (0x2000, 0x3000), (0x5000, 0x6000)].into_iter());
        assert!(writer.finish());
        let words: Vec<u32> = memory
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        let expected = [
            [120, 0, 1, 12, u32::from_le_bytes(*b"a=?\0"), 0].as_slice(),
            &[3, 17, 0x1000, 0x2345, 0, 0],
            &[6, 64, 24, 0],
            &[0x1000, 0, 0x2000, 0, 1, 0],
            &[0x5000, 0, 0x1000, 0, 1, 0],
            &[0, 8],
        ]
        .concat();
        assert_eq!(&words[..30], expected);
    }

    #[test]
    fn too_little_room_is_told() {
        for room in 0..40 {
            let mut memory = vec![0; room];
            let mut writer = Writer::new(&mut memory);
            writer.rsdp(&[1; 36]);
            assert!(!writer.finish(), "{room}");
        }
    }
}
