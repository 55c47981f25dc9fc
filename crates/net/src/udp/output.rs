//! Datagrams out.

use super::Entry;
use crate::address::connect_address;
use crate::checksum;
use crate::engine::{Core, Engine, Looped};
use crate::ports::Family;
use crate::route::{Hop, LinkId};
use crate::slab::Id;
use crate::wire::{self, Header, IPV4_BYTES, IPV6_BYTES, UDP_BYTES, protocol};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::Errno;
use core::net::{IpAddr, SocketAddr};

/// Longest payload over IPv4 and IPv6, in bytes.
const PAYLOAD_MAX_V4: usize = 65_535 - IPV4_BYTES - UDP_BYTES;
pub(super) const PAYLOAD_MAX_V6: usize = 65_535 - UDP_BYTES;

/// Most datagrams that one call may be cut into (Linux: `UDP_MAX_SEGMENTS`).
const SEGMENTS_MAX: usize = 128;

/// What a single datagram is sent with, beside the socket's options.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SendOptions {
    /// From this address (`IP_PKTINFO`).
    pub source: Option<IpAddr>,
    /// Over this interface.
    pub link: Option<LinkId>,
    /// With this TOS or traffic class.
    pub traffic_class: Option<u8>,
    /// With this TTL or hop limit.
    pub hop_limit: Option<u8>,
    /// Cut into datagrams of this many bytes (`UDP_SEGMENT`); 0: not cut.
    pub segment_bytes: Option<u16>,
    /// It is a piece of a datagram, of which more comes (`MSG_MORE`).
    pub more: bool,
}

struct Plan {
    header: Header,
    hop: Hop,
    local_port: u16,
    remote_port: u16,
    segment_bytes: usize,
    do_not_fragment: bool,
    loops: bool,
}

/// A datagram that is sent in pieces (`MSG_MORE`, `UDP_CORK`).
pub(super) struct Pieces {
    /// All so far.
    packet: Packet,
    to: SocketAddr,
    options: SendOptions,
}

/// A datagram's bytes, copied from the program before the network is locked, after room for the
/// headers.
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) head: usize,
}

impl Packet {
    /// Bytes of the headers that a socket of `family` most likely sends.
    pub(super) fn head(family: Family) -> usize {
        UDP_BYTES + if family == Family::V4 { IPV4_BYTES } else { IPV6_BYTES }
    }

    fn payload(&self) -> &[u8] {
        self.bytes.get(self.head..).unwrap_or_default()
    }

    /// The bytes after room for headers of `head` bytes.
    fn with_head(self, head: usize) -> Vec<u8> {
        if head == self.head {
            return self.bytes;
        }
        // IPv4 from an IPv6 socket.
        let mut bytes = alloc::vec![0; head];
        bytes.extend_from_slice(self.payload());
        bytes
    }
}

impl Engine {
    pub(super) fn udp_send(
        &mut self,
        id: Id,
        packet: Packet,
        to: Option<SocketAddr>,
        options: &SendOptions,
    ) -> Result<usize, Errno> {
        let entry = self.core.udp.get(id)?;
        if entry.send_shutdown {
            return Err(Errno::EPIPE);
        }
        if let Some(error) = entry.error.take() {
            return Err(error);
        }
        if options.more || entry.options.corked || entry.pieces.is_some() {
            return self.udp_send_piece(id, packet, to, options);
        }
        let remote = destination(entry, to)?;
        if entry.local.is_none() {
            self.udp_bind(id, None)?;
        }
        self.udp_send_whole(id, packet, remote, options)
    }

    /// Sends a datagram of a socket that is bound.
    fn udp_send_whole(
        &mut self,
        id: Id,
        packet: Packet,
        remote: SocketAddr,
        options: &SendOptions,
    ) -> Result<usize, Errno> {
        let length = packet.payload().len();
        if length > payload_max(remote) {
            return Err(Errno::EMSGSIZE);
        }
        let plan = self.core.udp_plan(id, remote, options)?;
        if plan.segment_bytes == 0 || length <= plan.segment_bytes {
            self.core.udp_transmit(&plan, packet)?;
            self.core.udp.counters.sent += 1;
        } else {
            self.core.udp_transmit_cut(&plan, packet.payload())?;
        }
        Ok(length)
    }

