//! What needs firmware: memory, ACPI's root pointer, the screen, and the way out.

use core::arch::global_asm;
use core::ptr::NonNull;
use core::slice;
use core::time::Duration;

use eggos_efi::information::{Framebuffer, Writer};
use eggos_efi::kernel::Kernel;
use eggos_efi::sections;
use uefi::boot::{self, AllocateType, MemoryType, OpenProtocolAttributes, OpenProtocolParams};
use uefi::mem::memory_map::MemoryMap;
use uefi::proto::console::gop::{GraphicsOutput, PixelFormat};
use uefi::proto::loaded_image::LoadedImage;
use uefi::table::cfg::ConfigTableEntry;
use uefi::{Status, entry, println, system};

const PAGE: usize = 4096;
/// All that the kernel is handed lies below: it starts in 32-bit mode.
const BELOW: u64 = 1 << 32;
/// Room for multiboot2's information; the map of memory is the largest part of it.
const INFORMATION: usize = 16 * PAGE;

global_asm!(include_str!("switch.s"));

unsafe extern "C" {
    static switch_start: u8;
    static switch_gdt: u8;
    static switch_gdt_pointer: u8;
    static switch_end: u8;
}

/// The copy of `switch.s` as a function.
type Switch = unsafe extern "sysv64" fn(u32, u32, u32, u32, u32) -> !;

/// What the file lacks, or the machine.
type Problem = &'static str;

#[entry]
fn main() -> Status {
    let Err(problem) = start();
    println!("eggos: {problem}");
    // Firmware goes on to the next thing to boot, whose screen would hide the line.
    boot::stall(Duration::from_secs(3));
    Status::LOAD_ERROR
}

fn start() -> Result<core::convert::Infallible, Problem> {
    let image = loaded_image()?;
    let elf = sections::find(image, sections::KERNEL).ok_or("the file holds no kernel")?;
    let archive = sections::find(image, sections::ARCHIVE).ok_or("the file holds no archive")?;
    let kernel = Kernel::parse(elf).ok_or("the kernel in the file is damaged")?;
    // Reserved where that can be, so that nothing else of ours comes to lie there. Where firmware
    // itself uses some of it, that is over when the kernel is put there.
    let place = AllocateType::Address(kernel.start);
    let reserved =
        boot::allocate_pages(place, MemoryType::LOADER_DATA, kernel.bytes() / PAGE).is_ok();
    let staged = pages(MemoryType::LOADER_DATA, kernel.bytes())?;
    if !kernel.lay_out(staged) {
        return Err("the kernel in the file is damaged");
    }
    let information = pages(MemoryType::LOADER_DATA, INFORMATION)?;
    let switch = place_switch()?;
    let (archive_start, archive_end) = low(archive, &kernel)?;
    let parts = [address(staged), address(information), switch as usize as u64];
    if !reserved && parts.iter().any(|at| (kernel.start..kernel.end).contains(at)) {
        return Err("firmware leaves no room for the kernel");
    }
    fits(&kernel)?;

    let information_at = address(information) as u32;
    let staged_at = address(staged) as u32;
    let mut writer = Writer::new(information);
    writer.command_line(options().into_iter().flatten().copied());
    writer.module(archive_start, archive_end);
    if let Some(table) = rsdp() {
        writer.rsdp(table);
    }
    if let Some(screen) = screen() {
        writer.framebuffer(&screen);
    }
    // SAFETY: no protocol is held, and nothing of firmware is used from here on but the map.
    let map = unsafe { boot::exit_boot_services(None) };
    let usable = map.entries().filter(|row| is_usable(row.ty));
    let pages = PAGE as u64;
    writer.memory_map(usable.map(|row| (row.phys_start, row.phys_start + row.page_count * pages)));
    // The kernel says what is missing if it did not fit: nobody else can any more.
    let _ = writer.finish();
    let words = (kernel.bytes() / 4) as u32;
    // SAFETY: the copy of `switch.s`, with what it wants; all of it lies below 4 GiB, apart from
    // what is written over, which is usable memory.
    unsafe { switch(kernel.start as u32, staged_at, words, kernel.entry, information_at) }
}

/// This program as firmware loaded it, with the sections that egg added.
fn loaded_image() -> Result<&'static [u8], Problem> {
    let image = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle())
        .map_err(|_| "firmware does not say where it loaded the file")?;
    let (base, bytes) = image.info();
    // SAFETY: firmware loaded so many bytes there, which stay as long as we run.
    Ok(unsafe { slice::from_raw_parts(base.cast(), bytes as usize) })
}

/// What the firmware's boot option or its shell says behind the name of the file, in UTF-16.
fn options() -> Option<&'static [u16]> {
    let image = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle()).ok()?;
    let text = image.load_options_as_cstr16().ok()?.to_u16_slice();
    // SAFETY: they stay as long as we run.
    Some(unsafe { slice::from_raw_parts(text.as_ptr(), text.len()) })
}

