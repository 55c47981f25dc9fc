//! PCI functions: finding them, their registers, their message-signalled interrupts.
//!
//! Offsets are those of the PCI Local Bus Specification 3.0, chapter 6.

use alloc::vec::Vec;
use base::PhysAddr;
use hal::irq::Irq;
use hal::mmio::MmioWindow;
use hal::pci::Address;

/// Configuration space offsets.
mod offset {
    pub(super) const ID: u16 = 0x00;
    pub(super) const COMMAND: u16 = 0x04;
    pub(super) const CLASS: u16 = 0x08;
    pub(super) const HEADER_TYPE: u16 = 0x0c;
    pub(super) const BARS: u16 = 0x10;
    pub(super) const BUS_NUMBERS: u16 = 0x18;
    pub(super) const SUBSYSTEM: u16 = 0x2c;
    pub(super) const CAPABILITIES: u16 = 0x34;
    pub(super) const INTERRUPT: u16 = 0x3c;
}

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_BUS_MASTER: u32 = 1 << 2;
/// Message-signalled interrupts without a table (PCI 3.0 §6.8.1).
const CAPABILITY_MSI: u8 = 0x05;
const COMMAND_NO_INTX: u32 = 1 << 10;
const STATUS_CAPABILITIES: u32 = 1 << 20;
const MULTIFUNCTION: u32 = 1 << 23;
const CLASS_BRIDGE: u32 = 0x0604;
const CAPABILITY_MSIX: u8 = 0x11;
/// A standard header leaves room for this many capabilities of 4 bytes.
const MOST_CAPABILITIES: usize = 48;
const MOST_FUNCTIONS: usize = 256;
const PAGE: u64 = base::PAGE_SIZE;

/// A function on the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Function {
    /// Where.
    pub(crate) address: Address,
    /// Who made it.
    pub(crate) vendor: u16,
    /// What it is, by the vendor's numbers.
    pub(crate) device: u16,
    /// What it is for: class, subclass, programming interface (appendix D).
    pub(crate) class: u32,
}

/// A capability of a function: where it is in configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Capability {
    /// Its kind.
    pub(crate) id: u8,
    /// Its first byte.
    pub(crate) at: u16,
}

/// All functions on bus 0 and behind its bridges, and those.
pub(crate) fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    // Without a host bridge at 0:0.0 there is no bus: do not look at 32 places in vain.
    let host = Address { bus: 0, device: 0, function: 0 };
    if identify(host).is_none() {
        return found;
    }
    let mut seen = [0u64; 4];
    let mut queue = Vec::from([0u8]);
    while let Some(bus) = queue.pop() {
        let (word, bit) = (usize::from(bus / 64), 1u64 << (bus % 64));
        match seen.get_mut(word) {
            Some(word) if *word & bit == 0 => *word |= bit,
            _ => continue,
        }
        scan_bus(bus, &mut found, &mut queue);
    }
    found
}

fn scan_bus(bus: u8, found: &mut Vec<Function>, buses: &mut Vec<u8>) {
    for device in 0..32 {
        let first = Address { bus, device, function: 0 };
        if identify(first).is_none() {
            continue;
        }
        let multifunction = hal::pci::read(first, offset::HEADER_TYPE) & MULTIFUNCTION != 0;
        for function in 0..if multifunction { 8 } else { 1 } {
            let address = Address { bus, device, function };
            let Some(identity) = identify(address) else { continue };
            let class = hal::pci::read(address, offset::CLASS) >> 8;
            if class >> 8 == CLASS_BRIDGE {
                buses.push((hal::pci::read(address, offset::BUS_NUMBERS) >> 8) as u8);
            }
            if found.len() < MOST_FUNCTIONS {
                found.push(Function { class, ..identity });
            }
        }
    }
}

fn identify(address: Address) -> Option<Function> {
    let id = hal::pci::read(address, offset::ID);
    let (vendor, device) = (id as u16, (id >> 16) as u16);
    (vendor != u16::MAX).then_some(Function { address, vendor, device, class: 0 })
}

impl Function {
    /// The subsystem's device number.
    pub(crate) fn subsystem(&self) -> u16 {
        (hal::pci::read(self.address, offset::SUBSYSTEM) >> 16) as u16
    }

    /// Reads a word of configuration space.
    pub(crate) fn read(&self, offset: u16) -> u32 {
        hal::pci::read(self.address, offset)
    }

    /// Lets the function answer memory accesses and access memory itself; no INTx.
    pub(crate) fn enable(&self) {
        // The status half clears the bits that are written as one.
        let command = self.read(offset::COMMAND) & 0xffff;
        let command = command | COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_NO_INTX;
        hal::pci::write(self.address, offset::COMMAND, command);
    }

