//! Segment descriptors, the task state segment with its stacks, and the interrupt table.

use super::instructions::write_msr;
use super::{percpu, trap};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr;

// Selectors, in the order that SYSCALL and SYSRET ask for; user selectors have Linux's values, which
// programs see in signal frames.
pub(super) const KERNEL_CODE: u16 = 0x10;
pub(super) const KERNEL_DATA: u16 = 0x18;
/// SYSRET adds 8 for SS and 16 for CS.
pub(super) const SYSRET_BASE: u16 = 0x23;
pub(super) const USER_DATA: u16 = 0x2b;
pub(super) const USER_CODE: u16 = 0x33;
const TASK_STATE: u16 = 0x40;

/// Interrupt stack table slots. Exceptions that may hit where the stack or GS is not the kernel's.
const STACK_FATAL: u8 = 1;
const STACK_DEBUG: u8 = 2;
const IST_BYTES: usize = 8192;

/// Intel SDM volume 3, figure 9-11.
#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    privilege_stacks: [u64; 3],
    reserved_low: u64,
    interrupt_stacks: [u64; 7],
    reserved_high: u64,
    reserved_word: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Stack<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Stack<BYTES> {
    fn top(&self) -> u64 {
        ptr::from_ref(self) as u64 + BYTES as u64
    }
}

/// One processor's descriptor tables and stacks.
#[repr(C, align(16))]
pub(super) struct Descriptors {
    table: [u64; 10],
    task: TaskState,
    /// Traps from ring 3 push here; the stub copies what they pushed at once.
    entry: Stack<512>,
    fatal: Stack<IST_BYTES>,
    debug: Stack<IST_BYTES>,
}

impl Descriptors {
    pub(super) const fn new() -> Self {
        Self {
            table: [
                0,
                0,
                0x00af_9b00_0000_ffff, // 0x10 kernel code
                0x00cf_9300_0000_ffff, // 0x18 kernel data
                // 0x23 would be 32-bit user code. There is none: no program leaves 64-bit mode.
                0,
                0x00cf_f300_0000_ffff, // 0x2b user data
                0x00af_fb00_0000_ffff, // 0x33 user code
                0,
                0, // 0x40 task state, two words
                0,
            ],
            task: TaskState {
                reserved: 0,
                privilege_stacks: [0; 3],
                reserved_low: 0,
                interrupt_stacks: [0; 7],
                reserved_high: 0,
                reserved_word: 0,
                io_map: size_of::<TaskState>() as u16,
            },
            entry: Stack([0; 512]),
            fatal: Stack([0; IST_BYTES]),
            debug: Stack([0; IST_BYTES]),
        }
    }
}

#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// The interrupt table, the same for all processors.
#[repr(C, align(4096))]
struct Gates(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written at boot by the only processor that runs; then only the processors' hardware
// reads it.
unsafe impl Sync for Gates {}

static GATES: Gates = Gates(UnsafeCell::new([[0; 2]; 256]));

/// Bytes between two stubs in `trap::stubs`.
const STUB_BYTES: u64 = 16;

/// Fills the interrupt table. Once.
pub(super) fn init_gates() {
    let stubs = trap::stubs as *const () as u64;
    for vector in 0..256_u64 {
        let stub = stubs + vector * STUB_BYTES;
        let stack = match vector {
            2 | 8 | 18 => STACK_FATAL, // NMI, double fault, machine check
            1 => STACK_DEBUG,
            _ => 0,
        };
        // Breakpoint and overflow may be raised by the program's INT3 and INTO.
        let privilege = if vector == 3 || vector == 4 { 3 } else { 0 };
        let low = (stub & 0xffff)
            | u64::from(KERNEL_CODE) << 16
            | u64::from(stack) << 32
            | (0x8e00 | privilege << 13) << 32
            | (stub >> 16 & 0xffff) << 48;
        // SAFETY: single-threaded boot; the hardware does not use the table before `load`.
        unsafe { (*GATES.0.get())[vector as usize] = [low, stub >> 32] };
    }
}

/// Loads this processor's tables, and the registers for SYSCALL.
pub(super) fn load() {
    let descriptors = percpu::this().descriptors.get();
    // SAFETY: only this processor uses its descriptors, and nobody else holds a reference.
    let descriptors = unsafe { &mut *descriptors };
    descriptors.task.privilege_stacks[0] = descriptors.entry.top();
    descriptors.task.interrupt_stacks[usize::from(STACK_FATAL) - 1] = descriptors.fatal.top();
    descriptors.task.interrupt_stacks[usize::from(STACK_DEBUG) - 1] = descriptors.debug.top();
    let task = ptr::from_ref(&descriptors.task) as u64;
    let limit = size_of::<TaskState>() as u64 - 1;
    descriptors.table[8] =
        limit | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
    descriptors.table[9] = task >> 32;
    let table = TablePointer {
        limit: size_of_val(&descriptors.table) as u16 - 1,
        base: ptr::from_ref(&descriptors.table) as u64,
    };
    let gates = TablePointer { limit: 4095, base: GATES.0.get() as u64 };
    // SAFETY: both tables are valid and live forever; the far return reloads CS with the same kind
    // of segment; GS base is kept in its register and written again by `percpu`.
    unsafe {
        asm!(
            "lgdt [{table}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {data:x}",
            "mov ds, {zero:x}",
            "mov es, {zero:x}",
            "ltr {tss:x}",
            "lldt {zero:x}",
            "lidt [{gates}]",
            table = in(reg) &raw const table,
            gates = in(reg) &raw const gates,
            code = in(reg) u64::from(KERNEL_CODE),
            data = in(reg) u64::from(KERNEL_DATA),
            zero = in(reg) 0_u64,
            tss = in(reg) u64::from(TASK_STATE),
            scratch = out(reg) _,
            options(preserves_flags),
        );
    }
    init_syscall();
}

/// SYSCALL goes to `trap::syscall`, with these flags cleared: TF, IF, DF, IOPL, NT, RF, VM, AC.
fn init_syscall() {
    const IA32_EFER: u32 = 0xc000_0080;
    const IA32_STAR: u32 = 0xc000_0081;
    const IA32_LSTAR: u32 = 0xc000_0082;
    const IA32_CSTAR: u32 = 0xc000_0083;
    const IA32_SYSENTER_CS: u32 = 0x174;
    const IA32_FMASK: u32 = 0xc000_0084;
    const CLEARED: u64 = 0x7_7700;
    // SAFETY: the entry point is a stub made for it; long mode implies these registers.
    unsafe {
        let efer = super::instructions::read_msr(IA32_EFER);
        write_msr(IA32_STAR, u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CODE) << 32);
        write_msr(IA32_LSTAR, trap::syscall as *const () as u64);
        // Programs cannot reach these two: closed all the same.
        write_msr(IA32_CSTAR, trap::syscall as *const () as u64);
        write_msr(IA32_SYSENTER_CS, 0);
        write_msr(IA32_FMASK, CLEARED);
        write_msr(IA32_EFER, efer | 1);
    }
}
