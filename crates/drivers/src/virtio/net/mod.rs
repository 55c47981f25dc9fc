//! The network device (§5.1): checksum and segmentation offload, merged receive buffers,
//! notifications and interrupts suppressed by index.
//!
//! One receive and one transmit queue share one interrupt. Receive buffers go round without being
//! touched again; transmitted frames are reclaimed when buffers are needed, so that a transmit
//! interrupt is asked for only while there is no room.

mod header;
mod receive;
#[cfg(test)]
mod tests;
mod transmit;

use super::handshake::Device;
use super::queue::{Queue, Violation};
use super::transport::{Acknowledge, QueueIndex, Transport, consistent};
use super::{Error, report_broken};
use alloc::boxed::Box;
use base::link::{LinkCapabilities, NetDevice, ReceiveMeta, TransmitMeta};
use core::fmt;
use hal::irq::Irq;
use header::ETHERNET_HEADER_BYTES;
use receive::Receiver;
use transmit::Transmitter;

/// Feature bits (§5.1.3).
mod feature {
    pub(super) const CSUM: u64 = 1 << 0;
    pub(super) const GUEST_CSUM: u64 = 1 << 1;
    pub(super) const MTU: u64 = 1 << 3;
    pub(super) const MAC: u64 = 1 << 5;
    pub(super) const GUEST_TSO4: u64 = 1 << 7;
    pub(super) const GUEST_TSO6: u64 = 1 << 8;
    pub(super) const HOST_TSO4: u64 = 1 << 11;
    pub(super) const HOST_TSO6: u64 = 1 << 12;
    pub(super) const MRG_RXBUF: u64 = 1 << 15;
    pub(super) const STATUS: u64 = 1 << 16;
}

/// Offsets in the configuration (§5.1.4).
mod configuration {
    pub(super) const MAC: usize = 0;
    pub(super) const STATUS: usize = 6;
    pub(super) const MTU: usize = 10;
    pub(super) const STATUS_LINK_UP: u16 = 1;
}

const RECEIVE_QUEUE: QueueIndex = QueueIndex(0);
const TRANSMIT_QUEUE: QueueIndex = QueueIndex(1);

const ETHERNET_MTU: usize = 1500;
/// RFC 791: every host forwards this much; a device that says less is not believed.
const SMALLEST_MTU: usize = 68;
/// Larger than any jumbo frame, small enough that buffers stay contiguous.
const LARGEST_MTU: usize = 16_000;

/// How much memory the driver may take, by how much the machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Budget {
    /// Receive buffers that hold a frame of the MTU each.
    receive_buffers: u16,
    /// Frames in transmission.
    transmit_buffers: u16,
    /// Frames to be segmented in transmission.
    large_buffers: u16,
    /// Take merged frames: they fill buffers faster.
    merge: bool,
}

impl Budget {
    /// 1/128 of memory for received frames, as much for sent ones, each between 32 and 256
    /// frames of 2 KiB; and 1/128 for frames to be segmented, between 2 and 16 of 64 KiB. Buffers
    /// for sending are only made when they are used.
    fn of(memory_bytes: u64) -> Self {
        const SHARE: u64 = 128;
        const MERGE_FROM: u64 = 48 << 20;
        let frames = (memory_bytes / SHARE / 2048).clamp(32, 256) as u16;
        Self {
            receive_buffers: 1 << frames.ilog2(),
            transmit_buffers: frames,
            large_buffers: ((memory_bytes / SHARE) >> 16).clamp(2, 16) as u16,
            merge: memory_bytes >= MERGE_FROM,
        }
    }

    fn of_machine() -> Self {
        Self::of(hal::memory::statistics().total.saturating_mul(base::PAGE_SIZE))
    }
}

/// A virtio network device.
pub struct VirtioNet {
    device: Device,
    mac: [u8; 6],
    capabilities: LinkCapabilities,
    link_up: bool,
    irq: Option<Irq>,
    acknowledge: Option<Acknowledge>,
    // `None` once the device broke the rules.
    queues: Option<Queues>,
}

struct Queues {
    receiver: Receiver,
    transmitter: Transmitter,
}

impl VirtioNet {
    /// Brings up the device behind `transport`.
    ///
    /// # Errors
    /// The device does not follow, or there is no memory.
    pub fn new(transport: Box<dyn Transport>) -> Result<Self, Error> {
        Self::with_budget(transport, Budget::of_machine())
    }

    fn with_budget(transport: Box<dyn Transport>, budget: Budget) -> Result<Self, Error> {
        let mut device = Device::negotiate(transport, wanted_features(budget))?;
        let settings = Settings::read(&mut device);
        let irq = device.transport().interrupt();
        let vector = irq.map(|interrupt| interrupt.vector);
        let event_index = device.has(super::feature::EVENT_INDEX);
        let transport = device.transport();
        let wanted = budget.receive_buffers;
        let receive = Queue::new(transport, RECEIVE_QUEUE, wanted, event_index, vector)?;
        let wanted = budget.transmit_buffers.next_power_of_two();
        let transmit = Queue::new(transport, TRANSMIT_QUEUE, wanted, event_index, vector)?;
        let frame_bytes = ETHERNET_HEADER_BYTES + settings.mtu;
        let receiver = Receiver::new(
            receive,
            frame_bytes,
            device.has(feature::MRG_RXBUF),
            device.has(feature::GUEST_CSUM),
        )?;
        let transmitter = Transmitter::new(transmit, frame_bytes, budget, &device)?;
        let mut net = Self {
            mac: settings.mac,
            link_up: settings.link_up,
            capabilities: LinkCapabilities {
                mtu: settings.mtu,
                transmit_checksum: device.has(feature::CSUM),
                segmentation_ipv4: device.has(feature::HOST_TSO4),
                segmentation_ipv6: device.has(feature::HOST_TSO6),
            },
            irq: irq.map(|interrupt| interrupt.irq),
            acknowledge: device.transport().acknowledge(),
            queues: Some(Queues { receiver, transmitter }),
            device,
        };
        net.device.start();
        if let Some(queues) = &mut net.queues {
            queues.receiver.publish();
        }
        Ok(net)
    }

