//! setsockopt and getsockopt: decoding, and the options of the socket level.

use crate::call::Call;
use crate::credentials::capability;
use crate::process::PROCESS_ID;
use crate::socket_address::family;
use crate::socket_device as device;
use crate::socket_file::{Kind, SocketFile};
use crate::socket_multipath as multipath;
use crate::socket_option_inet as inet;
use crate::socket_option_kept::{self as table, keep, kept, kept_long};
use crate::socket_option_tcp as tcp;
use crate::socket_timestamp::{self as timestamp, Stamps};
use crate::table::{Row, partial};
use crate::trace::Argument::{Fd, Hex, Int, Name};
use abi::number as nr;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::{Errno, UserAddr};
use core::time::Duration;
use mm::Mm;
use net::{Filter, INSTRUCTIONS_MAX, LinkId};

const LEVELS: &[(u64, &str)] = &[
    (0, "SOL_IP"),
    (1, "SOL_SOCKET"),
    (6, "SOL_TCP"),
    (17, "SOL_UDP"),
    (41, "SOL_IPV6"),
    (284, "SOL_MPTCP"),
];

const NOTE: &str = "hints are kept; what needs an effect (SO_TIMESTAMPING, SO_TIMESTAMP of streams, SO_PEEK_OFF, SO_ZEROCOPY, IP_CHECKSUM, TCP_REPAIR …) ENOPROTOOPT, of MPTCP but for its INFO EOPNOTSUPP";

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(nr::SETSOCKOPT, "setsockopt", &[Fd, Name(LEVELS), Int, Hex, Int], NOTE, |call| {
        setsockopt(call).into()
    }),
    partial(nr::GETSOCKOPT, "getsockopt", &[Fd, Name(LEVELS), Int, Hex, Hex], NOTE, |call| {
        getsockopt(call).into()
    }),
];

/// Levels of options.
pub(crate) mod level {
    pub(crate) const IP: i32 = 0;
    pub(crate) const SOCKET: i32 = 1;
    pub(crate) const TCP: i32 = 6;
    pub(super) const UDP: i32 = 17;
    pub(crate) const IPV6: i32 = 41;
    pub(super) const NETLINK: i32 = 270;
    pub(super) const MPTCP: i32 = 284;
}

/// Options of the socket level (`SO_*`).
pub(crate) mod so {
    pub(crate) const RXQ_OVFL: i32 = 40;
    pub(crate) const DEBUG: i32 = 1;
    pub(crate) const REUSEADDR: i32 = 2;
    pub(crate) const TYPE: i32 = 3;
    pub(crate) const ERROR: i32 = 4;
    pub(crate) const DONTROUTE: i32 = 5;
    pub(crate) const BROADCAST: i32 = 6;
    pub(crate) const SNDBUF: i32 = 7;
    pub(crate) const RCVBUF: i32 = 8;
    pub(crate) const KEEPALIVE: i32 = 9;
    pub(crate) const OOBINLINE: i32 = 10;
    pub(crate) const PRIORITY: i32 = 12;
    pub(crate) const LINGER: i32 = 13;
    pub(crate) const REUSEPORT: i32 = 15;
    pub(crate) const PASSCRED: i32 = 16;
    pub(crate) const PEERCRED: i32 = 17;
    pub(crate) const RCVLOWAT: i32 = 18;
    pub(crate) const SNDLOWAT: i32 = 19;
    pub(crate) const RCVTIMEO: i32 = 20;
    pub(crate) const SNDTIMEO: i32 = 21;
    pub(crate) const BINDTODEVICE: i32 = 25;
    pub(crate) const ATTACH_FILTER: i32 = 26;
    pub(crate) const DETACH_FILTER: i32 = 27;
    pub(crate) const PEERNAME: i32 = 28;
    pub(crate) const ACCEPTCONN: i32 = 30;
    pub(crate) const SNDBUFFORCE: i32 = 32;
    pub(crate) const RCVBUFFORCE: i32 = 33;
    pub(crate) const MARK: i32 = 36;
    pub(crate) const PROTOCOL: i32 = 38;
    pub(crate) const DOMAIN: i32 = 39;
    pub(crate) const LOCK_FILTER: i32 = 44;
    pub(crate) const BUSY_POLL: i32 = 46;
    pub(crate) const COOKIE: i32 = 57;
    pub(crate) const BINDTOIFINDEX: i32 = 62;
    pub(crate) const RCVTIMEO_NEW: i32 = 66;
    pub(crate) const SNDTIMEO_NEW: i32 = 67;
    pub(crate) const PREFER_BUSY_POLL: i32 = 69;
    pub(crate) const BUSY_POLL_BUDGET: i32 = 70;
}

