//! Page tables: their entries, the direct map, and the kernel's own half.
//!
//! The upper half of the address space, the same in every address space:
//!
//! | from | what |
//! |---|---|
//! | `DIRECT_BASE` | all memory, at its physical address (never executable, the kernel image left out) |
//! | `DEVICE_BASE` | device registers, uncached, in the order they were mapped |
//! | `SCATTER_BASE` | large blocks of the heap, made of single frames |
//! | `KERNEL_BASE` | the kernel image: text, read-only data, data |

use super::features::{self, Feature};
use super::instructions;
use super::percpu;
use super::pool::{self, Purpose};
use crate::types::OutOfMemory;
use base::PAGE_SIZE;
use base::sync::{Rank, SpinLock};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(super) const DIRECT_BASE: u64 = 0xffff_8000_0000_0000;
const DEVICE_BASE: u64 = 0xffff_8080_0000_0000;
const DEVICE_BYTES: u64 = 1 << 39;
pub(super) const SCATTER_BASE: u64 = 0xffff_8100_0000_0000;
pub(super) const SCATTER_BYTES: u64 = 1 << 39;
pub(super) const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// The direct map is one entry of the top table: 512 GiB.
pub(super) const DIRECT_BYTES: u64 = 1 << 39;

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITABLE: u64 = 1 << 1;
pub(super) const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
pub(super) const ACCESSED: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
pub(super) const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
pub(super) const NO_EXECUTE: u64 = 1 << 63;
/// The physical address in an entry.
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

pub(super) const ENTRIES: usize = 512;
pub(super) const LARGE_BYTES: u64 = 1 << 21;
const HUGE_BYTES: u64 = 1 << 30;

/// One page table.
pub(super) type Table = [AtomicU64; ENTRIES];

static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);
/// `NO_EXECUTE` when the processor knows it, else 0.
static NO_EXECUTE_BIT: AtomicU64 = AtomicU64::new(0);
static NEXT_DEVICE: SpinLock<u64> = SpinLock::new(DEVICE_BASE);
/// Held while the kernel's half changes.
static KERNEL_TABLES: SpinLock<()> = SpinLock::ranked(Rank::KernelTables, ());

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __stack_guard: u8;
    static __data_end: u8;
}

/// Where the direct map has a physical address.
#[inline]
pub(super) fn direct<T>(physical: u64) -> *const T {
    (DIRECT_BASE + physical) as *const T
}

/// Where the direct map has a physical address.
#[inline]
pub(super) fn direct_mut<T>(physical: u64) -> *mut T {
    (DIRECT_BASE + physical) as *mut T
}

/// The table at a physical address.
///
/// # Safety
/// The frame is a page table for as long as the reference lives.
#[inline]
pub(super) unsafe fn table(physical: u64) -> &'static Table {
    // SAFETY: promised by the caller; all accesses are atomic.
    unsafe { &*direct(physical) }
}

/// An empty page table.
pub(super) fn new_table(purpose: Purpose) -> Result<u64, OutOfMemory> {
    let frame = pool::allocate_frame(purpose)?;
    // SAFETY: a whole frame that was just handed out.
    unsafe { core::ptr::write_bytes(direct_mut::<u8>(frame), 0, PAGE_SIZE as usize) };
    Ok(frame)
}

/// `NO_EXECUTE`, or 0 on a processor without it.
#[inline]
pub(super) fn no_execute() -> u64 {
    NO_EXECUTE_BIT.load(Relaxed)
}

/// The table below `entry`; makes one when there is none. For the kernel's half.
fn next_table(entry: &AtomicU64) -> Result<&'static Table, OutOfMemory> {
    let mut value = entry.load(Relaxed);
    if value == 0 {
        value = new_table(Purpose::Kernel)? | PRESENT | WRITABLE;
        entry.store(value, Relaxed);
    }
    // SAFETY: entries of the kernel's upper tables point to tables, which are never freed.
    Ok(unsafe { table(value & ADDRESS) })
}

/// Index into the table of `level` (3: top).
#[inline]
pub(super) const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize & (ENTRIES - 1)
}

