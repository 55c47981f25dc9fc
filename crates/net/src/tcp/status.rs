//! What a TCP socket tells about itself.

use super::{Entry, Role};
use core::net::SocketAddr;
use core::time::Duration;
use smoltcp::socket::tcp::State;

/// Linux's numbers of the states (`enum tcp_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of RFC 9293")]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Closed = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl From<State> for TcpState {
    fn from(state: State) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Listen => Self::Listen,
            State::SynSent => Self::SynSent,
            State::SynReceived => Self::SynReceived,
            State::Established => Self::Established,
            State::FinWait1 => Self::FinWait1,
            State::FinWait2 => Self::FinWait2,
            State::CloseWait => Self::CloseWait,
            State::Closing => Self::Closing,
            State::LastAck => Self::LastAck,
            State::TimeWait => Self::TimeWait,
        }
    }
}

/// A part of `TCP_INFO`, and a line of /proc/net/tcp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// State.
    pub state: TcpState,
    /// Own address.
    pub local: Option<SocketAddr>,
    /// The peer's.
    pub remote: Option<SocketAddr>,
    /// Bytes to read; for a listener, connections to accept.
    pub receive_queue: usize,
    /// Bytes not acknowledged; for a listener, its backlog.
    pub send_queue: usize,
    /// The inode number of its file; 0: it has none.
    pub number: u64,
    /// Since the connection was made.
    pub age: Duration,
}

impl TcpInfo {
    /// True from the first SYN to the end: a connection, not a listener.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, TcpState::Closed | TcpState::Listen)
    }
}

impl Entry {
    /// Its state in Linux's words.
    pub(crate) fn state(&self) -> TcpState {
        match &self.role {
            Role::Idle => TcpState::Closed,
            Role::Listener(_) => TcpState::Listen,
            // What remains answers for it: the socket itself is closed.
            Role::Connection(connection) if !connection.linked => TcpState::Closed,
            Role::Connection(connection) => connection.socket().state().into(),
        }
    }

    pub(crate) fn info(&self, now: base::Instant) -> TcpInfo {
        let (receive_queue, send_queue) = match &self.role {
            Role::Idle => (0, 0),
            Role::Listener(listener) => (listener.ready.len(), listener.backlog),
            Role::Connection(connection) => {
                (connection.readable(), connection.socket().send_queue())
            }
        };
        let connection = self.connection();
        TcpInfo {
            state: self.state(),
            local: connection.map(|connection| connection.local).or(self.local),
            remote: connection.map(|connection| connection.remote),
            receive_queue,
            send_queue,
            number: if self.open { self.number } else { 0 },
            age: connection.map_or(Duration::ZERO, |connection| now - connection.created),
        }
    }
}
