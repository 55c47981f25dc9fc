//! Segments out, and what follows from what came in or went out.

use super::connection::{Cause, Connection, Snapshot};
use super::segment::{Port, Segment, Way};
use super::{Entry, Role};
use crate::control::to_smoltcp;
use crate::engine::{Core, Engine};
use crate::route::{Hop, LinkId};
use crate::slab::Id;
use base::Errno;
use core::cmp::Reverse;
use core::net::IpAddr;
use sched::PollEvents;
use smoltcp::iface::PollResult;
use smoltcp::socket::tcp::State;

/// Segments that a connection sends before others get their turn.
const SEGMENTS_MAX: usize = 64;

/// Everything that a dying connection tells whoever watches it.
const HANG_UP: PollEvents = PollEvents::IN
    .union(PollEvents::OUT)
    .union(PollEvents::ERR)
    .union(PollEvents::HUP)
    .union(PollEvents::RDHUP);

impl Engine {
    /// Sends what a connection has to send.
    pub(crate) fn tcp_output(&mut self, id: Id) {
        let Self { core, links } = self;
        let Core { tcp, neighbors, loopback, spare, now, mtus, .. } = core;
        let now = *now;
        let Some(entry) = tcp.entries.get_mut(id) else { return };
        let (no_delay, cork) = (entry.options.no_delay, entry.options.cork);
        let Role::Connection(connection) = &mut entry.role else { return };
        connection.dirty = false;
        if !connection.linked {
            return;
        }
        let before = connection.snapshot();
        let Hop { link, via, .. } = connection.hop;
        let way = if link == LinkId::LOOPBACK {
            Way::Loopback { queue: loopback, spare }
        } else {
            let Some(slot) = links.get_mut(link.0 as usize - 1) else { return };
            let Some(mac) = neighbors.lookup(link, via, now) else {
                connection.waiting_neighbor = true;
                neighbors.queue_socket(link, via, id);
                tcp.arm(id, now);
                return;
            };
            slot.touched = true;
            Way::Wire {
                device: &mut *slot.device,
                offload: slot.side.capabilities.transmit_checksum,
                from: slot.side.mac,
                to: mac,
            }
        };
        connection.waiting_neighbor = false;
        let Some(Some((interface, capabilities))) = tcp.engines.get_mut(link.0 as usize) else {
            return;
        };
        connection.apply_nagle(no_delay, cork);
        let mut sent = connection.sent_before(mtus.get(link.0 as usize).copied().unwrap_or(0));
        let ipv6 = connection.remote.is_ipv6();
        let end_of_data = connection.end_of_data().filter(|_| before.state == State::Established);
        let mut port = Port { received: None, way, sent: &mut sent, capabilities, ipv6 };
        let set = &mut connection.ring.set;
        let (mut more, mut all_said) = (true, false);
        for _ in 0..SEGMENTS_MAX {
            if interface.poll_egress(to_smoltcp(now), &mut port, set) == PollResult::None {
                more = false;
                break;
            }
            // A segment with the last data says everything: it carries acknowledgement and window.
            if port.sent.end == end_of_data && end_of_data.is_some() {
                (more, all_said) = (false, true);
                break;
            }
        }
        connection.departed(&sent, now);
        tcp.counters.sent += u64::from(sent.count);
        if all_said {
            tcp.arm_later(id, now);
            return;
        }
        core.tcp_settle(id, before, Cause::Departure);
        if more {
            core.tcp.mark_dirty(id);
        }
        core.tcp.arm(id, now);
    }

