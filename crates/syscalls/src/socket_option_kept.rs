//! Options that are kept and read back: hints, and what can only be as it is.

use crate::socket_address::family;
use crate::socket_file::{Kind, SocketFile};
use crate::socket_option::{Value, int, level, long, so};
use alloc::vec::Vec;
use base::Errno;

/// A value that a program set.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    level: i32,
    name: i32,
    value: i64,
}

/// Which sockets have an option: bits.
mod on {
    pub(super) const TCP4: u8 = 1;
    pub(super) const UDP4: u8 = 1 << 1;
    pub(super) const RAW4: u8 = 1 << 2;
    pub(super) const TCP6: u8 = 1 << 3;
    pub(super) const UDP6: u8 = 1 << 4;
    pub(super) const RAW6: u8 = 1 << 5;
    pub(super) const UNIX: u8 = 1 << 6;
    pub(super) const NETLINK: u8 = 1 << 7;
    pub(super) const TCP: u8 = TCP4 | TCP6;
    pub(super) const UDP: u8 = UDP4 | UDP6;
    pub(super) const RAW: u8 = RAW4 | RAW6;
    pub(super) const V6: u8 = TCP6 | UDP6 | RAW6;
    pub(super) const INET: u8 = TCP | UDP | RAW;
    pub(super) const ALL: u8 = u8::MAX;
}

/// What may be set, and what is kept of it.
#[derive(Clone, Copy)]
enum Rule {
    /// On unless 0.
    Truth,
    /// 0 or 1.
    Bit,
    /// `SO_TXREHASH`: 0 or 1, or -1 for the default.
    Rehash,
    /// Any number.
    Whole,
    /// 0 and more.
    Natural,
    /// 0 to 255.
    Byte,
    /// 0 to 65535, never read.
    Budget,
    /// Bytes a second, 8 bytes long when read.
    Rate,
    /// `TCP_LINGER2`: seconds, up to two minutes; 0 is the default.
    Linger,
    /// `TCP_DEFER_ACCEPT`: seconds, as many as some number of retransmissions takes.
    Defer,
    /// `TCP_WINDOW_CLAMP`: bytes, 0 for none.
    Clamp,
    /// `TCP_MAXSEG`: bytes.
    Segment,
    /// `IPV6_ADDR_PREFERENCES`.
    Preferences,
    /// Nothing but the default: for another value it would need an effect that it does not have.
    Fixed,
    /// May be read only.
    Told,
    /// It may be read only, and there is nothing of it.
    Empty,
    /// Anything (or 0 and 1), and it stays as it is.
    Ignored,
    IgnoredBit,
    /// Nothing: `EINVAL`.
    Invalid,
    /// Nothing, and it is not read either: `EOPNOTSUPP`.
    Unsupported,
    /// Nothing, for there is nothing to detach, and it is not read.
    Absent,
}
use Rule::*;

/// An option: level, name, sockets, what may be set, and what is read before anything was.
struct Row(u8, u8, u8, Rule, i16);

const SOL: u8 = level::SOCKET as u8;
const IP: u8 = level::IP as u8;
const TCP: u8 = level::TCP as u8;
const IP6: u8 = level::IPV6 as u8;

