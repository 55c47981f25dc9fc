//! A wire between two devices that loses, repeats, delays and reorders frames, by seed.

use base::Instant;
use base::link::{LinkCapabilities, NetDevice, ReceiveMeta, TransmitMeta};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A small generator (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// How bad the wire is.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    loss_percent: u64,
    duplicate_percent: u64,
    /// Longest extra delay in nanoseconds: what reorders.
    jitter: u64,
}

impl Faults {
    pub(crate) const NONE: Self = Self { loss_percent: 0, duplicate_percent: 0, jitter: 0 };

    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng(seed);
        Self {
            loss_percent: rng.next() % 8,
            duplicate_percent: rng.next() % 5,
            jitter: rng.next() % 3_000_000,
        }
    }
}

/// What every frame takes at least, in nanoseconds.
const DELAY: u64 = 50_000;

struct State {
    /// By time of arrival and order: which end receives, and the frame.
    flying: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    sent: u64,
    rng: Rng,
    faults: Faults,
}

/// The wire.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<State>>);

impl Wire {
    pub(crate) fn new(seed: u64, faults: Faults) -> (Self, End, End) {
        let rng = Rng(seed ^ 0x5eed);
        let wire =
            Self(Arc::new(Mutex::new(State { flying: BTreeMap::new(), sent: 0, rng, faults })));
        let end = |side| End { wire: wire.clone(), side };
        let (a, b) = (end(0), end(1));
        (wire, a, b)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with the wire locked")
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.state().flying.keys().next().map(|key| Instant::from_nanoseconds(key.0))
    }

    /// True when a frame waits at end `side`.
    pub(crate) fn has_arrived(&self, side: usize) -> bool {
        let now = hal::clock::now().nanoseconds();
        let state = self.state();
        state.flying.iter().take_while(|(key, _)| key.0 <= now).any(|(_, row)| row.0 == side)
    }

    fn send(&self, to: usize, frame: &[u8]) {
        let mut state = self.state();
        let State { flying, sent, rng, faults } = &mut *state;
        let copies = 1 + u64::from(rng.next() % 100 < faults.duplicate_percent);
        for _ in 0..copies {
            if rng.next() % 100 < faults.loss_percent {
                continue;
            }
            let jitter = if faults.jitter == 0 { 0 } else { rng.next() % faults.jitter };
            *sent += 1;
            let at = hal::clock::now().nanoseconds() + DELAY + jitter;
            flying.insert((at, *sent), (to, frame.to_vec()));
        }
    }
}

/// A device at one end.
pub(crate) struct End {
    wire: Wire,
    side: usize,
}

impl NetDevice for End {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1 + self.side as u8]
    }

    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities { mtu: 1500, ..LinkCapabilities::default() }
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool {
        let now = hal::clock::now().nanoseconds();
        let mut state = self.wire.state();
        let arrived = state.flying.iter().take_while(|(key, _)| key.0 <= now);
        let key = arrived.filter(|(_, row)| row.0 == self.side).map(|(key, _)| *key).next();
        let frame = key.and_then(|key| state.flying.remove(&key));
        drop(state);
        if let Some((_, frame)) = &frame {
            take(frame, ReceiveMeta::default());
        }
        frame.is_some()
    }

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit(
        &mut self,
        bytes: usize,
        _meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        let mut frame = vec![0; bytes];
        fill(&mut frame);
        self.wire.send(1 - self.side, &frame);
        true
    }

    fn flush(&mut self) {}

    fn enable_interrupt(&mut self) -> bool {
        false
    }
}
