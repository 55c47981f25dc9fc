//! Bytes over Unix sockets.

use super::flight::Flight;
use super::socket::State;
use super::urgent::{self, Seen};
use super::{MESSAGE_BYTES, Message, QUEUE_BYTES, QUEUE_MESSAGES, Queue};
use super::{Right, UnixKind, UnixName, UnixSocket, UnixTarget};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source, drain, fill, take_all};
use sched::PollEvents;

/// What was received.
#[derive(Default)]
pub struct UnixReceived {
    /// Bytes stored.
    pub stored: usize,
    /// Bytes that the message has.
    pub length: usize,
    /// The sender's name.
    pub from: UnixName,
    /// What was sent along.
    pub rights: Vec<Right>,
}

/// Bytes taken from a writer at a time.
const PIECE: usize = 64 * 1024;

impl Queue {
    pub(super) fn room(&self) -> usize {
        QUEUE_BYTES.saturating_sub(self.bytes)
    }

    fn is_full(&self) -> bool {
        self.bytes >= QUEUE_BYTES || self.messages.len() >= QUEUE_MESSAGES
    }
}

impl UnixSocket {
    /// True when something may be sent to it.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state.lock();
        match self.kind {
            // As Linux: a quarter of the buffer may be used before writers wait for epoll.
            UnixKind::Stream => state.queue.bytes * 4 <= QUEUE_BYTES,
            _ => !state.queue.is_full(),
        }
    }

    /// Sends: a stream as much as there is room for, others one message. `rights` go along.
    ///
    /// # Errors
    /// `EAGAIN`: no room. `EPIPE`: the peer is gone. `ENOTCONN`, `EISCONN`, `EMSGSIZE`,
    /// `ECONNREFUSED`: a datagram for nobody. `EDESTADDRREQ` is `ENOTCONN` here, as on Linux.
    pub fn send(
        self: &Arc<Self>,
        source: &mut dyn Source,
        to: Option<&UnixTarget>,
        rights: Vec<Right>,
    ) -> Result<usize, Errno> {
        let carries = !rights.is_empty();
        let result = self.send_to_peer(source, to, rights);
        if carries {
            // With what was sent, a circle may have closed that the program lets go of.
            self.space.flight.collect();
        }
        result
    }

    fn send_to_peer(
        self: &Arc<Self>,
        source: &mut dyn Source,
        to: Option<&UnixTarget>,
        mut rights: Vec<Right>,
    ) -> Result<usize, Errno> {
        let (peer, from) = self.receiver(to)?;
        if self.kind == UnixKind::Stream {
            return drain(source, |source, _| {
                self.persist(&peer, || peer.append(source, &mut rights, &from))
            });
        }
        if source.remaining() > MESSAGE_BYTES {
            return Err(Errno::EMSGSIZE);
        }
        let bytes = take_all(source, 0)?;
        let mut message = Some(Message { bytes, taken: 0, rights, from, urgent: false });
        self.persist(&peer, || peer.push(&mut message))
    }

    /// Tries to send to `peer` and, when there is no room, once more as one of those who wait.
    fn persist(
        self: &Arc<Self>,
        peer: &Arc<Self>,
        mut attempt: impl FnMut() -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        match attempt() {
            Err(Errno::EAGAIN) => {
                peer.add_writer(self);
                // It may have been emptied just now.
                attempt()
            }
            other => other,
        }
    }

    /// Notes who waits for room here.
    pub(crate) fn add_writer(&self, writer: &Arc<Self>) {
        let mut state = self.state.lock();
        let weak = Arc::downgrade(writer);
        if !state.writers.iter().any(|known| known.ptr_eq(&weak)) {
            state.writers.retain(|known| known.strong_count() > 0);
            state.writers.push(weak);
        }
    }

    pub(super) fn receiver(&self, to: Option<&UnixTarget>) -> Result<(Arc<Self>, UnixName), Errno> {
        let mut state = self.state.lock();
        // The writer of a stream does not learn that the peer lost data: that is told to the reader.
        if self.kind == UnixKind::Stream && state.send_over {
            return Err(Errno::EPIPE);
        }
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let from = state.name.clone();
        // A connection of packets has its peer: an address is ignored.
        if let Some(target) = to.filter(|_| self.kind != UnixKind::Packets) {
            if self.kind.connects() {
                return Err(if state.was_connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
            }
            drop(state);
            let found = self.space.find(&target.key()).ok_or(Errno::ECONNREFUSED)?;
            return if found.kind == self.kind {
                Ok((found, from))
            } else {
                Err(Errno::EPROTOTYPE)
            };
        }
        if state.send_over {
            return Err(Errno::EPIPE);
        }
        let Some(peer) = &state.peer else { return Err(Errno::ENOTCONN) };
        let gone = if self.kind.connects() { Errno::EPIPE } else { Errno::ECONNREFUSED };
        peer.upgrade().map(|peer| (peer, from)).ok_or(gone)
    }

    /// Adds stream bytes to what waits here. Stops, as [`Source::take_present`] does.
    fn append(
        self: &Arc<Self>,
        source: &mut dyn Source,
        rights: &mut Vec<Right>,
        from: &UnixName,
    ) -> Result<usize, Errno> {
        let mut total = 0;
        while source.remaining() > 0 {
            let mut state = self.state.lock();
            if state.closed || state.receive_over {
                return if total > 0 { Ok(total) } else { Err(Errno::EPIPE) };
            }
            let wanted = source.remaining().min(state.queue.room()).min(PIECE);
            if wanted == 0 {
                if total == 0 {
                    return Err(Errno::EAGAIN);
                }
                break;
            }
            self.space.flight.enters(self, rights);
            let count = add_piece(&mut state, source, wanted, rights, from);
            total += count;
            if count < wanted {
                break;
            }
        }
        if total > 0 {
            self.notifier.notify(PollEvents::READABLE);
        }
        Ok(total)
    }

    /// Adds a message to what waits here.
    fn push(self: &Arc<Self>, message: &mut Option<Message>) -> Result<usize, Errno> {
        let length = message.as_ref().map_or(0, |message| message.bytes.len());
        {
            let mut state = self.state.lock();
            if state.closed || state.receive_over {
                return Err(if self.kind.connects() { Errno::EPIPE } else { Errno::ECONNREFUSED });
            }
            if state.queue.is_full() || (length > state.queue.room() && state.queue.bytes > 0) {
                return Err(Errno::EAGAIN);
            }
            let kept = state.filter.as_ref().zip(message.as_mut()).map(|(filter, message)| {
                let kept = filter.run(&[], &message.bytes);
                message.bytes.truncate(kept);
                kept
            });
            // The sender does not learn of it.
            if kept == Some(0) {
                return Ok(length);
            }
            if let Some(message) = message.take() {
                let length = message.bytes.len();
                self.space.flight.enters(self, &message.rights);
                state.queue.bytes += length;
                state.queue.messages.push_back(message);
            }
        }
        self.notifier.notify(PollEvents::READABLE);
        Ok(length)
    }

    /// Receives: of a stream what there is up to the next open file, otherwise one message.
    ///
    /// # Errors
    /// `EAGAIN`: nothing. `ENOTCONN`, `EINVAL`: never connected. `ECONNRESET`.
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<UnixReceived, Errno> {
        match (self.kind, peek) {
            (UnixKind::Stream, true) => self.peek_stream(sink),
            (UnixKind::Stream, false) => self.receive_stream(sink),
            _ => self.receive_message(sink, peek),
        }
    }

    fn receive_stream(&self, sink: &mut dyn Sink) -> Result<UnixReceived, Errno> {
        let mut received = UnixReceived::default();
        fill(sink, |sink, again| {
            // Open files mark where a reader must stop and look.
            if again && !received.rights.is_empty() {
                return Ok(0);
            }
            let before = received.stored;
            {
                let mut state = self.state.lock();
                if state.queue.messages.is_empty() {
                    return if again { Ok(0) } else { self.nothing(&mut state).map(|()| 0) };
                }
                let inline = state.urgent_inline;
                take_stream(&self.space.flight, &mut state.queue, sink, &mut received, inline);
                if state.queue.messages.is_empty() && received.stored == 0 && sink.room() > 0 {
                    // There was nothing but an urgent byte.
                    return self.nothing(&mut state).map(|()| 0);
                }
            }
            self.tell_writers();
            Ok(received.stored - before)
        })?;
        received.length = received.stored;
        Ok(received)
    }

    #[cold]
    fn peek_stream(&self, sink: &mut dyn Sink) -> Result<UnixReceived, Errno> {
        let (bytes, rights) = {
            let mut state = self.state.lock();
            if state.queue.messages.is_empty() {
                return self.nothing(&mut state).map(|()| UnixReceived::default());
            }
            let seen =
                see_stream(&self.space.flight, &state.queue, sink.room(), state.urgent_inline);
            if seen.0.is_empty() && sink.room() > 0 {
                return self.nothing(&mut state).map(|()| UnixReceived::default());
            }
            seen
        };
        let stored = if bytes.is_empty() { 0 } else { sink.put(&bytes)? };
        Ok(UnixReceived { stored, length: stored, from: UnixName::default(), rights })
    }

    /// Takes a message out, or copies it, and gives it to `sink` when the lock is open again. So a
    /// message that the program's memory does not accept is lost, as on Linux.
    #[inline(never)]
    fn receive_message(&self, sink: &mut dyn Sink, peek: bool) -> Result<UnixReceived, Errno> {
        let message = {
            let mut state = self.state.lock();
            let Some(front) = state.queue.messages.front() else {
                return self.nothing(&mut state).map(|()| UnixReceived::default());
            };
            self.space.flight.leaves(&front.rights);
            if peek {
                front.clone()
            } else {
                let bytes = front.bytes.len();
                state.queue.bytes = state.queue.bytes.saturating_sub(bytes);
                state.queue.messages.pop_front().ok_or(Errno::EAGAIN)?
            }
        };
        if !peek {
            self.tell_writers();
        }
        let Message { bytes, rights, from, .. } = message;
        let stored = if bytes.is_empty() || sink.room() == 0 { 0 } else { sink.put(&bytes)? };
        Ok(UnixReceived { stored, length: bytes.len(), from, rights })
    }

    /// What a receiver finds where nothing waits: the end, or why not.
    fn nothing(&self, state: &mut State) -> Result<(), Errno> {
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        if state.receive_over {
            return Ok(());
        }
        if self.kind.connects() && !state.was_connected {
            return Err(if self.kind == UnixKind::Stream {
                Errno::EINVAL
            } else {
                Errno::ENOTCONN
            });
        }
        Err(Errno::EAGAIN)
    }

    /// There is room again, for whoever found none.
    fn tell_writers(&self) {
        if !self.has_room() {
            return;
        }
        let writers = core::mem::take(&mut self.state.lock().writers);
        for writer in writers.iter().filter_map(Weak::upgrade) {
            writer.notifier.notify(PollEvents::WRITABLE);
        }
    }
}

