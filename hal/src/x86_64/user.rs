//! The program's registers, and running it.

use super::features::{self, Feature};
use super::instructions::{self, read_msr, write_msr};
use super::space::AddressSpace;
use super::vector_state::{self, VectorState};
use super::{irq, percpu, presence, trap};
use crate::types::{Access, Exception, PageFault, Registers, Trap, vector};
use base::UserAddr;
use base::address::USER_END;
use core::arch::asm;

const IA32_FS_BASE: u32 = 0xc000_0100;
/// In the kernel, the program's GS base: SWAPGS exchanged the two.
const IA32_KERNEL_GS_BASE: u32 = 0xc000_0102;

const FLAG_TRAP: u64 = 1 << 8;
const FLAG_INTERRUPT: u64 = 1 << 9;
const FLAG_RESUME: u64 = 1 << 16;
/// What the program may set: CF PF AF ZF SF TF DF OF NT RF AC ID.
const USER_FLAGS: u64 = 0x0025_4dd5;
/// IF and the bit that is always set.
const FIXED_FLAGS: u64 = FLAG_INTERRUPT | 2;
/// What SYSRET can restore: TF and RF need IRET.
const FAST_FLAGS: u64 = USER_FLAGS & !(FLAG_TRAP | FLAG_RESUME);

/// The register file of one thread: general registers and vector state.
pub struct UserContext {
    /// General registers; the kernel reads and writes them between runs.
    pub registers: Registers,
    vector: VectorState,
}

/// Bytes of the XSAVE area that signal frames carry.
#[must_use]
pub fn vector_state_bytes() -> usize {
    vector_state::bytes()
}

/// The XCR0 feature mask that user code may use.
#[must_use]
pub fn vector_state_features() -> u64 {
    vector_state::enabled_features()
}

/// The thread that ran on this processor goes to sleep or waits for its turn: it may go on
/// elsewhere.
#[inline]
pub fn park() {
    vector_state::park();
}

/// Lets the program use RDFSBASE and its like. On each processor.
pub(super) fn init_processor() {
    const CR4_FSGSBASE: u64 = 1 << 16;
    if features::has(Feature::FsGsBase) {
        // SAFETY: supported; the kernel's GS base cannot be reached by the program, whose own is
        // exchanged for it by SWAPGS on every entry.
        unsafe { instructions::write_cr4(instructions::read_cr4() | CR4_FSGSBASE) };
    }
}

const fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

/// True when SYSRET restores these: the program made a system call, and nothing but its result was
/// changed. SYSRET sets rip from rcx and the flags from r11; with an rcx that is not canonical it
/// would fault in ring 0 on some processors.
#[inline]
const fn is_fast(registers: &Registers) -> bool {
    registers.rcx == registers.rip
        && registers.r11 == registers.rflags
        && registers.r11 & !FAST_FLAGS == FIXED_FLAGS
        && registers.rip < USER_END
}

/// Loads the program's FS and GS bases; both are canonical.
#[inline]
fn load_bases(fs: u64, gs: u64) {
    if features::has(Feature::FsGsBase) {
        // SAFETY: interrupts are off, so nothing looks at GS between the two SWAPGS.
        unsafe {
            asm!("wrfsbase {fs}", "swapgs", "wrgsbase {gs}", "swapgs", fs = in(reg) fs,
                gs = in(reg) gs, options(nostack, preserves_flags));
        }
        return;
    }
    // SAFETY: the kernel does not use FS, and this is the program's GS base.
    unsafe {
        write_msr(IA32_FS_BASE, fs);
        write_msr(IA32_KERNEL_GS_BASE, gs);
    }
}

/// The program's FS and GS bases.
#[inline]
fn save_bases() -> (u64, u64) {
    if features::has(Feature::FsGsBase) {
        let (fs, gs);
        // SAFETY: as in `load_bases`.
        unsafe {
            asm!("rdfsbase {fs}", "swapgs", "rdgsbase {gs}", "swapgs", fs = out(reg) fs,
                gs = out(reg) gs, options(nostack, preserves_flags));
        }
        return (fs, gs);
    }
    // SAFETY: both registers exist in long mode.
    unsafe { (read_msr(IA32_FS_BASE), read_msr(IA32_KERNEL_GS_BASE)) }
}

