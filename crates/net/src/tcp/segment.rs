//! TCP segments on their way between the protocol engine and the links.

use crate::checksum;
use crate::engine::Looped;
use crate::neighbor::Mac;
use crate::route::LinkId;
use crate::spare::Spare;
use crate::wire::{self, ETHERNET_BYTES, Header, IPV4_BYTES, IPV6_BYTES, TCP_BYTES, protocol};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::link::{LinkCapabilities, NetDevice, TransmitMeta};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::{NonZeroU16, NonZeroUsize};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant as Time;

/// Flag bits of the TCP header.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
    pub(crate) const URG: u8 = 32;
}

/// The fixed part of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// With `URG`: where urgent data ends, from the sequence number on.
    pub(crate) urgent: u16,
    /// Bytes of data.
    pub(crate) length: u32,
}

impl Segment {
    /// Reads it. `None`: malformed.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; TCP_BYTES] = bytes.first_chunk()?;
        let header_bytes = usize::from(header[12] >> 4) * 4;
        if header_bytes < TCP_BYTES {
            return None;
        }
        Some(Self {
            from: u16::from_be_bytes([header[0], header[1]]),
            to: u16::from_be_bytes([header[2], header[3]]),
            sequence: wire::u32_at(header, 4)?,
            acknowledgement: wire::u32_at(header, 8)?,
            flags: header[13],
            window: u16::from_be_bytes([header[14], header[15]]),
            urgent: u16::from_be_bytes([header[18], header[19]]),
            length: bytes.len().checked_sub(header_bytes)? as u32,
        })
    }

    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Sequence numbers that it takes: data, SYN and FIN.
    pub(crate) fn sequence_length(&self) -> u32 {
        self.length + u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN))
    }

    /// The whole IP packet of a segment without data or options.
    pub(crate) fn packet(&self, from: IpAddr, to: IpAddr, mut buffer: Vec<u8>) -> Vec<u8> {
        let header = Header { from, to, protocol: protocol::TCP, hop_limit: 64, traffic_class: 0 };
        buffer.clear();
        buffer.resize(header.bytes() + TCP_BYTES, 0);
        // Do not fragment, as for every TCP segment.
        header.write(&mut buffer, TCP_BYTES, 0, 0x4000);
        if let Some(tcp) = buffer.get_mut(header.bytes()..) {
            wire::put_u16(tcp, 0, self.from);
            wire::put_u16(tcp, 2, self.to);
            wire::put_u32(tcp, 4, self.sequence);
            wire::put_u32(tcp, 8, self.acknowledgement);
            wire::put_u16(tcp, 12, 5 << 12 | u16::from(self.flags));
            wire::put_u16(tcp, 14, self.window);
            let sum = checksum::sum(tcp, checksum::pseudo_header(from, to, 6, TCP_BYTES));
            wire::put_u16(tcp, 16, !checksum::fold(sum));
        }
        buffer
    }

    /// The reset that answers this segment when nobody wants it (RFC 9293, 3.10.7.1).
    pub(crate) fn reset(&self) -> Self {
        let (sequence, acknowledgement, flags) = if self.has(flag::ACK) {
            (self.acknowledgement, 0, flag::RST)
        } else {
            (0, self.sequence.wrapping_add(self.sequence_length()), flag::RST | flag::ACK)
        };
        Self {
            from: self.to,
            to: self.from,
            sequence,
            acknowledgement,
            flags,
            window: 0,
            urgent: 0,
            length: 0,
        }
    }
}

/// True when sequence number `one` comes before `other`.
pub(crate) fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}

/// What the engine sent, as far as the connection must know.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sent {
    /// Segments.
    pub(crate) count: u32,
    /// The highest sequence number sent, and whether anything was.
    pub(crate) highest: Option<u32>,
    /// Where the last segment ended.
    pub(crate) end: Option<u32>,
    /// The first acknowledgement sent, if any, and the last.
    pub(crate) acknowledgement: Option<u32>,
    pub(crate) last_acknowledgement: Option<u32>,
    /// The sequence number after a SYN.
    pub(crate) start: Option<u32>,
    /// Segments that were sent again.
    pub(crate) again: u32,
    /// Where urgent data ends that is on its way.
    pub(crate) urgent_end: Option<u32>,
    /// The largest segment of the path, in bytes of data.
    pub(crate) largest: u32,
    /// Where the last segment ended that was smaller.
    pub(crate) small_end: Option<u32>,
}

