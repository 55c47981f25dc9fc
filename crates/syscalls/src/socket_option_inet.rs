//! Options of UDP, IP and IPv6.

use crate::socket_address::{Address, family};
use crate::socket_file::{Kind, Settings, SocketFile};
use crate::socket_option::{Value, int, truth, wrong_level};
use crate::socket_option_foreign as foreign;
use crate::socket_option_kept::{self as table, keep, kept};
use alloc::vec::Vec;
use base::Errno;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use net::{LinkId, RawOptions, TcpOptions, UdpOptions};

/// Options of IP.
mod ip {
    pub(super) const LEVEL: i32 = 0;
    pub(super) const TOS: i32 = 1;
    pub(super) const TTL: i32 = 2;
    pub(super) const HDRINCL: i32 = 3;
    pub(super) const PKTINFO: i32 = 8;
    pub(super) const MTU_DISCOVER: i32 = 10;
    pub(super) const RECVERR: i32 = 11;
    pub(super) const RECVTTL: i32 = 12;
    pub(super) const RECVTOS: i32 = 13;
    pub(super) const MTU: i32 = 14;
    pub(super) const RECVORIGDSTADDR: i32 = 20;
    pub(super) const MULTICAST_IF: i32 = 32;
    pub(super) const MULTICAST_TTL: i32 = 33;
    pub(super) const MULTICAST_LOOP: i32 = 34;
    pub(super) const MULTICAST_ALL: i32 = 49;
    pub(super) const MINTTL: i32 = 21;
    pub(super) const ADD_MEMBERSHIP: i32 = 35;
    pub(super) const DROP_MEMBERSHIP: i32 = 36;
    pub(super) const MCAST_JOIN_GROUP: i32 = 42;
    pub(super) const MCAST_LEAVE_GROUP: i32 = 45;
}

/// Options of IPv6.
mod ipv6 {
    pub(super) const LEVEL: i32 = 41;
    pub(super) const UNICAST_HOPS: i32 = 16;
    pub(super) const MULTICAST_IF: i32 = 17;
    pub(super) const MULTICAST_HOPS: i32 = 18;
    pub(super) const MULTICAST_LOOP: i32 = 19;
    pub(super) const MULTICAST_ALL: i32 = 29;
    pub(super) const MINHOPCOUNT: i32 = 73;
    pub(super) const ADD_MEMBERSHIP: i32 = 20;
    pub(super) const DROP_MEMBERSHIP: i32 = 21;
    pub(super) const MTU_DISCOVER: i32 = 23;
    pub(super) const MTU: i32 = 24;
    pub(super) const RECVERR: i32 = 25;
    pub(super) const V6ONLY: i32 = 26;
    pub(super) const MCAST_JOIN_GROUP: i32 = 42;
    pub(super) const MCAST_LEAVE_GROUP: i32 = 45;
    pub(super) const RECVPKTINFO: i32 = 49;
    pub(super) const RECVHOPLIMIT: i32 = 51;
    pub(super) const DONTFRAG: i32 = 62;
    pub(super) const RECVTCLASS: i32 = 66;
    pub(super) const TCLASS: i32 = 67;
    pub(super) const RECVORIGDSTADDR: i32 = 74;
}

/// `IP_PMTUDISC_DO` and `IP_PMTUDISC_PROBE`: never fragment.
const NEVER_FRAGMENT: [i32; 2] = [2, 3];
/// Largest mode of path MTU discovery.
const DISCOVER_MAX: i32 = 5;

/// Changes options of a TCP socket; others have none.
pub(crate) fn apply(socket: &SocketFile, change: impl Fn(&mut TcpOptions)) -> Result<(), Errno> {
    if let Kind::Tcp(tcp) = &socket.kind {
        tcp.set_options(change);
    }
    Ok(())
}

/// Options of UDP.
mod udp {
    pub(super) const CORK: i32 = 1;
    pub(super) const SEGMENT: i32 = 103;
    pub(super) const GRO: i32 = 104;
    pub(super) const LEVEL: i32 = 17;
}

