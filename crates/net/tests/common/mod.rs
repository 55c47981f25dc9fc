//! Two stacks, a wire between them that loses, repeats, delays and reorders frames, and a clock
//! that only the test moves. Everything follows from one seed.
#![expect(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use base::io::{SliceSink, SliceSource};
use base::link::{LinkCapabilities, NetDevice, ReceiveMeta, TransmitMeta};
use base::{Errno, Instant};
use net::{Family, InterfaceConfig, Ipv4Config, Ipv6Config, Stack, StackConfig, TcpSocket};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A small generator (splitmix64): good enough to choose faults.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the wire does to frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    /// Delay of a frame: this at least, and up to `jitter` more (which reorders), nanoseconds.
    pub(crate) delay: u64,
    pub(crate) jitter: u64,
    /// Frames with bytes changed; the receiving device vouches for all of them.
    pub(crate) damage_percent: u64,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { loss_percent: 0, duplicate_percent: 0, delay: 50_000, jitter: 0, damage_percent: 0 };
    pub(crate) const SOME: Self = Self {
        loss_percent: 3,
        duplicate_percent: 2,
        delay: 50_000,
        jitter: 300_000,
        damage_percent: 0,
    };
}

struct WireState {
    /// By arrival time and sequence: (side that receives, frame).
    flying: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    sequence: u64,
    rng: Rng,
    faults: Faults,
    cut: bool,
    frames: u64,
}

#[derive(Clone)]
pub(crate) struct Wire {
    state: Arc<Mutex<WireState>>,
    clock: Arc<AtomicU64>,
}

impl Wire {
    fn send(&self, from: usize, frame: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        state.frames += 1;
        if state.cut {
            return;
        }
        let copies = 1 + u64::from(state.rng.chance(state.faults.duplicate_percent));
        for _ in 0..copies {
            if state.rng.chance(state.faults.loss_percent) {
                continue;
            }
            let jitter =
                if state.faults.jitter == 0 { 0 } else { state.rng.below(state.faults.jitter) };
            let at = self.clock.load(Ordering::Relaxed) + state.faults.delay + jitter;
            state.sequence += 1;
            let mut copy = frame.clone();
            if state.rng.chance(state.faults.damage_percent) {
                damage(&mut copy, &mut state.rng);
            }
            state.flying.insert((at, state.sequence), (1 - from, copy));
        }
    }

