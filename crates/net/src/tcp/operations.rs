//! What the calls on a TCP socket do.

use super::connection::{Cause, Connection};
use super::socket::{SOMAXCONN, Shutdown};
use super::{Listener, ORPHANS_MAX, Role, Tuple};
use crate::address::{bind_address, connect_address, scope_of, unspecified};
use crate::engine::Engine;
use crate::ports::{Binding, Family};
use crate::route::LinkId;
use crate::slab::Id;
use alloc::boxed::Box;
use alloc::vec;
use base::Errno;
use base::io::{Sink, Source};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use sched::PollEvents;
use smoltcp::socket::tcp::State;

impl Engine {
    pub(super) fn tcp_bind(&mut self, id: Id, address: SocketAddr) -> Result<(), Errno> {
        let random = self.core.random();
        let routing = &self.core.routing;
        let tcp = &mut self.core.tcp;
        let entry = tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        if entry.bound || !matches!(entry.role, Role::Idle) {
            return Err(Errno::EINVAL);
        }
        let ip = bind_address(entry.family, entry.options.v6_only, address.ip())?;
        if !routing.may_bind(ip, entry.options.foreign) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let binding = Binding {
            socket: id,
            address: (!ip.is_unspecified()).then_some(ip),
            family: if ip.is_ipv4() { Family::V4 } else { entry.family },
            v6_only: entry.options.v6_only,
            sharing: entry.options.sharing(),
            listening: false,
        };
        let port = match address.port() {
            0 => tcp.ports.bind_any(binding, random)?,
            port => tcp.ports.bind(port, binding).map(|()| port)?,
        };
        entry.local = Some(SocketAddr::new(ip, port));
        entry.bound = true;
        Ok(())
    }