/// Linux's names in comments: each is used once. The first row that fits counts.
const ROWS: &[Row] = &[
    Row(SOL, so::DEBUG as u8, on::ALL, Truth, 0),
    // Raw sockets share their "port", the protocol.
    Row(SOL, so::REUSEADDR as u8, on::RAW, Truth, 1),
    Row(SOL, so::REUSEADDR as u8, on::ALL, Truth, 0),
    Row(SOL, so::BROADCAST as u8, on::ALL, Truth, 0),
    Row(SOL, so::KEEPALIVE as u8, on::ALL, Truth, 0),
    Row(SOL, so::OOBINLINE as u8, on::ALL, Truth, 0),
    Row(SOL, so::REUSEPORT as u8, on::ALL, Truth, 0),
    Row(SOL, so::DONTROUTE as u8, on::ALL, Truth, 0),
    Row(SOL, 11, on::ALL, Truth, 0), // SO_NO_CHECK
    Row(SOL, so::PRIORITY as u8, on::ALL, Whole, 0),
    Row(SOL, 14, on::ALL, Ignored, 0), // SO_BSDCOMPAT
    Row(SOL, so::PASSCRED as u8, on::UNIX | on::NETLINK, Truth, 0),
    Row(SOL, so::PASSCRED as u8, on::INET, Unsupported, 0),
    Row(SOL, 34, on::UNIX, Fixed, 0),       // SO_PASSSEC
    Row(SOL, 34, on::INET, Unsupported, 0), // SO_PASSSEC
    Row(SOL, so::MARK as u8, on::ALL, Whole, 0),
    Row(SOL, 41, on::ALL, Truth, 0),       // SO_WIFI_STATUS
    Row(SOL, 42, on::RAW, Unsupported, 0), // SO_PEEK_OFF
    Row(SOL, 42, on::ALL, Fixed, -1),      // SO_PEEK_OFF
    Row(SOL, 43, on::ALL, Truth, 0),       // SO_NOFCS
    Row(SOL, 45, on::ALL, Truth, 0),       // SO_SELECT_ERR_QUEUE
    Row(SOL, so::BUSY_POLL as u8, on::ALL, Natural, 0),
    Row(SOL, 47, on::ALL, Rate, -1),           // SO_MAX_PACING_RATE
    Row(SOL, 48, on::ALL, Told, 64),           // SO_BPF_EXTENSIONS
    Row(SOL, 49, on::ALL, Whole, -1),          // SO_INCOMING_CPU
    Row(SOL, 56, on::ALL, Told, 0),            // SO_INCOMING_NAPI_ID
    Row(SOL, 60, on::TCP | on::UDP, Fixed, 0), // SO_ZEROCOPY
    Row(SOL, 68, on::ALL, Absent, 0),          // SO_DETACH_REUSEPORT_BPF
    Row(SOL, so::PREFER_BUSY_POLL as u8, on::ALL, Truth, 0),
    Row(SOL, so::BUSY_POLL_BUDGET as u8, on::ALL, Budget, 0),
    Row(SOL, 74, on::TCP, Rehash, 1),          // SO_TXREHASH
    Row(SOL, 74, on::ALL, Unsupported, 0),     // SO_TXREHASH
    Row(SOL, 75, on::ALL, Fixed, 0),           // SO_RCVMARK
    Row(IP, 1, on::INET, Whole, 0),            // IP_TOS
    Row(IP, 3, on::INET, Told, 0),             // IP_HDRINCL
    Row(IP, 4, on::INET, Empty, 0),            // IP_OPTIONS
    Row(IP, 5, on::TCP | on::UDP, Invalid, 0), // IP_ROUTER_ALERT
    Row(IP, 5, on::RAW, Fixed, 0),             // IP_ROUTER_ALERT
    Row(IP, 6, on::INET, Truth, 0),            // IP_RECVOPTS
    Row(IP, 7, on::INET, Truth, 0),            // IP_RETOPTS
    Row(IP, 10, on::INET, Whole, 1),           // IP_MTU_DISCOVER
    Row(IP, 18, on::INET, Fixed, 0),           // IP_PASSSEC
    Row(IP, 21, on::INET, Byte, 0),            // IP_MINTTL
    Row(IP, 22, on::RAW, Truth, 0),            // IP_NODEFRAG
    Row(IP, 22, on::INET, Told, 0),            // IP_NODEFRAG
    Row(IP, 23, on::INET, Fixed, 0),           // IP_CHECKSUM
    Row(IP, 24, on::INET, Truth, 0),           // IP_BIND_ADDRESS_NO_PORT
    Row(IP, 25, on::INET, Fixed, 0),           // IP_RECVFRAGSIZE
    Row(IP, 26, on::INET, Fixed, 0),           // IP_RECVERR_RFC4884
    Row(IP, 32, on::INET, Told, 0),            // IP_MULTICAST_IF
    Row(IP, 33, on::INET, Told, 1),            // IP_MULTICAST_TTL
    Row(IP, 34, on::TCP | on::RAW, Truth, 1),  // IP_MULTICAST_LOOP
    Row(IP, 49, on::V6, Bit, 0),               // IP_MULTICAST_ALL
    Row(IP, 49, on::INET, Bit, 1),             // IP_MULTICAST_ALL
    Row(IP, 50, on::INET, Fixed, 0),           // IP_UNICAST_IF
    Row(IP, 51, on::INET, Fixed, 0),           // IP_LOCAL_PORT_RANGE
    Row(TCP, 2, on::TCP, Segment, 0),          // TCP_MAXSEG
    Row(TCP, 8, on::TCP, Linger, 60),          // TCP_LINGER2
    Row(TCP, 9, on::TCP, Defer, 0),            // TCP_DEFER_ACCEPT
    Row(TCP, 10, on::TCP, Clamp, 0),           // TCP_WINDOW_CLAMP
    Row(TCP, 12, on::TCP, Truth, 1),           // TCP_QUICKACK
    Row(TCP, 16, on::TCP, Bit, 0),             // TCP_THIN_LINEAR_TIMEOUTS
    Row(TCP, 17, on::TCP, IgnoredBit, 0),      // TCP_THIN_DUPACK
    Row(TCP, 19, on::TCP, Fixed, 0),           // TCP_REPAIR
    Row(TCP, 23, on::TCP, Whole, 0),           // TCP_FASTOPEN
    Row(TCP, 25, on::TCP, Whole, 0),           // TCP_NOTSENT_LOWAT
    Row(TCP, 27, on::TCP, Fixed, 0),           // TCP_SAVE_SYN
    Row(TCP, 28, on::TCP, Empty, 0),           // TCP_SAVED_SYN
    Row(TCP, 30, on::TCP, Told, 0),            // TCP_FASTOPEN_CONNECT
    Row(TCP, 31, on::TCP, Empty, 0),           // TCP_ULP
    Row(TCP, 34, on::TCP, Fixed, 0),           // TCP_FASTOPEN_NO_COOKIE
    Row(TCP, 36, on::TCP, Fixed, 0),           // TCP_INQ
    Row(TCP, 37, on::TCP, Fixed, 0),           // TCP_TX_DELAY
    Row(IP6, 2, on::V6, Fixed, 0),             // IPV6_2292PKTINFO
    Row(IP6, 3, on::V6, Truth, 0),             // IPV6_2292HOPOPTS
    Row(IP6, 4, on::V6, Truth, 0),             // IPV6_2292DSTOPTS
    Row(IP6, 5, on::V6, Truth, 0),             // IPV6_2292RTHDR
    Row(IP6, 8, on::V6, Fixed, 0),             // IPV6_2292HOPLIMIT
    Row(IP6, 11, on::V6, Fixed, 0),            // IPV6_FLOWINFO
    Row(IP6, 17, on::V6, Told, 0),             // IPV6_MULTICAST_IF
    Row(IP6, 18, on::V6, Told, 1),             // IPV6_MULTICAST_HOPS
    Row(IP6, 19, on::V6, Bit, 1),              // IPV6_MULTICAST_LOOP
    Row(IP6, 22, on::V6, Fixed, 0),            // IPV6_ROUTER_ALERT
    Row(IP6, 23, on::V6, Whole, 1),            // IPV6_MTU_DISCOVER
    Row(IP6, 26, on::V6, Told, 0),             // IPV6_V6ONLY
    Row(IP6, 29, on::V6, Truth, 1),            // IPV6_MULTICAST_ALL
    Row(IP6, 30, on::V6, Fixed, 0),            // IPV6_ROUTER_ALERT_ISOLATE
    Row(IP6, 31, on::V6, Fixed, 0),            // IPV6_RECVERR_RFC4884
    Row(IP6, 33, on::V6, Fixed, 0),            // IPV6_FLOWINFO_SEND
    Row(IP6, 53, on::V6, Truth, 0),            // IPV6_RECVHOPOPTS
    Row(IP6, 54, on::V6, Empty, 0),            // IPV6_HOPOPTS
    Row(IP6, 55, on::V6, Empty, 0),            // IPV6_RTHDRDSTOPTS
    Row(IP6, 56, on::V6, Truth, 0),            // IPV6_RECVRTHDR
    Row(IP6, 57, on::V6, Empty, 0),            // IPV6_RTHDR
    Row(IP6, 58, on::V6, Truth, 0),            // IPV6_RECVDSTOPTS
    Row(IP6, 59, on::V6, Empty, 0),            // IPV6_DSTOPTS
    Row(IP6, 60, on::V6, Fixed, 0),            // IPV6_RECVPATHMTU
    Row(IP6, 62, on::V6, Truth, 0),            // IPV6_DONTFRAG
    Row(IP6, 67, on::V6, Whole, 0),            // IPV6_TCLASS
    Row(IP6, 70, on::V6, Truth, 1),            // IPV6_AUTOFLOWLABEL
    Row(IP6, 72, on::V6, Preferences, 0x500),  // IPV6_ADDR_PREFERENCES
    Row(IP6, 73, on::V6, Byte, 0),             // IPV6_MINHOPCOUNT
    Row(IP6, 76, on::V6, Fixed, 0),            // IPV6_UNICAST_IF
    Row(IP6, 77, on::V6, Fixed, 0),            // IPV6_RECVFRAGSIZE
];

