//! TCP: the table of connections, and what happens when segments come and go.
//!
//! The protocol itself is smoltcp's; each connection has a socket set of its own, so that a
//! segment costs the same with one connection as with ten thousand. Finding the connection,
//! listening, timers that smoltcp lacks, and TIME-WAIT are here.

mod connection;
mod details;
mod input;
mod multipath;
mod operations;
mod options;
mod output;
pub(crate) mod segment;
mod shortcut;
mod socket;
mod status;
mod timewait;
mod urgent;

pub use details::TcpDetails;
pub use multipath::MultipathInfo;
pub use options::TcpOptions;
pub use socket::{SOMAXCONN, Shutdown, TcpSocket};
pub use status::{TcpInfo, TcpState};

use crate::hash::{KeyedMap, KeyedState, give_room_back};
use crate::ports::{Binding, Family, Ports};
use crate::route::LinkId;
use crate::slab::{Id, Slab};
use alloc::boxed::Box;
use alloc::collections::{BinaryHeap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, Instant};
use connection::{ACK_DELAY, Connection};
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use multipath::Multipath;
use options::Rings;
use sched::{Notifier, PollEvents};
use smoltcp::iface::Interface;
use smoltcp::phy::DeviceCapabilities;
use timewait::TimeWait;

/// Both ends of a connection; IPv4 addresses in their IPv4-mapped form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tuple {
    local: u128,
    remote: u128,
    /// Local port in the upper half.
    ports: u32,
}

impl Tuple {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self::of(local.ip(), local.port(), remote.ip(), remote.port())
    }

    pub(crate) fn of(local: IpAddr, local_port: u16, remote: IpAddr, remote_port: u16) -> Self {
        Self {
            local: crate::wire::key(local),
            remote: crate::wire::key(remote),
            ports: u32::from(local_port) << 16 | u32::from(remote_port),
        }
    }

    /// As the other end has it.
    pub(crate) fn reversed(&self) -> Self {
        Self { local: self.remote, remote: self.local, ports: self.ports.rotate_left(16) }
    }

    /// This machine's end.
    pub(crate) fn local(&self) -> SocketAddr {
        let address = IpAddr::V6(Ipv6Addr::from_bits(self.local)).to_canonical();
        SocketAddr::new(address, (self.ports >> 16) as u16)
    }
}

/// A socket that waits for connections.
#[derive(Default)]
pub(crate) struct Listener {
    /// How many may wait.
    pub(crate) backlog: usize,
    /// Connections whose handshake is not complete.
    pub(crate) half_open: usize,
    /// Complete ones, to be accepted.
    pub(crate) ready: VecDeque<Id>,
}

/// What a socket is.
pub(crate) enum Role {
    /// Neither connected nor listening.
    Idle,
    Listener(Listener),
    Connection(Box<Connection>),
}

/// A TCP socket: with a descriptor, or finishing by itself after close.
pub(crate) struct Entry {
    pub(crate) family: Family,
    pub(crate) options: TcpOptions,
    pub(crate) notifier: Arc<Notifier>,
    /// Where it is bound.
    pub(crate) local: Option<SocketAddr>,
    /// It has a claim in the port table.
    pub(crate) bound: bool,
    /// `SO_ERROR`.
    pub(crate) error: Option<Errno>,
    /// A descriptor leads here.
    pub(crate) open: bool,
    /// The inode number of its file; 0: it has none yet.
    number: u64,
    /// It was connected once: reading gives end of file, not `ENOTCONN`.
    pub(crate) was_connected: bool,
    multipath: Multipath,
    pub(crate) role: Role,
}

impl Entry {
    fn new(family: Family, options: TcpOptions) -> Self {
        Self {
            family,
            options,
            notifier: Arc::new(Notifier::new()),
            local: None,
            bound: false,
            error: None,
            open: true,
            number: 0,
            was_connected: false,
            multipath: Multipath::Plain,
            role: Role::Idle,
        }
    }