    pub(super) fn tcp_listen(&mut self, id: Id, backlog: i32) -> Result<(), Errno> {
        // A negative backlog is a large unsigned one.
        let backlog = usize::try_from(backlog).unwrap_or(SOMAXCONN).min(SOMAXCONN);
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        match &mut entry.role {
            Role::Listener(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Role::Connection(_) => return Err(Errno::EINVAL),
            Role::Idle => {}
        }
        if !entry.bound {
            let address = SocketAddr::new(unspecified(entry.family), 0);
            self.tcp_bind(id, address)?;
        }
        let tcp = &mut self.core.tcp;
        let entry = tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        let port = entry.local.map_or(0, |local| local.port());
        tcp.ports.listen(port, id)?;
        entry.role = Role::Listener(Listener { backlog, ..Listener::default() });
        Ok(())
    }

    pub(super) fn tcp_connect(&mut self, id: Id, address: SocketAddr) -> Result<(), Errno> {
        let core = &mut self.core;
        let entry = core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        match &mut entry.role {
            Role::Listener(_) => return Err(Errno::EISCONN),
            Role::Connection(connection) if !connection.established => {
                return Err(Errno::EALREADY);
            }
            Role::Connection(connection) => {
                // The first call after the handshake says so once.
                let told = core::mem::replace(&mut connection.connect_told, true);
                return if told { Err(Errno::EISCONN) } else { Ok(()) };
            }
            Role::Idle => {}
        }
        if let Some(error) = entry.error.take() {
            return Err(error);
        }
        let remote = connect_address(entry.family, entry.options.v6_only, address)?;
        if !crate::wire::is_unicast(remote.ip()) || core.routing.is_broadcast(remote.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let (bound, options) = (entry.local.filter(|_| entry.bound), entry.options);
        let hop = core.routing.lookup_by(options.device, remote.ip(), scope_of(address))?;
        let source = bound.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let source = source.unwrap_or(hop.source);
        if source.is_ipv4() != remote.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        if !core.routing.may_send(source, options.foreign) {
            return Err(Errno::ENETUNREACH);
        }
        if !core.tcp.rings.has_room() {
            return Err(Errno::ENOBUFS);
        }
        let local = match bound {
            Some(bound) => SocketAddr::new(source, bound.port()),
            None => SocketAddr::new(source, self.tcp_choose_port(source, remote)?),
        };
        let core = &mut self.core;
        let tuple = Tuple::new(local, remote);
        if core.tcp.tuples.contains_key(&tuple) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        core.tcp_forget_remains(&tuple);
        let ring = core.tcp.rings.take(&options);
        let mut connection = Box::new(Connection::new(ring, tuple, local, remote, hop, core.now));
        connection.prepare(&options);
        core.tcp_reseed(hop.link);
        let begun = match core.tcp.engines.get_mut(hop.link.0 as usize) {
            Some(Some((interface, _))) => {
                connection.socket_mut().connect(interface.context(), remote, local).is_ok()
            }
            _ => false,
        };
        if !begun {
            // Only port 0 or an odd address: nobody can be there.
            core.tcp.rings.give(connection.ring);
            return Err(Errno::ECONNREFUSED);
        }
        connection.linked = true;
        if bound.is_none() {
            connection.counted = true;
            core.tcp.ports.connection_added(local);
        }
        core.tcp.tuples.insert(tuple, id);
        core.tcp.counters.active_opens += 1;
        if let Some(entry) = core.tcp.entries.get_mut(id) {
            entry.role = Role::Connection(connection);
        }
        core.tcp.mark_dirty(id);
        Err(Errno::EINPROGRESS)
    }

    /// A local port for a connection to `remote`.
    fn tcp_choose_port(&mut self, source: IpAddr, remote: SocketAddr) -> Result<u16, Errno> {
        let range = crate::ports::EPHEMERAL;
        let first = *range.start();
        let count = u64::from(*range.end() - first) + 1;
        let random = self.core.random();
        let tcp = &self.core.tcp;
        for step in 0..count {
            let port = first + (random.wrapping_add(step) % count) as u16;
            let tuple = Tuple::of(source, port, remote.ip(), remote.port());
            // Over loopback the other end rests here too, and would answer a SYN with an
            // acknowledgement: the connection would wait for its retransmission.
            let other_end = Tuple::of(remote.ip(), remote.port(), source, port);
            let free = !tcp.ports.is_claimed(port)
                && !tcp.tuples.contains_key(&tuple)
                && !tcp.time_wait.contains(&tuple)
                && !tcp.time_wait.contains(&other_end);
            if free {
                return Ok(port);
            }
        }
        Err(Errno::EADDRNOTAVAIL)
    }

    /// True when an error waits to be told.
    pub(super) fn tcp_failed(&self, id: Id) -> bool {
        self.core.tcp.entries.get(id).is_some_and(|entry| entry.error.is_some())
    }

    /// Takes bytes in. Stops, as [`Source::take_present`] does.
    /// `urgent`: the last of them is urgent.
    pub(super) fn tcp_send(
        &mut self,
        id: Id,
        source: &mut dyn Source,
        urgent: bool,
    ) -> Result<usize, Errno> {
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        if let Some(error) = entry.error.take() {
            return Err(error);
        }
        let Some(connection) = entry.connection_mut() else { return Err(Errno::EPIPE) };
        let state = connection.socket().state();
        if connection.send_shutdown || !connection.linked {
            return Err(Errno::EPIPE);
        }
        if matches!(state, State::SynSent | State::SynReceived) {
            connection.wants_room = true;
            return Err(Errno::EAGAIN);
        }
        if connection.hop.link == LinkId::LOOPBACK
            && let Some(peer) = self.core.tcp_shortcut(id)
        {
            return self.core.tcp_send_short(id, peer, source, urgent);
        }
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        let Some(connection) = entry.connection_mut() else { return Err(Errno::EPIPE) };
        let (mut total, mut stopped) = (0, false);
        // Twice: the buffer is a ring.
        for _ in 0..2 {
            if source.remaining() == 0 {
                break;
            }
            let moved = connection.socket_mut().send(|free| {
                let wanted = free.len().min(source.remaining());
                let count = source.take_present(free.get_mut(..wanted).unwrap_or_default());
                stopped = count < wanted;
                (count, count)
            });
            match moved {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(_) => return Err(Errno::EPIPE),
            }
            if stopped {
                break;
            }
        }
        if stopped && total == 0 {
            return Ok(0);
        }
        let blocked = source.remaining() > 0;
        connection.wants_room |= blocked;
        if total == 0 {
            return if blocked { Err(Errno::EAGAIN) } else { Ok(0) };
        }
        let now = self.core.now;
        connection.note_written(total);
        if urgent {
            connection.urgent_end = connection.end_of_data();
        }
        connection.track_progress(false, now);
        self.tcp_output(id);
        Ok(total)
    }

    /// Gives bytes out. Stops, as [`Sink::put_present`] does; with `peek`, `sink` may not.
    pub(super) fn tcp_receive(
        &mut self,
        id: Id,
        sink: &mut dyn Sink,
        peek: bool,
    ) -> Result<usize, Errno> {
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        let error = entry.error;
        let (was_connected, waiting) = (entry.was_connected, entry.connection().is_some());
        if let Some(connection) = entry.connection_mut()
            && connection.readable() > 0
        {
            if connection.urgent.is_some() {
                return self.tcp_receive_around(id, sink, peek);
            }
            let before = connection.socket().recv_queue();
            let moved = move_received(connection, sink, peek);
            // What came the short way comes after everything in the engine's buffer.
            let goes_on = moved == before && connection.ring.inbox.bytes() > 0;
            if moved > 0 && !peek {
                connection.note_consumed(moved);
                if connection.linked && connection.window_may_have_doubled() {
                    self.core.tcp.mark_dirty(id);
                }
            }
            if !goes_on {
                return Ok(moved);
            }
            return match self.core.tcp_receive_short(id, sink, peek) {
                Err(errno) if moved == 0 => Err(errno),
                more => Ok(moved + more.unwrap_or(0)),
            };
        }
        if let Some(error) = error {
            entry.error = None;
            return Err(error);
        }
        let Some(connection) = entry.connection() else {
            return if was_connected && !waiting { Ok(0) } else { Err(Errno::ENOTCONN) };
        };
        let state = connection.socket().state();
        let finished = connection.receive_shutdown
            || !connection.linked
            || state == State::Closed
            || Connection::peer_finished(state);
        if finished || sink.room() == 0 { Ok(0) } else { Err(Errno::EAGAIN) }
    }

    pub(super) fn tcp_shutdown(&mut self, id: Id, how: Shutdown) -> Result<(), Errno> {
        let entry = self.core.tcp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        match &mut entry.role {
            Role::Idle => Err(Errno::ENOTCONN),
            Role::Listener(_) if how.reads() => {
                self.tcp_stop_listening(id);
                Ok(())
            }
            Role::Listener(_) => Ok(()),
            Role::Connection(connection) => {
                if !connection.linked {
                    return Err(Errno::ENOTCONN);
                }
                connection.receive_shutdown |= how.reads();
                let ends = how.writes() && !connection.send_shutdown;
                if ends {
                    connection.send_shutdown = true;
                    connection.socket_mut().close();
                }
                entry.notify(PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP);
                if ends {
                    self.tcp_output(id);
                }
                Ok(())
            }
        }
    }

    /// Resets the connections that nobody accepted; the socket is idle again.
    fn tcp_stop_listening(&mut self, id: Id) {
        let Some(entry) = self.core.tcp.entries.get_mut(id) else { return };
        entry.role = Role::Idle;
        let children: vec::Vec<Id> = {
            let entries = self.core.tcp.entries.iter();
            let of_this = entries.filter(|(_, entry)| {
                entry.connection().is_some_and(|connection| connection.parent == Some(id))
            });
            of_this.map(|row| row.0).collect()
        };
        for child in children {
            if let Some(entry) = self.core.tcp.entries.get_mut(child)
                && let Some(connection) = entry.connection_mut()
            {
                let half_open = !connection.established;
                connection.parent = None;
                connection.socket_mut().abort();
                self.core.tcp.orphans += 1;
                if half_open || !self.is_linked(child) {
                    self.core.tcp.forget(child, self.core.now);
                } else {
                    self.tcp_output(child);
                }
            }
        }
        let tcp = &mut self.core.tcp;
        if let Some(entry) = tcp.entries.get_mut(id) {
            if let (true, Some(local)) = (entry.bound, entry.local) {
                tcp.ports.unbind(local.port(), id);
            }
            entry.bound = false;
            entry.local = None;
            entry.notify(PollEvents::HUP | PollEvents::READABLE | PollEvents::WRITABLE);
        }
    }

    /// Resets a connection, or stops listening: the socket is as new.
    pub(super) fn tcp_disconnect(&mut self, id: Id) {
        let now = self.core.now;
        let Some(entry) = self.core.tcp.entries.get_mut(id) else { return };
        match &mut entry.role {
            Role::Idle => {}
            Role::Listener(_) => self.tcp_stop_listening(id),
            Role::Connection(connection) => {
                connection.socket_mut().abort();
                self.tcp_output(id);
                self.core.tcp.unlink(id, None, now);
                let tcp = &mut self.core.tcp;
                let Some(entry) = tcp.entries.get_mut(id) else { return };
                entry.was_connected = false;
                entry.error = None;
                entry.reset_multipath();
                if let Role::Connection(connection) =
                    core::mem::replace(&mut entry.role, Role::Idle)
                {
                    tcp.rings.give(connection.ring);
                }
            }
        }
    }

    fn is_linked(&self, id: Id) -> bool {
        let entry = self.core.tcp.entries.get(id);
        entry.and_then(|entry| entry.connection()).is_some_and(|connection| connection.linked)
    }

    pub(super) fn tcp_close(&mut self, id: Id) {
        let now = self.core.now;
        let orphans = self.core.tcp.orphans;
        let Some(entry) = self.core.tcp.entries.get_mut(id) else { return };
        entry.open = false;
        let linger = entry.options.linger;
        match &mut entry.role {
            Role::Idle => self.core.tcp.forget(id, now),
            Role::Listener(_) => {
                self.tcp_stop_listening(id);
                self.core.tcp.forget(id, now);
            }
            Role::Connection(connection) => {
                self.core.tcp.orphans += 1;
                if !connection.linked || connection.socket().state() == State::SynSent {
                    return self.core.tcp.forget(id, now);
                }
                let unread = connection.readable() > 0;
                let reset = unread || linger == Some(Duration::ZERO) || orphans >= ORPHANS_MAX;
                if reset {
                    self.core.tcp.counters.resets_sent += 1;
                    connection.socket_mut().abort();
                } else {
                    connection.socket_mut().close();
                }
                let before = connection.snapshot();
                self.tcp_output(id);
                // Nothing may have had to be sent: a FIN sent before was acknowledged.
                self.core.tcp_settle(id, before, Cause::Departure);
            }
        }
    }
}

fn move_received(connection: &mut Connection, sink: &mut dyn Sink, peek: bool) -> usize {
    let socket = connection.socket_mut();
    if peek {
        let wanted = sink.room().min(socket.recv_queue());
        let first = socket.peek(wanted).unwrap_or_default();
        if first.len() == wanted {
            return sink.put_present(first);
        }
        // Around the end of the ring.
        let mut bytes = vec![0; wanted];
        let count = socket.peek_slice(&mut bytes).unwrap_or(0);
        return sink.put_present(bytes.get(..count).unwrap_or_default());
    }
    let mut total = 0;
    // Twice: the buffer is a ring.
    for _ in 0..2 {
        if sink.room() == 0 || !socket.can_recv() {
            break;
        }
        let moved = socket.recv(|ready| {
            let wanted = ready.len().min(sink.room());
            let count = sink.put_present(ready.get(..wanted).unwrap_or_default());
            (count, (count, count < wanted))
        });
        let Ok((count, stopped)) = moved else { break };
        total += count;
        if stopped || count == 0 {
            break;
        }
    }
    total
}
