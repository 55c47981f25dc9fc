//! From places where a device may be to attached drivers.

use crate::command_line::{self, MmioSlot};
use crate::pci::{self, Function};
use crate::virtio::gpu::VirtioGpu;
use crate::virtio::input::VirtioInput;
use crate::virtio::net::VirtioNet;
use crate::virtio::rng::VirtioRng;
use crate::virtio::transport::Transport;
use crate::virtio::{self, DeviceType, Error, MmioTransport, PciTransport};
use crate::{display, e1000, pvpanic};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::PAGE_SIZE;
use base::display::{Layout, Surface};
use base::input::{Description, InputSource};
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

/// An input device that is up.
pub struct AttachedInput {
    /// Gives its events.
    pub source: Box<dyn InputSource>,
    /// What it is.
    pub description: Description,
    /// What it raises when there are some.
    pub irq: Irq,
}

/// A screen that is up.
pub struct AttachedScreen {
    /// What is seen on it.
    pub surface: Arc<dyn Surface>,
    /// What it raises when it may have another size ([`Surface::successor`]). `None`: it never has.
    pub irq: Option<Irq>,
}

/// What [`probe`] attached.
#[derive(Default)]
pub struct Devices {
    /// Network devices, in the order they were found.
    pub nets: Vec<AttachedNet>,
    /// Sources of randomness.
    pub rngs: Vec<VirtioRng>,
    /// Input devices, in the order they were found.
    pub inputs: Vec<AttachedInput>,
    /// A screen, if one was wanted and is there.
    pub screen: Option<AttachedScreen>,
    wants_screen: bool,
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
    Driver { name: "virtio-gpu", matches: DeviceType::GPU, attach: attach_gpu },
    Driver { name: "virtio-input", matches: DeviceType::INPUT, attach: attach_input },
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

fn attach_input(transport: Box<dyn Transport>, devices: &mut Devices) -> Result<String, Error> {
    let (input, description, irq) = VirtioInput::new(transport)?;
    let line = format!("{:?}", description.name);
    devices.inputs.push(AttachedInput { source: Box::new(input), description, irq });
    Ok(line)
}

fn attach_gpu(transport: Box<dyn Transport>, devices: &mut Devices) -> Result<String, Error> {
    if devices.screen.is_some() || !devices.wants_screen {
        return Err(Error::OtherScreen);
    }
    let screen = VirtioGpu::new(transport)?;
    let Layout { width, height, .. } = screen.layout();
    devices.screen = Some(AttachedScreen { irq: screen.irq(), surface: screen });
    Ok(format!("{width}x{height}"))
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
/// bus. `wants_screen`: there is none yet. `log` gets one line for each that is attached or refused. Call
/// it once.
pub fn probe(
    command_line: &str,
    wants_screen: bool,
    log: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Devices {
    let mut devices = Devices { wants_screen, ..Devices::default() };
    for slot in command_line::mmio_slots(command_line) {
        match slot {
            Ok(slot) => attach(&Place::Mmio(slot), mmio_transport(slot), &mut devices, log),
            Err(value) => log(format_args!("cannot read virtio_mmio.device={value}")),
        }
    }
    for function in pci::functions() {
        // Look for a driver first: reaching the registers changes the device.
        if let Some(name) = e1000::name(&function) {
            let outcome = e1000::attach(function, &mut devices);
            say(name, &Place::Pci(function.address), outcome, log);
        } else if pvpanic::is_it(&function) {
            say("pvpanic", &Place::Pci(function.address), pvpanic::attach(&function), log);
        } else if virtio::pci_device_type(&function).is_some_and(|kind| driver(kind).is_some()) {
            attach(&Place::Pci(function.address), pci_transport(function), &mut devices, log);
        }
    }
    devices
}

/// Which driver is for a function; `None`: nobody's.
pub(crate) fn driver_of(function: &Function) -> Option<&'static str> {
    let virtio = || driver(virtio::pci_device_type(function)?).map(|driver| driver.name);
    let bochs = || display::is_bochs(function).then_some("bochs-display");
    let pvpanic = || pvpanic::is_it(function).then_some("pvpanic");
    e1000::name(function).or_else(virtio).or_else(bochs).or_else(pvpanic)
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
    say(driver.name, place, (driver.attach)(transport, devices), log);
}

/// One line about what came of a device.
fn say(
    name: &str,
    place: &Place,
    outcome: Result<String, Error>,
    log: &mut dyn FnMut(fmt::Arguments<'_>),
) {
    match outcome {
        Ok(line) => log(format_args!("{name} at {place}: {line}")),
        Err(error) => log(format_args!("{name} at {place}: not used: {error}")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Behaviour, Device as Model, EVENT_INDEX, Manner, PciFace, Shared, lock};
    use base::PhysAddr;
    use base::link::TransmitMeta;
    use hal::pci::Address;
    use std::string::ToString;

    fn probe_logged(command_line: &str) -> (Devices, Vec<String>) {
        let mut lines = Vec::new();
        let devices = probe(command_line, true, &mut |line| lines.push(line.to_string()));
        (devices, lines)
    }

    fn echo(net: &mut AttachedNet, device: &Shared) {
        assert!(net.device.transmit(60, TransmitMeta::default(), &mut |to| to.fill(3)));
        net.device.flush();
        assert!(net.device.receive(&mut |frame, _| assert_eq!(frame, [3; 60])));
        assert_eq!(lock(device).sent.len(), 1);
    }

    #[test]
    fn finds_what_the_command_line_names() {
        hal::sim::reset(1, 1 << 14);
        let (net, rng) = (Model::net(EVENT_INDEX), Model::rng(Behaviour::Count));
        let legacy = Model::net(0);
        lock(&legacy).version = 1;
        let empty = Model::net(0);
        lock(&empty).kind = 0;
        let strange = Model::net(0);
        lock(&strange).kind = 40;
        // All in one page, as on QEMU's microvm.
        let page = crate::testing::Page::of(&[&net, &rng, &legacy, &empty, &strange]);
        hal::sim::place(PhysAddr(0xfeb0_0000), page);
        let line = "quiet virtio_mmio.device=512@0xfeb00000:5 virtio_mmio.device=512@0xfeb00200:6 \
                    virtio_mmio.device=512@0xfeb00400:7 virtio_mmio.device=512@0xfeb00600:8 \
                    virtio_mmio.device=512@0xfeb00800:9 virtio_mmio.device=512@0x100000:9 \
                    virtio_mmio.device=junk";
        let (mut devices, lines) = probe_logged(line);
        assert_eq!((devices.nets.len(), devices.rngs.len()), (1, 1));
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("force-legacy=false")), "{lines:#?}");
        assert!(devices.nets[0].irq.is_some());
        echo(&mut devices.nets[0], &net);
        let mut seed = [0; 32];
        assert_eq!(devices.seed(&mut seed, &mut |_| {}), 32);
        drop(devices);
        assert_eq!((lock(&net).status, lock(&rng).status), (0, 0), "both are reset");
    }

    #[test]
    fn finds_pci_functions_and_programs_their_messages() {
        for (face, messages) in [
            (PciFace::transitional(1), true),
            (PciFace { device: 0x1041, ..PciFace::transitional(0) }, true),
            (PciFace { messages: false, ..PciFace::transitional(1) }, false),
        ] {
            hal::sim::reset(1, 1 << 14);
            let host = PciFace { vendor: 0x8086, device: 0x29c0, subsystem: 0, messages: false };
            let nothing = Model::net(0);
            let device = Model::net(EVENT_INDEX);
            host.plug(Address { bus: 0, device: 0, function: 0 }, &nothing);
            let [space, table] = face.plug(Address { bus: 0, device: 3, function: 0 }, &device);
            let (mut devices, lines) = probe_logged("");
            assert_eq!(devices.nets.len(), 1, "{lines:#?}");
            assert!(lines[0].contains("virtio-net at pci 00:03.0"), "{lines:#?}");
            assert_eq!(devices.nets[0].irq.is_some(), messages, "{lines:#?}");
            assert_eq!(space.lock().unwrap()[4] & 6, 6, "memory and bus master");
            if messages {
                assert_eq!(space.lock().unwrap()[0x77] & 0xc0, 0x80, "on and not masked");
                // The table is 0x800 into its BAR: address, data, unmasked.
                assert_eq!(table.lock().unwrap()[0x800..0x804], 0xfee0_0000u32.to_le_bytes());
            }
            echo(&mut devices.nets[0], &device);
        }
    }

    #[test]
    fn one_screen_is_enough() {
        let at = |device| Address { bus: 0, device, function: 0 };
        for wants_screen in [true, false] {
            hal::sim::reset(1, 1 << 14);
            let host = PciFace { vendor: 0x8086, device: 0x29c0, subsystem: 0, messages: false };
            host.plug(at(0), &Model::net(0));
            let displays = [Model::display(Manner::Good), Model::display(Manner::Good)];
            let face = PciFace { device: 0x1050, ..PciFace::transitional(0) };
            face.plug(at(3), &displays[0]);
            let page = crate::testing::Page::of(&[&displays[1]]);
            hal::sim::place(PhysAddr(0xfeb0_0000), page);
            let mut lines = Vec::new();
            let line = "virtio_mmio.device=512@0xfeb00000:5";
            let devices = probe(line, wants_screen, &mut |line| lines.push(line.to_string()));
            assert_eq!(devices.screen.is_some(), wants_screen);
            let other = "not used: there is another screen";
            let [first, second] = if wants_screen { ["640x400", other] } else { [other, other] };
            assert_eq!(
                lines,
                [
                    format!("virtio-gpu at mmio 0xfeb00000: {first}"),
                    format!("virtio-gpu at pci 00:03.0: {second}"),
                ]
            );
            assert_eq!(lock(&displays[0]).status & 4, 0);
        }
    }

    #[test]
    fn a_legacy_pci_device_is_refused() {
        hal::sim::reset(1, 1 << 14);
        let device = Model::net(0);
        let host = PciFace { vendor: 0x8086, device: 0x29c0, subsystem: 0, messages: false };
        host.plug(Address { bus: 0, device: 0, function: 0 }, &device);
        let at = Address { bus: 0, device: 1, function: 0 };
        let [space, _] = PciFace::transitional(1).plug(at, &device);
        space.lock().unwrap()[0x34] = 0x74;
        let (devices, lines) = probe_logged("");
        assert!(devices.nets.is_empty());
        assert!(lines[0].contains("legacy"), "{lines:#?}");
    }
}
