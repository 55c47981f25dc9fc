//! What belongs to one processor. GS base points at it while kernel code runs.

use super::descriptors::Descriptors;
use super::instructions::write_msr;
use crate::lateness::Lateness;
use crate::types::Registers;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

const IA32_GS_BASE: u32 = 0xc000_0101;
const IA32_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// How many frames a processor keeps to itself, see [`super::pool`].
pub(super) const CACHED_FRAMES: usize = 32;

/// The state of one processor. Only the processor itself touches it, with interrupts off.
#[repr(C, align(64))]
pub(super) struct PerCpu {
    /// Its own address, so that `mov reg, gs:0` finds it. The assembly knows the first fields.
    this: Cell<*const PerCpu>,
    /// Where `user::enter` left the kernel's stack.
    pub(super) kernel_stack: Cell<u64>,
    /// One register's worth of room for the entry stubs.
    pub(super) scratch: Cell<u64>,
    /// The registers of the running thread.
    pub(super) context: Cell<*mut Registers>,
    pub(super) id: Cell<u32>,
    /// The local APIC's id, for interrupt messages.
    pub(super) apic_id: Cell<u32>,
    /// The page table that CR3 holds.
    pub(super) active_root: Cell<u64>,
    /// The area whose vector state is in the registers; null: nobody's.
    pub(super) vector_owner: Cell<*mut u8>,
    /// The program ran since these registers were last saved or loaded.
    pub(super) vector_changed: Cell<bool>,
    /// The program's FS and GS bases that the registers hold.
    pub(super) bases: Cell<(u64, u64)>,
    /// Device interrupts that fired, as bits.
    pub(super) pending: Cell<u64>,
    /// The armed deadline in nanoseconds, `u64::MAX`: none.
    pub(super) armed: Cell<u64>,
    /// The deadline that the timer was told, which may be earlier.
    pub(super) timer: Cell<u64>,
    /// When it is to fire for that, in nanoseconds.
    pub(super) fires: Cell<u64>,
    pub(super) lateness: Cell<Lateness>,
    /// Free frames at hand: addresses, and how many.
    pub(super) frames: Cell<[u64; CACHED_FRAMES]>,
    pub(super) frame_count: Cell<usize>,
    /// The kernel's stack of a processor that was started later: lowest address, and its end.
    pub(super) stack: Cell<(u64, u64)>,
    pub(super) descriptors: UnsafeCell<Descriptors>,
}

/// How many processors run.
static COUNT: AtomicU32 = AtomicU32::new(1);

/// How many processors run.
#[inline]
pub(super) fn count() -> u32 {
    COUNT.load(Relaxed)
}

/// From now on so many run. Before the others leave `smp::start`.
pub(super) fn set_count(count: u32) {
    COUNT.store(count, Relaxed);
}

impl PerCpu {
    pub(super) const fn new() -> Self {
        Self {
            this: Cell::new(ptr::null()),
            kernel_stack: Cell::new(0),
            scratch: Cell::new(0),
            context: Cell::new(ptr::null_mut()),
            id: Cell::new(0),
            apic_id: Cell::new(0),
            active_root: Cell::new(0),
            vector_owner: Cell::new(ptr::null_mut()),
            vector_changed: Cell::new(false),
            // No base is this: the first are always loaded.
            bases: Cell::new((1 << 63, 1 << 63)),
            pending: Cell::new(0),
            armed: Cell::new(u64::MAX),
            timer: Cell::new(u64::MAX),
            fires: Cell::new(u64::MAX),
            lateness: Cell::new(Lateness::new()),
            frames: Cell::new([0; CACHED_FRAMES]),
            frame_count: Cell::new(0),
            stack: Cell::new((0, 0)),
            descriptors: UnsafeCell::new(Descriptors::new()),
        }
    }

    /// Fills in what is known before the processor runs.
    pub(super) fn prepare(&self, id: u32, apic_id: u32, stack: u64, stack_bytes: u64) {
        self.id.set(id);
        self.apic_id.set(apic_id);
        self.stack.set((stack, stack + stack_bytes));
    }

    /// The cached frames, in place.
    pub(super) fn cached(&self) -> &[Cell<u64>; CACHED_FRAMES] {
        self.frames.as_array_of_cells()
    }
}

/// The boot processor's block.
struct Boot(PerCpu);

// SAFETY: only the boot processor touches it (through GS).
unsafe impl Sync for Boot {}

static BOOT: Boot = Boot(PerCpu::new());

/// Makes GS point at the boot processor's block. First thing at boot.
pub(super) fn init_boot() {
    init(&BOOT.0);
}

/// Makes GS point at the block made for this processor. First thing it does.
pub(super) fn init_secondary(block: &'static PerCpu) {
    init(block);
}

fn init(block: &'static PerCpu) {
    block.this.set(block);
    // SAFETY: GS is used for nothing else in the kernel; the program's GS base starts at 0.
    unsafe {
        write_msr(IA32_GS_BASE, ptr::from_ref(block) as u64);
        write_msr(IA32_KERNEL_GS_BASE, 0);
    }
}

/// The block of the processor that runs this.
#[inline]
pub(super) fn this() -> &'static PerCpu {
    let block: *const PerCpu;
    // SAFETY: GS points at this processor's block in kernel code, whose first word is its address.
    unsafe {
        asm!("mov {}, gs:0", out(reg) block, options(nostack, pure, readonly, preserves_flags));
    }
    // SAFETY: blocks live forever, and only their own processor, on which kernel code is never
    // interrupted nor moved, makes references to them.
    unsafe { &*block }
}