    fn connection(&self) -> Option<&Connection> {
        if let Role::Connection(connection) = &self.role { Some(connection) } else { None }
    }

    fn connection_mut(&mut self) -> Option<&mut Connection> {
        if let Role::Connection(connection) = &mut self.role { Some(connection) } else { None }
    }

    fn notify(&self, events: PollEvents) {
        self.notifier.notify(events);
    }
}

/// All of TCP.
pub(crate) struct Tcp {
    entries: Slab<Box<Entry>>,
    tuples: KeyedMap<Tuple, Id>,
    time_wait: TimeWait,
    ports: Ports,
    /// The engine's interface for each link, by number.
    engines: Vec<Option<(Interface, DeviceCapabilities)>>,
    /// Connections with something to send.
    dirty: Vec<Id>,
    timers: BinaryHeap<Reverse<(Instant, Id)>>,
    rings: Rings,
    /// Connections without a descriptor.
    orphans: usize,
    counters: TcpCounters,
}

/// What happened, for /proc/net/snmp and netstat.
#[derive(Clone, Copy, Default, Debug)]
pub struct TcpCounters {
    /// Segments received.
    pub received: u64,
    /// Segments sent.
    pub sent: u64,
    /// Connections opened by connect(2).
    pub active_opens: u64,
    /// Connections accepted.
    pub passive_opens: u64,
    /// SYNs that found the queue full.
    pub listen_drops: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Sockets now.
    pub sockets: usize,
    /// Connections in TIME-WAIT now.
    pub time_wait: usize,
    /// Connections without descriptor now.
    pub orphans: usize,
    /// Bytes of buffers in use now.
    pub buffer_bytes: usize,
}

/// Connections without descriptor at most; more are reset on close (Linux: `tcp_max_orphans`).
const ORPHANS_MAX: usize = 8192;

impl Tcp {
    pub(crate) fn new(hash: &KeyedState, memory: usize) -> Self {
        Self {
            entries: Slab::default(),
            tuples: KeyedMap::with_hasher(hash.clone()),
            time_wait: TimeWait::new(hash.clone()),
            ports: Ports::new(hash.clone(), false),
            engines: Vec::new(),
            dirty: Vec::new(),
            timers: BinaryHeap::new(),
            rings: Rings::new(memory),
            orphans: 0,
            counters: TcpCounters::default(),
        }
    }

    /// What happened so far.
    pub(crate) fn counters(&self) -> TcpCounters {
        TcpCounters {
            sockets: self.entries.len(),
            time_wait: self.time_wait.len(),
            orphans: self.orphans,
            buffer_bytes: self.rings.used(),
            ..self.counters
        }
    }

