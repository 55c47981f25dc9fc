//! A fixed VHD: the disk, and a footer (Virtual Hard Disk Image Format Specification, Microsoft 2006).
//! Azure takes no other kind. No crate writes it.

use super::bytes::{SECTOR, put};
use super::identifier;

const COOKIE: &[u8; 8] = b"conectix";
const CHECKSUM: usize = 64;

/// Adds the footer.
pub(super) fn wrap(mut disk: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    /// Nobody reads the time; 0 is 1 January 2000.
    const TIME: u32 = 0;
    const FIXED: u32 = 2;
    let length = u64::try_from(disk.len())?;
    let (cylinders, heads, per_track) = geometry(length / SECTOR as u64);
    let mut footer = [
        COOKIE.to_vec(),
        [2, 0x1_0000].map(u32::to_be_bytes).concat(),
        vec![0xff; 8],
        TIME.to_be_bytes().to_vec(),
        // Of whose disks readers take the size as it is, not as the geometry rounds it.
        b"win \0\x0a\0\0Wi2k".to_vec(),
        [length, length].map(u64::to_be_bytes).concat(),
        cylinders.to_be_bytes().to_vec(),
        vec![heads, per_track],
        FIXED.to_be_bytes().to_vec(),
        vec![0; 4],
        identifier(&disk, 2).to_be_bytes().to_vec(),
    ]
    .concat();
    footer.resize(SECTOR, 0);
    let sum = footer.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    put(&mut footer, CHECKSUM, &(!sum).to_be_bytes())?;
    disk.extend(footer);
    Ok(disk)
}

/// Appendix "CHS Calculation" there.
fn geometry(sectors: u64) -> (u16, u8, u8) {
    const MOST: u64 = 65535 * 16 * 255;
    let sectors = sectors.min(MOST);
    let (mut heads, mut per_track) = (16, 255);
    if sectors < 65535 * 16 * 63 {
        per_track = 17;
        heads = (sectors / 17).div_ceil(1024).max(4);
        if sectors / 17 >= heads * 1024 || heads > 16 {
            (heads, per_track) = (16, 31);
        }
        if sectors / per_track >= heads * 1024 {
            (heads, per_track) = (16, 63);
        }
    }
    let cylinders = sectors / per_track / heads;
    (u16::try_from(cylinders).unwrap_or(u16::MAX), heads as u8, per_track as u8)
}

/// The disk before the footer; `None`: no such file.
pub(super) fn unwrap(file: &[u8]) -> Option<&[u8]> {
    let (disk, footer) = file.split_at_checked(file.len().checked_sub(SECTOR)?)?;
    footer.starts_with(COOKIE).then_some(disk)
}
