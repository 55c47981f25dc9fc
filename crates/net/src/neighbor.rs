//! Hardware addresses of the neighbours on a link (ARP, RFC 826; neighbour discovery, RFC 4861).
//!
//! Answering requests is left to the control interface ([`crate::control`]); this is the side
//! that asks. An entry that was not confirmed for a while is still used while it is asked for
//! again.

use crate::hash::{KeyedMap, KeyedState};
use crate::route::LinkId;
use crate::slab::Id;
use alloc::vec::Vec;
use base::Instant;
use core::net::IpAddr;
use core::time::Duration;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// How long an entry is good without being asked for again.
const CONFIRMED_FOR: Duration = Duration::from_secs(60);
/// Between two requests.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// Requests until the neighbour counts as unreachable.
const REQUESTS_MAX: u8 = 3;
/// Packets that wait for one neighbour.
const PACKETS_MAX: usize = 64;
/// Entries in the table; the oldest make room.
const ENTRIES_MAX: usize = 1024;

type Key = (LinkId, u128);

struct Entry {
    address: IpAddr,
    mac: Option<Mac>,
    confirmed: Instant,
    /// Requests sent since the last answer, and when the next is due.
    requests: u8,
    request_at: Option<Instant>,
    packets: Vec<Vec<u8>>,
    sockets: Vec<Id>,
}

/// What waited for a neighbour.
#[derive(Default)]
pub(crate) struct Waiting {
    /// IP packets.
    pub(crate) packets: Vec<Vec<u8>>,
    /// TCP connections with something to send.
    pub(crate) sockets: Vec<Id>,
}

/// A request to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) link: LinkId,
    pub(crate) address: IpAddr,
}

/// The neighbours of all links.
pub(crate) struct Neighbors {
    entries: KeyedMap<Key, Entry>,
    /// No request is due before.
    next: Option<Instant>,
    requests: Vec<Request>,
}

impl Neighbors {
    pub(crate) fn new(hash: KeyedState) -> Self {
        Self { entries: KeyedMap::with_hasher(hash), next: None, requests: Vec::new() }
    }

    /// The hardware address, if known. Otherwise the caller leaves a packet or itself with
    /// [`Neighbors::queue_packet`] or [`Neighbors::queue_socket`].
    pub(crate) fn lookup(&mut self, link: LinkId, address: IpAddr, now: Instant) -> Option<Mac> {
        let key = (link, crate::wire::key(address));
        if let Some(entry) = self.entries.get_mut(&key)
            && let Some(mac) = entry.mac
        {
            if entry.request_at.is_none() && now > entry.confirmed + CONFIRMED_FOR {
                entry.request_at = Some(now);
                self.next = Some(now);
            }
            return Some(mac);
        }
        self.ask(key, address, now);
        None
    }

    fn ask(&mut self, key: Key, address: IpAddr, now: Instant) {
        if self.entries.contains_key(&key) {
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|row| row.1.confirmed).map(|row| *row.0);
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        self.requests.push(Request { link: key.0, address });
        let entry = Entry {
            address,
            mac: None,
            confirmed: now,
            requests: 1,
            request_at: Some(now + REQUEST_INTERVAL),
            packets: Vec::new(),
            sockets: Vec::new(),
        };
        self.entries.insert(key, entry);
        self.sooner(now + REQUEST_INTERVAL);
    }

