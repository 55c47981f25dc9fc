//! The words of the interface that the backends share.

use base::UserAddr;

bitflags::bitflags! {
    /// What the program may do with a page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PageProtection: u8 {
        /// Read.
        const READ = 1;
        /// Write. On x86 it implies `READ`.
        const WRITE = 2;
        /// Fetch instructions.
        const EXECUTE = 4;
    }
}

/// No physical memory is left (below the kernel's own reserve).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// A user copy stopped: the page at `address` does not allow the access (yet).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault {
    /// The first byte that could not be reached.
    pub address: UserAddr,
    /// How many bytes had been copied by then.
    pub copied: usize,
}

/// How the program reads the clocks without a system call (vDSO):
/// `monotonic = (tsc - tsc_base) * multiplier >> shift` in 128-bit arithmetic,
/// `wall = monotonic + wall_at_zero`, all in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VdsoParameters {
    /// The time-stamp counter at [`base::Instant::ZERO`].
    pub tsc_base: u64,
    /// Nanoseconds per tick, `<< shift`.
    pub multiplier: u64,
    /// Fixed-point position of `multiplier`.
    pub shift: u32,
    /// Wall time at [`base::Instant::ZERO`], nanoseconds since 1970.
    pub wall_at_zero: u64,
}

/// How much physical memory there is, in frames of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryStatistics {
    /// All usable frames.
    pub total: u64,
    /// Free frames.
    pub free: u64,
    /// Frames held by the kernel's heap.
    pub heap: u64,
}

/// Objects of one size on the kernel's heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapClass {
    /// Bytes of an object; of blocks that are whole frames, those of a frame.
    pub object_bytes: usize,
    /// Objects in use.
    pub objects: u64,
    /// Objects that there is room for.
    pub slots: u64,
    /// Blocks of frames that hold them.
    pub slabs: u64,
    /// Frames of each block.
    pub frames_per_slab: u64,
}

/// A byte of the PC's keyboard controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typed {
    /// From the keyboard, in its code set 1.
    Keyboard(u8),
    /// From the mouse.
    Mouse(u8),
}

/// The kind of access that faulted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Instruction fetch.
    Execute,
}

/// The program touched a page that its page tables do not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// CR2: may be any address, also one outside user memory.
    pub address: UserAddr,
    /// What was tried.
    pub access: Access,
    /// The page was present and the protection refused.
    pub present: bool,
    /// The error code as the processor pushed it (goes into the signal frame).
    pub error_code: u64,
}

/// Any other exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// Exception vector, see [`vector`].
    pub vector: u8,
    /// The error code, 0 where the processor pushes none.
    pub error_code: u64,
}

/// Exception vectors (Intel SDM volume 3, table 7-1).
#[expect(missing_docs, reason = "the processor's own names")]
pub mod vector {
    pub const DIVIDE_ERROR: u8 = 0;
    pub const DEBUG: u8 = 1;
    pub const BREAKPOINT: u8 = 3;
    pub const OVERFLOW: u8 = 4;
    pub const BOUND_RANGE: u8 = 5;
    pub const INVALID_OPCODE: u8 = 6;
    pub const DEVICE_NOT_AVAILABLE: u8 = 7;
    pub const DOUBLE_FAULT: u8 = 8;
    pub const INVALID_TSS: u8 = 10;
    pub const SEGMENT_NOT_PRESENT: u8 = 11;
    pub const STACK_FAULT: u8 = 12;
    pub const GENERAL_PROTECTION: u8 = 13;
    pub const PAGE_FAULT: u8 = 14;
    pub const X87_ERROR: u8 = 16;
    pub const ALIGNMENT_CHECK: u8 = 17;
    pub const SIMD_ERROR: u8 = 19;
}

/// Why the program stopped running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// It made a system call: number in `rax`, arguments in `rdi, rsi, rdx, r10, r8, r9`.
    Syscall,
    /// It touched a page it may not touch (yet).
    PageFault(PageFault),
    /// Another exception.
    Exception(Exception),
    /// A timer or device interrupt, already acknowledged: see `irq::take_pending`.
    Interrupt,
}

/// The general registers of a thread, as system calls and signals see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the processor's own names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
    /// FS base: the thread pointer (g lives at `fs:-8` in Go).
    pub fs_base: u64,
    pub gs_base: u64,
}
