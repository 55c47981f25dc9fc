//! Segments in.

use super::connection::{ACK_DELAY, Cause, Connection};
use super::segment::{Port, Segment, Way, flag};
use super::timewait::Answer;
use super::{Entry, Role, Tuple};
use crate::checksum;
use crate::control::to_smoltcp;
use crate::engine::Core;
use crate::route::LinkId;
use crate::slab::Id;
use crate::spare::Spare;
use crate::wire::{self, IPV6_BYTES, Packet, protocol};
use alloc::boxed::Box;
use base::Errno;
use core::net::SocketAddr;
use sched::PollEvents;
use smoltcp::iface::{Config, Interface};
use smoltcp::socket::tcp::State;
use smoltcp::wire::{HardwareAddress, IpListenEndpoint};

impl Core {
    /// A TCP segment arrived. `checked`: its checksum is known to be right.
    pub(crate) fn tcp_input(&mut self, link: LinkId, packet: &Packet<'_>, checked: bool) {
        let Some(segment) = Segment::parse(packet.payload) else { return };
        if !wire::is_unicast(packet.from) || !wire::is_unicast(packet.to) {
            return;
        }
        // The engine reads the packet again, and knows no extension headers.
        if packet.to.is_ipv6() && packet.bytes.len() - packet.payload.len() != IPV6_BYTES {
            return;
        }
        if !checked && !checksum::verify(packet.from, packet.to, protocol::TCP, packet.payload) {
            return;
        }
        self.tcp.counters.received += 1;
        let tuple = Tuple::of(packet.to, segment.to, packet.from, segment.from);
        if let Some(&id) = self.tcp.tuples.get(&tuple) {
            if self.tcp.takes(id, packet) {
                self.tcp_arrival(id, packet, &segment);
            }
            return;
        }
        if let Some(answer) = self.tcp.time_wait.input(&tuple, &segment, self.now) {
            match answer {
                Answer::Nothing => return,
                Answer::Acknowledge(reply) => {
                    self.tcp_answer(packet.to, packet.from, link, &reply);
                    return;
                }
                Answer::Reset(reply) => {
                    self.tcp_forget_remains(&tuple);
                    self.tcp_answer(packet.to, packet.from, link, &reply);
                    return;
                }
                Answer::Forget => return self.tcp_forget_remains(&tuple),
                Answer::Reopen => self.tcp_forget_remains(&tuple),
            }
        }
        let opens = segment.has(flag::SYN) && !segment.has(flag::ACK | flag::RST | flag::FIN);
        let hash = self.random();
        let listener =
            if opens { self.tcp.listener(packet.to, segment.to, link, hash) } else { None };
        if let Some(listener) = listener {
            if self.tcp.takes(listener, packet) {
                self.tcp_syn(listener, tuple, &segment, link, packet);
            }
        } else if !segment.has(flag::RST) {
            self.tcp.counters.resets_sent += 1;
            self.tcp_answer(packet.to, packet.from, link, &segment.reset());
        }
    }

    pub(crate) fn tcp_forget_remains(&mut self, tuple: &Tuple) {
        if let Some(local) = self.tcp.time_wait.remove(tuple) {
            self.tcp.ports.connection_removed(local);
        }
    }

    /// A segment for a connection.
    fn tcp_arrival(&mut self, id: Id, packet: &Packet<'_>, segment: &Segment) {
        let now = self.now;
        let Some(connection) =
            self.tcp.entries.get_mut(id).and_then(|entry| entry.connection_mut())
        else {
            return;
        };
        let before = connection.snapshot();
        let owed_nothing = connection.owes_nothing();
        let expected = connection.expected();
        if !connection.arriving(segment, now) {
            return;
        }
        if let Some(acknowledgement) = connection.refused_acknowledgement(segment) {
            let bytes = acknowledgement.packet(packet.from, packet.to, self.buffer());
            self.tcp_feed(id, &bytes);
            self.recycle(bytes);
        }
        self.tcp_feed(id, packet.bytes);
        let Some(connection) =
            self.tcp.entries.get_mut(id).and_then(|entry| entry.connection_mut())
        else {
            return;
        };
        if let Some(fin) = connection.ignored_fin(segment) {
            let bytes = fin.packet(packet.from, packet.to, self.buffer());
            self.tcp_feed(id, &bytes);
            self.recycle(bytes);
        }
        if segment.has(flag::URG) {
            self.tcp_urgent(id, segment, expected);
        }
        self.tcp_settle(id, before, Cause::Arrival);
        let Some(entry) = self.tcp.entries.get_mut(id) else { return };
        let Entry { options, role: Role::Connection(connection), .. } = entry.as_mut() else {
            return;
        };
        if connection.is_content(options, owed_nothing) {
            if owed_nothing {
                self.tcp.arm_later(id, now);
            } else {
                // What was owed before is due earlier.
                self.tcp.arm_by(id, now + ACK_DELAY);
            }
        } else {
            self.tcp.mark_dirty(id);
        }
    }

