//! The kernel's file: where its segments belong, and where it is entered as by multiboot2.

use crate::number;

const PAGE: u64 = 4096;
/// The kernel is small and lies low; more is a damaged file.
const LARGEST: u64 = 64 << 20;
const LOWEST: u64 = 1 << 20;

/// A kernel, looked through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel<'a> {
    elf: &'a [u8],
    /// Physical address of its first byte, page-aligned.
    pub start: u64,
    /// One past its last, page-aligned.
    pub end: u64,
    /// Where it is entered in 32-bit mode.
    pub entry: u32,
}

/// One segment to load.
struct Segment<'a> {
    contents: &'a [u8],
    start: u64,
    end: u64,
}

impl<'a> Kernel<'a> {
    /// `None` when the file is none, or damaged.
    #[must_use]
    pub fn parse(elf: &'a [u8]) -> Option<Self> {
        if !elf.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let mut kernel = Self { elf, start: u64::MAX, end: 0, entry: entry(elf)? };
        for segment in segments(elf) {
            let segment = segment?;
            kernel.start = kernel.start.min(segment.start);
            kernel.end = kernel.end.max(segment.end);
        }
        kernel.start &= !(PAGE - 1);
        kernel.end = kernel.end.checked_next_multiple_of(PAGE)?;
        let sound = kernel.start >= LOWEST && kernel.start < kernel.end && kernel.end <= LARGEST;
        let inside = (kernel.start..kernel.end).contains(&u64::from(kernel.entry));
        (sound && inside).then_some(kernel)
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // At most LARGEST.
        (self.end - self.start) as usize
    }

    /// Lays it out in `memory` of [`Self::bytes`], which stands for the memory at [`Self::start`].
    /// `false`: `memory` is too small.
    #[must_use]
    pub fn lay_out(&self, memory: &mut [u8]) -> bool {
        memory.fill(0);
        segments(self.elf).flatten().all(|segment| {
            let at = (segment.start - self.start) as usize;
            let place =
                memory.get_mut(at..).and_then(|rest| rest.get_mut(..segment.contents.len()));
            place.map(|place| place.copy_from_slice(segment.contents)).is_some()
        })
    }
}

/// The segments with something to load; `None` for one that makes no sense.
fn segments(elf: &[u8]) -> impl Iterator<Item = Option<Segment<'_>>> {
    const LOAD: u64 = 1;
    const ROW: usize = 56;
    let table = number::<8>(elf, 32).and_then(|at| elf.get(usize::try_from(at).ok()?..));
    let count = number::<2>(elf, 56).unwrap_or(0) as usize;
    table
        .unwrap_or_default()
        .chunks_exact(ROW)
        .take(count)
        .filter(|row| number::<4>(row, 0) == Some(LOAD))
        .map(|row| {
            let offset = usize::try_from(number::<8>(row, 8)?).ok()?;
            let in_file = usize::try_from(number::<8>(row, 32)?).ok()?;
            let start = number::<8>(row, 24)?;
            let in_memory = number::<8>(row, 40)?;
            let end = start.checked_add(in_memory)?;
            let contents = elf.get(offset..offset.checked_add(in_file)?)?;
            (in_file as u64 <= in_memory).then_some(Segment { contents, start, end })
        })
}

/// The address in the entry tag of the multiboot2 header, which lies in the first 32 KiB.
fn entry(elf: &[u8]) -> Option<u32> {
    const MAGIC: [u8; 4] = 0xe852_50d6_u32.to_le_bytes();
    const SEARCHED: usize = 32 << 10;
    const ENTRY: u64 = 3;
    let start = elf
        .get(..SEARCHED.min(elf.len()))?
        .chunks_exact(8)
        .position(|word| word.starts_with(&MAGIC))?;
    let header = elf.get(8 * start..)?;
    let header = header.get(..usize::try_from(number::<4>(header, 8)?).ok()?)?;
    let mut at = 16;
    loop {
        let bytes = usize::try_from(number::<4>(header, at + 4)?).ok()?;
        if number::<2>(header, at)? == ENTRY {
            return u32::try_from(number::<4>(header, at + 8)?).ok();
        }
        at = at.checked_add(bytes.max(8))?.checked_next_multiple_of(8)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two segments, at 1 MiB and a page above it, and a multiboot2 header.
    fn elf() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        elf.resize(64, 0);
        elf[32] = 64;
        elf[56] = 2;
        for (offset, start, in_file, in_memory) in
            [(0x200_u64, 0x10_0000_u64, 0x40_u64, 0x40_u64), (0x240, 0x10_1000, 3, 0x2000)]
        {
            elf.extend([1_u32, 5].map(u32::to_le_bytes).concat());
            elf.extend([offset, 0, start, in_file, in_memory, 4096].map(u64::to_le_bytes).concat());
        }
        elf.resize(0x200, 0);
        elf.extend([0xe852_50d6_u32, 0, 48, 0].map(u32::to_le_bytes).concat());
        elf.extend([6_u32, 8, 3, 12, 0x10_0020, 0, 0, 8].map(u32::to_le_bytes).concat());
        elf.resize(0x240, 0);
        elf.extend(b"abc");
        elf
    }

    #[test]
    fn a_kernel_is_laid_out() {
        let elf = elf();
        let kernel = Kernel::parse(&elf).unwrap();
        assert_eq!((kernel.start, kernel.end, kernel.entry), (0x10_0000, 0x10_3000, 0x10_0020));
        let mut memory = vec![7; kernel.bytes()];
        assert!(kernel.lay_out(&mut memory));
        assert_eq!(&memory[0x1000..0x1004], b"abc\0");
        assert_eq!(memory[0x2fff], 0);
        assert!(!kernel.lay_out(&mut memory[..0x1002]));
    }

    #[test]
    fn a_cut_kernel_is_none() {
        let elf = elf();
        for length in 0..elf.len() {
            assert_eq!(Kernel::parse(&elf[..length]), None, "cut at {length}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(changes in proptest::collection::vec((0..0x243_usize, any::<u8>()), 1..9)) {
            let mut elf = elf();
            for (at, byte) in changes {
                elf[at] = byte;
            }
            if let Some(kernel) = Kernel::parse(&elf) {
                let mut memory = vec![0; kernel.bytes()];
                assert!(kernel.lay_out(&mut memory));
            }
        }
    }
}
