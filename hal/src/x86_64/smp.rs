//! Starting the other processors.

use super::boot::tables::{self, MAX_PROCESSORS};
use super::percpu::{self, PerCpu};
use super::{apic, clock, descriptors, instructions, paging, scatter, user, vector_state};
use alloc::boxed::Box;
use base::PAGE_SIZE;
use core::arch::global_asm;
use core::ptr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use core::time::Duration;

/// The page below 1 MiB where they begin; the rest of the kernel leaves that memory alone.
const START_PAGE: u64 = 8;
/// Frames of a kernel stack.
const STACK_FRAMES: u64 = 8;

/// Top of the stack for the processor that starts now.
static STACK: AtomicU64 = AtomicU64::new(0);
/// The kernel's top page table, and the bits of EFER that it relies on (NXE).
static ROOT: AtomicU64 = AtomicU64::new(0);
static EXTENDED_FEATURES: AtomicU32 = AtomicU32::new(0);
/// The block for it. Whoever takes it out, the processor or the one that gave up waiting, has it.
static BLOCK: AtomicPtr<PerCpu> = AtomicPtr::new(ptr::null_mut());
/// What they run.
static MAIN: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// How many are up.
static READY: AtomicU32 = AtomicU32::new(1);
/// All that will be up are.
static RELEASED: AtomicBool = AtomicBool::new(false);

global_asm!(
    include_str!("boot/processor.s"),
    page = const START_PAGE,
    root = sym ROOT,
    extended_features = sym EXTENDED_FEATURES,
    stack = sym STACK,
    start = sym start,
);

unsafe extern "C" {
    static eggos_processor_start: u8;
    static eggos_processor_end: u8;
}

/// Puts the code where they begin. While the boot page tables are in use, which map that memory.
pub(super) fn place_code() {
    let code = &raw const eggos_processor_start;
    let length = (&raw const eggos_processor_end).addr() - code.addr();
    // SAFETY: the code is shorter than a page, and memory below 1 MiB is given to nobody; all that
    // the loader left there was read.
    unsafe {
        ptr::copy_nonoverlapping(code, paging::direct_mut(START_PAGE * PAGE_SIZE), length);
    }
}

/// Starts processors until `wanted` are up, this one included, and lets them run `main`. Returns
/// how many are up. Once.
pub fn start_others(wanted: u32, main: fn() -> !) -> u32 {
    MAIN.store(main as *mut (), Release);
    ROOT.store(paging::kernel_root(), Release);
    EXTENDED_FEATURES.store(paging::extended_features(), Release);
    let own = percpu::this().apic_id.get();
    let mut up = 1;
    for apic_id in tables::apic_ids().filter(|id| *id != own) {
        if up >= wanted.min(MAX_PROCESSORS as u32) {
            break;
        }
        if start_one(apic_id, up).is_none() {
            break;
        }
        up += 1;
    }
    percpu::set_count(up);
    RELEASED.store(true, Release);
    up
}

/// Starts one; waits until it is up.
fn start_one(apic_id: u32, id: u32) -> Option<()> {
    let stack = scatter::allocate(STACK_FRAMES);
    if stack.is_null() {
        return None;
    }
    let block = Box::leak(Box::new(PerCpu::new()));
    block.prepare(id, apic_id, stack as u64, STACK_FRAMES * PAGE_SIZE);
    STACK.store(stack as u64 + STACK_FRAMES * PAGE_SIZE, Relaxed);
    BLOCK.store(block, Release);
    apic::send_init(apic_id);
    // Two start-up messages, as Intel's SDM (volume 3, 9.4.4) asks for: a processor that is up
    // already ignores the second.
    for patience in [Duration::from_millis(10), Duration::from_secs(2)] {
        apic::send_start(apic_id, START_PAGE as u8);
        let deadline = clock::now() + patience;
        while clock::now() < deadline {
            if READY.load(Acquire) > id {
                return Some(());
            }
            core::hint::spin_loop();
        }
    }
    if BLOCK.swap(ptr::null_mut(), AcqRel).is_null() {
        // It took the block a moment ago: it is on its way.
        while READY.load(Acquire) <= id {
            core::hint::spin_loop();
        }
        return Some(());
    }
    None
}

/// Called by `processor.s` on the processor's own stack, with the kernel's page tables.
extern "C" fn start() -> ! {
    let block = BLOCK.swap(ptr::null_mut(), AcqRel);
    if block.is_null() {
        // Too late: nobody waits for this processor any more.
        instructions::halt_forever();
    }
    // SAFETY: made for this processor, which took it; it lives forever.
    percpu::init_secondary(unsafe { &*block });
    // Before anything that copies: long copies use vector registers.
    vector_state::init_processor();
    descriptors::load();
    paging::init_processor();
    paging::activate(paging::kernel_root());
    user::init_processor();
    apic::init_processor();
    READY.fetch_add(1, Release);
    while !RELEASED.load(Acquire) {
        core::hint::spin_loop();
    }
    let main = MAIN.load(Acquire);
    // SAFETY: `start_others` stored a function of this type.
    let main: fn() -> ! = unsafe { core::mem::transmute(main) };
    main()
}
