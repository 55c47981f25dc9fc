//! Hyper-V's VHDX, of the dynamic kind ([MS-VHDX], Microsoft), which machines of generation 2 start
//! from. The crates that write it choose their identifiers at random: the same input would not give the
//! same bytes.
//!
//! | MiB | what |
//! |---|---|
//! | 0 | what it is, two headers, two region tables, which say the same |
//! | 1 | the log: empty |
//! | 2 | metadata |
//! | from 3 | the block allocation table |
//! | behind | blocks of the disk |

use anyhow::Context;
use crc::{CRC_32_ISCSI, Crc};
use uuid::Uuid;

use super::bytes::{SECTOR, array, is_zero, put, range, u16_at, u32_at, u64_at};
use super::identifier;
use super::qcow2::bounded;

const MAGIC: &[u8; 8] = b"vhdxfile";
/// Everything lies at whole ones; ours has blocks of this size, too.
const UNIT: usize = 1 << 20;
const PART: usize = 64 << 10;
const HEADERS: [usize; 2] = [PART, 2 * PART];
const HEADER_BYTES: usize = 4096;
const REGION_TABLES: [usize; 2] = [3 * PART, 4 * PART];
const LOG: usize = UNIT;
const METADATA: usize = 2 * UNIT;
const ALLOCATION: usize = 3 * UNIT;
/// In a header and in a region table.
const CHECKSUM: usize = 4;
/// In a header: of a log that is to be replayed.
const LOG_IDENTIFIER: usize = 48;
/// Bytes of a row of both kinds of table; of the head of the table of metadata.
const ROW: usize = 32;
/// Bytes of the head of a region table.
const REGION_HEAD: usize = 16;

/// Regions.
const BLOCKS: u128 = 0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08;
const ITEMS: u128 = 0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e;
/// Items of metadata.
const PARAMETERS: u128 = 0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b;
const DISK_BYTES: u128 = 0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8;
const DISK_IDENTIFIER: u128 = 0xbeca_12ab_b2e6_4523_93ef_c309_e000_c746;
const LOGICAL_SECTOR: u128 = 0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f;
const PHYSICAL_SECTOR: u128 = 0xcda3_48c7_445d_4471_9cc9_e988_5251_c556;
/// Flags of an item: it must be understood; it is of the disk, not of the file.
const REQUIRED: u32 = 4;
const OF_DISK: u32 = 2;

/// States of a block.
const ZERO: u64 = 2;
const PRESENT: u64 = 6;

/// Sectors, of whichever size, that one bitmap tells of; after the blocks with so many there is a row
/// for it, which only disks with a parent use.
const BITMAP_SECTORS: usize = 1 << 23;

/// Where a block's row is in the allocation table.
const fn row_of(block: usize, block_bytes: usize, sector: usize) -> Option<usize> {
    match (BITMAP_SECTORS * sector).checked_div(block_bytes) {
        Some(ratio) if ratio > 0 => (block + block / ratio).checked_mul(8),
        _ => None,
    }
}

fn guid(value: u128) -> [u8; 16] {
    Uuid::from_u128(value).to_bytes_le()
}

/// Puts a disk in.
pub(super) fn wrap(disk: &[u8]) -> anyhow::Result<Vec<u8>> {
    let row = |block| row_of(block, UNIT, SECTOR).context("no such block");
    let table_bytes = row(disk.len().div_ceil(UNIT))?.next_multiple_of(UNIT).max(UNIT);
    let mut file = vec![0; ALLOCATION + table_bytes];
    put(&mut file, 0, MAGIC)?;
    for (number, at) in HEADERS.into_iter().enumerate() {
        put(&mut file, at, &header(disk, number as u64)?)?;
    }
    for at in REGION_TABLES {
        put(&mut file, at, &regions(table_bytes)?)?;
    }
    put(&mut file, METADATA, &metadata(disk)?)?;
    for (n, data) in disk.chunks(UNIT).enumerate() {
        let state = match is_zero(data) {
            true => ZERO,
            false => u64::try_from(file.len())? | PRESENT,
        };
        put(&mut file, ALLOCATION + row(n)?, &state.to_le_bytes())?;
        if state != ZERO {
            file.extend_from_slice(data);
            file.resize(file.len().next_multiple_of(UNIT), 0);
        }
    }
    Ok(file)
}

/// A header or region table with its checksum.
fn summed(mut bytes: Vec<u8>, length: usize) -> anyhow::Result<Vec<u8>> {
    bytes.resize(length, 0);
    let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&bytes);
    put(&mut bytes, CHECKSUM, &sum.to_le_bytes())?;
    Ok(bytes)
}

/// The one with the higher number is the one in force.
fn header(disk: &[u8], number: u64) -> anyhow::Result<Vec<u8>> {
    const VERSION: u16 = 1;
    let bytes = [
        b"head\0\0\0\0".to_vec(),
        number.to_le_bytes().to_vec(),
        // Of the last writing of the file and of the disk; of the log: none.
        [identifier(disk, 3), identifier(disk, 4)].map(guid).concat(),
        vec![0; 16],
        [0, VERSION].map(u16::to_le_bytes).concat(),
        u32::try_from(UNIT)?.to_le_bytes().to_vec(),
        u64::try_from(LOG)?.to_le_bytes().to_vec(),
    ];
    summed(bytes.concat(), HEADER_BYTES)
}

