//! Rules about the addresses that programs give.

use crate::ports::Family;
use crate::route::{self, LinkId};
use base::Errno;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a socket may do with addresses that the machine does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Foreign {
    /// `IP_FREEBIND`: be bound to one.
    pub bind: bool,
    /// `IP_TRANSPARENT`: that, and send from one.
    pub send: bool,
}

/// The unspecified address of a family.
pub(crate) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The address as a socket of this family shows it.
pub(crate) fn shown(address: SocketAddr, family: Family) -> SocketAddr {
    match (address, family) {
        (SocketAddr::V4(v4), Family::V6) => {
            SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
        }
        _ => address,
    }
}

/// The address to bind to: an IPv4-mapped one is IPv4's.
pub(crate) fn bind_address(family: Family, v6_only: bool, ip: IpAddr) -> Result<IpAddr, Errno> {
    match (family, ip) {
        (Family::V4, IpAddr::V4(_)) => Ok(ip),
        (Family::V4, IpAddr::V6(_)) => Err(Errno::EAFNOSUPPORT),
        (Family::V6, IpAddr::V4(_)) => Err(Errno::EINVAL),
        (Family::V6, IpAddr::V6(_)) => match route::unmap(ip) {
            IpAddr::V4(_) if v6_only => Err(Errno::EINVAL),
            ip => Ok(ip),
        },
    }
}

/// The address to connect to: unspecified means this machine, mapped means IPv4.
pub(crate) fn connect_address(
    family: Family,
    v6_only: bool,
    address: SocketAddr,
) -> Result<SocketAddr, Errno> {
    let ip = match (family, address.ip()) {
        (Family::V4, IpAddr::V4(ip)) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (Family::V4, IpAddr::V4(ip)) => IpAddr::V4(ip),
        (Family::V4, IpAddr::V6(_)) => return Err(Errno::EAFNOSUPPORT),
        // The structure is too short for IPv6.
        (Family::V6, IpAddr::V4(_)) => return Err(Errno::EINVAL),
        (Family::V6, IpAddr::V6(ip)) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (Family::V6, ip) => match route::unmap(ip) {
            IpAddr::V4(_) if v6_only => return Err(Errno::ENETUNREACH),
            IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        },
    };
    Ok(SocketAddr::new(ip, address.port()))
}

/// The interface that a link-local IPv6 address names.
pub(crate) fn scope_of(address: SocketAddr) -> Option<LinkId> {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => LinkId::from_index(v6.scope_id()),
        _ => None,
    }
}
