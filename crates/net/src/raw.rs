//! Raw sockets (raw(7)) and ping sockets (icmp(7)): packets of one IP protocol.

use crate::address::{Foreign, bind_address, connect_address, shown, unspecified};
use crate::checksum;
use crate::engine::{Core, Engine};
use crate::filter::Filter;
use crate::ports::Family;
use crate::route::LinkId;
use crate::slab::{Id, Slab};
use crate::stack::Stack;
use crate::udp::{Received, SendOptions};
use crate::wire::{self, Header, IPV4_BYTES, Packet, protocol};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source, take_all};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use sched::{Notifier, PollEvents};

/// What setsockopt(2) set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawOptions {
    /// `IP_HDRINCL`: the program writes the IPv4 header.
    pub header_included: bool,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`.
    pub hop_limit: u8,
    /// `IP_TOS`, `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `SO_RCVBUF` in bytes.
    pub receive_buffer: usize,
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// `SO_BINDTODEVICE`: the only interface that it uses.
    pub device: Option<LinkId>,
    /// `IP_FREEBIND`, `IP_TRANSPARENT`.
    pub foreign: Foreign,
}

struct Entry {
    family: Family,
    protocol: u8,
    /// A ping socket: echo messages with this identifier only.
    ping: Option<u16>,
    options: RawOptions,
    notifier: Arc<Notifier>,
    local: Option<IpAddr>,
    remote: Option<IpAddr>,
    queue: VecDeque<(Received, Vec<u8>)>,
    queued: usize,
    /// Packets that it had no room for.
    dropped: u32,
    /// `SO_ATTACH_FILTER`.
    filter: Option<Box<Filter>>,
}

/// What a packet is charged beside its bytes.
const OVERHEAD: usize = 256;
const PAYLOAD_MAX: usize = 65_535;
/// Echo, and its answers.
const ECHO: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];

/// All raw sockets.
#[derive(Default)]
pub(crate) struct Raw {
    entries: Slab<Entry>,
}

impl Raw {
    /// True when no socket looks at packets.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }
}

impl Entry {
    fn wants(&self, packet: &Packet<'_>) -> bool {
        let family = packet.to.is_ipv4() == (self.family == Family::V4);
        let addresses = self.local.is_none_or(|local| local == packet.to)
            && self.remote.is_none_or(|remote| remote == packet.from);
        let echo = self.ping.is_none_or(|identifier| {
            packet.payload.first().is_some_and(|kind| ECHO_REPLY.contains(kind))
                && wire::u16_at(packet.payload, 4) == Some(identifier)
        });
        family && self.protocol == packet.protocol && addresses && echo
    }
}

impl Core {
    /// Shows a packet to the raw sockets that want it.
    pub(crate) fn raw_input(&mut self, link: LinkId, packet: &Packet<'_>) {
        if self.raw.is_empty() {
            return;
        }
        let came = self.now;
        let wanting: Vec<Id> = {
            let all = self.raw.entries.iter();
            all.filter(|(_, entry)| link.is_for(entry.options.device) && entry.wants(packet))
                .map(|(id, _)| id)
                .collect()
        };
        for id in wanting {
            let Some(entry) = self.raw.entries.get_mut(id) else { continue };
            // A raw IPv4 socket gets the header too.
            let with_header = entry.ping.is_none() && entry.family == Family::V4;
            let mut bytes = if with_header { packet.bytes } else { packet.payload };
            if let Some(filter) = &entry.filter {
                let kept = filter.run(&[], bytes);
                if kept == 0 {
                    continue;
                }
                bytes = bytes.get(..kept).unwrap_or(bytes);
            }
            if entry.queued + bytes.len() + OVERHEAD > entry.options.receive_buffer {
                entry.dropped = entry.dropped.wrapping_add(1);
                continue;
            }
            entry.queued += bytes.len() + OVERHEAD;
            let received = Received {
                stored: 0,
                length: bytes.len(),
                from: SocketAddr::new(packet.from, 0),
                to: packet.to,
                link,
                traffic_class: packet.traffic_class,
                hop_limit: packet.hop_limit,
                came,
                dropped: entry.dropped,
            };
            entry.queue.push_back((received, bytes.to_vec()));
            entry.notifier.notify(PollEvents::READABLE);
        }
    }
}

/// A raw or ping socket. Dropping it closes it.
pub struct RawSocket {
    stack: Arc<Stack>,
    id: Id,
    family: Family,
    protocol: u8,
    ping: bool,
    notifier: Arc<Notifier>,
    closed: AtomicBool,
}

impl RawSocket {
    /// `SO_ATTACH_FILTER`, `SO_DETACH_FILTER`: the filter that was attached.
    pub fn set_filter(&self, filter: Option<Box<Filter>>) -> Option<Box<Filter>> {
        let mut engine = self.stack.engine.lock();
        let entry = engine.core.raw.entries.get_mut(self.id)?;
        core::mem::replace(&mut entry.filter, filter)
    }

