//! The machine: the one crate with `unsafe` code.
//!
//! Three backends stand behind one safe interface; which one is compiled depends on the target:
//!
//! * `x86_64/` on bare metal (`target_os = "none"`);
//! * `sim/` on the host: a simulated machine with virtual time, in which the whole kernel above
//!   `hal` runs under test;
//! * `process/` on x86-64 Linux with `--cfg eggos_process`: the kernel as an ordinary process that runs
//!   the program's code natively. It has no devices: [`dma`], [`mmio`] and [`pci`] are missing.
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
//! | [`entropy`], [`console`], [`keyboard`], [`power`] | seeds, the serial port, keys, the end |
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

#[cfg(eggos_process)]
#[path = "process/mod.rs"]
mod arch;
#[cfg(not(any(target_os = "none", eggos_process)))]
#[path = "sim/mod.rs"]
mod arch;
#[cfg(target_os = "none")]
#[path = "x86_64/mod.rs"]
mod arch;

#[cfg(any(target_os = "none", test))]
mod acpi;
#[cfg(any(target_os = "none", test))]
mod fw_cfg;
#[cfg(any(target_os = "none", test))]
mod lateness;
#[cfg(any(target_os = "none", test))]
mod rates;
mod types;
pub mod vdso;

#[cfg(eggos_process)]
pub use arch::host;
#[cfg(not(any(target_os = "none", eggos_process)))]
pub use arch::sim;
#[cfg(target_os = "none")]
pub use arch::{boot, inventory};
pub use arch::{clock, console, cpu, entropy, irq, keyboard, memory, power, space, user, usercopy};
#[cfg(not(eggos_process))]
pub use arch::{dma, mmio, pci};
pub use types::{
    Access, Exception, HeapClass, MemoryStatistics, OutOfMemory, PageFault, PageProtection,
    Registers, Trap, Typed, UserFault, VdsoParameters, vector,
};
