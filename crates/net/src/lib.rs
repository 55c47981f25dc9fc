//! The network: interfaces, IPv4 and IPv6, TCP and UDP sockets.
//!
//! * [`Stack`]: all interfaces and all sockets, behind one lock. [`Stack::poll`] moves it along.
//! * [`TcpSocket`], [`UdpSocket`]: what system calls act on. No call sleeps: what cannot go on
//!   returns `EAGAIN`, and the socket's notifier tells when to try again.
//! * Inside: `engine` moves packets, `input` sorts them, `control` speaks ARP, neighbour
//!   discovery, SLAAC and DHCP (by smoltcp), `tcp` finds the connection of a segment by hash and
//!   gives it to a smoltcp socket that has a socket set of its own; `udp`, `icmp`, reassembly
//!   and routing are ours.
//!
//! Time comes in as a parameter or from the clock that the stack was made with, frames through
//! [`base::link::NetDevice`]: the whole crate runs on a host, over a simulated wire.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod checksum;
mod control;
mod engine;
mod filter;
mod hash;
mod icmp;
mod input;
mod neighbor;
mod netlink;
mod ports;
mod raw;
mod reassembly;
mod route;
mod slab;
mod spare;
mod stack;
mod tcp;
mod udp;
mod unix;
mod wire;

pub use address::Foreign;
pub use control::{InterfaceConfig, Ipv4Config, Ipv6Config};
pub use engine::LinkCounters;
pub use filter::{Filter, INSTRUCTIONS_MAX};
pub use icmp::IcmpCounters;
pub use input::IpCounters;
pub use netlink::{NetlinkFamily, NetlinkSocket};
pub use ports::Family;
pub use raw::{RawOptions, RawSocket};
pub use route::{Assigned, LinkId, Route};
pub use stack::{Counters, InterfaceInfo, Stack, StackConfig};
pub use tcp::{
    MultipathInfo, SOMAXCONN, Shutdown, TcpCounters, TcpDetails, TcpInfo, TcpOptions, TcpSocket,
    TcpState,
};
pub use udp::{Received, SendOptions, UdpCounters, UdpFailure, UdpInfo, UdpOptions, UdpSocket};
pub use unix::{Right, UnixKind, UnixName, UnixReceived, UnixSocket, UnixSpace, UnixTarget};