    /// The capability list, in its order.
    pub(crate) fn capabilities(&self) -> impl Iterator<Item = Capability> + '_ {
        let mut next = 0;
        if self.read(offset::COMMAND) & STATUS_CAPABILITIES != 0 {
            next = self.read(offset::CAPABILITIES) as u8 & !3;
        }
        let walk = core::iter::from_fn(move || {
            let at = u16::from(next);
            if at < 0x40 {
                return None;
            }
            let header = self.read(at);
            next = (header >> 8) as u8 & !3;
            Some(Capability { id: header as u8, at })
        });
        walk.take(MOST_CAPABILITIES)
    }

    /// The address of a memory BAR. `None` when it is none, or firmware gave it no address.
    pub(crate) fn bar(&self, index: u8) -> Option<PhysAddr> {
        const IO: u32 = 1;
        const WIDTH: u32 = 6;
        const WIDTH_64: u32 = 4;
        if index > 5 {
            return None;
        }
        let at = offset::BARS + 4 * u16::from(index);
        let low = self.read(at);
        let mut address = u64::from(low & !0xf);
        if low & IO != 0 {
            return None;
        }
        if low & WIDTH == WIDTH_64 {
            if index > 4 {
                return None;
            }
            address |= u64::from(self.read(at + 4)) << 32;
        }
        (address != 0).then_some(PhysAddr(address))
    }

    /// Maps `bytes` bytes at `offset` of a BAR.
    pub(crate) fn map(&self, bar: u8, offset: u64, bytes: usize) -> Option<MmioWindow> {
        let start = self.bar(bar)?.0.checked_add(offset)?;
        let skip = start % PAGE;
        let whole = usize::try_from(skip).ok()?.checked_add(bytes)?.next_multiple_of(PAGE as usize);
        start.checked_add(whole as u64)?;
        MmioWindow::map(PhysAddr(start - skip), whole)?.part(skip as usize, bytes)
    }
}

/// The one message of a function that can send it without a table (MSI). `None` when it cannot, or
/// interrupts run out.
pub(crate) fn message(function: &Function) -> Option<Irq> {
    const WIDE: u32 = 1 << 23;
    const ENABLE_ONE: u32 = 1 << 16;
    const SEVERAL: u32 = 7 << 20;
    let at = function.capabilities().find(|capability| capability.id == CAPABILITY_MSI)?.at;
    let control = function.read(at);
    let (irq, message) = hal::irq::allocate_message()?;
    let write = |offset, value| hal::pci::write(function.address, at + offset, value);
    write(4, message.address as u32);
    let data = if control & WIDE != 0 {
        write(8, (message.address >> 32) as u32);
        12
    } else {
        8
    };
    // The other half of this word belongs to nobody.
    write(data, message.data);
    write(0, control & !SEVERAL | ENABLE_ONE);
    Some(irq)
}

/// The interrupt line that firmware wrote down for a function, which may be shared with others.
/// `None` when it did not.
pub(crate) fn line(function: &Function) -> Option<Irq> {
    let [line, pin, ..] = function.read(offset::INTERRUPT).to_le_bytes();
    if pin == 0 {
        return None;
    }
    let irq = hal::irq::allocate_shared_line(line)?;
    let command = function.read(offset::COMMAND) & 0xffff;
    hal::pci::write(function.address, offset::COMMAND, command & !COMMAND_NO_INTX);
    Some(irq)
}

/// Message-signalled interrupts of a function (MSI-X, PCI 3.0 §6.8.2).
pub(crate) struct MessageTable {
    entries: MmioWindow,
    used: u16,
    size: u16,
}

const ENTRY_BYTES: usize = 16;

impl MessageTable {
    /// Switches MSI-X on. `None` when the function has none.
    pub(crate) fn enable(function: &Function) -> Option<Self> {
        /// More vectors than any of our drivers asks for.
        const MOST: u16 = 64;
        const ENABLE: u32 = 1 << 31;
        const MASK_ALL: u32 = 1 << 30;
        let at = function.capabilities().find(|capability| capability.id == CAPABILITY_MSIX)?.at;
        let control = function.read(at);
        let size = ((control >> 16) as u16 & 0x7ff) + 1;
        let size = size.min(MOST);
        let place = function.read(at + 4);
        let bytes = usize::from(size) * ENTRY_BYTES;
        // The table may be written while the function is masked as a whole; entries start masked.
        let entries = function.map((place & 7) as u8, u64::from(place & !7), bytes)?;
        hal::pci::write(function.address, at, (control | ENABLE) & !MASK_ALL);
        Some(Self { entries, used: 0, size })
    }

    /// Points the next entry at a fresh interrupt. `None` when entries or interrupts run out.
    pub(crate) fn allocate(&mut self) -> Option<(Irq, u16)> {
        let vector = self.used;
        if vector >= self.size {
            return None;
        }
        let (irq, message) = hal::irq::allocate_message()?;
        self.used += 1;
        let at = usize::from(vector) * ENTRY_BYTES;
        self.entries.write_u32(at, message.address as u32);
        self.entries.write_u32(at + 4, (message.address >> 32) as u32);
        self.entries.write_u32(at + 8, message.data);
        // Unmasked.
        self.entries.write_u32(at + 12, 0);
        Some((irq, vector))
    }
}