#[cold]
#[inline(never)]
fn row(socket: &SocketFile, level: i32, name: i32) -> Option<&'static Row> {
    let bit = match &socket.kind {
        Kind::Tcp(_) => on::TCP4,
        Kind::Udp(_) => on::UDP4,
        Kind::Raw(_) => on::RAW4,
        Kind::Unix(_) => on::UNIX,
        Kind::Netlink(_) => on::NETLINK,
    };
    let bit = if socket.domain() == family::INET6 { bit << 3 } else { bit };
    let fits =
        |row: &&Row| (i32::from(row.0), i32::from(row.1)) == (level, name) && row.2 & bit != 0;
    ROWS.iter().find(fits)
}

/// Options for which it takes CAP_NET_ADMIN to set them to something unusual.
const PRIVILEGED: [i32; 6] =
    [so::DEBUG, so::PRIORITY, so::MARK, so::BUSY_POLL, so::PREFER_BUSY_POLL, so::BUSY_POLL_BUDGET];

/// Sets an option of the table.
///
/// # Errors
/// `ENOPROTOOPT`: not in the table, or it would need an effect. `EINVAL`, `EOPNOTSUPP` and `ENOENT`
/// as Linux. `EACCES`, `EPERM`: not without CAP_NET_ADMIN.
#[cold]
#[inline(never)]
pub(crate) fn set(
    socket: &SocketFile,
    level: i32,
    name: i32,
    number: i32,
    value: &Value<'_>,
) -> Result<(), Errno> {
    let row = row(socket, level, name).ok_or(Errno::ENOPROTOOPT)?;
    if level == level::SOCKET && !value.is_admin && PRIVILEGED.contains(&name) {
        let is_free = if name == so::PRIORITY { (0..=6).contains(&number) } else { number == 0 };
        match name {
            _ if is_free => {}
            so::DEBUG => return Err(Errno::EACCES),
            _ => return Err(Errno::EPERM),
        }
    }
    if let Absent = row.3 {
        // Linux tells so whether there might have been one.
        let may_have = kept(socket, level::SOCKET, so::REUSEPORT) != 0;
        return Err(if may_have { Errno::ENOENT } else { Errno::EINVAL });
    }
    let whole = match row.3 {
        Rate if value.length >= 8 => i64::from_ne_bytes(value.array()?),
        Rate if number != -1 => i64::from(number.cast_unsigned()),
        rule => i64::from(kept_of(rule, number, row.4)?),
    };
    if matches!(row.3, Ignored | IgnoredBit | Fixed) {
        return Ok(());
    }
    keep(socket, level, name, whole)
}

