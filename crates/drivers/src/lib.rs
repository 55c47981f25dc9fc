//! Device drivers, and finding the devices they drive.
//!
//! [`probe`] looks at every place a device can be (virtio-mmio slots named on the kernel command
//! line, PCI functions), asks the table of drivers which of them fits, and returns what was
//! attached: network devices with their interrupts, and sources of randomness.
//!
//! No driver trusts its device: whatever a device writes is checked, a device that breaks the
//! rules is reset and reported once, and the kernel goes on without it.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod command_line;
pub mod display;
pub mod e1000;
pub mod inventory;
mod packed;
mod pci;
mod probe;
mod pvpanic;
#[cfg(test)]
mod testing;
pub mod virtio;

pub use display::Frame;
pub use packed::{Colours, PackedFrame};
pub use probe::{AttachedInput, AttachedNet, AttachedScreen, Devices, probe};
