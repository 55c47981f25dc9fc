//! Bare metal x86-64.
//!
//! How it starts: [`boot`] (assembly, then `boot::start`) fills in the memory pool, the kernel's
//! page tables, descriptors and traps, interrupt controllers and clocks, and calls the kernel's
//! `main`.
//!
//! Rules that the whole backend relies on:
//! * interrupts are off whenever kernel code runs, except inside `cpu::idle` and for one
//!   instruction in `irq::take_pending`;
//! * kernel code never touches vector registers (soft-float target) but for long copies, which give
//!   them back ([`wide`]), so the program's stay in the processor until another thread needs it;
//! * what belongs to one processor is reached through GS ([`percpu`]).

mod apic;
pub mod boot;
mod calibration;
pub mod clock;
pub mod console;
pub mod cpu;
mod descriptors;
pub mod dma;
pub mod entropy;
mod features;
mod fw_cfg;
mod gathered;
mod heap;
mod instructions;
pub mod inventory;
mod ioapic;
pub mod irq;
pub mod keyboard;
mod kvm;
mod large;
pub mod memory;
pub mod mmio;
mod paging;
mod panic;
pub mod pci;
mod percpu;
mod pic;
mod pool;
pub mod power;
mod presence;
mod pvpanic;
mod references;
mod scatter;
mod slab;
mod smp;
pub mod space;
mod string;
mod trap;
pub mod user;
pub mod usercopy;
mod vector_state;
mod wall;
mod wide;
