//! Netlink sockets of the routing family (rtnetlink(7)): programs list interfaces, addresses and
//! routes. Nothing can be changed by them.

use crate::route::{Assigned, LinkId};
use crate::stack::{InterfaceInfo, Stack};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source, take_all};
use base::sync::{Rank, SpinLock};
use core::net::IpAddr;
use sched::{Notifier, PollEvents};

/// Types of messages, and flags.
mod message {
    pub(super) const ERROR: u16 = 2;
    pub(super) const DONE: u16 = 3;
    pub(super) const NEWLINK: u16 = 16;
    pub(super) const GETLINK: u16 = 18;
    pub(super) const NEWADDR: u16 = 20;
    pub(super) const GETADDR: u16 = 22;
    pub(super) const NEWROUTE: u16 = 24;
    pub(super) const GETROUTE: u16 = 26;
    pub(super) const FLAG_REQUEST: u16 = 0x1;
    pub(super) const FLAG_MULTI: u16 = 0x2;
    pub(super) const FLAG_ACK: u16 = 0x4;
    pub(super) const FLAG_DUMP: u16 = 0x300;
}

/// Attributes.
mod attribute {
    pub(super) const LINK_ADDRESS: u16 = 1;
    pub(super) const LINK_BROADCAST: u16 = 2;
    pub(super) const LINK_NAME: u16 = 3;
    pub(super) const LINK_MTU: u16 = 4;
    pub(super) const LINK_QUEUE_LENGTH: u16 = 13;
    pub(super) const LINK_STATE: u16 = 16;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const ADDRESS_LOCAL: u16 = 2;
    pub(super) const ADDRESS_LABEL: u16 = 3;
    pub(super) const ADDRESS_BROADCAST: u16 = 4;
    pub(super) const ADDRESS_FLAGS: u16 = 8;
    pub(super) const ROUTE_DESTINATION: u16 = 1;
    pub(super) const ROUTE_INTERFACE: u16 = 4;
    pub(super) const ROUTE_GATEWAY: u16 = 5;
    pub(super) const ROUTE_SOURCE: u16 = 7;
}

const HEADER_BYTES: usize = 16;
/// A reply is cut into datagrams of about this many bytes, as Linux does it.
const DATAGRAM_BYTES: usize = 3_500;
/// Longest request taken.
const REQUEST_BYTES: usize = 4_096;
/// Datagrams that wait.
const QUEUE_MAX: usize = 256;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// Port numbers in use.
#[derive(Default)]
pub(crate) struct NetlinkPorts {
    used: SpinLock<Vec<u32>>,
}

#[derive(Default)]
struct State {
    port: u32,
    groups: u32,
    queue: VecDeque<Vec<u8>>,
}

/// A netlink socket.
pub struct NetlinkSocket {
    stack: Arc<Stack>,
    process: u32,
    raw: bool,
    state: SpinLock<State>,
    notifier: Notifier,
}

impl NetlinkSocket {
    /// An unbound socket of process `process`. `raw`: it was asked for as `SOCK_RAW`, which makes no difference.
    #[must_use]
    pub fn new(stack: &Arc<Stack>, process: u32, raw: bool) -> Arc<Self> {
        Arc::new(Self {
            stack: Arc::clone(stack),
            process,
            raw,
            state: SpinLock::ranked(Rank::Netlink, State::default()),
            notifier: Notifier::new(),
        })
    }

    /// It was asked for as `SOCK_RAW`, not as `SOCK_DGRAM`.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Who tells when there is something to receive.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// bind(2). Port 0: the process's number, or another if that is taken. Groups are accepted;
    /// nothing is ever announced in them but what [`Stack::configuration`] tells the kernel.
    ///
    /// # Errors
    /// `EADDRINUSE`. `EINVAL`: bound to another port.
    pub fn bind(&self, port: u32, groups: u32) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.port != 0 {
            state.groups = groups;
            return if port == 0 || port == state.port { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let mut used = self.stack.netlink.used.lock();
        let chosen = if port != 0 {
            port
        } else if !used.contains(&self.process) {
            self.process
        } else {
            // Linux takes negative numbers for the second socket of a process and on.
            (0..=u32::MAX >> 1)
                .map(|step| 0u32.wrapping_sub(4097).wrapping_sub(step))
                .find(|port| !used.contains(port))
                .ok_or(Errno::EADDRINUSE)?
        };
        if used.contains(&chosen) {
            return Err(Errno::EADDRINUSE);
        }
        used.push(chosen);
        state.port = chosen;
        state.groups = groups;
        Ok(())
    }

    /// getsockname(2): port and groups.
    #[must_use]
    pub fn local(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.port, state.groups)
    }

