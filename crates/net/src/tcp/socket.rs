//! TCP sockets as the system calls see them. No call sleeps.

use super::connection::Connection;
use super::details::TcpDetails;
use super::multipath::{Multipath, MultipathInfo};
use super::options::TcpOptions;
use super::status::{TcpInfo, TcpState};
use super::{Entry, Role};
use crate::address::{shown, unspecified};
use crate::engine::Engine;
use crate::ports::Family;
use crate::slab::Id;
use crate::stack::Stack;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, SliceSink, SliceSource, Source, drain, fill};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use sched::{Notifier, PollEvents};
use smoltcp::socket::tcp::State;

/// Longest accept queue (Linux: `net.core.somaxconn`).
pub const SOMAXCONN: usize = 4096;

/// What shutdown(2) ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Receiving.
    Read,
    /// Sending.
    Write,
    /// Both.
    Both,
}

impl Shutdown {
    pub(crate) fn reads(self) -> bool {
        self != Self::Write
    }

    pub(crate) fn writes(self) -> bool {
        self != Self::Read
    }
}

/// A TCP socket. Dropping it closes it, as the last close(2) does.
pub struct TcpSocket {
    stack: Arc<Stack>,
    id: Id,
    family: Family,
    notifier: Arc<Notifier>,
    closed: AtomicBool,
}

impl TcpSocket {
    /// An unconnected socket.
    #[must_use]
    pub fn new(stack: &Arc<Stack>, family: Family) -> Arc<Self> {
        Self::made(stack, family, Multipath::Plain)
    }

    /// An unconnected socket that asks for MPTCP.
    #[must_use]
    pub fn new_multipath(stack: &Arc<Stack>, family: Family) -> Arc<Self> {
        Self::made(stack, family, Multipath::Asked)
    }

    fn made(stack: &Arc<Stack>, family: Family, multipath: Multipath) -> Arc<Self> {
        let mut entry = Box::new(Entry::new(family, TcpOptions::default()));
        entry.multipath = multipath;
        let notifier = Arc::clone(&entry.notifier);
        let id = stack.engine.lock().core.tcp.entries.insert(entry);
        Arc::new(Self::from_parts(stack, id, family, notifier))
    }

    fn from_parts(stack: &Arc<Stack>, id: Id, family: Family, notifier: Arc<Notifier>) -> Self {
        Self { stack: Arc::clone(stack), id, family, notifier, closed: AtomicBool::new(false) }
    }

    /// The inode number of its file, for /proc/net/tcp.
    pub fn set_number(&self, number: u64) {
        if let Some(entry) = self.stack.engine.lock().core.tcp.entries.get_mut(self.id) {
            entry.number = number;
        }
    }

    /// Its address family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Who tells when [`TcpSocket::poll`] changes.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Runs `f` on the socket's entry; work that follows is done too.
    fn with<R>(&self, f: impl FnOnce(&mut Engine, Id) -> Result<R, Errno>) -> Result<R, Errno> {
        self.stack.enter(|engine| f(engine, self.id))
    }

    /// Looks at the entry.
    fn look<R>(&self, f: impl FnOnce(&Entry) -> R) -> Result<R, Errno> {
        let engine = self.stack.engine.lock();
        engine.core.tcp.entries.get(self.id).map(|entry| f(entry)).ok_or(Errno::EBADF)
    }

    /// bind(2).
    ///
    /// # Errors
    /// `EINVAL`: bound already. `EADDRINUSE`. `EADDRNOTAVAIL`: not an address of ours.
    pub fn bind(&self, address: SocketAddr) -> Result<(), Errno> {
        self.with(|engine, id| engine.tcp_bind(id, address))
    }

    /// listen(2). Again on a listener: changes the backlog.
    ///
    /// # Errors
    /// `EINVAL`: connected. `EADDRINUSE`: another socket listens there.
    pub fn listen(&self, backlog: i32) -> Result<(), Errno> {
        self.with(|engine, id| engine.tcp_listen(id, backlog))
    }