    /// Sends later, together with what comes (`ip_append_data` of Linux): the first piece says where to.
    #[cold]
    #[inline(never)]
    fn udp_send_piece(
        &mut self,
        id: Id,
        packet: Packet,
        to: Option<SocketAddr>,
        options: &SendOptions,
    ) -> Result<usize, Errno> {
        let entry = self.core.udp.get(id)?;
        let length = packet.payload().len();
        let pieces = match entry.pieces.take() {
            None => {
                let pieces =
                    Box::new(Pieces { packet, to: destination(entry, to)?, options: *options });
                if entry.local.is_none() {
                    self.udp_bind(id, None)?;
                }
                // Whether it can be sent is told at once.
                self.core.udp_plan(id, pieces.to, options)?;
                pieces
            }
            Some(mut pieces) => {
                let bytes = &mut pieces.packet.bytes;
                bytes.try_reserve(length).map_err(|_| Errno::ENOBUFS)?;
                bytes.extend_from_slice(packet.payload());
                pieces
            }
        };
        if pieces.packet.payload().len() > payload_max(pieces.to) {
            return Err(Errno::EMSGSIZE);
        }
        let entry = self.core.udp.get(id)?;
        entry.pieces = Some(pieces);
        if !options.more && !entry.options.corked {
            self.udp_send_pieces(id)?;
        }
        Ok(length)
    }

    /// Sends the datagram of which no more comes, if there is one.
    pub(super) fn udp_send_pieces(&mut self, id: Id) -> Result<(), Errno> {
        let pieces = self.core.udp.get(id)?.pieces.take();
        let Some(Pieces { packet, to, options }) = pieces.map(|pieces| *pieces) else {
            return Ok(());
        };
        self.udp_send_whole(id, packet, to, &options).map(|_| ())
    }
}

fn payload_max(remote: SocketAddr) -> usize {
    if remote.is_ipv4() { PAYLOAD_MAX_V4 } else { PAYLOAD_MAX_V6 }
}

fn destination(entry: &Entry, to: Option<SocketAddr>) -> Result<SocketAddr, Errno> {
    let Some(to) = to else { return entry.remote.ok_or(Errno::EDESTADDRREQ) };
    if to.port() == 0 {
        return Err(Errno::EINVAL);
    }
    remote_address(entry, to)
}

/// Where an address that a program gives leads to.
pub(super) fn remote_address(entry: &Entry, to: SocketAddr) -> Result<SocketAddr, Errno> {
    match (entry.family, to) {
        // Linux sends to an IPv4 address from an IPv6 socket.
        (Family::V6, SocketAddr::V4(_)) if entry.options.v6_only => Err(Errno::ENETUNREACH),
        (Family::V6, SocketAddr::V4(v4)) => connect_address(Family::V4, false, v4.into()),
        _ => connect_address(entry.family, entry.options.v6_only, to).map(|mut plain| {
            if let (SocketAddr::V6(plain), SocketAddr::V6(to)) = (&mut plain, to) {
                plain.set_scope_id(to.scope_id());
            }
            plain
        }),
    }
}

impl Core {
    fn udp_plan(
        &mut self,
        id: Id,
        remote: SocketAddr,
        options: &SendOptions,
    ) -> Result<Plan, Errno> {
        let entry = self.udp.entries.get(id).ok_or(Errno::EBADF)?;
        let to = remote.ip();
        let multicast = to.is_multicast();
        if self.routing.is_broadcast(to) && !entry.options.broadcast {
            return Err(Errno::EACCES);
        }
        let group_link = entry.options.multicast_link.filter(|_| multicast);
        let local = entry.local.ok_or(Errno::EINVAL)?;
        let bound = Some(local.ip()).filter(|ip| !ip.is_unspecified());
        let asked = options.source.filter(|ip| !ip.is_unspecified());
        let own = asked.or(bound);
        // A group of IPv4 is reached by the interface that has the address.
        let of_own = own.filter(|own| multicast && own.is_ipv4());
        let own_link = of_own.and_then(|own| self.routing.link_of(own));
        let device = entry.options.device;
        let scope = options.link.or(crate::address::scope_of(remote)).or(device);
        let scope = scope.or(group_link).or(own_link);
        let by_loopback = Hop { link: LinkId::LOOPBACK, via: to, source: loopback_of(to) };
        let beyond = scope.filter(|link| *link != LinkId::LOOPBACK);
        let hop = match self.routing.lookup_by(device, to, beyond) {
            _ if multicast && scope == Some(LinkId::LOOPBACK) => by_loopback,
            Err(_) if multicast || options.link == Some(LinkId::LOOPBACK) => by_loopback,
            other => other?,
        };
        let mut from = own.unwrap_or(hop.source);
        if !self.routing.is_local(from) {
            from = self.foreign_source(from, hop.source, asked.is_some(), entry)?;
        }
        if from.is_ipv4() != to.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let hop_limit =
            if multicast { entry.options.multicast_hop_limit } else { entry.options.hop_limit };
        let header = Header {
            from,
            to,
            protocol: protocol::UDP,
            hop_limit: options.hop_limit.unwrap_or(hop_limit),
            traffic_class: options.traffic_class.unwrap_or(entry.options.traffic_class),
        };
        Ok(Plan {
            header,
            hop,
            local_port: local.port(),
            remote_port: remote.port(),
            segment_bytes: usize::from(
                options.segment_bytes.unwrap_or(entry.options.segment_bytes),
            ),
            do_not_fragment: entry.options.do_not_fragment,
            loops: (multicast && entry.options.multicast_loop) || self.routing.is_broadcast(to),
        })
    }

