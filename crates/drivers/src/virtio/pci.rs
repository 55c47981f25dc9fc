//! Virtio over PCI, modern interface (§4.1).

use super::transport::{Acknowledge, Doorbell, Interrupt, QueueIndex, QueueLayout, Transport};
use super::{DeviceType, Error};
use crate::pci::{Function, MessageTable};
use base::PhysAddr;
use hal::mmio::MmioWindow;

const VENDOR: u16 = 0x1af4;
/// Transitional devices have these numbers and their type as subsystem (§4.1.2.1).
const TRANSITIONAL: core::ops::RangeInclusive<u16> = 0x1000..=0x103f;
/// Modern devices have this number plus their type.
const MODERN: u16 = 0x1040;

/// Vendor-specific capabilities carry the places of the registers (§4.1.4).
const CAPABILITY_VENDOR: u8 = 0x09;
const KIND_COMMON: u8 = 1;
const KIND_NOTIFY: u8 = 2;
const KIND_DEVICE: u8 = 4;

/// The registers common to all devices (§4.1.4.3).
mod register {
    pub(super) const DEVICE_FEATURES_SELECT: usize = 0;
    pub(super) const DEVICE_FEATURES: usize = 4;
    pub(super) const DRIVER_FEATURES_SELECT: usize = 8;
    pub(super) const DRIVER_FEATURES: usize = 12;
    pub(super) const CONFIGURATION_VECTOR: usize = 16;
    pub(super) const QUEUES: usize = 18;
    pub(super) const STATUS: usize = 20;
    pub(super) const CONFIGURATION_GENERATION: usize = 21;
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_SIZE: usize = 24;
    pub(super) const QUEUE_VECTOR: usize = 26;
    pub(super) const QUEUE_ENABLE: usize = 28;
    pub(super) const QUEUE_NOTIFY_OFFSET: usize = 30;
    pub(super) const QUEUE_DESCRIPTORS: usize = 32;
    pub(super) const QUEUE_AVAILABLE: usize = 40;
    pub(super) const QUEUE_USED: usize = 48;
    pub(super) const BYTES: usize = 56;
}

/// No interrupt (§4.1.4.3).
const NO_VECTOR: u16 = 0xffff;
/// More device configuration than any driver here reads.
const MOST_CONFIGURATION: u32 = 4096;

/// Where a group of registers lies.
#[derive(Clone, Copy)]
struct Place {
    bar: u8,
    offset: u32,
    length: u32,
}

/// A virtio PCI device.
pub struct PciTransport {
    function: Function,
    device_type: DeviceType,
    common: MmioWindow,
    notify: Place,
    notify_multiplier: u32,
    configuration: Option<MmioWindow>,
    messages: Option<MessageTable>,
}

/// The type of the virtio device at `function`; `None` when it is something else.
pub(crate) fn device_type(function: &Function) -> Option<DeviceType> {
    if function.vendor != VENDOR {
        return None;
    }
    if TRANSITIONAL.contains(&function.device) {
        return Some(DeviceType(u32::from(function.subsystem())));
    }
    function.device.checked_sub(MODERN).map(|kind| DeviceType(u32::from(kind)))
}

impl PciTransport {
    /// The virtio device at `function`.
    ///
    /// # Errors
    /// It is none, or has only the legacy interface, or its registers have no address.
    pub(crate) fn new(function: Function) -> Result<Self, Error> {
        let device_type = device_type(&function).ok_or(Error::NotVirtio)?;
        let place = |kind| {
            // The first of each kind that can be used (§4.1.4.1).
            function
                .capabilities()
                .filter(|capability| capability.id == CAPABILITY_VENDOR)
                .filter(|capability| (function.read(capability.at) >> 24) as u8 == kind)
                .map(|capability| {
                    let place = Place {
                        bar: function.read(capability.at + 4) as u8,
                        offset: function.read(capability.at + 8),
                        length: function.read(capability.at + 12),
                    };
                    (capability.at, place)
                })
                .find(|(_, place)| place.bar <= 5)
        };
        let (_, common) = place(KIND_COMMON).ok_or(Error::NoCapability("virtio common"))?;
        let (at, notify) = place(KIND_NOTIFY).ok_or(Error::NoCapability("virtio notify"))?;
        function.enable();
        let map = |place: Place, bytes| function.map(place.bar, place.offset.into(), bytes);
        if (common.length as usize) < register::BYTES {
            return Err(Error::NoCapability("virtio common"));
        }
        Ok(Self {
            function,
            device_type,
            common: map(common, register::BYTES).ok_or(Error::Unmapped)?,
            notify,
            notify_multiplier: function.read(at + 16),
            configuration: place(KIND_DEVICE)
                .and_then(|(_, place)| map(place, place.length.min(MOST_CONFIGURATION) as usize)),
            messages: MessageTable::enable(&function),
        })
    }

