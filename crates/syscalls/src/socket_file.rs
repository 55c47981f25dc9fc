//! A socket as an open file: what read, write, epoll, ioctl and fstat see.

use crate::socket::{kind, protocol};
use crate::socket_address::{Address, Destination, family};
use crate::socket_option_kept::Kept;
use crate::socket_timestamp::Stamps;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source};
use base::sync::SpinLock;
use core::any::Any;
use core::net::SocketAddr;
use core::time::Duration;
use net::{
    Family, NetlinkFamily, NetlinkSocket, RawSocket, Received, Right, SendOptions, Shutdown, Stack,
    TcpSocket, TcpState, UdpFailure, UdpSocket, UnixKind, UnixName, UnixSocket,
};
use sched::{Notifier, PollEvents};
use vfs::{File, FileType, IoctlArgument, Metadata, OpenFile};

/// What kind of socket it is.
pub(crate) enum Kind {
    Tcp(Arc<TcpSocket>),
    Udp(Arc<UdpSocket>),
    Raw(Arc<RawSocket>),
    Unix(Arc<UnixSocket>),
    Netlink(Arc<NetlinkSocket>),
}

/// What the socket layer itself keeps of options.
#[derive(Clone, Copy, Default)]
pub(crate) struct Settings {
    /// `SO_RCVTIMEO`, `SO_SNDTIMEO`.
    pub(crate) receive_timeout: Option<Duration>,
    pub(crate) send_timeout: Option<Duration>,
    /// Which control messages recvmsg gives.
    pub(crate) packet_info: bool,
    pub(crate) packet_info_v6: bool,
    pub(crate) receive_tos: bool,
    pub(crate) receive_ttl: bool,
    pub(crate) receive_class: bool,
    pub(crate) receive_hop_limit: bool,
    /// `IP_RECVERR`, `IPV6_RECVERR`.
    pub(crate) receive_errors: bool,
    pub(crate) destination: bool,
    pub(crate) destination_v6: bool,
    pub(crate) stamps: Stamps,
    /// `SO_RXQ_OVFL`.
    pub(crate) dropped: bool,
    /// `SO_LOCK_FILTER`.
    pub(crate) filter_locked: bool,
}

/// A socket.
pub(crate) struct SocketFile {
    pub(crate) kind: Kind,
    pub(crate) stack: Arc<Stack>,
    pub(crate) settings: SpinLock<Settings>,
    /// Options that are only kept.
    pub(crate) kept: SpinLock<Vec<Kept>>,
    number: u64,
}

/// What is sent beside the bytes.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) options: SendOptions,
    pub(crate) rights: Vec<Arc<OpenFile>>,
}

/// What came with received bytes.
#[derive(Default)]
pub(crate) struct Incoming {
    /// Bytes stored.
    pub(crate) stored: usize,
    /// Bytes that the message has.
    pub(crate) length: usize,
    /// Who sent it.
    pub(crate) from: Option<Address>,
    /// What a datagram came with.
    pub(crate) details: Option<Received>,
    /// It is the urgent byte (`MSG_OOB`).
    pub(crate) urgent: bool,
    /// What went wrong, instead of a message (`MSG_ERRQUEUE`).
    pub(crate) failure: Option<UdpFailure>,
    /// Open files sent along.
    pub(crate) rights: Vec<Arc<OpenFile>>,
}

impl SocketFile {
    pub(crate) fn new(stack: &Arc<Stack>, kind: Kind) -> Arc<Self> {
        let number = vfs::anonymous::next_number();
        match &kind {
            Kind::Tcp(tcp) => tcp.set_number(number),
            Kind::Udp(udp) => udp.set_number(number),
            Kind::Raw(_) | Kind::Unix(_) | Kind::Netlink(_) => {}
        }
        Arc::new(Self {
            kind,
            stack: Arc::clone(stack),
            settings: SpinLock::default(),
            kept: SpinLock::default(),
            number,
        })
    }

    /// The socket that a descriptor leads to.
    ///
    /// # Errors
    /// `ENOTSOCK`.
    pub(crate) fn of(open: &OpenFile) -> Result<&Self, Errno> {
        open.usable()?.as_any().downcast_ref().ok_or(Errno::ENOTSOCK)
    }