/// What is kept of `number`.
fn kept_of(rule: Rule, number: i32, default: i16) -> Result<i32, Errno> {
    let (least, most) = match rule {
        Rehash if number == -1 => return Ok(1),
        Segment if number == 0 => return Ok(0),
        Bit | Rehash | IgnoredBit => (0, 1),
        Natural => (0, i32::MAX),
        Byte => (0, 0xff),
        Budget => (0, 0xffff),
        Segment => (SEGMENT_MIN, SEGMENT_MAX),
        Invalid | Absent => (0, -1),
        _ => (i32::MIN, i32::MAX),
    };
    if !(least..=most).contains(&number) {
        return Err(Errno::EINVAL);
    }
    let default = i32::from(default);
    Ok(match rule {
        Truth => i32::from(number != 0),
        Linger if number < 0 => -1,
        Linger if number == 0 => default,
        Linger => number.min(RETRANSMISSION_MAX),
        Defer => deferred(number),
        Clamp if number != 0 => number.max(CLAMP_MIN),
        Preferences => return preferences(number),
        Unsupported => return Err(Errno::EOPNOTSUPP),
        Told | Empty => return Err(Errno::ENOPROTOOPT),
        Fixed if number != default => return Err(Errno::ENOPROTOOPT),
        _ => number,
    })
}