fn regions(table_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let rows = [(ITEMS, METADATA, UNIT), (BLOCKS, ALLOCATION, table_bytes)];
    let mut table = b"regi\0\0\0\0".to_vec();
    table.extend([rows.len() as u32, 0].map(u32::to_le_bytes).concat());
    for (kind, at, length) in rows {
        table.extend(guid(kind));
        table.extend((at as u64).to_le_bytes());
        // It must be understood.
        table.extend([u32::try_from(length)?, 1].map(u32::to_le_bytes).concat());
    }
    summed(table, PART)
}

fn metadata(disk: &[u8]) -> anyhow::Result<Vec<u8>> {
    let sector = (SECTOR as u32).to_le_bytes().to_vec();
    let rows: [(u128, u32, Vec<u8>); 5] = [
        // No flags: neither fixed nor with a parent.
        (PARAMETERS, REQUIRED, [UNIT as u32, 0].map(u32::to_le_bytes).concat()),
        (DISK_BYTES, REQUIRED | OF_DISK, u64::try_from(disk.len())?.to_le_bytes().to_vec()),
        (DISK_IDENTIFIER, REQUIRED | OF_DISK, guid(identifier(disk, 5)).to_vec()),
        (LOGICAL_SECTOR, REQUIRED | OF_DISK, sector.clone()),
        (PHYSICAL_SECTOR, REQUIRED | OF_DISK, sector),
    ];
    let mut table = b"metadata\0\0".to_vec();
    table.extend((rows.len() as u16).to_le_bytes());
    table.resize(ROW, 0);
    let mut items = vec![0; PART];
    for (kind, flags, item) in rows {
        table.extend(guid(kind));
        let place = [items.len(), item.len()].map(|number| number as u32);
        table.extend([place[0], place[1], flags, 0].map(u32::to_le_bytes).concat());
        items.extend(item);
    }
    put(&mut items, 0, &table)?;
    Ok(items)
}

/// The disk within; `None`: no such file.
pub(super) fn unwrap(file: &[u8]) -> Option<anyhow::Result<Vec<u8>>> {
    file.starts_with(MAGIC).then(|| read(file).context("a damaged or foreign vhdx image"))
}

fn read(file: &[u8]) -> Option<Vec<u8>> {
    let replayed = |at| array(file, at + LOG_IDENTIFIER) == Some([0; 16]);
    HEADERS.into_iter().all(replayed).then_some(())?;
    let region = |kind| {
        let [table, _] = REGION_TABLES;
        let row = find(file, table + REGION_HEAD, u32_at(file, table + 8)?, kind)?;
        usize::try_from(u64_at(row, 16)?).ok()
    };
    let (metadata, allocation) = (region(ITEMS)?, region(BLOCKS)?);
    let item = |kind| {
        let rows = metadata.checked_add(ROW)?;
        let row = find(file, rows, u16_at(file, metadata.checked_add(10)?)?, kind)?;
        metadata.checked_add(u32_at(row, 16)?)
    };
    let parameters = item(PARAMETERS)?;
    let block = u32_at(file, parameters).filter(|bytes| bytes.is_power_of_two())?;
    let sector = u32_at(file, item(LOGICAL_SECTOR)?)?;
    let has_parent = u32_at(file, parameters.checked_add(4)?)? & 2 != 0;
    let length = u64_at(file, item(DISK_BYTES)?)?;
    let mut disk = vec![0; bounded(length, file).filter(|_| !has_parent)?];
    for (n, place) in disk.chunks_mut(block).enumerate() {
        let row = u64_at(file, allocation.checked_add(row_of(n, block, sector)?)?)?;
        if row & 7 == PRESENT {
            let at = usize::try_from(row).ok()? & !(UNIT - 1);
            place.copy_from_slice(range(file, at, place.len())?);
        }
    }
    Some(disk)
}

/// The row of a kind among `count` at `at`.
fn find(file: &[u8], at: usize, count: usize, kind: u128) -> Option<&[u8]> {
    range(file, at, count.checked_mul(ROW)?)?.chunks(ROW).find(|row| row.starts_with(&guid(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_bitmaps_lie_between_those_of_blocks() {
        let row = |block| row_of(block, UNIT, SECTOR).map(|at| at / 8);
        assert_eq!([row(0), row(4095), row(4096), row(8192)], [0, 4095, 4097, 8194].map(Some));
        assert_eq!(row_of(128, 32 * UNIT, SECTOR), Some(8 * 129));
        assert_eq!(row_of(1, 0, SECTOR), None);
    }

    #[test]
    fn a_disk_with_a_log_to_replay_is_not_read() {
        let mut file = wrap(&vec![1; 3 * UNIT]).unwrap();
        assert_eq!(unwrap(&file).unwrap().unwrap(), vec![1; 3 * UNIT]);
        file[HEADERS[1] + LOG_IDENTIFIER] = 1;
        assert!(unwrap(&file).unwrap().is_err());
    }
}
