//! The other end of the wire when the kernel is a Linux process: a small user-mode network, laid out
//! as QEMU's.
//!
//! | address | what |
//! |---|---|
//! | 10.0.2.15 | the machine, by DHCP |
//! | 10.0.2.2 | the gateway; TCP and UDP to it reach 127.0.0.1 of the host |
//! | 10.0.2.3 | the name server of the host's /etc/resolv.conf |
//!
//! TCP ends here ([`tcp`], with smoltcp as protocol engine) and goes on through ordinary sockets; UDP
//! datagrams are carried over one by one ([`udp`]). IPv4 only; no fragments; ICMP reaches the gateway and no
//! further. All of it runs on a thread of its own ([`run`]).

mod addresses;
mod dhcp;
mod forward;
mod run;
mod tcp;
mod udp;
mod wire;

pub use forward::{Forward, Protocol};
pub use run::start;
pub use wire::Port;
