//! Control messages beside the bytes (cmsg(3)).

use crate::process::Process;
use crate::socket_address::{Address, family};
use crate::socket_file::{Extra, Incoming, Kind, SocketFile};
use crate::socket_option::{credentials, passes_credentials};
use alloc::vec;
use alloc::vec::Vec;
use base::{Errno, UserAddr};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use net::{LinkId, Received, UdpFailure};

/// Levels and types of control messages.
mod message {
    pub(super) const IP: i32 = 0;
    pub(super) const IP_TOS: i32 = 1;
    pub(super) const IP_TTL: i32 = 2;
    pub(super) const IP_PKTINFO: i32 = 8;
    pub(super) const IP_RECVERR: i32 = 11;
    pub(super) const IP_ORIGDSTADDR: i32 = 20;
    pub(super) const IPV6: i32 = 41;
    pub(super) const IPV6_RECVERR: i32 = 25;
    pub(super) const IPV6_PKTINFO: i32 = 50;
    pub(super) const IPV6_HOPLIMIT: i32 = 52;
    pub(super) const IPV6_TCLASS: i32 = 67;
    pub(super) const IPV6_ORIGDSTADDR: i32 = 74;
    pub(super) const UDP: i32 = 17;
    pub(super) const UDP_SEGMENT: i32 = 103;
    pub(super) const SOCKET: i32 = 1;
    pub(super) const RIGHTS: i32 = 1;
    pub(super) const CREDENTIALS: i32 = 2;
    pub(super) const RXQ_OVFL: i32 = 40;
}