    /// Takes a connection from the queue.
    ///
    /// # Errors
    /// `EAGAIN`: none. `EINVAL`: not listening.
    pub fn accept(&self) -> Result<Arc<Self>, Errno> {
        self.with(|engine, id| {
            let tcp = &mut engine.core.tcp;
            let entry = tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
            let Role::Listener(listener) = &mut entry.role else { return Err(Errno::EINVAL) };
            let child = listener.ready.pop_front().ok_or(Errno::EAGAIN)?;
            let child_entry = tcp.entries.get_mut(child).ok_or(Errno::ECONNABORTED)?;
            child_entry.open = true;
            if let Some(connection) = child_entry.connection_mut() {
                connection.parent = None;
                connection.connect_told = true;
            }
            let notifier = Arc::clone(&child_entry.notifier);
            let family = child_entry.family;
            Ok(Arc::new(Self::from_parts(&self.stack, child, family, notifier)))
        })
    }

    /// connect(2).
    ///
    /// # Errors
    /// `EINPROGRESS`: begun; the socket becomes writable at the end, and
    /// [`TcpSocket::take_error`] tells how it went. Others as connect(2).
    pub fn connect(&self, address: SocketAddr) -> Result<(), Errno> {
        self.with(|engine, id| engine.tcp_connect(id, address))
    }

    /// How a [`TcpSocket::connect`] ended.
    ///
    /// # Errors
    /// `EAGAIN`: not yet. Others as connect(2).
    pub fn finish_connect(&self) -> Result<(), Errno> {
        let mut engine = self.stack.engine.lock();
        let entry = engine.core.tcp.entries.get_mut(self.id).ok_or(Errno::EBADF)?;
        if let Some(error) = entry.error.take() {
            return Err(error);
        }
        match entry.connection_mut() {
            Some(connection) if connection.established => {
                connection.connect_told = true;
                Ok(())
            }
            Some(_) => Err(Errno::EAGAIN),
            None => Err(Errno::ENOTCONN),
        }
    }

    /// connect(2) to `AF_UNSPEC`: resets the connection; the socket may connect again.
    ///
    /// # Errors
    /// None today; connect(2) allows for some.
    pub fn disconnect(&self) -> Result<(), Errno> {
        self.with(|engine, id| {
            engine.tcp_disconnect(id);
            Ok(())
        })
    }

    /// Sends what there is room for.
    ///
    /// # Errors
    /// `EAGAIN`: no room. `EPIPE`: not connected (any more). `ECONNRESET`, `ETIMEDOUT`: as
    /// [`TcpSocket::take_error`].
    pub fn send(&self, source: &mut dyn Source) -> Result<usize, Errno> {
        drain(source, |source, again| {
            self.with(|engine, id| {
                if again && engine.tcp_failed(id) {
                    // For the next call to tell.
                    return Ok(0);
                }
                engine.tcp_send(id, source, false)
            })
        })
    }

    /// Sends a byte as urgent data (`MSG_OOB`).
    ///
    /// # Errors
    /// As [`TcpSocket::send`].
    pub fn send_urgent(&self, byte: u8) -> Result<usize, Errno> {
        self.with(|engine, id| engine.tcp_send(id, &mut SliceSource::new(&[byte]), true))
    }

    /// The urgent byte that came; it stays with `peek`. `None`: the peer has finished.
    ///
    /// # Errors
    /// `EINVAL`: there is none, it was read, or it is in the stream (`SO_OOBINLINE`). `EAGAIN`: it is
    /// still to come.
    pub fn receive_urgent(&self, peek: bool) -> Result<Option<u8>, Errno> {
        self.with(|engine, id| engine.tcp_receive_urgent(id, peek))
    }

    /// The next byte is urgent (`SIOCATMARK`).
    #[must_use]
    pub fn is_at_mark(&self) -> bool {
        let at_mark = |entry: &Entry| entry.connection().is_some_and(Connection::is_at_mark);
        self.look(at_mark).unwrap_or(false)
    }

