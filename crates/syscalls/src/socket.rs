//! Sockets: making, naming, connecting, accepting.

use crate::call::{Call, Failure, Outcome, Restart};
use crate::credentials::capability;
use crate::file_io::outcome;
use crate::files::{PathArgument, masked};
use crate::process::{PROCESS_ID, Process};
use crate::socket_address::{Address, Destination, family, other_family};
use crate::socket_file::{Kind, SocketFile};
use crate::socket_option_kept::inherit;
use crate::table::{Row, full, partial};
use crate::trace::Argument::{self, Fd, Flags, Hex, Int, Name};
use abi::file::AT_FDCWD;
use abi::number as nr;
use alloc::sync::Arc;
use base::{Errno, UserAddr};
use net::{
    Family, NetlinkFamily, NetlinkSocket, RawSocket, Shutdown, TcpSocket, UdpSocket, UnixKind,
    UnixName, UnixSocket, UnixTarget,
};
use vfs::{FileRef, FileType, OpenFile, OpenFlags};

const DOMAINS: &[(u64, &str)] =
    &[(1, "AF_UNIX"), (2, "AF_INET"), (10, "AF_INET6"), (16, "AF_NETLINK"), (17, "AF_PACKET")];
const SHUT: &[(u64, &str)] = &[(0, "SHUT_RD"), (1, "SHUT_WR"), (2, "SHUT_RDWR")];
const SOCK_FLAGS: Argument = Flags(&[(0o2_000_000, "SOCK_CLOEXEC"), (0o4_000, "SOCK_NONBLOCK")]);

/// The calls of this family.
pub const ROWS: &[Row] = &[
    partial(
        nr::SOCKET,
        "socket",
        &[Name(DOMAINS), Hex, Int],
        "TCP, UDP, ping and raw over IPv4 and IPv6, Unix, netlink for routing; MPTCP between \
         sockets of this machine, else it falls back to TCP; AF_PACKET is EAFNOSUPPORT",
        |call| socket(call).into(),
    ),
    full(nr::BIND, "bind", &[Fd, Hex, Int], |call| bind(call).into()),
    full(nr::LISTEN, "listen", &[Fd, Int], |call| listen(call).into()),
    full(nr::ACCEPT, "accept", &[Fd, Hex, Hex], |call| outcome(call, |call| accept(call, 0))),
    full(nr::ACCEPT4, "accept4", &[Fd, Hex, Hex, SOCK_FLAGS], |call| {
        outcome(call, |call| accept(call, call.unsigned(3)))
    }),
    full(nr::CONNECT, "connect", &[Fd, Hex, Int], |call| outcome(call, connect)),
    full(nr::GETSOCKNAME, "getsockname", &[Fd, Hex, Hex], |call| getsockname(call).into()),
    full(nr::GETPEERNAME, "getpeername", &[Fd, Hex, Hex], |call| getpeername(call).into()),
    full(nr::SOCKETPAIR, "socketpair", &[Name(DOMAINS), Hex, Int, Hex], |call| {
        socketpair(call).into()
    }),
    full(nr::SHUTDOWN, "shutdown", &[Fd, Name(SHUT)], |call| shutdown(call).into()),
];

/// Types of sockets, and flags beside them.
pub(crate) mod kind {
    pub(crate) const STREAM: u32 = 1;
    pub(crate) const DATAGRAM: u32 = 2;
    pub(crate) const RAW: u32 = 3;
    pub(crate) const SEQPACKET: u32 = 5;
    pub(crate) const MASK: u32 = 15;
    pub(crate) const NONBLOCK: u32 = 0o4_000;
    pub(crate) const CLOEXEC: u32 = 0o2_000_000;
}

/// Protocols.
pub(crate) mod protocol {
    pub(crate) const ANY: i32 = 0;
    pub(crate) const ICMP: i32 = 1;
    pub(crate) const TCP: i32 = 6;
    pub(crate) const UDP: i32 = 17;
    pub(crate) const ICMPV6: i32 = 58;
    pub(crate) const MPTCP: i32 = 262;
    /// Of netlink.
    pub(crate) const ROUTE: i32 = 0;
    pub(crate) const GENERIC: i32 = 16;
}

