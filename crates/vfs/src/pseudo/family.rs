//! Directories of /sys that have one directory for each thing of a kind: network interfaces and
//! processors.
//!
//! Source: Linux's Documentation/ABI (sysfs-class-net, sysfs-devices-system-cpu). The directories of
//! interfaces are links there, to where the devices stand.

use super::{Entry, Row, directory};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A network interface, as /sys/class/net tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Linux's number of it.
    pub index: u32,
    /// Hardware address.
    pub address: [u8; 6],
    /// Hardware address of all.
    pub broadcast: [u8; 6],
    /// Largest packet in bytes.
    pub mtu: usize,
    /// `ARPHRD_*`.
    pub hardware: u16,
    /// `IFF_*`.
    pub flags: u32,
    /// `up`, or `unknown` where that has no meaning.
    pub state: &'static str,
    /// What came: packets and bytes.
    pub received: [u64; 2],
    /// What was sent: packets and bytes.
    pub sent: [u64; 2],
    /// Packets that could not be sent.
    pub sent_dropped: u64,
}

/// What there is one directory for each of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Interfaces,
    Processors,
}

impl Family {
    /// The names of the directories; `interfaces` are looked at where they are asked for.
    pub(super) fn names(self, interfaces: impl Fn() -> Vec<Interface>) -> Vec<String> {
        match self {
            Self::Interfaces => interfaces().into_iter().map(|one| one.name).collect(),
            Self::Processors => (0..hal::cpu::count()).map(|cpu| format!("cpu{cpu}")).collect(),
        }
    }

    /// What is in each of them.
    pub(super) fn rows(self) -> &'static [Row] {
        match self {
            Self::Interfaces => INTERFACE,
            Self::Processors => PROCESSOR,
        }
    }
}

/// What a file of a member says.
pub(crate) enum Fact {
    Number(u64),
    /// In hexadecimal digits.
    Flags(u32),
    HardwareAddress([u8; 6]),
    Word(&'static str),
    /// A bit for a processor, in as many digits as there are processors.
    Mask(u32),
    /// All processors.
    All,
}

impl Fact {
    /// The content of the file.
    pub(super) fn text(&self) -> String {
        let processors = hal::cpu::count();
        let digits = (processors as usize).div_ceil(4);
        match *self {
            Self::Number(number) => format!("{number}\n"),
            Self::Flags(flags) => format!("{flags:#x}\n"),
            Self::HardwareAddress([a, b, c, d, e, f]) => {
                format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}\n")
            }
            Self::Word(word) => format!("{word}\n"),
            Self::Mask(cpu) => format!("{:0digits$x}\n", 1_u64.checked_shl(cpu).unwrap_or(0)),
            Self::All if processors <= 1 => String::from("0\n"),
            Self::All => format!("0-{}\n", processors - 1),
        }
    }
}

const fn of_interface(name: &'static str, make: fn(&Interface) -> Fact) -> Row {
    Row { name, entry: Entry::OfInterface(make) }
}

const fn of_processor(name: &'static str, make: fn(u32) -> Fact) -> Row {
    Row { name, entry: Entry::OfProcessor(make) }
}

const INTERFACE: &[Row] = &[
    of_interface("addr_len", |one| Fact::Number(one.address.len() as u64)),
    of_interface("address", |one| Fact::HardwareAddress(one.address)),
    of_interface("broadcast", |one| Fact::HardwareAddress(one.broadcast)),
    of_interface("carrier", |_| Fact::Number(1)),
    of_interface("flags", |one| Fact::Flags(one.flags & 0xffff)),
    of_interface("ifindex", |one| Fact::Number(u64::from(one.index))),
    of_interface("iflink", |one| Fact::Number(u64::from(one.index))),
    of_interface("mtu", |one| Fact::Number(one.mtu as u64)),
    of_interface("operstate", |one| Fact::Word(one.state)),
    directory("statistics", STATISTICS),
    of_interface("tx_queue_len", |_| Fact::Number(1000)),
    of_interface("type", |one| Fact::Number(u64::from(one.hardware))),
];

const STATISTICS: &[Row] = &[
    of_interface("rx_bytes", |one| Fact::Number(one.received[1])),
    of_interface("rx_packets", |one| Fact::Number(one.received[0])),
    of_interface("tx_bytes", |one| Fact::Number(one.sent[1])),
    of_interface("tx_dropped", |one| Fact::Number(one.sent_dropped)),
    of_interface("tx_packets", |one| Fact::Number(one.sent[0])),
];

const PROCESSOR: &[Row] = &[directory("topology", TOPOLOGY)];

/// Each is a core of one package.
const TOPOLOGY: &[Row] = &[
    of_processor("core_cpus", Fact::Mask),
    of_processor("core_cpus_list", number),
    of_processor("core_id", number),
    of_processor("core_siblings_list", |_| Fact::All),
    of_processor("die_id", |_| Fact::Number(0)),
    of_processor("package_cpus_list", |_| Fact::All),
    of_processor("physical_package_id", |_| Fact::Number(0)),
    of_processor("thread_siblings", Fact::Mask),
    of_processor("thread_siblings_list", number),
];

fn number(cpu: u32) -> Fact {
    Fact::Number(u64::from(cpu))
}
