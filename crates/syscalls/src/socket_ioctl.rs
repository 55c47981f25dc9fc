//! ioctl(2) about network interfaces (netdevice(7)).

use base::Errno;
use core::net::{IpAddr, Ipv4Addr};
use net::{InterfaceInfo, LinkId, Stack};
use vfs::IoctlArgument;

/// Commands.
mod command {
    pub(super) const SIOCGIFNAME: u32 = 0x8910;
    pub(super) const SIOCGIFFLAGS: u32 = 0x8913;
    pub(super) const SIOCGIFADDR: u32 = 0x8915;
    pub(super) const SIOCGIFBRDADDR: u32 = 0x8919;
    pub(super) const SIOCGIFNETMASK: u32 = 0x891b;
    pub(super) const SIOCGIFMTU: u32 = 0x8921;
    pub(super) const SIOCGIFHWADDR: u32 = 0x8927;
    pub(super) const SIOCGIFINDEX: u32 = 0x8933;
    pub(super) const SIOCETHTOOL: u32 = 0x8946;
}

/// Length of `struct ifreq`, and of the name it begins with, in bytes.
const REQUEST_BYTES: usize = 40;
const NAME_BYTES: usize = 16;

/// Answers about an interface by its name (or, for `SIOCGIFNAME`, its index).
///
/// # Errors
/// `ENOTTY`: no such command. `ENODEV`: no such interface. `EADDRNOTAVAIL`: it has no address.
/// `EOPNOTSUPP`: ethtool's commands, as of a driver that has none.
pub(crate) fn interface_ioctl(
    stack: &Stack,
    number: u32,
    argument: &mut dyn IoctlArgument,
) -> Result<usize, Errno> {
    let known = matches!(
        number,
        command::SIOCGIFNAME
            | command::SIOCGIFFLAGS
            | command::SIOCGIFADDR
            | command::SIOCGIFBRDADDR
            | command::SIOCGIFNETMASK
            | command::SIOCGIFMTU
            | command::SIOCGIFHWADDR
            | command::SIOCGIFINDEX
            | command::SIOCETHTOOL
    );
    if !known {
        return Err(Errno::ENOTTY);
    }
    let mut request = [0; REQUEST_BYTES];
    argument.load(&mut request)?;
    let (name, value) = request.split_at_mut(NAME_BYTES);
    let interfaces = stack.interfaces();
    if number == command::SIOCGIFNAME {
        let index = value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let found = interfaces.iter().find(|interface| interface.link.index() == index);
        let text = found.ok_or(Errno::ENODEV)?.name.as_bytes();
        name.fill(0);
        for (slot, byte) in name.iter_mut().zip(text) {
            *slot = *byte;
        }
    } else {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        let wanted = name.get(..end).unwrap_or_default();
        let found = interfaces.iter().find(|interface| interface.name.as_bytes() == wanted);
        fill(number, found.ok_or(Errno::ENODEV)?, value)?;
    }
    argument.store(&request).map(|()| 0)
}

fn fill(number: u32, interface: &InterfaceInfo, value: &mut [u8]) -> Result<(), Errno> {
    const ARPHRD_ETHER: u16 = 1;
    const ARPHRD_LOOPBACK: u16 = 772;
    value.fill(0);
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in value.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    let address = || {
        let v4 = |address| if let IpAddr::V4(v4) = address { Some(v4) } else { None };
        let own = interface.addresses.iter().find(|own| own.address.is_ipv4());
        let own = own.ok_or(Errno::EADDRNOTAVAIL)?;
        let ip = v4(own.address).ok_or(Errno::EADDRNOTAVAIL)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(own.prefix)).unwrap_or(0);
        Ok::<_, Errno>((ip, mask))
    };
    let inet = |ip: Ipv4Addr| {
        let [a, b, c, d] = ip.octets();
        // struct sockaddr_in: family 2, port 0.
        [2, 0, 0, 0, a, b, c, d]
    };
    match number {
        command::SIOCETHTOOL => return Err(Errno::EOPNOTSUPP),
        command::SIOCGIFINDEX => put(0, &interface.link.index().to_ne_bytes()),
        command::SIOCGIFMTU => put(0, &(interface.mtu as u32).to_ne_bytes()),
        command::SIOCGIFFLAGS => put(0, &(interface.flags() as u16).to_ne_bytes()),
        command::SIOCGIFHWADDR => {
            let is_loopback = interface.link == LinkId::LOOPBACK;
            let kind = if is_loopback { ARPHRD_LOOPBACK } else { ARPHRD_ETHER };
            put(0, &kind.to_ne_bytes());
            put(2, &interface.mac);
        }
        command::SIOCGIFADDR => put(0, &inet(address()?.0)),
        command::SIOCGIFNETMASK => put(0, &inet(Ipv4Addr::from_bits(address()?.1))),
        command::SIOCGIFBRDADDR => {
            let (ip, mask) = address()?;
            put(0, &inet(Ipv4Addr::from_bits(ip.to_bits() | !mask)));
        }
        _ => {}
    }
    Ok(())
}