/// Maps kernel memory with the largest pages that fit.
fn map_kernel(root: u64, from: u64, to: u64, bytes: u64, flags: u64) -> Result<(), OutOfMemory> {
    let huge = features::has(Feature::HugePages);
    // SAFETY: `root` is the kernel's top table.
    let top = unsafe { table(root) };
    let mut done = 0;
    while done < bytes {
        let (address, physical) = (from + done, to + done);
        let fits = |size: u64| (address | physical).is_multiple_of(size) && bytes - done >= size;
        let third = next_table(&top[index(address, 3)])?;
        let entry = &third[index(address, 2)];
        if huge && fits(HUGE_BYTES) {
            entry.store(physical | flags | LARGE | PRESENT | GLOBAL, Relaxed);
            done += HUGE_BYTES;
            continue;
        }
        let entry = &next_table(entry)?[index(address, 1)];
        if fits(LARGE_BYTES) {
            entry.store(physical | flags | LARGE | PRESENT | GLOBAL, Relaxed);
            done += LARGE_BYTES;
            continue;
        }
        let last = next_table(entry)?;
        // The rest of this table, or of the range.
        let end = bytes.min(done + LARGE_BYTES - address % LARGE_BYTES);
        while done < end {
            let entry = &last[index(from + done, 0)];
            entry.store((to + done) | flags | PRESENT | GLOBAL, Relaxed);
            done += PAGE_SIZE;
        }
    }
    Ok(())
}

/// The physical extent of the loaded kernel image.
pub(super) fn kernel_image() -> (u64, u64) {
    let start = &raw const __text_start as u64;
    let end = &raw const __data_end as u64;
    (start - KERNEL_BASE, end - KERNEL_BASE)
}

fn map_image(root: u64) -> Result<(), OutOfMemory> {
    let sections = [
        (&raw const __text_start, &raw const __text_end, 0),
        (&raw const __rodata_start, &raw const __rodata_end, no_execute()),
        (&raw const __data_start, &raw const __stack_guard, no_execute() | WRITABLE),
    ];
    for (start, end, flags) in sections {
        let (start, end) = (start as u64, end as u64);
        map_kernel(root, start, start - KERNEL_BASE, end - start, flags)?;
    }
    let stack = &raw const __stack_guard as u64 + PAGE_SIZE;
    let end = &raw const __data_end as u64;
    map_kernel(root, stack, stack - KERNEL_BASE, end - stack, no_execute() | WRITABLE)
}

/// Builds the kernel's page tables and switches to them. `memory`: page-aligned ranges for the
/// direct map, with whether they are writable.
///
/// # Errors
/// Not enough memory for the tables.
pub(super) fn init(memory: impl Iterator<Item = (u64, u64, bool)>) -> Result<(), OutOfMemory> {
    if features::has(Feature::NoExecute) {
        NO_EXECUTE_BIT.store(NO_EXECUTE, Relaxed);
    }
    let root = new_table(Purpose::Kernel)?;
    // SAFETY: just made.
    let top = unsafe { table(root) };
    for address in [DIRECT_BASE, DEVICE_BASE, SCATTER_BASE, KERNEL_BASE] {
        next_table(&top[index(address, 3)])?;
    }
    for (start, end, writable) in memory {
        let flags = if writable { WRITABLE } else { 0 };
        map_kernel(root, DIRECT_BASE + start, start, end - start, flags | no_execute())?;
    }
    map_image(root)?;
    KERNEL_ROOT.store(root, Relaxed);
    activate(root);
    Ok(())
}

/// The bits of EFER that the tables rely on.
pub(super) fn extended_features() -> u32 {
    const EFER_NXE: u32 = 1 << 11;
    if features::has(Feature::NoExecute) { EFER_NXE } else { 0 }
}

/// Turns on what the tables rely on: NX, write protection, global pages, SMEP, SMAP, UMIP, and
/// write-combining in the place of write-through, which nothing needs (Intel SDM volume 3, 12.12).
/// On each processor, before it uses them.
pub(super) fn init_processor() {
    const EFER: u32 = 0xc000_0080;
    /// What the four combinations of the caching bits mean: write back, write combining, uncached
    /// as weaker and as stronger wish; then the same again as after a reset.
    const PAGE_ATTRIBUTES: u64 = 0x0007_0406_0007_0106;
    const IA32_PAT: u32 = 0x277;
    const CR0_WP: u64 = 1 << 16;
    const CR4_PGE: u64 = 1 << 7;
    const CR4_UMIP: u64 = 1 << 11;
    const CR4_SMEP: u64 = 1 << 20;
    const CR4_SMAP: u64 = 1 << 21;
    let mut cr4 = instructions::read_cr4() | CR4_PGE;
    for (feature, bit) in
        [(Feature::Umip, CR4_UMIP), (Feature::Smep, CR4_SMEP), (Feature::Smap, CR4_SMAP)]
    {
        if features::has(feature) {
            cr4 |= bit;
        }
    }
    // SAFETY: only supported bits are set; the boot tables have no user pages, and no entry has the
    // NX bit before EFER.NXE is on.
    unsafe {
        // Every 64-bit processor has it, and no entry means write-through so far.
        instructions::write_msr(IA32_PAT, PAGE_ATTRIBUTES);
        let efer = instructions::read_msr(EFER);
        instructions::write_msr(EFER, efer | u64::from(extended_features()));
        instructions::write_cr0(instructions::read_cr0() | CR0_WP);
        instructions::write_cr4(cr4);
    }
}

