//! Putting fragmented packets together again (RFC 791, RFC 8200).

use crate::wire::{Header, Packet};
use alloc::vec::Vec;
use base::Instant;
use core::net::IpAddr;
use core::time::Duration;

/// Length of IPv6's fragment header in bytes.
pub(crate) const FRAGMENT_BYTES: usize = 8;
/// How long the pieces of a packet are waited for (RFC 8200: 60 s; Linux: 30 s for IPv4).
const LIFETIME: Duration = Duration::from_secs(30);
/// Packets in pieces at one time, and the bytes that they may take together.
const PACKETS_MAX: usize = 64;
const BYTES_MAX: usize = 512 * 1024;
/// Largest payload.
const PAYLOAD_MAX: usize = 65_535;
/// Pieces of one packet.
const PIECES_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    identification: u32,
}

struct Pieces {
    key: Key,
    expires: Instant,
    header: Header,
    /// (offset, bytes), by offset, without overlap.
    pieces: Vec<(usize, Vec<u8>)>,
    total: Option<usize>,
    bytes: usize,
}

/// Packets of which some pieces arrived.
#[derive(Default)]
pub(crate) struct Reassembly {
    packets: Vec<Pieces>,
    bytes: usize,
}

impl Reassembly {
    /// Takes in a fragment. Gives the whole packet once it is complete.
    pub(crate) fn add(&mut self, packet: &Packet<'_>, now: Instant) -> Option<Vec<u8>> {
        let fragment = packet.fragment?;
        let key = Key {
            from: packet.from,
            to: packet.to,
            protocol: packet.protocol,
            identification: fragment.identification,
        };
        let end = fragment.offset + packet.payload.len();
        let odd = fragment.more && !packet.payload.len().is_multiple_of(8);
        if end > PAYLOAD_MAX || odd || packet.payload.is_empty() {
            return None;
        }
        let at = self.find(key, packet, now)?;
        let entry = self.packets.get_mut(at)?;
        let overlaps = entry
            .pieces
            .iter()
            .any(|(offset, bytes)| *offset < end && fragment.offset < offset + bytes.len());
        let beyond = entry.total.is_some_and(|total| end > total);
        let contradicts = !fragment.more && entry.total.is_some_and(|total| total != end);
        if overlaps || beyond || contradicts || entry.pieces.len() >= PIECES_MAX {
            // An exact repetition is harmless; anything else is an attack (RFC 5722).
            let repeated = entry.pieces.iter().any(|(offset, bytes)| {
                *offset == fragment.offset && bytes.as_slice() == packet.payload
            });
            if !repeated {
                self.drop_at(at);
            }
            return None;
        }
        if !fragment.more {
            entry.total = Some(end);
        }
        let place = entry.pieces.partition_point(|(offset, _)| *offset < fragment.offset);
        entry.pieces.insert(place, (fragment.offset, packet.payload.to_vec()));
        entry.bytes += packet.payload.len();
        self.bytes += packet.payload.len();
        if entry.total != Some(entry.bytes) {
            return None;
        }
        let whole = entry.assemble();
        self.drop_at(at);
        Some(whole)
    }

    fn find(&mut self, key: Key, packet: &Packet<'_>, now: Instant) -> Option<usize> {
        if let Some(at) = self.packets.iter().position(|entry| entry.key == key) {
            return Some(at);
        }
        while self.packets.len() >= PACKETS_MAX || self.bytes > BYTES_MAX {
            // The oldest is the first.
            self.drop_at(0);
        }
        let header = Header {
            from: packet.from,
            to: packet.to,
            protocol: packet.protocol,
            hop_limit: packet.hop_limit,
            traffic_class: packet.traffic_class,
        };
        self.packets.push(Pieces {
            key,
            expires: now + LIFETIME,
            header,
            pieces: Vec::new(),
            total: None,
            bytes: 0,
        });
        Some(self.packets.len() - 1)
    }

    fn drop_at(&mut self, at: usize) {
        if at < self.packets.len() {
            let entry = self.packets.remove(at);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Gives up on packets that stay incomplete.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.packets.first().is_some_and(|entry| entry.expires <= now) {
            self.drop_at(0);
        }
    }

    /// When [`Reassembly::expire`] is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.packets.first().map(|entry| entry.expires)
    }
}

impl Pieces {
    fn assemble(&self) -> Vec<u8> {
        let mut packet = alloc::vec![0; self.header.bytes()];
        self.header.write(&mut packet, self.bytes, 0, 0);
        for (_, piece) in &self.pieces {
            packet.extend_from_slice(piece);
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, protocol};

    fn pieces(length: usize, most: usize) -> Vec<Vec<u8>> {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let header = Header {
            from: "10.0.0.1".parse().unwrap(),
            to: "10.0.0.2".parse().unwrap(),
            protocol: protocol::UDP,
            hop_limit: 64,
            traffic_class: 0,
        };
        let count = length.div_ceil(most);
        let pieces = payload.chunks(most).enumerate().map(|(index, piece)| {
            let mut packet = alloc::vec![0; 20];
            let flags = u16::from(index + 1 < count) << 13 | (index * most / 8) as u16;
            header.write(&mut packet, piece.len(), 77, flags);
            packet.extend_from_slice(piece);
            packet
        });
        pieces.collect()
    }

    #[test]
    fn pieces_in_any_order_with_repetitions_give_the_packet() {
        let mut pieces = pieces(5000, 1480);
        pieces.reverse();
        pieces.insert(1, pieces[0].clone());
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for piece in &pieces {
            let packet = wire::parse(piece).unwrap();
            whole = whole.or(reassembly.add(&packet, Instant::ZERO));
        }
        let whole = whole.unwrap();
        let packet = wire::parse(&whole).unwrap();
        assert_eq!(packet.payload.len(), 5000);
        assert!(packet.payload.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        assert_eq!((reassembly.bytes, reassembly.packets.len()), (0, 0));
    }

    #[test]
    fn overlap_and_age_drop_the_packet() {
        let pieces = pieces(3000, 1480);
        let mut reassembly = Reassembly::default();
        let first = wire::parse(&pieces[0]).unwrap();
        assert!(reassembly.add(&first, Instant::ZERO).is_none());
        let mut evil = first;
        evil.fragment = Some(wire::Fragment { identification: 77, offset: 8, more: true });
        assert!(reassembly.add(&evil, Instant::ZERO).is_none());
        assert_eq!(reassembly.packets.len(), 0);
        reassembly.add(&first, Instant::ZERO);
        reassembly.expire(Instant::ZERO + LIFETIME);
        assert_eq!((reassembly.bytes, reassembly.next()), (0, None));
    }
}