    fn select_queue(&self, queue: QueueIndex) -> bool {
        self.common.write_u16(register::QUEUE_SELECT, queue.0);
        queue.0 < self.common.read_u16(register::QUEUES)
    }

    /// Two words, low first: the registers need not take 64 bits at once (§4.1.3.1).
    fn write_address(&self, register: usize, address: PhysAddr) {
        self.common.write_u32(register, address.0 as u32);
        self.common.write_u32(register + size_of::<u32>(), (address.0 >> 32) as u32);
    }

    /// The notification register of the selected queue (§4.1.4.4).
    fn doorbell(&self, queue: QueueIndex) -> Option<Doorbell> {
        let step = u32::from(self.common.read_u16(register::QUEUE_NOTIFY_OFFSET));
        let offset = u64::from(step) * u64::from(self.notify_multiplier);
        if offset + size_of::<u16>() as u64 > u64::from(self.notify.length) {
            return None;
        }
        let offset = u64::from(self.notify.offset) + offset;
        let window = self.function.map(self.notify.bar, offset, size_of::<u16>())?;
        Some(Doorbell::half(window, queue))
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn status(&self) -> u8 {
        self.common.read_u8(register::STATUS)
    }

    fn set_status(&mut self, status: u8) {
        self.common.write_u8(register::STATUS, status);
    }

    fn offered_features(&mut self) -> u64 {
        self.common.write_u32(register::DEVICE_FEATURES_SELECT, 1);
        let high = u64::from(self.common.read_u32(register::DEVICE_FEATURES));
        self.common.write_u32(register::DEVICE_FEATURES_SELECT, 0);
        high << 32 | u64::from(self.common.read_u32(register::DEVICE_FEATURES))
    }

    fn accept_features(&mut self, features: u64) {
        self.common.write_u32(register::DRIVER_FEATURES_SELECT, 1);
        self.common.write_u32(register::DRIVER_FEATURES, (features >> 32) as u32);
        self.common.write_u32(register::DRIVER_FEATURES_SELECT, 0);
        self.common.write_u32(register::DRIVER_FEATURES, features as u32);
        // Changes of the configuration are of no interest: see `interrupt_on_change`.
        self.common.write_u16(register::CONFIGURATION_VECTOR, NO_VECTOR);
    }

    fn queue_limit(&mut self, queue: QueueIndex) -> u32 {
        if !self.select_queue(queue) {
            return 0;
        }
        u32::from(self.common.read_u16(register::QUEUE_SIZE))
    }

    fn enable_queue(
        &mut self,
        queue: QueueIndex,
        layout: &QueueLayout,
        vector: Option<u16>,
    ) -> Result<Doorbell, Error> {
        if !self.select_queue(queue) {
            return Err(Error::NoQueue(queue));
        }
        self.common.write_u16(register::QUEUE_SIZE, layout.size);
        self.write_address(register::QUEUE_DESCRIPTORS, layout.descriptors);
        self.write_address(register::QUEUE_AVAILABLE, layout.available);
        self.write_address(register::QUEUE_USED, layout.used);
        let vector = vector.unwrap_or(NO_VECTOR);
        self.common.write_u16(register::QUEUE_VECTOR, vector);
        if self.common.read_u16(register::QUEUE_VECTOR) != vector {
            // The device has no resources for the vector (§4.1.5.1.2.1).
            return Err(Error::NoQueue(queue));
        }
        let doorbell = self.doorbell(queue).ok_or(Error::Unmapped)?;
        self.common.write_u16(register::QUEUE_ENABLE, 1);
        Ok(doorbell)
    }

    fn interrupt(&mut self) -> Option<Interrupt> {
        let (irq, vector) = self.messages.as_mut()?.allocate()?;
        Some(Interrupt { irq, vector })
    }

    fn interrupt_on_change(&mut self, vector: u16) -> bool {
        self.common.write_u16(register::CONFIGURATION_VECTOR, vector);
        // Without the resources for it the device says so (§4.1.5.1.2.1).
        self.common.read_u16(register::CONFIGURATION_VECTOR) == vector
    }

    fn acknowledge(&self) -> Option<Acknowledge> {
        // Interrupts are messages.
        None
    }

    fn configuration(&self) -> Option<&MmioWindow> {
        self.configuration.as_ref()
    }

    fn configuration_generation(&self) -> u32 {
        u32::from(self.common.read_u8(register::CONFIGURATION_GENERATION))
    }
}
