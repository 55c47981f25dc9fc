//! TCP: connections end here and go on through sockets of the host's.

use crate::addresses::{self, GATEWAY, GUEST};
use crate::forward::{Forward, Protocol};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{Ipv4Packet, TcpPacket};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes that may be on their way, each direction.
const BUFFER_BYTES: usize = 128 * 1024;
/// The gateway's own ports.
const FIRST_PORT: u16 = 32_768;

/// A connection: the machine's end in smoltcp's socket, the other in the host's.
struct Flow {
    handle: SocketHandle,
    stream: TcpStream,
    /// The host's side has sent all.
    host_ended: bool,
    /// The machine has sent all, and the host's side knows.
    guest_ended: bool,
    /// Seen at its end once: it goes the next time, when the last packets are out.
    over: bool,
}

/// A connection that the machine wants to open, while the host opens it.
struct Opening {
    stream: TcpStream,
    from: SocketAddrV4,
    target: SocketAddrV4,
    /// The machine's SYN, which smoltcp sees when the host has decided.
    frame: Vec<u8>,
}

/// A port of the host that leads into the machine.
struct Entrance {
    listener: TcpListener,
    guest: u16,
}

/// All of TCP.
pub(crate) struct Tcp {
    pub(crate) sockets: SocketSet<'static>,
    entrances: Vec<Entrance>,
    opening: Vec<Opening>,
    flows: Vec<Flow>,
    next_port: u16,
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket
}

impl Tcp {
    pub(crate) fn new(forwards: &[Forward]) -> io::Result<Self> {
        let wanted = forwards.iter().filter(|forward| forward.protocol == Protocol::Tcp);
        let entrances = wanted
            .map(|forward| {
                let listener = TcpListener::bind(forward.host)?;
                listener.set_nonblocking(true)?;
                Ok(Entrance { listener, guest: forward.guest })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            sockets: SocketSet::new(Vec::new()),
            entrances,
            opening: Vec::new(),
            flows: Vec::new(),
            next_port: FIRST_PORT,
        })
    }

