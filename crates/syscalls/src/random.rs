//! The kernel's random numbers: ChaCha20 with fast key erasure.
//!
//! Each request runs the ChaCha20 block function (RFC 8439) under the current key; the first 32
//! bytes of the stream become the next key, the rest is output. So what was given out cannot be
//! computed from a later state.

use alloc::boxed::Box;
use base::sync::SpinLock;

const BLOCK_BYTES: usize = 64;
const KEY_WORDS: usize = 8;
/// Output kept ready: 15 blocks less the key.
const POOL_BYTES: usize = 15 * BLOCK_BYTES;

/// A cryptographically secure generator.
pub struct Random {
    state: SpinLock<State>,
}

struct State {
    key: [u32; KEY_WORDS],
    pool: Box<[u8; POOL_BYTES]>,
    /// Bytes of `pool` already given out.
    used: usize,
}

impl Random {
    /// A generator keyed by `seed`.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut key = [0; KEY_WORDS];
        for (word, bytes) in key.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let pool = Box::new([0; POOL_BYTES]);
        Self { state: SpinLock::new(State { key, pool, used: POOL_BYTES }) }
    }

    /// Mixes `more` into the key: 32 bytes from a device, for instance.
    pub fn mix(&self, more: &[u8]) {
        let mut state = self.state.lock();
        for (at, byte) in more.iter().enumerate() {
            if let Some(word) = state.key.get_mut(at / 4 % KEY_WORDS) {
                *word ^= u32::from(*byte) << (at % 4 * 8);
            }
        }
        state.refill();
    }

    /// Fills `into` with random bytes.
    pub fn fill(&self, mut into: &mut [u8]) {
        while !into.is_empty() {
            let mut state = self.state.lock();
            if state.used == POOL_BYTES {
                state.refill();
            }
            let count = into.len().min(POOL_BYTES - state.used);
            let (now, later) = into.split_at_mut(count);
            let used = state.used;
            if let Some(ready) = state.pool.get_mut(used..used + count) {
                now.copy_from_slice(ready);
                ready.fill(0);
            }
            state.used += count;
            into = later;
        }
    }

    /// A random number.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl State {
    fn refill(&mut self) {
        let first = block(&self.key, 0, &[0; 3]);
        for (counter, out) in (1..).zip(self.pool.as_chunks_mut::<BLOCK_BYTES>().0) {
            let words = block(&self.key, counter, &[0; 3]);
            for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
        }
        self.key.copy_from_slice(&first[..KEY_WORDS]);
        self.used = 0;
    }
}

fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

/// The ChaCha20 block function (RFC 8439, section 2.3).
fn block(key: &[u32; KEY_WORDS], counter: u32, nonce: &[u32; 3]) -> [u32; 16] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    start[13..].copy_from_slice(nonce);
    let mut state = start;
    for _ in 0..10 {
        quarter_round(&mut state, 0, 4, 8, 12);
        quarter_round(&mut state, 1, 5, 9, 13);
        quarter_round(&mut state, 2, 6, 10, 14);
        quarter_round(&mut state, 3, 7, 11, 15);
        quarter_round(&mut state, 0, 5, 10, 15);
        quarter_round(&mut state, 1, 6, 11, 12);
        quarter_round(&mut state, 2, 7, 8, 13);
        quarter_round(&mut state, 3, 4, 9, 14);
    }
    for (word, add) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(add);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn block_function_gives_the_vector_of_the_rfc() {
        let mut key = [0; KEY_WORDS];
        for (at, word) in key.iter_mut().enumerate() {
            let first = at as u8 * 4;
            *word = u32::from_le_bytes([first, first + 1, first + 2, first + 3]);
        }
        let out = block(&key, 1, &[0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(out[..4], [0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3]);
        assert_eq!(out[15], 0x4e3c_50a2);
    }

    #[test]
    fn output_never_repeats_across_refills() {
        let random = Random::new(&[7; 32]);
        let mut seen = alloc::collections::BTreeSet::new();
        assert!((0..10_000).all(|_| seen.insert(random.number())));
    }
}