/// The top table without a program.
pub(super) fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Relaxed)
}

/// Makes this processor use `root`, if it does not already.
#[inline]
pub(super) fn activate(root: u64) {
    let cpu = percpu::this();
    if cpu.active_root.get() != root {
        cpu.active_root.set(root);
        // SAFETY: callers pass the kernel's root or one made by `space`, with the same kernel half.
        unsafe { instructions::write_cr3(root) };
    }
}

/// Maps one frame of the scattered part of the heap.
pub(super) fn map_scattered(at: u64, frame: u64) -> Result<(), OutOfMemory> {
    let _guard = KERNEL_TABLES.lock();
    map_kernel(kernel_root(), at, frame, PAGE_SIZE, WRITABLE | no_execute())
}

/// Unmaps one; returns its frame. Other processors may still have the translation: see
/// `presence::kernel_changed`.
pub(super) fn unmap_scattered(at: u64) -> Option<u64> {
    let mut physical = kernel_root();
    for level in (1..=3).rev() {
        // SAFETY: tables of the kernel's half are never freed, and this part has no large pages.
        let entry = unsafe { table(physical) }[index(at, level)].load(Relaxed);
        if entry & PRESENT == 0 {
            return None;
        }
        physical = entry & ADDRESS;
    }
    // SAFETY: as above.
    let entry = unsafe { table(physical) }[index(at, 0)].swap(0, Relaxed);
    instructions::invalidate_page(at);
    (entry & PRESENT != 0).then_some(entry & ADDRESS)
}

/// How the processor's caches treat memory of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caching {
    /// Every access goes to the device, in order: registers.
    Off,
    /// Stores are gathered into larger ones: pictures. See [`init_processor`].
    Combining,
}

/// Maps device registers, uncached: `bytes` from the page that holds `physical`.
pub(super) fn map_device(physical: u64, bytes: u64) -> Option<*mut u8> {
    map_device_as(physical, bytes, Caching::Off)
}

/// The same, with caching as one likes.
pub(super) fn map_device_as(physical: u64, bytes: u64, caching: Caching) -> Option<*mut u8> {
    let offset = physical % PAGE_SIZE;
    let start = physical - offset;
    let length = offset.checked_add(bytes)?.checked_next_multiple_of(PAGE_SIZE)?;
    let end = start.checked_add(length)?;
    if bytes == 0 || end > ADDRESS {
        return None;
    }
    let mut next = NEXT_DEVICE.lock();
    let at = *next;
    // One page stays free behind each window.
    let after = at.checked_add(length)?.checked_add(PAGE_SIZE)?;
    if after > DEVICE_BASE + DEVICE_BYTES {
        return None;
    }
    let caching = match caching {
        Caching::Off => WRITE_THROUGH | CACHE_DISABLE,
        Caching::Combining => WRITE_THROUGH,
    };
    let flags = WRITABLE | caching | no_execute();
    // Also after a failure the addresses are not used again: some may be mapped.
    *next = after;
    let _guard = KERNEL_TABLES.lock();
    map_kernel(kernel_root(), at, start, length, flags).ok()?;
    Some((at + offset) as *mut u8)
}

/// True when two words at `address` lie in the kernel's data (where the boot processor's stack is)
/// or on this processor's own stack.
pub(super) fn in_kernel_data(address: u64) -> bool {
    let (lowest, highest) = percpu::this().stack.get();
    if address.is_multiple_of(8) && (lowest..highest.saturating_sub(15)).contains(&address) {
        return true;
    }
    let (start, guard) = (&raw const __data_start as u64, &raw const __stack_guard as u64);
    let end = &raw const __data_end as u64;
    let mapped =
        (start..guard - 16).contains(&address) || (guard + PAGE_SIZE..end - 16).contains(&address);
    address.is_multiple_of(8) && mapped
}

/// True for an address in the kernel's code.
pub(super) fn in_kernel_text(address: u64) -> bool {
    (&raw const __text_start as u64..&raw const __text_end as u64).contains(&address)
}

unsafe extern "C" {
    static __boot_start: u8;
    static __boot_end: u8;
}

/// The physical extent of the boot code and the boot page tables.
pub(super) fn boot_image() -> (u64, u64) {
    (&raw const __boot_start as u64, &raw const __boot_end as u64)
}
