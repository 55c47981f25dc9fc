//! A machine made of smoltcp behind the gateway: connections both ways, an address by DHCP.
#![expect(clippy::expect_used, reason = "a test ends where it fails")]

use base::link::{NetDevice, TransmitMeta};
use gateway::{Forward, Port};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time;

/// The machine's end of the wire as smoltcp wants it.
struct Device(Port);

struct Token<'a>(&'a mut Port);
struct Frame(Vec<u8>);

impl phy::TxToken for Token<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, fill: F) -> R {
        let (mut fill, mut result) = (Some(fill), None);
        let sent = self.0.transmit(bytes, TransmitMeta::default(), &mut |room| {
            result = fill.take().map(|fill| fill(room));
        });
        assert!(sent, "no room on the wire");
        self.0.flush();
        result.expect("the frame was filled")
    }
}

impl phy::RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl phy::Device for Device {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Token<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Token<'_>)> {
        let mut frame = None;
        self.0.receive(&mut |bytes, _| frame = Some(Frame(bytes.to_vec())));
        Some((frame?, Token(&mut self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Token<'_>> {
        Some(Token(&mut self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        // Those of TCP alone are left out on this wire.
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}

struct Machine {
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    started: time::Instant,
}

impl Machine {
    fn new(forwards: &[Forward]) -> Self {
        let port = gateway::start(forwards, 1, Box::new(|| {})).expect("the gateway starts");
        let mac = EthernetAddress(port.mac());
        let mut device = Device(port);
        let config = Config::new(mac.into());
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = Ipv4Address::new(10, 0, 2, 15);
            addresses.push(IpCidr::new(address.into(), 24)).expect("room for an address");
        });
        let started = time::Instant::now();
        Self { device, interface, sockets: SocketSet::new(Vec::new()), started }
    }

    /// Runs until `done` says so.
    fn until(&mut self, mut done: impl FnMut(&mut Interface, &mut SocketSet<'static>) -> bool) {
        loop {
            let elapsed = self.started.elapsed();
            assert!(elapsed.as_secs() < 60, "nothing happens");
            let now = Instant::from_micros(elapsed.as_micros() as i64);
            self.interface.poll(now, &mut self.device, &mut self.sockets);
            if done(&mut self.interface, &mut self.sockets) {
                // What is left to send goes out.
                self.interface.poll(now, &mut self.device, &mut self.sockets);
                return;
            }
            thread::sleep(time::Duration::from_micros(200));
        }
    }
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 65536]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_timeout(Some(Duration::from_secs(30)));
    socket
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Sends back what came until the peer has ended.
fn echo(machine: &mut Machine, handle: smoltcp::iface::SocketHandle) {
    machine.until(|_, sockets| {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        let mut chunk = [0; 4096];
        while socket.can_recv() && socket.can_send() {
            let room = chunk.len().min(socket.send_capacity() - socket.send_queue());
            let count = socket.recv_slice(&mut chunk[..room]).expect("data");
            socket.send_slice(&chunk[..count]).expect("room");
        }
        if socket.is_active() && !socket.may_recv() && socket.state() == tcp::State::CloseWait {
            socket.close();
        }
        !socket.is_active() && !socket.is_listening()
    });
}

#[test]
fn a_client_of_the_host_reaches_the_machine() {
    let port = free_port();
    let forward = format!("tcp:127.0.0.1:{port}-:80").parse().expect("a rule");
    let mut machine = Machine::new(&[forward]);
    let mut server = socket();
    server.listen(80).expect("a free socket");
    let handle = machine.sockets.add(server);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let expected = sent.clone();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
        let mut writer = stream.try_clone().expect("a second handle");
        let writing = thread::spawn(move || {
            writer.write_all(&sent).expect("writes");
            writer.shutdown(Shutdown::Write).expect("ends");
        });
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("reads");
        writing.join().expect("all written");
        got
    });
    echo(&mut machine, handle);
    assert!(client.join().expect("the client ends") == expected, "other bytes came back");
}

#[test]
fn the_machine_reaches_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(b"hello").expect("writes");
    });
    let mut machine = Machine::new(&[]);
    let handle = machine.sockets.add(socket());
    let gateway = Ipv4Address::new(10, 0, 2, 2);
    let open = |machine: &mut Machine, port: u16, local: u16| {
        let socket = machine.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(machine.interface.context(), (gateway, port), local).expect("may connect");
    };
    open(&mut machine, port, 1000);
    let mut got = Vec::new();
    machine.until(|_, sockets| {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        let mut chunk = [0; 64];
        if let Ok(count) = socket.recv_slice(&mut chunk) {
            got.extend_from_slice(&chunk[..count]);
        }
        socket.state() == tcp::State::CloseWait && !socket.can_recv()
    });
    assert_eq!(got, b"hello");
    server.join().expect("the server ends");
    machine.sockets.get_mut::<tcp::Socket<'_>>(handle).abort();
    machine.until(|_, _| true);

    // Nobody listens there now: refused, not lost.
    open(&mut machine, port, 1001);
    machine.until(|_, sockets| !sockets.get_mut::<tcp::Socket<'_>>(handle).is_active());
}

#[test]
fn the_machine_gets_its_address() {
    let mut machine = Machine::new(&[]);
    let handle = machine.sockets.add(dhcpv4::Socket::new());
    let mut configured = None;
    machine.until(|_, sockets| {
        let event = sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll();
        if let Some(dhcpv4::Event::Configured(config)) = event {
            let servers: Vec<_> = config.dns_servers.iter().copied().collect();
            configured = Some((config.address, config.router, servers));
        }
        configured.is_some()
    });
    let (address, router, servers) = configured.expect("an answer");
    assert_eq!(address.to_string(), "10.0.2.15/24");
    assert_eq!(router, Some(Ipv4Address::new(10, 0, 2, 2)));
    assert_eq!(servers, [Ipv4Address::new(10, 0, 2, 3)]);
}

/// A datagram in, and its answer out. The machine is no more than its network device here.
#[test]
fn datagrams_reach_the_machine_and_come_back() {
    let port = free_udp_port();
    let forward = format!("udp:127.0.0.1:{port}-:53").parse().expect("a rule");
    let mut device = gateway::start(&[forward], 1, Box::new(|| {})).expect("the gateway starts");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.send_to(b"question", ("127.0.0.1", port)).expect("sends");
    let mut frame = Vec::new();
    for _ in 0..30_000 {
        if device.receive(&mut |bytes, _| frame = bytes.to_vec()) {
            break;
        }
        thread::sleep(time::Duration::from_millis(1));
    }
    assert_eq!(frame.get(42..), Some(&b"question"[..]));
    // Addresses and ports change places, which leaves the header's sum as it is.
    frame[26..34].rotate_left(4);
    frame[34..38].rotate_left(2);
    frame[42..].make_ascii_uppercase();
    let sent = device.transmit(frame.len(), TransmitMeta::default(), &mut |room| {
        room.copy_from_slice(&frame);
    });
    assert!(sent);
    device.flush();
    let mut buffer = [0; 64];
    client.set_read_timeout(Some(time::Duration::from_secs(30))).expect("a limit");
    let (count, peer) = client.recv_from(&mut buffer).expect("an answer");
    assert_eq!((&buffer[..count], peer.port()), (&b"QUESTION"[..], port));
}

fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}