    fn receive(&self, side: usize) -> Option<Vec<u8>> {
        let now = self.clock.load(Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        let key = *state
            .flying
            .iter()
            .take_while(|((at, _), _)| *at <= now)
            .find(|(_, (to, _))| *to == side)?
            .0;
        state.flying.remove(&key).map(|row| row.1)
    }

    fn next(&self) -> Option<u64> {
        self.state.lock().unwrap().flying.keys().next().map(|key| key.0)
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state.lock().unwrap().faults = faults;
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.state.lock().unwrap().cut = cut;
    }

    pub(crate) fn frames(&self) -> u64 {
        self.state.lock().unwrap().frames
    }

    /// Puts a frame on the wire, towards `side`.
    pub(crate) fn inject(&self, side: usize, frame: Vec<u8>) {
        self.send(1 - side, frame);
    }
}

/// Changes a few bytes after the Ethernet header, or the length. The checksum of an IPv4 header
/// is made right again, so that more than its check sees the frame.
fn damage(frame: &mut Vec<u8>, rng: &mut Rng) {
    if rng.chance(10) {
        let length = 14 + rng.below(frame.len() as u64 - 13) as usize;
        frame.truncate(length);
    }
    for _ in 0..1 + rng.below(4) {
        if frame.len() > 14 {
            let at = 14 + rng.below((frame.len() - 14).min(80) as u64) as usize;
            frame[at] = match rng.below(3) {
                0 => rng.next() as u8,
                1 => frame[at].wrapping_add(1),
                _ => frame[at] ^ 1 << rng.below(8),
            };
        }
    }
    if frame.len() >= 34 && frame[12..14] == [8, 0] && frame[14] & 15 >= 5 {
        let end = (14 + usize::from(frame[14] & 15) * 4).min(frame.len());
        frame[24..26].fill(0);
        let sum = !sum16(&frame[14..end], 0);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}

struct WireEnd {
    wire: Wire,
    side: usize,
    offload: bool,
}

/// Cuts a large TCP frame over IPv4 as a device with segmentation offload does.
fn segments(frame: &[u8], meta: TransmitMeta) -> Vec<Vec<u8>> {
    let Some(size) = meta.segment_size else { return vec![frame.to_vec()] };
    let header = usize::from(meta.header_bytes);
    assert_eq!(header, 54);
    let (head, payload) = frame.split_at(header);
    let count = payload.len().div_ceil(usize::from(size));
    let mut out = Vec::new();
    for (index, piece) in payload.chunks(usize::from(size)).enumerate() {
        let mut segment = head.to_vec();
        segment.extend_from_slice(piece);
        let sequence = u32::from_be_bytes(head[38..42].try_into().unwrap());
        let sequence = sequence.wrapping_add((index * usize::from(size)) as u32);
        segment[38..42].copy_from_slice(&sequence.to_be_bytes());
        if index + 1 < count {
            // FIN and PSH go with the last one.
            segment[47] &= !0x09;
        }
        let total = (segment.len() - 14) as u16;
        segment[16..18].copy_from_slice(&total.to_be_bytes());
        segment[24..26].fill(0);
        let sum = !sum16(&segment[14..34], 0);
        segment[24..26].copy_from_slice(&sum.to_be_bytes());
        out.push(segment);
    }
    out
}

fn sum16(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Completes the checksum that was left to the device.
fn complete(frame: &mut [u8]) {
    let ipv6 = frame[12] == 0x86;
    let at = if ipv6 { 54 } else { 34 };
    let addresses = if ipv6 { 22..54 } else { 26..34 };
    let start = u32::from(sum16(&frame[addresses], 0)) + 6 + (frame.len() - at) as u32;
    frame[at + 16..at + 18].fill(0);
    let sum = !sum16(&frame[at..], start);
    frame[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
}

impl NetDevice for WireEnd {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.side as u8 + 1]
    }

    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities {
            mtu: 1500,
            transmit_checksum: self.offload,
            segmentation_ipv4: self.offload,
            segmentation_ipv6: self.offload,
        }
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool {
        let Some(frame) = self.wire.receive(self.side) else { return false };
        let vouched = self.wire.state.lock().unwrap().faults.damage_percent > 0;
        take(&frame, ReceiveMeta { checksum_verified: vouched });
        true
    }

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit(
        &mut self,
        bytes: usize,
        meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        let mut frame = vec![0; bytes];
        fill(&mut frame);
        for mut segment in segments(&frame, meta) {
            assert!(segment.len() <= 1514, "a frame of {} bytes", segment.len());
            if meta.checksum.is_some() {
                complete(&mut segment);
            }
            self.wire.send(self.side, segment);
        }
        true
    }

    fn flush(&mut self) {}

    fn enable_interrupt(&mut self) -> bool {
        false
    }
}

pub(crate) fn address(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, side as u8 + 1)
}

pub(crate) fn address_v6(side: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, side as u16 + 1)
}

pub(crate) struct World {
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) wire: Wire,
    pub(crate) stacks: [Arc<Stack>; 2],
    pub(crate) rng: Rng,
    seed: u64,
}