/// `TCP_FIN_TIMEOUT_MAX` and `TCP_RTO_MAX`, in seconds.
const RETRANSMISSION_MAX: i32 = 120;
/// Half of the smallest receive buffer (`SOCK_MIN_RCVBUF`), in bytes.
const CLAMP_MIN: i32 = 1152;
/// `TCP_MIN_MSS` and `MAX_TCP_WINDOW`, in bytes.
const SEGMENT_MIN: i32 = 88;
const SEGMENT_MAX: i32 = 32_767;

/// Linux counts retransmissions (`secs_to_retrans`): each comes after twice the time of the one
/// before.
fn deferred(seconds: i32) -> i32 {
    if seconds <= 0 {
        return 0;
    }
    let (mut period, mut pause) = (1, 1);
    for _ in 1..u8::MAX {
        if period >= seconds {
            break;
        }
        pause = (pause * 2).min(RETRANSMISSION_MAX);
        period += pause;
    }
    period
}

/// One of each pair or none (RFC 5014); neither of the first and of the second are the default.
fn preferences(number: i32) -> Result<i32, Errno> {
    const TEMPORARY: i32 = 1;
    const PUBLIC: i32 = 2;
    const CARE_OF: i32 = 4;
    const EITHER: i32 = 0x100;
    const HOME: i32 = 0x400;
    for exclusive in [TEMPORARY | PUBLIC | EITHER, CARE_OF | HOME, 0x808] {
        if (number & exclusive).count_ones() > 1 {
            return Err(Errno::EINVAL);
        }
    }
    let scope = if number & (TEMPORARY | PUBLIC) == 0 { EITHER } else { 0 };
    let home = if number & CARE_OF == 0 { HOME } else { 0 };
    Ok(number & (TEMPORARY | PUBLIC | CARE_OF) | scope | home)
}

/// An option of the table, as getsockopt tells it.
///
/// # Errors
/// `ENOPROTOOPT`: not in the table, or not to be read. `EOPNOTSUPP`: not of this socket.
#[cold]
#[inline(never)]
pub(crate) fn get(socket: &SocketFile, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
    let row = row(socket, level, name).ok_or(Errno::ENOPROTOOPT)?;
    let value = kept_long(socket, level, name).unwrap_or(i64::from(row.4));
    match row.3 {
        Absent | Budget => Err(Errno::ENOPROTOOPT),
        Unsupported => Err(Errno::EOPNOTSUPP),
        Empty => Ok(Vec::new()),
        Rate => Ok(long(value)),
        _ => Ok(int(value as i32)),
    }
}