    /// Does what TCP's timers ask.
    pub(crate) fn tcp_expire(&mut self) {
        let now = self.core.now;
        while let Some(&Reverse((at, id))) = self.core.tcp.timers.peek() {
            if at > now {
                break;
            }
            self.core.tcp.timers.pop();
            let Some(entry) = self.core.tcp.entries.get_mut(id) else { continue };
            let Entry { options, open, role, .. } = entry.as_mut();
            let Role::Connection(connection) = role else { continue };
            if connection.armed != Some(at) {
                continue;
            }
            connection.armed = None;
            if connection.idle_until > now {
                let at = connection.idle_until;
                self.core.tcp.arm_by(id, at);
                continue;
            }
            match connection.expire(options, *open || connection.parent.is_some(), now) {
                Ok(()) if self.core.tcp.is_quiet(id, now) => self.core.tcp.arm(id, now),
                Ok(()) => self.core.tcp.mark_dirty(id),
                Err(errno) => self.tcp_give_up(id, errno),
            }
        }
        while let Some(local) = self.core.tcp.time_wait.expire(now) {
            if let Some(local) = local {
                self.core.tcp.ports.connection_removed(local);
            }
        }
    }

    /// The peer does not answer: the connection ends with `errno`.
    fn tcp_give_up(&mut self, id: Id, errno: Errno) {
        let Some(connection) =
            self.core.tcp.entries.get_mut(id).and_then(|entry| entry.connection_mut())
        else {
            return;
        };
        // Half-open ones end in silence; others tell the peer, should it still be there.
        if !matches!(connection.socket().state(), State::SynSent | State::SynReceived) {
            connection.socket_mut().abort();
            self.tcp_output(id);
        }
        self.core.tcp_fail(id, errno);
    }
}

impl Core {
    /// Sends a segment without data that belongs to no connection.
    pub(crate) fn tcp_answer(&mut self, from: IpAddr, to: IpAddr, link: LinkId, segment: &Segment) {
        let Ok(hop) = self.routing.lookup(to, (link != LinkId::LOOPBACK).then_some(link)) else {
            return;
        };
        let buffer = self.spare.take();
        self.tcp.counters.sent += 1;
        self.later.push((hop, segment.packet(from, to, buffer)));
    }

    /// The connection is over with `errno`, without a word to the peer.
    pub(crate) fn tcp_fail(&mut self, id: Id, errno: Errno) {
        let now = self.now;
        let tcp = &mut self.tcp;
        tcp.unlink(id, None, now);
        let Some(entry) = tcp.entries.get_mut(id) else { return };
        let Some(connection) = entry.connection_mut() else { return };
        let established = connection.established;
        if let Some(parent) = connection.parent {
            if !established {
                self.tcp_drop_child(id, parent);
                return;
            }
        } else if !entry.open {
            tcp.forget(id, now);
            return;
        }
        entry.error = Some(errno);
        if !established
            && let Role::Connection(connection) = core::mem::replace(&mut entry.role, Role::Idle)
        {
            // connect(2) may be tried again.
            tcp.rings.give(connection.ring);
        }
        entry.notify(HANG_UP);
    }

    /// A half-open connection is gone.
    fn tcp_drop_child(&mut self, id: Id, parent: Id) {
        let now = self.now;
        if let Some(entry) = self.tcp.entries.get_mut(parent)
            && let Role::Listener(listener) = &mut entry.role
        {
            listener.half_open = listener.half_open.saturating_sub(1);
        }
        self.tcp.forget(id, now);
    }

    /// Draws the consequences of what the engine did to a connection since `before`.
    pub(crate) fn tcp_settle(&mut self, id: Id, before: Snapshot, cause: Cause) {
        let now = self.now;
        let Some(entry) = self.tcp.entries.get_mut(id) else { return };
        let Entry { notifier, role, open, was_connected, multipath, .. } = entry.as_mut();
        let Role::Connection(connection) = role else { return };
        let after = connection.snapshot();
        let events = edges(connection, before, after);
        let acknowledged = after.unsent < before.unsent || after.state != before.state;
        connection.track_progress(acknowledged, now);
        let mut ready = None;
        if !connection.established && is_synchronized(after.state) {
            connection.established = true;
            *was_connected = true;
            Entry::settle_multipath(multipath);
            ready = connection.parent;
        }
        // Data that nobody will read: the peer is told by a reset (RFC 1122, 4.2.2.13).
        let orphan = !*open && connection.parent.is_none();
        if orphan && after.readable > 0 && after.state != State::Closed {
            connection.socket_mut().abort();
            self.tcp.mark_dirty(id);
            return;
        }
        if !events.is_empty() {
            notifier.notify(events);
        }
        if let Some(parent) = ready {
            self.tcp_ready(id, parent);
        }
        self.tcp_retire(id, before.state, cause, orphan);
    }

