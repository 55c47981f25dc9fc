//! The client: another stack, that connects, sends, and wants the same back.

use crate::wire::{End, Rng};
use crate::{CLIENT, PORT, SERVER};
use base::io::{SliceSink, SliceSource};
use base::{Errno, Instant};
use net::{
    Family, InterfaceConfig, Ipv4Config, Ipv6Config, Shutdown, Stack, StackConfig, TcpSocket,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

struct Exchange {
    socket: Arc<TcpSocket>,
    connected: bool,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    finished: bool,
}

pub(crate) struct Client {
    stack: Arc<Stack>,
    exchanges: Vec<Exchange>,
    deadline: Option<Instant>,
}

impl Client {
    /// A client that makes `connections` connections at once.
    pub(crate) fn new(seed: u64, device: Box<End>, connections: u64) -> Self {
        let random = Mutex::new(Rng(seed ^ 0xc11e));
        let stack = Stack::new(StackConfig {
            clock: Box::new(hal::clock::now),
            random: Box::new(move || random.lock().expect("never poisoned").next()),
            log: Box::new(|_| {}),
            socket_memory: 16 << 20,
        });
        let ipv4 =
            Ipv4Config::Static { address: CLIENT, prefix: 24, gateway: None, dns: Vec::new() };
        stack.attach(device, &InterfaceConfig { ipv4, ipv6: Ipv6Config::Off });
        let mut rng = Rng(seed ^ 0xfeed);
        let exchanges = (0..connections)
            .map(|_| {
                let socket = TcpSocket::new(&stack, Family::V4);
                let bytes = 1 + rng.next() % 20_000;
                let request = (0..bytes).map(|_| rng.next() as u8).collect();
                Exchange {
                    socket,
                    connected: false,
                    request,
                    sent: 0,
                    answer: Vec::new(),
                    finished: false,
                }
            })
            .collect();
        Self { stack, exchanges, deadline: Some(Instant::ZERO) }
    }

    /// Does all that can be done now.
    pub(crate) fn step(&mut self, now: Instant) {
        self.stack.poll(now);
        for exchange in &mut self.exchanges {
            exchange.step();
        }
        self.deadline = self.stack.poll(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How many connections got their own bytes back, and then the end.
    pub(crate) fn completed(&self) -> u64 {
        self.exchanges.iter().filter(|exchange| exchange.finished).count() as u64
    }

    pub(crate) fn describe(&self) -> String {
        let row = |e: &Exchange| format!("{}/{}/{}", e.request.len(), e.sent, e.answer.len());
        self.exchanges.iter().map(row).collect::<Vec<_>>().join(" ")
    }
}

impl Exchange {
    fn step(&mut self) {
        if self.finished {
            return;
        }
        self.connected |= self.socket.peer_address().is_ok();
        if !self.connected {
            // Not begun, under way, or refused because the server does not listen yet.
            let server = SocketAddr::new(IpAddr::V4(SERVER), PORT);
            match self.socket.connect(server) {
                Ok(()) | Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EISCONN) => {}
                // Not listening yet, or the wire lost every question for the address.
                Err(Errno::ECONNREFUSED | Errno::ECONNABORTED | Errno::EHOSTUNREACH) => {}
                Err(errno) => panic!("connect: {errno}"),
            }
            let _ = self.socket.take_error();
            return;
        }
        while self.sent < self.request.len() {
            match self.socket.send(&mut SliceSource::new(&self.request[self.sent..])) {
                Ok(count) => self.sent += count,
                Err(Errno::EAGAIN) => break,
                Err(errno) => panic!("send: {errno}"),
            }
            if self.sent == self.request.len() {
                self.socket.shutdown(Shutdown::Write).expect("the connection is open");
            }
        }
        let mut buffer = [0; 2048];
        loop {
            match self.socket.receive(&mut SliceSink::new(&mut buffer), false) {
                Ok(0) => {
                    assert!(self.answer == self.request, "the answer is the request");
                    self.finished = true;
                    self.socket.close();
                    return;
                }
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(Errno::EAGAIN) => return,
                Err(errno) => panic!("receive: {errno}"),
            }
        }
    }
}
