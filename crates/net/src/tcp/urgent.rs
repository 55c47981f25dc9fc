//! Urgent data (tcp(7), RFC 6093): a mark in the stream, and one byte behind it that is read apart.
//!
//! smoltcp knows nothing of it. Where the mark is, is counted in bytes that readers take, so that it
//! holds whichever way the bytes come.

use super::connection::Connection;
use crate::engine::Engine;
use crate::slab::Id;
use base::Errno;
use base::io::{Sink, SliceSink};

/// The urgent byte that came last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urgent {
    /// Bytes of the stream before it.
    position: u64,
    /// It was read apart.
    read: bool,
    /// Before this byte a reader stood, at an urgent one that is forgotten: it is no part of the stream.
    dropped: Option<u64>,
}

impl Connection {
    /// Bytes that readers took.
    fn taken(&self) -> u64 {
        self.consumed + self.short_received
    }

    /// Bytes that came.
    fn arrived(&self) -> u64 {
        self.taken() + self.readable() as u64
    }

    /// A segment says that the byte at `sequence` is urgent; `expected`: what was to come next before
    /// it. True when that is news (`tcp_check_urg` of Linux).
    pub(super) fn urgent_came(
        &mut self,
        sequence: u32,
        expected: Option<u32>,
        inline: bool,
    ) -> bool {
        let Some(next) = self.next_to_read() else { return false };
        let ahead = u32::try_from(sequence.wrapping_sub(next).cast_signed());
        let is_old = |expected: u32| sequence.wrapping_sub(expected).cast_signed() < 0;
        let Ok(ahead) = ahead else { return false };
        if expected.is_some_and(is_old) {
            return false;
        }
        let position = self.taken() + u64::from(ahead);
        if self.urgent.is_some_and(|urgent| position <= urgent.position) {
            return false;
        }
        self.set_urgent(position, inline);
        true
    }

    /// The last byte that came is urgent.
    pub(super) fn urgent_came_short(&mut self, inline: bool) {
        self.set_urgent(self.arrived().saturating_sub(1), inline);
    }

    fn set_urgent(&mut self, position: u64, inline: bool) {
        let taken = self.taken();
        let is_here = |old: &Urgent| old.position == taken && taken < position && !inline;
        let dropped = self.urgent.filter(is_here).map(|_| taken);
        self.urgent = Some(Urgent { position, read: false, dropped });
    }

    /// An urgent byte can be read apart.
    pub(super) fn has_urgent(&self) -> bool {
        let is_there = |urgent: Urgent| !urgent.read && urgent.position < self.arrived();
        self.urgent.is_some_and(is_there)
    }

    /// The next byte is the urgent one (`SIOCATMARK`).
    pub(super) fn is_at_mark(&self) -> bool {
        self.urgent.is_some_and(|urgent| urgent.position == self.taken())
    }

    /// Bytes to read, before the mark if there are any (`FIONREAD`).
    pub(super) fn readable_to_mark(&self, inline: bool) -> usize {
        let all = self.readable();
        let before = self.urgent.filter(|_| !inline).and_then(|urgent| {
            let before = urgent.position.checked_sub(self.taken())?;
            usize::try_from(before).ok().filter(|before| *before < all)
        });
        before.unwrap_or(all)
    }
}

/// A part of a sink: not the first `skip` bytes, and then `room` at most.
struct Part<'a> {
    sink: &'a mut dyn Sink,
    skip: usize,
    room: usize,
}

impl Sink for Part<'_> {
    fn room(&self) -> usize {
        self.skip.saturating_add(self.room.min(self.sink.room()))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        Ok(self.put_present(bytes))
    }

    fn put_present(&mut self, bytes: &[u8]) -> usize {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let rest = bytes.get(skipped..).unwrap_or_default();
        let rest = rest.get(..self.room).unwrap_or(rest);
        let moved = if rest.is_empty() { 0 } else { self.sink.put_present(rest) };
        self.room -= moved;
        skipped + moved
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.sink.resume()
    }
}

impl Engine {
    fn connection(&mut self, id: Id) -> Option<&mut Connection> {
        self.core.tcp.entries.get_mut(id)?.connection_mut()
    }

