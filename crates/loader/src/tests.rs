//! Tests, with programs made here byte by byte.

mod go_vdso;
mod programs;
mod stacks;

use alloc::vec;
use alloc::vec::Vec;

/// A program header for [`image`].
#[derive(Clone, Copy)]
struct Part {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

const LOAD: u32 = 1;
const READ_EXECUTE: u32 = 5;
const READ_WRITE: u32 = 6;

/// An ELF file of `bytes` bytes with these program headers.
fn image(kind: u16, entry: u64, parts: &[Part], bytes: usize) -> Vec<u8> {
    let mut file = vec![0; bytes.max(64 + parts.len() * 56)];
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file[16..18].copy_from_slice(&kind.to_le_bytes());
    file[18..20].copy_from_slice(&62_u16.to_le_bytes());
    file[20] = 1;
    file[24..32].copy_from_slice(&entry.to_le_bytes());
    file[32] = 64;
    file[52] = 64;
    file[54] = 56;
    file[56..58].copy_from_slice(&(parts.len() as u16).to_le_bytes());
    for (index, part) in parts.iter().enumerate() {
        let mut header = Vec::new();
        header.extend_from_slice(&part.kind.to_le_bytes());
        header.extend_from_slice(&part.flags.to_le_bytes());
        let longs =
            [part.offset, part.address, part.address, part.file_bytes, part.memory_bytes, 4096];
        for long in longs {
            header.extend_from_slice(&long.to_le_bytes());
        }
        let start = 64 + index * 56;
        file[start..start + 56].copy_from_slice(&header);
    }
    file
}

/// Text and data as Go lays them out.
fn go_parts(base: u64) -> [Part; 2] {
    [
        Part {
            kind: LOAD,
            flags: READ_EXECUTE,
            offset: 0,
            address: base,
            file_bytes: 0x1e11,
            memory_bytes: 0x1e11,
        },
        Part {
            kind: LOAD,
            flags: READ_WRITE,
            offset: 0x2000,
            address: base + 0x2000,
            file_bytes: 0x10e0,
            memory_bytes: 0x5dac,
        },
    ]
}
