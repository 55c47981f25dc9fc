//! UDP sockets as the system calls see them. No call sleeps.

use super::output::{PAYLOAD_MAX_V6, Packet, remote_address};
use super::{Entry, Received, SendOptions, UdpFailure, UdpOptions};
use crate::address::{bind_address, scope_of, shown, unspecified};
use crate::engine::Engine;
use crate::filter::Filter;
use crate::ports::{Binding, Family};
use crate::route::{LinkId, unmap};
use crate::slab::Id;
use crate::stack::Stack;
use crate::tcp::Shutdown;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source, take_all};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use sched::{Notifier, PollEvents};

/// A UDP socket. Dropping it closes it.
pub struct UdpSocket {
    stack: Arc<Stack>,
    id: Id,
    family: Family,
    notifier: Arc<Notifier>,
    closed: AtomicBool,
}

impl UdpSocket {
    /// An unbound socket.
    #[must_use]
    pub fn new(stack: &Arc<Stack>, family: Family) -> Arc<Self> {
        let notifier = Arc::new(Notifier::new());
        let entry = Box::new(Entry {
            family,
            options: UdpOptions { multicast_all: family == Family::V4, ..UdpOptions::default() },
            notifier: Arc::clone(&notifier),
            local: None,
            remote: None,
            queue: VecDeque::new(),
            queued: 0,
            error: None,
            failures: VecDeque::new(),
            receive_shutdown: false,
            send_shutdown: false,
            bound: None,
            groups: Vec::new(),
            number: 0,
            dropped: 0,
            filter: None,
            pieces: None,
        });
        let id = stack.engine.lock().core.udp.entries.insert(entry);
        let closed = AtomicBool::new(false);
        Arc::new(Self { stack: Arc::clone(stack), id, family, notifier, closed })
    }