    fn sooner(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Keeps an IP packet until the neighbour answers.
    pub(crate) fn queue_packet(&mut self, link: LinkId, address: IpAddr, packet: Vec<u8>) {
        if let Some(entry) = self.entries.get_mut(&(link, crate::wire::key(address)))
            && entry.packets.len() < PACKETS_MAX
        {
            entry.packets.push(packet);
        }
    }

    /// Notes that a connection waits for the neighbour.
    pub(crate) fn queue_socket(&mut self, link: LinkId, address: IpAddr, socket: Id) {
        if let Some(entry) = self.entries.get_mut(&(link, crate::wire::key(address)))
            && !entry.sockets.contains(&socket)
        {
            entry.sockets.push(socket);
        }
    }

    /// The neighbour's hardware address is known. `create`: also when nobody asked.
    pub(crate) fn learn(
        &mut self,
        link: LinkId,
        address: IpAddr,
        mac: Mac,
        now: Instant,
        create: bool,
    ) -> Waiting {
        let key = (link, crate::wire::key(address));
        if mac[0] & 1 != 0 || !crate::wire::is_unicast(address) {
            return Waiting::default();
        }
        if !self.entries.contains_key(&key) {
            if !create {
                return Waiting::default();
            }
            self.ask(key, address, now);
            self.requests.retain(|request| request.link != link || request.address != address);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return Waiting::default() };
        entry.mac = Some(mac);
        entry.confirmed = now;
        entry.requests = 0;
        entry.request_at = None;
        Waiting {
            packets: core::mem::take(&mut entry.packets),
            sockets: core::mem::take(&mut entry.sockets),
        }
    }

    /// Takes the requests to send now, and gives up on neighbours that do not answer.
    pub(crate) fn poll(&mut self, now: Instant, failed: &mut Waiting) -> Vec<Request> {
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            let mut dead = Vec::new();
            let mut next = None;
            for (key, entry) in &mut self.entries {
                let Some(at) = entry.request_at else { continue };
                if at > now {
                    next = Some(next.map_or(at, |next: Instant| next.min(at)));
                } else if entry.requests >= REQUESTS_MAX {
                    dead.push(*key);
                } else {
                    entry.requests += 1;
                    let at = now + REQUEST_INTERVAL;
                    entry.request_at = Some(at);
                    next = Some(next.map_or(at, |next: Instant| next.min(at)));
                    self.requests.push(Request { link: key.0, address: entry.address });
                }
            }
            self.next = next;
            for key in dead {
                if let Some(mut entry) = self.entries.remove(&key) {
                    failed.packets.append(&mut entry.packets);
                    failed.sockets.append(&mut entry.sockets);
                }
            }
        }
        core::mem::take(&mut self.requests)
    }

    /// When [`Neighbors::poll`] is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.requests.is_empty() { self.next } else { Some(Instant::ZERO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanoseconds(seconds * 1_000_000_000)
    }

    #[test]
    fn three_unanswered_requests_fail_whoever_waits() {
        let mut neighbors = Neighbors::new(KeyedState::new(1, 2));
        let address = "10.0.0.9".parse().unwrap();
        assert_eq!(neighbors.lookup(LINK, address, at(0)), None);
        neighbors.queue_packet(LINK, address, alloc::vec![1]);
        let mut failed = Waiting::default();
        let mut sent = 0;
        for second in 0..5 {
            sent += neighbors.poll(at(second), &mut failed).len();
        }
        assert_eq!((sent, failed.packets.len()), (3, 1));
        assert_eq!(neighbors.next(), None);
    }

    #[test]
    fn an_answer_releases_packets_and_stale_entries_stay_in_use() {
        let mut neighbors = Neighbors::new(KeyedState::new(1, 2));
        let address = "10.0.0.9".parse().unwrap();
        let mac = [2, 0, 0, 0, 0, 9];
        neighbors.lookup(LINK, address, at(0));
        neighbors.queue_packet(LINK, address, alloc::vec![1]);
        let waiting = neighbors.learn(LINK, address, mac, at(0), false);
        assert_eq!(waiting.packets.len(), 1);
        assert_eq!(neighbors.lookup(LINK, address, at(100)), Some(mac));
        let mut failed = Waiting::default();
        assert_eq!(neighbors.poll(at(100), &mut failed).len(), 2 - 1 + 1);
        assert_eq!(neighbors.lookup(LINK, address, at(101)), Some(mac));
        assert!(
            neighbors
                .learn(LINK, "10.0.0.8".parse().unwrap(), mac, at(0), false)
                .packets
                .is_empty()
        );
    }
}