    /// Its number, unlike that of every other socket.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// `SO_DOMAIN`.
    pub(crate) fn domain(&self) -> u16 {
        let inet = |of| if of == Family::V4 { family::INET } else { family::INET6 };
        match &self.kind {
            Kind::Tcp(tcp) => inet(tcp.family()),
            Kind::Udp(udp) => inet(udp.family()),
            Kind::Raw(raw) => inet(raw.family()),
            Kind::Unix(_) => family::UNIX,
            Kind::Netlink(_) => family::NETLINK,
        }
    }

    /// True for `SOCK_STREAM`: no borders between messages.
    pub(crate) fn is_stream(&self) -> bool {
        match &self.kind {
            Kind::Tcp(_) => true,
            Kind::Unix(unix) => unix.kind() == UnixKind::Stream,
            Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => false,
        }
    }

    /// `SO_TYPE`.
    pub(crate) fn type_number(&self) -> i32 {
        match &self.kind {
            Kind::Tcp(_) => kind::STREAM.cast_signed(),
            Kind::Udp(_) => kind::DATAGRAM.cast_signed(),
            Kind::Unix(unix) => match unix.kind() {
                UnixKind::Stream => kind::STREAM.cast_signed(),
                UnixKind::Packets => kind::SEQPACKET.cast_signed(),
                UnixKind::Datagram => kind::DATAGRAM.cast_signed(),
            },
            Kind::Raw(raw) if raw.is_ping() => kind::DATAGRAM.cast_signed(),
            Kind::Netlink(netlink) if !netlink.is_raw() => kind::DATAGRAM.cast_signed(),
            Kind::Raw(_) | Kind::Netlink(_) => kind::RAW.cast_signed(),
        }
    }

    /// `SO_PROTOCOL`.
    pub(crate) fn protocol_number(&self) -> i32 {
        match &self.kind {
            Kind::Tcp(tcp) if tcp.asked_multipath() => protocol::MPTCP,
            Kind::Tcp(_) => protocol::TCP,
            Kind::Udp(_) => protocol::UDP,
            Kind::Raw(raw) => i32::from(raw.protocol()),
            Kind::Netlink(netlink) => match netlink.family() {
                NetlinkFamily::Route => protocol::ROUTE,
                NetlinkFamily::Generic => protocol::GENERIC,
            },
            Kind::Unix(_) => protocol::ANY,
        }
    }

