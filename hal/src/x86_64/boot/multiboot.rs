//! Multiboot2's information: a row of tags (multiboot2 specification 2.0, section 3.6).

use super::Framebuffer;
use super::information::{Information, MAP_ENTRIES, copy_command_line, read_at, read_map};

const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
const FRAMEBUFFER: u32 = 8;
const OLD_RSDP: u32 = 14;
const NEW_RSDP: u32 = 15;
const END: u32 = 0;
/// Tags start at multiples of this.
const ALIGNMENT: u64 = 8;

/// Reads the tags and publishes the memory map. The first module is the archive. ACPI's root pointer
/// is a copy among the tags: it must be read before their memory is used. `None`: not valid, or
/// without a memory map.
#[cold]
pub(super) fn read(at: u64) -> Option<Information> {
    let end = at.checked_add(u64::from(read_at::<u32>(at)?))?;
    let mut found = Information { command_line: "", rsdp: 0, archive: (0, 0), framebuffer: None };
    let mut has_map = false;
    let mut tag = at + ALIGNMENT;
    while tag + ALIGNMENT <= end {
        let (kind, bytes) = (read_at::<u32>(tag)?, u64::from(read_at::<u32>(tag + 4)?));
        let content = tag + ALIGNMENT;
        match kind {
            END => break,
            COMMAND_LINE => found.command_line = copy_command_line(content),
            MODULE if found.archive.1 == 0 => {
                let (start, end) = (read_at::<u32>(content)?, read_at::<u32>(content + 4)?);
                found.archive = (u64::from(start), u64::from(end));
            }
            MEMORY_MAP if !has_map => {
                let distance = u64::from(read_at::<u32>(content)?);
                let count = bytes.checked_sub(16)?.checked_div(distance)?;
                read_map(tag + 16, count.min(MAP_ENTRIES), distance);
                has_map = true;
            }
            FRAMEBUFFER => found.framebuffer = framebuffer(content),
            NEW_RSDP => found.rsdp = content,
            OLD_RSDP if found.rsdp == 0 => found.rsdp = content,
            _ => {}
        }
        tag = tag.checked_add(bytes.max(ALIGNMENT))?.next_multiple_of(ALIGNMENT);
    }
    has_map.then_some(found)
}

/// One with colours in the pixels; palettes and text are none for us.
fn framebuffer(at: u64) -> Option<Framebuffer> {
    const DIRECT_COLOUR: u8 = 1;
    let colour = |n: u64| Some((read_at::<u8>(at + 24 + 2 * n)?, read_at::<u8>(at + 25 + 2 * n)?));
    (read_at::<u8>(at + 21)? == DIRECT_COLOUR).then_some(Framebuffer {
        address: read_at(at)?,
        pitch: read_at(at + 8)?,
        width: read_at(at + 12)?,
        height: read_at(at + 16)?,
        bits: read_at(at + 20)?,
        colours: [colour(0)?, colour(1)?, colour(2)?],
    })
}