impl UserContext {
    /// A thread about to start at `entry` with stack pointer `stack`, all else as the System V ABI
    /// wants it at process start: MXCSR 0x1f80, x87 control word 0x37f, DF clear.
    #[must_use]
    pub fn new(entry: u64, stack: u64) -> Self {
        let registers =
            Registers { rip: entry, rsp: stack, rflags: FIXED_FLAGS, ..Default::default() };
        Self { registers, vector: VectorState::new() }
    }

    /// A copy for a new thread (clone(2)): same registers, same vector state.
    #[must_use]
    pub fn duplicate(&mut self) -> Self {
        Self { registers: self.registers, vector: self.vector.duplicate() }
    }

    /// Runs the program until it traps. A `rip` that no program can have (not canonical) is a
    /// general protection fault at once, as the processor would raise it; FS and GS bases that are
    /// not canonical become 0.
    pub fn run(&mut self, space: &AddressSpace) -> Trap {
        let registers = &mut self.registers;
        let fast = is_fast(registers);
        if !fast {
            registers.rflags = registers.rflags & USER_FLAGS | FIXED_FLAGS;
            if !is_canonical(registers.rip) {
                return Trap::Exception(Exception {
                    vector: vector::GENERAL_PROTECTION,
                    error_code: 0,
                });
            }
        }
        space.enter();
        self.vector.load();
        let bases = &percpu::this().bases;
        if bases.get() != (registers.fs_base, registers.gs_base) {
            for base in [&mut registers.fs_base, &mut registers.gs_base] {
                if !is_canonical(*base) {
                    *base = 0;
                }
            }
            load_bases(registers.fs_base, registers.gs_base);
        }
        // SAFETY: the registers were checked and everything else is loaded; `self` is borrowed
        // until the call returns.
        let cause = unsafe { trap::enter(registers, fast) };
        presence::leave();
        let now = save_bases();
        bases.set(now);
        (registers.fs_base, registers.gs_base) = now;
        if cause.vector == trap::SYSCALL {
            return Trap::Syscall;
        }
        classify(cause.vector as u8, cause.error)
    }

    /// The vector state in XSAVE's standard (non-compacted) format,
    /// [`vector_state_bytes`] long.
    pub fn vector_state(&mut self, into: &mut [u8]) {
        self.vector.export(into);
    }

    /// Makes the vector state what it is at process start.
    pub fn reset_vector_state(&mut self) {
        self.vector.reset();
    }

    /// Replaces the vector state by one in the same format. Reserved bits are masked, never
    /// trusted. `false` (and nothing changed) when the header is not valid.
    pub fn set_vector_state(&mut self, from: &[u8]) -> bool {
        self.vector.import(from)
    }
}

fn classify(number: u8, error_code: u64) -> Trap {
    const ERROR_PRESENT: u64 = 1;
    const ERROR_WRITE: u64 = 2;
    const ERROR_FETCH: u64 = 1 << 4;
    if u64::from(number) >= trap::FIRST_INTERRUPT {
        irq::handle(number);
        return Trap::Interrupt;
    }
    match number {
        vector::PAGE_FAULT => Trap::PageFault(PageFault {
            address: UserAddr(instructions::read_cr2()),
            access: if error_code & ERROR_FETCH != 0 {
                Access::Execute
            } else if error_code & ERROR_WRITE != 0 {
                Access::Write
            } else {
                Access::Read
            },
            present: error_code & ERROR_PRESENT != 0,
            error_code,
        }),
        2 => panic!("non-maskable interrupt"),
        vector::DOUBLE_FAULT => panic!("double fault"),
        18 => panic!("machine check"),
        _ => Trap::Exception(Exception { vector: number, error_code }),
    }
}
