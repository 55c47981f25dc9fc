//! The machine: the one crate with `unsafe` code.
//!
//! Two backends stand behind one safe interface; which one is compiled depends on the target:
//!
//! * `x86_64/` on bare metal (`target_os = "none"`);
//! * `sim/` on the host: a simulated machine with virtual time, in which the whole kernel above
//!   `hal` runs under test.
//!
//! The interface, module by module:
//!
//! | module | what |
//! |---|---|
//! | [`memory`] | physical 4 KiB frames, counted by reference |
//! | [`space`] | the program's address space (page tables) |
//! | [`usercopy`] | copies to and from the program's memory that survive a fault |
//! | [`user`] | the program's registers; `run` enters ring 3 and returns at the next trap |
//! | [`clock`] | monotonic and wall time, the one-shot timer |
//! | [`cpu`] | which processor this is; idling |
//! | [`irq`] | device interrupts: lines, messages, what is pending |
//! | [`dma`], [`mmio`], [`pci`] | what drivers need |
//! | [`vdso`] | clock functions that run inside the program |
//! | [`entropy`], [`console`], [`power`] | seeds, the serial port, the end |
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

#[cfg(not(target_os = "none"))]
#[path = "sim/mod.rs"]
mod arch;
#[cfg(target_os = "none")]
#[path = "x86_64/mod.rs"]
mod arch;

mod types;
pub mod vdso;

#[cfg(target_os = "none")]
pub use arch::boot;
#[cfg(not(target_os = "none"))]
pub use arch::sim;
pub use arch::{
    clock, console, cpu, dma, entropy, irq, memory, mmio, pci, power, space, user, usercopy,
};
pub use types::{
    Access, Exception, MemoryStatistics, OutOfMemory, PageFault, PageProtection, Registers, Trap,
    UserFault, vector,
};
