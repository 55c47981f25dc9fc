//! What the loader says: PVH's `hvm_start_info`, Linux's `boot_params` or multiboot2's information.
//! None of it is trusted: addresses must lie below 4 GiB (all that is mapped so early), counts are
//! bounded, and the archive must lie outside the kernel; what is not usable memory is moved there.

use super::super::fw_cfg;
use super::super::paging::{self, direct, direct_mut};
use super::map::{self, Builder};
use super::multiboot;
use super::{BOOT_MAP_END, Framebuffer, Seal};
use base::PAGE_SIZE;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// The kinds of loader, as `entry.s` numbers them; the third is Linux's.
const PVH: u32 = 0;
const MULTIBOOT: u32 = 2;
const PVH_MAGIC: u32 = 0x336e_c578;
const COMMAND_LINE_BYTES: usize = 4096;
pub(super) const MAP_ENTRIES: u64 = 128;
/// Type of usable memory in both kinds of map.
const USABLE: u32 = 1;

/// What was read.
pub(super) struct Information {
    pub(super) command_line: &'static str,
    pub(super) rsdp: u64,
    /// The archive, as physical addresses; empty when there is none.
    pub(super) archive: (u64, u64),
    pub(super) framebuffer: Option<Framebuffer>,
}

impl Information {
    /// The archive's frames.
    pub(super) fn archive_frames(&self) -> (u64, u64) {
        (self.archive.0, self.archive.1.next_multiple_of(PAGE_SIZE))
    }

    /// The archive, in the final direct map.
    pub(super) fn archive(&self) -> Option<&'static [u8]> {
        let (start, end) = self.archive;
        if start >= end {
            return None;
        }
        // SAFETY: the frames are mapped, read-only, and given to nobody else.
        Some(unsafe { core::slice::from_raw_parts(direct(start), (end - start) as usize) })
    }
}

/// Reads a value at a physical address; `None` outside what is mapped.
pub(super) fn read_at<T: Plain>(address: u64) -> Option<T> {
    let end = address.checked_add(size_of::<T>() as u64)?;
    // SAFETY: mapped by the boot page tables; any bytes are a `T`.
    (address != 0 && end <= BOOT_MAP_END).then(|| unsafe { direct::<T>(address).read_unaligned() })
}

/// # Safety
/// Any bytes are a valid value.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u16 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}

struct CommandLine(UnsafeCell<[u8; COMMAND_LINE_BYTES]>);
// SAFETY: written once, before anybody reads it (`COPIED`).
unsafe impl Sync for CommandLine {}
static COMMAND_LINE: CommandLine = CommandLine(UnsafeCell::new([0; COMMAND_LINE_BYTES]));
static COPIED: AtomicBool = AtomicBool::new(false);

/// The file of QEMU's configuration device that is added to the loader's command line.
const MORE: &str = "opt/eggos/cmdline";

/// Copies the loader's string, whose memory is not kept, and what QEMU's user adds to it.
pub(super) fn copy_command_line(address: u64) -> &'static str {
    if COPIED.swap(true, Ordering::Relaxed) {
        return "";
    }
    // SAFETY: nobody else has a reference: only the first call comes here.
    let buffer = unsafe { &mut *COMMAND_LINE.0.get() };
    let mut length = 0;
    for (slot, at) in buffer.iter_mut().zip(address..) {
        match read_at::<u8>(at) {
            None | Some(0) => break,
            Some(byte) => *slot = byte,
        }
        length += 1;
    }
    if let Some((space, room)) = buffer.get_mut(length..).and_then(<[u8]>::split_first_mut)
        && let Some(more) = fw_cfg::read_file(MORE, room)
    {
        *space = b' ';
        length += 1 + more.iter().position(|byte| *byte == 0).unwrap_or(more.len());
    }
    let bytes: &'static [u8] = buffer.get(..length).unwrap_or_default();
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            str::from_utf8(valid).unwrap_or_default()
        }
    }
}

/// Reads everything and publishes the memory map.
pub(super) fn read(loader: u32, address: u64) -> Information {
    let raw = match loader {
        PVH => read_pvh(address),
        MULTIBOOT => multiboot::read(address),
        _ => read_linux(address),
    };
    let Some(mut raw) = raw else {
        panic!("the loader's information is not valid");
    };
    if !COPIED.load(Ordering::Relaxed) {
        raw.command_line = copy_command_line(0);
    }
    if raw.archive.0 >= raw.archive.1 {
        raw.archive = archive_within();
    }
    Information { archive: in_memory(raw.archive), ..raw }
}

