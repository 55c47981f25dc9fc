//! The dynamic section, as far as it matters here: does the program need libraries, and which
//! relocations are left.

use crate::LoadError;
use crate::bytes::{slice, u64_at};
use crate::header::Entry;
use crate::program::{Program, Segment};
use alloc::string::String;
use base::UserAddr;

const TAG_NULL: u64 = 0;
const TAG_NEEDED: u64 = 1;
const TAG_PLT_RELOCATION_BYTES: u64 = 2;
const TAG_STRINGS: u64 = 5;
const TAG_RELA: u64 = 7;
const TAG_RELA_BYTES: u64 = 8;
const TAG_RELA_ENTRY: u64 = 9;
const TAG_STRINGS_BYTES: u64 = 10;
const TAG_REL_BYTES: u64 = 18;
const TAG_RELR_BYTES: u64 = 35;

const ENTRY_BYTES: usize = 16;
const RELA_BYTES: u64 = 24;

/// Relocation types (System V ABI, AMD64 supplement, table 4.9).
const RELOCATION_NONE: u32 = 0;
const RELOCATION_RELATIVE: u32 = 8;

/// Where the relocation table lies in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dynamic {
    offset: u64,
    bytes: u64,
}

/// What the dynamic section says.
#[derive(Default)]
pub(crate) struct Table {
    needed: Option<u64>,
    strings: u64,
    strings_bytes: u64,
    rela: u64,
    rela_bytes: u64,
    rela_entry: u64,
    other_bytes: u64,
}

/// A word to set when the program is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation {
    /// Which 64-bit word.
    pub address: UserAddr,
    /// What it becomes.
    pub value: u64,
}

/// Reads the dynamic section.
pub(crate) fn read(file: &[u8], entry: &Entry, segments: &[Segment]) -> Result<Table, LoadError> {
    let what = "the dynamic section";
    // Its place in memory decides, as for the dynamic linker.
    let offset = offset_of(segments, entry.address, entry.file_bytes).unwrap_or(entry.offset);
    let bytes = slice(file, offset, entry.file_bytes, what)?;
    let mut table = Table::default();
    for pair in bytes.chunks_exact(ENTRY_BYTES) {
        let value = u64_at(pair, 8, what)?;
        match u64_at(pair, 0, what)? {
            TAG_NULL => break,
            TAG_NEEDED => table.needed = table.needed.or(Some(value)),
            TAG_STRINGS => table.strings = value,
            TAG_STRINGS_BYTES => table.strings_bytes = value,
            TAG_RELA => table.rela = value,
            TAG_RELA_BYTES => table.rela_bytes = value,
            TAG_RELA_ENTRY => table.rela_entry = value,
            TAG_PLT_RELOCATION_BYTES | TAG_REL_BYTES | TAG_RELR_BYTES => {
                table.other_bytes = table.other_bytes.max(value);
            }
            _ => {}
        }
    }
    Ok(table)
}

/// Accepts a program that names a dynamic linker if it needs none of its services but adding the
/// load address to words.
pub(crate) fn without_libraries(
    file: &[u8],
    segments: &[Segment],
    table: Option<Table>,
    interpreter: String,
) -> Result<Dynamic, LoadError> {
    let Some(table) = table else {
        return Err(LoadError::DynamicallyLinked { interpreter, library: None });
    };
    if let Some(name) = table.needed {
        let library = library_name(file, segments, &table, name);
        return Err(LoadError::DynamicallyLinked { interpreter, library });
    }
    if table.other_bytes > 0 {
        return Err(LoadError::DynamicallyLinked { interpreter, library: None });
    }
    if table.rela_bytes == 0 {
        return Ok(Dynamic::default());
    }
    if table.rela_entry != RELA_BYTES || table.rela_bytes % RELA_BYTES != 0 {
        return Err(LoadError::Malformed { what: "the relocation table has an impossible size" });
    }
    let offset = offset_of(segments, table.rela, table.rela_bytes)
        .ok_or(LoadError::Truncated { what: "the relocation table" })?;
    let dynamic = Dynamic { offset, bytes: table.rela_bytes };
    for entry in entries(file, dynamic)?.chunks_exact(RELA_BYTES as usize) {
        check(entry, segments)?;
    }
    Ok(dynamic)
}

fn entries(file: &[u8], dynamic: Dynamic) -> Result<&[u8], LoadError> {
    slice(file, dynamic.offset, dynamic.bytes, "the relocation table")
}

/// Checks one relocation: of a kind that can be done here, in writable memory.
fn check(entry: &[u8], segments: &[Segment]) -> Result<(), LoadError> {
    let what = "the relocation table";
    let kind = u64_at(entry, 8, what)? as u32;
    if kind == RELOCATION_NONE {
        return Ok(());
    }
    if kind != RELOCATION_RELATIVE {
        return Err(LoadError::UnsupportedRelocation { kind });
    }
    let address = u64_at(entry, 0, what)?;
    let inside = segments.iter().any(|segment| {
        segment.protection.contains(abi::mman::Prot::WRITE)
            && segment.address <= address
            && address.checked_add(8).is_some_and(|end| end <= segment.end())
    });
    if inside {
        Ok(())
    } else {
        Err(LoadError::Malformed { what: "a relocation lies outside writable memory" })
    }
}

fn library_name(file: &[u8], segments: &[Segment], table: &Table, name: u64) -> Option<String> {
    let start = offset_of(segments, table.strings, table.strings_bytes)?;
    let strings = slice(file, start, table.strings_bytes, "names").ok()?;
    let name = strings.get(usize::try_from(name).ok()?..)?.split(|byte| *byte == 0).next()?;
    let short = name.get(..256).unwrap_or(name);
    Some(String::from_utf8_lossy(short).into_owned())
}

/// The file offset of `bytes` bytes at `address`, when one segment's file part holds them all.
fn offset_of(segments: &[Segment], address: u64, bytes: u64) -> Option<u64> {
    segments.iter().find_map(|segment| {
        let inside = address.checked_sub(segment.address)?;
        let end = inside.checked_add(bytes)?;
        (end <= segment.file_bytes).then(|| segment.file_offset + inside)
    })
}

/// The relocations of a program, see [`Program::relocations`].
pub struct Relocations<'a> {
    entries: core::slice::ChunksExact<'a, u8>,
    bias: u64,
}

impl Iterator for Relocations<'_> {
    type Item = Relocation;

    fn next(&mut self) -> Option<Relocation> {
        loop {
            let entry = self.entries.next()?;
            let what = "the relocation table";
            let kind = u64_at(entry, 8, what).ok()? as u32;
            if kind == RELOCATION_NONE {
                continue;
            }
            return Some(Relocation {
                address: UserAddr(u64_at(entry, 0, what).ok()?.wrapping_add(self.bias)),
                value: u64_at(entry, 16, what).ok()?.wrapping_add(self.bias),
            });
        }
    }
}

impl Program {
    /// The words to set in a program loaded with `bias`; none for most programs. `file` is what
    /// was parsed.
    #[must_use]
    pub fn relocations<'a>(&self, file: &'a [u8], bias: u64) -> Relocations<'a> {
        let table = self.relocations.and_then(|dynamic| entries(file, dynamic).ok());
        let entries = table.unwrap_or_default().chunks_exact(RELA_BYTES as usize);
        Relocations { entries, bias }
    }
}
