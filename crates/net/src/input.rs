//! Frames and packets in.

use crate::checksum;
use crate::engine::{Core, Side};
use crate::neighbor::{Mac, Waiting};
use crate::route::{LinkId, group_mac};
use crate::tcp::segment::write_ethernet;
use crate::wire::{self, ETHERNET_BYTES, Header, IPV6_BYTES, Packet, protocol};
use alloc::vec;
use alloc::vec::Vec;
use base::link::ReceiveMeta;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of an ARP packet for IPv4 over Ethernet in bytes.
const ARP_BYTES: usize = 28;
/// What an ARP packet for IPv4 over Ethernet begins with.
const ARP_START: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u8 = 1;

/// Message types of ICMPv6 that belong to the control side.
mod message {
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const NEIGHBOR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Listener query, report, done; router and neighbour discovery; redirect.
    pub(super) const CONTROL: core::ops::RangeInclusive<u8> = 130..=137;
    pub(super) const LISTENER_REPORT_2: u8 = 143;
}

impl Core {
    /// A frame arrived over a link.
    pub(crate) fn frame_input(&mut self, side: &mut Side, frame: &[u8], meta: ReceiveMeta) {
        side.counters.received_packets += 1;
        side.counters.received_bytes += frame.len() as u64;
        let Some((header, body)) = frame.split_first_chunk::<ETHERNET_BYTES>() else { return };
        let for_us = header[0] & 1 != 0 || header[..6] == side.mac;
        if !for_us {
            return;
        }
        match [header[12], header[13]] {
            [0x08, 0x06] => self.arp_input(side, frame, body),
            [0x08, 0x00] | [0x86, 0xdd] => self.ip_input(side, frame, body, meta),
            _ => {}
        }
    }

    /// Learns from an ARP packet; answering is the control side's.
    fn arp_input(&mut self, side: &mut Side, frame: &[u8], body: &[u8]) {
        let Some(arp) = body.first_chunk::<ARP_BYTES>() else { return };
        if arp[..6] != ARP_START {
            return;
        }
        let [a, b, c, d, e, f] = [arp[8], arp[9], arp[10], arp[11], arp[12], arp[13]];
        let sender = IpAddr::V4(Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]));
        let target = IpAddr::V4(Ipv4Addr::new(arp[24], arp[25], arp[26], arp[27]));
        // Only who asks for us will talk to us; others only change what is known.
        let for_us = self.is_address_of(side.id, target);
        self.learn(side.id, sender, [a, b, c, d, e, f], for_us);
        side.control.input(frame, self.now);
    }

    fn is_address_of(&self, link: LinkId, address: IpAddr) -> bool {
        self.routing.addresses.iter().any(|own| own.link == link && own.address == address)
    }

    fn learn(&mut self, link: LinkId, address: IpAddr, mac: Mac, create: bool) {
        if self.routing.is_local(address) {
            return;
        }
        // A stranger to our networks is no neighbour.
        let near = self.routing.lookup(address, Some(link)).is_ok_and(|hop| hop.via == address);
        let Waiting { packets, sockets } =
            self.neighbors.learn(link, address, mac, self.now, create && near);
        self.tcp_neighbor(&sockets, false);
        for packet in packets {
            if let Ok(hop) = self.routing.lookup(address, Some(link)) {
                self.later.push((hop, packet));
            }
        }
    }

    fn ip_input(&mut self, side: &mut Side, frame: &[u8], body: &[u8], meta: ReceiveMeta) {
        let Some(packet) = wire::parse(body) else {
            self.ip_counters.header_errors += 1;
            return;
        };
        let checked = meta.checksum_verified;
        if self.is_control(side, &packet) {
            if packet.protocol == protocol::ICMPV6 && !self.learn_from_discovery(side, &packet) {
                return;
            }
            side.control.input(frame, self.now);
            return;
        }
        let forged = packet.from.is_loopback()
            || packet.to.is_loopback()
            || self.routing.is_local(packet.from);
        if forged || !(self.routing.is_local(packet.to) || self.is_group(side.id, packet.to)) {
            self.ip_counters.address_errors += 1;
            return;
        }
        self.deliver(side.id, &packet, checked);
    }

    fn is_control(&self, side: &Side, packet: &Packet<'_>) -> bool {
        const DHCP_SERVER_TO_CLIENT: [u8; 4] = [0, 67, 0, 68];
        match packet.protocol {
            _ if packet.fragment.is_some() => false,
            protocol::UDP => {
                side.control.wants_dhcp()
                    && packet.to.is_ipv4()
                    && packet.payload.starts_with(&DHCP_SERVER_TO_CLIENT)
            }
            protocol::IGMP => true,
            protocol::ICMPV6 => packet.payload.first().is_some_and(|kind| {
                message::CONTROL.contains(kind) || *kind == message::LISTENER_REPORT_2
            }),
            _ => false,
        }
    }

    /// Learns hardware addresses from neighbour discovery. False: forged or broken.
    fn learn_from_discovery(&mut self, side: &Side, packet: &Packet<'_>) -> bool {
        if !checksum::verify(packet.from, packet.to, protocol::ICMPV6, packet.payload) {
            return false;
        }
        let Some(&kind) = packet.payload.first() else { return false };
        let (address, option, create) = match kind {
            message::NEIGHBOR_SOLICITATION => {
                let for_us = target_of(packet).is_some_and(|to| self.is_address_of(side.id, to));
                (Some(packet.from), SOURCE_OPTION, for_us)
            }
            message::NEIGHBOR_ADVERTISEMENT => (target_of(packet), TARGET_OPTION, false),
            message::ROUTER_ADVERTISEMENT => (Some(packet.from), SOURCE_OPTION, true),
            _ => return true,
        };
        // Routers forward nothing with 255 hops to go: it comes from the link itself.
        if packet.hop_limit != 255 {
            return false;
        }
        let fixed = if kind == message::ROUTER_ADVERTISEMENT { 16 } else { 24 };
        if let (Some(address), Some(mac)) = (address, link_option(packet.payload, fixed, option)) {
            self.learn(side.id, address, mac, create);
        }
        true
    }

    fn is_group(&self, link: LinkId, to: IpAddr) -> bool {
        const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        self.routing.is_broadcast(to)
            || to == IpAddr::V4(ALL_SYSTEMS)
            || to == IpAddr::V6(ALL_NODES)
            || (to.is_multicast() && self.udp.is_member(link, to))
    }

    /// A packet that we sent to ourselves, or to a group by an interface on which we may be members.
    pub(crate) fn looped_input(&mut self, link: LinkId, bytes: &[u8]) {
        if let Some(packet) = wire::parse(bytes)
            && (link == LinkId::LOOPBACK && !packet.to.is_multicast()
                || self.is_group(link, packet.to))
        {
            self.deliver(link, &packet, true);
        }
    }

    /// A packet for us. `checked`: checksums of TCP and UDP are known to be right.
    fn deliver(&mut self, link: LinkId, packet: &Packet<'_>, checked: bool) {
        if packet.fragment.is_some() {
            let Some(whole) = self.reassembly.add(packet, self.now) else { return };
            if let Some(packet) = wire::parse(&whole)
                && packet.fragment.is_none()
            {
                self.deliver_whole(link, &packet, link == LinkId::LOOPBACK);
            }
            return;
        }
        self.deliver_whole(link, packet, checked);
    }

    fn deliver_whole(&mut self, link: LinkId, packet: &Packet<'_>, checked: bool) {
        self.raw_input(link, packet);
        match packet.protocol {
            protocol::TCP => self.tcp_input(link, packet, checked),
            protocol::UDP => self.udp_input(link, packet, checked),
            protocol::ICMP if packet.to.is_ipv4() => self.icmp_input(link, packet),
            protocol::ICMPV6 if packet.to.is_ipv6() => self.icmp_input(link, packet),
            _ if self.raw.is_empty() => self.ip_counters.unknown_protocols += 1,
            _ => {}
        }
    }
}

