//! PCI configuration space. The simulated machine has no PCI bus.

/// Bus, device, function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

/// Reads a 32-bit word of configuration space; all ones where there is no device.
#[must_use]
pub fn read(_address: Address, _offset: u16) -> u32 {
    u32::MAX
}

/// Writes a 32-bit word of configuration space.
pub fn write(_address: Address, _offset: u16, _value: u32) {}
