//! QEMU's qcow2, version 3, uncompressed (docs/interop/qcow2.txt of QEMU). Written by ourselves: the
//! crates that write it bring an asynchronous runtime along.

use anyhow::Context;

use super::bytes::{array, is_zero, put, range};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
const MAGIC: &[u8; 4] = b"QFI\xfb";
const HEADER_BYTES: u32 = 104;
/// 16 bits a reference count.
const COUNT_ORDER: u32 = 4;
/// Nothing else refers to that cluster.
const SOLE: u64 = 1 << 63;
const ENTRIES: usize = CLUSTER / 8;
/// No image of ours is larger; what says so is damaged.
const LARGEST: u64 = 1 << 36;

/// Puts a disk in.
pub(super) fn wrap(disk: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Header, table of tables, then the tables, then data; reference counts are last.
    let tables = disk.len().div_ceil(CLUSTER * ENTRIES);
    anyhow::ensure!(tables <= ENTRIES, "a disk too large for one table");
    let mut file = vec![0; (2 + tables) * CLUSTER];
    for table in 0..tables {
        let entry = ((2 + table) * CLUSTER) as u64 | SOLE;
        put(&mut file, CLUSTER + 8 * table, &entry.to_be_bytes())?;
    }
    for (n, data) in disk.chunks(CLUSTER).enumerate().filter(|(_, data)| !is_zero(data)) {
        let entry = u64::try_from(file.len())? | SOLE;
        put(&mut file, 2 * CLUSTER + 8 * n, &entry.to_be_bytes())?;
        file.extend_from_slice(data);
        file.resize(file.len().next_multiple_of(CLUSTER), 0);
    }
    let table_at = file.len();
    add_counts(&mut file)?;
    let header = [
        MAGIC.to_vec(),
        3_u32.to_be_bytes().to_vec(),
        vec![0; 12],
        CLUSTER_BITS.to_be_bytes().to_vec(),
        u64::try_from(disk.len())?.to_be_bytes().to_vec(),
        vec![0; 4],
        u32::try_from(tables)?.to_be_bytes().to_vec(),
        (CLUSTER as u64).to_be_bytes().to_vec(),
        u64::try_from(table_at)?.to_be_bytes().to_vec(),
        1_u32.to_be_bytes().to_vec(),
        vec![0; 36],
        COUNT_ORDER.to_be_bytes().to_vec(),
        HEADER_BYTES.to_be_bytes().to_vec(),
    ];
    put(&mut file, 0, &header.concat())?;
    Ok(file)
}

/// Adds the table of reference counts and its blocks: everything is referred to once.
fn add_counts(file: &mut Vec<u8>) -> anyhow::Result<()> {
    const COUNTS: usize = CLUSTER / 2;
    let table_at = file.len();
    let others = table_at / CLUSTER + 1;
    // The blocks count themselves.
    let blocks = (others + others.div_ceil(COUNTS - 1)).div_ceil(COUNTS);
    anyhow::ensure!(blocks <= ENTRIES, "a disk too large to count");
    file.resize((others + blocks) * CLUSTER, 0);
    for block in 0..blocks {
        let at = u64::try_from((others + block) * CLUSTER)?;
        put(file, table_at + 8 * block, &at.to_be_bytes())?;
    }
    for cluster in 0..others + blocks {
        put(file, others * CLUSTER + 2 * cluster, &1_u16.to_be_bytes())?;
    }
    Ok(())
}

/// The disk within; `None`: no such file.
pub(super) fn unwrap(file: &[u8]) -> Option<anyhow::Result<Vec<u8>>> {
    file.starts_with(MAGIC).then(|| read(file).context("a damaged or foreign qcow2 image"))
}

fn read(file: &[u8]) -> Option<Vec<u8>> {
    let word = |at| Some(u64::from_be_bytes(array(file, at)?));
    let half = |at| Some(u32::from_be_bytes(array(file, at)?));
    let plain = half(20)? == CLUSTER_BITS && half(32)? == 0 && word(8)? == 0 && word(72)? == 0;
    let length = word(24).filter(|length| plain && *length <= LARGEST)?;
    let mut disk = vec![0; bounded(length, file)?];
    let tables = usize::try_from(word(40)?).ok()?;
    for (n, place) in disk.chunks_mut(CLUSTER).enumerate() {
        let table = usize::try_from(word(tables.checked_add(8 * (n / ENTRIES))?)? & !SOLE).ok()?;
        if table == 0 {
            continue;
        }
        let entry = usize::try_from(word(table.checked_add(8 * (n % ENTRIES))?)? & !SOLE).ok()?;
        if entry != 0 {
            place.copy_from_slice(range(file, entry, place.len())?);
        }
    }
    Some(disk)
}

/// A disk's length that a file of this size may have: ours have few holes.
pub(super) fn bounded(length: u64, file: &[u8]) -> Option<usize> {
    const HOLES: usize = 64 << 20;
    usize::try_from(length).ok().filter(|length| *length <= file.len().saturating_add(HOLES))
}
