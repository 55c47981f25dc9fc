//! `IP_FREEBIND` and `IP_TRANSPARENT`: addresses that the machine does not have, of either family by one flag each.
//!
//! Source: ip(7). No rule of a firewall leads foreign packets to sockets here, so a transparent
//! socket sends from such an address, and gets what comes to this machine.

use crate::socket_file::{Kind, SocketFile};
use crate::socket_option::{Value, level};
use base::Errno;
use net::Foreign;

/// The options: level, name, and whether it is of sending.
const ROWS: [(i32, i32, bool); 4] = [
    (level::IP, 15, false),
    (level::IP, 19, true),
    (level::IPV6, 75, true),
    (level::IPV6, 78, false),
];

fn sends(level: i32, name: i32) -> Option<bool> {
    ROWS.iter().find(|row| (row.0, row.1) == (level, name)).map(|row| row.2)
}

/// Sets such an option. `None`: it is another.
///
/// # Errors
/// `EPERM`: only who may forge packets may send from such an address.
#[cold]
#[inline(never)]
pub(crate) fn set(
    socket: &SocketFile,
    (level, name): (i32, i32),
    on: bool,
    value: &Value<'_>,
) -> Option<Result<(), Errno>> {
    let sends = sends(level, name)?;
    if sends && on && !(value.is_admin || value.may_forge) {
        return Some(Err(Errno::EPERM));
    }
    let change = |foreign: &mut Foreign| {
        let flag = if sends { &mut foreign.send } else { &mut foreign.bind };
        *flag = on;
    };
    match &socket.kind {
        Kind::Tcp(tcp) => tcp.set_options(|options| change(&mut options.foreign)),
        Kind::Udp(udp) => udp.set_options(|options| change(&mut options.foreign)),
        Kind::Raw(raw) => raw.set_options(|options| change(&mut options.foreign)),
        Kind::Unix(_) | Kind::Netlink(_) => {}
    }
    Some(Ok(()))
}

/// Reads such an option. `None`: it is another.
#[cold]
#[inline(never)]
pub(crate) fn get(socket: &SocketFile, level: i32, name: i32) -> Option<bool> {
    let sends = sends(level, name)?;
    let foreign = match &socket.kind {
        Kind::Tcp(tcp) => tcp.options().foreign,
        Kind::Udp(udp) => udp.options().foreign,
        Kind::Raw(raw) => raw.options().ok()?.foreign,
        Kind::Unix(_) | Kind::Netlink(_) => return None,
    };
    Some(if sends { foreign.send } else { foreign.bind })
}