    /// True when a reader stands before urgent data.
    pub(super) fn tcp_is_at_mark(&mut self, id: Id) -> bool {
        self.connection(id).is_some_and(|connection| connection.is_at_mark())
    }

    /// As `tcp_receive`, where there is a mark: up to it, or from it on without the urgent byte.
    #[cold]
    pub(super) fn tcp_receive_around(
        &mut self,
        id: Id,
        sink: &mut dyn Sink,
        peek: bool,
    ) -> Result<usize, Errno> {
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        let inline = entry.options.urgent_inline;
        let connection = entry.connection_mut().ok_or(Errno::EBADF)?;
        // Out of the way of what is called here.
        let mut urgent = connection.urgent.take();
        let dropped = urgent.as_mut().and_then(|urgent| urgent.dropped.take());
        if dropped.is_some_and(|at| at == connection.taken()) {
            self.tcp_receive(id, &mut Part { sink: &mut *sink, skip: 1, room: 0 }, false)?;
            if let Some(connection) = self.connection(id) {
                connection.urgent = urgent;
            }
            return self.tcp_receive_behind(id, sink, peek);
        }
        let (taken, arrived) = (connection.taken(), connection.arrived());
        let Some(urgent) = urgent.filter(|urgent| urgent.position >= taken) else {
            return self.tcp_receive(id, sink, peek);
        };
        let before = usize::try_from(urgent.position - taken).unwrap_or(usize::MAX);
        let result = if before > 0 {
            self.tcp_receive(id, &mut Part { sink, skip: 0, room: before }, peek)
        } else if inline || urgent.position >= arrived {
            self.tcp_receive(id, sink, peek)
        } else if peek {
            let seen = self.tcp_receive(id, &mut Part { sink, skip: 1, room: usize::MAX }, true);
            seen.and_then(|seen| if seen > 1 { Ok(seen - 1) } else { self.nothing_more(id) })
        } else {
            self.tcp_receive(id, &mut Part { sink: &mut *sink, skip: 1, room: 0 }, false)?;
            return self.tcp_receive_behind(id, sink, false);
        };
        if let Some(connection) = self.connection(id)
            && connection.urgent.is_none()
            && urgent.position >= connection.taken()
        {
            connection.urgent = Some(urgent);
        }
        result
    }

    /// As `tcp_receive`, after a byte that no reader gets.
    fn tcp_receive_behind(
        &mut self,
        id: Id,
        sink: &mut dyn Sink,
        peek: bool,
    ) -> Result<usize, Errno> {
        match self.tcp_receive(id, sink, peek) {
            Err(Errno::EAGAIN) => self.nothing_more(id),
            other => other,
        }
    }

    /// What a reader hears who has all: the end, or that there may come more.
    fn nothing_more(&mut self, id: Id) -> Result<usize, Errno> {
        let is_over = |connection: &mut Connection| {
            connection.receive_shutdown || Connection::peer_finished(connection.socket().state())
        };
        if self.connection(id).is_none_or(is_over) { Ok(0) } else { Err(Errno::EAGAIN) }
    }

    /// The urgent byte (`MSG_OOB`). `None`: the end came first.
    pub(super) fn tcp_receive_urgent(&mut self, id: Id, peek: bool) -> Result<Option<u8>, Errno> {
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        let inline = entry.options.urgent_inline;
        let connection = entry.connection_mut().ok_or(Errno::EINVAL)?;
        let (taken, arrived) = (connection.taken(), connection.arrived());
        let urgent = connection.urgent.filter(|urgent| !urgent.read && urgent.position >= taken);
        let urgent = urgent.filter(|_| !inline).ok_or(Errno::EINVAL)?;
        if urgent.position >= arrived {
            return self.nothing_more(id).map(|_| None);
        }
        connection.urgent = None;
        let skip = usize::try_from(urgent.position - taken).unwrap_or(usize::MAX);
        let mut byte = [0];
        let mut sink = SliceSink::new(&mut byte);
        let seen = self.tcp_receive(id, &mut Part { sink: &mut sink, skip, room: 1 }, true);
        if let Some(connection) = self.connection(id) {
            connection.urgent = Some(Urgent { read: !peek, ..urgent });
        }
        seen.map(|_| Some(byte[0]))
    }
}
