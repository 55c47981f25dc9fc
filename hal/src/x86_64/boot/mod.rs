//! From the loader's hands to the kernel's `main`.

pub(super) mod information;
pub(super) mod map;
mod multiboot;
pub(super) mod tables;

use super::memory;
use super::{
    apic, calibration, clock, console, descriptors, features, instructions, irq, paging, percpu,
    pool, smp, user, vector_state,
};
use base::PAGE_SIZE;
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU32;
use information::Information;
pub use map::MemoryRange;

/// Bytes of the boot processor's kernel stack.
const STACK_BYTES: usize = 32 * 1024;
/// The direct map of the boot page tables ends here.
const BOOT_MAP_END: u64 = 1 << 32;

#[repr(C, align(4096))]
struct BootStack(UnsafeCell<[u8; STACK_BYTES + PAGE_SIZE as usize]>);

// SAFETY: only the boot processor uses it, as its stack.
unsafe impl Sync for BootStack {}

/// The first page is never mapped: running over the end is a double fault, not corruption.
#[unsafe(link_section = ".bss.stack")]
static STACK: BootStack = BootStack(UnsafeCell::new([0; STACK_BYTES + PAGE_SIZE as usize]));

global_asm!(
    include_str!("entry.s"),
    stack = sym STACK,
    stack_bytes = const STACK_BYTES + PAGE_SIZE as usize,
    start = sym start,
);

/// What the kernel is told at its start.
#[derive(Clone, Copy)]
pub struct BootInfo {
    /// The loader's command line; what is not UTF-8 at its end is cut off.
    pub command_line: &'static str,
    /// The first module (initrd): page-aligned, its frames are `Frame::of_archive`'s.
    pub archive: Option<&'static [u8]>,
    /// What the archive must be; `None`: whatever it is.
    pub seal: Option<Seal>,
    /// Usable memory, ascending.
    pub memory: &'static [MemoryRange],
    /// Physical address of the ACPI root pointer, 0: none given.
    pub rsdp: u64,
    /// The screen as firmware or the loader left it.
    pub framebuffer: Option<Framebuffer>,
    /// The kernel image: physical first byte and one past the last.
    pub kernel: (u64, u64),
    /// The time-stamp counter when the kernel was entered.
    pub start_tsc: u64,
}

/// Length and checksum of the archive that belongs to this kernel, as `egg build` wrote them into its
/// file. Loaders round the length up, and read what the disk gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal {
    /// Length.
    pub bytes: u64,
    /// By `bundle::checksum`.
    pub checksum: u64,
}

/// A screen of pixels in memory: what multiboot2 says of it (3.6.12 there), with the places of the
/// colours as they stand there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framebuffer {
    /// Physical address of the first pixel's first byte.
    pub address: u64,
    /// Bytes from one row to the next.
    pub pitch: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits a pixel takes: 15, 16, 24 or 32.
    pub bits: u8,
    /// Lowest bit and number of bits of red, green and blue within a pixel.
    pub colours: [(u8, u8); 3],
}

/// Names the function that the machine starts: `fn main(info: BootInfo) -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Called once, by `hal`, when the machine is ready.
        #[unsafe(no_mangle)]
        extern "Rust" fn eggos_kernel_main(info: $crate::boot::BootInfo) -> ! {
            let main: fn($crate::boot::BootInfo) -> ! = $main;
            main(info)
        }
    };
}
pub use crate::entry;

unsafe extern "Rust" {
    fn eggos_kernel_main(info: BootInfo) -> !;
}

/// Called by `entry.s` on the boot stack, with the boot page tables.
extern "C" fn start(loader: u32, address: u32) -> ! {
    let start_tsc = instructions::read_tsc();
    percpu::init_boot();
    features::detect();
    console::init();
    descriptors::init_gates();
    descriptors::load();
    paging::init_processor();
    vector_state::init_processor();
    user::init_processor();
    let information = information::read(loader, u64::from(address));
    tables::find(information.rsdp);
    smp::place_code();
    init_memory(&information);
    if !apic::init() {
        panic!("the local APIC cannot be mapped");
    }
    apic::init_processor();
    calibration::begin();
    irq::init();
    console::init_input();
    clock::init(start_tsc, information.command_line);
    let info = BootInfo {
        command_line: information.command_line,
        archive: information.archive(),
        seal: information::seal(),
        memory: map::usable(),
        rsdp: information.rsdp,
        framebuffer: information.framebuffer,
        kernel: paging::kernel_image(),
        start_tsc,
    };
    // SAFETY: `entry!` defines it with this signature.
    unsafe { eggos_kernel_main(info) }
}

/// Gives all memory that is free to the pool and builds the kernel's page tables.
fn init_memory(information: &Information) {
    let reserved = [paging::kernel_image(), paging::boot_image(), information.archive_frames()];
    let mut free = [(0, 0); pool::RANGES];
    let mut count = map::free_ranges(&reserved, &mut free);
    let end = free.iter().map(|range| range.1).max().unwrap_or(0);
    // One word for each frame, up to the end of the last largest block.
    let block = PAGE_SIZE << pool::MAX_ORDER;
    let words = end.next_multiple_of(block) / PAGE_SIZE;
    let bytes = (words * size_of::<AtomicU32>() as u64).next_multiple_of(PAGE_SIZE);
    let place = free[..count]
        .iter_mut()
        .find(|(start, end)| end - start >= bytes && start + bytes <= BOOT_MAP_END);
    let Some(place) = place else { panic!("not enough memory to start") };
    let table = place.0;
    place.0 += bytes;
    // The pool can only use what the boot page tables map until the final ones are there; it takes
    // memory from the lowest address up, and the tables need little.
    count = map::drop_empty(&mut free, count);
    // SAFETY: these ranges are usable and used by nobody else; the table has its own.
    unsafe { pool::init(&free[..count], paging::direct_mut(table)) };
    memory::set_archive(information.archive_frames().0, information.archive_frames().1);
    if paging::init(map::direct_ranges(&reserved)).is_err() {
        panic!("not enough memory for page tables");
    }
}
