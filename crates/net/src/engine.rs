//! Everything under the stack's lock, and how packets move through it.

use crate::control::Control;
use crate::hash::KeyedState;
use crate::icmp::Icmp;
use crate::input::IpCounters;
use crate::neighbor::{Mac, Neighbors, Waiting};
use crate::raw::Raw;
use crate::reassembly::Reassembly;
use crate::route::{Hop, LinkId, Routing, group_mac};
use crate::spare::Spare;
use crate::tcp::Tcp;
use crate::tcp::segment::write_ethernet;
use crate::udp::Udp;
use crate::wire::{self, ETHERNET_BYTES, Header};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use base::Instant;
use base::link::{LinkCapabilities, NetDevice, ReceiveMeta, TransmitMeta};

/// Largest packet on the loopback, in bytes (Linux has 65,536; IPv4 cannot say that).
pub(crate) const LOOPBACK_MTU: usize = 65_535;
/// Packets kept for the loopback.
const LOOPBACK_MAX: usize = 4096;
/// Rounds of work in one call: what is left is done by the next poll.
const ROUNDS_MAX: usize = 512;
/// Frames taken from a device before what they caused is done.
const BURST: usize = 64;

/// What went over a link, as /proc/net/dev shows it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LinkCounters {
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that found no room in the device.
    pub sent_dropped: u64,
}

/// A link without its device.
pub(crate) struct Side {
    pub(crate) id: LinkId,
    pub(crate) name: String,
    pub(crate) mac: Mac,
    pub(crate) capabilities: LinkCapabilities,
    pub(crate) control: Control,
    pub(crate) counters: LinkCounters,
}

/// A link.
pub(crate) struct Link {
    pub(crate) device: Box<dyn NetDevice>,
    pub(crate) side: Side,
    /// Frames were queued since the last flush.
    pub(crate) touched: bool,
}

/// A packet to ourselves: the first bytes of a buffer.
pub(crate) struct Looped {
    pub(crate) buffer: Vec<u8>,
    pub(crate) bytes: usize,
    /// The interface that it is said to come from: of a group's, the one that it was sent by.
    pub(crate) link: LinkId,
}

impl From<Vec<u8>> for Looped {
    fn from(buffer: Vec<u8>) -> Self {
        Self { bytes: buffer.len(), buffer, link: LinkId::LOOPBACK }
    }
}

/// Everything but the devices.
pub(crate) struct Core {
    pub(crate) now: Instant,
    pub(crate) routing: Routing,
    pub(crate) neighbors: Neighbors,
    /// Largest IP packet of each link, by number.
    pub(crate) mtus: Vec<usize>,
    /// Packets on the loopback.
    pub(crate) loopback: VecDeque<Looped>,
    pub(crate) loopback_counters: LinkCounters,
    pub(crate) ip_counters: IpCounters,
    /// IP packets to send when a device is at hand.
    pub(crate) later: Vec<(Hop, Vec<u8>)>,
    /// Replies of the TCP engine, on their way to `later`.
    pub(crate) replies: Vec<Vec<u8>>,
    /// Buffers to use again.
    pub(crate) spare: Spare,
    pub(crate) tcp: Tcp,
    pub(crate) udp: Udp,
    pub(crate) raw: Raw,
    pub(crate) icmp: Icmp,
    pub(crate) reassembly: Reassembly,
    /// Identification of the next packet that is fragmented.
    pub(crate) identification: u32,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) log: Box<dyn Fn(&str) + Send + Sync>,
}

/// The stack's state.
pub(crate) struct Engine {
    pub(crate) core: Core,
    pub(crate) links: Vec<Link>,
}

impl Core {
    pub(crate) fn new(
        now: Instant,
        memory: usize,
        random: Box<dyn Fn() -> u64 + Send + Sync>,
        log: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        let hash = KeyedState::new(random(), random());
        let mut core = Self {
            now,
            routing: Routing::default(),
            neighbors: Neighbors::new(hash.clone()),
            mtus: alloc::vec![LOOPBACK_MTU],
            loopback: VecDeque::new(),
            loopback_counters: LinkCounters::default(),
            ip_counters: IpCounters::default(),
            later: Vec::new(),
            replies: Vec::new(),
            spare: Spare::new(memory),
            tcp: Tcp::new(&hash, memory),
            udp: Udp::new(&hash),
            raw: Raw::default(),
            icmp: Icmp::default(),
            reassembly: Reassembly::default(),
            identification: random() as u32,
            random,
            log,
        };
        let loopback = LinkCapabilities { mtu: LOOPBACK_MTU, ..LinkCapabilities::default() };
        core.tcp_attach(LinkId::LOOPBACK, &loopback);
        core
    }