    /// A segment tells of urgent data: as BSD and Linux have it, the byte before the one it points at.
    #[cold]
    fn tcp_urgent(&mut self, id: Id, segment: &Segment, expected: Option<u32>) {
        let Some(entry) = self.tcp.entries.get_mut(id) else { return };
        let pointer = u32::from(segment.urgent.saturating_sub(1));
        let at = segment.sequence.wrapping_add(pointer);
        let inline = entry.options.urgent_inline;
        let came = |connection: &mut Connection| connection.urgent_came(at, expected, inline);
        if entry.connection_mut().is_some_and(came) {
            entry.notify(PollEvents::PRI);
        }
    }

    /// Gives the engine a packet for a connection.
    fn tcp_feed(&mut self, id: Id, bytes: &[u8]) {
        let Self { tcp, replies, spare, later, now, mtus, .. } = self;
        let Some(Role::Connection(connection)) =
            tcp.entries.get_mut(id).map(|entry| &mut entry.role)
        else {
            return;
        };
        let hop = connection.hop;
        let link = hop.link.0 as usize;
        let Some(Some((interface, capabilities))) = tcp.engines.get_mut(link) else { return };
        let mut sent = connection.sent_before(mtus.get(link).copied().unwrap_or(0));
        let mut port = Port {
            received: Some(bytes),
            way: Way::Later { packets: replies, spare },
            sent: &mut sent,
            capabilities,
            ipv6: connection.remote.is_ipv6(),
        };
        interface.poll_ingress_single(to_smoltcp(*now), &mut port, &mut connection.ring.set);
        connection.departed(&sent, *now);
        later.extend(replies.drain(..).map(|packet| (hop, packet)));
    }

    /// Gives the engine of a link a fresh, unpredictable source of initial sequence numbers.
    pub(crate) fn tcp_reseed(&mut self, link: LinkId) {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = self.random();
        let now = to_smoltcp(self.now);
        if let Some(Some((interface, capabilities))) = self.tcp.engines.get_mut(link.0 as usize) {
            *interface = new_interface(config, capabilities, now);
        }
    }

    /// Makes the engine for a link.
    pub(crate) fn tcp_attach(&mut self, link: LinkId, capabilities: &base::link::LinkCapabilities) {
        let capabilities = super::segment::capabilities(capabilities);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = self.random();
        let interface = new_interface(config, &capabilities, to_smoltcp(self.now));
        let at = link.0 as usize;
        while self.tcp.engines.len() <= at {
            self.tcp.engines.push(None);
        }
        if let Some(slot) = self.tcp.engines.get_mut(at) {
            *slot = Some((interface, capabilities));
        }
    }

