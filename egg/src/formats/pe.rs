//! The EFI program: the stub with kernel and archive as sections more, as systemd's unified kernel
//! images have them, so that `objdump -h` lists and `sbsign` signs it. PE format specification.

use anyhow::Context;

use super::bytes::{array, put, range, u16_at, u32_at};

/// The section with the kernel; both names as `hal/efi/src/sections.rs` has them.
pub(super) const KERNEL: &[u8; 8] = b".kernel\0";
/// The section with the archive.
pub(super) const ARCHIVE: &[u8; 8] = b".initrd\0";

/// Of a row of the section table.
const ROW: usize = 40;
/// Initialised data, readable.
const CHARACTERISTICS: u32 = 0x4000_0040;

/// What matters of the headers.
struct Headers {
    /// Offset of the signature.
    at: usize,
    sections: usize,
    /// Offset of the section table.
    table: usize,
}

impl Headers {
    fn read(file: &[u8]) -> Option<Self> {
        (file.get(..2)? == b"MZ").then_some(())?;
        let at = u32_at(file, 0x3c)?;
        (array(file, at)? == *b"PE\0\0").then_some(())?;
        let table = at.checked_add(24)?.checked_add(u16_at(file, at + 20)?)?;
        Some(Self { at, sections: u16_at(file, at + 6)?, table })
    }

    fn row<'a>(&self, file: &'a [u8], n: usize) -> Option<&'a [u8]> {
        range(file, self.table.checked_add(n.checked_mul(ROW)?)?, ROW)
    }
}

/// The program with these sections more.
pub(super) fn with_sections(
    program: &[u8],
    sections: &[(&[u8; 8], &[u8])],
) -> anyhow::Result<Vec<u8>> {
    const ALIGNMENT: usize = 24 + 32;
    const FILE_ALIGNMENT: usize = 24 + 36;
    const IMAGE_BYTES: usize = 24 + 56;
    const HEADER_BYTES: usize = 24 + 60;
    const CHECKSUM: usize = 24 + 64;
    let headers = Headers::read(program).context("the stub is no EFI program")?;
    let field = |offset| u32_at(program, headers.at + offset).context("a cut stub");
    let (alignment, file_alignment) = (field(ALIGNMENT)?, field(FILE_ALIGNMENT)?);
    anyhow::ensure!(alignment > 0 && file_alignment > 0, "a stub without alignment");
    let mut address = field(IMAGE_BYTES)?.next_multiple_of(alignment);
    let mut file = program.to_vec();
    let mut row_at = headers.table + ROW * headers.sections;
    let room = row_at + ROW * sections.len() <= field(HEADER_BYTES)?;
    anyhow::ensure!(room, "the stub has no room for more sections");
    for (name, contents) in sections {
        file.resize(file.len().next_multiple_of(file_alignment), 0);
        let offset = u32::try_from(file.len()).context("an image of 4 GiB")?;
        let length = u32::try_from(contents.len())?;
        file.extend_from_slice(contents);
        file.resize(file.len().next_multiple_of(file_alignment), 0);
        let in_file = u32::try_from(file.len())? - offset;
        let numbers = [length, u32::try_from(address)?, in_file, offset, 0, 0, 0, CHARACTERISTICS];
        let row = [&name[..], &numbers.map(u32::to_le_bytes).concat()].concat();
        put(&mut file, row_at, &row)?;
        row_at += ROW;
        address = (address + contents.len()).next_multiple_of(alignment);
    }
    let count = u16::try_from(headers.sections + sections.len())?;
    put(&mut file, headers.at + 6, &count.to_le_bytes())?;
    // Neither the time of the build nor a checksum that nobody looks at.
    put(&mut file, headers.at + 8, &[0; 4])?;
    put(&mut file, headers.at + CHECKSUM, &[0; 4])?;
    put(&mut file, headers.at + IMAGE_BYTES, &u32::try_from(address)?.to_le_bytes())?;
    Ok(file)
}

/// A section's place in the file, without padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// Where a section is, if it lies within the file.
pub(super) fn section(file: &[u8], name: &[u8; 8]) -> Option<Section> {
    let headers = Headers::read(file)?;
    let mut rows = (0..headers.sections).map_while(|n| headers.row(file, n));
    let row = rows.find(|row| row.starts_with(name))?;
    let section = Section { offset: u32_at(row, 20)?, length: u32_at(row, 8)? };
    range(file, section.offset, section.length).map(|_| section)
}

/// The program has a row for such a section, wherever its contents are.
pub(super) fn has(file: &[u8], name: &[u8; 8]) -> bool {
    let row = |headers: &Headers, n| headers.row(file, n).is_some_and(|row| row.starts_with(name));
    Headers::read(file).is_some_and(|headers| (0..headers.sections).any(|n| row(&headers, n)))
}

/// The contents of a section.
pub(super) fn contents<'a>(file: &'a [u8], name: &[u8; 8]) -> Option<&'a [u8]> {
    let Section { offset, length } = section(file, name)?;
    range(file, offset, length)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A program with one section and room for some.
    pub(crate) fn program() -> Vec<u8> {
        let mut file = vec![0; 0x400];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x40;
        file[0x40..0x44].copy_from_slice(b"PE\0\0");
        file[0x46] = 1;
        file[0x54] = 0xf0;
        for (offset, value) in [(32, 0x1000_u32), (36, 0x200), (56, 0x2000), (60, 0x400)] {
            file[0x58 + offset..0x5c + offset].copy_from_slice(&value.to_le_bytes());
        }
        file
    }

    #[test]
    fn sections_come_back() {
        let (kernel, archive) = (vec![1; 5000], vec![2; 600]);
        let file = with_sections(&program(), &[(KERNEL, &kernel), (ARCHIVE, &archive)]).unwrap();
        assert_eq!(contents(&file, KERNEL), Some(&kernel[..]));
        assert_eq!(contents(&file, ARCHIVE), Some(&archive[..]));
        assert!(section(&file, ARCHIVE).unwrap().offset.is_multiple_of(512));
        assert_eq!(contents(&file[..file.len() - 600], ARCHIVE), None);
        // Two pages of the kernel behind the two of the stub, then one of the archive.
        assert_eq!(u32_at(&file, 0x40 + 24 + 56), Some(0x5000));
    }

    #[test]
    fn there_must_be_room() {
        let rows = [(KERNEL, &[][..]); 30];
        assert!(with_sections(&program(), &rows).is_err());
        assert!(with_sections(b"MZ", &rows).is_err());
    }
}
