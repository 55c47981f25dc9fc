//! PCI configuration space, by ports (mechanism 1).

use super::instructions::Port;
use base::sync::SpinLock;

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

/// The two ports: select, then move the word.
struct Ports {
    select: Port,
    data: Port,
}

// SAFETY: configuration accesses change no memory; what a device then may do (bus mastering) is
// up to its driver, which gives it DMA buffers only.
static PORTS: SpinLock<Ports> =
    SpinLock::new(unsafe { Ports { select: Port::at(0xcf8), data: Port::at(0xcfc) } });

fn selector(address: Address, offset: u16) -> Option<u32> {
    let valid =
        address.device < 32 && address.function < 8 && offset < 256 && offset.is_multiple_of(4);
    valid.then(|| {
        1 << 31
            | u32::from(address.bus) << 16
            | u32::from(address.device) << 11
            | u32::from(address.function) << 8
            | u32::from(offset)
    })
}

/// Reads a 32-bit word of configuration space; all ones where there is no device.
#[must_use]
pub fn read(address: Address, offset: u16) -> u32 {
    let Some(selector) = selector(address, offset) else { return u32::MAX };
    let ports = PORTS.lock();
    ports.select.write32(selector);
    ports.data.read32()
}

/// Writes a byte of configuration space, without the lock: for the end of the machine.
pub(super) fn write8(address: Address, offset: u8, value: u8) {
    let Some(selector) = selector(address, u16::from(offset & !3)) else { return };
    // SAFETY: as `PORTS`; the register resets the machine.
    let (select, data) = unsafe { (Port::at(0xcf8), Port::at(0xcfc + u16::from(offset & 3))) };
    select.write32(selector);
    data.write8(value);
}

/// Writes a 32-bit word of configuration space.
pub fn write(address: Address, offset: u16, value: u32) {
    let Some(selector) = selector(address, offset) else { return };
    let ports = PORTS.lock();
    ports.select.write32(selector);
    ports.data.write32(value);
}
