//! Naming, connecting and ending Unix sockets.

use super::{Key, Queue, UnixKind, UnixName, UnixSpace};
use crate::filter::Filter;
use crate::tcp::{SOMAXCONN, Shutdown};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::Errno;
use base::sync::{Rank, SpinLock};
use sched::{Notifier, PollEvents};

/// Whom to connect or send to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnixTarget {
    /// An abstract name.
    Abstract(Box<[u8]>),
    /// The inode of a path: device and number.
    Inode(u64, u64),
}

impl UnixTarget {
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Abstract(name) => Key::Abstract(name.clone()),
            Self::Inode(device, number) => Key::Inode(*device, *number),
        }
    }
}

pub(crate) struct Listener {
    backlog: usize,
    ready: VecDeque<Arc<UnixSocket>>,
}

impl Listener {
    /// The connections that nobody has accepted yet.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<UnixSocket>> {
        self.ready.iter()
    }
}

/// The changing part of a socket.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) name: UnixName,
    pub(crate) key: Option<Key>,
    /// The other end; of a datagram socket, where it sends to.
    pub(crate) peer: Option<Weak<UnixSocket>>,
    pub(crate) peer_name: UnixName,
    pub(crate) was_connected: bool,
    pub(crate) listener: Option<Listener>,
    pub(crate) queue: Queue,
    /// The peer will send no more.
    pub(crate) receive_over: bool,
    /// Nothing may be sent any more.
    pub(crate) send_over: bool,
    pub(crate) error: Option<Errno>,
    pub(crate) closed: bool,
    /// `SO_OOBINLINE`.
    pub(crate) urgent_inline: bool,
    /// `SO_ATTACH_FILTER`. Streams have it without effect, as on Linux.
    pub(crate) filter: Option<Box<Filter>>,
    /// Who found the queue full.
    pub(crate) writers: Vec<Weak<UnixSocket>>,
}

/// A Unix socket. Dropping it closes it.
pub struct UnixSocket {
    pub(crate) space: Arc<UnixSpace>,
    pub(crate) kind: UnixKind,
    pub(crate) state: SpinLock<State>,
    pub(crate) notifier: Notifier,
}

impl UnixSocket {
    /// A socket without name or peer.
    #[must_use]
    pub fn new(space: &Arc<UnixSpace>, kind: UnixKind) -> Arc<Self> {
        Arc::new(Self {
            space: Arc::clone(space),
            kind,
            state: SpinLock::ranked(Rank::UnixSocket, State::default()),
            notifier: Notifier::new(),
        })
    }

    /// socketpair(2).
    #[must_use]
    pub fn pair(space: &Arc<UnixSpace>, kind: UnixKind) -> (Arc<Self>, Arc<Self>) {
        let (one, other) = (Self::new(space, kind), Self::new(space, kind));
        one.join(&other);
        other.join(&one);
        (one, other)
    }

    fn join(&self, peer: &Arc<Self>) {
        let name = peer.local_name();
        let mut state = self.state.lock();
        state.peer = Some(Arc::downgrade(peer));
        state.peer_name = name;
        state.was_connected = true;
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> UnixKind {
        self.kind
    }

    /// Who tells when [`UnixSocket::poll`] changes.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Binds to an abstract name, or (`None`) to one that is made up.
    ///
    /// # Errors
    /// `EINVAL`: has a name and is to have another. `EADDRINUSE`.
    pub fn bind_abstract(self: &Arc<Self>, name: Option<Box<[u8]>>) -> Result<(), Errno> {
        if name.is_none() && self.is_bound() {
            return Ok(());
        }
        let name = name.unwrap_or_else(|| self.space.automatic_name());
        self.bind(Key::Abstract(name.clone()), UnixName::Abstract(name))
    }

    /// Binds to the inode that was made for `path`.
    ///
    /// # Errors
    /// `EINVAL`: has a name. `EADDRINUSE`.
    pub fn bind_inode(
        self: &Arc<Self>,
        device: u64,
        number: u64,
        path: Box<[u8]>,
    ) -> Result<(), Errno> {
        self.bind(Key::Inode(device, number), UnixName::Path(path))
    }

    fn bind(self: &Arc<Self>, key: Key, name: UnixName) -> Result<(), Errno> {
        if self.state.lock().key.is_some() {
            return Err(Errno::EINVAL);
        }
        self.space.claim(key.clone(), self)?;
        {
            let mut state = self.state.lock();
            if state.key.is_none() && !state.closed {
                state.key = Some(key);
                state.name = name;
                return Ok(());
            }
        }
        // Another call named or closed it meanwhile.
        self.space.release(&key, self);
        Err(Errno::EINVAL)
    }

    /// `SO_ATTACH_FILTER`, `SO_DETACH_FILTER`: the filter that was attached.
    pub fn set_filter(&self, filter: Option<Box<Filter>>) -> Option<Box<Filter>> {
        core::mem::replace(&mut self.state.lock().filter, filter)
    }

    /// True when it has a name.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.state.lock().key.is_some()
    }