    /// `SO_ACCEPTCONN`.
    pub(crate) fn is_listening(&self) -> bool {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.info().is_some_and(|info| info.state == TcpState::Listen),
            Kind::Unix(unix) => unix.is_listening(),
            Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => false,
        }
    }

    /// `SO_ERROR`.
    pub(crate) fn take_error(&self) -> Option<Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.take_error(),
            Kind::Udp(udp) => udp.take_error(),
            Kind::Unix(unix) => unix.take_error(),
            Kind::Raw(_) | Kind::Netlink(_) => None,
        }
    }

    pub(crate) fn local_address(&self) -> Address {
        match &self.kind {
            Kind::Tcp(tcp) => Address::Inet(tcp.local_address()),
            Kind::Udp(udp) => Address::Inet(udp.local_address()),
            Kind::Raw(raw) => Address::Inet(raw.local_address()),
            Kind::Unix(unix) => Address::Unix(unix.local_name()),
            Kind::Netlink(netlink) => {
                let (port, groups) = netlink.local();
                Address::Netlink(port, groups)
            }
        }
    }

    #[inline(never)]
    pub(crate) fn peer_address(&self) -> Result<Address, Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.peer_address().map(Address::Inet),
            Kind::Udp(udp) => udp.peer_address().map(Address::Inet),
            Kind::Raw(raw) => raw.peer_address().map(Address::Inet),
            Kind::Unix(unix) => unix.peer_name().map(Address::Unix),
            // The kernel.
            Kind::Netlink(_) => Ok(Address::Netlink(0, 0)),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.shutdown(how),
            Kind::Udp(udp) => udp.shutdown(how),
            Kind::Unix(unix) => {
                unix.shutdown(how);
                Ok(())
            }
            Kind::Raw(raw) => raw.peer_address().and(Err(Errno::EOPNOTSUPP)),
            Kind::Netlink(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Sends. A stream takes what it has room for; others all or nothing.
    pub(crate) fn send(
        &self,
        source: &mut dyn Source,
        to: Option<&Destination>,
        extra: &Extra,
    ) -> Result<usize, Errno> {
        match &self.kind {
            // A stream has its peer: an address is ignored.
            Kind::Tcp(tcp) => tcp.send(source),
            Kind::Udp(udp) => udp.send(source, inet(to)?, &extra.options),
            Kind::Raw(raw) => raw.send(source, inet(to)?, &extra.options),
            Kind::Unix(unix) => {
                let to = match to {
                    None => None,
                    Some(Destination::Unix(to)) => Some(to),
                    Some(_) => return Err(Errno::EINVAL),
                };
                let rights = extra.rights.iter().map(in_flight);
                unix.send(source, to, rights.collect())
            }
            Kind::Netlink(netlink) => netlink.send(source),
        }
    }

    /// Sends a byte as urgent data (`MSG_OOB`).
    pub(crate) fn send_urgent(&self, byte: u8) -> Result<usize, Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.send_urgent(byte),
            Kind::Unix(unix) => unix.send_urgent(byte),
            Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Receives the urgent byte. It has no place for it: the message is cut.
    pub(crate) fn receive_urgent(
        &self,
        sink: &mut dyn Sink,
        peek: bool,
    ) -> Result<Incoming, Errno> {
        let byte = match &self.kind {
            Kind::Tcp(tcp) => tcp.receive_urgent(peek)?,
            Kind::Unix(unix) => Some(unix.receive_urgent(peek)?),
            // Datagrams know of none, and give what they have.
            Kind::Udp(_) => return self.receive(sink, peek),
            Kind::Raw(_) | Kind::Netlink(_) => return Err(Errno::EOPNOTSUPP),
        };
        let Some(byte) = byte else { return Ok(Incoming::default()) };
        let stored = if sink.room() == 0 { 0 } else { sink.put(&[byte])? };
        Ok(Incoming { stored, length: 1, urgent: true, ..Incoming::default() })
    }

    /// `SO_OOBINLINE`.
    pub(crate) fn set_urgent_inline(&self, on: bool) {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.set_options(|options| options.urgent_inline = on),
            Kind::Unix(unix) => unix.set_urgent_inline(on),
            Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => {}
        }
    }

    /// `SIOCATMARK`.
    fn is_at_mark(&self) -> Result<bool, Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => Ok(tcp.is_at_mark()),
            Kind::Unix(unix) => Ok(unix.is_at_mark()),
            Kind::Udp(_) | Kind::Raw(_) | Kind::Netlink(_) => Err(Errno::ENOTTY),
        }
    }

    /// Receives what went wrong with an earlier message (`MSG_ERRQUEUE`).
    pub(crate) fn receive_failure(&self, sink: &mut dyn Sink) -> Result<Incoming, Errno> {
        let Kind::Udp(udp) = &self.kind else { return Err(Errno::EAGAIN) };
        let (stored, failure) = udp.receive_failure(sink)?;
        Ok(Incoming {
            stored,
            length: failure.bytes.len(),
            from: Some(Address::Inet(failure.to)),
            failure: Some(failure),
            ..Incoming::default()
        })
    }

    /// Receives.
    pub(crate) fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<Incoming, Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => {
                let stored = tcp.receive(sink, peek)?;
                Ok(Incoming { stored, length: stored, ..Incoming::default() })
            }
            Kind::Udp(udp) => Ok(match udp.receive(sink, peek)? {
                None => Incoming::default(),
                Some(received) => Incoming {
                    stored: received.stored,
                    length: received.length,
                    from: Some(Address::Inet(received.from)),
                    details: Some(received),
                    ..Incoming::default()
                },
            }),
            Kind::Raw(raw) => {
                let received = raw.receive(sink, peek)?;
                Ok(Incoming {
                    stored: received.stored,
                    length: received.length,
                    from: Some(Address::Inet(received.from)),
                    details: Some(received),
                    ..Incoming::default()
                })
            }
            Kind::Unix(unix) => {
                let received = unix.receive(sink, peek)?;
                let files = received.rights.into_iter();
                Ok(Incoming {
                    stored: received.stored,
                    length: received.length,
                    from: Some(received.from)
                        .filter(|name| !self.is_stream() && *name != UnixName::Unnamed)
                        .map(Address::Unix),
                    details: None,
                    urgent: false,
                    failure: None,
                    rights: files.filter_map(|right| right.into_file().downcast().ok()).collect(),
                })
            }
            Kind::Netlink(netlink) => {
                let (stored, length) = netlink.receive(sink, peek)?;
                let from = Some(Address::Netlink(0, 0));
                Ok(Incoming { stored, length, from, ..Incoming::default() })
            }
        }
    }
}

