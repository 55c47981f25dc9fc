//! The simulated machine.
//!
//! All state is per host thread, so that tests run in parallel: each test thread is one machine.
//! [`sim`] holds what only tests call: setting the clock, scripting programs, reading the console.

pub mod clock;
pub mod console;
pub mod cpu;
pub mod dma;
pub mod entropy;
pub mod irq;
pub mod keyboard;
mod large;
pub mod memory;
pub mod mmio;
pub mod pci;
pub mod power;
pub mod sim;
pub mod space;
pub mod user;
pub mod usercopy;
