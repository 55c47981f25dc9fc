//! Which addresses are ours, and which way packets go.

use crate::address::Foreign;
use crate::wire;
use alloc::vec::Vec;
use base::Errno;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network interface. 0 is the loopback.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub(crate) u32);

impl LinkId {
    /// The loopback interface.
    pub const LOOPBACK: Self = Self(0);

    /// Linux's interface index: counts from 1, the loopback first.
    #[must_use]
    pub fn index(self) -> u32 {
        self.0 + 1
    }

    /// The interface with Linux's index `index`.
    #[must_use]
    pub fn from_index(index: u32) -> Option<Self> {
        index.checked_sub(1).map(Self)
    }

    /// True when a socket that uses `device` alone uses this interface (`None`: it uses all).
    pub(crate) fn is_for(self, device: Option<Self>) -> bool {
        device.is_none_or(|device| device == self)
    }
}

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// Of which interface.
    pub link: LinkId,
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix of its network in bits.
    pub prefix: u8,
}

/// A way to a network through a router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Over which interface.
    pub link: LinkId,
    /// Any address of the network.
    pub network: IpAddr,
    /// Length of its prefix in bits; 0 is the default route.
    pub prefix: u8,
    /// The router.
    pub gateway: IpAddr,
}

/// Where a packet goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hop {
    pub(crate) link: LinkId,
    /// Whose hardware address it is sent to: the destination or a router.
    pub(crate) via: IpAddr,
    /// The address that the packet should come from.
    pub(crate) source: IpAddr,
}

/// True when both addresses begin with the same `prefix` bits.
pub(crate) fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            (one.to_bits() ^ other.to_bits()) & mask == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            (one.to_bits() ^ other.to_bits()) & mask == 0
        }
        _ => false,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_link_scoped_multicast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.octets()[0] == 0xff && address.octets()[1] & 15 <= 2)
}

/// Addresses and routes of all interfaces.
#[derive(Default)]
pub(crate) struct Routing {
    pub(crate) addresses: Vec<Assigned>,
    pub(crate) routes: Vec<Route>,
}

impl Routing {
    /// True for every address that leads back to this machine.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.iter().any(|own| own.address == address)
    }

    /// True when packets can come from the address that a socket is bound to: not from a group.
    pub(crate) fn is_source(&self, bound: IpAddr) -> bool {
        wire::is_unicast(bound) && !self.is_broadcast(bound)
    }

    /// True when a socket may be bound to `address`.
    pub(crate) fn may_bind(&self, address: IpAddr, foreign: Foreign) -> bool {
        address.is_unspecified() || foreign.bind || foreign.send || self.is_local(address)
    }

    /// True when a socket that is bound to `address` may send. (That of IPv6 that is not ours any
    /// more does no harm, on Linux.)
    pub(crate) fn may_send(&self, address: IpAddr, foreign: Foreign) -> bool {
        address.is_ipv6() || foreign.send || self.is_local(address)
    }

    /// The interface that has this address.
    pub(crate) fn link_of(&self, address: IpAddr) -> Option<LinkId> {
        if address.is_loopback() {
            return Some(LinkId::LOOPBACK);
        }
        self.addresses.iter().find(|own| own.address == address).map(|own| own.link)
    }

    /// True for the limited broadcast address and those of our networks.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        v4.is_broadcast()
            || self.addresses.iter().any(|own| match own.address {
                IpAddr::V4(_) if own.prefix >= 31 => false,
                IpAddr::V4(base) => {
                    let host = u32::MAX.checked_shr(u32::from(own.prefix)).unwrap_or(0);
                    v4.to_bits() == base.to_bits() | host
                }
                IpAddr::V6(_) => false,
            })
    }

    /// The way to `to` for a socket that may use `device` alone (`SO_BINDTODEVICE`).
    pub(crate) fn lookup_by(
        &self,
        device: Option<LinkId>,
        to: IpAddr,
        scope: Option<LinkId>,
    ) -> Result<Hop, Errno> {
        let Some(device) = device else { return self.lookup(to, scope) };
        let is_on_it = match self.link_of(to) {
            Some(link) => device == LinkId::LOOPBACK || device == link,
            None => device != LinkId::LOOPBACK && scope.is_none_or(|scope| scope == device),
        };
        if is_on_it { self.lookup(to, Some(device)) } else { Err(Errno::ENETUNREACH) }
    }

    /// The way to `to`. `scope` chooses the interface for link-local destinations.
    pub(crate) fn lookup(&self, to: IpAddr, scope: Option<LinkId>) -> Result<Hop, Errno> {
        if self.is_local(to) {
            return Ok(Hop { link: LinkId::LOOPBACK, via: to, source: loopback_source(to) });
        }
        if to.is_unspecified() {
            return Err(Errno::ENETUNREACH);
        }
        if let Some(hop) = self.on_link(to, scope) {
            return Ok(hop);
        }
        let mut best: Option<&Route> = None;
        for route in &self.routes {
            let usable = same_network(route.network, to, route.prefix)
                && scope.is_none_or(|scope| scope == route.link)
                && best.is_none_or(|best| route.prefix > best.prefix);
            if usable {
                best = Some(route);
            }
        }
        let route = best.ok_or(Errno::ENETUNREACH)?;
        let source = self.source_on(route.link, to).ok_or(Errno::ENETUNREACH)?;
        Ok(Hop { link: route.link, via: route.gateway, source })
    }

    fn on_link(&self, to: IpAddr, scope: Option<LinkId>) -> Option<Hop> {
        let anywhere = to.is_multicast() || self.is_broadcast(to) || is_link_scoped_multicast(to);
        for own in &self.addresses {
            if own.address.is_ipv4() != to.is_ipv4() || scope.is_some_and(|scope| scope != own.link)
            {
                continue;
            }
            if anywhere || same_network(own.address, to, own.prefix) {
                let source = self.source_on(own.link, to)?;
                return Some(Hop { link: own.link, via: to, source });
            }
        }
        None
    }

    /// The address of `link` to use towards `to`: one of the same network first, then one of the
    /// same scope (a short form of RFC 6724).
    fn source_on(&self, link: LinkId, to: IpAddr) -> Option<IpAddr> {
        let narrow = is_link_local(to) || is_link_scoped_multicast(to);
        self.addresses
            .iter()
            .filter(|own| own.link == link && own.address.is_ipv4() == to.is_ipv4())
            .max_by_key(|own| {
                let same = same_network(own.address, to, own.prefix);
                let scope = to.is_ipv4() || is_link_local(own.address) == narrow;
                (same, scope)
            })
            .map(|own| own.address)
    }
}