    /// The handshake of a listener's child is complete.
    fn tcp_ready(&mut self, id: Id, parent: Id) {
        self.tcp.counters.passive_opens += 1;
        let Some(entry) = self.tcp.entries.get_mut(parent) else { return };
        if let Role::Listener(listener) = &mut entry.role {
            listener.half_open = listener.half_open.saturating_sub(1);
            listener.ready.push_back(id);
            entry.notify(PollEvents::READABLE);
        }
    }

    /// Ends what is over: reset, closed on both sides, or left to TIME-WAIT.
    fn tcp_retire(&mut self, id: Id, before: State, cause: Cause, orphan: bool) {
        let now = self.now;
        let Some(entry) = self.tcp.entries.get_mut(id) else { return };
        let Role::Connection(connection) = &mut entry.role else { return };
        let state = connection.socket().state();
        let half_open = !connection.established;
        match state {
            // A reset throws a half-open connection back to where it came from.
            State::Listen => {
                if let Some(parent) = connection.parent {
                    self.tcp_drop_child(id, parent);
                }
            }
            State::Closed if cause == Arrival && before != State::LastAck => {
                let errno = match before {
                    State::SynSent | State::SynReceived => Errno::ECONNREFUSED,
                    State::CloseWait => Errno::EPIPE,
                    State::TimeWait | State::Closed => return self.tcp_ended(id, orphan),
                    _ => Errno::ECONNRESET,
                };
                self.tcp_fail(id, errno);
            }
            State::Closed if half_open && cause == Cause::Departure => {}
            State::Closed => self.tcp_ended(id, orphan),
            State::TimeWait | State::FinWait2 if cause == Cause::Departure => {
                if state == State::FinWait2 && !orphan {
                    return;
                }
                let link = connection.hop.link.0 as usize;
                let Some(Some((interface, _))) = self.tcp.engines.get_mut(link) else { return };
                if connection.is_quiet(interface, now) {
                    let remains = connection.remains(state == State::FinWait2);
                    self.tcp.unlink(id, Some(remains), now);
                    self.tcp_ended(id, orphan);
                }
            }
            _ => {}
        }
    }

    /// Both directions are over in good order, or our reset went out.
    fn tcp_ended(&mut self, id: Id, orphan: bool) {
        let now = self.now;
        self.tcp.unlink(id, None, now);
        if orphan {
            self.tcp.forget(id, now);
        } else if let Some(entry) = self.tcp.entries.get(id) {
            entry.notify(HANG_UP - PollEvents::ERR);
        }
    }
}

use Cause::Arrival;

/// What changed for readers and writers.
fn edges(connection: &mut Connection, before: Snapshot, after: Snapshot) -> PollEvents {
    let mut events = PollEvents::empty();
    if after.readable > before.readable {
        events |= PollEvents::READABLE;
    }
    let finished = Connection::peer_finished(after.state);
    if finished && !Connection::peer_finished(before.state) {
        events |= PollEvents::READABLE | PollEvents::RDHUP;
    }
    if after.unsent < before.unsent && connection.wants_room && connection.has_room() {
        connection.wants_room = false;
        events |= PollEvents::WRITABLE;
    }
    if before.state == State::SynSent && is_synchronized(after.state) {
        connection.wants_room = false;
        events |= PollEvents::WRITABLE;
    }
    events
}

fn is_synchronized(state: State) -> bool {
    !matches!(state, State::Closed | State::Listen | State::SynSent | State::SynReceived)
}
