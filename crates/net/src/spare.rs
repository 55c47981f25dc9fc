//! Buffers of packets that are gone, for those to come.

use alloc::vec::Vec;

/// As many are kept, if they are small.
const BUFFERS_MAX: usize = 64;
/// The part of the memory for sockets that they may hold, and its bounds in bytes.
const PART: usize = 32;
const BYTES_MIN: usize = 64 * 1024;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Buffers that nobody uses. What they hold together is bounded: a packet may be as large as 64 KiB,
/// and a busy moment must not leave a small machine with megabytes of them.
pub(crate) struct Spare {
    buffers: Vec<Vec<u8>>,
    /// Bytes that they hold.
    held: usize,
    limit: usize,
}

impl Spare {
    /// `memory`: the bytes that sockets may use.
    pub(crate) fn new(memory: usize) -> Self {
        Self { buffers: Vec::new(), held: 0, limit: (memory / PART).clamp(BYTES_MIN, BYTES_MAX) }
    }

    /// The one that was given last, with what was in it, or an empty one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.held -= buffer.capacity();
        buffer
    }

    /// Keeps a buffer, if there is room for it.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        let held = self.held + buffer.capacity();
        if self.buffers.len() < BUFFERS_MAX && held <= self.limit {
            self.held = held;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_kept_within_the_limit() {
        let mut spare = Spare::new(4 << 20);
        for _ in 0..BUFFERS_MAX {
            spare.give(Vec::with_capacity(60_000));
        }
        assert_eq!(spare.held, 120_000);
        assert_eq!([(); 3].map(|()| spare.take().capacity()), [60_000, 60_000, 0]);
        assert_eq!(spare.held, 0);
        for _ in 0..2 * BUFFERS_MAX {
            spare.give(Vec::with_capacity(100));
        }
        assert_eq!(spare.buffers.len(), BUFFERS_MAX);
    }
}
