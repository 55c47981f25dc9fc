//! Bytes over Unix sockets.

use super::socket::State;
use super::{MESSAGE_BYTES, Message, QUEUE_BYTES, QUEUE_MESSAGES, Queue};
use super::{Right, UnixKind, UnixName, UnixSocket, UnixTarget};
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source};
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
    fn room(&self) -> usize {
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
        let (peer, from) = self.receiver(to)?;
        let first = peer.accept_bytes(source, rights.clone(), from.clone());
        if first != Err(Errno::EAGAIN) {
            return first;
        }
        peer.add_writer(self);
        // It may have been emptied just now.
        peer.accept_bytes(source, rights, from)
    }

    fn accept_bytes(
        &self,
        source: &mut dyn Source,
        rights: Vec<Right>,
        from: UnixName,
    ) -> Result<usize, Errno> {
        match self.kind {
            UnixKind::Stream => self.append(source, rights, from),
            _ => self.push(source, rights, from),
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

    fn receiver(&self, to: Option<&UnixTarget>) -> Result<(Arc<Self>, UnixName), Errno> {
        let mut state = self.state.lock();
        if let Some(error) = state.error.take() {
            // A writer learns of a lost peer in its own words.
            return Err(if error == Errno::ECONNRESET { Errno::EPIPE } else { error });
        }
        let from = state.name.clone();
        if let Some(target) = to {
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

    /// Adds stream bytes to what waits here.
    fn append(
        &self,
        source: &mut dyn Source,
        mut rights: Vec<Right>,
        from: UnixName,
    ) -> Result<usize, Errno> {
        let mut total = 0;
        while source.remaining() > 0 {
            let mut state = self.state.lock();
            if state.closed || state.receive_over {
                return if total > 0 { Ok(total) } else { Err(Errno::EPIPE) };
            }
            let wanted = source.remaining().min(state.queue.room()).min(PIECE);
            if wanted == 0 {
                break;
            }
            match add_piece(&mut state, source, wanted, &mut rights, &from) {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(errno) if total == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if total == 0 && source.remaining() > 0 {
            return Err(Errno::EAGAIN);
        }
        if total > 0 {
            self.notifier.notify(PollEvents::IN | PollEvents::RDNORM);
        }
        Ok(total)
    }

    /// Adds a message to what waits here.
    fn push(
        &self,
        source: &mut dyn Source,
        rights: Vec<Right>,
        from: UnixName,
    ) -> Result<usize, Errno> {
        let length = source.remaining();
        if length > MESSAGE_BYTES {
            return Err(Errno::EMSGSIZE);
        }
        {
            let mut state = self.state.lock();
            if state.closed || state.receive_over {
                return Err(if self.kind.connects() { Errno::EPIPE } else { Errno::ECONNREFUSED });
            }
            if state.queue.is_full() || (length > state.queue.room() && state.queue.bytes > 0) {
                return Err(Errno::EAGAIN);
            }
            let mut bytes = vec![0; length];
            let mut done = 0;
            while done < length {
                let count = source.take(bytes.get_mut(done..).unwrap_or_default())?;
                if count == 0 {
                    return Err(Errno::EFAULT);
                }
                done += count;
            }
            state.queue.bytes += length;
            state.queue.messages.push_back(Message { bytes, taken: 0, rights, from });
        }
        self.notifier.notify(PollEvents::IN | PollEvents::RDNORM);
        Ok(length)
    }

    /// Receives: of a stream what there is up to the next open file, otherwise one message.
    ///
    /// # Errors
    /// `EAGAIN`: nothing. `ENOTCONN`, `EINVAL`: never connected. `ECONNRESET`.
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<UnixReceived, Errno> {
        let received = {
            let mut state = self.state.lock();
            if state.queue.messages.is_empty() {
                return self.nothing(&mut state);
            }
            match self.kind {
                UnixKind::Stream => receive_stream(&mut state.queue, sink, peek)?,
                _ => receive_message(&mut state.queue, sink, peek)?,
            }
        };
        if !peek {
            self.tell_writers();
        }
        Ok(received)
    }

    fn nothing(&self, state: &mut State) -> Result<UnixReceived, Errno> {
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        if state.receive_over {
            return Ok(UnixReceived::default());
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
            writer.notifier.notify(PollEvents::OUT | PollEvents::WRNORM);
        }
    }
}

fn add_piece(
    state: &mut State,
    source: &mut dyn Source,
    wanted: usize,
    rights: &mut Vec<Right>,
    from: &UnixName,
) -> Result<usize, Errno> {
    let joins = rights.is_empty()
        && state.queue.messages.back().is_some_and(|last| last.bytes.len() < PIECE);
    if !joins {
        let message = Message {
            bytes: Vec::new(),
            taken: 0,
            rights: core::mem::take(rights),
            from: from.clone(),
        };
        state.queue.messages.push_back(message);
    }
    let Some(last) = state.queue.messages.back_mut() else { return Ok(0) };
    let start = last.bytes.len();
    last.bytes.resize(start + wanted, 0);
    let taken = source.take(last.bytes.get_mut(start..).unwrap_or_default());
    let count = *taken.as_ref().unwrap_or(&0);
    last.bytes.truncate(start + count);
    if last.bytes.is_empty() && last.rights.is_empty() {
        state.queue.messages.pop_back();
    }
    state.queue.bytes += count;
    taken
}

fn receive_stream(
    queue: &mut Queue,
    sink: &mut dyn Sink,
    peek: bool,
) -> Result<UnixReceived, Errno> {
    let mut received = UnixReceived::default();
    let mut at = 0;
    while sink.room() > 0 {
        let Some(message) = queue.messages.get_mut(at) else { break };
        // Open files mark where a reader must stop and look.
        if !message.rights.is_empty() && received.stored > 0 {
            break;
        }
        let rest = message.bytes.get(message.taken..).unwrap_or_default();
        let wanted = rest.len().min(sink.room());
        let count = match sink.put(rest.get(..wanted).unwrap_or_default()) {
            Ok(count) => count,
            Err(errno) if received.stored == 0 => return Err(errno),
            Err(_) => break,
        };
        received.stored += count;
        if peek {
            received.rights.extend(message.rights.iter().cloned());
            if count < rest.len() {
                break;
            }
            at += 1;
            continue;
        }
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
    received.length = received.stored;
    Ok(received)
}

fn receive_message(
    queue: &mut Queue,
    sink: &mut dyn Sink,
    peek: bool,
) -> Result<UnixReceived, Errno> {
    let Some(message) = queue.messages.front() else { return Err(Errno::EAGAIN) };
    let stored =
        if message.bytes.is_empty() || sink.room() == 0 { 0 } else { sink.put(&message.bytes)? };
    let length = message.bytes.len();
    let from = message.from.clone();
    if peek {
        let rights = message.rights.clone();
        return Ok(UnixReceived { stored, length, from, rights });
    }
    let rights = queue.messages.pop_front().map(|message| message.rights).unwrap_or_default();
    queue.bytes = queue.bytes.saturating_sub(length);
    Ok(UnixReceived { stored, length, from, rights })
}
