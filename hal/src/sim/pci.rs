//! PCI configuration space. The simulated machine has the functions that the test plugs in.

use super::mmio::MmioWindow;
use std::cell::RefCell;

thread_local! {
    static PLUGGED: RefCell<Vec<(Address, MmioWindow)>> = const { RefCell::new(Vec::new()) };
}

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

/// Plugs in a function whose configuration space is `window`.
pub(super) fn plug(address: Address, window: MmioWindow) {
    PLUGGED.with_borrow_mut(|plugged| plugged.push((address, window)));
}

/// Unplugs everything.
pub(super) fn clear() {
    PLUGGED.with_borrow_mut(Vec::clear);
}

fn function(address: Address) -> Option<MmioWindow> {
    PLUGGED.with_borrow(|plugged| {
        plugged.iter().find(|(at, _)| *at == address).map(|(_, window)| window.clone())
    })
}

/// Reads a 32-bit word of configuration space; all ones where there is no device.
#[must_use]
pub fn read(address: Address, offset: u16) -> u32 {
    function(address).map_or(u32::MAX, |window| window.read_u32(usize::from(offset)))
}

/// Writes a 32-bit word of configuration space.
pub fn write(address: Address, offset: u16, value: u32) {
    if let Some(window) = function(address) {
        window.write_u32(usize::from(offset), value);
    }
}
