//! Options of TCP, IP and IPv6.

use crate::socket_address::family;
use crate::socket_file::{Kind, SocketFile};
use crate::socket_option::{Value, int, keep, kept, truth};
use alloc::vec;
use alloc::vec::Vec;
use base::Errno;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use net::{LinkId, RawOptions, TcpOptions, UdpOptions};

/// Options of TCP.
mod tcp {
    pub(super) const LEVEL: i32 = 6;
    pub(super) const NODELAY: i32 = 1;
    pub(super) const MAXSEG: i32 = 2;
    pub(super) const CORK: i32 = 3;
    pub(super) const KEEPIDLE: i32 = 4;
    pub(super) const KEEPINTVL: i32 = 5;
    pub(super) const KEEPCNT: i32 = 6;
    pub(super) const INFO: i32 = 11;
    pub(super) const QUICKACK: i32 = 12;
    pub(super) const CONGESTION: i32 = 13;
    pub(super) const USER_TIMEOUT: i32 = 18;
    pub(super) const FASTOPEN: i32 = 23;
    pub(super) const FASTOPEN_CONNECT: i32 = 30;
    pub(super) const IS_MPTCP: i32 = 43;
}

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
    pub(super) const RECVORIGDSTADDR: i32 = 20;
    pub(super) const BIND_ADDRESS_NO_PORT: i32 = 24;
    pub(super) const MULTICAST_IF: i32 = 32;
    pub(super) const MULTICAST_TTL: i32 = 33;
    pub(super) const MULTICAST_LOOP: i32 = 34;
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
    pub(super) const ADD_MEMBERSHIP: i32 = 20;
    pub(super) const DROP_MEMBERSHIP: i32 = 21;
    pub(super) const MTU_DISCOVER: i32 = 23;
    pub(super) const RECVERR: i32 = 25;
    pub(super) const V6ONLY: i32 = 26;
    pub(super) const MCAST_JOIN_GROUP: i32 = 42;
    pub(super) const MCAST_LEAVE_GROUP: i32 = 45;
    pub(super) const RECVPKTINFO: i32 = 49;
    pub(super) const RECVHOPLIMIT: i32 = 51;
    pub(super) const RECVTCLASS: i32 = 66;
    pub(super) const TCLASS: i32 = 67;
    pub(super) const RECVORIGDSTADDR: i32 = 74;
}

/// `IP_PMTUDISC_DO` and `IP_PMTUDISC_PROBE`: never fragment.
const NEVER_FRAGMENT: [i32; 2] = [2, 3];
/// Largest mode of path MTU discovery.
const DISCOVER_MAX: i32 = 5;
/// What `TCP_CONGESTION` calls the algorithm.
const CONGESTION_NAME: &[u8; 16] = b"reno\0\0\0\0\0\0\0\0\0\0\0\0";

fn seconds(value: i32) -> Result<Duration, Errno> {
    const MOST: i32 = 32_767;
    if (1..=MOST).contains(&value) {
        Ok(Duration::from_secs(u64::from(value.cast_unsigned())))
    } else {
        Err(Errno::EINVAL)
    }
}

/// Sets an option of TCP.
pub(crate) fn set_tcp(socket: &SocketFile, name: i32, value: &Value<'_>) -> Result<(), Errno> {
    let Kind::Tcp(target) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    if name == tcp::CONGESTION {
        // One algorithm; asking for it by name is no error.
        let name: [u8; 4] = value.array()?;
        return if &name == b"reno" { Ok(()) } else { Err(Errno::ENOENT) };
    }
    let number = value.int()?;
    let change: &dyn Fn(&mut TcpOptions) = match name {
        tcp::NODELAY => &|options| options.no_delay = number != 0,
        tcp::CORK => &|options| options.cork = number != 0,
        tcp::QUICKACK => &|options| options.quick_ack = number != 0,
        // As Linux with net.ipv4.tcp_fastopen = 0: a listener may have a queue that nobody uses,
        // a client may not ask.
        tcp::FASTOPEN if number >= 0 && target.info().is_none_or(|info| !info.is_open()) => {
            return keep(socket, tcp::LEVEL, name, number);
        }
        tcp::FASTOPEN => return Err(Errno::EINVAL),
        tcp::FASTOPEN_CONNECT if !(0..=1).contains(&number) => return Err(Errno::EINVAL),
        tcp::FASTOPEN_CONNECT => return Err(Errno::EOPNOTSUPP),
        tcp::KEEPIDLE => {
            let time = seconds(number)?;
            return apply(socket, |options| options.keep_idle = time);
        }
        tcp::KEEPINTVL => {
            let time = seconds(number)?;
            return apply(socket, |options| options.keep_interval = time);
        }
        tcp::KEEPCNT if (1..=127).contains(&number) => {
            &|options| options.keep_count = number.cast_unsigned()
        }
        tcp::USER_TIMEOUT if number >= 0 => &|options| {
            let limit = Duration::from_millis(u64::from(number.cast_unsigned()));
            options.user_timeout = (number > 0).then_some(limit);
        },
        tcp::KEEPCNT | tcp::USER_TIMEOUT => return Err(Errno::EINVAL),
        _ => return Err(Errno::ENOPROTOOPT),
    };
    target.set_options(change);
    Ok(())
}