    /// Its address family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Who tells when [`UdpSocket::poll`] changes.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    fn look<R>(&self, f: impl FnOnce(&mut Entry) -> R) -> Result<R, Errno> {
        self.stack.engine.lock().core.udp.get(self.id).map(f)
    }

    /// bind(2).
    ///
    /// # Errors
    /// `EINVAL`: bound already. `EADDRINUSE`. `EADDRNOTAVAIL`: not an address of ours.
    pub fn bind(&self, address: SocketAddr) -> Result<(), Errno> {
        self.stack.enter(|engine| {
            engine.udp_bind(self.id, Some(address))?;
            let entry = engine.core.udp.get(self.id)?;
            entry.bound = entry.local.map(|local| local.ip());
            Ok(())
        })
    }

    /// connect(2): where datagrams go, and from where they are taken. `None`: anywhere again.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EAFNOSUPPORT`, `EACCES` (broadcast).
    pub fn connect(&self, address: Option<SocketAddr>) -> Result<(), Errno> {
        self.stack.enter(|engine| engine.udp_connect(self.id, address))
    }

    /// Sends all of `source` as one datagram to `to`, or to where the socket is connected.
    ///
    /// # Errors
    /// `EDESTADDRREQ`: neither given. `EMSGSIZE`: too long. `ECONNREFUSED`: an earlier one found
    /// nobody. `ENETUNREACH`, `EACCES`, `EINVAL`.
    pub fn send(
        &self,
        source: &mut dyn Source,
        to: Option<SocketAddr>,
        options: &SendOptions,
    ) -> Result<usize, Errno> {
        if source.remaining() > PAYLOAD_MAX_V6 {
            return Err(Errno::EMSGSIZE);
        }
        let head = Packet::head(self.family);
        let packet = Packet { bytes: take_all(source, head)?, head };
        self.stack.enter(|engine| engine.udp_send(self.id, packet, to, options))
    }

    /// `SO_ATTACH_FILTER`, `SO_DETACH_FILTER`: the filter that was attached.
    pub fn set_filter(&self, filter: Option<Box<Filter>>) -> Option<Box<Filter>> {
        self.look(|entry| core::mem::replace(&mut entry.filter, filter)).unwrap_or_default()
    }

    /// `IP_RECVERR`: from now on failures are kept, or not, nor those that are.
    pub fn keep_failures(&self, on: bool) {
        let _ = self.look(|entry| {
            entry.options.receive_errors = on;
            if !on {
                entry.failures.clear();
            }
        });
    }

    /// Takes the first failure that waits (`MSG_ERRQUEUE`), and gives `sink` the datagram's bytes: so
    /// many are stored.
    ///
    /// # Errors
    /// `EAGAIN`: none. `EFAULT`.
    pub fn receive_failure(&self, sink: &mut dyn Sink) -> Result<(usize, UdpFailure), Errno> {
        let failure = self.look(|entry| {
            let failure = entry.failures.pop_front()?;
            // The next one is what the socket fails with now.
            entry.error = entry.failures.front().map(|next| next.errno);
            Some(failure)
        })?;
        let mut failure = failure.ok_or(Errno::EAGAIN)?;
        failure.to = shown(failure.to, self.family);
        let count = failure.bytes.len().min(sink.room());
        let bytes = failure.bytes.get(..count).unwrap_or_default();
        let stored = if bytes.is_empty() { 0 } else { sink.put(bytes)? };
        Ok((stored, failure))
    }

    /// Receives one datagram; what `sink` has no room for is lost, unless `peek`.
    ///
    /// # Errors
    /// `EAGAIN`: none. `ECONNREFUSED`: an earlier one found nobody. `EFAULT`.
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<Option<Received>, Errno> {
        let next = self.look(|entry| {
            if let Some(error) = entry.error.take() {
                return Err(error);
            }
            let Some(datagram) = entry.queue.front() else {
                return if entry.receive_shutdown { Ok(None) } else { Err(Errno::EAGAIN) };
            };
            if peek {
                return Ok(Some(datagram.clone()));
            }
            entry.queued = entry.queued.saturating_sub(datagram.charge());
            Ok(entry.queue.pop_front())
        })??;
        let Some(datagram) = next else { return Ok(None) };
        // The lock is open. What memory does not accept is lost, as on Linux.
        let stored = if datagram.bytes.is_empty() || sink.room() == 0 {
            0
        } else {
            sink.put(&datagram.bytes)?
        };
        let mut from = shown(datagram.from, self.family);
        if let SocketAddr::V6(v6) = &mut from
            && v6.ip().is_unicast_link_local()
        {
            v6.set_scope_id(datagram.link.index());
        }
        Ok(Some(Received {
            stored,
            length: datagram.bytes.len(),
            from,
            to: datagram.to,
            link: datagram.link,
            traffic_class: datagram.traffic_class,
            hop_limit: datagram.hop_limit,
            came: datagram.came,
            dropped: datagram.dropped,
        }))
    }

    /// shutdown(2).
    ///
    /// # Errors
    /// `ENOTCONN`: not connected (the shutdown happens all the same, as on Linux).
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.look(|entry| {
            entry.receive_shutdown |= how.reads();
            entry.send_shutdown |= how.writes();
            entry.notifier.notify(PollEvents::IN | PollEvents::OUT | PollEvents::RDHUP);
            entry.remote.map(|_| ()).ok_or(Errno::ENOTCONN)
        })?
    }

    /// The last descriptor was closed.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.stack.enter(|engine| engine.udp_close(self.id));
        }
    }

    /// getsockname(2).
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        let nowhere = SocketAddr::new(unspecified(self.family), 0);
        let local = self.look(|entry| entry.local).ok().flatten();
        match local {
            // A dual-stack wildcard is shown as `[::]`.
            Some(local) if local.ip().is_unspecified() => {
                SocketAddr::new(unspecified(self.family), local.port())
            }
            Some(local) => shown(local, self.family),
            None => nowhere,
        }
    }

    /// getpeername(2).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn peer_address(&self) -> Result<SocketAddr, Errno> {
        let remote = self.look(|entry| entry.remote)?;
        remote.map(|remote| shown(remote, self.family)).ok_or(Errno::ENOTCONN)
    }

    /// `SO_ERROR`: the error that waits, which is then gone.
    #[must_use]
    pub fn take_error(&self) -> Option<Errno> {
        self.look(|entry| entry.error.take()).ok().flatten()
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> UdpOptions {
        self.look(|entry| entry.options).unwrap_or_default()
    }

    /// Changes options.
    pub fn set_options(&self, change: impl Fn(&mut UdpOptions)) {
        self.change_options(&change);
    }

    /// `UDP_CORK`. Off: what waits is sent, if it can be.
    pub fn cork(&self, on: bool) {
        self.set_options(|options| options.corked = on);
        if !on {
            let _ = self.stack.enter(|engine| engine.udp_send_pieces(self.id));
        }
    }

    /// The inode number of its file, for /proc/net/udp.
    pub fn set_number(&self, number: u64) {
        let _ = self.look(|entry| entry.number = number);
    }

    #[inline(never)]
    fn change_options(&self, change: &dyn Fn(&mut UdpOptions)) {
        let mut engine = self.stack.engine.lock();
        let udp = &mut engine.core.udp;
        let Ok(entry) = udp.get(self.id) else { return };
        change(&mut entry.options);
        let (local, sharing) = (entry.local, entry.options.sharing());
        if let Some(local) = local {
            udp.ports.share(local.port(), self.id, sharing);
        }
    }

    /// Length of the next datagram (`FIONREAD`).
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.look(|entry| entry.queue.front().map_or(0, |datagram| datagram.bytes.len()))
            .unwrap_or(0)
    }

    /// Joins or leaves a multicast group on an interface (`None`: the one that routes to it).
    ///
    /// # Errors
    /// `EINVAL`: not a group. `EADDRINUSE`: joined already. `EADDRNOTAVAIL`: not joined.
    /// `ENODEV`: no such interface. `ENOBUFS`: too many groups.
    pub fn group(&self, group: IpAddr, link: Option<LinkId>, join: bool) -> Result<(), Errno> {
        self.stack.enter(|engine| engine.udp_group(self.id, group, link, join))
    }

    /// What the socket is ready for.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        self.look(|entry| {
            let mut events = PollEvents::WRITABLE;
            if entry.error.is_some() || !entry.failures.is_empty() {
                events |= PollEvents::ERR;
            }
            if !entry.queue.is_empty() || entry.receive_shutdown {
                events |= PollEvents::READABLE;
            }
            if entry.receive_shutdown {
                events |= PollEvents::RDHUP;
            }
            if entry.receive_shutdown && entry.send_shutdown {
                events |= PollEvents::HUP;
            }
            events
        })
        .unwrap_or(PollEvents::HUP)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.close();
    }
}