impl Sent {
    fn note(&mut self, tcp: &mut [u8]) {
        let Some(segment) = Segment::parse(tcp) else { return };
        self.count += 1;
        // smoltcp 0.14 goes back to the first unacknowledged byte after a time-out, and its bare
        // acknowledgements with it. The peer finds those outside its window and does not look at
        // what they acknowledge: two such ends never come to an end. They belong at the front.
        let bare = segment.length == 0 && !segment.has(flag::SYN | flag::FIN | flag::RST);
        if let Some(front) = self.highest
            && bare
            && before(segment.sequence, front)
        {
            wire::put_u32(tcp, SEQUENCE_AT, front);
        }
        if let Some(end) = self.urgent_end {
            mark_urgent(tcp, &segment, end);
        }
        if segment.has(flag::ACK) {
            self.acknowledgement.get_or_insert(segment.acknowledgement);
            self.last_acknowledgement = Some(segment.acknowledgement);
        }
        let end = segment.sequence.wrapping_add(segment.sequence_length());
        self.end = Some(end);
        if segment.has(flag::SYN) {
            self.start = Some(end);
        }
        if segment.length.checked_rem(self.largest).is_some_and(|rest| rest > 0) {
            self.small_end = Some(end);
        }
        match self.highest {
            Some(highest) if !before(highest, end) => {
                // One byte of old data is a keep-alive or window probe.
                self.again += u32::from(segment.length > 1);
            }
            _ => self.highest = Some(end),
        }
    }
}

/// Says in a segment before `end` that the byte before that is urgent (`tcp_transmit_skb` of Linux).
#[cold]
fn mark_urgent(tcp: &mut [u8], segment: &Segment, end: u32) {
    let ahead = end.wrapping_sub(segment.sequence);
    let pointer = u16::try_from(ahead).ok().filter(|ahead| *ahead > 0);
    let (Some(pointer), false) = (pointer, segment.has(flag::SYN)) else { return };
    if let Some(flags) = tcp.get_mut(FLAGS_AT) {
        *flags |= flag::URG;
    }
    wire::put_u16(tcp, URGENT_AT, pointer);
}

/// Offsets of the flags and of the urgent pointer in a TCP header.
const FLAGS_AT: usize = 13;
const URGENT_AT: usize = 18;

/// Offset of the sequence number in a TCP header.
const SEQUENCE_AT: usize = 4;

/// Where segments go.
pub(crate) enum Way<'a> {
    /// Back to ourselves.
    Loopback { queue: &'a mut VecDeque<Looped>, spare: &'a mut Spare },
    /// Out of a device, to `to`.
    Wire { device: &'a mut dyn NetDevice, offload: bool, from: Mac, to: Mac },
    /// Kept as IP packets, because the device is busy handing us a frame.
    Later { packets: &'a mut Vec<Vec<u8>>, spare: &'a mut Spare },
}

/// The engine's device: one packet in, segments out.
pub(crate) struct Port<'a> {
    pub(crate) received: Option<&'a [u8]>,
    pub(crate) way: Way<'a>,
    pub(crate) sent: &'a mut Sent,
    pub(crate) capabilities: &'a DeviceCapabilities,
    /// IPv6, else IPv4.
    pub(crate) ipv6: bool,
}

/// What the engine must know of a link.
pub(crate) fn capabilities(link: &LinkCapabilities) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = link.mtu;
    // Checked before a packet comes in and filled in when it goes out: here or by the device.
    capabilities.checksum.ipv4 = Checksum::None;
    capabilities.checksum.tcp = Checksum::None;
    capabilities.checksum.udp = Checksum::None;
    capabilities.checksum.icmpv4 = Checksum::None;
    capabilities.checksum.icmpv6 = Checksum::None;
    if link.transmit_checksum && link.segmentation_ipv4 {
        // smoltcp 0.14 drops what it wants segmented over IPv6, so that stays off.
        capabilities.segmentation.tcpv4 = NonZeroUsize::new(SEGMENTATION_BYTES);
    }
    capabilities
}

/// Largest packet that a device is asked to cut.
const SEGMENTATION_BYTES: usize = 62 * 1024;

pub(crate) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Transmit<'p, 'a> {
    way: &'p mut Way<'a>,
    sent: &'p mut Sent,
    segment_size: Option<NonZeroU16>,
    ipv6: bool,
}

impl<'a> Device for Port<'a> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Transmit<'t, 'a>
    where
        Self: 't;

    fn receive(&mut self, _now: Time) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let packet = self.received.take()?;
        Some((Received(packet), self.token()))
    }

    fn transmit(&mut self, _now: Time) -> Option<Self::TxToken<'_>> {
        if let Way::Wire { device, .. } = &mut self.way
            && !device.can_transmit()
        {
            return None;
        }
        Some(self.token())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

impl<'a> Port<'a> {
    fn token(&mut self) -> Transmit<'_, 'a> {
        Transmit { way: &mut self.way, sent: self.sent, segment_size: None, ipv6: self.ipv6 }
    }
}

