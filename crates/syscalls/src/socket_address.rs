//! Socket addresses as structures of the program's memory.

use crate::files::PathArgument;
use crate::socket_file::SocketFile;
use crate::thread::Thread;
use abi::file::AT_FDCWD;
use alloc::vec::Vec;
use base::{Errno, Fd, UserAddr};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use mm::Mm;
use net::{UnixName, UnixTarget};
use vfs::FileType;
use vfs::access::AccessMode;

/// Address families.
pub(crate) mod family {
    pub(crate) const UNSPEC: u16 = 0;
    pub(crate) const UNIX: u16 = 1;
    pub(crate) const INET: u16 = 2;
    pub(crate) const INET6: u16 = 10;
    pub(crate) const NETLINK: u16 = 16;
}

/// Longest address (`struct sockaddr_storage`), in bytes.
pub(crate) const STORAGE_BYTES: u32 = 128;
const INET_BYTES: usize = 16;
const INET6_BYTES: usize = 28;
/// What IPv6 addresses were before they had a scope.
const INET6_BYTES_MIN: usize = 24;
const NETLINK_BYTES: usize = 12;
/// Longest path in an address, in bytes.
const UNIX_PATH_MAX: usize = 108;

/// A socket address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// `AF_UNSPEC`.
    Unspecified,
    /// `AF_INET` and `AF_INET6`.
    Inet(SocketAddr),
    /// `AF_UNIX`.
    Unix(UnixName),
    /// `AF_NETLINK`: port id and groups.
    Netlink(u32, u32),
}

fn u16_at(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Why a socket of the internet refuses an address of `length` bytes and another family: Linux looks at the length
/// first.
pub(crate) fn other_family(socket: &SocketFile, length: u32) -> Errno {
    let shortest = if socket.domain() == family::INET6 { INET6_BYTES_MIN } else { INET_BYTES };
    if (length as usize) < shortest { Errno::EINVAL } else { Errno::EAFNOSUPPORT }
}

impl Address {
    /// Reads an address of `length` bytes.
    ///
    /// # Errors
    /// `EFAULT`. `EINVAL`: no such length. `EAFNOSUPPORT`: a family that eggos lacks.
    pub(crate) fn read(memory: &Mm, at: UserAddr, length: u32) -> Result<Self, Errno> {
        let length = usize::try_from(length.cast_signed()).map_err(|_| Errno::EINVAL)?;
        if length > STORAGE_BYTES as usize {
            return Err(Errno::EINVAL);
        }
        let mut storage = [0; STORAGE_BYTES as usize];
        let bytes = storage.get_mut(..length).unwrap_or_default();
        memory.read_bytes(at, bytes)?;
        Self::parse(bytes).map_err(|short| short.unwrap_or(Errno::EINVAL))
    }

    /// `Err(None)`: too short.
    fn parse(bytes: &[u8]) -> Result<Self, Option<Errno>> {
        let family = u16::from_ne_bytes(u16_at(bytes, 0).ok_or(None)?);
        match family {
            family::UNSPEC => Ok(Self::Unspecified),
            family::INET if bytes.len() >= INET_BYTES => {
                let port = u16::from_be_bytes(u16_at(bytes, 2).ok_or(None)?);
                let ip = Ipv4Addr::from(u32_at(bytes, 4).ok_or(None)?);
                Ok(Self::Inet(SocketAddrV4::new(ip, port).into()))
            }
            family::INET6 if bytes.len() >= INET6_BYTES_MIN => {
                let port = u16::from_be_bytes(u16_at(bytes, 2).ok_or(None)?);
                let ip: [u8; 16] = *bytes.get(8..).and_then(<[u8]>::first_chunk).ok_or(None)?;
                let scope = u32_at(bytes, 24).map_or(0, u32::from_ne_bytes);
                Ok(Self::Inet(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into()))
            }
            family::UNIX => Ok(Self::Unix(unix_name(bytes.get(2..).unwrap_or_default())?)),
            family::NETLINK if bytes.len() >= NETLINK_BYTES => {
                let port = u32::from_ne_bytes(u32_at(bytes, 4).ok_or(None)?);
                let groups = u32::from_ne_bytes(u32_at(bytes, 8).ok_or(None)?);
                Ok(Self::Netlink(port, groups))
            }
            family::INET | family::INET6 | family::NETLINK => Err(None),
            _ => Err(Some(Errno::EAFNOSUPPORT)),
        }
    }

    /// The address as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(INET6_BYTES);
        match self {
            Self::Unspecified => bytes.extend_from_slice(&family::UNSPEC.to_ne_bytes()),
            Self::Inet(SocketAddr::V4(v4)) => {
                bytes.extend_from_slice(&family::INET.to_ne_bytes());
                bytes.extend_from_slice(&v4.port().to_be_bytes());
                bytes.extend_from_slice(&v4.ip().octets());
                bytes.extend_from_slice(&[0; 8]);
            }
            Self::Inet(SocketAddr::V6(v6)) => {
                bytes.extend_from_slice(&family::INET6.to_ne_bytes());
                bytes.extend_from_slice(&v6.port().to_be_bytes());
                bytes.extend_from_slice(&[0; 4]);
                bytes.extend_from_slice(&v6.ip().octets());
                bytes.extend_from_slice(&v6.scope_id().to_ne_bytes());
            }
            Self::Unix(name) => {
                bytes.extend_from_slice(&family::UNIX.to_ne_bytes());
                match name {
                    UnixName::Unnamed => {}
                    UnixName::Abstract(name) => {
                        bytes.push(0);
                        bytes.extend_from_slice(name);
                    }
                    UnixName::Path(path) => {
                        bytes.extend_from_slice(path);
                        bytes.push(0);
                    }
                }
            }
            Self::Netlink(port, groups) => {
                bytes.extend_from_slice(&family::NETLINK.to_ne_bytes());
                bytes.extend_from_slice(&[0; 2]);
                bytes.extend_from_slice(&port.to_ne_bytes());
                bytes.extend_from_slice(&groups.to_ne_bytes());
            }
        }
        bytes
    }

    /// Writes as much of the address as the `int` at `length_at` says there is room for, and its
    /// whole length there. Nothing when `at` is null.
    ///
    /// # Errors
    /// `EFAULT`. `EINVAL`: the length is negative.
    pub(crate) fn write(
        &self,
        memory: &Mm,
        at: UserAddr,
        length_at: UserAddr,
    ) -> Result<(), Errno> {
        if at.is_null() {
            return Ok(());
        }
        let room: i32 = memory.read(length_at)?;
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        let length = self.write_within(memory, at, room)?;
        memory.write(length_at, &length)
    }

    /// Writes as much as `room` allows. Returns the whole length.
    pub(crate) fn write_within(
        &self,
        memory: &Mm,
        at: UserAddr,
        room: usize,
    ) -> Result<u32, Errno> {
        let bytes = self.bytes();
        memory.write_bytes(at, bytes.get(..room.min(bytes.len())).unwrap_or_default())?;
        Ok(bytes.len() as u32)
    }
}

