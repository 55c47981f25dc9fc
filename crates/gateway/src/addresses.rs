//! Who is who on the wire, and what it stands for on the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// The machine.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub(crate) const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// The gateway.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(crate) const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
/// The name server.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub(crate) const PREFIX: u8 = 24;
pub(crate) const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// Where the host finds what the machine calls `target`.
pub(crate) fn on_host(target: SocketAddrV4) -> SocketAddrV4 {
    let address = match *target.ip() {
        GATEWAY => Ipv4Addr::LOCALHOST,
        RESOLVER => host_resolver(),
        address => address,
    };
    SocketAddrV4::new(address, target.port())
}

/// The first IPv4 name server of the host.
fn host_resolver() -> Ipv4Addr {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    first_name_server(&text).unwrap_or(Ipv4Addr::LOCALHOST)
}

fn first_name_server(text: &str) -> Option<Ipv4Addr> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        match words.next()?.parse() {
            Ok(IpAddr::V4(address)) if is_server => Some(address),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers() {
        let text = "search x\nnameserver ::1\nnameserver  192.0.2.1 \nnameserver 192.0.2.2\n";
        assert_eq!(first_name_server(text), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(first_name_server("options nameserver"), None);
    }
}
