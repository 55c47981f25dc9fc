//! VMware's sparse extent in one file (`monolithicSparse`; Virtual Disk Format 5.0, VMware 2011), which
//! VMware's desktop products, VirtualBox and QEMU read, and ESXi after `vmkfstools -i`. No crate writes
//! it.

use anyhow::Context;

use super::bytes::{SECTOR, is_zero, put, range, u32_at, u64_at};
use super::qcow2::bounded;
use super::{identifier, sectors};

const MAGIC: &[u8; 4] = b"KDMV";
/// Sectors of the unit that is there or not.
const GRAIN: usize = 128;
const GRAIN_BYTES: usize = GRAIN * SECTOR;
/// Entries of a table, and the sectors that it takes.
const ENTRIES: usize = 512;
const TABLE: usize = 4;
const DESCRIPTOR: usize = 1;
const DESCRIPTOR_SECTORS: usize = 20;
const DIRECTORY: usize = DESCRIPTOR + DESCRIPTOR_SECTORS;
/// Line ends can be checked; there is a second directory.
const FLAGS: u32 = 3;
/// End-of-line bytes: a transfer as text would change them.
const CHECK: &[u8; 4] = b"\n \r\n";

/// Puts a disk in.
pub(super) fn wrap(disk: &[u8]) -> anyhow::Result<Vec<u8>> {
    let capacity = sectors(disk)?;
    let grains = disk.len().div_ceil(GRAIN_BYTES);
    let tables = grains.div_ceil(ENTRIES);
    let directory_sectors = (4 * tables).div_ceil(SECTOR);
    // Both directories, each followed by its tables, which say the same.
    let copy = directory_sectors + tables * TABLE;
    let overhead = (DIRECTORY + 2 * copy).next_multiple_of(GRAIN);
    let mut file = vec![0; overhead * SECTOR];
    let directories = [DIRECTORY, DIRECTORY + copy];
    for directory in directories {
        for table in 0..tables {
            let at = u32::try_from(directory + directory_sectors + table * TABLE)?;
            put(&mut file, directory * SECTOR + 4 * table, &at.to_le_bytes())?;
        }
    }
    for (n, data) in disk.chunks(GRAIN_BYTES).enumerate().filter(|(_, data)| !is_zero(data)) {
        let at = u32::try_from(file.len() / SECTOR)?.to_le_bytes();
        for directory in directories {
            put(&mut file, (directory + directory_sectors) * SECTOR + 4 * n, &at)?;
        }
        file.extend_from_slice(data);
        file.resize(file.len().next_multiple_of(GRAIN_BYTES), 0);
    }
    let wide = |value: usize| (value as u64).to_le_bytes().to_vec();
    let header = [
        MAGIC.to_vec(),
        [1, FLAGS].map(u32::to_le_bytes).concat(),
        capacity.to_le_bytes().to_vec(),
        [GRAIN, DESCRIPTOR, DESCRIPTOR_SECTORS].into_iter().flat_map(wide).collect(),
        (ENTRIES as u32).to_le_bytes().to_vec(),
        [directories[0], directories[1], overhead].into_iter().flat_map(wide).collect(),
        [&[0], &CHECK[..]].concat(),
    ];
    put(&mut file, 0, &header.concat())?;
    put(&mut file, DESCRIPTOR * SECTOR, description(capacity, identifier(disk, 1)).as_bytes())?;
    Ok(file)
}

fn description(capacity: u64, identifier: u128) -> String {
    const HEADS: u64 = 16;
    const PER_TRACK: u64 = 63;
    // The name of the file is not known here; readers of one file do not ask.
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={:08x}\nparentCID=ffffffff\n\
         createType=\"monolithicSparse\"\n\nRW {capacity} SPARSE \"disk.vmdk\"\n\n\
         ddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{}\"\nddb.geometry.heads = \"{HEADS}\"\n\
         ddb.geometry.sectors = \"{PER_TRACK}\"\nddb.adapterType = \"ide\"\n",
        (identifier as u32) & 0x7fff_ffff | 1,
        (capacity / (HEADS * PER_TRACK)).min(16383),
    )
}

/// The disk within; `None`: no such file.
pub(super) fn unwrap(file: &[u8]) -> Option<anyhow::Result<Vec<u8>>> {
    file.starts_with(MAGIC).then(|| read(file).context("a damaged or foreign vmdk image"))
}

fn read(file: &[u8]) -> Option<Vec<u8>> {
    let plain = u64_at(file, 20)? == GRAIN as u64 && u32_at(file, 44)? == ENTRIES;
    let length = u64_at(file, 12).filter(|_| plain)?.checked_mul(SECTOR as u64)?;
    let directory = usize::try_from(u64_at(file, 56)?).ok()?.checked_mul(SECTOR)?;
    let mut disk = vec![0; bounded(length, file)?];
    for (n, place) in disk.chunks_mut(GRAIN_BYTES).enumerate() {
        let table = u32_at(file, directory.checked_add(4 * (n / ENTRIES))?)? * SECTOR;
        let grain = u32_at(file, table + 4 * (n % ENTRIES))? * SECTOR;
        if grain != 0 {
            place.copy_from_slice(range(file, grain, place.len())?);
        }
    }
    Some(disk)
}