/// The destination of a datagram.
fn inet(to: Option<&Destination>) -> Result<Option<SocketAddr>, Errno> {
    match to {
        None => Ok(None),
        Some(Destination::Inet(to)) => Ok(Some(*to)),
        Some(_) => Err(Errno::EAFNOSUPPORT),
    }
}

/// Commands of ioctl(2) on sockets.
mod command {
    pub(super) const FIONREAD: u32 = 0x541b;
    pub(super) const TIOCOUTQ: u32 = 0x5411;
    pub(super) const SIOCATMARK: u32 = 0x8905;
}

/// An open file as it is sent along.
fn in_flight(open: &Arc<OpenFile>) -> Right {
    let socket = match SocketFile::of(open).map(|socket| &socket.kind) {
        Ok(Kind::Unix(socket)) => Some(socket),
        _ => None,
    };
    Right::new(Arc::clone(open) as _, socket)
}

impl File for SocketFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Socket, 0o777, self.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.receive(sink, false),
            _ => self.receive(sink, false).map(|incoming| incoming.stored),
        }
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.send(source),
            _ => self.send(source, None, &Extra::default()),
        }
    }

    fn poll(&self) -> PollEvents {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.poll(),
            Kind::Udp(udp) => udp.poll(),
            Kind::Raw(raw) => raw.poll(),
            Kind::Unix(unix) => unix.poll(),
            Kind::Netlink(netlink) => netlink.poll(),
        }
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(match &self.kind {
            Kind::Tcp(tcp) => tcp.notifier(),
            Kind::Udp(udp) => udp.notifier(),
            Kind::Raw(raw) => raw.notifier(),
            Kind::Unix(unix) => unix.notifier(),
            Kind::Netlink(netlink) => netlink.notifier(),
        })
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn time_limit(&self, write: bool) -> Option<Duration> {
        let settings = self.settings.lock();
        if write { settings.send_timeout } else { settings.receive_timeout }
    }

    fn ioctl(&self, number: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        let (readable, unsent) = match &self.kind {
            Kind::Tcp(tcp) => (tcp.readable_bytes(), tcp.unsent_bytes()),
            Kind::Udp(udp) => (udp.readable_bytes(), 0),
            Kind::Raw(raw) => (raw.readable_bytes(), 0),
            Kind::Unix(unix) => (unix.readable_bytes(), 0),
            Kind::Netlink(_) => (0, 0),
        };
        let value = match number {
            command::FIONREAD => readable,
            command::TIOCOUTQ => unsent,
            command::SIOCATMARK => usize::from(self.is_at_mark()?),
            _ => return crate::socket_ioctl::interface_ioctl(&self.stack, number, argument),
        };
        argument.store(&(value as i32).to_ne_bytes()).map(|()| 0)
    }

    fn released(&self) {
        match &self.kind {
            Kind::Tcp(tcp) => tcp.close(),
            Kind::Udp(udp) => udp.close(),
            Kind::Raw(raw) => raw.close(),
            Kind::Unix(unix) => unix.close(),
            Kind::Netlink(netlink) => netlink.close(),
        }
    }

    fn describe(&self) -> String {
        format!("socket:[{}]", self.number)
    }
}
