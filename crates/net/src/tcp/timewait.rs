//! What is left of a connection whose work is done: enough to answer late segments.
//!
//! A connection in TIME-WAIT, or in FIN-WAIT-2 with nobody left to read, keeps no buffers: this
//! record takes its place for a minute.

use super::Tuple;
use super::segment::{Segment, before, flag};
use crate::hash::{KeyedMap, KeyedState, give_room_back};
use alloc::collections::VecDeque;
use base::Instant;
use core::net::SocketAddr;
use core::time::Duration;

/// How long late segments are answered (Linux: `TCP_TIMEWAIT_LEN`), and how long the peer may
/// take for its FIN (`net.ipv4.tcp_fin_timeout`).
const LIFETIME: Duration = Duration::from_secs(60);
/// Records kept (Linux: `net.ipv4.tcp_max_tw_buckets`); the oldest make room.
const RECORDS_MAX: usize = 16_384;

/// A connection that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Our next sequence number.
    pub(crate) sequence: u32,
    /// The next one we expect from the peer.
    pub(crate) acknowledgement: u32,
    /// The peer's FIN has not come yet.
    pub(crate) fin_wait: bool,
    /// The local port is counted in the port table.
    pub(crate) counted: bool,
    expires: Instant,
}

/// What to do with a segment for a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Nothing,
    /// Acknowledge again.
    Acknowledge(Segment),
    /// Refuse data that nobody will read, and forget the record.
    Reset(Segment),
    /// Forget the record.
    Forget,
    /// Forget the record; the segment may open a new connection.
    Reopen,
}

/// All records.
pub(crate) struct TimeWait {
    records: KeyedMap<Tuple, Record>,
    order: VecDeque<(Instant, Tuple)>,
}

impl TimeWait {
    pub(crate) fn new(hash: KeyedState) -> Self {
        Self { records: KeyedMap::with_hasher(hash), order: VecDeque::new() }
    }

    /// Adds a record. Returns the local end of one that had to go.
    pub(crate) fn insert(
        &mut self,
        tuple: Tuple,
        mut record: Record,
        now: Instant,
    ) -> Option<SocketAddr> {
        record.expires = now + LIFETIME;
        self.records.insert(tuple, record);
        self.order.push_back((record.expires, tuple));
        if self.records.len() > RECORDS_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            return self.remove(&oldest);
        }
        None
    }

    /// A record for [`TimeWait::insert`].
    pub(crate) fn record(sequence: u32, acknowledgement: u32, fin_wait: bool) -> Record {
        Record { sequence, acknowledgement, fin_wait, counted: true, expires: Instant::ZERO }
    }

    pub(crate) fn contains(&self, tuple: &Tuple) -> bool {
        self.records.contains_key(tuple)
    }

    /// Forgets a record. Returns its local end if that was counted.
    pub(crate) fn remove(&mut self, tuple: &Tuple) -> Option<SocketAddr> {
        let record = self.records.remove(tuple)?;
        give_room_back(&mut self.records);
        record.counted.then(|| tuple.local())
    }

    /// Forgets one record that is due. `None` when there is none; the local end is as for
    /// [`TimeWait::remove`].
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Option<SocketAddr>> {
        let (at, tuple) = *self.order.front()?;
        if at > now {
            return None;
        }
        self.order.pop_front();
        if let Some(room) = base::room::smaller(self.order.len(), self.order.capacity()) {
            self.order.shrink_to(room);
        }
        // The tuple may have been used again since.
        if self.records.get(&tuple).is_some_and(|record| record.expires <= now) {
            return Some(self.remove(&tuple));
        }
        Some(None)
    }

    /// When the next record is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.front().map(|row| row.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// What a segment for `tuple` asks for. `None`: there is no record.
    pub(crate) fn input(
        &mut self,
        tuple: &Tuple,
        segment: &Segment,
        now: Instant,
    ) -> Option<Answer> {
        let record = self.records.get_mut(tuple)?;
        if segment.has(flag::RST) {
            let exact = segment.sequence == record.acknowledgement;
            return Some(if exact { Answer::Forget } else { Answer::Nothing });
        }
        if segment.has(flag::SYN) && !segment.has(flag::ACK) {
            // RFC 9293, 3.10.7.4: a new incarnation begins beyond the old one.
            if !record.fin_wait && before(record.acknowledgement, segment.sequence) {
                return Some(Answer::Reopen);
            }
            return Some(Answer::Acknowledge(record.answer(segment)));
        }
        if !segment.has(flag::ACK) {
            return Some(Answer::Nothing);
        }
        let in_order = segment.sequence == record.acknowledgement;
        if record.fin_wait {
            if segment.length > 0 && !before(segment.sequence, record.acknowledgement) {
                return Some(Answer::Reset(segment.reset()));
            }
            if segment.has(flag::FIN) && in_order {
                record.acknowledgement = record.acknowledgement.wrapping_add(1);
                record.fin_wait = false;
                record.expires = now + LIFETIME;
                self.order.push_back((record.expires, *tuple));
                return Some(Answer::Acknowledge(record.answer(segment)));
            }
        }
        if segment.sequence_length() > 0 || !in_order {
            return Some(Answer::Acknowledge(record.answer(segment)));
        }
        Some(Answer::Nothing)
    }
}

impl Record {
    fn answer(&self, segment: &Segment) -> Segment {
        Segment {
            from: segment.to,
            to: segment.from,
            sequence: self.sequence,
            acknowledgement: self.acknowledgement,
            flags: flag::ACK,
            window: if self.fin_wait { 1024 } else { 0 },
            urgent: 0,
            length: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;

    #[test]
    fn a_busy_minute_leaves_no_large_tables() {
        let mut waiting = TimeWait::new(KeyedState::new(1, 2));
        for port in 1..=10_000 {
            let local = SocketAddr::from(([127, 0, 0, 1], port));
            let tuple = Tuple::new(local, SocketAddr::from(([127, 0, 0, 1], 80)));
            assert_eq!(waiting.insert(tuple, TimeWait::record(0, 0, false), Instant::ZERO), None);
        }
        let mut ports = 0;
        while let Some(port) = waiting.expire(Instant::ZERO + LIFETIME) {
            ports += usize::from(port.is_some());
        }
        assert_eq!((ports, waiting.len()), (10_000, 0));
        assert!(waiting.records.capacity() < 1000 && waiting.order.capacity() < 1000);
    }
}