    /// Sends a request; the answer waits at once.
    ///
    /// # Errors
    /// `EMSGSIZE`: too long. `EFAULT`. `ENOBUFS`: too many answers wait.
    pub fn send(&self, source: &mut dyn Source) -> Result<usize, Errno> {
        self.bind(0, 0)
            .or_else(|errno| if errno == Errno::EINVAL { Ok(()) } else { Err(errno) })?;
        let length = source.remaining();
        if length > REQUEST_BYTES {
            return Err(Errno::EMSGSIZE);
        }
        let bytes = take_all(source, 0)?;
        let mut rest = bytes.as_slice();
        while let Some(request) = Request::parse(rest) {
            let port = self.local().0;
            let answers = self.answer(&request, port);
            let mut state = self.state.lock();
            if state.queue.len() + answers.len() > QUEUE_MAX {
                return Err(Errno::ENOBUFS);
            }
            state.queue.extend(answers);
            drop(state);
            rest = rest.get(request.length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.notifier.notify(PollEvents::READABLE);
        Ok(length)
    }

    /// Receives a datagram: (stored, its length).
    ///
    /// # Errors
    /// `EAGAIN`: none. `EFAULT`.
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<(usize, usize), Errno> {
        let next = {
            let mut state = self.state.lock();
            if peek { state.queue.front().cloned() } else { state.queue.pop_front() }
        };
        let datagram = next.ok_or(Errno::EAGAIN)?;
        let stored = if sink.room() == 0 { 0 } else { sink.put(&datagram)? };
        Ok((stored, datagram.len()))
    }

    /// What the socket is ready for.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        let waits = !self.state.lock().queue.is_empty();
        let readable = if waits { PollEvents::READABLE } else { PollEvents::empty() };
        readable | PollEvents::WRITABLE
    }

    /// The last descriptor was closed.
    pub fn close(&self) {
        let port = core::mem::take(&mut self.state.lock().port);
        self.stack.netlink.used.lock().retain(|used| *used != port);
    }

    fn answer(&self, request: &Request, port: u32) -> Vec<Vec<u8>> {
        let mut reply = Reply::new(request, port);
        let dump = request.flags & message::FLAG_DUMP != 0;
        match request.kind {
            _ if request.flags & message::FLAG_REQUEST == 0 => return Vec::new(),
            message::GETLINK => {
                let wanted = (!dump).then_some(request.index);
                let all = self.stack.interfaces();
                let mut chosen =
                    all.iter().filter(|row| wanted.is_none_or(|index| row.link.index() == index));
                if wanted.is_some() && chosen.clone().next().is_none() {
                    reply.error(Some(Errno::ENODEV), request);
                    return reply.finish();
                }
                chosen.by_ref().for_each(|interface| reply.link(interface, dump));
            }
            message::GETADDR if dump => {
                for interface in self.stack.interfaces() {
                    let of_family = |own: &&Assigned| match request.family {
                        FAMILY_V4 => own.address.is_ipv4(),
                        FAMILY_V6 => own.address.is_ipv6(),
                        _ => true,
                    };
                    for own in interface.addresses.iter().filter(of_family) {
                        reply.address(&interface, own);
                    }
                }
            }
            message::GETROUTE if dump => self.routes(&mut reply, request.family),
            _ => {
                reply.error(Some(Errno::EOPNOTSUPP), request);
                return reply.finish();
            }
        }
        if dump {
            reply.done();
        } else if request.flags & message::FLAG_ACK != 0 {
            reply.error(None, request);
        }
        reply.finish()
    }

    fn routes(&self, reply: &mut Reply, family: u8) {
        let of_family = |address: IpAddr| match family {
            FAMILY_V4 => address.is_ipv4(),
            FAMILY_V6 => address.is_ipv6(),
            _ => true,
        };
        for route in self.stack.routes() {
            if of_family(route.gateway) {
                reply.route(route.link, None, Some(route.gateway), None);
            }
        }
        for own in self.stack.addresses() {
            if of_family(own.address) {
                reply.route(own.link, Some((own.address, own.prefix)), None, Some(own.address));
            }
        }
    }
}

impl Drop for NetlinkSocket {
    fn drop(&mut self) {
        self.close();
    }
}

struct Request {
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
    /// The header, as an error repeats it.
    header: [u8; HEADER_BYTES],
    family: u8,
    index: u32,
}

impl Request {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let header: [u8; HEADER_BYTES] = *bytes.first_chunk()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER_BYTES)?;
        let body = whole.get(HEADER_BYTES..).unwrap_or_default();
        // Go sends a single byte of body: the family.
        let index = body.get(4..).and_then(|rest| rest.first_chunk());
        Some(Self {
            length,
            kind: u16::from_ne_bytes([e, f]),
            flags: u16::from_ne_bytes([g, h]),
            sequence: u32::from_ne_bytes([i, j, k, l]),
            header,
            family: body.first().copied().unwrap_or(0),
            index: index.map_or(0, |bytes| u32::from_ne_bytes(*bytes)),
        })
    }
}