fn apply(socket: &SocketFile, change: impl Fn(&mut TcpOptions)) -> Result<(), Errno> {
    if let Kind::Tcp(tcp) = &socket.kind {
        tcp.set_options(change);
    }
    Ok(())
}

/// Largest segment that is told when none is known, in bytes.
const MAXSEG: i32 = 1460;
/// Length of `struct tcp_info` as Linux 6.6 has it, in bytes.
const INFO_BYTES: usize = 248;

/// An option of TCP.
pub(crate) fn get_tcp(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let Kind::Tcp(target) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    let options = target.options();
    let number = |value: u64| int(i32::try_from(value).unwrap_or(i32::MAX));
    Ok(match name {
        tcp::NODELAY => truth(options.no_delay),
        tcp::CORK => truth(options.cork),
        tcp::QUICKACK => truth(options.quick_ack),
        tcp::FASTOPEN => int(kept(socket, tcp::LEVEL, name)),
        tcp::FASTOPEN_CONNECT => int(0),
        tcp::KEEPIDLE => number(options.keep_idle.as_secs()),
        tcp::KEEPINTVL => number(options.keep_interval.as_secs()),
        tcp::KEEPCNT => number(u64::from(options.keep_count)),
        tcp::USER_TIMEOUT => number(options.user_timeout.unwrap_or_default().as_millis() as u64),
        tcp::MAXSEG => int(MAXSEG),
        tcp::IS_MPTCP => truth(target.multipath().is_some()),
        tcp::CONGESTION => CONGESTION_NAME.to_vec(),
        tcp::INFO => {
            let mut bytes = vec![0; INFO_BYTES];
            if let (Some(info), Some(first)) = (target.info(), bytes.first_mut()) {
                *first = info.state as u8;
            }
            bytes
        }
        _ => return Err(Errno::ENOPROTOOPT),
    })
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
        _ => Err(Errno::ENOPROTOOPT),
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

fn set_hop_limit(socket: &SocketFile, value: i32) -> Result<(), Errno> {
    let hops = match value {
        -1 => 64,
        1..=255 => value as u8,
        _ => return Err(Errno::EINVAL),
    };
    set_udp(socket, |options| options.hop_limit = hops);
    set_raw(socket, |options| options.hop_limit = hops);
    apply(socket, |options| options.hop_limit = hops)
}

fn set_discover(socket: &SocketFile, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    if !(0..=DISCOVER_MAX).contains(&value) {
        return Err(Errno::EINVAL);
    }
    set_udp(socket, |options| options.do_not_fragment = NEVER_FRAGMENT.contains(&value));
    keep(socket, level, name, value)
}

/// Other sockets than UDP's keep it, and have no queue of errors.
fn set_receive_errors(socket: &SocketFile, on: bool) {
    if let Kind::Udp(udp) = &socket.kind {
        udp.keep_failures(on);
    }
    socket.settings.lock().receive_errors = on;
}

fn receives_errors(socket: &SocketFile) -> bool {
    socket.settings.lock().receive_errors
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

/// Sets an option of IP.
pub(crate) fn set_ip(socket: &SocketFile, name: i32, value: &Value<'_>) -> Result<(), Errno> {
    match name {
        ip::TOS => {
            let class = value.int_or_byte()? as u8;
            set_udp(socket, |options| options.traffic_class = class);
            set_raw(socket, |options| options.traffic_class = class);
            keep(socket, ip::LEVEL, name, i32::from(class))?;
        }
        ip::TTL => set_hop_limit(socket, value.int_or_byte()?)?,
        ip::HDRINCL if matches!(socket.kind, Kind::Raw(_)) => {
            let on = value.int_or_byte()? != 0;
            set_raw(socket, |options| options.header_included = on);
        }
        ip::PKTINFO => socket.settings.lock().packet_info = value.int_or_byte()? != 0,
        ip::RECVERR => set_receive_errors(socket, value.int_or_byte()? != 0),
        ip::RECVTTL => socket.settings.lock().receive_ttl = value.int_or_byte()? != 0,
        ip::RECVTOS => socket.settings.lock().receive_tos = value.int_or_byte()? != 0,
        ip::RECVORIGDSTADDR => socket.settings.lock().destination = value.int_or_byte()? != 0,
        ip::MTU_DISCOVER => set_discover(socket, ip::LEVEL, name, value.int_or_byte()?)?,
        ip::BIND_ADDRESS_NO_PORT => keep(socket, ip::LEVEL, name, value.int_or_byte()?)?,
        ip::MULTICAST_TTL => set_multicast_hops(socket, value.int_or_byte()?)?,
        ip::MULTICAST_LOOP => {
            let on = value.int_or_byte()? != 0;
            set_udp(socket, |options| options.multicast_loop = on);
        }
        ip::MULTICAST_IF => {
            let link = if value.length >= 12 {
                let long: [u8; 12] = value.array()?;
                link_of(u32_of(&long, 8))
            } else {
                let [a, b, c, d]: [u8; 4] = value.array()?;
                link_with(socket, Ipv4Addr::new(a, b, c, d))
            };
            set_udp(socket, |options| options.multicast_link = link);
        }
        ip::ADD_MEMBERSHIP | ip::DROP_MEMBERSHIP => {
            membership(socket, value, name == ip::ADD_MEMBERSHIP)?;
        }
        ip::MCAST_JOIN_GROUP | ip::MCAST_LEAVE_GROUP => {
            any_membership(socket, value, name == ip::MCAST_JOIN_GROUP)?;
        }
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}

fn hop_limit(socket: &SocketFile) -> i32 {
    i32::from(match &socket.kind {
        Kind::Udp(udp) => udp.options().hop_limit,
        Kind::Tcp(tcp) => tcp.options().hop_limit,
        Kind::Raw(raw) => raw.options().map_or(0, |options| options.hop_limit),
        Kind::Unix(_) | Kind::Netlink(_) => 0,
    })
}

fn udp_options(socket: &SocketFile) -> UdpOptions {
    match &socket.kind {
        Kind::Udp(udp) => udp.options(),
        _ => UdpOptions::default(),
    }
}

/// An option of IP.
pub(crate) fn get_ip(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let settings = *socket.settings.lock();
    Ok(match name {
        ip::TOS | ip::MTU_DISCOVER | ip::BIND_ADDRESS_NO_PORT => int(kept(socket, ip::LEVEL, name)),
        ip::TTL => int(hop_limit(socket)),
        ip::PKTINFO => truth(settings.packet_info),
        ip::RECVERR => truth(receives_errors(socket)),
        ip::RECVTTL => truth(settings.receive_ttl),
        ip::RECVTOS => truth(settings.receive_tos),
        ip::RECVORIGDSTADDR => truth(settings.destination),
        ip::MULTICAST_TTL => int(i32::from(udp_options(socket).multicast_hop_limit)),
        ip::MULTICAST_LOOP => truth(udp_options(socket).multicast_loop),
        _ => return Err(Errno::ENOPROTOOPT),
    })
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
    match name {
        ipv6::V6ONLY => {
            set_udp(socket, |options| options.v6_only = on);
            apply(socket, |options| options.v6_only = on)?;
        }
        ipv6::UNICAST_HOPS => set_hop_limit(socket, number)?,
        ipv6::MULTICAST_HOPS => set_multicast_hops(socket, number)?,
        ipv6::MULTICAST_LOOP => set_udp(socket, |options| options.multicast_loop = on),
        ipv6::MULTICAST_IF => {
            let link = link_of(number.cast_unsigned());
            set_udp(socket, |options| options.multicast_link = link);
        }
        ipv6::MTU_DISCOVER => set_discover(socket, ipv6::LEVEL, name, number)?,
        ipv6::RECVERR => set_receive_errors(socket, on),
        ipv6::RECVPKTINFO => socket.settings.lock().packet_info_v6 = on,
        ipv6::RECVHOPLIMIT => socket.settings.lock().receive_hop_limit = on,
        ipv6::RECVTCLASS => socket.settings.lock().receive_class = on,
        ipv6::RECVORIGDSTADDR => socket.settings.lock().destination_v6 = on,
        ipv6::TCLASS => {
            let class = if number == -1 { 0 } else { number };
            let class = u8::try_from(class).map_err(|_| Errno::EINVAL)?;
            set_udp(socket, |options| options.traffic_class = class);
            keep(socket, ipv6::LEVEL, name, i32::from(class))?;
        }
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}

/// An option of IPv6.
pub(crate) fn get_ipv6(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let settings = *socket.settings.lock();
    Ok(match name {
        ipv6::V6ONLY => truth(match &socket.kind {
            Kind::Tcp(tcp) => tcp.options().v6_only,
            Kind::Udp(udp) => udp.options().v6_only,
            Kind::Raw(_) | Kind::Unix(_) | Kind::Netlink(_) => false,
        }),
        ipv6::UNICAST_HOPS => int(hop_limit(socket)),
        ipv6::MULTICAST_HOPS => int(i32::from(udp_options(socket).multicast_hop_limit)),
        ipv6::MULTICAST_LOOP => truth(udp_options(socket).multicast_loop),
        ipv6::MTU_DISCOVER | ipv6::TCLASS => int(kept(socket, ipv6::LEVEL, name)),
        ipv6::RECVERR => truth(receives_errors(socket)),
        ipv6::RECVPKTINFO => truth(settings.packet_info_v6),
        ipv6::RECVHOPLIMIT => truth(settings.receive_hop_limit),
        ipv6::RECVTCLASS => truth(settings.receive_class),
        ipv6::RECVORIGDSTADDR => truth(settings.destination_v6),
        _ => return Err(Errno::ENOPROTOOPT),
    })
}
