//! A FAT volume, by the `fatfs` crate, with its files in one piece each.

use std::io::{Cursor, Write};

use anyhow::Context;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use super::bytes::{SECTOR, u16_at};

/// Sectors of a CD are so many of ours: files that begin on one can be listed there too.
const CD_SECTORS: usize = 4;
/// Room for what firmware itself may write.
const SPARE: usize = 64 << 10;
/// Entries of the root folder in one sector.
const ENTRIES: u16 = 16;

/// A volume that holds one file, at a path of two folders.
pub(super) fn volume(path: [&str; 3], contents: &[u8], id: u32) -> anyhow::Result<Vec<u8>> {
    // Two tables of 2 bytes or less for each sector.
    let bytes = contents.len() + contents.len() / 64 + SPARE;
    let mut volume = vec![0; bytes.next_multiple_of(CD_SECTORS * SECTOR)];
    format(&mut volume, id)?;
    let system = FileSystem::new(Cursor::new(&mut volume), FsOptions::new())?;
    let [outer, inner, name] = path;
    let folder = system.root_dir().create_dir(outer)?.create_dir(inner)?;
    let mut file = folder.create_file(name)?;
    file.write_all(contents).context("the file system is too small")?;
    file.flush()?;
    drop(file);
    drop(folder);
    system.unmount()?;
    Ok(volume)
}

/// Formats it so that its clusters begin on a sector of a CD, where that can be had.
fn format(volume: &mut [u8], id: u32) -> anyhow::Result<()> {
    const ROOT: u16 = 512;
    let mut entries = ROOT;
    for _ in 0..CD_SECTORS {
        let options = || {
            FormatVolumeOptions::new()
                .volume_id(id)
                .volume_label(*b"EGGOS      ")
                .max_root_dir_entries(entries)
        };
        with_options(volume, &options)?;
        let field = |at| u16_at(volume, at).unwrap_or(0);
        let (reserved, tables, table) =
            (field(14), usize::from(volume.get(16).copied().unwrap_or(0)), field(22));
        let before = reserved + tables * table + usize::from(entries / ENTRIES);
        match u16::try_from((CD_SECTORS - before % CD_SECTORS) % CD_SECTORS)? {
            0 => break,
            missing => entries += ENTRIES * missing,
        }
    }
    Ok(())
}

/// With clusters of the size that the crate chooses, or else of another: with some sizes of volumes it chooses
/// one that makes too many clusters for FAT12, or FAT16, and too few for the next.
fn with_options(
    volume: &mut [u8],
    options: &dyn Fn() -> FormatVolumeOptions,
) -> anyhow::Result<()> {
    const OTHERS: [u32; 2] = [2 << 10, 4 << 10];
    let mut outcome = fatfs::format_volume(Cursor::new(&mut *volume), options());
    for bytes in OTHERS {
        if outcome.is_err() {
            let options = options().bytes_per_cluster(bytes);
            outcome = fatfs::format_volume(Cursor::new(&mut *volume), options);
        }
    }
    Ok(outcome?)
}

#[cfg(test)]
mod tests {
    use super::format;

    /// Sizes where FAT12 ends, and where FAT16 does.
    #[test]
    fn every_size_makes_a_volume() {
        const STEP: usize = 2048;
        let mut failed = Vec::new();
        for (from, to) in [(4 << 20, 17 << 18), (127 << 20 | 7 << 17, 128 << 20 | 1 << 17)] {
            let mut volume = vec![0; to];
            for size in (from..=to).step_by(STEP) {
                if let Err(error) = format(&mut volume[..size], 1) {
                    failed.push((size, error.to_string()));
                }
            }
        }
        assert!(failed.is_empty(), "{} sizes: {:?}", failed.len(), failed.first());
    }
}
