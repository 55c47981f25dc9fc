//! The short way between two connections of this machine.
//!
//! What one end writes goes straight into the inbox of the other: two copies of each byte instead
//! of four, no segments, no acknowledgements. The engine still makes and ends the connections, so
//! that states, FIN and RST are those of TCP.
//!
//! The order holds because an end takes the short way only when the engine has nothing of it under
//! way, and a reader empties the engine's buffer before the inbox. Raw sockets want to see
//! segments: while there are any, data goes the long way.

use super::{Entry, Role, Tcp};
use crate::engine::Core;
use crate::route::LinkId;
use crate::slab::Id;
use crate::spare::Spare;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source};
use sched::PollEvents;
use smoltcp::socket::tcp::State;

/// Sizes of the buffers in an inbox, in bytes: at most what is kept for use again.
const CHUNK_MIN: usize = 2 * 1024;
const CHUNK_MAX: usize = 64 * 1024;

/// Bytes of a buffer that wait to be read.
struct Chunk {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Chunk {
    fn ready(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }
}

/// What came the short way and was not read yet.
#[derive(Default)]
pub(crate) struct Inbox {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// The length of all buffers.
    held: usize,
    /// Who wrote.
    writer: Option<Id>,
}

impl Inbox {
    /// Bytes to read.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory in use.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes up to `most` bytes in.
    fn fill(
        &mut self,
        source: &mut dyn Source,
        most: usize,
        spare: &mut Spare,
    ) -> Result<usize, Errno> {
        let mut done = 0;
        loop {
            let wanted = source.remaining().min(most - done);
            if wanted == 0 {
                return Ok(done);
            }
            let chunk = match self.chunk_with_room(wanted, spare) {
                Ok(chunk) => chunk,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => return Ok(done),
            };
            let end = chunk.buffer.len().min(chunk.end + wanted);
            let room = chunk.buffer.get_mut(chunk.end..end).unwrap_or_default();
            let asked = room.len();
            let count = source.take_present(room);
            chunk.end += count;
            done += count;
            self.bytes += count;
            if count < asked {
                return Ok(done);
            }
        }
    }

    /// The last chunk when it has room, or a new one.
    fn chunk_with_room(&mut self, wanted: usize, spare: &mut Spare) -> Result<&mut Chunk, Errno> {
        if self.chunks.back().is_none_or(|chunk| chunk.end == chunk.buffer.len()) {
            let bytes = wanted.next_power_of_two().clamp(CHUNK_MIN, CHUNK_MAX);
            let mut buffer = spare.take();
            if buffer.len() < bytes {
                let missing = bytes - buffer.len();
                buffer.try_reserve_exact(missing).map_err(|_| Errno::ENOBUFS)?;
                buffer.resize(bytes, 0);
            }
            self.chunks.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
            self.held += buffer.len();
            self.chunks.push_back(Chunk { buffer, start: 0, end: 0 });
        }
        self.chunks.back_mut().ok_or(Errno::ENOBUFS)
    }

    /// Shows the bytes to `sink`, and they stay.
    fn peek(&self, sink: &mut dyn Sink) -> usize {
        let mut done = 0;
        for chunk in &self.chunks {
            let ready = chunk.ready();
            let ready = ready.get(..sink.room()).unwrap_or(ready);
            done += sink.put_present(ready);
        }
        done
    }

    /// Gives the bytes to `sink`.
    fn drain(&mut self, sink: &mut dyn Sink, spare: &mut Spare) -> usize {
        let mut done = 0;
        while let Some(chunk) = self.chunks.front_mut() {
            let ready = chunk.ready();
            let ready = ready.get(..sink.room()).unwrap_or(ready);
            let wanted = ready.len();
            let count = sink.put_present(ready);
            chunk.start += count;
            done += count;
            self.bytes -= count;
            if chunk.start < chunk.end {
                break;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                self.held -= chunk.buffer.len();
                spare.give(chunk.buffer);
            }
            if count < wanted {
                break;
            }
        }
        done
    }
}

/// The short way out of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet {
    /// The other end.
    peer: Id,
    /// Bytes that the peer's inbox may hold: what both ends' buffers hold on the long way, and more while there
    /// is plenty of memory and nobody asked for a size.
    pub(crate) limit: usize,
    /// Bytes that it does.
    pub(crate) filled: usize,
}