    /// An unpredictable number.
    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    /// An empty buffer.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.spare.take();
        buffer.clear();
        buffer
    }

    /// Keeps a buffer for later.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.give(buffer);
    }

    /// Largest IP packet that a link takes.
    pub(crate) fn mtu(&self, link: LinkId) -> usize {
        self.mtus.get(link.0 as usize).copied().unwrap_or(0)
    }

    /// Sends `payload` as one IP packet or, when the link takes only less, in fragments.
    pub(crate) fn send_ip(&mut self, hop: Hop, header: &Header, payload: &[u8]) {
        let mtu = self.mtu(hop.link);
        let header_bytes = header.bytes();
        if header_bytes + payload.len() <= mtu {
            let mut packet = self.buffer();
            packet.resize(header_bytes, 0);
            header.write(&mut packet, payload.len(), 0, 0x4000);
            packet.extend_from_slice(payload);
            self.later.push((hop, packet));
            return;
        }
        self.identification = self.identification.wrapping_add(1);
        let identification = self.identification;
        let extra = if header.to.is_ipv4() { 0 } else { crate::reassembly::FRAGMENT_BYTES };
        let most = mtu.saturating_sub(header_bytes + extra) & !7;
        if most == 0 {
            return;
        }
        let pieces = payload.len().div_ceil(most);
        for (index, piece) in payload.chunks(most).enumerate() {
            let more = index + 1 < pieces;
            let offset = index * most;
            let mut packet = self.buffer();
            packet.resize(header_bytes + extra, 0);
            if extra == 0 {
                let flags = u16::from(more) << 13 | (offset / 8) as u16;
                header.write(&mut packet, piece.len(), identification as u16, flags);
            } else {
                let outer = Header { protocol: wire::protocol::FRAGMENT, ..*header };
                outer.write(&mut packet, extra + piece.len(), 0, 0);
                if let Some(extension) = packet.get_mut(header_bytes..) {
                    wire::put_u16(extension, 0, u16::from(header.protocol) << 8);
                    wire::put_u16(extension, 2, offset as u16 | u16::from(more));
                    wire::put_u32(extension, 4, identification);
                }
            }
            packet.extend_from_slice(piece);
            self.later.push((hop, packet));
        }
    }
}