/// Messages on their way to the program.
struct Reply {
    sequence: u32,
    port: u32,
    datagrams: Vec<Vec<u8>>,
    current: Vec<u8>,
}

impl Reply {
    fn new(request: &Request, port: u32) -> Self {
        Self { sequence: request.sequence, port, datagrams: Vec::new(), current: Vec::new() }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.current.is_empty() {
            self.datagrams.push(self.current);
        }
        self.datagrams
    }

    /// Adds a message: its body and attributes.
    fn add(&mut self, kind: u16, flags: u16, body: &[u8], attributes: &[(u16, &[u8])]) {
        if self.current.len() > DATAGRAM_BYTES {
            self.datagrams.push(core::mem::take(&mut self.current));
        }
        let mut message = Vec::with_capacity(128);
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&self.port.to_ne_bytes());
        message.extend_from_slice(body);
        for (number, value) in attributes {
            message.resize(message.len().next_multiple_of(4), 0);
            message.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            message.extend_from_slice(&number.to_ne_bytes());
            message.extend_from_slice(value);
        }
        // The padding of the last attribute counts: Go reads beyond it otherwise.
        message.resize(message.len().next_multiple_of(4), 0);
        let length = message.len() as u32;
        for (slot, byte) in message.iter_mut().zip(length.to_ne_bytes()) {
            *slot = byte;
        }
        self.current.extend_from_slice(&message);
    }

    fn done(&mut self) {
        // Linux sends it by itself.
        if !self.current.is_empty() {
            self.datagrams.push(core::mem::take(&mut self.current));
        }
        self.add(message::DONE, message::FLAG_MULTI, &[0; 4], &[]);
    }

    fn error(&mut self, errno: Option<Errno>, request: &Request) {
        let number = errno.map_or(0, |errno| -i32::from(errno.number()));
        let body = [number.to_ne_bytes().as_slice(), &request.header].concat();
        self.add(message::ERROR, 0, &body, &[]);
    }

    fn link(&mut self, interface: &InterfaceInfo, multi: bool) {
        const ETHERNET: u16 = 1;
        const LOOPBACK: u16 = 772;
        const STATE_UP: u8 = 6;
        const STATE_UNKNOWN: u8 = 0;
        let is_loopback = interface.link == LinkId::LOOPBACK;
        let kind = if is_loopback { LOOPBACK } else { ETHERNET };
        let mut body = alloc::vec![0, 0];
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(&interface.link.index().to_ne_bytes());
        body.extend_from_slice(&interface.flags().to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        let name = [interface.name.as_bytes(), &[0]].concat();
        let broadcast = if is_loopback { [0; 6] } else { [0xff; 6] };
        let state = if is_loopback { STATE_UNKNOWN } else { STATE_UP };
        let flags = if multi { message::FLAG_MULTI } else { 0 };
        self.add(
            message::NEWLINK,
            flags,
            &body,
            &[
                (attribute::LINK_NAME, &name),
                (attribute::LINK_QUEUE_LENGTH, &1000u32.to_ne_bytes()),
                (attribute::LINK_STATE, &[state]),
                (attribute::LINK_MTU, &(interface.mtu as u32).to_ne_bytes()),
                (attribute::LINK_ADDRESS, &interface.mac),
                (attribute::LINK_BROADCAST, &broadcast),
            ],
        );
    }

    fn address(&mut self, interface: &InterfaceInfo, own: &Assigned) {
        const PERMANENT: u8 = 0x80;
        const SCOPE_UNIVERSE: u8 = 0;
        const SCOPE_LINK: u8 = 253;
        const SCOPE_HOST: u8 = 254;
        let scope = match own.address {
            address if address.is_loopback() => SCOPE_HOST,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => SCOPE_LINK,
            _ => SCOPE_UNIVERSE,
        };
        let family = if own.address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
        let mut body = alloc::vec![family, own.prefix, PERMANENT, scope];
        body.extend_from_slice(&interface.link.index().to_ne_bytes());
        let flags = u32::from(PERMANENT).to_ne_bytes();
        match own.address {
            IpAddr::V4(v4) => {
                let name = [interface.name.as_bytes(), &[0]].concat();
                let host = u32::MAX.checked_shr(u32::from(own.prefix)).unwrap_or(0);
                let broadcast = (v4.to_bits() | host).to_be_bytes();
                let mut attributes: Vec<(u16, &[u8])> = alloc::vec![];
                let octets = v4.octets();
                attributes.push((attribute::ADDRESS, &octets));
                attributes.push((attribute::ADDRESS_LOCAL, &octets));
                if !v4.is_loopback() {
                    attributes.push((attribute::ADDRESS_BROADCAST, &broadcast));
                }
                attributes.push((attribute::ADDRESS_LABEL, &name));
                attributes.push((attribute::ADDRESS_FLAGS, &flags));
                self.add(message::NEWADDR, message::FLAG_MULTI, &body, &attributes);
            }
            IpAddr::V6(v6) => {
                let attributes: &[(u16, &[u8])] =
                    &[(attribute::ADDRESS, &v6.octets()), (attribute::ADDRESS_FLAGS, &flags)];
                self.add(message::NEWADDR, message::FLAG_MULTI, &body, attributes);
            }
        }
    }

    fn route(
        &mut self,
        link: LinkId,
        network: Option<(IpAddr, u8)>,
        gateway: Option<IpAddr>,
        source: Option<IpAddr>,
    ) {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_KERNEL: u8 = 2;
        const SCOPE_UNIVERSE: u8 = 0;
        const SCOPE_LINK: u8 = 253;
        const UNICAST: u8 = 1;
        let any = gateway.or(network.map(|row| row.0));
        let family = if any.is_some_and(|ip| ip.is_ipv4()) { FAMILY_V4 } else { FAMILY_V6 };
        let scope = if gateway.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
        let prefix = network.map_or(0, |row| row.1);
        let mut body =
            alloc::vec![family, prefix, 0, 0, TABLE_MAIN, PROTOCOL_KERNEL, scope, UNICAST];
        body.extend_from_slice(&[0; 4]);
        let network = network.map(|(address, prefix)| octets(masked(address, prefix)));
        let (gateway, source) = (gateway.map(octets), source.map(octets));
        let index = link.index().to_ne_bytes();
        let mut attributes: Vec<(u16, &[u8])> = Vec::new();
        if let Some(network) = &network {
            attributes.push((attribute::ROUTE_DESTINATION, network));
        }
        if let Some(gateway) = &gateway {
            attributes.push((attribute::ROUTE_GATEWAY, gateway));
        }
        if let Some(source) = &source {
            attributes.push((attribute::ROUTE_SOURCE, source));
        }
        attributes.push((attribute::ROUTE_INTERFACE, &index));
        self.add(message::NEWROUTE, message::FLAG_MULTI, &body, &attributes);
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}