/// Memory below 4 GiB.
fn pages(kind: MemoryType, bytes: usize) -> Result<&'static mut [u8], Problem> {
    let place = AllocateType::MaxAddress(BELOW - 1);
    let memory: NonNull<u8> =
        boot::allocate_pages(place, kind, bytes.div_ceil(PAGE)).map_err(|_| "too little memory")?;
    // SAFETY: these pages are ours alone from here on.
    unsafe { memory.write_bytes(0, bytes) };
    // SAFETY: as above; they are written, and never given back.
    Ok(unsafe { slice::from_raw_parts_mut(memory.as_ptr(), bytes) })
}

/// Firmware maps memory where it is.
fn address(memory: &[u8]) -> u64 {
    memory.as_ptr() as u64
}

/// The archive's place below 4 GiB and away from the kernel's: where firmware loaded it, else a
/// copy.
fn low(archive: &[u8], kernel: &Kernel<'_>) -> Result<(u32, u32), Problem> {
    let mut start = address(archive);
    let mut end = start + archive.len() as u64;
    let clash = start < kernel.end && kernel.start < end;
    if end > BELOW || clash || !start.is_multiple_of(PAGE as u64) {
        let copy = pages(MemoryType::LOADER_DATA, archive.len())?;
        copy.copy_from_slice(archive);
        start = address(copy);
        end = start + archive.len() as u64;
    }
    Ok((start as u32, u32::try_from(end).map_err(|_| "too little memory below 4 GiB")?))
}

/// Copies `switch.s` to where 32-bit code can run.
fn place_switch() -> Result<Switch, Problem> {
    let start = &raw const switch_start as usize;
    let offset = |symbol: *const u8| symbol as usize - start;
    // SAFETY: the code between the two symbols.
    let code =
        unsafe { slice::from_raw_parts(&raw const switch_start, offset(&raw const switch_end)) };
    let page = pages(MemoryType::LOADER_CODE, PAGE)?;
    let at = address(page);
    let (code_place, _) = page.split_at_mut(code.len());
    code_place.copy_from_slice(code);
    let table = at + offset(&raw const switch_gdt) as u64;
    let pointer = offset(&raw const switch_gdt_pointer) + 2;
    let place = code_place.get_mut(pointer..pointer + 8).ok_or("the stub is damaged")?;
    place.copy_from_slice(&table.to_le_bytes());
    // SAFETY: the page holds that function, and is never given back.
    Ok(unsafe { core::mem::transmute::<*const u8, Switch>(at as *const u8) })
}

/// What is free once firmware is gone. Runtime services are never called: their memory is left alone.
fn is_usable(kind: MemoryType) -> bool {
    matches!(
        kind,
        MemoryType::CONVENTIONAL
            | MemoryType::BOOT_SERVICES_CODE
            | MemoryType::BOOT_SERVICES_DATA
            | MemoryType::LOADER_CODE
            | MemoryType::LOADER_DATA
    )
}

/// The kernel's place must be usable memory, all of it.
fn fits(kernel: &Kernel<'_>) -> Result<(), Problem> {
    let map =
        boot::memory_map(MemoryType::LOADER_DATA).map_err(|_| "firmware has no memory map")?;
    let covered: u64 = map
        .entries()
        .filter(|row| is_usable(row.ty))
        .map(|row| {
            let end = row.phys_start + row.page_count * PAGE as u64;
            end.min(kernel.end).saturating_sub(row.phys_start.max(kernel.start))
        })
        .sum();
    match covered == kernel.end - kernel.start {
        true => Ok(()),
        false => Err("firmware keeps memory for itself where the kernel belongs"),
    }
}

/// ACPI's root pointer, of version 2 or later.
fn rsdp() -> Option<&'static [u8]> {
    const BYTES: usize = 36;
    system::with_config_table(|table| {
        let row = table.iter().find(|row| row.guid == ConfigTableEntry::ACPI2_GUID)?;
        // SAFETY: a table of that kind has as many bytes, and firmware leaves it where it is.
        Some(unsafe { slice::from_raw_parts(row.address.cast(), BYTES) })
    })
}

/// The screen as it is.
fn screen() -> Option<Framebuffer> {
    let handle = boot::get_handle_for_protocol::<GraphicsOutput>().ok()?;
    let agent = boot::image_handle();
    let wanted = OpenProtocolParams { handle, agent, controller: None };
    // SAFETY: it is only read, and let go at once. Exclusively it could not be opened without taking
    // it from firmware's console.
    let mut screen = unsafe {
        boot::open_protocol::<GraphicsOutput>(wanted, OpenProtocolAttributes::GetProtocol).ok()?
    };
    let mode = screen.current_mode_info();
    let colours = match mode.pixel_format() {
        PixelFormat::Rgb => [(0, 8), (8, 8), (16, 8)],
        PixelFormat::Bgr => [(16, 8), (8, 8), (0, 8)],
        PixelFormat::Bitmask => {
            let mask = mode.pixel_bitmask()?;
            [mask.red, mask.green, mask.blue]
                .map(|mask| (mask.trailing_zeros() as u8, mask.count_ones() as u8))
        }
        PixelFormat::BltOnly => return None,
    };
    let (width, height) = mode.resolution();
    Some(Framebuffer {
        address: screen.frame_buffer().as_mut_ptr() as u64,
        pitch: mode.stride() as u32 * 4,
        width: width as u32,
        height: height as u32,
        colours,
    })
}