    /// Somebody wants to connect to a listener.
    fn tcp_syn(
        &mut self,
        listener_id: Id,
        tuple: Tuple,
        segment: &Segment,
        link: LinkId,
        packet: &Packet<'_>,
    ) {
        let Some(entry) = self.tcp.entries.get(listener_id) else { return };
        let Role::Listener(listener) = &entry.role else { return };
        let full = listener.half_open + listener.ready.len() > listener.backlog;
        if full || !self.tcp.rings.has_room() {
            self.tcp.counters.listen_drops += 1;
            return;
        }
        let (family, options) = (entry.family, entry.options);
        let scope = (link != LinkId::LOOPBACK).then_some(link);
        let Ok(hop) = self.routing.lookup(packet.from, scope) else { return };
        let local = SocketAddr::new(packet.to, segment.to);
        let remote = SocketAddr::new(packet.from, segment.from);
        let ring = self.tcp.rings.take(&options);
        let mut connection = Box::new(Connection::new(ring, tuple, local, remote, hop, self.now));
        connection.parent = Some(listener_id);
        connection.prepare(&options);
        let endpoint = IpListenEndpoint { addr: Some(local.ip().into()), port: local.port() };
        let listening = connection.socket_mut().listen(endpoint).is_ok();
        self.tcp_reseed(hop.link);
        if listening {
            self.tcp_open(&mut connection, packet);
        }
        if connection.socket().state() != State::SynReceived {
            self.tcp.rings.give(connection.ring);
            return;
        }
        let mut child = Box::new(Entry::new(family, options));
        child.multipath = self.tcp_multipath(listener_id, &tuple, link);
        child.open = false;
        child.local = Some(local);
        connection.linked = true;
        connection.counted = true;
        child.role = Role::Connection(connection);
        let id = self.tcp.entries.insert(child);
        self.tcp.tuples.insert(tuple, id);
        self.tcp.ports.connection_added(local);
        if let Some(entry) = self.tcp.entries.get_mut(listener_id)
            && let Role::Listener(listener) = &mut entry.role
        {
            listener.half_open += 1;
        }
        self.tcp.mark_dirty(id);
    }

    /// Gives a new connection its first segment.
    fn tcp_open(&mut self, connection: &mut Connection, packet: &Packet<'_>) {
        let Self { tcp, replies, spare, now, .. } = self;
        let link = connection.hop.link.0 as usize;
        let Some(Some((interface, capabilities))) = tcp.engines.get_mut(link) else { return };
        let mut sent = super::segment::Sent::default();
        let mut port = Port {
            received: Some(packet.bytes),
            way: Way::Later { packets: replies, spare },
            sent: &mut sent,
            capabilities,
            ipv6: packet.to.is_ipv6(),
        };
        interface.poll_ingress_single(to_smoltcp(*now), &mut port, &mut connection.ring.set);
        // A reply here would be a reset: the socket did not like the segment.
        replies.drain(..).for_each(|reply| spare.give(reply));
    }

    /// An ICMP message says that a connection's segments do not arrive.
    pub(crate) fn tcp_unreachable(&mut self, tuple: &Tuple, sequence: u32, errno: Errno) {
        let Some(&id) = self.tcp.tuples.get(tuple) else { return };
        let Some(connection) = self.tcp.entries.get(id).and_then(|entry| entry.connection()) else {
            return;
        };
        // Only while connecting, and only when it quotes what we sent (RFC 5927).
        let sent = connection.highest_sent();
        let quotes = sent == Some(sequence.wrapping_add(1));
        if connection.socket().state() == State::SynSent && quotes {
            self.tcp_fail(id, errno);
        }
    }

    /// Connections that wait for a neighbour: it answered, or (`failed`) it did not.
    pub(crate) fn tcp_neighbor(&mut self, sockets: &[Id], failed: bool) {
        for &id in sockets {
            let Some(connection) =
                self.tcp.entries.get_mut(id).and_then(|entry| entry.connection_mut())
            else {
                continue;
            };
            connection.waiting_neighbor = false;
            let closed = connection.socket().state() == State::Closed;
            if failed && (closed || !connection.established) {
                self.tcp_fail(id, Errno::EHOSTUNREACH);
            } else {
                self.tcp.mark_dirty(id);
            }
        }
    }
}

fn new_interface(
    config: Config,
    capabilities: &smoltcp::phy::DeviceCapabilities,
    now: smoltcp::time::Instant,
) -> Interface {
    let (mut packets, mut spare) = (alloc::vec::Vec::new(), Spare::new(0));
    let mut port = Port {
        received: None,
        way: Way::Later { packets: &mut packets, spare: &mut spare },
        sent: &mut super::segment::Sent::default(),
        capabilities,
        ipv6: false,
    };
    let mut interface = Interface::new(config, &mut port, now);
    // Packets come here only when they are for us.
    interface.set_any_ip(true);
    interface
}