impl Engine {
    /// Takes in what the devices have, a burst at a time.
    pub(crate) fn receive(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut more = false;
            let Self { core, links } = self;
            for link in links {
                let Link { device, side, .. } = link;
                let mut take =
                    |frame: &[u8], meta: ReceiveMeta| core.frame_input(side, frame, meta);
                // A burst that was not full left nothing behind.
                more |= (0..BURST).all(|_| device.receive(&mut take));
            }
            self.work();
            if !more {
                return;
            }
        }
    }

    /// Runs what is due: timers, the control side of the links.
    /// True when addresses, routes or name servers changed.
    pub(crate) fn expire(&mut self) -> bool {
        let now = self.core.now;
        if self.next().is_none_or(|next| next > now) {
            return false;
        }
        self.tcp_expire();
        self.core.reassembly.expire(now);
        let mut changed = false;
        for link in &mut self.links {
            changed |= link.side.control.poll(now, &mut |text| (self.core.log)(text));
        }
        if changed {
            self.addresses_changed();
        }
        self.ask_neighbors();
        self.send_control_frames();
        changed
    }

    fn addresses_changed(&mut self) {
        let routing = &mut self.core.routing;
        routing.addresses.clear();
        routing.routes.clear();
        for link in &self.links {
            routing.addresses.extend(link.side.control.addresses());
            routing.routes.extend(link.side.control.routes());
        }
    }

    fn ask_neighbors(&mut self) {
        let now = self.core.now;
        let mut failed = Waiting::default();
        for request in self.core.neighbors.poll(now, &mut failed) {
            let Some(link) = self.links.get_mut((request.link.0 as usize).wrapping_sub(1)) else {
                continue;
            };
            let source = self.core.routing.lookup(request.address, Some(request.link));
            let source = source.map(|hop| hop.source).ok();
            let frame = crate::input::neighbor_request(link.side.mac, request.address, source);
            link.side.control.outgoing.extend(frame);
        }
        self.core.tcp_neighbor(&failed.sockets, true);
        for packet in failed.packets {
            self.core.host_unreachable(&packet);
            self.core.recycle(packet);
        }
    }

    fn send_control_frames(&mut self) {
        for link in &mut self.links {
            let frames = core::mem::take(&mut link.side.control.outgoing);
            for frame in frames {
                send_frame(link, &frame);
            }
        }
    }

    /// Does what the last step left to do: segments, replies, packets to ourselves.
    pub(crate) fn work(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut idle = true;
            let mut dirty = self.core.tcp.take_dirty();
            for id in dirty.drain(..) {
                idle = false;
                self.tcp_output(id);
            }
            self.core.tcp.give_dirty(dirty);
            if !self.core.later.is_empty() {
                idle = false;
                let mut later = core::mem::take(&mut self.core.later);
                for (hop, packet) in later.drain(..) {
                    self.send_packet(hop, packet);
                }
                if self.core.later.is_empty() {
                    self.core.later = later;
                }
            }
            for _ in 0..BURST {
                let Some(looped) = self.core.loopback.pop_front() else { break };
                let Looped { buffer, bytes, link } = looped;
                idle = false;
                if link == LinkId::LOOPBACK {
                    let counters = &mut self.core.loopback_counters;
                    counters.received_packets += 1;
                    counters.received_bytes += bytes as u64;
                    counters.sent_packets += 1;
                    counters.sent_bytes += bytes as u64;
                }
                self.core.looped_input(link, buffer.get(..bytes).unwrap_or_default());
                self.core.recycle(buffer);
            }
            if idle {
                return;
            }
        }
    }

    /// Sends an IP packet to its next hop.
    fn send_packet(&mut self, hop: Hop, packet: Vec<u8>) {
        if hop.link == LinkId::LOOPBACK {
            if self.core.loopback.len() < LOOPBACK_MAX {
                self.core.loopback.push_back(packet.into());
            }
            return;
        }
        let Some(link) = self.links.get_mut(hop.link.0 as usize - 1) else { return };
        let mac = match group_mac(&self.core.routing, hop.via) {
            Some(mac) => mac,
            None => match self.core.neighbors.lookup(hop.link, hop.via, self.core.now) {
                Some(mac) => mac,
                None => {
                    self.core.neighbors.queue_packet(hop.link, hop.via, packet);
                    return;
                }
            },
        };
        let from = link.side.mac;
        let ipv6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let sent = link.device.transmit(
            ETHERNET_BYTES + packet.len(),
            TransmitMeta::default(),
            &mut |frame| {
                write_ethernet(frame, from, mac, ipv6);
                if let Some(body) = frame.get_mut(ETHERNET_BYTES..) {
                    body.copy_from_slice(&packet);
                }
            },
        );
        count_sent(link, packet.len(), sent);
        self.core.recycle(packet);
    }

    /// Tells the devices about what was queued.
    pub(crate) fn flush(&mut self) {
        if self.core.neighbors.next().is_some_and(|at| at <= self.core.now) {
            self.ask_neighbors();
            self.send_control_frames();
        }
        for link in &mut self.links {
            if core::mem::take(&mut link.touched) {
                link.device.flush();
            }
        }
    }

    /// When something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let core = &self.core;
        if !core.loopback.is_empty() || !core.later.is_empty() {
            return Some(core.now);
        }
        let mut first = core.tcp.next(core.now).unwrap_or(Instant::FAR);
        // Not by an iterator: this is asked with every call.
        for link in &self.links {
            first = first.min(link.side.control.next().unwrap_or(Instant::FAR));
        }
        first = first.min(core.neighbors.next().unwrap_or(Instant::FAR));
        first = first.min(core.reassembly.next().unwrap_or(Instant::FAR));
        (first != Instant::FAR).then_some(first)
    }
}

fn send_frame(link: &mut Link, frame: &[u8]) {
    let sent = link.device.transmit(frame.len(), TransmitMeta::default(), &mut |into| {
        into.copy_from_slice(frame);
    });
    count_sent(link, frame.len(), sent);
}

fn count_sent(link: &mut Link, bytes: usize, sent: bool) {
    link.touched |= sent;
    let counters = &mut link.side.counters;
    if sent {
        counters.sent_packets += 1;
        counters.sent_bytes += bytes as u64;
    } else {
        counters.sent_dropped += 1;
    }
}
