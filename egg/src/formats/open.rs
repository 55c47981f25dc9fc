//! Reading images back: for `egg inspect`, and for `egg run`, which must know what to give them.

use std::borrow::Cow;
use std::io::Cursor;

use gpt::GptConfig;

use super::bytes::{SECTOR, array};
use super::{elf, pe, qcow2, vhd, vhdx, vmdk};
use crate::cli::Format;

/// An image taken apart.
pub(crate) struct Opened {
    pub(crate) format: Format,
    /// What lies in it, outermost first: for people.
    pub(crate) parts: Vec<String>,
    /// The archive, or why there is none.
    pub(crate) archive: anyhow::Result<Vec<u8>>,
}

/// Opens what is no archive by itself. `None`: no image of any form that [`super::make`] makes.
pub(crate) fn open(file: &[u8]) -> Option<Opened> {
    if let Some(archive) = elf::archive_of(file) {
        let archive = archive.map(<[u8]>::to_vec);
        return Some(Opened { format: Format::Elf, parts: Vec::new(), archive });
    }
    if file.starts_with(b"MZ") {
        pe::section(file, pe::KERNEL)?;
        let mut parts = Vec::new();
        let archive = of_program(file, 0, &mut parts);
        return Some(Opened { format: Format::Efi, parts, archive });
    }
    let (format, disk) = disk_of(file)?;
    let disk = match disk {
        Ok(disk) => disk,
        Err(error) => {
            return Some(Opened { format, parts: Vec::new(), archive: Err(error) });
        }
    };
    let mut parts = partitions(&disk);
    let archive = match program_of(&disk) {
        Some(at) => of_program(disk.get(at..).unwrap_or_default(), at, &mut parts),
        None => Err(anyhow::anyhow!("there is no EFI program with a kernel in it")),
    };
    Some(Opened { format, parts, archive })
}

/// The disk, out of its container.
fn disk_of(file: &[u8]) -> Option<(Format, anyhow::Result<Cow<'_, [u8]>>)> {
    const ISO: usize = 0x8001;
    if let Some(disk) = qcow2::unwrap(file) {
        return Some((Format::Qcow2, disk.map(Cow::Owned)));
    }
    if let Some(disk) = vmdk::unwrap(file) {
        return Some((Format::Vmdk, disk.map(Cow::Owned)));
    }
    if let Some(disk) = vhdx::unwrap(file) {
        return Some((Format::Vhdx, disk.map(Cow::Owned)));
    }
    if let Some(disk) = vhd::unwrap(file) {
        return Some((Format::Vhd, Ok(Cow::Borrowed(disk))));
    }
    if array(file, ISO) == Some(*b"CD001") {
        return Some((Format::Iso, Ok(Cow::Borrowed(file))));
    }
    (array(file, SECTOR) == Some(*b"EFI PART")).then_some((Format::Raw, Ok(Cow::Borrowed(file))))
}

/// A line for each partition, or why there are none.
fn partitions(disk: &[u8]) -> Vec<String> {
    let table = GptConfig::new().writable(false).open_from_device(Cursor::new(disk.to_vec()));
    match table {
        Ok(table) => table
            .partitions()
            .values()
            .filter(|row| row.is_used())
            .map(|row| {
                let sectors = row.last_lba.saturating_sub(row.first_lba).saturating_add(1);
                format!(
                    "partition {:?}: {} KiB from sector {}",
                    row.name,
                    sectors / 2,
                    row.first_lba
                )
            })
            .collect(),
        Err(error) => vec![format!("the partition table cannot be read: {error}")],
    }
}

/// Where the EFI program begins: a sector that holds one with a kernel.
fn program_of(disk: &[u8]) -> Option<usize> {
    let begins = |at: &usize| {
        disk.get(*at..).is_some_and(|rest| rest.starts_with(b"MZ") && pe::has(rest, pe::KERNEL))
    };
    (0..disk.len()).step_by(SECTOR).find(begins)
}

/// The archive in an EFI program, which lies at `at` of the disk.
fn of_program(file: &[u8], at: usize, parts: &mut Vec<String>) -> anyhow::Result<Vec<u8>> {
    let find = |name, what: &str| {
        pe::section(file, name).ok_or_else(|| anyhow::anyhow!("{what} is missing or cut off"))
    };
    let kernel = find(pe::KERNEL, "its kernel")?;
    parts.push(format!("kernel: {} KiB at byte {}", kernel.length / 1024, at + kernel.offset));
    let archive = find(pe::ARCHIVE, "its archive")?;
    parts.push(format!("archive: {} KiB at byte {}", archive.length / 1024, at + archive.offset));
    let part = |name| pe::contents(file, name).unwrap_or_default();
    Ok(elf::archive_for(part(pe::KERNEL), part(pe::ARCHIVE))?.to_vec())
}