    /// A socket for packets of `protocol`; with `ping`, for echo messages of its own only.
    #[must_use]
    pub fn new(stack: &Arc<Stack>, family: Family, protocol: u8, ping: bool) -> Arc<Self> {
        let notifier = Arc::new(Notifier::new());
        let mut engine = stack.engine.lock();
        let identifier = ping.then_some(engine.core.random() as u16 | 1);
        let id = engine.core.raw.entries.insert(Entry {
            dropped: 0,
            filter: None,
            family,
            protocol,
            ping: identifier,
            options: RawOptions {
                foreign: Foreign::default(),
                header_included: false,
                hop_limit: 64,
                traffic_class: 0,
                receive_buffer: 212_992,
                broadcast: false,
                device: None,
            },
            notifier: Arc::clone(&notifier),
            local: None,
            remote: None,
            queue: VecDeque::new(),
            queued: 0,
        });
        drop(engine);
        let closed = AtomicBool::new(false);
        Arc::new(Self { stack: Arc::clone(stack), id, family, protocol, ping, notifier, closed })
    }

    /// Its address family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its protocol.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// True for a ping socket.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        self.ping
    }

    /// Who tells when there is something to receive.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    fn look<R>(&self, f: impl FnOnce(&mut Entry) -> R) -> Result<R, Errno> {
        let mut engine = self.stack.engine.lock();
        engine.core.raw.entries.get_mut(self.id).map(f).ok_or(Errno::EBADF)
    }

    /// bind(2): only packets to this address; of a ping socket, the port is its identifier.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL`, `EAFNOSUPPORT`, `EINVAL`.
    pub fn bind(&self, address: SocketAddr) -> Result<(), Errno> {
        let mut engine = self.stack.engine.lock();
        let ip = bind_address(self.family, false, address.ip())?;
        let core = &mut engine.core;
        let entry = core.raw.entries.get_mut(self.id).ok_or(Errno::EBADF)?;
        if !core.routing.may_bind(ip, entry.options.foreign) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        entry.local = (!ip.is_unspecified()).then_some(ip);
        if entry.ping.is_some() && address.port() != 0 {
            entry.ping = Some(address.port());
        }
        Ok(())
    }

    /// connect(2): only packets from this address, and there they go. `None`: anywhere again.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EAFNOSUPPORT`.
    pub fn connect(&self, address: Option<SocketAddr>) -> Result<(), Errno> {
        let mut engine = self.stack.engine.lock();
        let Some(address) = address else {
            engine.core.raw.entries.get_mut(self.id).ok_or(Errno::EBADF)?.remote = None;
            return Ok(());
        };
        let remote = connect_address(self.family, false, address)?.ip();
        let core = &mut engine.core;
        let entry = core.raw.entries.get_mut(self.id).ok_or(Errno::EBADF)?;
        let hop = core.routing.lookup_by(entry.options.device, remote, None)?;
        if entry.local.is_some_and(|own| !core.routing.may_send(own, entry.options.foreign)) {
            return Err(Errno::ENETUNREACH);
        }
        entry.remote = Some(remote);
        entry.local.get_or_insert(hop.source);
        Ok(())
    }

    /// Sends one packet: what follows the IP header, or with `IP_HDRINCL` all of it.
    ///
    /// # Errors
    /// `EDESTADDRREQ`, `EMSGSIZE`, `ENETUNREACH`, `EACCES` (broadcast), `EINVAL`, `EFAULT`.
    pub fn send(
        &self,
        source: &mut dyn Source,
        to: Option<SocketAddr>,
        options: &SendOptions,
    ) -> Result<usize, Errno> {
        let length = source.remaining();
        if length > PAYLOAD_MAX - IPV4_BYTES {
            return Err(Errno::EMSGSIZE);
        }
        let bytes = take_all(source, 0)?;
        self.stack.enter(|engine| engine.raw_send(self.id, bytes, to, options))?;
        Ok(length)
    }

    /// Receives one packet; what `sink` has no room for is lost, unless `peek`.
    ///
    /// # Errors
    /// `EAGAIN`: none. `EFAULT`.
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<Received, Errno> {
        let (received, bytes) = self.look(|entry| {
            if peek {
                return entry.queue.front().cloned().ok_or(Errno::EAGAIN);
            }
            let front = entry.queue.pop_front().ok_or(Errno::EAGAIN)?;
            entry.queued = entry.queued.saturating_sub(front.1.len() + OVERHEAD);
            Ok(front)
        })??;
        // The lock is open. What memory does not accept is lost, as on Linux.
        let stored = if sink.room() == 0 { 0 } else { sink.put(&bytes)? };
        Ok(Received { stored, from: shown(received.from, self.family), ..received })
    }

    /// getsockname(2); the port is the identifier of a ping socket, or the protocol.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        let protocol = u16::from(self.protocol);
        let own = self.look(|entry| (entry.local, entry.ping.unwrap_or(protocol)));
        let (local, port) = own.unwrap_or((None, protocol));
        SocketAddr::new(local.unwrap_or(unspecified(self.family)), port)
    }

    /// getpeername(2).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn peer_address(&self) -> Result<SocketAddr, Errno> {
        let remote = self.look(|entry| entry.remote)?;
        remote.map(|remote| SocketAddr::new(remote, 0)).ok_or(Errno::ENOTCONN)
    }

    /// The options.
    ///
    /// # Errors
    /// `EBADF`: closed.
    pub fn options(&self) -> Result<RawOptions, Errno> {
        self.look(|entry| entry.options)
    }

    /// Changes options.
    pub fn set_options(&self, change: impl Fn(&mut RawOptions)) {
        self.change_options(&change);
    }

    #[inline(never)]
    fn change_options(&self, change: &dyn Fn(&mut RawOptions)) {
        let _ = self.look(|entry| change(&mut entry.options));
    }

    /// Length of the next packet (`FIONREAD`).
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.look(|entry| entry.queue.front().map_or(0, |row| row.1.len())).unwrap_or(0)
    }

    /// What the socket is ready for.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        let waits = self.look(|entry| !entry.queue.is_empty()).unwrap_or(false);
        let readable = if waits { PollEvents::READABLE } else { PollEvents::empty() };
        readable | PollEvents::WRITABLE
    }

    /// The last descriptor was closed.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.stack.engine.lock().core.raw.entries.remove(self.id);
        }
    }
}

