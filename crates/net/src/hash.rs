//! Hashing of connection keys with a secret, so that a peer cannot choose addresses that collide.

use core::hash::{BuildHasher, Hash, Hasher};

/// Makes [`KeyHasher`]s that share a secret.
#[derive(Clone)]
pub(crate) struct KeyedState {
    secret: [u64; 2],
}

impl KeyedState {
    pub(crate) fn new(first: u64, second: u64) -> Self {
        Self { secret: [first, second | 1] }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { state: self.secret[0], secret: self.secret[1] }
    }
}

/// Folded 64 by 64 to 128 bit multiplication, keyed: a few cycles a word.
pub(crate) struct KeyHasher {
    state: u64,
    secret: u64,
}

impl KeyHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.secret);
        self.state = (product as u64) ^ ((product >> 64) as u64) ^ self.secret.rotate_left(23);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (slot, byte) in last.iter_mut().zip(rest) {
            *slot = *byte;
        }
        self.fold(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u16(&mut self, word: u16) {
        self.fold(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_u128(&mut self, word: u128) {
        self.fold(word as u64);
        self.fold((word >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.secret);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// A hash map keyed by a secret.
pub(crate) type KeyedMap<K, V> = hashbrown::HashMap<K, V, KeyedState>;

/// Makes a map smaller that is mostly empty.
pub(crate) fn give_room_back<K: Eq + Hash, V>(map: &mut KeyedMap<K, V>) {
    if let Some(room) = base::room::smaller(map.len(), map.capacity()) {
        map.shrink_to(room);
    }
}
