//! The routing family (rtnetlink(7)): interfaces, addresses and routes are listed. Nothing can be changed.

use super::message::{Answered, Reply, Request, kind};
use crate::route::{Assigned, LinkId};
use crate::stack::{InterfaceInfo, Stack};
use alloc::vec::Vec;
use base::Errno;
use core::net::IpAddr;

/// Types of messages.
mod message {
    pub(super) const NEWLINK: u16 = 16;
    pub(super) const GETLINK: u16 = 18;
    pub(super) const NEWADDR: u16 = 20;
    pub(super) const GETADDR: u16 = 22;
    pub(super) const NEWROUTE: u16 = 24;
    pub(super) const GETROUTE: u16 = 26;
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

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// Answers a request.
///
/// # Errors
/// `ENODEV`: there is no such interface. `EOPNOTSUPP`.
pub(super) fn answer(
    stack: &Stack,
    request: &Request<'_>,
    reply: &mut Reply,
) -> Result<Answered, Errno> {
    let dump = request.is_dump();
    match request.kind {
        message::GETLINK => {
            let wanted = (!dump).then_some(request.index);
            let all = stack.interfaces();
            let mut chosen =
                all.iter().filter(|row| wanted.is_none_or(|index| row.link.index() == index));
            if wanted.is_some() && chosen.clone().next().is_none() {
                return Err(Errno::ENODEV);
            }
            chosen.by_ref().for_each(|interface| reply.link(interface, dump));
        }
        message::GETADDR if dump => {
            for interface in stack.interfaces() {
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
        message::GETROUTE if dump => routes(stack, reply, request.family),
        _ => return Err(Errno::EOPNOTSUPP),
    }
    Ok(if dump { Answered::Dump } else { Answered::Request })
}

fn routes(stack: &Stack, reply: &mut Reply, family: u8) {
    let of_family = |address: IpAddr| match family {
        FAMILY_V4 => address.is_ipv4(),
        FAMILY_V6 => address.is_ipv6(),
        _ => true,
    };
    for route in stack.routes() {
        if of_family(route.gateway) {
            reply.route(route.link, None, Some(route.gateway), None);
        }
    }
    for own in stack.addresses() {
        if of_family(own.address) {
            reply.route(own.link, Some((own.address, own.prefix)), None, Some(own.address));
        }
    }
}

impl Reply {
    fn link(&mut self, interface: &InterfaceInfo, multi: bool) {
        const ETHERNET: u16 = 1;
        const LOOPBACK: u16 = 772;
        const STATE_UP: u8 = 6;
        const STATE_UNKNOWN: u8 = 0;
        let is_loopback = interface.link == LinkId::LOOPBACK;
        let hardware = if is_loopback { LOOPBACK } else { ETHERNET };
        let mut body = alloc::vec![0, 0];
        body.extend_from_slice(&hardware.to_ne_bytes());
        body.extend_from_slice(&interface.link.index().to_ne_bytes());
        body.extend_from_slice(&interface.flags().to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        let name = [interface.name.as_bytes(), &[0]].concat();
        let broadcast = if is_loopback { [0; 6] } else { [0xff; 6] };
        let state = if is_loopback { STATE_UNKNOWN } else { STATE_UP };
        let flags = if multi { kind::FLAG_MULTI } else { 0 };
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
                self.add(message::NEWADDR, kind::FLAG_MULTI, &body, &attributes);
            }
            IpAddr::V6(v6) => {
                let attributes: &[(u16, &[u8])] =
                    &[(attribute::ADDRESS, &v6.octets()), (attribute::ADDRESS_FLAGS, &flags)];
                self.add(message::NEWADDR, kind::FLAG_MULTI, &body, attributes);
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
        self.add(message::NEWROUTE, kind::FLAG_MULTI, &body, &attributes);
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