fn add_piece(
    state: &mut State,
    source: &mut dyn Source,
    wanted: usize,
    rights: &mut Vec<Right>,
    from: &UnixName,
) -> usize {
    let joins = rights.is_empty()
        && state.queue.messages.back().is_some_and(|last| last.bytes.len() < PIECE && !last.urgent);
    if !joins {
        let message = Message {
            bytes: Vec::new(),
            taken: 0,
            rights: core::mem::take(rights),
            from: from.clone(),
            urgent: false,
        };
        state.queue.messages.push_back(message);
    }
    let Some(last) = state.queue.messages.back_mut() else { return 0 };
    let start = last.bytes.len();
    last.bytes.resize(start + wanted, 0);
    let count = source.take_present(last.bytes.get_mut(start..).unwrap_or_default());
    last.bytes.truncate(start + count);
    if last.bytes.is_empty()
        && let Some(unused) = state.queue.messages.pop_back()
    {
        *rights = unused.rights;
    }
    state.queue.bytes += count;
    count
}

/// Moves stream bytes to `sink`, up to what goes with the next open file.
fn take_stream(
    flight: &Flight,
    queue: &mut Queue,
    sink: &mut dyn Sink,
    received: &mut UnixReceived,
    inline: bool,
) {
    while sink.room() > 0 {
        if !urgent::pass(queue, received.stored > 0, inline) {
            break;
        }
        let Some(message) = queue.messages.front_mut() else { break };
        // Open files mark where a reader must stop and look.
        if !message.rights.is_empty() && received.stored > 0 {
            break;
        }
        let rest = message.bytes.get(message.taken..).unwrap_or_default();
        let wanted = rest.len().min(sink.room());
        let count = sink.put_present(rest.get(..wanted).unwrap_or_default());
        if count == 0 {
            break;
        }
        received.stored += count;
        flight.leaves(&message.rights);
        received.rights.append(&mut message.rights);
        message.taken += count;
        queue.bytes -= count;
        if message.taken < message.bytes.len() {
            break;
        }
        queue.messages.pop_front();
        if !received.rights.is_empty() {
            break;
        }
    }
}

/// Copies up to `most` stream bytes, up to what goes with the next open file, and what goes with
/// them.
fn see_stream(flight: &Flight, queue: &Queue, most: usize, inline: bool) -> (Vec<u8>, Vec<Right>) {
    let mut bytes = Vec::new();
    for message in &queue.messages {
        if message.urgent {
            match urgent::seen(queue, message, !bytes.is_empty(), inline) {
                Seen::Stop => break,
                Seen::Skip => continue,
                Seen::Take => {}
            }
        }
        if bytes.len() >= most || (!message.rights.is_empty() && !bytes.is_empty()) {
            break;
        }
        let rest = message.bytes.get(message.taken..).unwrap_or_default();
        bytes.extend_from_slice(rest.get(..most - bytes.len()).unwrap_or(rest));
    }
    let first = queue.messages.front().filter(|_| !bytes.is_empty());
    let rights = first.map(|message| {
        flight.leaves(&message.rights);
        message.rights.clone()
    });
    (bytes, rights.unwrap_or_default())
}
