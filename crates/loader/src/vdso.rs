//! The vDSO: a small ELF library that the kernel maps into the program, so that reading a clock
//! takes no system call (vdso(7)).
//!
//! The code comes from `hal`; this wraps it in what dynamic linkers, and Go's runtime
//! (`runtime/vdso_linux.go`), look for: one loadable segment, a dynamic section, symbols with
//! version `LINUX_2.6`, and both kinds of hash table.

use alloc::vec::Vec;
use base::PAGE_SIZE;

/// The version of every symbol.
const VERSION: &[u8] = b"LINUX_2.6";
/// Name of the library (`DT_SONAME`).
const NAME: &[u8] = b"linux-vdso.so.1";

const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const SYMBOL_BYTES: usize = 24;
/// Index of the section that symbols claim to be in. There is no section table; any number but 0
/// (undefined) will do.
const SECTION: u16 = 1;

/// A function in the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes from the start of the code.
    pub offset: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

/// Tables that go between the headers and the code.
struct Tables {
    bytes: Vec<u8>,
    dynamic: Vec<(u64, u64)>,
}

impl Tables {
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// Begins a table that the dynamic section names by `tag`.
    fn begin(&mut self, tag: u64) {
        self.align();
        self.dynamic.push((tag, self.bytes.len() as u64));
    }

