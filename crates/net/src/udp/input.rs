//! Datagrams in.

use super::{Datagram, Entry, FAILURES_MAX, Udp, UdpFailure, UdpOptions};
use crate::checksum;
use crate::engine::Core;
use crate::ports::Binding;
use crate::route::LinkId;
use crate::slab::Id;
use crate::wire::{Packet, UDP_BYTES, protocol};
use core::net::{IpAddr, SocketAddr};
use sched::PollEvents;

impl Core {
    /// A datagram for us. `checked`: its checksum is known to be right.
    pub(crate) fn udp_input(&mut self, link: LinkId, packet: &Packet<'_>, checked: bool) {
        let Some(header) = packet.payload.first_chunk::<UDP_BYTES>() else { return };
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let Some(whole) = packet.payload.get(..length) else { return };
        let Some(bytes) = whole.get(UDP_BYTES..) else { return };
        // No checksum is allowed over IPv4 only.
        let unsummed = header[6..] == [0, 0] && packet.to.is_ipv4();
        let valid =
            checked || unsummed || checksum::verify(packet.from, packet.to, protocol::UDP, whole);
        if !valid
            || packet.from.is_unspecified() && !packet.to.is_multicast() && !packet.to.is_ipv4()
        {
            return;
        }
        let from = SocketAddr::new(packet.from, u16::from_be_bytes([header[0], header[1]]));
        let port = u16::from_be_bytes([header[2], header[3]]);
        let came = self.now;
        let datagram = |bytes: &[u8]| Datagram {
            from,
            to: packet.to,
            link,
            traffic_class: packet.traffic_class,
            hop_limit: packet.hop_limit,
            came,
            dropped: 0,
            bytes: bytes.to_vec(),
        };
        if packet.to.is_multicast() || self.routing.is_broadcast(packet.to) {
            self.udp.deliver_to_all(port, from, link, packet.to, || datagram(bytes));
            return;
        }
        let hash = crate::wire::key(packet.from) as u64 ^ u64::from(from.port());
        match self.udp.receiver(packet.to, port, from, Some(link), hash) {
            Some(id) => self.udp.deliver(id, datagram(bytes)),
            None => {
                self.udp.counters.no_ports += 1;
                self.port_unreachable(link, packet);
            }
        }
    }

    /// A datagram from `local` did not arrive. A connected socket learns of it, and one that asked for
    /// more (`IP_RECVERR`).
    pub(crate) fn udp_error(&mut self, local: SocketAddr, failure: UdpFailure) {
        let receiver = self.udp.receiver(local.ip(), local.port(), failure.to, None, 0);
        let Some(id) = receiver else { return };
        let Ok(entry) = self.udp.get(id) else { return };
        let wants_all = entry.options.receive_errors;
        if entry.remote.is_none() && !wants_all {
            return;
        }
        entry.error = Some(failure.errno);
        if wants_all && entry.failures.len() < FAILURES_MAX {
            entry.failures.push_back(failure);
        }
        entry.notifier.notify(PollEvents::ERR | PollEvents::IN | PollEvents::OUT);
    }
}

/// How well a socket fits a datagram; `None`: not at all.
fn score(binding: &Binding, entry: &Entry, to: IpAddr, from: SocketAddr) -> Option<u8> {
    if !binding.covers(to) {
        return None;
    }
    let connected = match entry.remote {
        Some(remote) if remote.ip() == from.ip() && remote.port() == from.port() => 4,
        Some(_) => return None,
        None => 0,
    };
    Some(connected + binding.rank())
}

impl Entry {
    /// What the socket's filter says, which sees the header too. The checksum has been looked at and is
    /// not shown.
    #[cold]
    fn keeps(&self, datagram: &mut Datagram) -> bool {
        let Some(filter) = &self.filter else { return true };
        let port = self.local.map_or(0, |local| local.port());
        let length = (UDP_BYTES + datagram.bytes.len()) as u16;
        let mut header = [0; UDP_BYTES];
        for (slot, field) in
            header.as_chunks_mut().0.iter_mut().zip([datagram.from.port(), port, length])
        {
            *slot = field.to_be_bytes();
        }
        let kept = filter.run(&header, &datagram.bytes);
        datagram.bytes.truncate(kept.saturating_sub(UDP_BYTES));
        kept > 0
    }
}

impl Udp {
    /// The socket for a datagram from `from` to `to`: connected before bound before wildcard;
    /// among equals (`SO_REUSEPORT`) by hash, else the newest. `link`: where it comes from, if that counts.
    fn receiver(
        &self,
        to: IpAddr,
        port: u16,
        from: SocketAddr,
        link: Option<LinkId>,
        hash: u64,
    ) -> Option<Id> {
        let mut best: Option<(u8, Id)> = None;
        let mut equals = 0;
        for binding in self.ports.bindings(port) {
            let Some(entry) = self.entries.get(binding.socket) else { continue };
            if link.is_some_and(|link| !binding.hears(link)) {
                continue;
            }
            let Some(score) = score(binding, entry, to, from) else { continue };
            match best {
                Some((most, _)) if score < most => {}
                Some((most, _)) if score == most && binding.sharing.reuse_port => {
                    equals += 1;
                    if hash % (equals + 1) == equals {
                        best = Some((score, binding.socket));
                    }
                }
                _ => {
                    equals = 0;
                    best = Some((score, binding.socket));
                }
            }
        }
        best.map(|row| row.1)
    }

    fn deliver_to_all(
        &mut self,
        port: u16,
        from: SocketAddr,
        link: LinkId,
        to: IpAddr,
        datagram: impl Fn() -> Datagram,
    ) {
        let count = self.ports.bindings(port).len();
        for at in 0..count {
            let Some(binding) = self.ports.bindings(port).get(at).copied() else { break };
            let Some(entry) = self.entries.get(binding.socket) else { continue };
            // Also what others of this machine are members for (IP_MULTICAST_ALL).
            let UdpOptions { multicast_all, multicast_all_v6, .. } = entry.options;
            let member = !to.is_multicast()
                || (if to.is_ipv4() { multicast_all } else { multicast_all_v6 })
                || entry.groups.contains(&(link, to));
            // Bound to one unicast address: no group or broadcast reaches it.
            let fits = match binding.address {
                Some(own) => own == to,
                None => binding.covers(to),
            };
            let peer = entry.remote.is_none_or(|remote| remote == from);
            if member && fits && peer && link.is_for(entry.options.device) {
                self.deliver(binding.socket, datagram());
            }
        }
    }

    fn deliver(&mut self, id: Id, mut datagram: Datagram) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let wanted = entry.filter.is_none() || entry.keeps(&mut datagram);
        let fits = entry.queued + datagram.charge() <= entry.options.receive_buffer.max(4096);
        if !wanted || !fits || entry.receive_shutdown {
            self.counters.receive_drops += 1;
            entry.dropped = entry.dropped.wrapping_add(1);
            return;
        }
        datagram.dropped = entry.dropped;
        self.counters.received += 1;
        entry.queued += datagram.charge();
        entry.queue.push_back(datagram);
        entry.notifier.notify(PollEvents::READABLE);
    }
}