/// The address that packets to a local address come from: the address itself, or for the
/// loopback network its first address.
fn loopback_source(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(v4) if v4.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => to,
    }
}

/// `::ffff:a.b.c.d` as `a.b.c.d`.
pub(crate) fn unmap(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The unspecified address of the same family.
pub(crate) fn unspecified_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The Ethernet address that a multicast or broadcast packet goes to; `None` for unicast.
pub(crate) fn group_mac(routing: &Routing, to: IpAddr) -> Option<[u8; 6]> {
    if routing.is_broadcast(to) {
        return Some([0xff; 6]);
    }
    if wire::is_unicast(to) {
        return None;
    }
    Some(match to {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn routing() -> Routing {
        let own = |link, address: &str, prefix| Assigned {
            link: LinkId(link),
            address: address.parse().unwrap(),
            prefix,
        };
        let route = |link, network: &str, gateway: &str| Route {
            link: LinkId(link),
            network: network.parse().unwrap(),
            prefix: 0,
            gateway: gateway.parse().unwrap(),
        };
        Routing {
            addresses: vec![
                own(1, "10.0.2.15", 24),
                own(1, "fe80::1", 64),
                own(1, "2001:db8::15", 64),
            ],
            routes: vec![route(1, "0.0.0.0", "10.0.2.2"), route(1, "::", "fe80::2")],
        }
    }

    #[test]
    fn packets_find_their_way() {
        let routing = routing();
        let hop = |to: &str| routing.lookup(to.parse().unwrap(), None).unwrap();
        let check = |to: &str, link, via: &str, source: &str| {
            let hop = hop(to);
            assert_eq!(hop.link, LinkId(link), "{to}");
            assert_eq!(hop.via, via.parse::<IpAddr>().unwrap(), "{to}");
            assert_eq!(hop.source, source.parse::<IpAddr>().unwrap(), "{to}");
        };
        check("127.0.0.5", 0, "127.0.0.5", "127.0.0.1");
        check("10.0.2.15", 0, "10.0.2.15", "10.0.2.15");
        check("10.0.2.2", 1, "10.0.2.2", "10.0.2.15");
        check("8.8.8.8", 1, "10.0.2.2", "10.0.2.15");
        check("fe80::9", 1, "fe80::9", "fe80::1");
        check("2001:db8::9", 1, "2001:db8::9", "2001:db8::15");
        check("2600::1", 1, "fe80::2", "2001:db8::15");
        check("ff02::1", 1, "ff02::1", "fe80::1");
        check("255.255.255.255", 1, "255.255.255.255", "10.0.2.15");
        assert!(routing.is_broadcast("10.0.2.255".parse().unwrap()));
        assert_eq!(
            Routing::default().lookup("8.8.8.8".parse().unwrap(), None),
            Err(Errno::ENETUNREACH)
        );
    }
}
