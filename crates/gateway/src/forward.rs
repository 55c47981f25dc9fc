//! Ports of the host that lead into the machine, as QEMU's `hostfwd=` writes them.

use std::net::SocketAddrV4;
use std::str::FromStr;

/// TCP or UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A forwarded port: `tcp:127.0.0.1:8080-:80`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// The machine's port.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| format!("not a forwarded port: {text}"))
    }
}

fn parse(text: &str) -> Option<Forward> {
    let (protocol, ports) = text.split_once(':')?;
    let (host, guest) = ports.split_once("-:")?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(Forward { protocol, host: host.parse().ok()?, guest: guest.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_qemu_writes_them() {
        let forward: Forward = "udp:0.0.0.0:53-:5353".parse().unwrap();
        let host = "0.0.0.0:53".parse().unwrap();
        assert_eq!(forward, Forward { protocol: Protocol::Udp, host, guest: 5353 });
        for text in ["", "tcp:", "tcp:1-:2", "x:1.2.3.4:5-:6", "tcp:1.2.3.4:5-6"] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