impl Core {
    /// The other end of a connection, when data may go there the short way.
    pub(super) fn tcp_shortcut(&self, id: Id) -> Option<Id> {
        let entries = &self.tcp.entries;
        let own = entries.get(id)?;
        let connection = own.connection()?;
        // Nothing may be under way that would be overtaken.
        if connection.hop.link != LinkId::LOOPBACK || connection.socket().send_queue() > 0 {
            return None;
        }
        let there = connection.tuple.reversed();
        let peer = match connection.outlet {
            Some(outlet) => outlet.peer,
            None => *self.tcp.tuples.get(&there)?,
        };
        let entry = entries.get(peer)?;
        let other = entry.connection()?;
        let receives = matches!(
            other.socket().state(),
            State::Established | State::FinWait1 | State::FinWait2
        );
        // To a socket that was closed it goes the long way, which ends in a reset.
        let is_open = entry.open || other.parent.is_some();
        let reachable = other.linked && other.tuple == there && peer != id;
        let unseen = self.raw.is_empty() || other.ring.inbox.bytes() > 0;
        let taken = entry.options.takes(other.local.ip(), own.options.hop_limit);
        (receives && is_open && reachable && unseen && taken).then_some(peer)
    }

    /// Sends to `peer` the short way.
    pub(super) fn tcp_send_short(
        &mut self,
        id: Id,
        peer: Id,
        source: &mut dyn Source,
        urgent: bool,
    ) -> Result<usize, Errno> {
        let Self { tcp, spare, loopback_counters, .. } = self;
        let Tcp { entries, rings, counters, .. } = tcp;
        let entry = entries.get(id).ok_or(Errno::EPIPE)?;
        let is_unasked = entry.options.send_buffer.is_none();
        let own = entry.connection().ok_or(Errno::EPIPE)?;
        let (own_bytes, filled) = (own.ring.sizes.send, own.outlet.map_or(0, |out| out.filled));
        let entry = entries.get_mut(peer).ok_or(Errno::EPIPE)?;
        let Entry { role: Role::Connection(other), notifier, options, .. } = entry.as_mut() else {
            return Err(Errno::EPIPE);
        };
        let mut limit = own_bytes + other.ring.sizes.receive;
        if is_unasked && options.receive_buffer.is_none() {
            limit = limit.max(rings.inbox_limit());
        }
        let room = limit.saturating_sub(filled);
        let inbox = &mut other.ring.inbox;
        let held = inbox.held();
        let moved = inbox.fill(source, room, spare);
        inbox.writer = Some(id);
        rings.changed(held, inbox.held());
        let total = moved?;
        if total > 0 {
            let mut events = PollEvents::READABLE;
            if urgent {
                other.urgent_came_short(options.urgent_inline);
                events |= PollEvents::PRI;
            }
            notifier.notify(events);
            // As one segment.
            counters.sent += 1;
            counters.received += 1;
            loopback_counters.sent_packets += 1;
            loopback_counters.received_packets += 1;
            loopback_counters.sent_bytes += total as u64;
            loopback_counters.received_bytes += total as u64;
        }
        let blocked = source.remaining() > 0;
        if let Some(own) = entries.get_mut(id).and_then(|entry| entry.connection_mut()) {
            own.outlet = Some(Outlet { peer, limit, filled: filled + total });
            own.wants_room |= blocked;
            own.short_sent += total as u64;
        }
        if total == 0 && blocked && room == 0 { Err(Errno::EAGAIN) } else { Ok(total) }
    }

    /// Receives what came the short way, and tells the writer of the room.
    pub(super) fn tcp_receive_short(
        &mut self,
        id: Id,
        sink: &mut dyn Sink,
        peek: bool,
    ) -> Result<usize, Errno> {
        let Self { tcp, spare, .. } = self;
        let Tcp { entries, rings, .. } = tcp;
        let own = entries.get_mut(id).and_then(|entry| entry.connection_mut());
        let own = own.ok_or(Errno::EBADF)?;
        let inbox = &mut own.ring.inbox;
        if peek {
            return Ok(inbox.peek(sink));
        }
        let (held, writer) = (inbox.held(), inbox.writer);
        let moved = inbox.drain(sink, spare);
        rings.changed(held, inbox.held());
        own.short_received += moved as u64;
        let Some(entry) = writer.and_then(|writer| entries.get_mut(writer)) else {
            return Ok(moved);
        };
        if let Entry { role: Role::Connection(other), notifier, .. } = entry.as_mut()
            && let Some(outlet) = other.outlet.as_mut().filter(|outlet| outlet.peer == id)
        {
            outlet.filled = outlet.filled.saturating_sub(moved);
            if other.wants_room && other.has_room() {
                other.wants_room = false;
                notifier.notify(PollEvents::WRITABLE);
            }
        }
        Ok(moved)
    }
}
