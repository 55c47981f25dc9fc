//! ICMP for IPv4 and IPv6: echo, and errors in both directions.

use crate::checksum;
use crate::engine::Core;
use crate::route::LinkId;
use crate::tcp::Tuple;
use crate::udp::UdpFailure;
use crate::wire::{self, Header, IPV4_BYTES, IPV6_BYTES, Packet, UDP_BYTES, protocol};
use alloc::vec::Vec;
use base::{Errno, Instant};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

/// Length of the fixed part of a message in bytes.
const HEADER_BYTES: usize = 8;
/// Errors sent in a second at most (Linux: `net.ipv4.icmp_msgs_per_sec`).
const ERRORS_PER_SECOND: u32 = 1000;
/// Length of an error message at most: the smallest MTU of each family.
const QUOTE_V4: usize = 576 - IPV4_BYTES - HEADER_BYTES;
const QUOTE_V6: usize = 1280 - IPV6_BYTES - HEADER_BYTES;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO: u8 = 8;
const UNREACHABLE_V6: u8 = 1;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// What happened to ICMP messages, of both versions together, for /proc/net/snmp: those of echo
/// that programs send are not among them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct IcmpCounters {
    /// All that came.
    pub received: u64,
    /// Those that could not be read.
    pub errors: u64,
    /// Those that say that something did not arrive.
    pub unreachable: u64,
    /// Requests of echo.
    pub echoes: u64,
    /// Answers to those.
    pub echo_replies: u64,
    /// Answers that were sent.
    pub sent_echo_replies: u64,
    /// Those that were sent to say that something did not arrive.
    pub sent_unreachable: u64,
}

/// How many errors were sent lately, and what happened in all.
#[derive(Default)]
pub(crate) struct Icmp {
    second: Instant,
    sent: u32,
    pub(crate) counters: IcmpCounters,
}

impl Icmp {
    fn may_send(&mut self, now: Instant) -> bool {
        if now >= self.second + Duration::from_secs(1) {
            self.second = now;
            self.sent = 0;
        }
        self.sent += 1;
        self.sent <= ERRORS_PER_SECOND
    }
}

/// A packet that an error message quotes, as far as it is there.
struct Quoted<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: &'a [u8],
}

fn quoted(bytes: &[u8]) -> Option<Quoted<'_>> {
    match bytes.first()? >> 4 {
        4 => {
            let header: &[u8; IPV4_BYTES] = bytes.first_chunk()?;
            let [.., a, b, c, d, e, f, g, h] = *header;
            Some(Quoted {
                from: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
                to: IpAddr::V4(Ipv4Addr::new(e, f, g, h)),
                protocol: header[9],
                payload: bytes.get(usize::from(header[0] & 15) * 4..)?,
            })
        }
        6 => {
            let from: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let to: [u8; 16] = *bytes.get(24..)?.first_chunk()?;
            Some(Quoted {
                from: IpAddr::V6(Ipv6Addr::from(from)),
                to: IpAddr::V6(Ipv6Addr::from(to)),
                protocol: *bytes.get(6)?,
                payload: bytes.get(IPV6_BYTES..)?,
            })
        }
        _ => None,
    }
}

/// The error that an unreachable message stands for (Linux: `icmp_err_convert`).
fn errno_of(ipv4: bool, code: u8) -> Errno {
    match (ipv4, code) {
        (true, 0 | 6 | 11) => Errno::ENETUNREACH,
        (true, 2) => Errno::ENOPROTOOPT,
        (true, 3) | (false, 4) => Errno::ECONNREFUSED,
        (true, 4) => Errno::EMSGSIZE,
        (false, 0) => Errno::ENETUNREACH,
        (false, 1 | 5 | 6) => Errno::EACCES,
        _ => Errno::EHOSTUNREACH,
    }
}

impl Core {
    /// An ICMP message for us, of either version.
    pub(crate) fn icmp_input(&mut self, link: LinkId, packet: &Packet<'_>) {
        let ipv4 = packet.to.is_ipv4();
        self.icmp.counters.received += 1;
        let valid = if ipv4 {
            checksum::fold(checksum::sum(packet.payload, 0)) == 0xffff
        } else {
            checksum::verify(packet.from, packet.to, protocol::ICMPV6, packet.payload)
        };
        let parts = packet.payload.split_first_chunk::<HEADER_BYTES>();
        let Some((header, rest)) = parts.filter(|_| valid && wire::is_unicast(packet.from)) else {
            self.icmp.counters.errors += 1;
            return;
        };
        match (ipv4, header[0]) {
            (true, ECHO) => self.echo_reply(link, packet, ECHO_REPLY),
            (false, ECHO_V6) => self.echo_reply(link, packet, ECHO_REPLY_V6),
            (true, ECHO_REPLY) | (false, ECHO_REPLY_V6) => self.icmp.counters.echo_replies += 1,
            (true, UNREACHABLE) | (false, UNREACHABLE_V6) => {
                self.icmp.counters.unreachable += 1;
                if let Some(quote) = quoted(rest) {
                    self.unreachable(&quote, (header[0], header[1]), packet.from);
                }
            }
            _ => {}
        }
    }

