//! PCI configuration space: in memory where ACPI says so (ECAM, PCI Express 5.0, 7.2.2), else by ports
//! (mechanism 1).

use super::boot::map;
use super::instructions::Port;
use super::paging;
use crate::acpi::Ecam;
use base::sync::{Once, SpinLock};
use core::fmt::Arguments;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

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

/// What ACPI says of configuration space in memory.
static TOLD: Once<Ecam> = Once::new();
/// That it is there: looked at once.
static FOUND: Once<Option<Ecam>> = Once::new();
const BUSES: usize = 256;
const BUS_BYTES: u64 = 1 << 20;
/// Where the buses are mapped; null: not yet.
static MAPPED: [AtomicPtr<u8>; BUSES] = [const { AtomicPtr::new(ptr::null_mut()) }; BUSES];

/// ACPI says that configuration space lies in memory.
pub(super) fn set_ecam(ecam: Ecam) {
    TOLD.call_once(|| ecam);
}

/// Tables have been wrong: the host bridge must be there, the same as by ports if they know one.
fn check() -> Option<Ecam> {
    let host = Address { bus: 0, device: 0, function: 0 };
    let ecam = *TOLD.get()?;
    let in_memory = word(&ecam, host, 0)?;
    // SAFETY: the word lies in the mapped bus; reading it has no effect.
    let (in_memory, by_ports) = (unsafe { in_memory.read_volatile() }, read_by_ports(host, 0));
    let exists = |identity: u32| identity as u16 != u16::MAX;
    (exists(in_memory) && (in_memory == by_ports || !exists(by_ports))).then_some(ecam)
}

/// A word of configuration space in memory. `None`: it does not lie there, or cannot be mapped.
fn word(ecam: &Ecam, address: Address, offset: u16) -> Option<*mut u32> {
    let valid = (ecam.first_bus..=ecam.last_bus).contains(&address.bus)
        && address.device < 32
        && address.function < 8
        && offset < 4096
        && offset.is_multiple_of(4);
    let slot = MAPPED.get(usize::from(address.bus)).filter(|_| valid)?;
    let mut bus = slot.load(Relaxed);
    if bus.is_null() {
        let start = ecam.base + u64::from(address.bus) * BUS_BYTES;
        if map::has_memory(start, start + BUS_BYTES) {
            return None;
        }
        bus = paging::map_device(start, BUS_BYTES)?;
        slot.store(bus, Relaxed);
    }
    let function = usize::from(address.device) << 3 | usize::from(address.function);
    Some(bus.wrapping_add(function << 12 | usize::from(offset)).cast())
}

fn in_memory(address: Address, offset: u16) -> Option<*mut u32> {
    word(FOUND.call_once(check).as_ref()?, address, offset)
}

/// Says how it is reached.
pub(super) fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    match FOUND.call_once(check) {
        Some(Ecam { base, first_bus, last_bus }) => {
            each(
                "pci access",
                format_args!("memory at {base:#x}, buses {first_bus} to {last_bus}"),
            );
        }
        None => each("pci access", format_args!("ports")),
    }
}

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
    match in_memory(address, offset) {
        // SAFETY: the word lies in the mapped bus; reading it changes no memory.
        Some(word) => unsafe { word.read_volatile() },
        None => read_by_ports(address, offset),
    }
}

fn read_by_ports(address: Address, offset: u16) -> u32 {
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
    if let Some(word) = in_memory(address, offset) {
        // SAFETY: the word lies in the mapped bus; as `PORTS`.
        unsafe { word.write_volatile(value) };
        return;
    }
    let Some(selector) = selector(address, offset) else { return };
    let ports = PORTS.lock();
    ports.select.write32(selector);
    ports.data.write32(value);
}
