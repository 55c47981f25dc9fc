//! Which socket has which port: bind(2)'s rules.

use crate::hash::{KeyedMap, KeyedState, give_room_back};
use crate::route::LinkId;
use crate::slab::Id;
use alloc::vec::Vec;
use base::Errno;
use core::net::{IpAddr, SocketAddr};

/// Ports given to sockets that ask for none (Linux: `net.ipv4.ip_local_port_range`).
pub(crate) const EPHEMERAL: core::ops::RangeInclusive<u16> = 32_768..=60_999;

/// The address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

/// With whom a socket shares its port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: bool,
    /// The only interface that it uses (`SO_BINDTODEVICE`).
    pub(crate) device: Option<LinkId>,
}

/// A socket's claim on a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) socket: Id,
    /// `None`: all addresses of the family (and IPv4 too, for IPv6 unless `v6_only`).
    pub(crate) address: Option<IpAddr>,
    pub(crate) family: Family,
    pub(crate) v6_only: bool,
    pub(crate) sharing: Sharing,
    /// TCP: accepts connections.
    pub(crate) listening: bool,
}

impl Binding {
    /// True when packets to `address` may be for this socket.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        match self.address {
            Some(own) => own == address,
            None => match self.family {
                Family::V4 => address.is_ipv4(),
                Family::V6 => address.is_ipv6() || !self.v6_only,
            },
        }
    }

    /// How much rather it has a packet than another that has it too: bound to the address before
    /// bound to the interface.
    pub(crate) fn rank(&self) -> u8 {
        u8::from(self.address.is_some()) * 2 + u8::from(self.sharing.device.is_some())
    }

    /// True when it has the packets of this interface.
    pub(crate) fn hears(&self, link: LinkId) -> bool {
        link.is_for(self.sharing.device)
    }

    fn overlaps(&self, other: &Self) -> bool {
        if let (Some(one), Some(two)) = (self.sharing.device, other.sharing.device)
            && one != two
        {
            return false;
        }
        match (self.address, other.address) {
            (Some(one), Some(two)) => one == two,
            (Some(one), None) => other.covers(one),
            (None, Some(two)) => self.covers(two),
            (None, None) => {
                self.family == other.family
                    || ![self, other]
                        .iter()
                        .any(|binding| binding.family == Family::V6 && binding.v6_only)
            }
        }
    }
}

#[derive(Default)]
struct Port {
    bindings: Vec<Binding>,
    /// Connections on the port beside those of its bindings, accepted ones and remains: on which address of ours, and
    /// how many.
    connections: Vec<(IpAddr, usize)>,
}

/// The ports of one protocol.
pub(crate) struct Ports {
    ports: KeyedMap<u16, Port>,
    /// Both sockets having `SO_REUSEADDR` is enough even while one listens: UDP's rule.
    lenient: bool,
}

impl Ports {
    pub(crate) fn new(hash: KeyedState, lenient: bool) -> Self {
        Self { ports: KeyedMap::with_hasher(hash), lenient }
    }

    /// True when `other`, which is there, keeps `one` out.
    fn conflicts(&self, one: &Binding, other: &Binding) -> bool {
        let (own, others) = (one.sharing, other.sharing);
        if !one.overlaps(other) || (own.reuse_port && others.reuse_port) {
            return false;
        }
        let lenient = self.lenient || !other.listening;
        !(own.reuse_address && others.reuse_address && lenient)
    }

    /// Claims `port` for `binding`.
    ///
    /// # Errors
    /// `EADDRINUSE`.
    pub(crate) fn bind(&mut self, port: u16, binding: Binding) -> Result<(), Errno> {
        if let Some(row) = self.ports.get(&port) {
            let others = row.bindings.iter().filter(|other| other.socket != binding.socket);
            let taken = others.clone().any(|other| self.conflicts(&binding, other));
            let connected = row.connections.iter().any(|(address, _)| binding.covers(*address));
            if taken || (connected && !binding.sharing.reuse_address && !binding.sharing.reuse_port)
            {
                return Err(Errno::EADDRINUSE);
            }
        }
        let row = self.ports.entry(port).or_default();
        row.bindings.retain(|other| other.socket != binding.socket);
        row.bindings.push(binding);
        Ok(())
    }