/// Gives a new socket a descriptor. `flags`: `SOCK_CLOEXEC` and `SOCK_NONBLOCK`, which are the
/// same bits as those of open(2).
pub(crate) fn install(process: &Process, file: FileRef, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits_truncate(flags & (kind::CLOEXEC | kind::NONBLOCK));
    let open = OpenFile::new(file, flags | OpenFlags::RDWR);
    let fd = process.files.insert(open, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(usize::try_from(fd.0).unwrap_or_default())
}

fn socket(call: &Call<'_>) -> Result<usize, Errno> {
    let (domain, type_and_flags, number) = (call.unsigned(0), call.unsigned(1), call.int(2));
    let flags = type_and_flags & !kind::MASK;
    if flags & !(kind::CLOEXEC | kind::NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let made = make(call, domain, type_and_flags & kind::MASK, number)?;
    let file = SocketFile::new(call.process().machine.network(), made);
    install(call.process(), file, flags)
}

fn make(call: &Call<'_>, domain: u32, kind: u32, number: i32) -> Result<Kind, Errno> {
    let domain = u16::try_from(domain).map_err(|_| Errno::EAFNOSUPPORT)?;
    match domain {
        family::INET => inet(call, Family::V4, kind, number),
        family::INET6 => inet(call, Family::V6, kind, number),
        family::UNIX => unix(call, kind, number),
        family::NETLINK => match (kind, number) {
            (kind::RAW | kind::DATAGRAM, protocol::ROUTE | protocol::GENERIC) => {
                let stack = call.process().machine.network();
                let is_route = number == protocol::ROUTE;
                let family = if is_route { NetlinkFamily::Route } else { NetlinkFamily::Generic };
                let raw = kind == kind::RAW;
                Ok(Kind::Netlink(NetlinkSocket::new(stack, family, PROCESS_ID.0, raw)))
            }
            (kind::RAW | kind::DATAGRAM, _) => Err(Errno::EPROTONOSUPPORT),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        },
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn inet(call: &Call<'_>, family: Family, kind: u32, number: i32) -> Result<Kind, Errno> {
    let stack = call.process().machine.network();
    match (kind, number) {
        (kind::STREAM, protocol::ANY | protocol::TCP) => {
            Ok(Kind::Tcp(TcpSocket::new(stack, family)))
        }
        (kind::STREAM, protocol::MPTCP) => Ok(Kind::Tcp(TcpSocket::new_multipath(stack, family))),
        (kind::DATAGRAM, protocol::ANY | protocol::UDP) => {
            Ok(Kind::Udp(UdpSocket::new(stack, family)))
        }
        (kind::DATAGRAM, protocol::ICMP) if family == Family::V4 => {
            Ok(Kind::Raw(RawSocket::new(stack, family, protocol::ICMP as u8, true)))
        }
        (kind::DATAGRAM, protocol::ICMPV6) if family == Family::V6 => {
            Ok(Kind::Raw(RawSocket::new(stack, family, protocol::ICMPV6 as u8, true)))
        }
        (kind::RAW, 1..=255) if !call.thread.identity.has(capability::NET_RAW) => Err(Errno::EPERM),
        (kind::RAW, 1..=255) => Ok(Kind::Raw(RawSocket::new(stack, family, number as u8, false))),
        (kind::STREAM | kind::DATAGRAM | kind::RAW, _) => Err(Errno::EPROTONOSUPPORT),
        // Below SOCK_MAX of Linux.
        (0..=10, _) => Err(Errno::ESOCKTNOSUPPORT),
        _ => Err(Errno::EINVAL),
    }
}

fn unix_kind(kind: u32, number: i32) -> Result<UnixKind, Errno> {
    // PF_UNIX is a protocol of its own.
    if !matches!(number, 0 | 1) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        kind::STREAM => Ok(UnixKind::Stream),
        // Linux takes raw for datagrams here.
        kind::DATAGRAM | kind::RAW => Ok(UnixKind::Datagram),
        kind::SEQPACKET => Ok(UnixKind::Packets),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

fn unix(call: &Call<'_>, kind: u32, number: i32) -> Result<Kind, Errno> {
    let space = call.process().machine.network().unix();
    Ok(Kind::Unix(UnixSocket::new(space, unix_kind(kind, number)?)))
}

fn socketpair(call: &Call<'_>) -> Result<usize, Errno> {
    let (domain, type_and_flags, number) = (call.unsigned(0), call.unsigned(1), call.int(2));
    let flags = type_and_flags & !kind::MASK;
    if flags & !(kind::CLOEXEC | kind::NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    match u16::try_from(domain) {
        Ok(family::UNIX) => {}
        Ok(family::INET | family::INET6 | family::NETLINK) => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    let stack = call.process().machine.network();
    let kind = unix_kind(type_and_flags & kind::MASK, number)?;
    let (one, other) = UnixSocket::pair(stack.unix(), kind);
    let process = call.process();
    let close = |fd: usize| {
        let _ = process.files.close(base::Fd(i32::try_from(fd).unwrap_or(-1)));
    };
    let one = install(process, SocketFile::new(stack, Kind::Unix(one)), flags)?;
    let both = install(process, SocketFile::new(stack, Kind::Unix(other)), flags);
    let other = both.inspect_err(|_| close(one))?;
    let written = call.memory().write(call.address(3), &[one as i32, other as i32]);
    written.inspect_err(|_| {
        close(one);
        close(other);
    })?;
    Ok(0)
}

/// Gives a Unix socket its name; a path becomes a file.
fn bind_unix(call: &Call<'_>, unix: &Arc<UnixSocket>, name: UnixName) -> Result<(), Errno> {
    const PERMISSIONS: u32 = 0o777;
    match name {
        UnixName::Unnamed => unix.bind_abstract(None),
        UnixName::Abstract(name) => unix.bind_abstract(Some(name)),
        UnixName::Path(path) => {
            if unix.is_bound() {
                return Err(Errno::EINVAL);
            }
            let process = call.process();
            let at = PathArgument::of(call.thread, base::Fd(AT_FDCWD), path.to_vec())?;
            let permissions = masked(call, PERMISSIONS);
            let vfs = &process.vfs;
            let made = vfs.mknod(at.at(), &at.path, FileType::Socket, permissions, 0);
            made.map_err(|errno| if errno == Errno::EEXIST { Errno::EADDRINUSE } else { errno })?;
            let id = vfs.resolve(at.at(), &at.path, false)?.inode.id();
            unix.bind_inode(id.device, id.number, path)
        }
    }
}

fn bind(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let socket = SocketFile::of(&open)?;
    let address = Address::read(call.memory(), call.address(1), call.unsigned(2))?;
    match (&socket.kind, address) {
        (Kind::Tcp(tcp), Address::Inet(address)) => tcp.bind(address)?,
        (Kind::Udp(udp), Address::Inet(address)) => udp.bind(address)?,
        (Kind::Raw(raw), Address::Inet(address)) => raw.bind(address)?,
        (Kind::Unix(unix), Address::Unix(name)) => bind_unix(call, unix, name)?,
        (Kind::Netlink(netlink), Address::Netlink(port, groups)) => netlink.bind(port, groups)?,
        (Kind::Unix(_) | Kind::Netlink(_), _) => return Err(Errno::EINVAL),
        _ => return Err(other_family(socket, call.unsigned(2))),
    }
    Ok(0)
}

fn listen(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    match &SocketFile::of(&open)?.kind {
        Kind::Tcp(tcp) => tcp.listen(call.int(1)).map(|()| 0),
        Kind::Unix(unix) => unix.listen(call.int(1)).map(|()| 0),
        Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => Err(Errno::EOPNOTSUPP),
    }
}

/// Takes a connection from a listener's queue.
fn accepted(listener: &SocketFile) -> Result<Arc<SocketFile>, Errno> {
    match &listener.kind {
        Kind::Tcp(tcp) => {
            let connection = tcp.accept()?;
            let socket = SocketFile::new(&listener.stack, Kind::Tcp(connection));
            inherit(&socket, listener);
            Ok(socket)
        }
        Kind::Unix(unix) => {
            let connection = unix.accept()?;
            Ok(SocketFile::new(&listener.stack, Kind::Unix(connection)))
        }
        Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => Err(Errno::EOPNOTSUPP),
    }
}

fn finish_accept(
    process: &Process,
    listener: &SocketFile,
    flags: u32,
    address: (UserAddr, UserAddr),
) -> Result<usize, Errno> {
    let socket = accepted(listener)?;
    let peer = match &socket.kind {
        Kind::Tcp(tcp) => Ok(Address::Inet(tcp.origin()?)),
        _ => socket.peer_address(),
    };
    let fd = install(process, socket, flags)?;
    if let Ok(peer) = peer
        && let Err(errno) = peer.write(&process.memory, address.0, address.1)
    {
        let number = i32::try_from(fd).unwrap_or(-1);
        let _ = process.files.close(base::Fd(number));
        return Err(errno);
    }
    Ok(fd)
}

fn accept(call: &Call<'_>, flags: u32) -> Result<Outcome, Errno> {
    if flags & !(kind::CLOEXEC | kind::NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let open = call.open_file(0)?;
    let address = (call.address(1), call.address(2));
    let first = finish_accept(call.process(), SocketFile::of(&open)?, flags, address);
    if first != Err(Errno::EAGAIN) || open.is_nonblocking() {
        return Ok(first.into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let deadline = crate::files::deadline_of(&open, false);
        let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
        thread
            .retry(notifier, deadline, Restart::Automatic, || {
                finish_accept(&thread.process, SocketFile::of(&open)?, flags, address)
            })
            .await
    }))
}

fn connect(call: &Call<'_>) -> Result<Outcome, Errno> {
    let open = call.open_file(0)?;
    let socket = SocketFile::of(&open)?;
    let address = Address::read(call.memory(), call.address(1), call.unsigned(2))?;
    let begun = match (&socket.kind, address) {
        (Kind::Tcp(tcp), Address::Inet(address)) => tcp.connect(address),
        (Kind::Tcp(tcp), Address::Unspecified) => tcp.disconnect(),
        (Kind::Udp(udp), Address::Inet(address)) => udp.connect(Some(address)),
        (Kind::Udp(udp), Address::Unspecified) => udp.connect(None),
        (Kind::Raw(raw), Address::Inet(address)) => raw.connect(Some(address)),
        (Kind::Raw(raw), Address::Unspecified) => raw.connect(None),
        (Kind::Unix(unix), Address::Unspecified) => unix.connect(None),
        (Kind::Unix(unix), address @ Address::Unix(_)) => {
            let Destination::Unix(target) = Destination::of(call.thread, address)? else {
                return Err(Errno::EINVAL);
            };
            return Ok(connect_unix(call, &open, unix, target));
        }
        (Kind::Netlink(_), Address::Netlink(..)) => Ok(()),
        (Kind::Unix(_), _) => return Err(Errno::EINVAL),
        _ => return Err(other_family(socket, call.unsigned(2))),
    };
    let waits = matches!(begun, Err(Errno::EINPROGRESS | Errno::EALREADY));
    if !waits || open.is_nonblocking() {
        return Ok(begun.map(|()| 0).into());
    }
    let thread = Arc::clone(call.thread);
    Ok(Outcome::wait(async move {
        let deadline = crate::files::deadline_of(&open, true);
        let notifier = open.file().notifier().ok_or(Errno::EAGAIN)?;
        let waited = thread
            .retry(notifier, deadline, Restart::Automatic, || match &SocketFile::of(&open)?.kind {
                Kind::Tcp(tcp) => tcp.finish_connect(),
                _ => Ok(()),
            })
            .await;
        match waited {
            Ok(()) => Ok(0),
            // SO_SNDTIMEO ran out; the connection goes on being made.
            Err(Failure::Errno(Errno::EAGAIN)) => Err(Errno::EINPROGRESS.into()),
            Err(failure) => Err(failure),
        }
    }))
}

/// Connects; a blocking socket waits for room in the listener's queue.
fn connect_unix(
    call: &Call<'_>,
    open: &Arc<OpenFile>,
    unix: &Arc<UnixSocket>,
    target: UnixTarget,
) -> Outcome {
    let first = unix.connect(Some(&target));
    let listener = unix.listener_of(&target);
    let (Err(Errno::EAGAIN), false, Some(listener)) = (first, open.is_nonblocking(), listener)
    else {
        return first.map(|()| 0).into();
    };
    let (thread, open, unix) = (Arc::clone(call.thread), Arc::clone(open), Arc::clone(unix));
    Outcome::wait(async move {
        let deadline = crate::files::deadline_of(&open, true);
        thread
            .retry(listener.notifier(), deadline, Restart::Automatic, || {
                unix.connect(Some(&target)).map(|()| 0)
            })
            .await
    })
}

fn getsockname(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let address = SocketFile::of(&open)?.local_address();
    address.write(call.memory(), call.address(1), call.address(2)).map(|()| 0)
}

fn getpeername(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let address = SocketFile::of(&open)?.peer_address()?;
    address.write(call.memory(), call.address(1), call.address(2)).map(|()| 0)
}

fn shutdown(call: &Call<'_>) -> Result<usize, Errno> {
    let open = call.open_file(0)?;
    let socket = SocketFile::of(&open)?;
    let how = match call.int(1) {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        2 => Shutdown::Both,
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(how).map(|()| 0)
}
