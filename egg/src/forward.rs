//! `-p`: ports of this host that lead into the machine.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::str::FromStr;

use crate::exit::{Code, Failure};

/// A forwarded port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Forward {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// Where this host listens; port 0: any free one.
    pub(crate) host: SocketAddrV4,
    /// The port in the machine.
    pub(crate) guest: u16,
}

/// The protocol of a [`Forward`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

const FORM: &str =
    "a port is [ADDR:]HOST:GUEST[/udp], such as 8080:80 or 0.0.0.0:5353:53/udp (IPv4)";

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| FORM.to_owned())
    }
}

fn parse(text: &str) -> Option<Forward> {
    let (ports, protocol) = match text.rsplit_once('/') {
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some(_) => return None,
        None => (text, Protocol::Tcp),
    };
    let (host, guest) = ports.rsplit_once(':')?;
    let guest = guest.parse().ok().filter(|&port| port != 0)?;
    let host = match host.rsplit_once(':') {
        Some((address, port)) => SocketAddrV4::new(parse_address(address)?, port.parse().ok()?),
        None => SocketAddrV4::new(Ipv4Addr::LOCALHOST, host.parse().ok()?),
    };
    Some(Forward { protocol, host, guest })
}

/// QEMU's user network forwards from IPv4 addresses only.
fn parse_address(text: &str) -> Option<Ipv4Addr> {
    match text {
        "" => Some(Ipv4Addr::UNSPECIFIED),
        "localhost" => Some(Ipv4Addr::LOCALHOST),
        text => text.parse().ok(),
    }
}

impl Forward {
    /// What QEMU's `hostfwd=` wants.
    pub(crate) fn rule(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("{protocol}:{}-:{}", self.host, self.guest)
    }

    /// Chooses a port for 0, and makes sure that nobody listens on it yet: QEMU's own message
    /// names neither the reason nor the way out.
    pub(crate) fn claim(&mut self) -> anyhow::Result<()> {
        let bound = match self.protocol {
            Protocol::Tcp => TcpListener::bind(self.host).and_then(|socket| socket.local_addr()),
            Protocol::Udp => UdpSocket::bind(self.host).and_then(|socket| socket.local_addr()),
        };
        let error = match bound {
            Ok(address) => {
                self.host.set_port(address.port());
                return Ok(());
            }
            Err(error) => error,
        };
        let (host, guest) = (self.host, self.guest);
        let port = host.port();
        let message = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "port {port} of {} is taken by another program; stop that program, or choose another port: -p {}:{guest}",
                host.ip(),
                if port < u16::MAX { port + 1 } else { 0 },
            ),
            std::io::ErrorKind::PermissionDenied => {
                format!(
                    "port {port} needs root; choose one above 1023: -p {}:{guest}",
                    8000 + port % 1000
                )
            }
            std::io::ErrorKind::AddrNotAvailable => {
                format!("{} is not an address of this host", host.ip())
            }
            _ => format!("cannot listen on {host}: {error}"),
        };
        Failure::err(Code::Usage, message)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "http://{} -> :{}", self.host, self.guest),
            Protocol::Udp => write!(f, "udp://{} -> :{}", self.host, self.guest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (text, rule) in [
            ("8080:80", "tcp:127.0.0.1:8080-:80"),
            ("0:80", "tcp:127.0.0.1:0-:80"),
            ("0.0.0.0:8080:80/tcp", "tcp:0.0.0.0:8080-:80"),
            (":8080:80", "tcp:0.0.0.0:8080-:80"),
            ("localhost:5353:53/udp", "udp:127.0.0.1:5353-:53"),
        ] {
            assert_eq!(text.parse::<Forward>().unwrap().rule(), rule);
        }
        for text in
            ["", "80", "80:", ":80", "a:80", "1:2:3", "80:0", "80:70000", "1:2/sctp", "[::1]:1:2"]
        {
            assert_eq!(text.parse::<Forward>(), Err(FORM.to_owned()), "{text}");
        }
    }

    #[test]
    fn port_zero_chooses_and_a_taken_port_is_named() {
        let mut forward: Forward = "0:80".parse().unwrap();
        forward.claim().unwrap();
        assert_ne!(forward.host.port(), 0);
        let _holder = TcpListener::bind(forward.host).unwrap();
        let message = forward.claim().unwrap_err().to_string();
        let port = forward.host.port().to_string();
        assert!(message.starts_with(&format!("port {port} of 127.0.0.1 is taken")), "{message}");
    }
}
