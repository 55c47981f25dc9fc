//! The part of an ELF file that is loaded: without sections, symbols and debug information.

use std::error::Error;

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};

/// Offsets of the section header fields within an ELF64 header (ELF specification, figure 1-3).
const SECTION_OFFSET: std::ops::Range<usize> = 40..48;
const SECTION_COUNTS: std::ops::Range<usize> = 58..64;

/// Cuts `elf` off after its last segment and removes the reference to its section headers.
pub(crate) fn loadable_part(elf: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let mut end = SECTION_COUNTS.end as u64;
    for segment in header.program_headers(endian, elf)? {
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.checked_add(size).ok_or("a segment beyond the end")?);
    }
    let mut part = elf.get(..usize::try_from(end)?).ok_or("a segment beyond the end")?.to_vec();
    for range in [SECTION_OFFSET, SECTION_COUNTS] {
        part.get_mut(range).ok_or("no ELF header")?.fill(0);
    }
    Ok(part)
}