/// Keeps an option, so that it reads back.
///
/// # Errors
/// `ENOBUFS`: no memory.
pub(crate) fn keep(
    socket: &SocketFile,
    level: i32,
    name: i32,
    value: impl Into<i64>,
) -> Result<(), Errno> {
    keep_long(socket, Kept { level, name, value: value.into() })
}

/// A connection has the kept options of its listener, but for the priority (`sk_clone_lock` of Linux).
pub(crate) fn inherit(connection: &SocketFile, listener: &SocketFile) {
    let mut kept = listener.kept.lock().clone();
    kept.retain(|kept| (kept.level, kept.name) != (level::SOCKET, so::PRIORITY));
    *connection.kept.lock() = kept;
}

/// Callers know the option, so that there is one for each that exists at most.
#[cold]
#[inline(never)]
fn keep_long(socket: &SocketFile, new: Kept) -> Result<(), Errno> {
    let mut all = socket.kept.lock();
    let same = |old: &&mut Kept| (old.level, old.name) == (new.level, new.name);
    if let Some(old) = all.iter_mut().find(same) {
        *old = new;
        return Ok(());
    }
    all.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
    all.push(new);
    Ok(())
}

/// What was kept, if anything.
#[cold]
#[inline(never)]
pub(crate) fn kept_long(socket: &SocketFile, level: i32, name: i32) -> Option<i64> {
    let all = socket.kept.lock();
    all.iter().find(|old| (old.level, old.name) == (level, name)).map(|old| old.value)
}

/// What was kept, or the default.
pub(crate) fn kept(socket: &SocketFile, level: i32, name: i32) -> i32 {
    let default = || row(socket, level, name).map_or(0, |row| i32::from(row.4));
    kept_long(socket, level, name).map_or_else(default, |value| value as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of Linux 6.18.
    #[test]
    fn values_are_kept_as_linux_keeps_them() {
        let deferred_of =
            [(-1, 0), (1, 1), (2, 3), (64, 127), (200, 247), (1000, 1087), (40_000, 29_887)];
        for (asked, is) in deferred_of {
            assert_eq!(kept_of(Defer, asked, 0), Ok(is), "{asked}");
        }
        for (asked, is) in [(-5, -1), (0, 60), (64, 64), (200, 120)] {
            assert_eq!(kept_of(Linger, asked, 60), Ok(is), "{asked}");
        }
        for (asked, is) in [(-1, 1152), (0, 0), (64, 1152), (40_000, 40_000)] {
            assert_eq!(kept_of(Clamp, asked, 0), Ok(is), "{asked}");
        }
        for (asked, is) in [(0, Ok(0)), (64, Err(Errno::EINVAL)), (200, Ok(200))] {
            assert_eq!(kept_of(Segment, asked, 0), is, "{asked}");
        }
        let preferred = [
            (-1, Err(Errno::EINVAL)),
            (0, Ok(1280)),
            (1, Ok(1025)),
            (2, Ok(1026)),
            (255, Err(Errno::EINVAL)),
            (256, Ok(1280)),
            (1000, Ok(1280)),
        ];
        for (asked, is) in preferred {
            assert_eq!(kept_of(Preferences, asked, 0x500), is, "{asked}");
        }
        assert_eq!(kept_of(Rehash, -1, 1), Ok(1));
        assert_eq!(kept_of(Bit, -1, 1), Err(Errno::EINVAL));
        assert_eq!(kept_of(Fixed, -1, -1), Ok(-1));
        assert_eq!(kept_of(Fixed, 1, 0), Err(Errno::ENOPROTOOPT));
    }

    #[test]
    fn no_row_is_hidden_by_one_before() {
        for (at, Row(level, name, sockets, ..)) in ROWS.iter().enumerate() {
            let before = ROWS.iter().take(at).filter(|row| (row.0, row.1) == (*level, *name));
            let taken = before.fold(0, |taken, row| taken | row.2);
            assert_ne!(sockets & !taken, 0, "level {level}, option {name}");
        }
    }
}
