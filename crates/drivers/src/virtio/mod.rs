//! Virtio 1.2 (modern) devices. Section numbers in this module are those of the OASIS standard
//! "Virtual I/O Device (VIRTIO) Version 1.2".
//!
//! [`transport`] is how registers are reached (MMIO or PCI), [`handshake`] brings a device from
//! reset to running, [`queue`] is the split virtqueue, and on these stand the drivers: [`gpu`],
//! [`input`], [`net`], [`rng`].

pub mod gpu;
pub mod handshake;
pub mod input;
mod mmio;
pub mod net;
mod pci;
mod polled;
pub mod queue;
pub mod rng;
pub mod transport;

pub use mmio::MmioTransport;
pub use pci::PciTransport;
pub(crate) use pci::device_type as pci_device_type;

use core::fmt;

/// Device types (§5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceType(pub u32);

impl DeviceType {
    /// No device in this slot (§4.2.3.1.1).
    pub const NONE: Self = Self(0);
    /// Network device (§5.1).
    pub const NETWORK: Self = Self(1);
    /// Entropy device (§5.4).
    pub const ENTROPY: Self = Self(4);
    /// GPU device (§5.7).
    pub const GPU: Self = Self(16);
    /// Input device (§5.8).
    pub const INPUT: Self = Self(18);
}

/// Why a device is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The slot holds no device. Not worth a word: machines have empty slots.
    Absent,
    /// The registers are not those of a virtio device.
    NotVirtio,
    /// The device speaks only the legacy (version 1) interface.
    Legacy,
    /// The registers are not mapped: no address, or one that overlaps memory.
    Unmapped,
    /// The PCI function lacks a capability.
    NoCapability(&'static str),
    /// The device did not finish its reset.
    NoReset,
    /// The device does not offer `VIRTIO_F_VERSION_1`.
    NoVersion1,
    /// The device took back its consent to the features it offers.
    FeaturesRefused,
    /// The device lacks a queue, or says it has no entries.
    NoQueue(transport::QueueIndex),
    /// No memory for queues or buffers.
    OutOfMemory,
    /// No interrupt, and it is not polled.
    NoInterrupt,
    /// It answered no request, or not within the rules.
    NoAnswer,
    /// It answered a request with this error.
    Refused(u32),
    /// There is another screen already.
    OtherScreen,
    /// It wants a picture of this size, for which there is no memory, or which makes no sense.
    Size(u32, u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no device"),
            Self::NotVirtio => f.write_str("not a virtio device"),
            Self::Legacy => f.write_str(
                "legacy virtio device (version 1); with QEMU say \
                 -global virtio-mmio.force-legacy=false",
            ),
            Self::Unmapped => f.write_str("its registers have no usable address"),
            Self::NoCapability(name) => write!(f, "no {name} capability (legacy device?)"),
            Self::NoReset => f.write_str("it does not finish its reset"),
            Self::NoVersion1 => f.write_str("it does not offer VIRTIO_F_VERSION_1"),
            Self::FeaturesRefused => f.write_str("it refuses the features it offered"),
            Self::NoQueue(queue) => write!(f, "it lacks queue {}", queue.0),
            Self::OutOfMemory => f.write_str("no memory for its queues"),
            Self::NoInterrupt => f.write_str("it has no interrupt"),
            Self::NoAnswer => f.write_str("it does not answer as it should"),
            Self::Refused(answer) => write!(f, "it answers {answer:#x}"),
            Self::OtherScreen => f.write_str("there is another screen"),
            Self::Size(width, height) => write!(f, "{width}x{height} is too large or too small"),
        }
    }
}

impl From<hal::OutOfMemory> for Error {
    fn from(hal::OutOfMemory: hal::OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Feature bits that every device type shares (§6).
pub mod feature {
    /// Notifications are suppressed by index instead of by flag (§2.7.7, §2.7.10).
    pub const EVENT_INDEX: u64 = 1 << 29;
    /// The modern interface (§6).
    pub const VERSION_1: u64 = 1 << 32;
    /// The device is not exempt from the platform's address translation. Ours is the identity.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// One line on the console about a device that broke the rules while it ran.
fn report_broken(driver: &str, violation: impl fmt::Display) {
    let line = alloc::format!("eggos: {driver}: device is broken and was stopped: {violation}\n");
    hal::console::write(line.as_bytes());
}