    /// The interrupt that [`NetDevice::enable_interrupt`] asks for. `None`: the kernel must poll.
    #[must_use]
    pub fn irq(&self) -> Option<Irq> {
        self.irq
    }

    /// One line about the device for the log.
    #[must_use]
    pub fn description(&self) -> Description {
        Description {
            mac: self.mac,
            capabilities: self.capabilities,
            link_up: self.link_up,
            buffers: self.queues.as_ref().map_or(0, |queues| queues.receiver.buffers()),
            merged: self.device.has(feature::MRG_RXBUF),
        }
    }

    /// Stops a device that broke the rules.
    fn give_up(&mut self, violation: Violation) {
        report_broken("virtio-net", violation);
        self.stop();
    }

    fn stop(&mut self) {
        let stopped = self.device.stop();
        if let Some(queues) = self.queues.take()
            && !stopped
        {
            // It may still write to the buffers.
            queues.receiver.leak();
            queues.transmitter.leak();
        }
    }
}

impl Drop for VirtioNet {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What to ask the device for.
fn wanted_features(budget: Budget) -> u64 {
    let mut wanted = feature::CSUM
        | feature::GUEST_CSUM
        | feature::MTU
        | feature::MAC
        | feature::HOST_TSO4
        | feature::HOST_TSO6
        | feature::STATUS;
    if budget.merge {
        wanted |= feature::MRG_RXBUF | feature::GUEST_TSO4 | feature::GUEST_TSO6;
    }
    wanted
}

/// What the configuration says, or what takes its place.
struct Settings {
    mac: [u8; 6],
    mtu: usize,
    link_up: bool,
}

impl Settings {
    fn read(device: &mut Device) -> Self {
        let has_mac = device.has(feature::MAC);
        let has_mtu = device.has(feature::MTU);
        let has_status = device.has(feature::STATUS);
        let read = consistent(device.transport(), |window| {
            let mut mac = [0; 6];
            for (offset, byte) in mac.iter_mut().enumerate() {
                *byte = window.read_u8(configuration::MAC + offset);
            }
            let status = window.read_u16(configuration::STATUS);
            (mac, status, usize::from(window.read_u16(configuration::MTU)))
        });
        let (mac, status, mtu) = read.unwrap_or_default();
        // A group address cannot be a device's own.
        let usable = has_mac && mac != [0; 6] && mac.first().is_some_and(|byte| byte & 1 == 0);
        Self {
            mac: if usable { mac } else { random_mac() },
            mtu: if has_mtu && mtu >= SMALLEST_MTU { mtu.min(LARGEST_MTU) } else { ETHERNET_MTU },
            link_up: !has_status || status & configuration::STATUS_LINK_UP != 0,
        }
    }
}

/// A locally administered address, for devices without one.
fn random_mac() -> [u8; 6] {
    const GROUP: u8 = 1;
    const LOCAL: u8 = 2;
    let mut mac = [0; 6];
    hal::entropy::seed(&mut mac);
    if let Some(first) = mac.first_mut() {
        *first = *first & !GROUP | LOCAL;
    }
    mac
}

impl NetDevice for VirtioNet {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn capabilities(&self) -> LinkCapabilities {
        self.capabilities
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool {
        let Some(queues) = &mut self.queues else { return false };
        match queues.receiver.receive(take) {
            Ok(received) => received,
            Err(violation) => {
                self.give_up(violation);
                false
            }
        }
    }

    fn can_transmit(&mut self) -> bool {
        let Some(queues) = &mut self.queues else { return false };
        match queues.transmitter.has_room() {
            Ok(room) => room,
            Err(violation) => {
                self.give_up(violation);
                false
            }
        }
    }

    fn transmit(
        &mut self,
        bytes: usize,
        meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        let Some(queues) = &mut self.queues else { return false };
        match queues.transmitter.transmit(bytes, meta, fill) {
            Ok(sent) => sent,
            Err(violation) => {
                self.give_up(violation);
                false
            }
        }
    }

    fn flush(&mut self) {
        if let Some(queues) = &mut self.queues {
            queues.transmitter.publish();
        }
    }

    fn enable_interrupt(&mut self) -> bool {
        let Some(queues) = &mut self.queues else { return false };
        queues.receiver.publish();
        // Before looking at the rings: what comes after this raises the line again.
        if let Some(acknowledge) = &self.acknowledge {
            acknowledge.all();
        }
        let received = queues.receiver.request_interrupt();
        match queues.transmitter.room_came() {
            Ok(room) => received | room,
            Err(violation) => {
                self.give_up(violation);
                false
            }
        }
    }
}

/// What a device turned out to be.
pub struct Description {
    mac: [u8; 6],
    capabilities: LinkCapabilities,
    link_up: bool,
    buffers: usize,
    merged: bool,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.mac.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { ":" })?;
        }
        write!(f, " mtu {}, {} receive buffers", self.capabilities.mtu, self.buffers)?;
        for (has, name) in [
            (self.capabilities.transmit_checksum, ", checksum"),
            (self.capabilities.segmentation_ipv4, ", tso4"),
            (self.capabilities.segmentation_ipv6, ", tso6"),
            (self.merged, ", merged receive"),
            (!self.link_up, ", link down"),
        ] {
            if has {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}