    /// What to wait for. A connection for which nothing can be done is left out.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let entrances =
            self.entrances.iter().map(|entrance| (entrance.listener.as_fd(), PollFlags::IN));
        let opening = self.opening.iter().map(|opening| (opening.stream.as_fd(), PollFlags::OUT));
        let flows = self.flows.iter().filter_map(|flow| {
            let socket = self.sockets.get::<Socket<'_>>(flow.handle);
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, !flow.host_ended && socket.can_send());
            wanted.set(PollFlags::OUT, socket.can_recv());
            (!wanted.is_empty()).then(|| (flow.stream.as_fd(), wanted))
        });
        entrances.chain(opening).chain(flows)
    }

    /// True when smoltcp may have the packet now; else it is kept until the host has decided.
    pub(crate) fn admits(&mut self, packet: &Ipv4Packet<&[u8]>, frame: &[u8]) -> bool {
        let Ok(segment) = TcpPacket::new_checked(packet.payload()) else { return true };
        if !segment.syn() || segment.ack() {
            return true;
        }
        let from = SocketAddrV4::new(packet.src_addr(), segment.src_port());
        let target = SocketAddrV4::new(packet.dst_addr(), segment.dst_port());
        if self.opening.iter().any(|row| row.from == from && row.target == target) {
            return false;
        }
        if self.is_known(from, target) {
            return true;
        }
        match connect(addresses::on_host(target)) {
            Ok(stream) => {
                self.opening.push(Opening { stream, from, target, frame: frame.to_vec() });
                false
            }
            // smoltcp refuses it.
            Err(_) => true,
        }
    }

    fn is_known(&self, from: SocketAddrV4, target: SocketAddrV4) -> bool {
        self.flows.iter().any(|flow| {
            let socket = self.sockets.get::<Socket<'_>>(flow.handle);
            socket.remote_endpoint() == Some(from.into())
                && socket.local_endpoint() == Some(target.into())
        })
    }

    /// Goes on with connections whose opening the host has decided: their SYNs go to `admit`.
    pub(crate) fn opened(&mut self, admit: &mut dyn FnMut(Vec<u8>)) {
        let mut at = 0;
        while let Some(row) = self.opening.get(at) {
            let decided = match row.stream.take_error() {
                Ok(None) if row.stream.peer_addr().is_err() => None,
                Ok(None) => Some(true),
                Ok(Some(_)) | Err(_) => Some(false),
            };
            let Some(connected) = decided else {
                at += 1;
                continue;
            };
            let row = self.opening.swap_remove(at);
            if connected {
                let mut socket = socket();
                // Only a socket in use, or port 0, is refused.
                if socket.listen((*row.target.ip(), row.target.port())).is_ok() {
                    self.add(socket, row.stream);
                }
            }
            admit(row.frame);
        }
    }

    /// Opens connections into the machine for those that came to the host's ports.
    pub(crate) fn accept(&mut self, interface: &mut Interface) {
        let mut accepted = Vec::new();
        for entrance in &self.entrances {
            while let Ok((stream, _)) = entrance.listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    accepted.push((stream, entrance.guest));
                }
            }
        }
        for (stream, guest) in accepted {
            let mut socket = socket();
            let local = (GATEWAY, self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if socket.connect(interface.context(), (GUEST, guest), local).is_ok() {
                self.add(socket, stream);
            }
        }
    }

    fn add(&mut self, socket: Socket<'static>, stream: TcpStream) {
        // Small packets are the machine's business.
        let _ = stream.set_nodelay(true);
        let handle = self.sockets.add(socket);
        let (host_ended, guest_ended, over) = (false, false, false);
        self.flows.push(Flow { handle, stream, host_ended, guest_ended, over });
    }

    /// Moves bytes both ways, and forgets connections that are over.
    pub(crate) fn pump(&mut self) {
        let sockets = &mut self.sockets;
        self.flows.retain_mut(|flow| {
            let socket = sockets.get_mut::<Socket<'_>>(flow.handle);
            if flow.pump(socket).is_err() {
                socket.abort();
                flow.host_ended = true;
            }
            let at_end = matches!(socket.state(), State::Closed | State::TimeWait);
            if at_end && !socket.can_recv() && std::mem::replace(&mut flow.over, true) {
                sockets.remove(flow.handle);
                return false;
            }
            true
        });
    }

    /// A connection is at its end and waits for the next turn.
    pub(crate) fn is_closing(&self) -> bool {
        self.flows.iter().any(|flow| flow.over)
    }
}

impl Flow {
    fn pump(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        while socket.can_recv() {
            let moved = socket.recv(|bytes| counted(self.stream.write(bytes)));
            match moved.map_err(io::Error::other)? {
                Ok(0) => break,
                moved => moved?,
            };
        }
        let has_ended = matches!(
            socket.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
        if has_ended && !socket.can_recv() && !self.guest_ended {
            self.guest_ended = true;
            // The host's side may be gone already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        while !self.host_ended && socket.can_send() {
            let moved = socket.send(|room| match self.stream.read(room) {
                Ok(0) => (0, Ok(None)),
                result => {
                    let (count, result) = counted(result);
                    (count, result.map(Some))
                }
            });
            match moved.map_err(io::Error::other)?? {
                Some(0) => break,
                Some(_) => {}
                None => {
                    self.host_ended = true;
                    socket.close();
                }
            }
        }
        Ok(())
    }
}

/// A result as smoltcp's buffers want it: how much was moved, and what to give back. Nothing to move is
/// no error.
fn counted(result: io::Result<usize>) -> (usize, io::Result<usize>) {
    match result {
        Ok(count) => (count, Ok(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            (0, Ok(0))
        }
        Err(error) => (0, Err(error)),
    }
}

/// Begins to open a connection.
fn connect(target: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}
