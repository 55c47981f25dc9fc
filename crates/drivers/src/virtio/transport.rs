//! How a driver reaches its device.

use super::{DeviceType, Error};
use base::PhysAddr;
use hal::irq::Irq;
use hal::mmio::MmioWindow;

/// Which virtqueue of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueIndex(pub u16);

/// Where the three parts of a split virtqueue lie (§2.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLayout {
    /// Number of descriptors, a power of two.
    pub size: u16,
    /// Descriptor table.
    pub descriptors: PhysAddr,
    /// Available ring: driver to device.
    pub available: PhysAddr,
    /// Used ring: device to driver.
    pub used: PhysAddr,
}

/// An interrupt that queues can be bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt {
    /// What the kernel sees.
    pub irq: Irq,
    /// What the transport binds queues to: the MSI-X table entry; 0 with MMIO.
    pub vector: u16,
}

/// The register that tells a device about new entries in one queue.
pub struct Doorbell {
    window: MmioWindow,
    value: u32,
    half: bool,
}

impl Doorbell {
    /// A 32-bit register at the start of `window` (MMIO, §4.2.2 QueueNotify).
    pub(super) fn word(window: MmioWindow, queue: QueueIndex) -> Self {
        Self { window, value: u32::from(queue.0), half: false }
    }

    /// A 16-bit register at the start of `window` (PCI, §4.1.4.4).
    pub(super) fn half(window: MmioWindow, queue: QueueIndex) -> Self {
        Self { window, value: u32::from(queue.0), half: true }
    }

    /// Notifies the device. An exit to the hypervisor: expensive.
    pub fn ring(&self) {
        if self.half {
            // The value came from a u16.
            self.window.write_u16(0, self.value as u16);
        } else {
            self.window.write_u32(0, self.value);
        }
    }
}

/// The register that lowers a device's shared interrupt line.
pub struct Acknowledge {
    window: MmioWindow,
}

impl Acknowledge {
    /// A register at the start of `window` that takes the causes to clear (§4.2.2 InterruptACK).
    pub(super) fn word(window: MmioWindow) -> Self {
        Self { window }
    }

    /// Clears all causes. Without reading them first: that would be a second exit, and whoever
    /// acknowledges looks at all queues afterwards anyway.
    pub fn all(&self) {
        const USED_BUFFER: u32 = 1;
        const CONFIGURATION_CHANGE: u32 = 2;
        self.window.write_u32(0, USED_BUFFER | CONFIGURATION_CHANGE);
    }
}

/// The registers of a virtio device. Slow path only: queues ring their [`Doorbell`] themselves.
pub trait Transport: Send {
    /// What kind of device it is.
    fn device_type(&self) -> DeviceType;

    /// The device status register (§2.1).
    fn status(&self) -> u8;

    /// Writes the device status register; 0 resets.
    fn set_status(&mut self, status: u8);

    /// The features the device offers.
    fn offered_features(&mut self) -> u64;

    /// Tells the device which of them the driver uses.
    fn accept_features(&mut self, features: u64);

    /// The largest size of a queue as the device says, 0 when it does not exist. Not to be
    /// trusted: may be any number.
    fn queue_limit(&mut self, queue: QueueIndex) -> u32;

    /// Gives the device a queue, with the vector of [`Transport::interrupt`] it shall raise or
    /// none.
    ///
    /// # Errors
    /// The queue cannot be used.
    fn enable_queue(
        &mut self,
        queue: QueueIndex,
        layout: &QueueLayout,
        vector: Option<u16>,
    ) -> Result<Doorbell, Error>;

    /// An interrupt for queues; each call gives another one where the transport has several.
    /// `None` when there is none (left): then the kernel must poll.
    fn interrupt(&mut self) -> Option<Interrupt>;

    /// Lets the device raise the interrupt of this vector of [`Transport::interrupt`] when it changes its
    /// configuration, too. False: it cannot.
    fn interrupt_on_change(&mut self, vector: u16) -> bool;

    /// What must be done before looking at the queues to get the next interrupt. `None` when
    /// interrupts are messages and need no such thing.
    fn acknowledge(&self) -> Option<Acknowledge>;

    /// The device's own configuration. `None` when it has none.
    fn configuration(&self) -> Option<&MmioWindow>;

    /// Changes whenever the device changes its configuration.
    fn configuration_generation(&self) -> u32;
}

/// Reads several fields of the configuration as one (§2.5.1): again, while it changes meanwhile.
pub fn consistent<T>(transport: &dyn Transport, read: impl Fn(&MmioWindow) -> T) -> Option<T> {
    const TRIES: usize = 16;
    let window = transport.configuration()?;
    for _ in 0..TRIES {
        let before = transport.configuration_generation();
        let value = read(window);
        if transport.configuration_generation() == before {
            return Some(value);
        }
    }
    None
}
