//! Intel's gigabit Ethernet cards: the PCI ones (8254x, "e1000") and the first PCI Express ones
//! (82574, "e1000e"), as emulators have them and PCs of some age.
//!
//! Sections and registers are those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers
//! Software Developer's Manual" (8254x) and of the 82574's datasheet. Only what both have in common
//! is used: descriptors of the first kind, one queue each way, one interrupt. The device writes
//! nothing but frames and the status of descriptors: there is nothing it could lead the driver
//! astray with.

mod ring;
#[cfg(test)]
mod tests;

use crate::pci::{self, Function};
use crate::virtio::Error;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use base::link::{LinkCapabilities, NetDevice, ReceiveMeta, TransmitMeta};
use base::{PAGE_SIZE, PhysAddr};
use hal::irq::Irq;
use hal::mmio::MmioWindow;
use ring::{Receiver, Transmitter};

/// The cards, by Intel's device numbers: those that the driver was seen to work with.
const CARDS: &[(u16, &str)] = &[
    (0x100c, "e1000 (82544GC)"),
    (0x100e, "e1000 (82540EM)"),
    (0x100f, "e1000 (82545EM)"),
    (0x10d3, "e1000e (82574L)"),
];
const VENDOR: u16 = 0x8086;

/// What the card at `function` is called; `None` when it is none of these.
pub(crate) fn name(function: &Function) -> Option<&'static str> {
    let card = CARDS.iter().find(|card| card.0 == function.device)?;
    (function.vendor == VENDOR).then_some(card.1)
}

/// Offsets of registers (8254x 13.3, 82574 10.1).
mod register {
    pub(super) const CONTROL: usize = 0x0000;
    pub(super) const STATUS: usize = 0x0008;
    pub(super) const CAUSES: usize = 0x00c0;
    pub(super) const CAUSES_SET: usize = 0x00c8;
    pub(super) const MASK_SET: usize = 0x00d0;
    pub(super) const MASK_CLEAR: usize = 0x00d8;
    pub(super) const RECEIVE_CONTROL: usize = 0x0100;
    pub(super) const TRANSMIT_CONTROL: usize = 0x0400;
    pub(super) const TRANSMIT_GAP: usize = 0x0410;
    pub(super) const RECEIVE_RING: usize = 0x2800;
    pub(super) const TRANSMIT_RING: usize = 0x3800;
    pub(super) const CHECKSUM_CONTROL: usize = 0x5000;
    pub(super) const MULTICAST_TABLE: usize = 0x5200;
    pub(super) const ADDRESS_LOW: usize = 0x5400;
    pub(super) const ADDRESS_HIGH: usize = 0x5404;
    /// All of these lie below.
    pub(super) const BYTES: usize = 0x6000;
    /// Within the registers of a ring.
    pub(super) const RING_LOW: usize = 0x00;
    pub(super) const RING_HIGH: usize = 0x04;
    pub(super) const RING_BYTES: usize = 0x08;
    pub(super) const RING_HEAD: usize = 0x10;
    pub(super) const RING_TAIL: usize = 0x18;
}

/// Causes of the interrupt (8254x 13.4.17).
mod cause {
    pub(super) const SENT: u32 = 1 << 0;
    pub(super) const LINK: u32 = 1 << 2;
    pub(super) const FEW_BUFFERS: u32 = 1 << 4;
    pub(super) const OVERRUN: u32 = 1 << 6;
    pub(super) const RECEIVED: u32 = 1 << 7;
}

const WANTED_CAUSES: u32 = cause::RECEIVED | cause::OVERRUN | cause::FEW_BUFFERS;
const CONTROL_AUTO_SPEED: u32 = 1 << 5;
const CONTROL_LINK_UP: u32 = 1 << 6;
const CONTROL_RESET: u32 = 1 << 26;
const STATUS_LINK_UP: u32 = 1 << 1;
const ADDRESS_VALID: u32 = 1 << 31;
const ETHERNET_MTU: usize = 1500;
/// A reset takes microseconds, a read of a register about one.
const RESET_LOOKS: usize = 100_000;

/// The registers, also for the rings.
#[derive(Clone)]
struct Registers(MmioWindow);

impl Registers {
    fn read(&self, register: usize) -> u32 {
        self.0.read_u32(register)
    }