    /// listen(2).
    ///
    /// # Errors
    /// `EOPNOTSUPP`: datagrams. `EINVAL`: no name, or connected.
    pub fn listen(&self, backlog: i32) -> Result<(), Errno> {
        if !self.kind.connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        let backlog = usize::try_from(backlog).unwrap_or(SOMAXCONN).min(SOMAXCONN);
        let mut state = self.state.lock();
        if state.key.is_none() || state.was_connected {
            return Err(Errno::EINVAL);
        }
        match &mut state.listener {
            Some(listener) => listener.backlog = backlog,
            None => state.listener = Some(Listener { backlog, ready: VecDeque::new() }),
        }
        Ok(())
    }

    /// True for a listener.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.state.lock().listener.is_some()
    }

    /// Takes a connection from the queue.
    ///
    /// # Errors
    /// `EAGAIN`: none. `EINVAL`: not listening. `EOPNOTSUPP`: datagrams.
    pub fn accept(&self) -> Result<Arc<Self>, Errno> {
        if !self.kind.connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        let taken = {
            let mut state = self.state.lock();
            let listener = state.listener.as_mut().ok_or(Errno::EINVAL)?;
            listener.ready.pop_front()
        };
        let taken = taken.ok_or(Errno::EAGAIN)?;
        // Whoever found the queue full may try again.
        self.notifier.notify(PollEvents::WRITABLE);
        Ok(taken)
    }

    /// connect(2). `None` (of datagrams): sends to nobody any more.
    ///
    /// # Errors
    /// `ECONNREFUSED`: nobody listens there. `EPROTOTYPE`: another kind. `EISCONN`. `EAGAIN`: its
    /// queue is full.
    pub fn connect(self: &Arc<Self>, target: Option<&UnixTarget>) -> Result<(), Errno> {
        let Some(target) = target else {
            if self.kind.connects() {
                return Err(Errno::EINVAL);
            }
            let mut state = self.state.lock();
            state.peer = None;
            state.peer_name = UnixName::Unnamed;
            return Ok(());
        };
        let found = self.space.find(&target.key()).ok_or(Errno::ECONNREFUSED)?;
        if found.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if !self.kind.connects() {
            self.join(&found);
            return Ok(());
        }
        {
            let state = self.state.lock();
            if state.was_connected {
                return Err(Errno::EISCONN);
            }
            if state.listener.is_some() {
                return Err(Errno::EINVAL);
            }
        }
        let (own_name, name) = (self.local_name(), found.local_name());
        let server = Self::new(&self.space, self.kind);
        {
            let mut state = server.state.lock();
            state.name = name;
            state.peer = Some(Arc::downgrade(self));
            state.peer_name = own_name;
            state.was_connected = true;
        }
        if let Err(errno) = found.enqueue(&server) {
            // It never had a peer: nobody is to hear of its end.
            server.state.lock().peer = None;
            return Err(errno);
        }
        self.join(&server);
        found.notifier.notify(PollEvents::READABLE);
        self.notifier.notify(PollEvents::WRITABLE);
        Ok(())
    }

    fn enqueue(&self, server: &Arc<Self>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let listener = state.listener.as_mut().ok_or(Errno::ECONNREFUSED)?;
        if listener.ready.len() > listener.backlog {
            return Err(Errno::EAGAIN);
        }
        listener.ready.push_back(Arc::clone(server));
        Ok(())
    }

    /// Who tells when a queue that refused a connection has room: the listener there.
    #[must_use]
    pub fn listener_of(&self, target: &UnixTarget) -> Option<Arc<Self>> {
        self.space.find(&target.key())
    }

    /// shutdown(2), also of a socket that has no peer.
    pub fn shutdown(&self, how: Shutdown) {
        let peer = {
            let mut state = self.state.lock();
            state.receive_over |= how.reads();
            state.send_over |= how.writes();
            state.peer.as_ref().and_then(Weak::upgrade)
        };
        self.notifier.notify(
            PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP | PollEvents::HUP,
        );
        if let Some(peer) = peer
            && self.kind.connects()
        {
            {
                let mut state = peer.state.lock();
                state.receive_over |= how.writes();
                state.send_over |= how.reads();
            }
            peer.notifier.notify(
                PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP | PollEvents::HUP,
            );
        }
    }

    /// The last descriptor was closed.
    pub fn close(&self) {
        self.end(false);
        self.space.flight.collect();
    }

    /// `reset`: data was lost, whether any is in the queue or not.
    fn end(&self, reset: bool) {
        let (key, peer, listener, queue) = {
            let mut state = self.state.lock();
            if core::mem::replace(&mut state.closed, true) {
                return;
            }
            let queue = core::mem::take(&mut state.queue);
            (state.key.take(), state.peer.take(), state.listener.take(), queue)
        };
        let unread = !queue.messages.is_empty();
        // Without the lock: open files that nobody received end here, sockets among them, perhaps
        // this one's peer.
        self.space.flight.bury(queue);
        if let Some(key) = key {
            self.space.release(&key, self);
        }
        for waiting in listener.into_iter().flat_map(|listener| listener.ready) {
            waiting.end(true);
        }
        self.leave(peer.and_then(|peer| peer.upgrade()), reset || unread);
    }

    /// Tells the peer of a connection that it has none any more; `reset`: data was lost.
    fn leave(&self, peer: Option<Arc<Self>>, reset: bool) {
        let Some(peer) = peer.filter(|_| self.kind.connects()) else { return };
        {
            let mut state = peer.state.lock();
            state.receive_over = true;
            state.send_over = true;
            if reset {
                state.error = Some(Errno::ECONNRESET);
            }
        }
        let events =
            PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP | PollEvents::HUP;
        peer.notifier.notify(if reset { events | PollEvents::ERR } else { events });
    }

    /// getsockname(2).
    #[must_use]
    pub fn local_name(&self) -> UnixName {
        self.state.lock().name.clone()
    }

    /// getpeername(2).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn peer_name(&self) -> Result<UnixName, Errno> {
        let state = self.state.lock();
        if state.peer.is_some() { Ok(state.peer_name.clone()) } else { Err(Errno::ENOTCONN) }
    }

    /// `SO_ERROR`: the error that waits, which is then gone.
    #[must_use]
    pub fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    /// Bytes to read (`FIONREAD`): of packets, the next one's.
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        let state = self.state.lock();
        match self.kind {
            UnixKind::Stream => state.queue.bytes,
            _ => state.queue.messages.front().map_or(0, |message| message.bytes.len()),
        }
    }

    /// What the socket is ready for.
    #[must_use]
    pub fn poll(self: &Arc<Self>) -> PollEvents {
        let (events, peer) = {
            let state = self.state.lock();
            let mut events = PollEvents::empty();
            if state.error.is_some() {
                events |= PollEvents::ERR;
            }
            if let Some(listener) = &state.listener {
                return if listener.ready.is_empty() {
                    events
                } else {
                    events | PollEvents::READABLE
                };
            }
            if !state.queue.messages.is_empty() || state.receive_over {
                events |= PollEvents::READABLE;
            }
            if state.queue.has_urgent() {
                events |= PollEvents::PRI;
            }
            if state.receive_over {
                events |= PollEvents::RDHUP;
            }
            let unconnected = self.kind.connects() && !state.was_connected;
            if unconnected || (state.receive_over && state.send_over) {
                events |= PollEvents::HUP;
            }
            if state.send_over || unconnected {
                return events | PollEvents::WRITABLE;
            }
            (events, state.peer.as_ref().and_then(Weak::upgrade))
        };
        let room = peer.is_none_or(|peer| {
            peer.has_room() || {
                peer.add_writer(self);
                // It may have been emptied just now.
                peer.has_room()
            }
        });
        if room { events | PollEvents::WRITABLE } else { events }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.close();
    }
}