pub(crate) fn stack(clock: &Arc<AtomicU64>, seed: u64, memory: usize) -> Arc<Stack> {
    let clock = Arc::clone(clock);
    let random = Mutex::new(Rng(seed));
    Stack::new(StackConfig {
        clock: Box::new(move || Instant::from_nanoseconds(clock.load(Ordering::Relaxed))),
        random: Box::new(move || random.lock().unwrap().next()),
        log: Box::new(|text| println!("{text}")),
        socket_memory: memory,
    })
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Faults::NONE, false, 64 << 20)
    }

    pub(crate) fn with(seed: u64, faults: Faults, offload: bool, memory: usize) -> Self {
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let state = WireState {
            flying: BTreeMap::new(),
            sequence: 0,
            rng: Rng(seed ^ 0x5eed),
            faults,
            cut: false,
            frames: 0,
        };
        let wire = Wire { state: Arc::new(Mutex::new(state)), clock: Arc::clone(&clock) };
        let stacks = [0, 1].map(|side| {
            let stack = stack(&clock, seed * 2 + side as u64, memory);
            let device = WireEnd { wire: wire.clone(), side, offload };
            let config = InterfaceConfig {
                ipv4: Ipv4Config::Static {
                    address: address(side),
                    prefix: 24,
                    gateway: None,
                    dns: Vec::new(),
                },
                ipv6: Ipv6Config::Static { address: address_v6(side), prefix: 64, gateway: None },
            };
            stack.attach(Box::new(device), &config);
            stack
        });
        Self { clock, wire, stacks, rng: Rng(seed ^ 0xabcd), seed }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanoseconds(self.clock.load(Ordering::Relaxed))
    }

    /// Lets both stacks work, then moves the clock to the next thing that happens, but not past
    /// `until`. False when nothing more happens before.
    pub(crate) fn step(&self, until: Instant) -> bool {
        let now = self.now();
        let mut next = self.stacks.iter().filter_map(|stack| stack.poll(now)).min();
        if let Some(arrival) = self.wire.next() {
            let arrival = Instant::from_nanoseconds(arrival);
            next = Some(next.map_or(arrival, |next| next.min(arrival)));
        }
        match next {
            Some(next) if next <= until => {
                let next = next.nanoseconds().max(now.nanoseconds() + 1);
                self.clock.store(next, Ordering::Relaxed);
                true
            }
            _ => {
                self.clock.store(until.nanoseconds(), Ordering::Relaxed);
                false
            }
        }
    }

    /// Runs for this many milliseconds.
    pub(crate) fn run(&self, milliseconds: u64) {
        let until = Instant::from_nanoseconds(self.now().nanoseconds() + milliseconds * 1_000_000);
        while self.step(until) {}
        let now = self.now();
        for stack in &self.stacks {
            stack.poll(now);
        }
    }

    /// Runs until `done` says so, for `milliseconds` at most.
    pub(crate) fn run_until(&self, milliseconds: u64, mut done: impl FnMut() -> bool) -> bool {
        let until = Instant::from_nanoseconds(self.now().nanoseconds() + milliseconds * 1_000_000);
        loop {
            if done() {
                return true;
            }
            if !self.step(until) {
                return done();
            }
        }
    }

    /// A listener on side 1 and a connection to it from side 0: (listener, client, server).
    pub(crate) fn connected(&self) -> (Arc<TcpSocket>, Arc<TcpSocket>, Arc<TcpSocket>) {
        let listener = listen(&self.stacks[1], "0.0.0.0:80", 16);
        let client = TcpSocket::new(&self.stacks[0], Family::V4);
        assert_eq!(client.connect(v4(1, 80)), Err(Errno::EINPROGRESS));
        let mut server = None;
        let mut connected = || {
            self.run_until(30_000, || {
                server = server.take().or_else(|| listener.accept().ok());
                server.is_some() && client.peer_address().is_ok()
            })
        };
        // A wire this bad may lose three ARP requests in a row: once more, then.
        let connected = connected() || {
            assert_eq!(client.take_error(), Some(Errno::EHOSTUNREACH), "seed {}", self.seed);
            let _ = client.connect(v4(1, 80));
            connected()
        };
        assert!(connected, "seed {}: not connected", self.seed);
        (listener, client, server.unwrap())
    }
}

pub(crate) fn v4(side: usize, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address(side)), port)
}

pub(crate) fn v6(side: usize, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(address_v6(side)), port)
}

pub(crate) fn listen(stack: &Arc<Stack>, address: &str, backlog: i32) -> Arc<TcpSocket> {
    let address: SocketAddr = address.parse().unwrap();
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let socket = TcpSocket::new(stack, family);
    socket.set_options(|options| options.reuse_address = true);
    socket.bind(address).unwrap();
    socket.listen(backlog).unwrap();
    socket
}

pub(crate) fn send(socket: &TcpSocket, bytes: &[u8]) -> Result<usize, Errno> {
    socket.send(&mut SliceSource::new(bytes))
}

pub(crate) fn receive(socket: &TcpSocket, most: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; most];
    let mut sink = SliceSink::new(&mut bytes);
    let count = socket.receive(&mut sink, false)?;
    bytes.truncate(count);
    Ok(bytes)
}