    /// The source of a datagram instead of `from`, which is not ours; `asked`: its sender asks for it.
    #[cold]
    #[inline(never)]
    fn foreign_source(
        &self,
        from: IpAddr,
        of_way: IpAddr,
        asked: bool,
        entry: &Entry,
    ) -> Result<IpAddr, Errno> {
        let foreign = entry.options.foreign;
        match asked {
            true if self.routing.may_bind(from, foreign) => Ok(from),
            true => Err(Errno::EINVAL),
            // It is bound to a group.
            false if !self.routing.is_source(from) => Ok(of_way),
            false if self.routing.may_send(from, foreign) => Ok(from),
            false => Err(Errno::ENETUNREACH),
        }
    }

    /// Sends many datagrams of one length, the last one perhaps shorter: all of them or none.
    fn udp_transmit_cut(&mut self, plan: &Plan, payload: &[u8]) -> Result<(), Errno> {
        let segment = plan.segment_bytes;
        let total = plan.header.bytes() + UDP_BYTES + segment;
        if total > self.mtu(plan.hop.link) || payload.len().div_ceil(segment) > SEGMENTS_MAX {
            return Err(Errno::EINVAL);
        }
        let before = (self.later.len(), self.loopback.len());
        for piece in payload.chunks(segment) {
            let head = plan.header.bytes() + UDP_BYTES;
            let mut bytes = self.buffer();
            bytes.resize(head, 0);
            bytes.extend_from_slice(piece);
            if let Err(errno) = self.udp_transmit(plan, Packet { bytes, head }) {
                self.later.truncate(before.0);
                self.loopback.truncate(before.1);
                return Err(errno);
            }
            self.udp.counters.sent += 1;
        }
        Ok(())
    }

    fn udp_transmit(&mut self, plan: &Plan, packet: Packet) -> Result<(), Errno> {
        let length = packet.payload().len();
        let header_bytes = plan.header.bytes();
        let total = header_bytes + UDP_BYTES + length;
        let mtu = self.mtu(plan.hop.link);
        if total > mtu && plan.do_not_fragment {
            return Err(Errno::EMSGSIZE);
        }
        let mut packet = packet.with_head(header_bytes + UDP_BYTES);
        let Some(datagram) = packet.get_mut(header_bytes..) else { return Err(Errno::EINVAL) };
        wire::put_u16(datagram, 0, plan.local_port);
        wire::put_u16(datagram, 2, plan.remote_port);
        wire::put_u16(datagram, 4, (UDP_BYTES + length) as u16);
        wire::put_u16(datagram, 6, 0);
        let (from, to) = (plan.header.from, plan.header.to);
        let pseudo = checksum::pseudo_header(from, to, protocol::UDP, datagram.len());
        let sum = !checksum::fold(checksum::sum(datagram, pseudo));
        // Zero would mean that there is none.
        wire::put_u16(datagram, 6, if sum == 0 { 0xffff } else { sum });
        let link = plan.hop.link;
        if plan.loops && link != LinkId::LOOPBACK {
            let mut buffer = packet.clone();
            plan.header.write(&mut buffer, UDP_BYTES + length, 0, 0x4000);
            self.loopback.push_back(Looped { bytes: buffer.len(), buffer, link });
        }
        if total <= mtu {
            plan.header.write(&mut packet, UDP_BYTES + length, 0, 0x4000);
            self.later.push((plan.hop, packet));
            return Ok(());
        }
        let datagram = packet.split_off(header_bytes);
        self.send_ip(plan.hop, &plan.header, &datagram);
        self.recycle(packet);
        Ok(())
    }
}

fn loopback_of(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::LOCALHOST),
    }
}
