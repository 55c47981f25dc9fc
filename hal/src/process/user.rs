//! The program's registers, and running it.

use super::space::AddressSpace;
use super::vector_state::{self, VectorState};
use super::{clock, trap};
use crate::types::{Access, Exception, PageFault, Registers, Trap, vector};
use base::UserAddr;

const FLAG_INTERRUPT: u64 = 1 << 9;
/// What the program may set: CF PF AF ZF SF TF DF OF NT RF AC ID.
const USER_FLAGS: u64 = 0x0025_4dd5;
/// IF and the bit that is always set.
const FIXED_FLAGS: u64 = FLAG_INTERRUPT | 2;

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
    vector_state::features()
}

/// The thread that ran on this processor goes to sleep or waits for its turn: it may go on elsewhere.
/// Nothing of it stays in the processor anyway.
pub fn park() {}

const fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
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
        Self { registers: self.registers, vector: self.vector.clone() }
    }

    /// Runs the program until it traps. A `rip` that no program can have (not canonical) is a
    /// general protection fault at once, as the processor would raise it; FS and GS bases that are
    /// not canonical become 0.
    ///
    /// # Panics
    /// Linux refuses a timer.
    pub fn run(&mut self, space: &AddressSpace) -> Trap {
        loop {
            let registers = &mut self.registers;
            registers.rflags = registers.rflags & USER_FLAGS | FIXED_FLAGS;
            if !is_canonical(registers.rip) {
                return general_protection(0);
            }
            for base in [&mut registers.fs_base, &mut registers.gs_base] {
                if !is_canonical(*base) {
                    *base = 0;
                }
            }
            if let Err(error) = clock::start_timer() {
                panic!("the host's timer cannot be set: {error}");
            }
            let stop = trap::run(registers, &mut self.vector);
            match self.classify(&stop) {
                // The host had given the page up.
                Trap::PageFault(fault) if space.refill(fault.address, fault.access) => {}
                Trap::PageFault(fault) => return Trap::PageFault(judged(fault, space)),
                trap => return trap,
            }
        }
    }

    /// What the signal means.
    fn classify(&mut self, stop: &trap::Stop) -> Trap {
        const FOR_X86_64: u32 = 0xc000_003e;
        /// `int 0x80`: Linux serves it, a kernel without 32-bit programs does not.
        const LEGACY_CALL: u64 = 0x80 << 3 | 2;
        match stop.signal {
            signal if stop.was_sent && signal != trap::INTERRUPT && signal != trap::TIMER => {
                panic!("signal {signal} was sent to the kernel")
            }
            libc::SIGSYS if stop.architecture == FOR_X86_64 => Trap::Syscall,
            libc::SIGSYS => {
                self.registers.rip = self.registers.rip.wrapping_sub(2);
                general_protection(LEGACY_CALL)
            }
            trap::TIMER => {
                clock::timer_fired();
                Trap::Interrupt
            }
            trap::INTERRUPT => Trap::Interrupt,
            libc::SIGBUS if stop.vector == u64::from(vector::PAGE_FAULT) => {
                panic!("the host has no memory left for the machine's")
            }
            _ if stop.vector == u64::from(vector::PAGE_FAULT) => Trap::PageFault(page_fault(stop)),
            _ => Trap::Exception(Exception {
                vector: stop.vector as u8,
                error_code: stop.error_code,
            }),
        }
    }

    /// The vector state in XSAVE's standard (non-compacted) format,
    /// [`vector_state_bytes`] long.
    pub fn vector_state(&mut self, into: &mut [u8]) {
        self.vector.export(into);
    }

    /// Makes the vector state what it is at process start.
    pub fn reset_vector_state(&mut self) {
        self.vector = VectorState::new();
    }

    /// Replaces the vector state by one in the same format. Reserved bits are masked, never
    /// trusted. `false` (and nothing changed) when the header is not valid.
    pub fn set_vector_state(&mut self, from: &[u8]) -> bool {
        self.vector.import(from)
    }
}

const fn general_protection(error_code: u64) -> Trap {
    Trap::Exception(Exception { vector: vector::GENERAL_PROTECTION, error_code })
}

const ERROR_PRESENT: u64 = 1;
const ERROR_WRITE: u64 = 2;
const ERROR_FETCH: u64 = 1 << 4;

fn page_fault(stop: &trap::Stop) -> PageFault {
    let access = if stop.error_code & ERROR_FETCH != 0 {
        Access::Execute
    } else if stop.error_code & ERROR_WRITE != 0 {
        Access::Write
    } else {
        Access::Read
    };
    PageFault {
        address: UserAddr(stop.fault_address),
        access,
        present: false,
        error_code: stop.error_code,
    }
}

/// The fault as the processor would report it: whether the page is present stands in the table, not
/// in the host's page tables, which Linux fills when it likes.
fn judged(fault: PageFault, space: &AddressSpace) -> PageFault {
    let present = space.lookup(fault.address).is_some_and(|(_, protection)| !protection.is_empty());
    let error_code = fault.error_code & !ERROR_PRESENT | u64::from(present);
    PageFault { present, error_code, ..fault }
}
