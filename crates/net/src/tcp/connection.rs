//! One TCP connection: an engine socket in a set of its own, and what Linux keeps beside it.

use super::details::RoundTrips;
use super::options::{Ring, TcpOptions};
use super::segment::{Segment, Sent, before, flag};
use super::shortcut::Outlet;
use super::urgent::Urgent;
use super::{Tuple, timewait};
use crate::control::{from_smoltcp, to_smoltcp};
use crate::route::Hop;
use crate::slab::Id;
use base::{Errno, Instant};
use core::net::SocketAddr;
use core::time::Duration;
use smoltcp::iface::Interface;
use smoltcp::socket::tcp::{self, CongestionControl, State};

/// How long data may stay unacknowledged (Linux: `tcp_retries2` = 15).
const DATA_TIMEOUT: Duration = Duration::from_secs(924);
/// The same when no descriptor is left (Linux: `tcp_orphan_retries`).
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(100);
/// The longest pause between two SYNs (Linux: `TCP_RTO_MAX`), in seconds.
const SYN_PAUSE_MAX: u64 = 120;
/// How long a half-open connection waits (Linux: `tcp_synack_retries` = 5).
const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(63);
/// How long an orphan waits for the peer's FIN (`net.ipv4.tcp_fin_timeout`).
const FIN_TIMEOUT: Duration = Duration::from_secs(60);
/// When the device has no room, it is tried again after this.
const RETRY: Duration = Duration::from_millis(1);
/// Delayed acknowledgements wait at most this long (Linux: 40 ms). No timer of the engine is set
/// to less: retransmission, window probes and keep-alive take a second and more.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(40);
/// The largest segment that every host takes, in bytes (RFC 9293).
const SMALL_MSS: u32 = 536;

/// Why the engine looked at a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    Arrival,
    Departure,
}

/// What counts of a connection's state, to see what changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) readable: usize,
    pub(crate) unsent: usize,
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) ring: Ring,
    pub(crate) tuple: Tuple,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) hop: Hop,
    /// The listener that it came from, until it is accepted.
    pub(crate) parent: Option<Id>,
    /// It is in the table of tuples: segments reach it.
    pub(crate) linked: bool,
    /// Its local port is counted as a connection.
    pub(crate) counted: bool,
    /// On the list of those with something to send.
    pub(crate) dirty: bool,
    /// It waits for the hardware address of its next hop.
    pub(crate) waiting_neighbor: bool,
    /// The earliest entry of the timer heap for it.
    pub(crate) armed: Option<Instant>,
    /// The engine has nothing to do before.
    pub(crate) idle_until: Instant,
    pub(crate) receive_shutdown: bool,
    pub(crate) send_shutdown: bool,
    /// A write found no room: tell when there is some.
    pub(crate) wants_room: bool,
    /// connect(2) has said that it is done.
    pub(crate) connect_told: bool,
    /// The three-way handshake was completed.
    pub(crate) established: bool,
    pub(crate) created: Instant,
    pub(super) last_heard: Instant,
    /// When something new was sent last.
    pub(super) last_sent: Instant,
    pub(super) trips: RoundTrips,
    /// Segments so far: sent, among them for a second time, and received.
    pub(super) segments_sent: u32,
    pub(super) segments_again: u32,
    pub(super) segments_received: u32,
    /// Since when data (or a FIN) waits to be acknowledged.
    stalled_since: Option<Instant>,
    pub(super) probes: u32,
    /// The last segment told of no room.
    peer_is_full: bool,
    sent: Sent,
    /// Something was lost, and the engine controls congestion since.
    pub(super) reno: bool,
    /// The highest acknowledgement that came.
    pub(super) acknowledged: Option<u32>,
    /// Where the peer's FIN is, when it came before data that is still missing.
    fin_at: Option<u32>,
    /// The acknowledgement and window that the engine was last given.
    told: Option<(u32, u16)>,
    /// The sequence number of the peer's first byte: what our first acknowledgement was.
    first: Option<u32>,
    /// Bytes that readers took from the engine so far.
    pub(super) consumed: u64,
    /// The last acknowledgement sent, and how many bytes there was room for then.
    answered: Option<(u32, usize)>,
    /// The sequence number of our first byte: the one after our SYN.
    start: Option<u32>,
    /// Bytes that writers gave the engine so far.
    pub(super) written: u64,
    /// Bytes that went the short way: given by writers, taken by readers.
    pub(crate) short_sent: u64,
    pub(crate) short_received: u64,
    /// The short way to the other end, once it was taken.
    pub(crate) outlet: Option<Outlet>,
    /// Urgent data that came.
    pub(super) urgent: Option<Urgent>,
    /// Where urgent data that is sent ends, until it is acknowledged.
    pub(super) urgent_end: Option<u32>,
}

