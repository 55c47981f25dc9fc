//! The ELF header and the program headers (System V ABI, chapters 4 and 5).

use crate::LoadError;
use crate::bytes::{slice, u16_at, u32_at, u64_at};

/// Program header types.
pub(crate) mod segment_type {
    pub(crate) const LOAD: u32 = 1;
    pub(crate) const DYNAMIC: u32 = 2;
    pub(crate) const INTERPRETER: u32 = 3;
    pub(crate) const PROGRAM_HEADERS: u32 = 6;
    pub(crate) const GNU_STACK: u32 = 0x6474_e551;
    pub(crate) const GNU_RELRO: u32 = 0x6474_e552;
}

const MACHINE_X86_64: u16 = 62;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_DYNAMIC: u16 = 3;
const HEADER_BYTES: u64 = 64;
/// Bytes of one program header.
pub(crate) const ENTRY_BYTES: u16 = 56;
/// Most program headers: as many as fit 64 KiB, as on Linux.
const MOST_ENTRIES: u16 = 1170;

/// What the ELF header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) position_independent: bool,
    pub(crate) entry: u64,
    pub(crate) table_offset: u64,
    pub(crate) count: u16,
}

/// A program header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_bytes: u64,
    pub(crate) memory_bytes: u64,
}

/// Reads and checks the ELF header.
pub(crate) fn read(file: &[u8]) -> Result<Header, LoadError> {
    check_identity(file)?;
    let header = slice(file, 0, HEADER_BYTES, "the ELF header")?;
    let what = "the ELF header";
    let kind = u16_at(header, 16, what)?;
    let machine = u16_at(header, 18, what)?;
    if machine != MACHINE_X86_64 {
        return Err(LoadError::WrongArchitecture { machine });
    }
    if kind != TYPE_EXECUTABLE && kind != TYPE_DYNAMIC {
        return Err(LoadError::NotExecutable { kind });
    }
    let count = u16_at(header, 56, what)?;
    if count == 0 {
        return Err(LoadError::NoLoadSegments);
    }
    if u16_at(header, 54, what)? != ENTRY_BYTES || count > MOST_ENTRIES {
        return Err(LoadError::Malformed {
            what: "the program header table has an impossible size",
        });
    }
    Ok(Header {
        position_independent: kind == TYPE_DYNAMIC,
        entry: u64_at(header, 24, what)?,
        table_offset: u64_at(header, 32, what)?,
        count,
    })
}

/// Checks `e_ident`.
fn check_identity(file: &[u8]) -> Result<(), LoadError> {
    let Some(identity) = file.get(..16) else {
        return Err(match file.get(..4) {
            Some(b"\x7fELF") => LoadError::Truncated { what: "the ELF header" },
            _ => LoadError::NotElf { is: foreign(file) },
        });
    };
    let &[m0, m1, m2, m3, class, order, version, abi, ..] = identity else {
        return Err(LoadError::NotElf { is: None });
    };
    if [m0, m1, m2, m3] != *b"\x7fELF" {
        return Err(LoadError::NotElf { is: foreign(file) });
    }
    match class {
        1 => return Err(LoadError::ThirtyTwoBit),
        2 => {}
        _ => return Err(LoadError::Malformed { what: "the ELF class is neither 32 nor 64 bit" }),
    }
    if order == 2 {
        // Big-endian: x86-64 never is. The machine number is big-endian as well.
        let machine = u16_at(file, 18, "the ELF header")?.swap_bytes();
        return Err(LoadError::WrongArchitecture { machine });
    }
    if order != 1 || version != 1 {
        return Err(LoadError::Malformed { what: "the ELF header has an unknown version" });
    }
    // 0: System V, 3: Linux with GNU extensions.
    if abi != 0 && abi != 3 {
        return Err(LoadError::WrongSystem { abi });
    }
    Ok(())
}

/// What a file is that is not ELF.
fn foreign(file: &[u8]) -> Option<&'static str> {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"MZ", "a Windows program"),
        (b"\xcf\xfa\xed\xfe", "a macOS program"),
        (b"\xce\xfa\xed\xfe", "a macOS program"),
        (b"\xca\xfe\xba\xbe", "a macOS program or Java class"),
        (b"#!", "a script"),
        (b"\0asm", "a WebAssembly module"),
        (b"!<arch>", "a library archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"PK\x03\x04", "a zip file"),
    ];
    if file.is_empty() {
        return Some("an empty file");
    }
    MAGIC.iter().find(|(magic, _)| file.starts_with(magic)).map(|(_, name)| *name)
}

/// The program headers, in order.
pub(crate) fn entries(
    file: &[u8],
    header: &Header,
) -> Result<impl Iterator<Item = Result<Entry, LoadError>>, LoadError> {
    let what = "the program header table";
    let bytes = u64::from(header.count) * u64::from(ENTRY_BYTES);
    let table = slice(file, header.table_offset, bytes, what)?;
    Ok(table.chunks_exact(usize::from(ENTRY_BYTES)).map(move |entry| {
        Ok(Entry {
            kind: u32_at(entry, 0, what)?,
            flags: u32_at(entry, 4, what)?,
            offset: u64_at(entry, 8, what)?,
            address: u64_at(entry, 16, what)?,
            file_bytes: u64_at(entry, 32, what)?,
            memory_bytes: u64_at(entry, 40, what)?,
        })
    }))
}
