//! What the fast path reads of a packet: addresses, protocol, ports. Everything else is read by
//! whoever the packet is for.

use crate::checksum;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of an Ethernet header in bytes.
pub(crate) const ETHERNET_BYTES: usize = 14;
/// Length of the IPv4 header that we send.
pub(crate) const IPV4_BYTES: usize = 20;
/// Length of the IPv6 header that we send.
pub(crate) const IPV6_BYTES: usize = 40;
/// Length of a UDP header.
pub(crate) const UDP_BYTES: usize = 8;
/// Length of a TCP header without options.
pub(crate) const TCP_BYTES: usize = 20;

/// Protocol numbers (IANA).
pub(crate) mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const IGMP: u8 = 2;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
}

/// Which piece of a fragmented packet this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fragment {
    pub(crate) identification: u32,
    /// In bytes.
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

/// A received IP packet, its header read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    /// Protocol of `payload`.
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    /// TOS or traffic class.
    pub(crate) traffic_class: u8,
    pub(crate) fragment: Option<Fragment>,
    /// The whole packet without link padding.
    pub(crate) bytes: &'a [u8],
    /// What follows the headers.
    pub(crate) payload: &'a [u8],
}

/// Big-endian number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Big-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes big-endian; nothing when it does not fit.
pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(slot) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *slot = value.to_be_bytes();
    }
}

/// Writes big-endian; nothing when it does not fit.
pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(slot) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *slot = value.to_be_bytes();
    }
}

/// Reads the header of an IP packet. `None`: malformed.
pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => parse_v4(bytes),
        6 => parse_v6(bytes),
        _ => None,
    }
}

fn parse_v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; IPV4_BYTES] = bytes.first_chunk()?;
    let header_bytes = usize::from(header[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_bytes < IPV4_BYTES || total < header_bytes {
        return None;
    }
    let bytes = bytes.get(..total)?;
    let whole_header = bytes.get(..header_bytes)?;
    if checksum::fold(checksum::sum(whole_header, 0)) != 0xffff {
        return None;
    }
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let more = flags & 0x2000 != 0;
    let offset = usize::from(flags & 0x1fff) * 8;
    let identification = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let [.., a, b, c, d, e, f, g, h] = *header;
    Some(Packet {
        from: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        to: IpAddr::V4(Ipv4Addr::new(e, f, g, h)),
        protocol: header[9],
        hop_limit: header[8],
        traffic_class: header[1],
        fragment: (more || offset != 0).then_some(Fragment { identification, offset, more }),
        payload: bytes.get(header_bytes..)?,
        bytes,
    })
}

/// How many IPv6 extension headers are looked through.
const EXTENSIONS_MAX: usize = 8;

fn parse_v6(bytes: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; IPV6_BYTES] = bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let bytes = bytes.get(..IPV6_BYTES + length)?;
    let from: [u8; 16] = *header[8..24].first_chunk()?;
    let to: [u8; 16] = *header[24..40].first_chunk()?;
    let mut next = header[6];
    let mut at = IPV6_BYTES;
    let mut fragment = None;
    for _ in 0..EXTENSIONS_MAX {
        match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                next = *bytes.get(at)?;
                at += (usize::from(*bytes.get(at + 1)?) + 1) * 8;
            }
            protocol::FRAGMENT => {
                next = *bytes.get(at)?;
                let place = u16_at(bytes, at + 2)?;
                let piece = Fragment {
                    identification: u32_at(bytes, at + 4)?,
                    offset: usize::from(place & 0xfff8),
                    more: place & 1 != 0,
                };
                at += 8;
                if piece.more || piece.offset != 0 {
                    fragment = Some(piece);
                    break;
                }
            }
            _ => break,
        }
    }
    Some(Packet {
        from: IpAddr::V6(Ipv6Addr::from(from)),
        to: IpAddr::V6(Ipv6Addr::from(to)),
        protocol: next,
        hop_limit: header[7],
        traffic_class: header[0] << 4 | header[1] >> 4,
        fragment,
        payload: bytes.get(at..)?,
        bytes,
    })
}

/// The header of a packet to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) traffic_class: u8,
}

impl Header {
    /// Length in bytes.
    pub(crate) fn bytes(&self) -> usize {
        if self.to.is_ipv4() { IPV4_BYTES } else { IPV6_BYTES }
    }

    /// Writes the header for a payload of `length` bytes. `flags`: IPv4's flags and fragment
    /// offset.
    pub(crate) fn write(&self, into: &mut [u8], length: usize, identification: u16, flags: u16) {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let Some(header) = into.first_chunk_mut::<IPV4_BYTES>() else { return };
                *header = [0; IPV4_BYTES];
                header[0] = 0x45;
                header[1] = self.traffic_class;
                header[8] = self.hop_limit;
                header[9] = self.protocol;
                header[12..16].copy_from_slice(&from.octets());
                header[16..20].copy_from_slice(&to.octets());
                put_u16(header, 2, (IPV4_BYTES + length) as u16);
                put_u16(header, 4, identification);
                put_u16(header, 6, flags);
                let sum = checksum::checksum(header);
                put_u16(header, 10, sum);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let Some(header) = into.first_chunk_mut::<IPV6_BYTES>() else { return };
                header[0] = 0x60 | self.traffic_class >> 4;
                header[1] = self.traffic_class << 4;
                header[2] = 0;
                header[3] = 0;
                header[6] = self.protocol;
                header[7] = self.hop_limit;
                header[8..24].copy_from_slice(&from.octets());
                header[24..40].copy_from_slice(&to.octets());
                put_u16(header, 4, length as u16);
            }
            _ => {}
        }
    }
}

/// True for addresses that one host has: not multicast, broadcast or unspecified.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_multicast() && !address.is_broadcast() && !address.is_unspecified()
        }
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
    }
}

/// The address as a number that is the same for an IPv4 address and its IPv4-mapped form.
pub(crate) fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_written_header_reads_back() {
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fe80::1", "fe80::2")] {
            let header = Header {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                protocol: protocol::UDP,
                hop_limit: 64,
                traffic_class: 0xb8,
            };
            let mut bytes = vec![0; header.bytes() + 5 + 3];
            header.write(&mut bytes, 5, 7, 0);
            let packet = parse(&bytes).unwrap();
            assert_eq!((packet.from, packet.to), (header.from, header.to));
            assert_eq!((packet.protocol, packet.hop_limit), (17, 64));
            assert_eq!(packet.traffic_class, 0xb8);
            assert_eq!(packet.payload.len(), 5);
            assert_eq!(packet.fragment, None);
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_do_not_panic(mut bytes: Vec<u8>, version in 0u8..16) {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 15 | version << 4;
            }
            let _ = parse(&bytes);
        }
    }
}