/// Sets an option of UDP.
pub(crate) fn set_udp_level(
    socket: &SocketFile,
    name: i32,
    value: &Value<'_>,
) -> Result<(), Errno> {
    let Kind::Udp(target) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    let number = value.int()?;
    match name {
        udp::CORK => {
            target.cork(number != 0);
            Ok(())
        }
        udp::SEGMENT => {
            let bytes = u16::try_from(number).map_err(|_| Errno::EINVAL)?;
            set_udp(socket, |options| options.segment_bytes = bytes);
            Ok(())
        }
        // Datagrams may be put together for the program; they never are.
        udp::GRO => keep(socket, udp::LEVEL, name, i32::from(number != 0)),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

/// An option of UDP.
pub(crate) fn get_udp_level(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    match (&socket.kind, name) {
        (Kind::Udp(target), udp::SEGMENT) => Ok(int(i32::from(target.options().segment_bytes))),
        (Kind::Udp(target), udp::CORK) => Ok(truth(target.options().corked)),
        (Kind::Udp(_), udp::GRO) => Ok(int(kept(socket, udp::LEVEL, name))),
        (Kind::Udp(_), _) => Err(Errno::ENOPROTOOPT),
        _ => Err(wrong_level(socket)),
    }
}

fn set_udp(socket: &SocketFile, change: impl Fn(&mut UdpOptions)) {
    if let Kind::Udp(udp) = &socket.kind {
        udp.set_options(change);
    }
}

fn set_raw(socket: &SocketFile, change: impl Fn(&mut RawOptions)) {
    if let Kind::Raw(raw) = &socket.kind {
        raw.set_options(change);
    }
}

fn set_hop_limit(socket: &SocketFile, value: i32, least: u8) -> Result<(), Errno> {
    let hops = if value == -1 { 64 } else { u8::try_from(value).map_err(|_| Errno::EINVAL)? };
    if hops < least {
        return Err(Errno::EINVAL);
    }
    set_udp(socket, |options| options.hop_limit = hops);
    set_raw(socket, |options| options.hop_limit = hops);
    apply(socket, |options| options.hop_limit = hops)
}

fn set_discover(socket: &SocketFile, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    if !(0..=DISCOVER_MAX).contains(&value) {
        return Err(Errno::EINVAL);
    }
    keep(socket, level, name, value)?;
    refuse_fragments(socket, value);
    Ok(())
}

/// `discover`: the mode of path MTU discovery.
fn refuse_fragments(socket: &SocketFile, discover: i32) {
    let refuse =
        NEVER_FRAGMENT.contains(&discover) || kept(socket, ipv6::LEVEL, ipv6::DONTFRAG) != 0;
    set_udp(socket, |options| options.do_not_fragment = refuse);
}

/// The largest packet on the way to the peer, in bytes.
fn path_mtu(socket: &SocketFile) -> Result<usize, Errno> {
    match socket.peer_address()? {
        Address::Inet(peer) => Ok(socket.stack.mtu_to(peer.ip())),
        _ => Err(Errno::ENOTCONN),
    }
}

/// Options that are on or off, in the order of [`flag`].
const FLAGS: &[(u8, u8)] = &[
    (ip::LEVEL as u8, ip::RECVERR as u8),
    (ipv6::LEVEL as u8, ipv6::RECVERR as u8),
    (ip::LEVEL as u8, ip::PKTINFO as u8),
    (ip::LEVEL as u8, ip::RECVTTL as u8),
    (ip::LEVEL as u8, ip::RECVTOS as u8),
    (ip::LEVEL as u8, ip::RECVORIGDSTADDR as u8),
    (ipv6::LEVEL as u8, ipv6::RECVPKTINFO as u8),
    (ipv6::LEVEL as u8, ipv6::RECVHOPLIMIT as u8),
    (ipv6::LEVEL as u8, ipv6::RECVTCLASS as u8),
    (ipv6::LEVEL as u8, ipv6::RECVORIGDSTADDR as u8),
];

/// Such an option, after it was set to `new`, if it is to be. `None`: it is another.
#[cold]
#[inline(never)]
fn flag(socket: &SocketFile, level: i32, name: i32, new: Option<bool>) -> Option<bool> {
    let at = FLAGS.iter().position(|row| (i32::from(row.0), i32::from(row.1)) == (level, name))?;
    let mut settings = socket.settings.lock();
    let Settings {
        packet_info,
        packet_info_v6,
        receive_tos,
        receive_ttl,
        receive_class,
        receive_hop_limit,
        receive_errors,
        destination,
        destination_v6,
        ..
    } = &mut *settings;
    let rest = [
        packet_info,
        receive_ttl,
        receive_tos,
        destination,
        packet_info_v6,
        receive_hop_limit,
        receive_class,
        destination_v6,
    ];
    let slot = match at.checked_sub(2) {
        None => receive_errors,
        Some(at) => rest.into_iter().nth(at)?,
    };
    let is = new.unwrap_or(*slot);
    *slot = is;
    drop(settings);
    // Other sockets than UDP's keep it, and have no queue of errors.
    if let (Kind::Udp(udp), true, Some(_)) = (&socket.kind, at < 2, new) {
        udp.keep_failures(is);
    }
    Some(is)
}

fn set_multicast_hops(socket: &SocketFile, value: i32) -> Result<(), Errno> {
    let hops = if value == -1 { 1 } else { u8::try_from(value).map_err(|_| Errno::EINVAL)? };
    set_udp(socket, |options| options.multicast_hop_limit = hops);
    Ok(())
}

fn link_of(index: u32) -> Option<LinkId> {
    LinkId::from_index(index)
}

fn u32_of(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn group(
    socket: &SocketFile,
    group: IpAddr,
    link: Option<LinkId>,
    join: bool,
) -> Result<(), Errno> {
    let Kind::Udp(udp) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    udp.group(group, link, join)
}

/// The interface that has this IPv4 address.
fn link_with(socket: &SocketFile, address: Ipv4Addr) -> Option<LinkId> {
    if address.is_loopback() {
        return Some(LinkId::LOOPBACK);
    }
    let own = socket.stack.addresses().into_iter();
    own.filter(|own| own.address == IpAddr::V4(address)).map(|own| own.link).next()
}

/// `struct ip_mreq` (8 bytes) or `struct ip_mreqn` (12).
fn membership(socket: &SocketFile, value: &Value<'_>, join: bool) -> Result<(), Errno> {
    let bytes: [u8; 8] = value.array()?;
    let [a, b, c, d, e, f, g, h] = bytes;
    let address = Ipv4Addr::new(a, b, c, d);
    let interface = Ipv4Addr::new(e, f, g, h);
    let index = if value.length >= 12 { u32_of(&value.array::<12>()?, 8) } else { 0 };
    let link = match link_of(index) {
        None if !interface.is_unspecified() => {
            Some(link_with(socket, interface).ok_or(Errno::ENODEV)?)
        }
        link => link,
    };
    group(socket, IpAddr::V4(address), link, join)
}

/// `struct group_req`: an interface index and, at 8, an address.
fn any_membership(socket: &SocketFile, value: &Value<'_>, join: bool) -> Result<(), Errno> {
    let bytes: [u8; 36] = value.array()?;
    let family = u16::from_ne_bytes([bytes[8], bytes[9]]);
    let address = if family == family::INET {
        IpAddr::V4(Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]))
    } else {
        let octets: [u8; 16] = *bytes[16..].first_chunk().ok_or(Errno::EINVAL)?;
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    group(socket, address, link_of(u32_of(&bytes, 0)), join)
}

/// The interface that `struct in_addr`, `ip_mreq` or `ip_mreqn` names by its address or number, and
/// the address; zeros are for none.
fn multicast_interface(
    socket: &SocketFile,
    value: &Value<'_>,
) -> Result<(Ipv4Addr, Option<LinkId>), Errno> {
    let [a, b, c, d] = if value.length >= 8 {
        let [_, _, _, _, rest @ ..]: [u8; 8] = value.array()?;
        rest
    } else {
        value.array()?
    };
    let address = Ipv4Addr::new(a, b, c, d);
    let index = if value.length >= 12 { u32_of(&value.array::<12>()?, 8) } else { 0 };
    let link = match link_of(index) {
        None if address.is_unspecified() => return Ok((address, None)),
        None => link_with(socket, address),
        link => link.filter(|link| socket.stack.has_link(*link)),
    };
    Ok((address, Some(link.ok_or(Errno::EADDRNOTAVAIL)?)))
}

fn is_tcp(socket: &SocketFile) -> bool {
    matches!(socket.kind, Kind::Tcp(_))
}

fn set_class(socket: &SocketFile, level: i32, name: i32, class: u8) -> Result<(), Errno> {
    // TCP has the two lowest bits for itself (RFC 3168).
    let class = if is_tcp(socket) { class & !3 } else { class };
    set_udp(socket, |options| options.traffic_class = class);
    set_raw(socket, |options| options.traffic_class = class);
    keep(socket, level, name, i32::from(class))
}

/// Sets an option of IP.
pub(crate) fn set_ip(socket: &SocketFile, name: i32, value: &Value<'_>) -> Result<(), Errno> {
    match name {
        ip::MULTICAST_TTL | ip::MULTICAST_IF if is_tcp(socket) => return Err(Errno::EINVAL),
        ip::MULTICAST_IF => {
            let (address, link) = multicast_interface(socket, value)?;
            set_udp(socket, |options| options.multicast_link = link);
            return keep(socket, ip::LEVEL, name, i32::from_ne_bytes(address.octets()));
        }
        ip::ADD_MEMBERSHIP | ip::DROP_MEMBERSHIP => {
            return membership(socket, value, name == ip::ADD_MEMBERSHIP);
        }
        ip::MCAST_JOIN_GROUP | ip::MCAST_LEAVE_GROUP => {
            return any_membership(socket, value, name == ip::MCAST_JOIN_GROUP);
        }
        _ => {}
    }
    let number = value.int_or_byte()?;
    let on = number != 0;
    if flag(socket, ip::LEVEL, name, Some(on)).is_some() {
        return Ok(());
    }
    if let Some(done) = foreign::set(socket, (ip::LEVEL, name), on, value) {
        return done;
    }
    match (name, &socket.kind) {
        (ip::TOS, _) => set_class(socket, ip::LEVEL, name, number as u8),
        (ip::TTL, _) => set_hop_limit(socket, number, 1),
        (ip::HDRINCL, Kind::Raw(raw)) => {
            raw.set_options(|options| options.header_included = on);
            Ok(())
        }
        (ip::MTU_DISCOVER, _) => set_discover(socket, ip::LEVEL, name, number),
        (ip::MULTICAST_TTL, _) => set_multicast_hops(socket, number),
        (ip::MULTICAST_LOOP, Kind::Udp(udp)) => {
            udp.set_options(|options| options.multicast_loop = on);
            Ok(())
        }
        _ => {
            table::set(socket, ip::LEVEL, name, number, value)?;
            match name {
                ip::MULTICAST_ALL => set_udp(socket, |options| options.multicast_all = number != 0),
                ip::MINTTL => apply(socket, |options| options.ttl_min = number as u8)?,
                _ => {}
            }
            Ok(())
        }
    }
}

fn hop_limit(socket: &SocketFile) -> i32 {
    i32::from(match &socket.kind {
        Kind::Udp(udp) => udp.options().hop_limit,
        Kind::Tcp(tcp) => tcp.options().hop_limit,
        Kind::Raw(raw) => raw.options().map_or(0, |options| options.hop_limit),
        Kind::Unix(_) | Kind::Netlink(_) => 0,
    })
}

/// An option of IP.
pub(crate) fn get_ip(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let on = flag(socket, ip::LEVEL, name, None);
    if let Some(on) = on.or_else(|| foreign::get(socket, ip::LEVEL, name)) {
        return Ok(truth(on));
    }
    let number = match (name, &socket.kind) {
        (ip::TTL, _) => hop_limit(socket),
        (ip::HDRINCL, Kind::Raw(raw)) => i32::from(raw.options()?.header_included),
        // IPv4 has no longer packets.
        (ip::MTU, _) => path_mtu(socket)?.min(0xffff) as i32,
        (ip::MULTICAST_TTL, Kind::Udp(udp)) => i32::from(udp.options().multicast_hop_limit),
        (ip::MULTICAST_LOOP, Kind::Udp(udp)) => i32::from(udp.options().multicast_loop),
        _ => return table::get(socket, ip::LEVEL, name),
    };
    Ok(int(number))
}

/// Sets an option of IPv6.
pub(crate) fn set_ipv6(socket: &SocketFile, name: i32, value: &Value<'_>) -> Result<(), Errno> {
    match name {
        ipv6::ADD_MEMBERSHIP | ipv6::DROP_MEMBERSHIP => {
            let bytes: [u8; 20] = value.array()?;
            let address: [u8; 16] = *bytes.first_chunk().ok_or(Errno::EINVAL)?;
            let link = link_of(u32_of(&bytes, 16));
            let join = name == ipv6::ADD_MEMBERSHIP;
            return group(socket, IpAddr::V6(Ipv6Addr::from(address)), link, join);
        }
        ipv6::MCAST_JOIN_GROUP | ipv6::MCAST_LEAVE_GROUP => {
            return any_membership(socket, value, name == ipv6::MCAST_JOIN_GROUP);
        }
        _ => {}
    }
    let number = value.int()?;
    let on = number != 0;
    if name == ipv6::TCLASS {
        let class = if number == -1 { 0 } else { number };
        let class = u8::try_from(class).map_err(|_| Errno::EINVAL)?;
        return set_class(socket, ipv6::LEVEL, name, class);
    }
    if name == ipv6::DONTFRAG {
        keep(socket, ipv6::LEVEL, name, i32::from(on))?;
        refuse_fragments(socket, kept(socket, ipv6::LEVEL, ipv6::MTU_DISCOVER));
        return Ok(());
    }
    if flag(socket, ipv6::LEVEL, name, Some(on)).is_some() {
        return Ok(());
    }
    if let Some(done) = foreign::set(socket, (ipv6::LEVEL, name), on, value) {
        return done;
    }
    match (name, &socket.kind) {
        (ipv6::V6ONLY, _) => {
            set_udp(socket, |options| options.v6_only = on);
            apply(socket, |options| options.v6_only = on)
        }
        (ipv6::UNICAST_HOPS, _) => set_hop_limit(socket, number, 0),
        (ipv6::MULTICAST_HOPS | ipv6::MULTICAST_IF, Kind::Tcp(_)) => Err(Errno::ENOPROTOOPT),
        (ipv6::MULTICAST_HOPS, _) => set_multicast_hops(socket, number),
        (ipv6::MULTICAST_LOOP, Kind::Udp(udp)) if (0..=1).contains(&number) => {
            udp.set_options(|options| options.multicast_loop = on);
            Ok(())
        }
        (ipv6::MULTICAST_IF, _) => {
            let link = link_of(number.cast_unsigned());
            if link.is_some_and(|link| !socket.stack.has_link(link)) {
                return Err(Errno::ENODEV);
            }
            set_udp(socket, |options| options.multicast_link = link);
            Ok(())
        }
        (ipv6::MTU_DISCOVER, _) => set_discover(socket, ipv6::LEVEL, name, number),
        // Of UDP: neither 0 nor 1.
        _ => {
            table::set(socket, ipv6::LEVEL, name, number, value)?;
            match name {
                ipv6::MULTICAST_ALL => set_udp(socket, |options| options.multicast_all_v6 = on),
                ipv6::MINHOPCOUNT => {
                    apply(socket, |options| options.hop_limit_min = number as u8)?;
                }
                _ => {}
            }
            Ok(())
        }
    }
}

/// An option of IPv6.
pub(crate) fn get_ipv6(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let on = flag(socket, ipv6::LEVEL, name, None);
    if let Some(on) = on.or_else(|| foreign::get(socket, ipv6::LEVEL, name)) {
        return Ok(truth(on));
    }
    let number = match (name, &socket.kind) {
        (ipv6::V6ONLY, Kind::Tcp(tcp)) => i32::from(tcp.options().v6_only),
        (ipv6::V6ONLY, Kind::Udp(udp)) => i32::from(udp.options().v6_only),
        (ipv6::UNICAST_HOPS, _) => hop_limit(socket),
        (ipv6::MULTICAST_HOPS, Kind::Udp(udp)) => i32::from(udp.options().multicast_hop_limit),
        (ipv6::MULTICAST_LOOP, Kind::Udp(udp)) => i32::from(udp.options().multicast_loop),
        (ipv6::MULTICAST_IF, Kind::Udp(udp)) => {
            udp.options().multicast_link.map_or(0, LinkId::index).cast_signed()
        }
        (ipv6::MTU, _) => path_mtu(socket)? as i32,
        _ => return table::get(socket, ipv6::LEVEL, name),
    };
    Ok(int(number))
}