    fn echo_reply(&mut self, link: LinkId, packet: &Packet<'_>, kind: u8) {
        self.icmp.counters.echoes += 1;
        if !wire::is_unicast(packet.to) || self.routing.is_broadcast(packet.to) {
            return;
        }
        let mut message = self.buffer();
        message.extend_from_slice(packet.payload);
        if let Some(header) = message.first_chunk_mut::<HEADER_BYTES>() {
            header[..4].copy_from_slice(&[kind, 0, 0, 0]);
        }
        self.icmp.counters.sent_echo_replies += 1;
        self.send_icmp(link, packet.to, packet.from, message);
    }

    /// Completes the checksum of `message` and sends it.
    fn send_icmp(&mut self, link: LinkId, from: IpAddr, to: IpAddr, mut message: Vec<u8>) {
        let scope = (link != LinkId::LOOPBACK).then_some(link);
        let Ok(hop) = self.routing.lookup(to, scope) else { return };
        let number = if to.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        let pseudo = match to {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => checksum::pseudo_header(from, to, number, message.len()),
        };
        let sum = checksum::fold(checksum::sum(&message, pseudo));
        wire::put_u16(&mut message, 2, !sum);
        let header = Header { from, to, protocol: number, hop_limit: 64, traffic_class: 0 };
        self.send_ip(hop, &header, &message);
        self.recycle(message);
    }

    /// What we sent did not arrive: `offender` says so, by a message of this type and code.
    fn unreachable(&mut self, quote: &Quoted<'_>, (kind, code): (u8, u8), offender: IpAddr) {
        let errno = errno_of(quote.to.is_ipv4(), code);
        let (Some(local), Some(remote)) =
            (wire::u16_at(quote.payload, 0), wire::u16_at(quote.payload, 2))
        else {
            return;
        };
        match quote.protocol {
            protocol::TCP => {
                let Some(sequence) = wire::u32_at(quote.payload, 4) else { return };
                let tuple = Tuple::of(quote.from, local, quote.to, remote);
                self.tcp_unreachable(&tuple, sequence, errno);
            }
            protocol::UDP => {
                let to = SocketAddr::new(quote.to, remote);
                let bytes = quote.payload.get(UDP_BYTES..).unwrap_or_default().to_vec();
                let failure = UdpFailure { errno, kind, code, offender, to, bytes };
                self.udp_error(SocketAddr::new(quote.from, local), failure);
            }
            _ => {}
        }
    }

    /// Tells the sender of a datagram that nobody listens on its port.
    pub(crate) fn port_unreachable(&mut self, link: LinkId, packet: &Packet<'_>) {
        let (kind, code, most) = match packet.to {
            IpAddr::V4(_) => (UNREACHABLE, 3, QUOTE_V4),
            IpAddr::V6(_) => (UNREACHABLE_V6, 4, QUOTE_V6),
        };
        let answerable = wire::is_unicast(packet.to)
            && wire::is_unicast(packet.from)
            && !self.routing.is_broadcast(packet.to);
        if !answerable || !self.icmp.may_send(self.now) {
            return;
        }
        let mut message = self.buffer();
        message.extend_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
        let quote = packet.bytes.get(..most.min(packet.bytes.len())).unwrap_or_default();
        message.extend_from_slice(quote);
        self.icmp.counters.sent_unreachable += 1;
        self.send_icmp(link, packet.to, packet.from, message);
    }

    /// A packet of ours found no neighbour.
    pub(crate) fn host_unreachable(&mut self, packet: &[u8]) {
        if let Some(quote) = quoted(packet) {
            // As if the host itself had said so: host, or address, unreachable.
            let message = match quote.to {
                IpAddr::V4(_) => (UNREACHABLE, 1),
                IpAddr::V6(_) => (UNREACHABLE_V6, 3),
            };
            self.unreachable(&quote, message, quote.from);
        }
    }
}