/// Where a message goes: an address, looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    Inet(SocketAddr),
    Unix(UnixTarget),
    Netlink,
    Unspecified,
}

impl Destination {
    /// Looks an address up: the path of a Unix socket becomes its inode.
    ///
    /// # Errors
    /// As path look-up. `ECONNREFUSED`: the path is no socket. `EINVAL`: a Unix address without a
    /// name.
    pub(crate) fn of(thread: &Thread, address: Address) -> Result<Self, Errno> {
        Ok(match address {
            Address::Unspecified => Self::Unspecified,
            Address::Inet(address) => Self::Inet(address),
            Address::Netlink(..) => Self::Netlink,
            Address::Unix(UnixName::Unnamed) => return Err(Errno::EINVAL),
            Address::Unix(UnixName::Abstract(name)) => Self::Unix(UnixTarget::Abstract(name)),
            Address::Unix(UnixName::Path(path)) => {
                let argument = PathArgument::of(thread, Fd(AT_FDCWD), path.into_vec())?;
                let place = thread.process.vfs.resolve(argument.at(), &argument.path, true)?;
                if place.inode.kind() != FileType::Socket {
                    return Err(Errno::ECONNREFUSED);
                }
                argument.who.check(&*place.inode, AccessMode::WRITE)?;
                let id = place.inode.id();
                Self::Unix(UnixTarget::Inode(id.device, id.number))
            }
        })
    }
}

/// The name in a `struct sockaddr_un`: what follows the family.
fn unix_name(name: &[u8]) -> Result<UnixName, Option<Errno>> {
    match name.first() {
        None => Ok(UnixName::Unnamed),
        Some(_) if name.len() > UNIX_PATH_MAX => Err(Some(Errno::EINVAL)),
        Some(0) => Ok(UnixName::Abstract(name.get(1..).unwrap_or_default().into())),
        Some(_) => {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Ok(UnixName::Path(name.get(..end).unwrap_or_default().into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        let addresses = [
            Address::Inet("10.0.2.15:80".parse().unwrap()),
            Address::Inet("[2001:db8::1%3]:443".parse().unwrap()),
            Address::Unix(UnixName::Abstract(b"name".as_slice().into())),
            Address::Unix(UnixName::Path(b"/tmp/socket".as_slice().into())),
            Address::Unix(UnixName::Unnamed),
            Address::Netlink(7, 1),
        ];
        for address in addresses {
            assert_eq!(Address::parse(&address.bytes()), Ok(address));
        }
        assert_eq!(Address::parse(&[2, 0, 0, 80]), Err(None));
        assert_eq!(Address::parse(&[99, 0]), Err(Some(Errno::EAFNOSUPPORT)));
        assert_eq!(Address::parse(&[]), Err(None));
    }
}