    fn half(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// Dynamic section tags.
mod tag {
    pub(super) const HASH: u64 = 4;
    pub(super) const STRTAB: u64 = 5;
    pub(super) const SYMTAB: u64 = 6;
    pub(super) const STRSZ: u64 = 10;
    pub(super) const SYMENT: u64 = 11;
    pub(super) const SONAME: u64 = 14;
    pub(super) const GNU_HASH: u64 = 0x6fff_fef5;
    pub(super) const VERSYM: u64 = 0x6fff_fff0;
    pub(super) const VERDEF: u64 = 0x6fff_fffc;
    pub(super) const VERDEFNUM: u64 = 0x6fff_fffd;
}

/// Builds the image: one page, with `code` at `code_offset`. `None` when it does not fit.
#[must_use]
pub fn build(code: &[u8], code_offset: usize, symbols: &[Symbol]) -> Option<Vec<u8>> {
    const PROGRAM_HEADERS: u64 = 2;
    let mut tables = Tables { bytes: Vec::new(), dynamic: Vec::new() };
    let headers = HEADER_BYTES + PROGRAM_HEADERS * PROGRAM_HEADER_BYTES;
    tables.bytes.resize(usize::try_from(headers).ok()?, 0);

    let names = strings(&mut tables, symbols);
    symbol_table(&mut tables, symbols, &names, code_offset);
    version_tables(&mut tables, symbols, &names);
    hash_table(&mut tables, symbols);
    gnu_hash_table(&mut tables, symbols);
    let (dynamic_offset, dynamic_bytes) = dynamic_section(&mut tables);

    if tables.bytes.len() > code_offset || code_offset + code.len() > PAGE_SIZE as usize {
        return None;
    }
    let mut image = tables.bytes;
    image.resize(code_offset, 0);
    image.extend_from_slice(code);
    let used = image.len() as u64;
    image.resize(PAGE_SIZE as usize, 0);
    let written = header(&mut image, PROGRAM_HEADERS as u16)
        && program_header(&mut image, 0, 1, 0, used)
        && program_header(&mut image, 1, 2, dynamic_offset, dynamic_bytes);
    written.then_some(image)
}

/// Offsets of names in the string table.
struct Names {
    symbols: Vec<u32>,
    version: u32,
    library: u32,
}

fn strings(tables: &mut Tables, symbols: &[Symbol]) -> Names {
    tables.begin(tag::STRTAB);
    let start = tables.bytes.len();
    tables.bytes.push(0);
    let mut add = |name: &[u8]| {
        let offset = tables.bytes.len() - start;
        tables.bytes.extend_from_slice(name);
        tables.bytes.push(0);
        offset as u32
    };
    let version = add(VERSION);
    let library = add(NAME);
    let of_symbols = symbols.iter().map(|symbol| add(symbol.name.as_bytes())).collect();
    let length = (tables.bytes.len() - start) as u64;
    tables.dynamic.push((tag::STRSZ, length));
    tables.dynamic.push((tag::SONAME, u64::from(library)));
    Names { symbols: of_symbols, version, library }
}

fn symbol_table(tables: &mut Tables, symbols: &[Symbol], names: &Names, code_offset: usize) {
    tables.begin(tag::SYMTAB);
    tables.dynamic.push((tag::SYMENT, SYMBOL_BYTES as u64));
    // Symbol 0 is undefined, always.
    tables.bytes.resize(tables.bytes.len() + SYMBOL_BYTES, 0);
    for (symbol, name) in symbols.iter().zip(&names.symbols) {
        const GLOBAL_FUNCTION: u16 = 0x12;
        tables.word(*name);
        // Binding and type, then visibility: default.
        tables.half(GLOBAL_FUNCTION);
        tables.half(SECTION);
        tables.long((code_offset + symbol.offset) as u64);
        tables.long(symbol.bytes as u64);
    }
}

fn version_tables(tables: &mut Tables, symbols: &[Symbol], names: &Names) {
    /// Index of the library's own (base) version, and of `LINUX_2.6`.
    const BASE: u16 = 1;
    const LINUX: u16 = 2;
    const FLAG_BASE: u16 = 1;
    const DEFINITION_BYTES: u32 = 20;
    const AUXILIARY_BYTES: u32 = 8;
    tables.begin(tag::VERSYM);
    tables.half(0);
    symbols.iter().for_each(|_| tables.half(LINUX));
    tables.begin(tag::VERDEF);
    tables.dynamic.push((tag::VERDEFNUM, 2));
    let rows = [(FLAG_BASE, BASE, NAME, names.library), (0, LINUX, VERSION, names.version)];
    for (row, (flags, index, name, offset)) in rows.into_iter().enumerate() {
        let last = row + 1 == rows.len();
        tables.half(1);
        tables.half(flags);
        tables.half(index);
        // One name.
        tables.half(1);
        tables.word(hash(name));
        tables.word(DEFINITION_BYTES);
        tables.word(if last { 0 } else { DEFINITION_BYTES + AUXILIARY_BYTES });
        tables.word(offset);
        tables.word(0);
    }
}

/// DT_HASH with one bucket: a list of all symbols.
fn hash_table(tables: &mut Tables, symbols: &[Symbol]) {
    let count = symbols.len() as u32;
    tables.begin(tag::HASH);
    tables.word(1);
    tables.word(count + 1);
    tables.word(u32::from(count > 0));
    tables.word(0);
    for index in 1..=count {
        tables.word(if index == count { 0 } else { index + 1 });
    }
}

/// DT_GNU_HASH with one bucket, and a filter that lets everything pass.
fn gnu_hash_table(tables: &mut Tables, symbols: &[Symbol]) {
    tables.begin(tag::GNU_HASH);
    // Buckets, first symbol, words of the filter, its shift.
    [1, 1, 1, 0].into_iter().for_each(|word| tables.word(word));
    tables.long(u64::MAX);
    tables.word(u32::from(!symbols.is_empty()));
    for (index, symbol) in symbols.iter().enumerate() {
        let last = u32::from(index + 1 == symbols.len());
        tables.word(gnu_hash(symbol.name.as_bytes()) & !1 | last);
    }
}

/// Writes the dynamic section; returns its offset and length.
fn dynamic_section(tables: &mut Tables) -> (u64, u64) {
    tables.align();
    let start = tables.bytes.len();
    let entries = core::mem::take(&mut tables.dynamic);
    for (tag, value) in entries.into_iter().chain([(0, 0)]) {
        tables.long(tag);
        tables.long(value);
    }
    (start as u64, (tables.bytes.len() - start) as u64)
}

fn put(image: &mut [u8], offset: usize, bytes: &[u8]) -> bool {
    let Some(place) = image.get_mut(offset..offset + bytes.len()) else { return false };
    place.copy_from_slice(bytes);
    true
}

fn header(image: &mut [u8], program_headers: u16) -> bool {
    let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
    // 64-bit, little-endian, version 1, System V.
    bytes.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for half in [3_u16, 62] {
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    // Entry, program headers, section headers.
    for long in [0, HEADER_BYTES, 0] {
        bytes.extend_from_slice(&long.to_le_bytes());
    }
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    let sizes = [HEADER_BYTES as u16, PROGRAM_HEADER_BYTES as u16, program_headers, 64, 0, 0];
    for half in sizes {
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    put(image, 0, &bytes)
}

fn program_header(image: &mut [u8], index: u64, kind: u32, offset: u64, length: u64) -> bool {
    const READ_EXECUTE: u32 = 5;
    const READ: u32 = 4;
    let loaded = kind == 1;
    let mut bytes = Vec::with_capacity(PROGRAM_HEADER_BYTES as usize);
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&if loaded { READ_EXECUTE } else { READ }.to_le_bytes());
    let alignment = if loaded { PAGE_SIZE } else { 8 };
    // Offset, virtual and physical address, length in file and memory, alignment.
    for long in [offset, offset, offset, length, length, alignment] {
        bytes.extend_from_slice(&long.to_le_bytes());
    }
    put(image, (HEADER_BYTES + index * PROGRAM_HEADER_BYTES) as usize, &bytes)
}

/// The hash of DT_HASH and version names (System V ABI, chapter 5).
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

/// The hash of DT_GNU_HASH.
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::{gnu_hash, hash};

    #[test]
    fn hashes_are_those_that_go_looks_for() {
        // runtime/vdso_linux_amd64.go of 1.16 to 1.27.
        assert_eq!(hash(b"LINUX_2.6"), 0x03ae_75f6);
        assert_eq!(hash(b"__vdso_clock_gettime"), 0x0d35_ec75);
        assert_eq!(gnu_hash(b"__vdso_clock_gettime"), 0x6e43_a318);
        assert_eq!(gnu_hash(b"__vdso_gettimeofday"), 0xb01b_ca00);
    }
}