/// Length of a header; data follows, and the next header at a multiple of 8.
const HEADER_BYTES: usize = 16;
/// Longest control data taken (Linux: `net.core.optmem_max`), in bytes.
const CONTROL_MAX: u64 = 20_480;
/// Most descriptors in one message.
const RIGHTS_MAX: usize = 253;

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads the control messages of a message to be sent.
///
/// # Errors
/// `EINVAL`: malformed, or of a kind that the socket does not take. `EBADF`, `ENOBUFS`, `EFAULT`.
pub(crate) fn read_control(
    process: &Process,
    socket: &SocketFile,
    at: UserAddr,
    length: u64,
) -> Result<Extra, Errno> {
    let mut extra = Extra::default();
    if at.is_null() || length == 0 {
        return Ok(extra);
    }
    if length > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = vec![0; length as usize];
    process.memory.read_bytes(at, &mut bytes)?;
    let mut rest = bytes.as_slice();
    while let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let whole = u64::from_ne_bytes(*header.first_chunk().unwrap_or(&[0; 8]));
        let whole = usize::try_from(whole).map_err(|_| Errno::EINVAL)?;
        let data = rest.get(HEADER_BYTES..whole).ok_or(Errno::EINVAL)?;
        let (level, kind) = (i32_at(header, 8), i32_at(header, 12));
        take(process, socket, level.unwrap_or(-1), kind.unwrap_or(-1), data, &mut extra)?;
        rest = rest.get(whole.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(extra)
}

fn take(
    process: &Process,
    socket: &SocketFile,
    level: i32,
    kind: i32,
    data: &[u8],
    extra: &mut Extra,
) -> Result<(), Errno> {
    let inet = matches!(socket.domain(), family::INET | family::INET6);
    let options = &mut extra.options;
    let class = || match i32_at(data, 0) {
        Some(class) => u8::try_from(class).map_err(|_| Errno::EINVAL),
        None => data.first().copied().ok_or(Errno::EINVAL),
    };
    let interface =
        |number: Option<i32>| -> Option<LinkId> { LinkId::from_index(number?.cast_unsigned()) };
    match (level, kind) {
        (message::IP, message::IP_TOS) | (message::IPV6, message::IPV6_TCLASS) if inet => {
            options.traffic_class = Some(class()?);
        }
        (message::IP, message::IP_TTL) | (message::IPV6, message::IPV6_HOPLIMIT) if inet => {
            options.hop_limit = Some(class()?);
        }
        (message::IP, message::IP_PKTINFO) if inet && data.len() >= 12 => {
            let source: [u8; 4] =
                *data.get(4..).and_then(<[u8]>::first_chunk).ok_or(Errno::EINVAL)?;
            options.source = Some(IpAddr::V4(Ipv4Addr::from(source)));
            options.link = interface(i32_at(data, 0));
        }
        (message::IPV6, message::IPV6_PKTINFO) if inet && data.len() >= 20 => {
            let source: [u8; 16] = *data.first_chunk().ok_or(Errno::EINVAL)?;
            let source = Ipv6Addr::from(source);
            options.source = Some(source.to_ipv4_mapped().map_or(IpAddr::V6(source), IpAddr::V4));
            options.link = interface(i32_at(data, 16));
        }
        (message::UDP, message::UDP_SEGMENT) if matches!(socket.kind, Kind::Udp(_)) => {
            let bytes: [u8; 2] = data.try_into().map_err(|_| Errno::EINVAL)?;
            options.segment_bytes = Some(u16::from_ne_bytes(bytes));
        }
        (message::SOCKET, message::RIGHTS) => {
            if data.len() / 4 > RIGHTS_MAX {
                return Err(Errno::EINVAL);
            }
            for number in data.as_chunks::<4>().0 {
                let fd = base::Fd(i32::from_ne_bytes(*number));
                extra.rights.push(process.files.get(fd)?);
            }
        }
        // There is one process: it can only be its own.
        (message::SOCKET, message::CREDENTIALS) if data.len() >= 12 => {
            if i32_at(data, 0) != Some(crate::process::PROCESS_ID.0.cast_signed()) {
                return Err(Errno::ESRCH);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// What was written of control messages.
pub(crate) struct Written {
    /// Bytes, headers and padding included.
    pub(crate) bytes: u64,
    /// There was no room for all.
    pub(crate) truncated: bool,
}

/// Writes the control messages that the program asked for.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn write_control(
    process: &Process,
    socket: &SocketFile,
    incoming: &Incoming,
    room: (UserAddr, u64),
    close_on_exec: bool,
) -> Result<Written, Errno> {
    let mut writer = Writer { bytes: Vec::new(), room: room.1 as usize, truncated: false };
    if let Some(details) = &incoming.details {
        write_details(&mut writer, socket, details);
    }
    if let Some(failure) = &incoming.failure {
        write_failure(&mut writer, socket, failure);
    }
    // A stream that gives nothing is at its end; a datagram may be empty.
    let came = incoming.length > 0 || !socket.is_stream();
    if socket.domain() == family::UNIX && passes_credentials(socket) && came {
        writer.put(message::SOCKET, message::CREDENTIALS, &credentials());
    }
    if !incoming.rights.is_empty() {
        write_rights(&mut writer, process, incoming, close_on_exec);
    }
    if !writer.bytes.is_empty() {
        process.memory.write_bytes(room.0, &writer.bytes)?;
    }
    Ok(Written { bytes: writer.bytes.len() as u64, truncated: writer.truncated })
}

struct Writer {
    bytes: Vec<u8>,
    room: usize,
    truncated: bool,
}

impl Writer {
    fn put(&mut self, level: i32, kind: i32, data: &[u8]) {
        let left = self.room.saturating_sub(self.bytes.len());
        if left < HEADER_BYTES {
            self.truncated = true;
            return;
        }
        let fits = data.len().min(left - HEADER_BYTES);
        self.truncated |= fits < data.len();
        let whole = (HEADER_BYTES + fits) as u64;
        self.bytes.extend_from_slice(&whole.to_ne_bytes());
        self.bytes.extend_from_slice(&level.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data.get(..fits).unwrap_or_default());
        let padded = self.bytes.len().next_multiple_of(8).min(self.room);
        self.bytes.resize(padded, 0);
    }
}

fn write_details(writer: &mut Writer, socket: &SocketFile, details: &Received) {
    let settings = *socket.settings.lock();
    let index = details.link.index().to_ne_bytes();
    if let Some((kind, bytes)) = settings.stamps.message(details.came) {
        writer.put(message::SOCKET, kind, &bytes);
    }
    if settings.dropped && details.dropped != 0 {
        writer.put(message::SOCKET, message::RXQ_OVFL, &details.dropped.to_ne_bytes());
    }
    let number = |value: u8| i32::from(value).to_ne_bytes();
    // Where the datagram was sent to: nothing translates addresses here, so the port is the socket's.
    let destination = || {
        let Kind::Udp(udp) = &socket.kind else { return Vec::new() };
        Address::Inet(SocketAddr::new(details.to, udp.local_address().port())).bytes()
    };
    let mapped = match details.to {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    if settings.packet_info_v6 && socket.domain() == family::INET6 {
        let mut info = mapped.octets().to_vec();
        info.extend_from_slice(&index);
        writer.put(message::IPV6, message::IPV6_PKTINFO, &info);
    }
    match details.to {
        IpAddr::V4(to) => {
            if settings.packet_info {
                let mut info = index.to_vec();
                // Twice: the address that was used here, and the one in the packet.
                info.extend_from_slice(&to.octets());
                info.extend_from_slice(&to.octets());
                writer.put(message::IP, message::IP_PKTINFO, &info);
            }
            if settings.receive_ttl {
                writer.put(message::IP, message::IP_TTL, &number(details.hop_limit));
            }
            if settings.receive_tos {
                writer.put(message::IP, message::IP_TOS, &[details.traffic_class]);
            }
            if settings.destination {
                writer.put(message::IP, message::IP_ORIGDSTADDR, &destination());
            }
        }
        IpAddr::V6(_) => {
            if settings.receive_hop_limit {
                writer.put(message::IPV6, message::IPV6_HOPLIMIT, &number(details.hop_limit));
            }
            if settings.receive_class {
                writer.put(message::IPV6, message::IPV6_TCLASS, &number(details.traffic_class));
            }
            if settings.destination_v6 {
                writer.put(message::IPV6, message::IPV6_ORIGDSTADDR, &destination());
            }
        }
    }
}

/// `struct sock_extended_err` (ip(7)) and, as a socket's address, who sent the message.
fn write_failure(writer: &mut Writer, socket: &SocketFile, failure: &UdpFailure) {
    const ORIGIN_ICMP: u8 = 2;
    const ORIGIN_ICMP6: u8 = 3;
    let origin = if failure.offender.is_ipv4() { ORIGIN_ICMP } else { ORIGIN_ICMP6 };
    // The error, where it comes from, 8 bytes that only other origins use, and an address.
    let mut bytes = [0; 16 + 28];
    let mut put = |at: usize, part: &[u8]| {
        for (slot, byte) in bytes.iter_mut().skip(at).zip(part) {
            *slot = *byte;
        }
    };
    put(0, &failure.errno.number().to_ne_bytes());
    put(4, &[origin, failure.kind, failure.code]);
    let (level, kind, length) = match (socket.domain() == family::INET6, failure.offender) {
        (false, IpAddr::V4(offender)) => {
            put(16, &family::INET.to_ne_bytes());
            put(20, &offender.octets());
            (message::IP, message::IP_RECVERR, 32)
        }
        (_, offender) => {
            let offender = match offender {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            put(16, &family::INET6.to_ne_bytes());
            put(24, &offender.octets());
            (message::IPV6, message::IPV6_RECVERR, 44)
        }
    };
    writer.put(level, kind, bytes.get(..length).unwrap_or_default());
}

/// Hands out descriptors for the files that came, as many as there is room for.
fn write_rights(writer: &mut Writer, process: &Process, incoming: &Incoming, cloexec: bool) {
    let left = writer.room.saturating_sub(writer.bytes.len() + HEADER_BYTES) / 4;
    let mut numbers = Vec::new();
    for file in incoming.rights.iter().take(left) {
        match process.files.insert(alloc::sync::Arc::clone(file), cloexec) {
            Ok(fd) => numbers.extend_from_slice(&fd.0.to_ne_bytes()),
            Err(_) => break,
        }
    }
    writer.truncated |= numbers.len() / 4 < incoming.rights.len();
    if !numbers.is_empty() {
        writer.put(message::SOCKET, message::RIGHTS, &numbers);
    }
}