impl Drop for RawSocket {
    fn drop(&mut self) {
        self.close();
    }
}

impl Engine {
    fn raw_send(
        &mut self,
        id: Id,
        mut bytes: Vec<u8>,
        to: Option<SocketAddr>,
        options: &SendOptions,
    ) -> Result<(), Errno> {
        let core = &mut self.core;
        let entry = core.raw.entries.get(id).ok_or(Errno::EBADF)?;
        let to = match to {
            Some(to) => connect_address(entry.family, false, to)?.ip(),
            None => entry.remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        if core.routing.is_broadcast(to) && !entry.options.broadcast {
            return Err(Errno::EACCES);
        }
        let hop = core.routing.lookup_by(entry.options.device, to, options.link)?;
        let from = options.source.filter(|ip| !ip.is_unspecified());
        let bound = entry.local.filter(|_| from.is_none());
        if bound.is_some_and(|own| !core.routing.may_send(own, entry.options.foreign)) {
            return Err(Errno::ENETUNREACH);
        }
        let from = from.or(bound).unwrap_or(hop.source);
        if from.is_ipv4() != to.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        let header = Header {
            from,
            to,
            protocol: entry.protocol,
            hop_limit: options.hop_limit.unwrap_or(entry.options.hop_limit),
            traffic_class: options.traffic_class.unwrap_or(entry.options.traffic_class),
        };
        if entry.options.header_included && to.is_ipv4() {
            complete_header(&mut bytes, from)?;
            core.later.push((hop, bytes));
            return Ok(());
        }
        if let Some(identifier) = entry.ping {
            let is_echo = bytes.len() >= 8 && bytes.first().is_some_and(|kind| ECHO.contains(kind));
            if !is_echo {
                return Err(Errno::EINVAL);
            }
            wire::put_u16(&mut bytes, 4, identifier);
        }
        // Of ICMP for IPv6 the kernel makes the checksum always; of a ping also for IPv4.
        if entry.protocol == protocol::ICMPV6 || entry.ping.is_some() {
            wire::put_u16(&mut bytes, 2, 0);
            let pseudo = match to {
                IpAddr::V4(_) => 0,
                IpAddr::V6(_) => checksum::pseudo_header(from, to, protocol::ICMPV6, bytes.len()),
            };
            let sum = checksum::fold(checksum::sum(&bytes, pseudo));
            wire::put_u16(&mut bytes, 2, !sum);
        }
        core.send_ip(hop, &header, &bytes);
        Ok(())
    }
}

/// Fills in what the kernel fills in of a header that the program wrote: length, checksum, and a
/// source that was left out.
fn complete_header(bytes: &mut [u8], from: IpAddr) -> Result<(), Errno> {
    let total = bytes.len() as u16;
    let header_bytes = usize::from(bytes.first().ok_or(Errno::EINVAL)? & 15) * 4;
    let header = bytes.get_mut(..header_bytes).filter(|header| header.len() >= IPV4_BYTES);
    let header = header.ok_or(Errno::EINVAL)?;
    wire::put_u16(header, 2, total);
    if let (Some([0, 0, 0, 0]), IpAddr::V4(from)) = (header.get(12..16), from) {
        wire::put_u32(header, 12, from.to_bits());
    }
    wire::put_u16(header, 10, 0);
    let sum = checksum::checksum(header);
    wire::put_u16(header, 10, sum);
    Ok(())
}