/// What did not reach anybody of IP packets, of both versions together, for /proc/net/snmp. The others are counted by
/// interfaces and protocols.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct IpCounters {
    /// What could not be read.
    pub header_errors: u64,
    /// What is not for this machine, or says that it comes from it.
    pub address_errors: u64,
    /// Packets of protocols that nobody asked for.
    pub unknown_protocols: u64,
}

/// Options of neighbour discovery: the sender's and the target's hardware address.
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;

fn target_of(packet: &Packet<'_>) -> Option<IpAddr> {
    let bytes: [u8; 16] = *packet.payload.get(8..)?.first_chunk()?;
    Some(IpAddr::V6(Ipv6Addr::from(bytes)))
}

fn link_option(message: &[u8], mut at: usize, wanted: u8) -> Option<Mac> {
    // At most as many options as fit: each takes at least 8 bytes.
    loop {
        let kind = *message.get(at)?;
        let length = usize::from(*message.get(at + 1)?) * 8;
        if length == 0 {
            return None;
        }
        if kind == wanted {
            return message.get(at + 2..)?.first_chunk().copied();
        }
        at += length;
    }
}

/// The frame that asks for a neighbour's hardware address. `source`: our address on the link.
pub(crate) fn neighbor_request(
    mac: Mac,
    address: IpAddr,
    source: Option<IpAddr>,
) -> Option<Vec<u8>> {
    match (address, source?) {
        (IpAddr::V4(target), IpAddr::V4(source)) => Some(arp_request(mac, target, source)),
        (IpAddr::V6(target), IpAddr::V6(source)) => solicitation(mac, target, source),
        _ => None,
    }
}

fn arp_request(mac: Mac, target: Ipv4Addr, source: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_BYTES + ARP_BYTES);
    frame.extend_from_slice(&[0xff; 6]);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[0x08, 0x06]);
    frame.extend_from_slice(&ARP_START);
    frame.extend_from_slice(&[0, ARP_REQUEST]);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&target.octets());
    frame
}

fn solicitation(mac: Mac, target: Ipv6Addr, source: Ipv6Addr) -> Option<Vec<u8>> {
    const MESSAGE_BYTES: usize = 32;
    let [.., x, y, z] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
    let header = Header {
        from: source.into(),
        to: group.into(),
        protocol: protocol::ICMPV6,
        hop_limit: 255,
        traffic_class: 0,
    };
    let mut frame = vec![0; ETHERNET_BYTES + IPV6_BYTES + MESSAGE_BYTES];
    let to = group_mac(&crate::route::Routing::default(), header.to)?;
    write_ethernet(&mut frame, mac, to, true);
    header.write(frame.get_mut(ETHERNET_BYTES..)?, MESSAGE_BYTES, 0, 0);
    let message = frame.get_mut(ETHERNET_BYTES + IPV6_BYTES..)?;
    *message.first_mut()? = message::NEIGHBOR_SOLICITATION;
    message.get_mut(8..24)?.copy_from_slice(&target.octets());
    message.get_mut(24..26)?.copy_from_slice(&[SOURCE_OPTION, 1]);
    message.get_mut(26..32)?.copy_from_slice(&mac);
    let pseudo = checksum::pseudo_header(header.from, header.to, protocol::ICMPV6, MESSAGE_BYTES);
    let sum = checksum::fold(checksum::sum(message, pseudo));
    wire::put_u16(message, 2, !sum);
    Some(frame)
}