impl Engine {
    /// Binds to `address`, or to any port.
    pub(super) fn udp_bind(&mut self, id: Id, address: Option<SocketAddr>) -> Result<(), Errno> {
        let random = self.core.random();
        let routing = &self.core.routing;
        let udp = &mut self.core.udp;
        let entry = udp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        if entry.local.is_some() {
            return Err(Errno::EINVAL);
        }
        let address = address.unwrap_or(SocketAddr::new(unspecified(entry.family), 0));
        let ip = bind_address(entry.family, entry.options.v6_only, address.ip())?;
        let ours = routing.may_bind(ip, entry.options.foreign)
            || ip.is_multicast()
            || routing.is_broadcast(ip);
        if !ours {
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
            0 => udp.ports.bind_any(binding, random)?,
            port => udp.ports.bind(port, binding).map(|()| port)?,
        };
        entry.local = Some(SocketAddr::new(ip, port));
        Ok(())
    }

    fn udp_connect(&mut self, id: Id, address: Option<SocketAddr>) -> Result<(), Errno> {
        let core = &mut self.core;
        let entry = core.udp.entries.get_mut(id).ok_or(Errno::EBADF)?;
        let Some(address) = address else {
            entry.remote = None;
            match (&mut entry.local, entry.bound) {
                (Some(local), Some(bound)) => local.set_ip(bound),
                (Some(local), None) => {
                    core.udp.ports.unbind(local.port(), id);
                    entry.local = None;
                }
                (None, _) => {}
            }
            return Ok(());
        };
        let remote = remote_address(entry, address)?;
        if core.routing.is_broadcast(remote.ip()) && !entry.options.broadcast {
            return Err(Errno::EACCES);
        }
        let device = entry.options.device;
        let hop = core.routing.lookup_by(device, remote.ip(), scope_of(address))?;
        let own = entry.local.map(|local| local.ip()).filter(|ip| core.routing.is_source(*ip));
        if own.is_some_and(|own| !core.routing.may_send(own, entry.options.foreign)) {
            return Err(Errno::ENETUNREACH);
        }
        if entry.local.is_none() {
            self.udp_bind(id, None)?;
        }
        let entry = self.core.udp.get(id)?;
        entry.remote = Some(remote);
        if let Some(local) = &mut entry.local
            && local.ip().is_unspecified()
        {
            // getsockname tells the address that will be used. The claim in the port table stays
            // as wide as it was.
            *local = SocketAddr::new(hop.source, local.port());
        }
        Ok(())
    }

