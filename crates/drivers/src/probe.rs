//! From places where a device may be to attached drivers.

use crate::command_line::{self, MmioSlot};
use crate::pci::{self, Function};
use crate::virtio::net::VirtioNet;
use crate::virtio::rng::VirtioRng;
use crate::virtio::transport::Transport;
use crate::virtio::{self, DeviceType, Error, MmioTransport, PciTransport};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base::PAGE_SIZE;
use base::link::NetDevice;
use core::fmt;
use hal::irq::Irq;
use hal::mmio::MmioWindow;

/// A network device that is up.
pub struct AttachedNet {
    /// Moves the frames. It acknowledges its own interrupts, in `enable_interrupt`.
    pub device: Box<dyn NetDevice>,
    /// What it raises when frames come, or when there is room to send after there was none.
    /// `None`: it cannot, and must be polled.
    pub irq: Option<Irq>,
}

/// What [`probe`] attached.
#[derive(Default)]
pub struct Devices {
    /// Network devices, in the order they were found.
    pub nets: Vec<AttachedNet>,
    /// Sources of randomness.
    pub rngs: Vec<VirtioRng>,
}

impl Devices {
    /// Fills `seed` from the first entropy device that gives anything; returns how many bytes came.
    /// Waits a fifth of a second at most for a device that does not answer.
    pub fn seed(&mut self, seed: &mut [u8], log: &mut dyn FnMut(fmt::Arguments<'_>)) -> usize {
        for rng in &mut self.rngs {
            let filled = rng.fill(seed);
            if filled > 0 {
                return filled;
            }
            log(format_args!("virtio-rng: no answer, booting without it"));
        }
        0
    }
}

/// A driver for virtio devices of one type.
struct Driver {
    name: &'static str,
    matches: DeviceType,
    attach: fn(Box<dyn Transport>, &mut Devices) -> Result<String, Error>,
}

/// All drivers.
const DRIVERS: &[Driver] = &[
    Driver { name: "virtio-net", matches: DeviceType::NETWORK, attach: attach_net },
    Driver { name: "virtio-rng", matches: DeviceType::ENTROPY, attach: attach_rng },
];

fn attach_net(transport: Box<dyn Transport>, devices: &mut Devices) -> Result<String, Error> {
    let net = VirtioNet::new(transport)?;
    let (irq, description) = (net.irq(), net.description());
    let polled = if irq.is_none() { ", polled" } else { "" };
    let line = format!("{description}{polled}");
    devices.nets.push(AttachedNet { device: Box::new(net), irq });
    Ok(line)
}

fn attach_rng(transport: Box<dyn Transport>, devices: &mut Devices) -> Result<String, Error> {
    devices.rngs.push(VirtioRng::new(transport)?);
    Ok(String::from("entropy"))
}

/// Where a device is, for the log.
enum Place {
    Mmio(MmioSlot),
    Pci(hal::pci::Address),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mmio(slot) => write!(f, "mmio {:#x}", slot.address.0),
            Self::Pci(at) => write!(f, "pci {:02x}:{:02x}.{}", at.bus, at.device, at.function),
        }
    }
}

/// Finds and attaches all devices: those that the kernel command line names and those on the PCI
/// bus. `log` gets one line for each that is attached or refused. Call it once.
pub fn probe(command_line: &str, log: &mut dyn FnMut(fmt::Arguments<'_>)) -> Devices {
    let mut devices = Devices::default();
    for slot in command_line::mmio_slots(command_line) {
        match slot {
            Ok(slot) => attach(&Place::Mmio(slot), mmio_transport(slot), &mut devices, log),
            Err(value) => log(format_args!("cannot read virtio_mmio.device={value}")),
        }
    }
    for function in pci::functions() {
        // Look for a driver first: reaching the registers changes the device.
        if virtio::pci_device_type(&function).is_some_and(|kind| driver(kind).is_some()) {
            attach(&Place::Pci(function.address), pci_transport(function), &mut devices, log);
        }
    }
    devices
}

fn driver(kind: DeviceType) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.matches == kind)
}

fn attach(
    place: &Place,
    transport: Result<Box<dyn Transport>, Error>,
    devices: &mut Devices,
    log: &mut dyn FnMut(fmt::Arguments<'_>),
) {
    let transport = match transport {
        Ok(transport) => transport,
        Err(Error::Absent) => return,
        Err(error) => return log(format_args!("{place}: not used: {error}")),
    };
    let kind = transport.device_type();
    let Some(driver) = driver(kind) else {
        return log(format_args!("{place}: no driver for virtio device type {}", kind.0));
    };
    match (driver.attach)(transport, devices) {
        Ok(line) => log(format_args!("{} at {place}: {line}", driver.name)),
        Err(error) => log(format_args!("{} at {place}: not used: {error}", driver.name)),
    }
}

fn mmio_transport(slot: MmioSlot) -> Result<Box<dyn Transport>, Error> {
    // Several slots may share a page; windows are whole pages.
    let skip = slot.address.0 % PAGE_SIZE;
    let bytes = (skip as usize + slot.bytes).next_multiple_of(PAGE_SIZE as usize);
    let window = MmioWindow::map(base::PhysAddr(slot.address.0 - skip), bytes)
        .and_then(|pages| pages.part(skip as usize, slot.bytes))
        .ok_or(Error::Unmapped)?;
    let transport = MmioTransport::new(window, || hal::irq::allocate_line(slot.interrupt))?;
    Ok(Box::new(transport))
}

fn pci_transport(function: Function) -> Result<Box<dyn Transport>, Error> {
    Ok(Box::new(PciTransport::new(function)?))
}