    fn write(&self, register: usize, value: u32) {
        self.0.write_u32(register, value);
    }

    /// Tells the card where a ring lies. It is empty.
    fn set_ring(&self, ring: usize, at: PhysAddr, bytes: usize) {
        self.write(ring + register::RING_LOW, at.0 as u32);
        self.write(ring + register::RING_HIGH, (at.0 >> 32) as u32);
        // No ring is longer than a page.
        self.write(ring + register::RING_BYTES, bytes as u32);
        self.write(ring + register::RING_HEAD, 0);
        self.write(ring + register::RING_TAIL, 0);
    }

    /// Stops the card: no interrupts, no access to memory after it. `false`: it does not answer.
    fn reset(&self) -> bool {
        self.write(register::MASK_CLEAR, u32::MAX);
        self.write(register::RECEIVE_CONTROL, 0);
        self.write(register::TRANSMIT_CONTROL, 0);
        self.write(register::CONTROL, self.read(register::CONTROL) | CONTROL_RESET);
        let done = (0..RESET_LOOKS).any(|_| self.read(register::CONTROL) & CONTROL_RESET == 0);
        self.write(register::MASK_CLEAR, u32::MAX);
        // Reading clears them.
        let _ = self.read(register::CAUSES);
        done
    }

    /// The card's own address, which a reset loads from its memory (8254x 13.5.1).
    fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.read(register::ADDRESS_LOW).to_le_bytes();
        let [e, f, ..] = self.read(register::ADDRESS_HIGH).to_le_bytes();
        [a, b, c, d, e, f]
    }
}

/// A card.
pub struct E1000 {
    registers: Registers,
    mac: [u8; 6],
    irq: Option<Irq>,
    // `None` when the card was stopped.
    rings: Option<(Receiver, Transmitter)>,
}

impl E1000 {
    /// Brings up the card at `function`.
    ///
    /// # Errors
    /// Its registers have no address, it does not finish its reset, or there is no memory.
    pub(crate) fn new(function: Function) -> Result<Self, Error> {
        function.enable();
        let window = function.map(0, 0, register::BYTES).ok_or(Error::Unmapped)?;
        let registers = Registers(window);
        if !registers.reset() {
            return Err(Error::NoReset);
        }
        let mac = own_address(registers.mac());
        let (receiver, transmitter) = start(&registers, mac)?;
        let irq = interrupt(function, &registers);
        if irq.is_some() {
            registers.write(register::MASK_SET, WANTED_CAUSES);
        }
        Ok(Self { registers, mac, irq, rings: Some((receiver, transmitter)) })
    }

    /// What the card raises. `None`: it must be polled.
    pub(crate) fn irq(&self) -> Option<Irq> {
        self.irq
    }

    /// One line about the card for the log.
    pub(crate) fn description(&self) -> String {
        let [a, b, c, d, e, f] = self.mac;
        let link = self.registers.read(register::STATUS) & STATUS_LINK_UP != 0;
        let link = if link { "" } else { ", link down" };
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} mtu {ETHERNET_MTU}{link}")
    }
}

/// An address from a card, or one in its place when it cannot be a card's own.
fn own_address(mut mac: [u8; 6]) -> [u8; 6] {
    const GROUP: u8 = 1;
    const LOCAL: u8 = 2;
    if mac == [0; 6] || mac[0] & GROUP != 0 {
        hal::entropy::seed(&mut mac);
        mac[0] = mac[0] & !GROUP | LOCAL;
    }
    mac
}

