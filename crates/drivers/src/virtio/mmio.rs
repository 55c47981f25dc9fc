//! Virtio over memory-mapped registers, version 2 (§4.2).

use super::transport::{Acknowledge, Doorbell, Interrupt, QueueIndex, QueueLayout, Transport};
use super::{DeviceType, Error};
use hal::irq::Irq;
use hal::mmio::MmioWindow;

/// Register offsets (§4.2.2).
mod register {
    pub(super) const MAGIC: usize = 0x000;
    pub(super) const VERSION: usize = 0x004;
    pub(super) const DEVICE_ID: usize = 0x008;
    pub(super) const DEVICE_FEATURES: usize = 0x010;
    pub(super) const DEVICE_FEATURES_SELECT: usize = 0x014;
    pub(super) const DRIVER_FEATURES: usize = 0x020;
    pub(super) const DRIVER_FEATURES_SELECT: usize = 0x024;
    pub(super) const QUEUE_SELECT: usize = 0x030;
    pub(super) const QUEUE_SIZE_MAXIMUM: usize = 0x034;
    pub(super) const QUEUE_SIZE: usize = 0x038;
    pub(super) const QUEUE_READY: usize = 0x044;
    pub(super) const QUEUE_NOTIFY: usize = 0x050;
    pub(super) const INTERRUPT_ACKNOWLEDGE: usize = 0x064;
    pub(super) const STATUS: usize = 0x070;
    pub(super) const QUEUE_DESCRIPTORS: usize = 0x080;
    pub(super) const QUEUE_AVAILABLE: usize = 0x090;
    pub(super) const QUEUE_USED: usize = 0x0a0;
    pub(super) const CONFIGURATION_GENERATION: usize = 0x0fc;
    pub(super) const CONFIGURATION: usize = 0x100;
}

/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION_LEGACY: u32 = 1;
const VERSION_MODERN: u32 = 2;

/// A virtio-mmio device.
pub struct MmioTransport {
    registers: MmioWindow,
    notify: MmioWindow,
    acknowledge: MmioWindow,
    configuration: MmioWindow,
    device_type: DeviceType,
    irq: Option<Irq>,
}

impl MmioTransport {
    /// The device whose registers are in `registers`. `irq` is asked for once it is known that
    /// there is a device.
    ///
    /// # Errors
    /// There is none, or not a modern one.
    pub fn new(registers: MmioWindow, irq: impl FnOnce() -> Option<Irq>) -> Result<Self, Error> {
        if registers.read_u32(register::MAGIC) != MAGIC {
            return Err(Error::NotVirtio);
        }
        let device_type = DeviceType(registers.read_u32(register::DEVICE_ID));
        if device_type == DeviceType::NONE {
            return Err(Error::Absent);
        }
        match registers.read_u32(register::VERSION) {
            VERSION_MODERN => {}
            VERSION_LEGACY => return Err(Error::Legacy),
            _ => return Err(Error::NotVirtio),
        }
        let word = size_of::<u32>();
        let configuration_bytes = registers.bytes().saturating_sub(register::CONFIGURATION);
        let part = |offset, bytes| registers.part(offset, bytes).ok_or(Error::Unmapped);
        Ok(Self {
            notify: part(register::QUEUE_NOTIFY, word)?,
            acknowledge: part(register::INTERRUPT_ACKNOWLEDGE, word)?,
            configuration: part(register::CONFIGURATION, configuration_bytes)?,
            registers,
            device_type,
            irq: irq(),
        })
    }

    fn select_queue(&self, queue: QueueIndex) {
        self.registers.write_u32(register::QUEUE_SELECT, u32::from(queue.0));
    }

    /// Two words, low first.
    fn write_address(&self, register: usize, address: base::PhysAddr) {
        self.registers.write_u32(register, address.0 as u32);
        self.registers.write_u32(register + size_of::<u32>(), (address.0 >> 32) as u32);
    }
}

impl Transport for MmioTransport {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn status(&self) -> u8 {
        self.registers.read_u32(register::STATUS) as u8
    }

    fn set_status(&mut self, status: u8) {
        self.registers.write_u32(register::STATUS, u32::from(status));
    }

    fn offered_features(&mut self) -> u64 {
        self.registers.write_u32(register::DEVICE_FEATURES_SELECT, 1);
        let high = u64::from(self.registers.read_u32(register::DEVICE_FEATURES));
        self.registers.write_u32(register::DEVICE_FEATURES_SELECT, 0);
        high << 32 | u64::from(self.registers.read_u32(register::DEVICE_FEATURES))
    }

    fn accept_features(&mut self, features: u64) {
        self.registers.write_u32(register::DRIVER_FEATURES_SELECT, 1);
        self.registers.write_u32(register::DRIVER_FEATURES, (features >> 32) as u32);
        self.registers.write_u32(register::DRIVER_FEATURES_SELECT, 0);
        self.registers.write_u32(register::DRIVER_FEATURES, features as u32);
    }

    fn queue_limit(&mut self, queue: QueueIndex) -> u32 {
        self.select_queue(queue);
        if self.registers.read_u32(register::QUEUE_READY) != 0 {
            return 0;
        }
        self.registers.read_u32(register::QUEUE_SIZE_MAXIMUM)
    }

    fn enable_queue(
        &mut self,
        queue: QueueIndex,
        layout: &QueueLayout,
        _vector: Option<u16>,
    ) -> Result<Doorbell, Error> {
        self.select_queue(queue);
        self.registers.write_u32(register::QUEUE_SIZE, u32::from(layout.size));
        self.write_address(register::QUEUE_DESCRIPTORS, layout.descriptors);
        self.write_address(register::QUEUE_AVAILABLE, layout.available);
        self.write_address(register::QUEUE_USED, layout.used);
        self.registers.write_u32(register::QUEUE_READY, 1);
        let window = self.notify.part(0, size_of::<u32>()).ok_or(Error::Unmapped)?;
        Ok(Doorbell::word(window, queue))
    }

    fn interrupt(&mut self) -> Option<Interrupt> {
        self.irq.map(|irq| Interrupt { irq, vector: 0 })
    }

    fn interrupt_on_change(&mut self, _vector: u16) -> bool {
        // The one line is for both.
        true
    }

    fn acknowledge(&self) -> Option<Acknowledge> {
        self.acknowledge.part(0, size_of::<u32>()).map(Acknowledge::word)
    }

    fn configuration(&self) -> Option<&MmioWindow> {
        Some(&self.configuration)
    }

    fn configuration_generation(&self) -> u32 {
        self.registers.read_u32(register::CONFIGURATION_GENERATION)
    }
}