    /// Receives what there is. `Ok(0)`: the peer has finished, or `sink` has no room. With
    /// `peek` the data stays.
    ///
    /// # Errors
    /// `EAGAIN`: nothing yet. `ENOTCONN`. `ECONNRESET`, `ETIMEDOUT` as
    /// [`TcpSocket::take_error`].
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<usize, Errno> {
        if peek { self.peek(sink) } else { self.move_out(sink, false) }
    }

    fn move_out(&self, sink: &mut dyn Sink, peek: bool) -> Result<usize, Errno> {
        fill(sink, |sink, again| {
            self.stack.enter_lightly(|engine| {
                if again && (engine.tcp_failed(self.id) || engine.tcp_is_at_mark(self.id)) {
                    // For the next call to tell, when everything was read.
                    return Ok(0);
                }
                engine.tcp_receive(self.id, sink, peek)
            })
        })
    }

    /// The bytes stay: they are copied twice, so that stopping half-way is no matter.
    #[cold]
    fn peek(&self, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut bytes = Vec::new();
        let readable = |entry: &Entry| entry.connection().map_or(0, Connection::readable);
        // At least one, also where there is nothing: asking for nothing would be answered as the end is.
        let most = self.look(readable)?.max(1).min(sink.room());
        bytes.try_reserve_exact(most).map_err(|_| Errno::ENOBUFS)?;
        bytes.resize(most, 0);
        let count = self.move_out(&mut SliceSink::new(&mut bytes), true)?;
        if count == 0 { Ok(0) } else { sink.put(bytes.get(..count).unwrap_or_default()) }
    }

