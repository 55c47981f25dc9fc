//! MPTCP (RFC 8684), as far as a socket tells of it.
//!
//! Two sockets of this machine that both ask for it speak it, over the one path that there is between
//! them. The engine knows no options of it, so towards other hosts every connection falls back to
//! TCP, as it does with all hosts that lack MPTCP.

use super::connection::Connection;
use super::{Entry, Role, Tuple};
use crate::engine::Core;
use crate::route::LinkId;
use crate::slab::Id;

/// How a socket stands to MPTCP.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Multipath {
    /// It never asked.
    #[default]
    Plain,
    /// It was made with `IPPROTO_MPTCP`, and has no connection yet.
    Asked,
    /// The connection speaks it.
    Spoken(Keys),
    /// It asked, and the other end did not.
    FellBack,
}

/// What the ends tell each other first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Keys {
    /// Names the connection at this end.
    token: u32,
    /// Number of the first byte of data each way.
    sent: u64,
    received: u64,
}

/// What a socket that may still speak MPTCP tells.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MultipathInfo {
    /// It listens: paths are those of its connections.
    pub is_listener: bool,
    /// Names the connection; 0 when there is none.
    pub token: u32,
    /// The peer's key came: there is a connection.
    pub has_remote_key: bool,
    /// Number of the next byte to send.
    pub next_sent: u64,
    /// Number of the next byte to receive.
    pub next_received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Of these, what the peer has.
    pub acknowledged: u64,
    /// Bytes that came.
    pub received: u64,
}

impl Entry {
    /// It was made with `IPPROTO_MPTCP`, or accepted from one that was.
    pub(super) fn asked_multipath(&self) -> bool {
        self.multipath != Multipath::Plain
    }

    /// The connection is complete. Who speaks MPTCP knows by now.
    pub(super) fn settle_multipath(multipath: &mut Multipath) {
        if *multipath == Multipath::Asked {
            *multipath = Multipath::FellBack;
        }
    }

    /// The connection is gone, and the socket as new.
    pub(super) fn reset_multipath(&mut self) {
        if self.asked_multipath() {
            self.multipath = Multipath::Asked;
        }
    }

    /// `None`: it does not speak MPTCP, or not any more.
    pub(super) fn multipath_info(&self) -> Option<MultipathInfo> {
        let is_listener = matches!(self.role, Role::Listener(_));
        match (self.multipath, self.connection()) {
            (Multipath::Plain | Multipath::FellBack, _) => None,
            (Multipath::Spoken(keys), Some(connection)) => Some(connection_info(connection, keys)),
            _ => Some(MultipathInfo { is_listener, ..MultipathInfo::default() }),
        }
    }
}

fn connection_info(connection: &Connection, keys: Keys) -> MultipathInfo {
    let socket = connection.socket();
    let sent = connection.written + connection.short_sent;
    let received = connection.consumed + connection.short_received + connection.readable() as u64;
    // The peer's end takes a number, as its FIN does in TCP.
    let end = u64::from(Connection::peer_finished(socket.state()));
    MultipathInfo {
        is_listener: false,
        token: keys.token,
        has_remote_key: true,
        next_sent: keys.sent.wrapping_add(sent),
        next_received: keys.received.wrapping_add(received + end),
        sent,
        // What goes the short way is with the peer at once.
        acknowledged: sent.saturating_sub(socket.send_queue() as u64),
        received,
    }
}

impl Core {
    /// What a new connection to a listener speaks. When it is MPTCP, the other end learns of it.
    pub(super) fn tcp_multipath(&mut self, listener: Id, tuple: &Tuple, link: LinkId) -> Multipath {
        let entry = self.tcp.entries.get(listener);
        if link != LinkId::LOOPBACK || !entry.is_some_and(|entry| entry.asked_multipath()) {
            return Multipath::Plain;
        }
        let tokens = self.random();
        let (sent, received) = (self.random(), self.random());
        let Some(other) = self.tcp.tuples.get(&tuple.reversed()) else { return Multipath::Plain };
        let Some(other) = self.tcp.entries.get_mut(*other) else { return Multipath::Plain };
        if !other.asked_multipath() {
            return Multipath::Plain;
        }
        let token = (tokens >> 32) as u32;
        other.multipath = Multipath::Spoken(Keys { token, sent: received, received: sent });
        Multipath::Spoken(Keys { token: tokens as u32, sent, received })
    }
}