/// Largest buffer that a program may ask for (`net.core.rmem_max`), in bytes.
const BUFFER_MAX: usize = 212_992;
/// Largest that the superuser may: Linux has no limit there, and this kernel its memory to keep, in bytes.
const BUFFER_MAX_FORCED: usize = 32 << 20;
/// Smallest (Linux: `SOCK_MIN_RCVBUF`, `SOCK_MIN_SNDBUF`), in bytes.
const BUFFER_MIN_RECEIVE: usize = 2304;
const BUFFER_MIN_SEND: usize = 4608;

/// An option's value as the program gives it.
pub(crate) struct Value<'a> {
    memory: &'a Mm,
    at: UserAddr,
    /// Length in bytes.
    pub(crate) length: usize,
    /// Whoever sets it has CAP_NET_ADMIN.
    pub(crate) is_admin: bool,
    /// Or CAP_NET_RAW.
    pub(crate) may_forge: bool,
}

impl Value<'_> {
    /// An `int`.
    ///
    /// # Errors
    /// `EINVAL`: shorter. `EFAULT`.
    #[inline(never)]
    pub(crate) fn int(&self) -> Result<i32, Errno> {
        if self.length < 4 { Err(Errno::EINVAL) } else { self.memory.read(self.at) }
    }

    /// An `int`, or a single byte, which options of the IP level may be.
    ///
    /// # Errors
    /// `EINVAL`: empty. `EFAULT`.
    #[inline(never)]
    pub(crate) fn int_or_byte(&self) -> Result<i32, Errno> {
        match self.length {
            0 => Err(Errno::EINVAL),
            1..4 => self.memory.read::<u8>(self.at).map(i32::from),
            _ => self.int(),
        }
    }

    /// Its first bytes, as many as `into` takes; it has so many.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn read(&self, into: &mut [u8]) -> Result<(), Errno> {
        self.memory.read_bytes(self.at, into)
    }

    /// The first `N` bytes.
    ///
    /// # Errors
    /// `EINVAL`: shorter. `EFAULT`.
    pub(crate) fn array<const N: usize>(&self) -> Result<[u8; N], Errno> {
        if self.length < N {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; N];
        self.memory.read_bytes(self.at, &mut bytes)?;
        Ok(bytes)
    }
}

/// Options of netlink (`NETLINK_ADD_MEMBERSHIP` to `NETLINK_GET_STRICT_CHK`).
const NETLINK_NAMES: core::ops::RangeInclusive<i32> = 1..=12;

/// Those with an effect, and the groups.
mod of_netlink {
    pub(super) const ADD_MEMBERSHIP: i32 = 1;
    pub(super) const DROP_MEMBERSHIP: i32 = 2;
    pub(super) const LIST_MEMBERSHIPS: i32 = 9;
    pub(super) const CAP_ACK: i32 = 10;
    /// What getsockopt tells beside them: truth values.
    pub(super) const READ: [i32; 6] = [3, 4, 5, CAP_ACK, 11, 12];
}