/// The archive where nobody else writes; empty when it is none.
///
/// QEMU places what `-initrd` names by the size of memory alone. Its BIOS then reserves some there, more
/// with each disk, and the archive's end lies in what drivers of the firmware use. Linux moves it too
/// (`relocate_initrd`).
fn in_memory((start, end): (u64, u64)) -> (u64, u64) {
    let frames_end = end.checked_next_multiple_of(PAGE_SIZE).unwrap_or(0);
    if start >= frames_end || !start.is_multiple_of(PAGE_SIZE) || is_own(start, end) {
        return (0, 0);
    }
    if map::is_memory(start, frames_end) {
        return (start, end);
    }
    if frames_end > BOOT_MAP_END {
        return (0, 0);
    }
    let bytes = frames_end - start;
    let below = |range: &map::MemoryRange| range.end.min(BOOT_MAP_END).checked_sub(bytes);
    let fits = |range: &map::MemoryRange| {
        below(range).filter(|place| range.start <= *place && !is_own(*place, place + bytes))
    };
    let Some(place) = map::usable().iter().rev().find_map(fits) else { return (0, 0) };
    // SAFETY: both are mapped; the new place is memory that nobody uses yet: the kernel lies
    // elsewhere, and what the loader said is copied.
    unsafe { direct_mut::<u8>(place).copy_from(direct(start), bytes as usize) };
    (place, place + (end - start))
}

/// True when some of it is the kernel.
fn is_own(start: u64, end: u64) -> bool {
    [paging::kernel_image(), paging::boot_image()]
        .iter()
        .any(|range| start < range.1 && range.0 < end)
}

unsafe extern "C" {
    /// Of `entry.s`: four words, in the boot image.
    static boot_archive: u8;
}

/// One of the words there.
fn word(n: u64) -> u64 {
    read_at(&raw const boot_archive as u64 + 8 * n).unwrap_or(0)
}

/// The archive that the kernel's own file brought (`egg build --format elf`); empty without one.
fn archive_within() -> (u64, u64) {
    (word(0), word(1))
}

/// What `egg build` knew of the archive.
pub(super) fn seal() -> Option<Seal> {
    let seal = Seal { bytes: word(2), checksum: word(3) };
    (seal.bytes != 0).then_some(seal)
}

fn read_pvh(at: u64) -> Option<Information> {
    if read_at::<u32>(at)? != PVH_MAGIC {
        return None;
    }
    let version: u32 = read_at(at + 4)?;
    let modules: u32 = read_at(at + 12)?;
    let module_list: u64 = read_at(at + 16)?;
    let command_line: u64 = read_at(at + 24)?;
    let rsdp: u64 = read_at(at + 32)?;
    if version == 0 {
        // No memory map.
        return None;
    }
    let entries: u64 = read_at(at + 40)?;
    let count = u64::from(read_at::<u32>(at + 48)?).min(MAP_ENTRIES);
    read_map(entries, count, 24);
    let module = if modules > 0 { module_at(module_list) } else { None };
    let command_line = copy_command_line(command_line);
    Some(Information { command_line, rsdp, archive: module.unwrap_or((0, 0)), framebuffer: None })
}

/// `hvm_modlist_entry`.
fn module_at(at: u64) -> Option<(u64, u64)> {
    let start: u64 = read_at(at)?;
    let bytes: u64 = read_at(at.checked_add(8)?)?;
    Some((start, start.checked_add(bytes)?))
}

/// Both kinds of map have address, size and type in this order, at different distances.
pub(super) fn read_map(entries: u64, count: u64, distance: u64) {
    let mut builder = Builder::new();
    let each = |at: u64| -> Option<(u64, u64, u32)> {
        Some((read_at(at)?, read_at(at.checked_add(8)?)?, read_at(at.checked_add(16)?)?))
    };
    let all = || (0..count).filter_map(|n| each(entries.checked_add(n * distance)?));
    for (start, bytes, kind) in all() {
        if kind == USABLE {
            builder.add(start, bytes);
        }
    }
    // Where entries overlap, memory is what no other entry claims.
    for (start, bytes, kind) in all() {
        if kind != USABLE {
            builder.remove(start, bytes);
        }
    }
    builder.finish();
}

/// Offsets in `boot_params`: Documentation/arch/x86/zero-page.rst and boot.rst.
fn read_linux(at: u64) -> Option<Information> {
    const HEADER_MAGIC: u32 = 0x5372_6448; // "HdrS"
    if read_at::<u32>(at + 0x202)? != HEADER_MAGIC {
        return None;
    }
    let wide = |low: u64, high: u64| -> Option<u64> {
        Some(u64::from(read_at::<u32>(at + high)?) << 32 | u64::from(read_at::<u32>(at + low)?))
    };
    let count = u64::from(read_at::<u8>(at + 0x1e8)?).min(MAP_ENTRIES);
    read_map(at + 0x2d0, count, 20);
    let start = wide(0x218, 0xc0)?;
    let end = start.checked_add(wide(0x21c, 0xc4)?)?;
    let command_line = wide(0x228, 0xc8)?;
    let command_line = copy_command_line(command_line);
    let rsdp = read_at(at + 0x70)?;
    Some(Information { command_line, rsdp, archive: (start, end), framebuffer: None })
}