impl Connection {
    pub(crate) fn new(
        ring: Ring,
        tuple: Tuple,
        local: SocketAddr,
        remote: SocketAddr,
        hop: Hop,
        now: Instant,
    ) -> Self {
        Self {
            ring,
            tuple,
            local,
            remote,
            hop,
            parent: None,
            linked: false,
            counted: false,
            dirty: false,
            waiting_neighbor: false,
            armed: None,
            idle_until: Instant::ZERO,
            receive_shutdown: false,
            send_shutdown: false,
            wants_room: false,
            connect_told: false,
            established: false,
            created: now,
            last_heard: now,
            last_sent: now,
            trips: RoundTrips::default(),
            segments_sent: 0,
            segments_again: 0,
            segments_received: 0,
            stalled_since: None,
            probes: 0,
            peer_is_full: false,
            sent: Sent::default(),
            reno: false,
            acknowledged: None,
            fin_at: None,
            told: None,
            first: None,
            consumed: 0,
            answered: None,
            start: None,
            written: 0,
            short_sent: 0,
            short_received: 0,
            outlet: None,
            urgent: None,
            urgent_end: None,
        }
    }

    pub(crate) fn socket(&self) -> &tcp::Socket<'static> {
        self.ring.set.get(self.ring.handle)
    }

    pub(crate) fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.ring.set.get_mut(self.ring.handle)
    }

    /// Gives the engine socket the options, and undoes what its last user left.
    pub(crate) fn apply(&mut self, options: &TcpOptions) {
        let socket = self.socket_mut();
        socket.set_ack_delay((!options.quick_ack).then_some(ACK_DELAY.into()));
        socket.set_hop_limit(Some(options.hop_limit.max(1)));
    }

    /// Prepares the engine socket for a new connection.
    pub(crate) fn prepare(&mut self, options: &TcpOptions) {
        let socket = self.socket_mut();
        socket.set_keep_alive(None);
        socket.set_timeout(None);
        socket.set_tsval_generator(None);
        // No limit but the peer's window and our buffer until the first loss: see `departed`.
        socket.set_congestion_control(CongestionControl::None);
        self.apply(options);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let socket = self.socket();
        Snapshot { state: socket.state(), readable: self.readable(), unsent: socket.send_queue() }
    }

    /// The peer's FIN has arrived.
    pub(crate) fn peer_finished(state: State) -> bool {
        matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
    }

    /// Linux's rule for "writable": a third of the buffer is free.
    pub(crate) fn has_room(&self) -> bool {
        let socket = self.socket();
        let (capacity, filled) = match self.outlet {
            Some(outlet) if socket.send_queue() == 0 => (outlet.limit, outlet.filled),
            _ => (socket.send_capacity(), socket.send_queue()),
        };
        let free = capacity.saturating_sub(filled);
        free * 2 >= filled && free > 0
    }

    /// Bytes to read.
    pub(crate) fn readable(&self) -> usize {
        self.socket().recv_queue() + self.ring.inbox.bytes()
    }

    /// A segment is about to come in. False: the engine must not see it.
    ///
    /// With nothing but a FIN outstanding, smoltcp 0.14 takes three duplicate acknowledgements
    /// for a loss, finds no data to send again, and stops its retransmission timer.
    pub(crate) fn arriving(&mut self, segment: &Segment, now: Instant) -> bool {
        self.last_heard = now;
        self.segments_received = self.segments_received.wrapping_add(1);
        self.peer_is_full = segment.window == 0;
        if self.probes > 0 {
            self.probes = 0;
            self.socket_mut().set_keep_alive(None);
        }
        let socket = self.socket();
        let only_fin = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck)
            && socket.send_queue() == 0;
        let bare = segment.length == 0 && !segment.has(flag::FIN | flag::SYN | flag::RST);
        let end = self.sent.highest;
        if only_fin && bare && end.is_some() && end != Some(segment.acknowledgement) {
            return false;
        }
        let newer = |old: u32| before(old, segment.acknowledgement);
        if segment.has(flag::ACK) && self.acknowledged.is_none_or(newer) {
            self.acknowledged = Some(segment.acknowledgement);
            self.trips.acknowledged(segment.acknowledgement, now);
            self.urgent_end = self.urgent_end.filter(|end| before(segment.acknowledgement, *end));
        }
        true
    }

    /// The sequence number that comes next from the peer (RFC 9293's RCV.NXT). The engine keeps it
    /// to itself, and what it acknowledged last may be less: acknowledgements are delayed.
    pub(super) fn expected(&self) -> Option<u32> {
        let socket = self.socket();
        let fin = u32::from(Self::peer_finished(socket.state()));
        Some(
            self.first?
                .wrapping_add(self.consumed as u32)
                .wrapping_add(socket.recv_queue() as u32 + fin),
        )
    }

    /// The sequence number of the byte that readers get next.
    pub(super) fn next_to_read(&self) -> Option<u32> {
        Some(self.first?.wrapping_add(self.consumed as u32))
    }

    /// A reader took `count` bytes.
    pub(crate) fn note_consumed(&mut self, count: usize) {
        self.consumed += count as u64;
    }

    /// A writer gave `count` bytes.
    pub(crate) fn note_written(&mut self, count: usize) {
        self.written += count as u64;
    }

    /// The sequence number after everything that writers gave.
    pub(crate) fn end_of_data(&self) -> Option<u32> {
        Some(self.start?.wrapping_add(self.written as u32))
    }

    /// Bytes that came and were not acknowledged yet.
    fn unanswered(&self) -> Option<u32> {
        Some(self.expected()?.wrapping_sub(self.answered?.0))
    }

    /// True when the engine may want to tell the peer of a wider window: that happens when it has
    /// doubled (as on Linux). Leans towards true.
    pub(crate) fn window_may_have_doubled(&self) -> bool {
        let (Some(unanswered), Some((_, offered))) = (self.unanswered(), self.answered) else {
            return true;
        };
        let socket = self.socket();
        let (capacity, held) = (socket.recv_capacity(), socket.recv_queue());
        // Windows are told in steps.
        let step = (capacity >> 15) + 2;
        let narrow = |most: usize| {
            let room = (capacity - held).min(most);
            room / 2 + step + unanswered as usize >= offered.min(most)
        };
        // The peer may not know of window scaling.
        narrow(usize::MAX) || narrow(usize::from(u16::MAX))
    }

    /// True when nothing has to be said, so that an acknowledgement may wait for the answer or its
    /// 40 ms. Ask before a segment comes in, and [`Connection::is_content`] after it.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.unanswered() == Some(0)
    }

    /// True when the engine has nothing to send after a segment came in, but an acknowledgement
    /// that may be delayed. `owed_nothing`: [`Connection::owes_nothing`] before. Leans towards
    /// false.
    pub(crate) fn is_content(&self, options: &TcpOptions, owed_nothing: bool) -> bool {
        let socket = self.socket();
        // The first unacknowledged segment starts the delay; more than one of full size ends it.
        let may_delay = owed_nothing || self.unanswered().is_some_and(|bytes| bytes <= SMALL_MSS);
        socket.state() == State::Established
            && socket.send_queue() == 0
            && !options.quick_ack
            && may_delay
            && !self.window_may_have_doubled()
    }

    /// The acknowledgement within a segment that the engine may refuse for its place or its data:
    /// it is to be given to the engine first, by itself (RFC 9293, 3.10.7.4).
    ///
    /// smoltcp 0.14 drops segments outside its window whole. When both ends are full, and one has
    /// sent beyond the other's window, neither hears that the other has room again.
    pub(crate) fn refused_acknowledgement(&mut self, segment: &Segment) -> Option<Segment> {
        if !segment.has(flag::ACK) || segment.has(flag::SYN | flag::RST) {
            return None;
        }
        let expected = self.expected()?;
        let socket = self.socket();
        let (capacity, held) = (socket.recv_capacity(), socket.recv_queue());
        // From the connection's own past or future, not from anywhere: others could forge it.
        let distance = segment.sequence.wrapping_sub(expected).cast_signed().unsigned_abs();
        // With half of the buffer free the window that the peer knows cannot be shut.
        let taken = distance == 0 && (segment.length == 0 || held * 2 <= capacity);
        let news = Some((segment.acknowledgement, segment.window));
        if core::mem::replace(&mut self.told, news) == news || taken || distance as usize > capacity
        {
            return None;
        }
        Some(Segment { sequence: expected, flags: flag::ACK, length: 0, ..*segment })
    }

    /// The peer's FIN, when the engine has ignored it for data that was missing: it is to be
    /// given to the engine again, without the data before it.
    pub(crate) fn ignored_fin(&mut self, segment: &Segment) -> Option<Segment> {
        let state = self.socket().state();
        if Self::peer_finished(state) || matches!(state, State::Closed | State::SynSent) {
            self.fin_at = None;
            return None;
        }
        if segment.has(flag::FIN) {
            self.fin_at = Some(segment.sequence.wrapping_add(segment.length));
        }
        let sequence = self.fin_at?;
        Some(Segment { sequence, flags: flag::FIN | flag::ACK, length: 0, ..*segment })
    }

    /// Nagle's rule with Minshall's amendment, as on Linux: a small segment waits only for
    /// another small one to be acknowledged.
    pub(crate) fn apply_nagle(&mut self, no_delay: bool, cork: bool) {
        let small_waits = !no_delay
            && self.sent.small_end.is_some_and(|end| {
                self.acknowledged.is_none_or(|acknowledged| before(acknowledged, end))
            });
        self.socket_mut().set_nagle_enabled(cork || small_waits);
    }

    /// Segments went out.
    pub(crate) fn departed(&mut self, sent: &Sent, now: Instant) {
        if sent.count == 0 {
            return;
        }
        self.segments_sent = self.segments_sent.wrapping_add(sent.count);
        self.segments_again = self.segments_again.wrapping_add(sent.again);
        if sent.again > 0 {
            self.trips.forget();
        }
        if let Some(end) = sent.highest
            && self.sent.highest.is_none_or(|highest| before(highest, end))
        {
            self.sent.highest = Some(end);
            self.last_sent = now;
            self.trips.sent(end, now);
        }
        self.first = self.first.or(sent.acknowledgement);
        self.start = self.start.or(sent.start);
        if let Some(acknowledgement) = sent.last_acknowledgement {
            let socket = self.socket();
            let room = socket.recv_capacity() - socket.recv_queue();
            self.answered = Some((acknowledgement, room));
        }
        self.sent.small_end = sent.small_end;
        if sent.again > 0 && !self.reno {
            // The path loses: from now on, slow start and congestion avoidance.
            self.reno = true;
            self.socket_mut().set_congestion_control(CongestionControl::Reno);
        }
    }

    /// Bytes of data in the largest segment of a link.
    pub(super) fn largest_segment(&self, mtu: usize) -> usize {
        mtu.saturating_sub(if self.remote.is_ipv4() { 40 } else { 60 })
    }

    /// What went out before, so that the next segments are compared with it.
    pub(crate) fn sent_before(&self, mtu: usize) -> Sent {
        Sent {
            highest: self.sent.highest,
            small_end: self.sent.small_end,
            urgent_end: self.urgent_end,
            largest: self.largest_segment(mtu) as u32,
            ..Sent::default()
        }
    }

    /// The highest sequence number sent.
    pub(crate) fn highest_sent(&self) -> Option<u32> {
        self.sent.highest
    }

    /// Starts or stops the clock for unacknowledged data. `progress`: some was acknowledged.
    pub(crate) fn track_progress(&mut self, progress: bool, now: Instant) {
        let socket = self.socket();
        let fin_out = matches!(socket.state(), State::FinWait1 | State::LastAck | State::Closing);
        if socket.send_queue() == 0 && !fin_out {
            self.stalled_since = None;
        } else if progress || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }

    /// A record of the connection for late segments. `fin_wait`: the peer's FIN is still to come.
    pub(crate) fn remains(&self, fin_wait: bool) -> timewait::Record {
        let sequence = self.sent.highest.unwrap_or_default();
        timewait::TimeWait::record(sequence, self.expected().unwrap_or_default(), fin_wait)
    }

    /// True when everything the connection has to say was said, so that remains can take over.
    pub(crate) fn is_quiet(&self, interface: &mut Interface, now: Instant) -> bool {
        let there = to_smoltcp(now);
        interface.poll_at(there, &self.ring.set).is_none_or(|at| at > there)
    }

    /// When the connection needs attention.
    pub(crate) fn deadline(
        &self,
        interface: &mut Interface,
        options: &TcpOptions,
        open: bool,
        now: Instant,
    ) -> Option<Instant> {
        let engine = if self.waiting_neighbor || !self.linked {
            None
        } else {
            let at = interface.poll_at(to_smoltcp(now), &self.ring.set).map(from_smoltcp);
            at.map(|at| if at <= now { now + RETRY } else { at })
        };
        [engine, self.give_up_at(options, open), self.keep_alive_at(options)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the connection is given up, as things are.
    fn give_up_at(&self, options: &TcpOptions, open: bool) -> Option<Instant> {
        match self.socket().state() {
            State::SynSent => {
                let patience = || connect_timeout(options.syn_retries);
                Some(self.created + options.user_timeout.unwrap_or_else(patience))
            }
            State::SynReceived => Some(self.created + HALF_OPEN_TIMEOUT),
            State::FinWait2 if !open => Some(self.last_heard + FIN_TIMEOUT),
            _ => {
                let since = self.stalled_since?;
                match (options.user_timeout, open) {
                    (Some(limit), _) => Some(since + limit),
                    // A peer that has no room but answers probes is waited for.
                    (None, true) if self.peer_is_full => {
                        Some(since.max(self.last_heard) + DATA_TIMEOUT)
                    }
                    (None, true) => Some(since + DATA_TIMEOUT),
                    (None, false) => Some(since + ORPHAN_TIMEOUT),
                }
            }
        }
    }

    fn keep_alive_at(&self, options: &TcpOptions) -> Option<Instant> {
        let idle = matches!(self.socket().state(), State::Established | State::CloseWait)
            && self.stalled_since.is_none();
        if !options.keep_alive || !idle {
            return None;
        }
        let silence = options.keep_idle + options.keep_interval * self.probes;
        Some(self.last_heard + silence)
    }

    /// Does what the connection's own timers ask. `Err`: it is to be given up with this error.
    pub(crate) fn expire(
        &mut self,
        options: &TcpOptions,
        open: bool,
        now: Instant,
    ) -> Result<(), Errno> {
        if self.give_up_at(options, open).is_some_and(|at| at <= now) {
            return Err(Errno::ETIMEDOUT);
        }
        if self.keep_alive_at(options).is_some_and(|at| at <= now) {
            if self.probes >= options.keep_count {
                return Err(Errno::ETIMEDOUT);
            }
            if self.probes == 0 {
                // Turning it on makes the engine send a probe at once, and then by itself.
                let interval = options.keep_interval.into();
                self.socket_mut().set_keep_alive(Some(interval));
            }
            self.probes += 1;
        }
        Ok(())
    }
}

/// How long connect(2) tries: the first SYN is waited for a second, and each one twice as long as
/// the one before.
fn connect_timeout(retries: u32) -> Duration {
    let doubled = retries.min(6);
    let rest = u64::from(retries - doubled);
    Duration::from_secs((2 << doubled) - 1 + rest * SYN_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_syns_take_longer() {
        for (retries, seconds) in [(1, 3), (6, 127), (7, 247), (127, 127 + 121 * 120)] {
            assert_eq!(connect_timeout(retries), Duration::from_secs(seconds), "{retries}");
        }
    }
}
