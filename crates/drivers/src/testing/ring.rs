//! The device's side of a split virtqueue.

use base::PhysAddr;
use hal::sim::{dma_read, dma_write};
use std::vec;
use std::vec::Vec;

/// A virtqueue as the device sees it.
#[derive(Default)]
pub(crate) struct DeviceQueue {
    pub(crate) ready: bool,
    pub(crate) size: u16,
    pub(crate) descriptors: PhysAddr,
    pub(crate) available: PhysAddr,
    pub(crate) used: PhysAddr,
    pub(crate) taken: u16,
    pub(crate) given: u16,
}

/// A request: pieces of memory, which the device may write or not.
pub(crate) struct Chain {
    pub(crate) head: u16,
    pieces: Vec<(PhysAddr, usize, bool)>,
}

fn load<const N: usize>(base: PhysAddr, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    assert!(dma_read(PhysAddr(base.0 + offset), &mut bytes), "load outside of memory");
    bytes
}

fn load_u16(base: PhysAddr, offset: u64) -> u16 {
    u16::from_le_bytes(load(base, offset))
}

fn store(base: PhysAddr, offset: u64, bytes: &[u8]) {
    assert!(dma_write(PhysAddr(base.0 + offset), bytes), "store outside of memory");
}

impl Chain {
    pub(crate) fn read(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (address, length, writable) in &self.pieces {
            assert!(!writable);
            let mut bytes = vec![0; *length];
            assert!(dma_read(*address, &mut bytes));
            all.extend(bytes);
        }
        all
    }

    /// The part that the device may read.
    pub(crate) fn request(&self) -> Vec<u8> {
        let pieces = self.pieces.iter().filter(|piece| !piece.2).copied().collect();
        Self { head: self.head, pieces }.read()
    }

    pub(crate) fn writable(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.2).map(|piece| piece.1).sum()
    }

    pub(crate) fn write(&self, mut bytes: &[u8]) {
        for (address, length, _) in self.pieces.iter().filter(|piece| piece.2) {
            let (now, later) = bytes.split_at(bytes.len().min(*length));
            assert!(dma_write(*address, now));
            bytes = later;
        }
        assert!(bytes.is_empty());
    }
}

impl DeviceQueue {
    fn ring_bytes(&self, entry: u64) -> u64 {
        4 + u64::from(self.size) * entry
    }

    /// Takes the next request, or asks for a notification when there is none.
    pub(crate) fn next(&mut self, event_index: bool) -> Option<Chain> {
        if !self.ready {
            return None;
        }
        if load_u16(self.available, 2) == self.taken {
            if event_index {
                store(self.used, self.ring_bytes(8), &self.taken.to_le_bytes());
            }
            return None;
        }
        let entry = u64::from(self.taken % self.size);
        let head = load_u16(self.available, 4 + 2 * entry);
        self.taken = self.taken.wrapping_add(1);
        let mut pieces = Vec::new();
        let mut at = head;
        loop {
            assert!(at < self.size && pieces.len() < usize::from(self.size));
            let offset = 16 * u64::from(at);
            let address = PhysAddr(u64::from_le_bytes(load(self.descriptors, offset)));
            let length = u32::from_le_bytes(load(self.descriptors, offset + 8));
            let flags = load_u16(self.descriptors, offset + 12);
            pieces.push((address, length as usize, flags & 2 != 0));
            if flags & 1 == 0 {
                break;
            }
            at = load_u16(self.descriptors, offset + 14);
        }
        Some(Chain { head, pieces })
    }

    pub(crate) fn put_back(&mut self, count: usize) {
        self.taken = self.taken.wrapping_sub(count as u16);
    }

    pub(crate) fn put_used(&mut self, head: u16, length: u32, event_index: bool) -> bool {
        self.put_all_used(&[(head, length)], event_index)
    }

    /// Returns requests in one go; true when the driver wants an interrupt.
    pub(crate) fn put_all_used(&mut self, requests: &[(u16, u32)], event_index: bool) -> bool {
        let before = self.given;
        for (head, length) in requests {
            let entry = u64::from(self.given % self.size);
            store(self.used, 4 + 8 * entry, &u32::from(*head).to_le_bytes());
            store(self.used, 8 + 8 * entry, &length.to_le_bytes());
            self.given = self.given.wrapping_add(1);
        }
        store(self.used, 2, &self.given.to_le_bytes());
        if event_index {
            let event = load_u16(self.available, self.ring_bytes(2));
            self.given.wrapping_sub(event).wrapping_sub(1) < self.given.wrapping_sub(before)
        } else {
            load_u16(self.available, 0) & 1 == 0
        }
    }

    /// Writes whatever into the used ring.
    pub(crate) fn scribble(&self, offset: u64, bytes: &[u8]) {
        let _ = dma_write(PhysAddr(self.used.0 + offset), bytes);
    }
}
