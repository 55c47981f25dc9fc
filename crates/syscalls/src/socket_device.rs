//! `SO_BINDTODEVICE` and `SO_BINDTOIFINDEX`: a socket that uses one interface alone.

use crate::socket_file::{Kind, SocketFile};
use crate::socket_option::Value;
use alloc::vec::Vec;
use base::Errno;
use net::LinkId;

/// Longest name of an interface with its zero (`IFNAMSIZ`), in bytes.
const NAME_BYTES: usize = 16;

/// By name; an empty one lets go.
///
/// # Errors
/// `ENODEV`: there is no such interface. `EFAULT`.
#[cold]
#[inline(never)]
pub(crate) fn set_name(socket: &SocketFile, value: &Value<'_>) -> Result<(), Errno> {
    let mut bytes = [0; NAME_BYTES];
    let most = value.length.min(NAME_BYTES - 1);
    value.read(bytes.get_mut(..most).unwrap_or_default())?;
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.is_empty() {
        return set(socket, None);
    }
    let interfaces = socket.stack.interfaces();
    let found = interfaces.iter().find(|interface| interface.name.as_bytes() == name);
    set(socket, Some(found.ok_or(Errno::ENODEV)?.link))
}

/// By Linux's index; 0 lets go. Whether there is such an interface is not asked, as on Linux.
///
/// # Errors
/// `EINVAL`: no index.
#[cold]
#[inline(never)]
pub(crate) fn set_index(socket: &SocketFile, index: i32) -> Result<(), Errno> {
    let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
    set(socket, LinkId::from_index(index))
}

fn set(socket: &SocketFile, link: Option<LinkId>) -> Result<(), Errno> {
    match &socket.kind {
        Kind::Tcp(tcp) => tcp.set_options(|options| options.device = link),
        Kind::Udp(udp) => udp.set_options(|options| options.device = link),
        Kind::Raw(raw) => raw.set_options(|options| options.device = link),
        Kind::Unix(_) | Kind::Netlink(_) => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}

/// The interface that the socket uses alone.
pub(crate) fn get(socket: &SocketFile) -> Option<LinkId> {
    match &socket.kind {
        Kind::Tcp(tcp) => tcp.options().device,
        Kind::Udp(udp) => udp.options().device,
        Kind::Raw(raw) => raw.options().ok()?.device,
        Kind::Unix(_) | Kind::Netlink(_) => None,
    }
}

/// Its name, ended by a zero; nothing where there is none.
///
/// # Errors
/// `EINVAL`: `room` is not enough for every name. `ENODEV`: it is gone.
#[cold]
#[inline(never)]
pub(crate) fn name(socket: &SocketFile, room: usize) -> Result<Vec<u8>, Errno> {
    let Some(link) = get(socket) else { return Ok(Vec::new()) };
    if room < NAME_BYTES {
        return Err(Errno::EINVAL);
    }
    let interfaces = socket.stack.interfaces();
    let found = interfaces.into_iter().find(|interface| interface.link == link);
    let mut name = found.ok_or(Errno::ENODEV)?.name.into_bytes();
    name.push(0);
    Ok(name)
}
