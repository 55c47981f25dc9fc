//! The urgent byte of a Unix stream (`MSG_OOB`, unix(7)): a message of its own in the queue. The rules are
//! those of `manage_oob` and `unix_stream_recv_urg` in net/unix/af_unix.c of Linux.

use super::{Message, Queue, UnixKind, UnixName, UnixSocket};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use base::Errno;
use sched::PollEvents;

impl Queue {
    /// An urgent byte can be read apart.
    pub(super) fn has_urgent(&self) -> bool {
        self.urgent && self.messages.iter().any(Message::is_urgent)
    }
}

/// What one who only looks does with an urgent byte, or a mark.
pub(super) enum Seen {
    /// It ends there.
    Stop,
    /// It looks behind it.
    Skip,
    /// It takes it like any other.
    Take,
}

pub(super) fn seen(queue: &Queue, message: &Message, copied: bool, inline: bool) -> Seen {
    match (message.is_mark(), copied) {
        (true, true) if !queue.has_urgent() => Seen::Stop,
        (true, _) => Seen::Skip,
        (false, true) => Seen::Stop,
        (false, false) if inline => Seen::Take,
        (false, false) => Seen::Skip,
    }
}

/// Passes what a reader does not get with the stream. False: it stops before that. `copied`: it has
/// something already.
#[inline]
pub(super) fn pass(queue: &mut Queue, copied: bool, inline: bool) -> bool {
    !queue.urgent || pass_urgent(queue, copied, inline)
}

#[cold]
fn pass_urgent(queue: &mut Queue, copied: bool, inline: bool) -> bool {
    while let Some(front) = queue.messages.front().filter(|front| front.urgent) {
        let is_mark = front.is_mark();
        if copied && !(is_mark && queue.has_urgent()) {
            return false;
        }
        if !is_mark && inline {
            if let Some(front) = queue.messages.front_mut() {
                front.urgent = false;
            }
        } else if let Some(gone) = queue.messages.pop_front() {
            queue.bytes -= gone.bytes.len() - gone.taken;
        }
    }
    queue.urgent = queue.messages.iter().any(|message| message.urgent);
    true
}

impl UnixSocket {
    /// Sends a byte as urgent data.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: no stream. Others as [`UnixSocket::send`].
    pub fn send_urgent(self: &Arc<Self>, byte: u8) -> Result<usize, Errno> {
        if self.kind != UnixKind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        let (peer, from) = self.receiver(None)?;
        match peer.push_urgent(byte, &from) {
            Err(Errno::EAGAIN) => {
                peer.add_writer(self);
                // It may have been emptied just now.
                peer.push_urgent(byte, &from)
            }
            other => other,
        }
    }

    #[inline(never)]
    fn push_urgent(&self, byte: u8, from: &UnixName) -> Result<usize, Errno> {
        {
            let mut state = self.state.lock();
            if state.closed || state.receive_over {
                return Err(Errno::EPIPE);
            }
            if state.queue.room() == 0 {
                return Err(Errno::EAGAIN);
            }
            // One that was urgent before is like any other now.
            for message in &mut state.queue.messages {
                message.urgent = message.is_mark();
            }
            let (bytes, rights) = (vec![byte], Vec::new());
            let message = Message { bytes, taken: 0, rights, from: from.clone(), urgent: true };
            state.queue.messages.push_back(message);
            state.queue.bytes += 1;
            state.queue.urgent = true;
        }
        self.notifier.notify(PollEvents::READABLE | PollEvents::PRI);
        Ok(1)
    }

    /// The urgent byte; it stays with `peek`.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: no stream. `EINVAL`: there is none, or it is in the stream (`SO_OOBINLINE`).
    pub fn receive_urgent(&self, peek: bool) -> Result<u8, Errno> {
        if self.kind != UnixKind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.urgent_inline {
            return Err(Errno::EINVAL);
        }
        let found = state.queue.messages.iter_mut().find(|message| message.is_urgent());
        let message = found.ok_or(Errno::EINVAL)?;
        let byte = message.bytes.first().copied().ok_or(Errno::EINVAL)?;
        if !peek {
            message.taken = 1;
            state.queue.bytes -= 1;
        }
        Ok(byte)
    }

    /// `SO_OOBINLINE`.
    pub fn set_urgent_inline(&self, on: bool) {
        self.state.lock().urgent_inline = on;
    }

    /// The next byte is urgent, or was (`SIOCATMARK`).
    #[must_use]
    pub fn is_at_mark(&self) -> bool {
        let state = self.state.lock();
        let mut messages = state.queue.messages.iter();
        match messages.next() {
            Some(first) if first.is_urgent() => true,
            Some(first) if first.is_mark() => {
                !state.queue.has_urgent() || messages.next().is_some_and(Message::is_urgent)
            }
            _ => false,
        }
    }
}