/// Sets everything up and lets frames pass (8254x 14.3 to 14.5).
fn start(registers: &Registers, mac: [u8; 6]) -> Result<(Receiver, Transmitter), Error> {
    const RECEIVE_ON: u32 = 1 << 1;
    /// All multicast frames: IPv6 asks its neighbours by such.
    const RECEIVE_MULTICAST: u32 = 1 << 4;
    const RECEIVE_BROADCAST: u32 = 1 << 15;
    const RECEIVE_STRIP_CRC: u32 = 1 << 26;
    const TRANSMIT_ON: u32 = 1 << 1;
    const TRANSMIT_PAD: u32 = 1 << 3;
    /// Collisions, as the manual gives them for full duplex.
    const TRANSMIT_COLLISIONS: u32 = 0x0f << 4 | 0x40 << 12;
    /// Gaps between frames for copper (8254x 13.4.34).
    const GAPS: u32 = 10 | 8 << 10 | 6 << 20;
    const CHECK_IP_AND_TCP: u32 = 3 << 8;
    const MULTICAST_WORDS: usize = 128;
    let control = registers.read(register::CONTROL);
    registers.write(register::CONTROL, control | CONTROL_LINK_UP | CONTROL_AUTO_SPEED);
    let [a, b, c, d, e, f] = mac;
    registers.write(register::ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
    let high = u32::from(u16::from_le_bytes([e, f]));
    registers.write(register::ADDRESS_HIGH, high | ADDRESS_VALID);
    for word in 0..MULTICAST_WORDS {
        registers.write(register::MULTICAST_TABLE + 4 * word, 0);
    }
    let memory = hal::memory::statistics().total * PAGE_SIZE;
    let mut receiver = Receiver::new(registers.clone(), memory)?;
    let transmitter = Transmitter::new(registers.clone())?;
    registers.write(register::CHECKSUM_CONTROL, CHECK_IP_AND_TCP);
    registers.write(
        register::RECEIVE_CONTROL,
        RECEIVE_ON | RECEIVE_MULTICAST | RECEIVE_BROADCAST | RECEIVE_STRIP_CRC,
    );
    registers.write(register::TRANSMIT_GAP, GAPS);
    registers.write(register::TRANSMIT_CONTROL, TRANSMIT_ON | TRANSMIT_PAD | TRANSMIT_COLLISIONS);
    receiver.publish();
    Ok((receiver, transmitter))
}

/// An interrupt that was seen to come: where a line leads, only firmware's programs know, and a
/// network that waits for an interrupt from elsewhere is dead.
fn interrupt(function: Function, registers: &Registers) -> Option<Irq> {
    let try_out = |irq: Irq| {
        registers.write(register::MASK_SET, cause::LINK);
        registers.write(register::CAUSES_SET, cause::LINK);
        let came = hal::irq::comes(irq);
        registers.write(register::MASK_CLEAR, cause::LINK);
        let _ = registers.read(register::CAUSES);
        came.then_some(irq)
    };
    pci::message(&function).or_else(|| pci::line(&function)).and_then(try_out)
}

impl Drop for E1000 {
    fn drop(&mut self) {
        let stopped = self.registers.reset();
        if let Some(rings) = self.rings.take()
            && !stopped
        {
            // The card may still write to them.
            core::mem::forget(rings);
        }
    }
}

impl NetDevice for E1000 {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities { mtu: ETHERNET_MTU, ..LinkCapabilities::default() }
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool {
        self.rings.as_mut().is_some_and(|(receiver, _)| receiver.receive(take))
    }

    fn can_transmit(&mut self) -> bool {
        let Some((_, transmitter)) = &mut self.rings else { return false };
        let room = transmitter.has_room();
        if !room {
            self.registers.write(register::MASK_SET, cause::SENT);
        }
        room
    }

    fn transmit(
        &mut self,
        bytes: usize,
        _meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        self.can_transmit() && self.rings.as_mut().is_some_and(|(_, to)| to.transmit(bytes, fill))
    }

    fn flush(&mut self) {
        if let Some((_, transmitter)) = &mut self.rings {
            transmitter.publish();
        }
    }

    fn enable_interrupt(&mut self) -> bool {
        let Some((receiver, transmitter)) = &mut self.rings else { return false };
        receiver.publish();
        // Clears them, and lowers the line. Before looking at the rings: what comes after this
        // raises it again.
        let _ = self.registers.read(register::CAUSES);
        let room_came = transmitter.room_came();
        if room_came {
            self.registers.write(register::MASK_CLEAR, cause::SENT);
        }
        receiver.is_ready() | room_came
    }
}

/// Attaches a card: the table of `probe` has it.
pub(crate) fn attach(function: Function, devices: &mut crate::Devices) -> Result<String, Error> {
    let card = E1000::new(function)?;
    let irq = card.irq();
    let polled = if irq.is_none() { ", polled" } else { "" };
    let line = format!("{}{polled}", card.description());
    devices.nets.push(crate::AttachedNet { device: Box::new(card), irq });
    Ok(line)
}
