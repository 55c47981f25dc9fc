//! A disk: GPT (by the `gpt` crate) with an EFI system partition that holds the EFI program, and, where
//! there is GRUB, a partition and a boot record for BIOS.
//!
//! | sectors | what |
//! |---|---|
//! | 0 to 33 | protective MBR with boot code, GPT |
//! | 64 to 127 | an ISO's descriptors (`iso`), else nothing |
//! | from 128 | GRUB as a disk starts it, then as a CD does |
//! | from 2048, on a CD 768 | the EFI system partition: FAT with `EFI/BOOT/BOOTX64.EFI` |
//! | the last 33 | GPT's backup |

use std::collections::BTreeMap;
use std::io::Cursor;

use anyhow::Context;
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{BIOS, EFI, Type};

use super::bytes::{SECTOR, put};
use super::fat;
use super::grub::{Blocks, Grub};
use super::identifier;
use super::iso::{self, Catalogue};
use super::pe;

const GRUB_FIRST: usize = 128;
/// Disks have their partitions at whole mebibytes; a CD is to be small.
const SYSTEM_FIRST: usize = 2048;
const SYSTEM_FIRST_ON_CD: usize = 768;
/// At the end, for GPT's backup.
const BACKUP: usize = 33;
/// Clouds want whole mebibytes.
const DISK_UNIT: usize = 1 << 20;
/// Of a CD.
pub(super) const CD_SECTOR: usize = 2048;

/// A disk that boots the program, by BIOS too where there is GRUB; as a CD too if it `is_cd`.
pub(super) fn make(
    program: &[u8],
    is_cd: bool,
    grub: Option<&Grub>,
    step: &mut dyn FnMut(&'static str),
) -> anyhow::Result<Vec<u8>> {
    step("file system");
    let mut layout = Layout::new(program, is_cd)?;
    if let Some(grub) = grub {
        step("GRUB");
        layout.add_grub(program, grub)?;
    }
    step("disk");
    layout.finish()
}

struct Layout {
    bytes: Vec<u8>,
    identifier: u128,
    is_cd: bool,
    /// Where the program lies on the disk.
    program: (usize, usize),
    /// The EFI system partition: first byte and length.
    system: (usize, usize),
    record: Option<[u8; 440]>,
    partitions: BTreeMap<u32, Partition>,
    /// What a CD's BIOS starts: first byte and length.
    cd_boot: Option<(usize, usize)>,
}

impl Layout {
    fn new(program: &[u8], is_cd: bool) -> anyhow::Result<Self> {
        let identifier = identifier(program, 0);
        let volume = fat::volume(["EFI", "BOOT", "BOOTX64.EFI"], program, identifier as u32)?;
        let start = SECTOR * if is_cd { SYSTEM_FIRST_ON_CD } else { SYSTEM_FIRST };
        let within = place_of(&volume, program).context("the file system scattered a file")?;
        let unit = if is_cd { CD_SECTOR } else { DISK_UNIT };
        let mut bytes = vec![0; (start + volume.len() + BACKUP * SECTOR).next_multiple_of(unit)];
        put(&mut bytes, start, &volume)?;
        let mut layout = Self {
            bytes,
            identifier,
            is_cd,
            program: (start + within, program.len()),
            system: (start, volume.len()),
            record: None,
            partitions: BTreeMap::new(),
            cd_boot: None,
        };
        layout.add_partition(1, "EFI system", EFI, start, volume.len());
        Ok(layout)
    }

    fn add_partition(&mut self, number: u32, name: &str, kind: Type, start: usize, length: usize) {
        let identifier = self.identifier.wrapping_add(u128::from(number));
        let partition = Partition {
            part_type_guid: kind,
            part_guid: uuid::Builder::from_custom_bytes(identifier.to_le_bytes()).into_uuid(),
            first_lba: (start / SECTOR) as u64,
            last_lba: ((start + length) / SECTOR) as u64 - 1,
            flags: 0,
            name: name.to_owned(),
        };
        self.partitions.insert(number, partition);
    }

    fn add_grub(&mut self, program: &[u8], grub: &Grub) -> anyhow::Result<()> {
        let blocks = |name| {
            let section = pe::section(program, name).context("a program without its sections")?;
            let offset = self.program.0 + section.offset;
            anyhow::ensure!(offset.is_multiple_of(SECTOR), "a section between sectors");
            Ok(Blocks::of_bytes(offset, section.length))
        };
        let (kernel, archive) = (blocks(pe::KERNEL)?, blocks(pe::ARCHIVE)?);
        let core = grub.on_disk(GRUB_FIRST, kernel, archive)?;
        let mut end = GRUB_FIRST * SECTOR + core.len();
        put(&mut self.bytes, GRUB_FIRST * SECTOR, &core)?;
        if self.is_cd {
            let start = end.next_multiple_of(CD_SECTOR);
            let core = grub.on_cd(start / CD_SECTOR, kernel, archive)?;
            put(&mut self.bytes, start, &core)?;
            self.cd_boot = Some((start, core.len()));
            end = start + core.len();
        }
        let start = GRUB_FIRST * SECTOR;
        anyhow::ensure!(end <= self.system.0, "GRUB is too large");
        self.add_partition(2, "BIOS boot", BIOS, start, self.system.0 - start);
        self.record = Some(grub.boot_record(GRUB_FIRST)?);
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        let sectors = u32::try_from(self.bytes.len() / SECTOR).context("a disk of 2 TiB")?;
        let mut record = ProtectiveMBR::with_lb_size(sectors - 1);
        if let Some(code) = self.record {
            record.set_bootcode(code);
        }
        let identifier = uuid::Builder::from_custom_bytes(self.identifier.to_le_bytes());
        let mut device = Cursor::new(&mut self.bytes);
        record.overwrite_lba0(&mut device)?;
        let mut table = GptConfig::new()
            .writable(true)
            .logical_block_size(LogicalBlockSize::Lb512)
            .create_from_device(device, Some(identifier.into_uuid()))?;
        table.update_partitions(self.partitions)?;
        table.write()?;
        if self.is_cd {
            iso::add(
                &mut self.bytes,
                &Catalogue { program: self.program, system: self.system, bios: self.cd_boot },
            )?;
        }
        Ok(self.bytes)
    }
}

/// Where the file lies in the volume, if in one piece: an empty volume is filled from its start.
fn place_of(volume: &[u8], file: &[u8]) -> Option<usize> {
    (0..volume.len())
        .step_by(SECTOR)
        .find(|at| volume.get(*at..).is_some_and(|rest| rest.starts_with(file)))
}
