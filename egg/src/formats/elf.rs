//! Kernel and archive as one ELF file, which QEMU, Firecracker and Cloud Hypervisor boot as a kernel
//! without anything else; and the seal, by which a kernel knows its archive.

use anyhow::Context;
use bundle::checksum;
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

use super::bytes::{array, put, range, u16_at, u64_at};

/// What stands before the words of `hal/src/x86_64/boot/entry.s` (`boot_archive`) there.
const MARK: &[u8; 8] = b"eggosELF";
/// It lies in the first segment, near the file's beginning.
const SEARCHED: usize = 64 << 10;
const PAGE: u64 = 4096;
/// Firmware of UEFI keeps memory for itself below (OVMF at 8 MiB), where GRUB does not look; Linux
/// lies here too.
const ARCHIVE_PLACE: u64 = 16 << 20;

/// Where the words are: first and one past the last address of an archive within the file, length
/// and checksum of the archive.
fn words(kernel: &[u8]) -> anyhow::Result<usize> {
    let searched = kernel.get(..SEARCHED.min(kernel.len())).unwrap_or_default();
    let found = searched.chunks_exact(8).position(|word| word == MARK);
    Ok(8 * (found.context("this kernel is not made to be packed")? + 1))
}

fn seal(kernel: &mut [u8], place: (u64, u64), archive: &[u8]) -> anyhow::Result<()> {
    let words_at = words(kernel)?;
    let length = u64::try_from(archive.len())?;
    let words = [place.0, place.1, length, checksum(archive)].map(u64::to_le_bytes).concat();
    put(kernel, words_at, &words)
}

/// The kernel as it boots with this archive only, and says so when it is damaged.
pub(super) fn sealed(kernel: &[u8], archive: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut kernel = kernel.to_vec();
    seal(&mut kernel, (0, 0), archive)?;
    Ok(kernel)
}

/// The kernel with one segment more, the archive, which is loaded above the others.
pub(super) fn join(kernel: &[u8], archive: &[u8]) -> anyhow::Result<Vec<u8>> {
    const TABLE: usize = 64;
    const ROW: usize = 56;
    const COUNT: usize = 56;
    let header = FileHeader64::<Endianness>::parse(kernel)?;
    let endian = header.endian()?;
    let rows = header.program_headers(endian, kernel)?;
    let loaded = || rows.iter().filter(|row| row.p_type(endian) == PT_LOAD);
    let memory_end = loaded().map(|row| row.p_paddr(endian).saturating_add(row.p_memsz(endian)));
    let kernel_end = memory_end.max().context("a kernel without segments")?;
    let start = kernel_end.next_multiple_of(PAGE).max(ARCHIVE_PLACE);
    let first = loaded().filter(|row| row.p_filesz(endian) > 0).map(|row| row.p_offset(endian));
    let first = usize::try_from(first.min().unwrap_or(0))?;
    let row_at = TABLE + ROW * rows.len();
    let room = header.e_phoff(endian) == TABLE as u64 && row_at + ROW <= first;
    anyhow::ensure!(room, "the kernel's file has no room for one segment more");

    let mut file = kernel.to_vec();
    file.resize(file.len().next_multiple_of(PAGE as usize), 0);
    let length = u64::try_from(archive.len())?;
    let offset = u64::try_from(file.len())?;
    file.extend_from_slice(archive);
    let mut row = [PT_LOAD.0.to_le_bytes(), 4_u32.to_le_bytes()].concat();
    row.extend([offset, start, start, length, length, PAGE].map(u64::to_le_bytes).concat());
    put(&mut file, row_at, &row)?;
    put(&mut file, COUNT, &u16::try_from(rows.len() + 1)?.to_le_bytes())?;
    // Section headers, if there were any, are of no use.
    seal(&mut file, (start, start.saturating_add(length)), archive)?;
    Ok(file)
}

/// The archive within a file that [`join`] made; `None`: it is no such file. An error: it is damaged.
pub(super) fn archive_of(file: &[u8]) -> Option<anyhow::Result<&[u8]>> {
    file.starts_with(b"\x7fELF").then_some(())?;
    let words_at = words(file).ok()?;
    let [start, end, length, sum] =
        [0, 8, 16, 24].map(|offset| u64_at(file, words_at + offset).unwrap_or(0));
    (end > start).then_some(())?;
    let find = || {
        let table = usize::try_from(u64_at(file, 32)?).ok()?;
        let count = u16_at(file, 56)?;
        let row_of = |n: usize| range(file, table.checked_add(n.checked_mul(56)?)?, 56);
        let row = (0..count)
            .filter_map(row_of)
            .find(|row| array(row, 24) == Some(start.to_le_bytes()))?;
        range(file, usize::try_from(u64_at(row, 8)?).ok()?, usize::try_from(length).ok()?)
    };
    Some(verified(find(), length, sum))
}

/// The archive that a sealed kernel belongs to, out of the bytes where it should be.
pub(super) fn archive_for<'a>(kernel: &[u8], bytes: &'a [u8]) -> anyhow::Result<&'a [u8]> {
    let words_at = words(kernel)?;
    let [length, sum] = [16, 24].map(|offset| u64_at(kernel, words_at + offset).unwrap_or(0));
    let archive = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
    verified(archive, length, sum)
}

fn verified(archive: Option<&[u8]>, length: u64, sum: u64) -> anyhow::Result<&[u8]> {
    let archive = archive.filter(|_| length > 0).context("its archive is cut off")?;
    anyhow::ensure!(checksum(archive) == sum, "the checksum of its archive is wrong");
    Ok(archive)
}
