//! A checked program.

use crate::LoadError;
use crate::bytes::slice;
use crate::dynamic::{self, Dynamic};
use crate::header::{self, ENTRY_BYTES, Entry, Header, segment_type};
use abi::mman::Prot;
use alloc::string::String;
use alloc::vec::Vec;
use base::PAGE_SIZE;
use base::address::USER_END;

/// Where the program may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// At the addresses in the file.
    Fixed,
    /// Anywhere (PIE).
    PositionIndependent,
}

/// A part of the file that is loaded. Addresses are those in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where its first byte goes.
    pub address: u64,
    /// Bytes in memory; what the file does not give is zero.
    pub memory_bytes: u64,
    /// Where it lies in the file; the same offset within a page as `address`.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_bytes: u64,
    /// What the program may do with it.
    pub protection: Prot,
}

impl Segment {
    /// One past its last byte in memory. Does not overflow: [`parse`] checked.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.address + self.memory_bytes
    }

    /// First address of its first page.
    #[must_use]
    pub fn first_page(&self) -> u64 {
        self.address & !(PAGE_SIZE - 1)
    }
}

/// A program that can be loaded: everything in it was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Where it may lie.
    pub kind: Kind,
    /// First instruction.
    pub entry: u64,
    /// What is loaded, ascending, without overlap.
    pub segments: Vec<Segment>,
    /// Where the program header table lies in memory (AT_PHDR); `None`: in no segment.
    pub headers_address: Option<u64>,
    /// Number of program headers (AT_PHNUM).
    pub headers: u16,
    /// Bytes of one (AT_PHENT).
    pub header_bytes: u16,
    /// It asks for a stack that can be executed.
    pub executable_stack: bool,
    /// Relative relocations that the kernel applies, for a program that names a dynamic linker
    /// but needs no library (Go's `-buildmode=pie`).
    pub(crate) relocations: Option<Dynamic>,
    /// Made read-only after relocation (`PT_GNU_RELRO`): first address and length.
    pub read_only_after_relocation: Option<(u64, u64)>,
}

/// Checks an ELF file.
///
/// # Errors
/// What is wrong with it.
pub fn parse(file: &[u8]) -> Result<Program, LoadError> {
    let header = header::read(file)?;
    let mut segments = Vec::new();
    let mut interpreter = None;
    let mut dynamic = None;
    let mut relro = None;
    let mut table_address = None;
    let mut executable_stack = false;
    for entry in header::entries(file, &header)? {
        let entry = entry?;
        match entry.kind {
            segment_type::LOAD if entry.memory_bytes > 0 => {
                segments.push(segment(file, &entry, segments.last())?);
            }
            segment_type::INTERPRETER => interpreter = Some(interpreter_path(file, &entry)?),
            segment_type::DYNAMIC => dynamic = Some(entry),
            segment_type::GNU_RELRO => relro = Some((entry.address, entry.memory_bytes)),
            segment_type::PROGRAM_HEADERS => table_address = Some(entry.address),
            segment_type::GNU_STACK => {
                executable_stack = protection(entry.flags).contains(Prot::EXEC)
            }
            _ => {}
        }
    }
    check_bounds(&header, &segments)?;
    let relocations = match interpreter {
        None => None,
        Some(interpreter) => {
            let table = dynamic.map(|entry| dynamic::read(file, &entry, &segments)).transpose()?;
            Some(dynamic::without_libraries(file, &segments, table, interpreter)?)
        }
    };
    check_entry(&header, &segments)?;
    let headers_address = table_address
        .filter(|address| within(&segments, *address))
        .or_else(|| address_of_offset(&segments, header.table_offset));
    Ok(Program {
        kind: if header.position_independent { Kind::PositionIndependent } else { Kind::Fixed },
        entry: header.entry,
        headers_address,
        headers: header.count,
        header_bytes: ENTRY_BYTES,
        executable_stack,
        read_only_after_relocation: relro.filter(|_| relocations.is_some()),
        relocations,
        segments,
    })
}

/// Checks one PT_LOAD.
fn segment(file: &[u8], entry: &Entry, previous: Option<&Segment>) -> Result<Segment, LoadError> {
    let malformed = |what| LoadError::Malformed { what };
    if entry.file_bytes > entry.memory_bytes {
        return Err(malformed("a segment has more bytes in the file than in memory"));
    }
    if entry.address % PAGE_SIZE != entry.offset % PAGE_SIZE {
        return Err(malformed("a segment is not aligned to pages"));
    }
    slice(file, entry.offset, entry.file_bytes, "a segment")?;
    let end = entry.address.checked_add(entry.memory_bytes);
    if end.is_none_or(|end| end > USER_END) {
        return Err(LoadError::OutsideAddressSpace { address: entry.address });
    }
    let segment = Segment {
        address: entry.address,
        memory_bytes: entry.memory_bytes,
        file_offset: entry.offset,
        file_bytes: entry.file_bytes,
        protection: protection(entry.flags),
    };
    if let Some(previous) = previous {
        // Two segments may meet in a page only when the file holds all of it, once.
        let meets = segment.first_page() < previous.end();
        let same_page = previous.file_bytes == previous.memory_bytes
            && segment.address.wrapping_sub(segment.file_offset)
                == previous.address.wrapping_sub(previous.file_offset);
        if segment.address < previous.end() || (meets && !same_page) {
            return Err(LoadError::Overlap { address: segment.address });
        }
    }
    Ok(segment)
}

/// `PF_R`, `PF_W`, `PF_X` as `PROT_*`.
fn protection(flags: u32) -> Prot {
    let mut protection = Prot::empty();
    protection.set(Prot::EXEC, flags & 1 != 0);
    protection.set(Prot::WRITE, flags & 2 != 0);
    protection.set(Prot::READ, flags & 4 != 0);
    protection
}

fn interpreter_path(file: &[u8], entry: &Entry) -> Result<String, LoadError> {
    let path = slice(file, entry.offset, entry.file_bytes, "the name of the dynamic linker")?;
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(path.get(..256).unwrap_or(path)).into_owned())
}

fn check_bounds(header: &Header, segments: &[Segment]) -> Result<(), LoadError> {
    let first = segments.first().ok_or(LoadError::NoLoadSegments)?;
    // Page zero and its neighbours are never mapped (mmap_min_addr).
    const LOWEST: u64 = 0x1_0000;
    if !header.position_independent && first.first_page() < LOWEST {
        return Err(LoadError::OutsideAddressSpace { address: first.address });
    }
    Ok(())
}

fn check_entry(header: &Header, segments: &[Segment]) -> Result<(), LoadError> {
    let in_code = segments.iter().any(|segment| {
        segment.protection.contains(Prot::EXEC)
            && (segment.address..segment.end()).contains(&header.entry)
    });
    // Position-independent files without an entry point are libraries.
    if in_code && header.entry != 0 {
        Ok(())
    } else {
        Err(LoadError::EntryOutside { entry: header.entry })
    }
}

fn within(segments: &[Segment], address: u64) -> bool {
    segments.iter().any(|segment| (segment.address..segment.end()).contains(&address))
}

fn address_of_offset(segments: &[Segment], offset: u64) -> Option<u64> {
    segments.iter().find_map(|segment| {
        let inside = offset.checked_sub(segment.file_offset)?;
        (inside < segment.file_bytes).then(|| segment.address + inside)
    })
}