    fn udp_group(
        &mut self,
        id: Id,
        group: IpAddr,
        link: Option<LinkId>,
        join: bool,
    ) -> Result<(), Errno> {
        let group = unmap(group);
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let link = match link {
            Some(link) => link,
            None => self.core.routing.lookup(group, None).map_or(LinkId::LOOPBACK, |hop| hop.link),
        };
        let known = link == LinkId::LOOPBACK || self.links.iter().any(|row| row.side.id == link);
        if !known {
            return Err(Errno::ENODEV);
        }
        let member = (link, group);
        let entry = self.core.udp.get(id)?;
        if join == entry.groups.contains(&member) {
            return Err(if join { Errno::EADDRINUSE } else { Errno::EADDRNOTAVAIL });
        }
        if join {
            self.udp_join(link, group)?;
            self.core.udp.get(id)?.groups.push(member);
        } else {
            entry.groups.retain(|row| *row != member);
            self.udp_leave(link, group);
        }
        Ok(())
    }

    fn udp_join(&mut self, link: LinkId, group: IpAddr) -> Result<(), Errno> {
        let now = self.core.now;
        let groups = &mut self.core.udp.groups;
        if let Some(row) = groups.iter_mut().find(|row| row.0 == link && row.1 == group) {
            row.2 += 1;
            return Ok(());
        }
        if let Some(wire) = self.links.iter_mut().find(|row| row.side.id == link)
            && !wire.side.control.group(group, true, now)
        {
            return Err(Errno::ENOBUFS);
        }
        groups.push((link, group, 1));
        Ok(())
    }

    fn udp_leave(&mut self, link: LinkId, group: IpAddr) {
        let now = self.core.now;
        let groups = &mut self.core.udp.groups;
        let Some(at) = groups.iter().position(|row| row.0 == link && row.1 == group) else {
            return;
        };
        if let Some(row) = groups.get_mut(at) {
            row.2 -= 1;
            if row.2 > 0 {
                return;
            }
        }
        groups.remove(at);
        if let Some(wire) = self.links.iter_mut().find(|row| row.side.id == link) {
            wire.side.control.group(group, false, now);
        }
    }

    fn udp_close(&mut self, id: Id) {
        let Some(entry) = self.core.udp.entries.remove(id) else { return };
        if let Some(local) = entry.local {
            self.core.udp.ports.unbind(local.port(), id);
        }
        for (link, group) in entry.groups {
            self.udp_leave(link, group);
        }
    }
}