impl TxToken for Transmit<'_, '_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let Self { way, sent, segment_size, ipv6 } = self;
        match way {
            Way::Loopback { queue, spare } => {
                let mut buffer = spare.take();
                // Not cut to the length: growing again would clear it again.
                if buffer.len() < length {
                    buffer.resize(length, 0);
                }
                let packet = buffer.get_mut(..length).unwrap_or_default();
                let result = f(packet);
                sent.note(packet.get_mut(header_bytes(ipv6)..).unwrap_or_default());
                finish_header(packet, ipv6);
                queue.push_back(Looped { buffer, bytes: length, link: LinkId::LOOPBACK });
                result
            }
            Way::Later { packets, spare } => {
                let mut packet = spare.take();
                packet.resize(length, 0);
                let result = f(&mut packet);
                sent.note(packet.get_mut(header_bytes(ipv6)..).unwrap_or_default());
                finish(&mut packet, ipv6, false);
                packets.push(packet);
                result
            }
            Way::Wire { device, offload, from, to } => {
                let meta = transmit_meta(*offload, ipv6, segment_size);
                let mut result = None;
                let mut f = Some(f);
                let mut fill = |frame: &mut [u8]| {
                    let Some(f) = f.take() else { return };
                    write_ethernet(frame, *from, *to, ipv6);
                    let packet = frame.get_mut(ETHERNET_BYTES..).unwrap_or_default();
                    result = Some(f(packet));
                    sent.note(packet.get_mut(header_bytes(ipv6)..).unwrap_or_default());
                    finish(packet, ipv6, *offload);
                };
                device.transmit(ETHERNET_BYTES + length, meta, &mut fill);
                match (result, f) {
                    (Some(result), _) => result,
                    // The device had room and then had none: the segment is lost, as on a wire.
                    (None, Some(f)) => f(&mut alloc::vec![0; length]),
                    (None, None) => unreachable!("filling makes a result"),
                }
            }
        }
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment_size = meta.segmentation_offload_size;
    }
}

fn header_bytes(ipv6: bool) -> usize {
    if ipv6 { IPV6_BYTES } else { IPV4_BYTES }
}

/// Offset of the checksum in a TCP header.
const CHECKSUM_AT: usize = 16;

fn transmit_meta(offload: bool, ipv6: bool, segment_size: Option<NonZeroU16>) -> TransmitMeta {
    let tcp_at = (ETHERNET_BYTES + header_bytes(ipv6)) as u16;
    TransmitMeta {
        checksum: offload.then_some((tcp_at, CHECKSUM_AT as u16)),
        segment_size: segment_size.map(NonZeroU16::get),
        // Data segments carry no options: timestamps are off.
        header_bytes: tcp_at + TCP_BYTES as u16,
        ipv6,
    }
}

/// Writes the Ethernet header of an IP packet.
pub(crate) fn write_ethernet(frame: &mut [u8], from: Mac, to: Mac, ipv6: bool) {
    let Some(header) = frame.first_chunk_mut::<ETHERNET_BYTES>() else { return };
    header[..6].copy_from_slice(&to);
    header[6..12].copy_from_slice(&from);
    header[12..].copy_from_slice(if ipv6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
}

/// Fills in the checksum of the IPv4 header, which the engine leaves out.
fn finish_header(packet: &mut [u8], ipv6: bool) {
    if !ipv6 && let Some(header) = packet.get_mut(..IPV4_BYTES) {
        wire::put_u16(header, 10, 0);
        let sum = checksum::checksum(header);
        wire::put_u16(header, 10, sum);
    }
}

/// Fills in the checksums, which the engine leaves out. `offload`: the device completes that of
/// the segment and wants the pseudo-header's sum there.
fn finish(packet: &mut [u8], ipv6: bool, offload: bool) {
    finish_header(packet, ipv6);
    let Some((from, to)) = addresses(packet, ipv6) else { return };
    let Some(tcp) = packet.get_mut(header_bytes(ipv6)..) else { return };
    let pseudo = checksum::pseudo_header(from, to, protocol::TCP, tcp.len());
    if offload {
        wire::put_u16(tcp, CHECKSUM_AT, checksum::fold(pseudo));
    } else {
        wire::put_u16(tcp, CHECKSUM_AT, 0);
        let sum = checksum::fold(checksum::sum(tcp, pseudo));
        wire::put_u16(tcp, CHECKSUM_AT, !sum);
    }
}

fn addresses(packet: &[u8], ipv6: bool) -> Option<(IpAddr, IpAddr)> {
    if ipv6 {
        let from: [u8; 16] = *packet.get(8..)?.first_chunk()?;
        let to: [u8; 16] = *packet.get(24..)?.first_chunk()?;
        Some((IpAddr::V6(Ipv6Addr::from(from)), IpAddr::V6(Ipv6Addr::from(to))))
    } else {
        let from: [u8; 4] = *packet.get(12..)?.first_chunk()?;
        let to: [u8; 4] = *packet.get(16..)?.first_chunk()?;
        Some((IpAddr::V4(Ipv4Addr::from(from)), IpAddr::V4(Ipv4Addr::from(to))))
    }
}
