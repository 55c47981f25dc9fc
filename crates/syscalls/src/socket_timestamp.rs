//! When a packet came (`SO_TIMESTAMP`, `SO_TIMESTAMPNS`), for UDP and raw sockets.
//!
//! Source: socket(7), and timestamping.rst of Linux's documentation.

use crate::socket_file::{Kind, SocketFile};
use base::{Errno, Instant};

/// The options, which are the types of the control messages too. What was made for 64-bit time
/// (`_NEW`) has the same shape here, and another number.
mod name {
    pub(super) const MICROSECONDS: i32 = 29;
    pub(super) const NANOSECONDS: i32 = 35;
    pub(super) const MICROSECONDS_NEW: i32 = 63;
    pub(super) const NANOSECONDS_NEW: i32 = 64;
}

/// What of the time a socket is told; the last option that was set counts.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamps(Option<i32>);

impl Stamps {
    /// True for an option of these.
    pub(crate) fn has(name: i32) -> bool {
        matches!(
            name,
            name::MICROSECONDS | name::NANOSECONDS | name::MICROSECONDS_NEW | name::NANOSECONDS_NEW
        )
    }

    /// The control message for a packet that came at `came`: its type, and seconds with a part of one.
    pub(crate) fn message(self, came: Instant) -> Option<(i32, [u8; 16])> {
        let kind = self.0?;
        let nanoseconds = hal::clock::wall(came).nanoseconds;
        let in_micros = matches!(kind, name::MICROSECONDS | name::MICROSECONDS_NEW);
        let part = nanoseconds % 1_000_000_000 / if in_micros { 1000 } else { 1 };
        let mut bytes = [0; 16];
        let (seconds, rest) = bytes.split_at_mut(8);
        seconds.copy_from_slice(&(nanoseconds / 1_000_000_000).to_ne_bytes());
        rest.copy_from_slice(&part.to_ne_bytes());
        Some((kind, bytes))
    }
}

/// Sets one of the options.
///
/// # Errors
/// `ENOPROTOOPT`: nothing stamps what such a socket gets.
#[cold]
#[inline(never)]
pub(crate) fn set(socket: &SocketFile, name: i32, on: bool) -> Result<(), Errno> {
    if on && !matches!(socket.kind, Kind::Udp(_) | Kind::Raw(_)) {
        return Err(Errno::ENOPROTOOPT);
    }
    socket.settings.lock().stamps = Stamps(on.then_some(name));
    Ok(())
}

/// Reads one of them. (Linux says of microseconds of 64-bit time that they are on when nanoseconds
/// of it are.)
#[cold]
#[inline(never)]
pub(crate) fn get(socket: &SocketFile, name: i32) -> bool {
    let Stamps(set) = socket.settings.lock().stamps;
    set == Some(name) || (name, set) == (name::MICROSECONDS_NEW, Some(name::NANOSECONDS_NEW))
}