    /// shutdown(2).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.with(|engine, id| engine.tcp_shutdown(id, how))
    }

    /// The last descriptor was closed. What was sent is still delivered.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.stack.enter(|engine| engine.tcp_close(self.id));
        }
    }

    /// getsockname(2): the unspecified address and port 0 when not bound.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        let nowhere = SocketAddr::new(unspecified(self.family), 0);
        let own = self.look(|entry| match entry.connection() {
            Some(connection) => Some(connection.local),
            None => entry.local,
        });
        own.ok().flatten().map_or(nowhere, |local| shown(local, self.family))
    }

    /// getpeername(2).
    ///
    /// # Errors
    /// `ENOTCONN`: not connected: never, not yet, or not any more.
    pub fn peer_address(&self) -> Result<SocketAddr, Errno> {
        self.look(|entry| match (entry.state(), entry.connection()) {
            (TcpState::Closed | TcpState::SynSent | TcpState::Listen, _) | (_, None) => {
                Err(Errno::ENOTCONN)
            }
            (_, Some(connection)) => Ok(shown(connection.remote, self.family)),
        })?
    }

    /// Where an accepted connection came from. Unlike [`TcpSocket::peer_address`] also when it was
    /// reset meanwhile, which accept(2) does not tell: reading does.
    ///
    /// # Errors
    /// `ECONNABORTED`: there is no connection.
    pub fn origin(&self) -> Result<SocketAddr, Errno> {
        self.look(|entry| {
            let connection = entry.connection().ok_or(Errno::ECONNABORTED)?;
            Ok(shown(connection.remote, self.family))
        })?
    }

    /// `SO_ERROR`: the error that waits, which is then gone.
    #[must_use]
    pub fn take_error(&self) -> Option<Errno> {
        let mut engine = self.stack.engine.lock();
        engine.core.tcp.entries.get_mut(self.id).and_then(|entry| entry.error.take())
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> TcpOptions {
        self.look(|entry| entry.options).unwrap_or_default()
    }

    /// Changes options.
    pub fn set_options(&self, change: impl Fn(&mut TcpOptions)) {
        self.change_options(&change);
    }

    #[cold]
    #[inline(never)]
    fn change_options(&self, change: &dyn Fn(&mut TcpOptions)) {
        self.stack.enter(|engine| {
            let now = engine.core.now;
            let tcp = &mut engine.core.tcp;
            let Some(entry) = tcp.entries.get_mut(self.id) else { return };
            change(&mut entry.options);
            let options = entry.options;
            if let (true, Some(local)) = (entry.bound, entry.local) {
                tcp.ports.share(local.port(), self.id, options.sharing());
            }
            if let Some(connection) = entry.connection_mut() {
                connection.apply(&options);
                // Nagle may have held something back.
                tcp.mark_dirty(self.id);
            }
            tcp.arm(self.id, now);
        });
    }

    /// It was made to speak MPTCP, or accepted from a socket that was and from a peer that does.
    #[must_use]
    pub fn asked_multipath(&self) -> bool {
        self.look(|entry| entry.asked_multipath()).unwrap_or(false)
    }

    /// What it tells of MPTCP; `None` when it does not speak that, or not any more.
    #[must_use]
    pub fn multipath(&self) -> Option<MultipathInfo> {
        self.look(|entry| entry.multipath_info()).ok().flatten()
    }

    /// State, queues and age.
    #[must_use]
    #[inline(never)]
    pub fn info(&self) -> Option<TcpInfo> {
        let now = self.stack.now();
        self.look(|entry| entry.info(now)).ok()
    }

    /// How a connection does; `None`: it is none.
    #[must_use]
    pub fn details(&self) -> Option<TcpDetails> {
        let now = self.stack.now();
        let engine = self.stack.engine.lock();
        let connection = engine.core.tcp.entries.get(self.id)?.connection()?;
        Some(connection.details(engine.core.mtu(connection.hop.link), now))
    }

    /// Bytes that [`TcpSocket::receive`] would give now (`FIONREAD`).
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.look(|entry| {
            let inline = entry.options.urgent_inline;
            entry.connection().map_or(0, |connection| connection.readable_to_mark(inline))
        })
        .unwrap_or(0)
    }

    /// Bytes sent and not acknowledged (`SIOCOUTQ`).
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.look(|entry| {
            entry.connection().map_or(0, |connection| connection.socket().send_queue())
        })
        .unwrap_or(0)
    }

    /// What the socket is ready for, as Linux's `tcp_poll` tells it.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        let mut engine = self.stack.engine.lock();
        engine.core.tcp.entries.get_mut(self.id).map_or(PollEvents::HUP, |entry| readiness(entry))
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        self.close();
    }
}

fn readiness(entry: &mut Entry) -> PollEvents {
    let mut events = PollEvents::empty();
    if entry.error.is_some() {
        events |= PollEvents::ERR;
    }
    let was_connected = entry.was_connected || entry.error.is_some();
    match &mut entry.role {
        Role::Listener(listener) if listener.ready.is_empty() => {}
        Role::Listener(_) => events |= PollEvents::READABLE,
        Role::Idle => {
            events |= PollEvents::HUP | PollEvents::WRITABLE;
            if was_connected {
                events |= PollEvents::READABLE | PollEvents::RDHUP;
            }
        }
        Role::Connection(connection) => {
            let state = connection.socket().state();
            let dead = !connection.linked || state == State::Closed;
            let read_over = connection.receive_shutdown || dead || Connection::peer_finished(state);
            let write_over = connection.send_shutdown || dead;
            if read_over && write_over {
                events |= PollEvents::HUP;
            }
            if read_over {
                events |= PollEvents::READABLE | PollEvents::RDHUP;
            }
            if state == State::SynSent && !dead {
                return events;
            }
            if connection.readable() > 0 {
                events |= PollEvents::READABLE;
            }
            if connection.has_urgent() {
                events |= PollEvents::PRI;
            }
            if write_over || connection.has_room() {
                events |= PollEvents::WRITABLE;
            } else {
                connection.wants_room = true;
            }
        }
    }
    events
}
