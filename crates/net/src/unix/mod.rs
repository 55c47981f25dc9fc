//! Unix sockets: streams, packets and datagrams within the machine (unix(7)).
//!
//! Each socket has a lock of its own; no operation holds two at a time, except that a listener's
//! is taken alone while a connection is made. Open files that are sent along are opaque here, but
//! for the Unix sockets among them ([`flight`]).

mod flight;
mod socket;
mod transfer;
mod urgent;

pub use flight::Right;
pub use socket::{UnixSocket, UnixTarget};
pub use transfer::UnixReceived;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::Errno;
use base::sync::SpinLock;
use flight::Flight;

/// The name of a Unix socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum UnixName {
    /// None.
    #[default]
    Unnamed,
    /// A name outside the tree of files, without its leading zero byte.
    Abstract(Box<[u8]>),
    /// A path, as it was given to bind(2).
    Path(Box<[u8]>),
}

/// What kind of socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnixKind {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_SEQPACKET`.
    Packets,
    /// `SOCK_DGRAM`.
    Datagram,
}

impl UnixKind {
    /// True when a connection is made before data flows.
    pub(crate) fn connects(self) -> bool {
        self != Self::Datagram
    }
}

/// How other sockets find one: an abstract name, or the inode (device, number) of its path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    Abstract(Box<[u8]>),
    Inode(u64, u64),
}

/// The Unix sockets that have names.
#[derive(Default)]
pub struct UnixSpace {
    names: SpinLock<BTreeMap<Key, Weak<UnixSocket>>>,
    next_automatic: SpinLock<u32>,
    pub(crate) flight: Flight,
}

impl UnixSpace {
    pub(crate) fn find(&self, key: &Key) -> Option<Arc<UnixSocket>> {
        self.names.lock().get(key).and_then(Weak::upgrade)
    }

    pub(crate) fn claim(&self, key: Key, socket: &Arc<UnixSocket>) -> Result<(), Errno> {
        let mut names = self.names.lock();
        if names.get(&key).is_some_and(|old| old.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        names.insert(key, Arc::downgrade(socket));
        Ok(())
    }

    /// `socket` gives its name up. Another may have it by now, if this one is at its end.
    pub(crate) fn release(&self, key: &Key, socket: &UnixSocket) {
        let mut names = self.names.lock();
        if names.get(key).is_some_and(|holder| core::ptr::eq(holder.as_ptr(), socket)) {
            names.remove(key);
        }
    }

    /// Frees the sockets in flight that nobody can receive any more. To be called when a descriptor
    /// was closed, and not under a lock: open files may end. Costs next to nothing while no Unix
    /// socket is in the queue of another.
    #[inline]
    pub fn collect_unreachable(&self) {
        self.flight.collect();
    }

    /// Five hexadecimal digits, as Linux gives to who binds to no name.
    pub(crate) fn automatic_name(&self) -> Box<[u8]> {
        let mut next = self.next_automatic.lock();
        *next = next.wrapping_add(1) & 0xf_ffff;
        alloc::format!("{:05x}", *next).into_bytes().into()
    }

    /// The names that are taken (/proc/net/unix).
    #[must_use]
    pub fn sockets(&self) -> Vec<(UnixKind, UnixName)> {
        let sockets: Vec<_> = self.names.lock().values().filter_map(Weak::upgrade).collect();
        sockets.iter().map(|socket| (socket.kind(), socket.local_name())).collect()
    }
}

/// Bytes on their way, with what was sent along.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    /// Of a stream: how many were read.
    pub(crate) taken: usize,
    pub(crate) rights: Vec<Right>,
    pub(crate) from: UnixName,
    /// Of a stream: the one urgent byte (`MSG_OOB`), or, once that was read apart, the mark.
    pub(crate) urgent: bool,
}

impl Message {
    /// The urgent byte that can be read apart.
    fn is_urgent(&self) -> bool {
        self.urgent && self.taken < self.bytes.len()
    }

    /// The mark that is left of one.
    fn is_mark(&self) -> bool {
        self.urgent && self.taken >= self.bytes.len()
    }
}

/// What a socket has received and not yet given.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) messages: VecDeque<Message>,
    pub(crate) bytes: usize,
    /// An urgent byte or a mark is among them: most streams never see one.
    pub(crate) urgent: bool,
}

/// Bytes that wait for one socket (Linux: `net.core.wmem_default`).
pub(crate) const QUEUE_BYTES: usize = 212_992;
/// Datagrams that wait for one socket (Linux: `net.unix.max_dgram_qlen` is 10; that is per
/// sender, with the bytes bounding the rest).
pub(crate) const QUEUE_MESSAGES: usize = 512;
/// Bytes of one datagram at most.
pub(crate) const MESSAGE_BYTES: usize = QUEUE_BYTES - 32;
