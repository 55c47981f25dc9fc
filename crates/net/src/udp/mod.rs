//! UDP: datagrams, found by port and address.

mod input;
mod output;
mod socket;

use output::Pieces;
pub use output::SendOptions;
pub use socket::UdpSocket;

use crate::address::Foreign;
use crate::filter::Filter;
use crate::hash::KeyedState;
use crate::ports::{Family, Ports, Sharing};
use crate::route::LinkId;
use crate::slab::{Id, Slab};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, Instant};
use core::net::{IpAddr, SocketAddr};
use sched::Notifier;

/// What setsockopt(2) set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `SO_RCVBUF` in bytes.
    pub receive_buffer: usize,
    /// `SO_SNDBUF` in bytes.
    pub send_buffer: usize,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`.
    pub hop_limit: u8,
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`.
    pub multicast_hop_limit: u8,
    /// `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`.
    pub multicast_loop: bool,
    /// `IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`.
    pub multicast_link: Option<LinkId>,
    /// `SO_BINDTODEVICE`: the only interface that it uses.
    pub device: Option<LinkId>,
    /// `IP_MULTICAST_ALL`: datagrams also of groups that only other sockets have joined. Off for IPv6 sockets, as on
    /// Linux.
    pub multicast_all: bool,
    /// `IPV6_MULTICAST_ALL`: the same of groups of IPv6.
    pub multicast_all_v6: bool,
    /// `IP_TOS`, `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `UDP_SEGMENT`: what is sent is cut into datagrams of this many bytes; 0: one datagram.
    pub segment_bytes: u16,
    /// `UDP_CORK`: what is sent is one datagram, until this is off again.
    pub corked: bool,
    /// `IP_RECVERR`, `IPV6_RECVERR`: errors are kept, with what they are about.
    pub receive_errors: bool,
    /// `IP_MTU_DISCOVER` is `DO` or `PROBE`: a datagram that would be fragmented is refused.
    pub do_not_fragment: bool,
    /// `IP_FREEBIND`, `IP_TRANSPARENT`.
    pub foreign: Foreign,
}

impl UdpOptions {
    /// With whom a socket of these options shares its port.
    pub(crate) fn sharing(&self) -> Sharing {
        let Self { reuse_address, reuse_port, device, .. } = *self;
        Sharing { reuse_address, reuse_port, device }
    }
}

impl Default for UdpOptions {
    /// Linux's defaults.
    fn default() -> Self {
        Self {
            broadcast: false,
            reuse_address: false,
            reuse_port: false,
            v6_only: false,
            receive_buffer: 212_992,
            send_buffer: 212_992,
            hop_limit: 64,
            multicast_hop_limit: 1,
            multicast_loop: true,
            multicast_link: None,
            device: None,
            multicast_all: true,
            multicast_all_v6: true,
            traffic_class: 0,
            segment_bytes: 0,
            corked: false,
            receive_errors: false,
            do_not_fragment: false,
            foreign: Foreign::default(),
        }
    }
}

/// A datagram waiting to be received.
#[derive(Clone, Debug)]
struct Datagram {
    from: SocketAddr,
    to: IpAddr,
    link: LinkId,
    traffic_class: u8,
    hop_limit: u8,
    came: Instant,
    dropped: u32,
    bytes: Vec<u8>,
}

/// What a received datagram came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Bytes stored.
    pub stored: usize,
    /// Bytes that it has: more than were stored when the sink was too small.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// To which of our addresses (or groups) it was sent.
    pub to: IpAddr,
    /// Over which interface it came.
    pub link: LinkId,
    /// Its TOS or traffic class.
    pub traffic_class: u8,
    /// Its TTL or hop limit.
    pub hop_limit: u8,
    /// When it came.
    pub came: Instant,
    /// How many the socket had lost until then, modulo 2³².
    pub dropped: u32,
}

/// A UDP socket, for /proc/net/udp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpInfo {
    /// Its address.
    pub local: SocketAddr,
    /// Its peer.
    pub remote: Option<SocketAddr>,
    /// What waits to be received, in bytes with what they are charged.
    pub queued: usize,
    /// How many datagrams it has lost.
    pub dropped: u32,
    /// The inode number of its file.
    pub number: u64,
}

/// What an ICMP message said of a datagram that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpFailure {
    /// The error that it stands for.
    pub errno: Errno,
    /// Type of the message.
    pub kind: u8,
    /// Code of the message.
    pub code: u8,
    /// Who sent the message.
    pub offender: IpAddr,
    /// Where the datagram was sent.
    pub to: SocketAddr,
    /// Its bytes, as many as were quoted.
    pub bytes: Vec<u8>,
}

/// Failures that wait for one socket at most.
const FAILURES_MAX: usize = 64;

/// What a datagram is charged beside its bytes, so that many small ones count.
const OVERHEAD: usize = 256;

impl Datagram {
    fn charge(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

struct Entry {
    family: Family,
    options: UdpOptions,
    notifier: Arc<Notifier>,
    local: Option<SocketAddr>,
    /// The address that bind(2) gave it: it stays when the peer goes.
    bound: Option<IpAddr>,
    remote: Option<SocketAddr>,
    queue: VecDeque<Datagram>,
    queued: usize,
    /// The inode number of its file.
    number: u64,
    /// Datagrams that it had no room for, or that its filter did not want.
    dropped: u32,
    error: Option<Errno>,
    failures: VecDeque<UdpFailure>,
    receive_shutdown: bool,
    send_shutdown: bool,
    groups: Vec<(LinkId, IpAddr)>,
    /// `SO_ATTACH_FILTER`.
    filter: Option<Box<Filter>>,
    /// What waits for more of its datagram.
    pieces: Option<Box<Pieces>>,
}

/// What happened, for /proc/net/snmp.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UdpCounters {
    /// Datagrams delivered.
    pub received: u64,
    /// Datagrams for ports that nobody has.
    pub no_ports: u64,
    /// Datagrams that found the queue full.
    pub receive_drops: u64,
    /// Datagrams sent.
    pub sent: u64,
}

/// All of UDP.
pub(crate) struct Udp {
    entries: Slab<Box<Entry>>,
    ports: Ports,
    counters: UdpCounters,
    /// Groups joined by any socket.
    groups: Vec<(LinkId, IpAddr, usize)>,
}

impl Udp {
    pub(crate) fn new(hash: &KeyedState) -> Self {
        Self {
            entries: Slab::default(),
            ports: Ports::new(hash.clone(), true),
            counters: UdpCounters::default(),
            groups: Vec::new(),
        }
    }

    /// True when some socket is in the group.
    pub(crate) fn is_member(&self, link: LinkId, group: IpAddr) -> bool {
        self.groups.iter().any(|row| row.0 == link && row.1 == group)
    }

    /// Every group with its members, the oldest first.
    pub(crate) fn groups(&self) -> &[(LinkId, IpAddr, usize)] {
        &self.groups
    }

    /// What happened so far.
    pub(crate) fn counters(&self) -> UdpCounters {
        self.counters
    }

    fn get(&mut self, id: Id) -> Result<&mut Entry, Errno> {
        self.entries.get_mut(id).map(|entry| &mut **entry).ok_or(Errno::EBADF)
    }

    /// Each socket that has an address.
    pub(crate) fn list(&self) -> Vec<UdpInfo> {
        let entries = self.entries.iter();
        let rows = entries.filter_map(|(_, entry)| {
            let Entry { remote, queued, dropped, number, .. } = **entry;
            Some(UdpInfo { local: entry.local?, remote, queued, dropped, number })
        });
        rows.collect()
    }
}