    /// Claims a free port. `random` chooses where the search begins.
    ///
    /// # Errors
    /// `EADDRINUSE`: none is free.
    pub(crate) fn bind_any(&mut self, binding: Binding, random: u64) -> Result<u16, Errno> {
        let first = *EPHEMERAL.start();
        let count = u64::from(*EPHEMERAL.end() - first) + 1;
        for step in 0..count {
            let port = first + ((random.wrapping_add(step)) % count) as u16;
            let free = self.ports.get(&port).is_none_or(|row| {
                row.connections.is_empty()
                    && !row.bindings.iter().any(|other| binding.overlaps(other))
            });
            if free {
                self.bind(port, binding)?;
                return Ok(port);
            }
        }
        Err(Errno::EADDRINUSE)
    }

    /// Gives up the claim.
    pub(crate) fn unbind(&mut self, port: u16, socket: Id) {
        if let Some(row) = self.ports.get_mut(&port) {
            row.bindings.retain(|binding| binding.socket != socket);
        }
        self.drop_if_empty(port);
    }

    /// The socket shares the port otherwise from now on: who is bound later meets that.
    pub(crate) fn share(&mut self, port: u16, socket: Id, sharing: Sharing) {
        let bindings = self.ports.get_mut(&port).map(|row| row.bindings.as_mut_slice());
        let own = bindings.unwrap_or_default().iter_mut().find(|binding| binding.socket == socket);
        if let Some(own) = own {
            own.sharing = sharing;
        }
    }

    fn drop_if_empty(&mut self, port: u16) {
        let is_empty = |row: &Port| row.bindings.is_empty() && row.connections.is_empty();
        if self.ports.get(&port).is_some_and(is_empty) {
            self.ports.remove(&port);
            give_room_back(&mut self.ports);
        }
    }

    /// Counts a connection on the port.
    pub(crate) fn connection_added(&mut self, local: SocketAddr) {
        let connections = &mut self.ports.entry(local.port()).or_default().connections;
        match connections.iter_mut().find(|(address, _)| *address == local.ip()) {
            Some((_, count)) => *count += 1,
            None => connections.push((local.ip(), 1)),
        }
    }

    /// Uncounts it.
    pub(crate) fn connection_removed(&mut self, local: SocketAddr) {
        if let Some(row) = self.ports.get_mut(&local.port())
            && let Some(at) = row.connections.iter().position(|(address, _)| *address == local.ip())
            && let Some((_, count)) = row.connections.get_mut(at)
        {
            *count -= 1;
            if *count == 0 {
                row.connections.swap_remove(at);
            }
        }
        self.drop_if_empty(local.port());
    }

    /// True when a socket is bound to the port: connect(2) does not choose it.
    pub(crate) fn is_claimed(&self, port: u16) -> bool {
        self.ports.get(&port).is_some_and(|row| !row.bindings.is_empty())
    }

    /// The sockets bound to the port.
    pub(crate) fn bindings(&self, port: u16) -> &[Binding] {
        self.ports.get(&port).map_or(&[], |row| &row.bindings)
    }

    /// Marks the socket as listening.
    ///
    /// # Errors
    /// `EADDRINUSE`: another listens where both may not.
    pub(crate) fn listen(&mut self, port: u16, socket: Id) -> Result<(), Errno> {
        let bindings = self.bindings(port);
        let Some(own) = bindings.iter().find(|binding| binding.socket == socket) else {
            return Err(Errno::EADDRINUSE);
        };
        let own = Binding { listening: true, ..*own };
        let mut others = bindings.iter().filter(|other| other.socket != socket);
        if others.any(|other| self.conflicts(&own, other)) {
            return Err(Errno::EADDRINUSE);
        }
        if let Some(row) = self.ports.get_mut(&port)
            && let Some(place) = row.bindings.iter_mut().find(|binding| binding.socket == socket)
        {
            *place = own;
        }
        Ok(())
    }
}