    fn mark_dirty(&mut self, id: Id) {
        if let Some(connection) = self.entries.get_mut(id).and_then(|entry| entry.connection_mut())
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(id);
        }
    }

    /// The socket that listens for connections to `address` and `port`: the one bound to the
    /// address before those bound to all, and to the interface before all; among equals (`SO_REUSEPORT`) by hash.
    fn listener(&self, address: IpAddr, port: u16, link: LinkId, hash: u64) -> Option<Id> {
        let candidates =
            self.ports.bindings(port).iter().filter(|binding| {
                binding.listening && binding.covers(address) && binding.hears(link)
            });
        let rank = candidates.clone().map(Binding::rank).max()?;
        let best = candidates.filter(|binding| binding.rank() == rank);
        let count = best.clone().count();
        let chosen = (hash % count as u64) as usize;
        best.clone().nth(chosen).map(|binding| binding.socket)
    }

    /// True when the packet has come no farther than its socket allows.
    fn takes(&self, id: Id, packet: &crate::wire::Packet<'_>) -> bool {
        let entry = self.entries.get(id);
        entry.is_none_or(|entry| entry.options.takes(packet.to, packet.hop_limit))
    }

    /// Takes a connection out of the table of tuples; `remains` keeps answering for it.
    fn unlink(&mut self, id: Id, remains: Option<timewait::Record>, now: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(connection) = entry.connection_mut() else { return };
        if !connection.linked {
            return;
        }
        connection.linked = false;
        let tuple = connection.tuple;
        let counted = core::mem::take(&mut connection.counted);
        self.tuples.remove(&tuple);
        give_room_back(&mut self.tuples);
        if let Some(mut record) = remains {
            record.counted = true;
            if !counted {
                self.ports.connection_added(tuple.local());
            }
            if let Some(local) = self.time_wait.insert(tuple, record, now) {
                self.ports.connection_removed(local);
            }
        } else if counted {
            self.ports.connection_removed(tuple.local());
        }
    }

    /// Forgets a socket altogether.
    fn forget(&mut self, id: Id, now: Instant) {
        self.unlink(id, None, now);
        let Some(entry) = self.entries.remove(id) else { return };
        if entry.bound
            && let Some(local) = entry.local
        {
            self.ports.unbind(local.port(), id);
        }
        if !entry.open && entry.connection().is_some_and(|connection| connection.parent.is_none()) {
            self.orphans = self.orphans.saturating_sub(1);
        }
        if let Role::Connection(connection) = entry.role {
            self.rings.give(connection.ring);
        }
    }

    /// Puts the connection's next deadline into the timer heap, unless an earlier one is there.
    fn arm(&mut self, id: Id, now: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Entry { options, open, role, .. } = entry.as_mut();
        let Role::Connection(connection) = role else { return };
        let link = connection.hop.link.0 as usize;
        let Some(Some((interface, _))) = self.engines.get_mut(link) else { return };
        connection.idle_until = Instant::ZERO;
        let Some(at) = connection.deadline(interface, options, *open, now) else { return };
        self.arm_by(id, at);
    }

    /// The engine has nothing to do for a connection for [`ACK_DELAY`] from now.
    fn arm_later(&mut self, id: Id, now: Instant) {
        let at = now + ACK_DELAY;
        if let Some(connection) = self.entries.get_mut(id).and_then(|entry| entry.connection_mut())
        {
            connection.idle_until = at;
        }
        self.arm_by(id, at);
    }

    /// True when the engine has nothing to do for a connection yet.
    fn is_quiet(&mut self, id: Id, now: Instant) -> bool {
        let Some(connection) = self.entries.get_mut(id).and_then(|entry| entry.connection_mut())
        else {
            return true;
        };
        let link = connection.hop.link.0 as usize;
        let Some(Some((interface, _))) = self.engines.get_mut(link) else { return true };
        connection.is_quiet(interface, now)
    }

    /// Has the connection's deadlines looked at no later than `at`.
    fn arm_by(&mut self, id: Id, at: Instant) {
        if let Some(connection) = self.entries.get_mut(id).and_then(|entry| entry.connection_mut())
            && connection.armed.is_none_or(|armed| at < armed)
        {
            connection.armed = Some(at);
            self.timers.push(Reverse((at, id)));
        }
    }

    /// True when a connection has something to send.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the list of connections with something to send; give it back empty.
    pub(crate) fn take_dirty(&mut self) -> Vec<Id> {
        core::mem::take(&mut self.dirty)
    }

    /// Gives back the list's memory.
    pub(crate) fn give_dirty(&mut self, list: Vec<Id>) {
        if self.dirty.is_empty() {
            self.dirty = list;
        }
    }

    /// All sockets, for /proc/net/tcp.
    pub(crate) fn list(&self, now: Instant) -> Vec<TcpInfo> {
        self.entries.iter().map(|(_, entry)| entry.info(now)).collect()
    }

    /// When the earliest timer is due.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if !self.dirty.is_empty() {
            return Some(now);
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        match (timer, self.time_wait.next()) {
            (Some(timer), Some(time_wait)) => Some(timer.min(time_wait)),
            (timer, time_wait) => timer.or(time_wait),
        }
    }
}
