//! What a connection tells of its traffic (`TCP_INFO`).

use super::connection::Connection;
use super::segment::before;
use base::Instant;

/// How a connection does. What goes the short way within the machine is no segments, so that such a
/// connection has its bytes right, and of the rest only what its beginning and its end did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpDetails {
    /// Largest packet of the link, in bytes.
    pub mtu: u32,
    /// How much data fits in, in bytes.
    pub segment: u32,
    /// Bytes of data that went to the peer.
    pub sent: u64,
    /// Of those, what it has acknowledged.
    pub acknowledged: u64,
    /// Bytes that came.
    pub received: u64,
    /// Bytes that wait to be sent.
    pub unsent: u32,
    /// Bytes on their way.
    pub in_flight: u32,
    /// Segments sent.
    pub segments_sent: u32,
    /// Segments that came.
    pub segments_received: u32,
    /// Of those sent, how many for a second time.
    pub segments_again: u32,
    /// The smoothed round-trip time and its variation, in microseconds; 0: not measured.
    pub round_trip: (u32, u32),
    /// Until what is not acknowledged goes out again, in microseconds.
    pub patience: u32,
    /// Since something new went out and since something came, in milliseconds; 0 when it takes the
    /// short way.
    pub since: (u32, u32),
    /// Unanswered keep-alive probes.
    pub probes: u32,
    /// Bytes that the send buffer takes.
    pub send_buffer: u32,
    /// Something was lost: there is a congestion window.
    pub has_lost: bool,
}

/// Round-trip times (RFC 6298), in microseconds. The engine has its own, in milliseconds, and keeps
/// them to itself.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct RoundTrips {
    /// The sequence number whose acknowledgement is awaited, and since when.
    timed: Option<(u32, Instant)>,
    /// Smoothed, and the variation.
    smoothed: Option<(u32, u32)>,
}

impl RoundTrips {
    /// Data up to `end` went out.
    pub(super) fn sent(&mut self, end: u32, now: Instant) {
        self.timed.get_or_insert((end, now));
    }

    /// Something was sent again: it is not known which of the two is acknowledged (Karn).
    pub(super) fn forget(&mut self) {
        self.timed = None;
    }

    /// An acknowledgement came.
    pub(super) fn acknowledged(&mut self, acknowledgement: u32, now: Instant) {
        let Some((end, since)) = self.timed else { return };
        if before(acknowledgement, end) {
            return;
        }
        self.timed = None;
        let sample = since_in(now, since, 1000);
        self.smoothed = Some(match self.smoothed {
            None => (sample, sample / 2),
            Some((mean, variation)) => {
                let off = mean.abs_diff(sample);
                (mean / 8 * 7 + sample / 8, variation / 4 * 3 + off / 4)
            }
        });
    }
}

/// From `since` to `now`, in units of so many nanoseconds.
fn since_in(now: Instant, since: Instant, unit: u64) -> u32 {
    (now.nanoseconds().saturating_sub(since.nanoseconds()) / unit) as u32
}

/// Bounds of the time until something is sent again, in microseconds: the engine's.
const PATIENCE_MIN: u32 = 1_000_000;
const PATIENCE_MAX: u32 = 60_000_000;

impl Connection {
    /// `mtu`: its link's.
    #[cold]
    #[inline(never)]
    pub(super) fn details(&self, mtu: usize, now: Instant) -> TcpDetails {
        let waiting = self.socket().send_queue() as u64;
        let given = self.written + self.short_sent;
        let highest = self.highest_sent();
        // From one number to another that is not before it.
        let ahead = |from: Option<u32>, to: Option<u32>| match (from, to) {
            (Some(from), Some(to)) if before(from, to) => to.wrapping_sub(from),
            _ => 0,
        };
        let unsent = ahead(highest, self.end_of_data());
        let round_trip = self.trips.smoothed.unwrap_or_default();
        let patience = round_trip.0.saturating_add(round_trip.1.saturating_mul(4));
        let is_short = self.short_sent + self.short_received > 0;
        let millis = |since| if is_short { 0 } else { since_in(now, since, 1_000_000) };
        TcpDetails {
            mtu: mtu as u32,
            segment: self.largest_segment(mtu) as u32,
            sent: given.saturating_sub(u64::from(unsent)),
            acknowledged: given.saturating_sub(waiting),
            received: self.consumed + self.short_received + self.readable() as u64,
            unsent,
            in_flight: ahead(self.acknowledged, highest),
            segments_sent: self.segments_sent,
            segments_received: self.segments_received,
            segments_again: self.segments_again,
            round_trip,
            patience: patience.clamp(PATIENCE_MIN, PATIENCE_MAX),
            since: (millis(self.last_sent), millis(self.last_heard)),
            probes: self.probes,
            send_buffer: self.socket().send_capacity() as u32,
            has_lost: self.reno,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(microseconds: u64) -> Instant {
        Instant::from_nanoseconds(microseconds * 1000)
    }

    /// The figures of RFC 6298 by hand.
    #[test]
    fn round_trips_are_smoothed() {
        let mut trips = RoundTrips::default();
        trips.acknowledged(5, at(1));
        assert_eq!(trips.smoothed, None);
        trips.sent(10, at(100));
        trips.sent(20, at(150));
        trips.acknowledged(9, at(200));
        assert_eq!(trips.smoothed, None);
        trips.acknowledged(10, at(900));
        assert_eq!(trips.smoothed, Some((800, 400)));
        trips.sent(30, at(1000));
        trips.acknowledged(31, at(2600));
        assert_eq!(trips.smoothed, Some((900, 500)));
    }

    #[test]
    fn what_is_sent_again_is_not_measured() {
        let mut trips = RoundTrips::default();
        trips.sent(10, at(100));
        trips.forget();
        trips.acknowledged(10, at(900));
        assert_eq!(trips.smoothed, None);
    }
}
