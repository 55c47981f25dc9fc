//! The gateway's thread.

use crate::addresses::{GATEWAY, GATEWAY_MAC, PREFIX, RESOLVER};
use crate::forward::Forward;
use crate::tcp::Tcp;
use crate::udp::Udp;
use crate::wire::{Far, Port, wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::iface::{Config, Interface};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpCidr, IpProtocol, Ipv4Packet,
};
use std::io;
use std::time;

struct Gateway {
    far: Far,
    interface: Interface,
    tcp: Tcp,
    udp: Udp,
    started: time::Instant,
}

/// Starts the gateway on a thread of its own and returns the machine's end of the wire. `interrupt` is
/// called on that thread when the machine has to look at it.
///
/// # Errors
/// A port is taken, or the host has no room for the thread.
pub fn start(
    forwards: &[Forward],
    seed: u64,
    interrupt: Box<dyn Fn() + Send + Sync>,
) -> io::Result<Port> {
    let (port, far) = wire(interrupt)?;
    let mut gateway = Gateway::new(far, forwards, seed)?;
    std::thread::Builder::new().name("gateway".into()).spawn(move || gateway.run())?;
    Ok(port)
}

impl Gateway {
    fn new(mut far: Far, forwards: &[Forward], seed: u64) -> io::Result<Self> {
        let mut config = Config::new(EthernetAddress(GATEWAY_MAC).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut far, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            for address in [GATEWAY, RESOLVER] {
                // There is room for eight.
                let _ = addresses.push(IpCidr::new(address.into(), PREFIX));
            }
        });
        // Connections to everywhere end here.
        interface.set_any_ip(true);
        interface
            .routes_mut()
            .add_default_ipv4_route(GATEWAY)
            .map_err(|_| io::Error::other("no room for a route"))?;
        let (tcp, udp) = (Tcp::new(forwards)?, Udp::new(forwards)?);
        Ok(Self { far, interface, tcp, udp, started: time::Instant::now() })
    }

    fn run(&mut self) {
        loop {
            self.far.answer();
            self.take_frames();
            self.tcp.accept(&mut self.interface);
            self.tcp.opened(&mut |frame| self.far.received.push_back(frame));
            self.udp.take_from_host(&mut |frame| self.far.send(frame));
            self.tcp.pump();
            let now = self.now();
            self.interface.poll(now, &mut self.far, &mut self.tcp.sockets);
            // What has come in can go on, and what went on makes room.
            self.tcp.pump();
            self.interface.poll(now, &mut self.far, &mut self.tcp.sockets);
            self.wait();
        }
    }

    fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Sorts what the machine has sent.
    fn take_frames(&mut self) {
        while let Some(bytes) = self.far.take() {
            let Ok(frame) = EthernetFrame::new_checked(&bytes[..]) else { continue };
            if frame.ethertype() == EthernetProtocol::Ipv4 {
                let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else { continue };
                match packet.next_header() {
                    IpProtocol::Udp => {
                        self.udp.take_from_guest(&packet, &mut |frame| self.far.send(frame));
                        continue;
                    }
                    IpProtocol::Tcp if !self.tcp.admits(&packet, &bytes) => continue,
                    _ => {}
                }
            }
            self.far.received.push_back(bytes);
        }
    }

    /// Waits for something to do.
    fn wait(&mut self) {
        let now = self.now();
        let delay = self.interface.poll_delay(now, &self.tcp.sockets);
        let delay = match delay {
            _ if self.tcp.is_closing() => Some(Duration::ZERO),
            // The bell rings when the machine has taken frames.
            _ if !self.far.has_room() => None,
            delay => delay,
        };
        let timeout = delay.map(|delay| Timespec {
            tv_sec: i64::try_from(delay.secs()).unwrap_or(i64::MAX),
            tv_nsec: (delay.micros() % 1_000_000 * 1000) as i64,
        });
        let mut sources = vec![PollFd::from_borrowed_fd(self.far.bell(), PollFlags::IN)];
        sources.extend(self.tcp.sources().map(|(fd, wanted)| PollFd::from_borrowed_fd(fd, wanted)));
        sources.extend(self.udp.sources().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // Whatever it says, the next turn looks at everything.
        let _ = poll(&mut sources, timeout.as_ref());
    }
}
