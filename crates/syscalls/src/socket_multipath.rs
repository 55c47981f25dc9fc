//! Options of MPTCP (linux/mptcp.h).

use crate::socket_address::family;
use crate::socket_file::{Kind, SocketFile};
use alloc::vec::Vec;
use base::Errno;
use net::MultipathInfo;

const INFO: i32 = 1;
/// `MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED`.
const REMOTE_KEY_RECEIVED: u32 = 2;
/// Paths that a connection may have beside its first: Linux's default.
const MORE_PATHS: u8 = 2;

/// An option of MPTCP.
///
/// # Errors
/// `EOPNOTSUPP`, over IPv6 `ENOPROTOOPT`: the socket does not speak it (any more). `EOPNOTSUPP` also
/// for other options than `MPTCP_INFO`.
pub(crate) fn get(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let info = if let Kind::Tcp(tcp) = &socket.kind { tcp.multipath() } else { None };
    match info {
        Some(info) if name == INFO => Ok(bytes(&info)),
        None if socket.domain() == family::INET6 => Err(Errno::ENOPROTOOPT),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// `struct mptcp_info`, up to the number of paths.
fn bytes(info: &MultipathInfo) -> Vec<u8> {
    let flags = if info.has_remote_key { REMOTE_KEY_RECEIVED } else { 0 };
    let more_paths = if info.is_listener { 0 } else { MORE_PATHS };
    let mut bytes = Vec::from([0, 0, 0, more_paths, 0, 0, 0, 0]);
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(info.token.to_ne_bytes());
    let unacknowledged = info.sent - info.acknowledged.min(info.sent);
    for number in [info.next_sent, info.next_sent.wrapping_sub(unacknowledged), info.next_received]
    {
        bytes.extend(number.to_ne_bytes());
    }
    // Addresses told, checksums, and what was sent again: none.
    bytes.extend([0; 16]);
    for count in [info.sent, info.received, info.acknowledged] {
        bytes.extend(count.to_ne_bytes());
    }
    // Paths now, and padding.
    bytes.extend([u8::from(info.has_remote_key), 0, 0, 0, 0, 0, 0, 0]);
    bytes
}
