//! UDP: each datagram of the machine goes out through a socket of the host's, and what comes back there
//! goes to the machine.

use crate::addresses::{self, GATEWAY, GATEWAY_MAC, GUEST, GUEST_MAC, RESOLVER};
use crate::dhcp;
use crate::forward::{Forward, Protocol};
use crate::wire::FRAME_BYTES;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet,
    Ipv4Repr, UdpPacket, UdpRepr,
};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Headers of Ethernet, IPv4 and UDP.
const HEADER_BYTES: usize = 14 + 20 + 8;
/// The machine may use as many ports at a time; then the one that was quiet longest is given up.
const SESSIONS: usize = 512;
/// A port without datagrams is given up after that time.
const QUIET: Duration = Duration::from_secs(120);

/// A port of the machine that sends to elsewhere.
struct Session {
    socket: UdpSocket,
    used: Instant,
}

/// A port of the host that leads into the machine.
struct Entrance {
    socket: UdpSocket,
    guest: u16,
}

/// All of UDP.
pub(crate) struct Udp {
    entrances: Vec<Entrance>,
    /// Whom the machine answers when it sends to that port of the gateway: entrance and peer.
    peers: HashMap<u16, (usize, SocketAddr)>,
    sessions: HashMap<u16, Session>,
}

fn bind(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Udp {
    pub(crate) fn new(forwards: &[Forward]) -> io::Result<Self> {
        let wanted = forwards.iter().filter(|forward| forward.protocol == Protocol::Udp);
        let entrances = wanted
            .map(|forward| Ok(Entrance { socket: bind(forward.host)?, guest: forward.guest }))
            .collect::<io::Result<_>>()?;
        Ok(Self { entrances, peers: HashMap::new(), sessions: HashMap::new() })
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let entrances = self.entrances.iter().map(|entrance| entrance.socket.as_fd());
        entrances.chain(self.sessions.values().map(|session| session.socket.as_fd()))
    }

    /// Takes an IPv4 packet with UDP in it from the machine; the answer of the gateway itself, if
    /// there is one, goes to `send`.
    pub(crate) fn take_from_guest(
        &mut self,
        packet: &Ipv4Packet<&[u8]>,
        send: &mut dyn FnMut(Vec<u8>),
    ) {
        if packet.more_frags() || packet.frag_offset() != 0 {
            return;
        }
        let Ok(datagram) = UdpPacket::new_checked(packet.payload()) else { return };
        let target = SocketAddrV4::new(packet.dst_addr(), datagram.dst_port());
        let payload = datagram.payload();
        if target.port() == dhcp::SERVER_PORT {
            if let Some(answer) = dhcp::answer(payload) {
                let server = SocketAddrV4::new(GATEWAY, dhcp::SERVER_PORT);
                let client = SocketAddrV4::new(Ipv4Addr::BROADCAST, dhcp::CLIENT_PORT);
                send(frame(server, client, &answer));
            }
            return;
        }
        // What does not arrive is lost, as UDP may be.
        let _ = self.carry(datagram.src_port(), target, payload);
    }

    fn carry(&mut self, from: u16, target: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        if *target.ip() == GATEWAY
            && let Some((entrance, peer)) = self.peers.get(&target.port())
            && let Some(entrance) = self.entrances.get(*entrance)
            && entrance.guest == from
        {
            entrance.socket.send_to(payload, peer)?;
            return Ok(());
        }
        let now = Instant::now();
        if !self.sessions.contains_key(&from) {
            self.make_room(now);
            let socket = bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
            self.sessions.insert(from, Session { socket, used: now });
        }
        if let Some(session) = self.sessions.get_mut(&from) {
            session.used = now;
            session.socket.send_to(payload, addresses::on_host(target))?;
        }
        Ok(())
    }

    fn make_room(&mut self, now: Instant) {
        self.sessions.retain(|_, session| now - session.used < QUIET);
        if self.sessions.len() >= SESSIONS {
            let quietest = self.sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(port) = quietest.map(|(port, _)| *port) {
                self.sessions.remove(&port);
            }
        }
    }

    /// Hands what came for the machine to `send`, as frames.
    pub(crate) fn take_from_host(&mut self, send: &mut dyn FnMut(Vec<u8>)) {
        let mut buffer = [0; FRAME_BYTES];
        for (at, entrance) in self.entrances.iter().enumerate() {
            while let Some((bytes, peer)) = receive(&entrance.socket, &mut buffer) {
                // The peer's own port, as long as no two peers have the same.
                self.peers.insert(peer.port(), (at, peer));
                let from = SocketAddrV4::new(GATEWAY, peer.port());
                send(frame(from, SocketAddrV4::new(GUEST, entrance.guest), bytes));
            }
        }
        for (port, session) in &mut self.sessions {
            while let Some((bytes, peer)) = receive(&session.socket, &mut buffer) {
                session.used = Instant::now();
                let from = in_guest(peer);
                send(frame(from, SocketAddrV4::new(GUEST, *port), bytes));
            }
        }
    }
}

/// The next datagram that fits a frame.
fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8]) -> Option<(&'a [u8], SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            // One that fills the buffer may have been cut.
            Ok((count, _)) if count > FRAME_BYTES - HEADER_BYTES => {}
            Ok((count, peer)) => return Some((buffer.get(..count)?, peer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            // An earlier datagram was refused; that is all it says.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}

/// The opposite of [`addresses::on_host`].
fn in_guest(peer: SocketAddr) -> SocketAddrV4 {
    const DNS: u16 = 53;
    let SocketAddr::V4(peer) = peer else { return SocketAddrV4::new(GATEWAY, peer.port()) };
    let resolver = addresses::on_host(SocketAddrV4::new(RESOLVER, DNS));
    match peer {
        peer if peer == resolver => SocketAddrV4::new(RESOLVER, DNS),
        peer if peer.ip().is_loopback() => SocketAddrV4::new(GATEWAY, peer.port()),
        peer => peer,
    }
}

/// An Ethernet frame with a datagram. Checksums are left out: see `Port::capabilities`.
fn frame(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::ignored();
    let to_all = to.ip().is_broadcast();
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(GATEWAY_MAC),
        dst_addr: if to_all { EthernetAddress::BROADCAST } else { EthernetAddress(GUEST_MAC) },
        ethertype: EthernetProtocol::Ipv4,
    };
    let udp = UdpRepr { src_port: from.port(), dst_port: to.port() };
    let ip = Ipv4Repr {
        src_addr: *from.ip(),
        dst_addr: *to.ip(),
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + payload.len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; HEADER_BYTES + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let (source, target) = ((*from.ip()).into(), (*to.ip()).into());
    let copy = |room: &mut [u8]| room.copy_from_slice(payload);
    udp.emit(&mut datagram, &source, &target, payload.len(), copy, &checksums);
    bytes
}