fn set_netlink(socket: &SocketFile, name: i32, number: i32) -> Result<(), Errno> {
    let Kind::Netlink(netlink) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    match name {
        of_netlink::ADD_MEMBERSHIP | of_netlink::DROP_MEMBERSHIP => {
            let number = number.cast_unsigned();
            let group = number.checked_sub(1).and_then(|bit| 1_u32.checked_shl(bit));
            netlink.join(group.ok_or(Errno::EINVAL)?, name == of_netlink::ADD_MEMBERSHIP);
            return Ok(());
        }
        of_netlink::CAP_ACK => netlink.set_capped(number != 0),
        _ => {}
    }
    keep(socket, level::NETLINK, name, i32::from(number != 0))
}

fn get_netlink(socket: &SocketFile, name: i32, room: usize) -> Result<Vec<u8>, Errno> {
    let Kind::Netlink(netlink) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    match name {
        of_netlink::LIST_MEMBERSHIPS => Ok(int(netlink.local().1.cast_signed())),
        name if !of_netlink::READ.contains(&name) => Err(Errno::ENOPROTOOPT),
        _ if room < 4 => Err(Errno::EINVAL),
        _ => Ok(truth(kept(socket, level::NETLINK, name) != 0)),
    }
}

fn setsockopt(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let socket = SocketFile::of(&open)?;
    let length = usize::try_from(call.int(4)).map_err(|_| Errno::EINVAL)?;
    let is_admin = call.thread.identity.has(capability::NET_ADMIN);
    let may_forge = call.thread.identity.has(capability::NET_RAW);
    let value = Value { memory: call.memory(), at: call.address(3), length, is_admin, may_forge };
    let name = call.int(2);
    let is_forced =
        call.int(1) == level::SOCKET && matches!(name, so::SNDBUFFORCE | so::RCVBUFFORCE);
    if is_forced && !is_admin {
        return Err(Errno::EPERM);
    }
    match (call.int(1), socket.domain()) {
        (level::SOCKET, _) => set_socket(socket, name, &value)?,
        (level::TCP, family::INET | family::INET6) => tcp::set(socket, name, &value)?,
        (level::UDP, family::INET | family::INET6) => inet::set_udp_level(socket, name, &value)?,
        (level::IP, family::INET | family::INET6) => inet::set_ip(socket, name, &value)?,
        (level::IPV6, family::INET6) => inet::set_ipv6(socket, name, &value)?,
        (_, family::UNIX) => return Err(Errno::EOPNOTSUPP),
        // Beside CAP_ACK and groups: announcements, strict checking, long errors; nothing depends on them.
        (level::NETLINK, family::NETLINK) if NETLINK_NAMES.contains(&name) => {
            set_netlink(socket, name, value.int()?)?;
        }
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(0)
}

fn getsockopt(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let socket = SocketFile::of(&open)?;
    let length_at = call.address(4);
    let room: i32 = call.memory().read(length_at)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let name = call.int(2);
    let value = match (call.int(1), socket.domain()) {
        (level::SOCKET, _) => get_socket(socket, name, room)?,
        (level::TCP, family::INET | family::INET6) => tcp::get(socket, name)?,
        (level::UDP, family::INET | family::INET6) => inet::get_udp_level(socket, name)?,
        (level::IP, family::INET | family::INET6) => inet::get_ip(socket, name)?,
        (level::IPV6, family::INET6) => inet::get_ipv6(socket, name)?,
        (level::MPTCP, family::INET | family::INET6) => multipath::get(socket, name)?,
        (level::NETLINK, family::NETLINK) => get_netlink(socket, name, room)?,
        _ => return Err(wrong_level(socket)),
    };
    let count = room.min(value.len());
    call.memory().write_bytes(call.address(3), value.get(..count).unwrap_or_default())?;
    call.memory().write(length_at, &(count as i32))?;
    Ok(0)
}

/// An `int` as bytes.
#[inline(never)]
pub(crate) fn int(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// A truth value as an `int`.
pub(crate) fn truth(value: bool) -> Vec<u8> {
    int(i32::from(value))
}

/// A `long` as bytes.
#[inline(never)]
pub(crate) fn long(value: i64) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// What getsockopt says to a level that is of another kind of socket.
pub(crate) fn wrong_level(socket: &SocketFile) -> Errno {
    if socket.domain() == family::INET6 { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP }
}

/// `struct ucred` of the one process: its id, user 0, group 0.
pub(crate) fn credentials() -> [u8; 12] {
    let mut bytes = [0; 12];
    for (slot, byte) in bytes.iter_mut().zip(PROCESS_ID.0.to_ne_bytes()) {
        *slot = byte;
    }
    bytes
}

/// `SO_PASSCRED` is on.
pub(crate) fn passes_credentials(socket: &SocketFile) -> bool {
    kept(socket, level::SOCKET, so::PASSCRED) != 0
}

/// `struct timeval` as a time limit; zero is none.
fn time_limit(value: &Value<'_>) -> Result<Option<Duration>, Errno> {
    let bytes: [u8; 16] = value.array()?;
    let (seconds, micros) = bytes.split_at(8);
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| i64::from_ne_bytes(*bytes));
    let (seconds, micros) = (number(seconds), number(micros));
    let micros = u32::try_from(micros).ok().filter(|micros| *micros < 1_000_000);
    let micros = micros.ok_or(Errno::EDOM)?;
    // Linux takes a negative limit for one that has run out: the shortest there is.
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let limit = Duration::new(seconds, micros * 1000);
    Ok((!limit.is_zero()).then_some(limit))
}

fn time_bytes(limit: Option<Duration>) -> Vec<u8> {
    let limit = limit.unwrap_or_default();
    let mut bytes = limit.as_secs().to_ne_bytes().to_vec();
    bytes.extend_from_slice(&u64::from(limit.subsec_micros()).to_ne_bytes());
    bytes
}

fn set_socket(socket: &SocketFile, name: i32, value: &Value<'_>) -> Result<(), Errno> {
    if name == so::BINDTODEVICE {
        return device::set_name(socket, value);
    }
    let number = value.int()?;
    let on = number != 0;
    match old_name(name) {
        so::RCVTIMEO => {
            socket.settings.lock().receive_timeout = time_limit(value)?;
        }
        so::SNDTIMEO => {
            socket.settings.lock().send_timeout = time_limit(value)?;
        }
        so::LINGER => {
            let bytes: [u8; 8] = value.array()?;
            let [_, _, _, _, seconds @ ..] = bytes;
            let seconds = i32::from_ne_bytes(seconds);
            let linger = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            if let Kind::Tcp(tcp) = &socket.kind {
                tcp.set_options(|options| options.linger = on.then_some(linger));
            } else {
                let both = i64::from(seconds) << 32 | i64::from(on);
                keep(socket, level::SOCKET, name, both)?;
            }
        }
        so::SNDBUF | so::RCVBUF => {
            let asked = usize::try_from(number).unwrap_or(usize::MAX).min(BUFFER_MAX);
            set_buffer(socket, name == so::SNDBUF, asked);
        }
        so::SNDBUFFORCE | so::RCVBUFFORCE => {
            let asked = usize::try_from(number).unwrap_or(0).min(BUFFER_MAX_FORCED);
            set_buffer(socket, name == so::SNDBUFFORCE, asked);
        }
        so::REUSEADDR | so::REUSEPORT | so::KEEPALIVE | so::BROADCAST => {
            if name == so::REUSEPORT && on && socket.domain() == family::UNIX {
                return Err(Errno::EOPNOTSUPP);
            }
            set_flag(socket, name, on)?;
        }
        so::OOBINLINE => {
            socket.set_urgent_inline(on);
            keep(socket, level::SOCKET, name, i32::from(on))?;
        }
        so::BINDTOIFINDEX => device::set_index(socket, number)?,
        so::ATTACH_FILTER => set_filter(socket, Some(filter(socket, value)?))?,
        so::DETACH_FILTER => {
            set_filter(socket, None)?;
        }
        so::LOCK_FILTER => {
            let mut settings = socket.settings.lock();
            if settings.filter_locked && !on {
                return Err(Errno::EPERM);
            }
            settings.filter_locked = on;
        }
        name if Stamps::has(name) => timestamp::set(socket, name, on)?,
        // Only datagrams get lost.
        so::RXQ_OVFL => socket.settings.lock().dropped = on,
        so::RCVLOWAT if number <= 1 => {}
        _ => table::set(socket, level::SOCKET, name, number, value)?,
    }
    Ok(())
}

/// The program of `struct sock_fprog`, checked in the order in which Linux does.
fn filter(socket: &SocketFile, value: &Value<'_>) -> Result<Box<Filter>, Errno> {
    const FPROG_BYTES: usize = 16;
    if value.length != FPROG_BYTES {
        return Err(Errno::EINVAL);
    }
    let [count, at]: [u64; 2] = value.memory.read(value.at)?;
    let count = usize::from(count as u16);
    if socket.settings.lock().filter_locked {
        return Err(Errno::EPERM);
    }
    if at == 0 || !(1..=INSTRUCTIONS_MAX).contains(&count) {
        return Err(Errno::EINVAL);
    }
    let mut program = alloc::vec![0; 8 * count];
    value.memory.read_bytes(UserAddr(at), &mut program)?;
    Filter::new(&program).map(Box::new)
}

fn set_filter(socket: &SocketFile, filter: Option<Box<Filter>>) -> Result<(), Errno> {
    let detaches = filter.is_none();
    if socket.settings.lock().filter_locked {
        return Err(Errno::EPERM);
    }
    let old = match &socket.kind {
        Kind::Udp(udp) => udp.set_filter(filter),
        Kind::Raw(raw) => raw.set_filter(filter),
        Kind::Unix(unix) => unix.set_filter(filter),
        Kind::Netlink(netlink) => netlink.set_filter(filter),
        Kind::Tcp(_) if detaches => None,
        Kind::Tcp(_) => return Err(Errno::ENOPROTOOPT),
    };
    if detaches && old.is_none() { Err(Errno::ENOENT) } else { Ok(()) }
}

fn set_flag(socket: &SocketFile, name: i32, on: bool) -> Result<(), Errno> {
    match &socket.kind {
        Kind::Tcp(tcp) => tcp.set_options(|options| match name {
            so::REUSEADDR => options.reuse_address = on,
            so::REUSEPORT => options.reuse_port = on,
            so::KEEPALIVE => options.keep_alive = on,
            _ => {}
        }),
        Kind::Udp(udp) => udp.set_options(|options| match name {
            so::REUSEADDR => options.reuse_address = on,
            so::REUSEPORT => options.reuse_port = on,
            so::BROADCAST => options.broadcast = on,
            _ => {}
        }),
        Kind::Raw(raw) if name == so::BROADCAST => {
            raw.set_options(|options| options.broadcast = on);
        }
        Kind::Raw(_) | Kind::Unix(_) | Kind::Netlink(_) => {}
    }
    keep(socket, level::SOCKET, name, i32::from(on))
}

/// Linux doubles what is asked, for its own bookkeeping, and tells the double.
fn set_buffer(socket: &SocketFile, send: bool, asked: usize) {
    let least = if send { BUFFER_MIN_SEND } else { BUFFER_MIN_RECEIVE };
    let granted = (asked * 2).max(least);
    match &socket.kind {
        Kind::Tcp(tcp) => tcp.set_options(|options| {
            if send {
                options.send_buffer = Some(granted);
            } else {
                options.receive_buffer = Some(granted);
            }
        }),
        Kind::Udp(udp) => udp.set_options(|options| {
            if send {
                options.send_buffer = granted;
            } else {
                options.receive_buffer = granted;
            }
        }),
        Kind::Raw(raw) if !send => raw.set_options(|options| options.receive_buffer = granted),
        // Every answer finds room.
        Kind::Netlink(netlink) => netlink.set_buffer(send, granted),
        Kind::Raw(_) | Kind::Unix(_) => {}
    }
}

/// Linux's defaults of TCP (`net.ipv4.tcp_rmem`, `tcp_wmem`), in bytes.
const TCP_RECEIVE_BUFFER: usize = 131_072;
const TCP_SEND_BUFFER: usize = 16_384;

fn buffer(socket: &SocketFile, send: bool) -> Result<Vec<u8>, Errno> {
    let bytes = match &socket.kind {
        Kind::Tcp(tcp) if send => tcp.options().send_buffer.unwrap_or(TCP_SEND_BUFFER),
        Kind::Tcp(tcp) => tcp.options().receive_buffer.unwrap_or(TCP_RECEIVE_BUFFER),
        Kind::Udp(udp) if send => udp.options().send_buffer,
        Kind::Udp(udp) => udp.options().receive_buffer,
        Kind::Raw(raw) if !send => raw.options()?.receive_buffer,
        Kind::Netlink(netlink) => netlink.buffer(send).unwrap_or(BUFFER_MAX),
        Kind::Raw(_) | Kind::Unix(_) => BUFFER_MAX,
    };
    Ok(int(i32::try_from(bytes).unwrap_or(i32::MAX)))
}

/// The options of 64-bit time are those of old where time has always had 64 bits.
fn old_name(name: i32) -> i32 {
    match name {
        so::RCVTIMEO_NEW | so::SNDTIMEO_NEW => name - so::RCVTIMEO_NEW + so::RCVTIMEO,
        _ => name,
    }
}

/// `struct linger` in memory: on, and seconds.
fn linger_of(time: Duration) -> i64 {
    (time.as_secs() as i64) << 32 | 1
}

fn get_socket(socket: &SocketFile, name: i32, room: usize) -> Result<Vec<u8>, Errno> {
    if name == so::COOKIE {
        let cookie = socket.number().cast_signed();
        return if room < 8 { Err(Errno::EINVAL) } else { Ok(long(cookie)) };
    }
    Ok(match old_name(name) {
        so::TYPE => int(socket.type_number()),
        so::DOMAIN => int(i32::from(socket.domain())),
        so::PROTOCOL => int(socket.protocol_number()),
        so::ERROR => int(socket.take_error().map_or(0, |errno| i32::from(errno.number()))),
        so::PEERCRED => match &socket.kind {
            // There is one process, and root runs it.
            Kind::Unix(_) if socket.is_listening() || socket.peer_address().is_ok() => {
                credentials().to_vec()
            }
            _ => b"\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        },
        so::BINDTODEVICE => device::name(socket, room)?,
        so::BINDTOIFINDEX => int(device::get(socket).map_or(0, LinkId::index).cast_signed()),
        so::PEERNAME => {
            let bytes = socket.peer_address().map_err(|_| Errno::ENOTCONN)?.bytes();
            // Unlike getpeername(2), as Linux has it.
            if bytes.len() < room {
                return Err(Errno::EINVAL);
            }
            bytes
        }
        so::ACCEPTCONN => truth(socket.is_listening()),
        so::SNDBUF => buffer(socket, true)?,
        so::RCVBUF => buffer(socket, false)?,
        so::RCVTIMEO => time_bytes(socket.settings.lock().receive_timeout),
        so::SNDTIMEO => time_bytes(socket.settings.lock().send_timeout),
        name if Stamps::has(name) => truth(timestamp::get(socket, name)),
        so::RXQ_OVFL => truth(socket.settings.lock().dropped),
        so::RCVLOWAT | so::SNDLOWAT => int(1),
        so::LOCK_FILTER => truth(socket.settings.lock().filter_locked),
        so::LINGER => {
            let both = match &socket.kind {
                Kind::Tcp(tcp) => tcp.options().linger.map_or(0, linger_of),
                _ => kept_long(socket, level::SOCKET, name).unwrap_or(0),
            };
            long(both)
        }
        _ => table::get(socket, level::SOCKET, name)?,
    })
}
