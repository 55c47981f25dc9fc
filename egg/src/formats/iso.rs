//! What makes a CD of a disk: the descriptors of ISO 9660 (ECMA-119) in the system area that a disk
//! leaves free, with El Torito's boot catalogue for BIOS and UEFI. Written by ourselves: crates and
//! xorriso lay files out as they like, and here they lie where the disk has them already.

use anyhow::Context;

use super::bytes::put;
use super::disk::CD_SECTOR;

/// Sectors of the CD.
const PRIMARY: usize = 16;
const BOOT_RECORD: usize = 17;
const TERMINATOR: usize = 18;
const PATHS: usize = 19;
const PATHS_BIG_ENDIAN: usize = 20;
const ROOT: usize = 21;
const CATALOGUE: usize = 22;

/// What it leads to, each as first byte and length.
pub(super) struct Catalogue {
    /// The EFI program, to be listed.
    pub(super) program: (usize, usize),
    /// The EFI system partition.
    pub(super) system: (usize, usize),
    /// What a BIOS starts.
    pub(super) bios: Option<(usize, usize)>,
}

/// A number in both orders, as the standard likes it.
fn both(value: usize) -> anyhow::Result<[u8; 8]> {
    let value = u32::try_from(value)?;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    Ok(bytes)
}

/// Writes the descriptors.
pub(super) fn add(disk: &mut [u8], what: &Catalogue) -> anyhow::Result<()> {
    let sectors = disk.len() / CD_SECTOR;
    put(disk, PRIMARY * CD_SECTOR, &primary(sectors)?)?;
    let mut record = b"\0CD001\x01EL TORITO SPECIFICATION".to_vec();
    record.resize(0x47, 0);
    record.extend((CATALOGUE as u32).to_le_bytes());
    put(disk, BOOT_RECORD * CD_SECTOR, &record)?;
    put(disk, TERMINATOR * CD_SECTOR, b"\xffCD001\x01")?;
    for (sector, root) in
        [(PATHS, (ROOT as u32).to_le_bytes()), (PATHS_BIG_ENDIAN, (ROOT as u32).to_be_bytes())]
    {
        let parent = if sector == PATHS { [1, 0] } else { [0, 1] };
        put(disk, sector * CD_SECTOR, &[&[1, 0][..], &root, &parent, &[0, 0]].concat())?;
    }
    let mut folder =
        [entry(b"\0", ROOT, CD_SECTOR, true)?, entry(b"\x01", ROOT, CD_SECTOR, true)?].concat();
    let (start, length) = what.program;
    if start.is_multiple_of(CD_SECTOR) {
        folder.extend(entry(b"BOOTX64.EFI;1", start / CD_SECTOR, length, false)?);
    }
    put(disk, ROOT * CD_SECTOR, &folder)?;
    put(disk, CATALOGUE * CD_SECTOR, &catalogue(what)?)
}

/// 8.4, the primary volume descriptor.
fn primary(sectors: usize) -> anyhow::Result<Vec<u8>> {
    /// Nothing is known: 8.4.26.1.
    const NO_DATE: [u8; 17] = *b"0000000000000000\0";
    const PATH_BYTES: usize = 10;
    let mut descriptor = b"\x01CD001\x01\0".to_vec();
    descriptor.resize(40, b' ');
    descriptor.extend(format!("{:<32}", "EGGOS").bytes());
    descriptor.resize(80, 0);
    descriptor.extend(both(sectors)?);
    descriptor.resize(120, 0);
    // Volume set size, volume sequence number, size of a block.
    for value in [1_u16, 1, CD_SECTOR as u16] {
        descriptor.extend(value.to_le_bytes());
        descriptor.extend(value.to_be_bytes());
    }
    descriptor.extend(both(PATH_BYTES)?);
    for table in [(PATHS as u32).to_le_bytes(), [0; 4]] {
        descriptor.extend(table);
    }
    for table in [(PATHS_BIG_ENDIAN as u32).to_be_bytes(), [0; 4]] {
        descriptor.extend(table);
    }
    descriptor.extend(entry(b"\0", ROOT, CD_SECTOR, true)?);
    // Names of volume set, publisher, preparer, application and files: none.
    descriptor.resize(813, b' ');
    (0..4).for_each(|_| descriptor.extend(NO_DATE));
    descriptor.push(1);
    Ok(descriptor)
}

/// 9.1, a row of a folder; 1 January 1980.
fn entry(name: &[u8], sector: usize, length: usize, is_folder: bool) -> anyhow::Result<Vec<u8>> {
    const FOLDER: u8 = 2;
    let mut entry = vec![0, 0];
    entry.extend(both(sector)?);
    entry.extend(both(length)?);
    entry.extend([80, 1, 1, 0, 0, 0, 0, if is_folder { FOLDER } else { 0 }, 0, 0, 1, 0, 0, 1]);
    entry.push(u8::try_from(name.len())?);
    entry.extend(name);
    entry.resize(entry.len().next_multiple_of(2), 0);
    let length = u8::try_from(entry.len())?;
    *entry.first_mut().context("an empty entry")? = length;
    Ok(entry)
}

/// El Torito 1.0, section 2: what BIOS and UEFI start.
fn catalogue(what: &Catalogue) -> anyhow::Result<Vec<u8>> {
    const PC: u8 = 0;
    const UEFI: u8 = 0xef;
    const LAST_SECTION: u8 = 0x91;
    /// What GRUB's first part needs.
    const BIOS_SECTORS: u16 = 4;
    // More than the field holds: to the end of the CD.
    let uefi_sectors = u16::try_from(what.system.1 / 512).unwrap_or(0);
    let uefi = bootable(what.system.0, uefi_sectors)?;
    let mut catalogue = vec![1, if what.bios.is_some() { PC } else { UEFI }, 0, 0];
    catalogue.resize(28, 0);
    catalogue.extend([0, 0, 0x55, 0xaa]);
    let words = catalogue.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    let sum = words.fold(0_u16, u16::wrapping_add).wrapping_neg();
    put(&mut catalogue, 28, &sum.to_le_bytes())?;
    match what.bios {
        Some((start, _)) => {
            catalogue.extend(bootable(start, BIOS_SECTORS)?);
            let mut header = vec![LAST_SECTION, UEFI, 1, 0];
            header.resize(32, 0);
            catalogue.extend(header);
            catalogue.extend(uefi);
        }
        None => catalogue.extend(uefi),
    }
    Ok(catalogue)
}

fn bootable(start: usize, sectors: u16) -> anyhow::Result<Vec<u8>> {
    const BOOTABLE: u8 = 0x88;
    let mut entry = vec![BOOTABLE, 0, 0, 0, 0, 0];
    entry.extend(sectors.to_le_bytes());
    entry.extend(u32::try_from(start / CD_SECTOR)?.to_le_bytes());
    entry.resize(32, 0);
    Ok(entry)
}
