//! Socket options of TCP, and how much memory a connection's buffers get.

use super::shortcut::Inbox;
use crate::address::Foreign;
use crate::ports::Sharing;
use crate::route::LinkId;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;

/// What setsockopt(2) set. A listener's options pass to the connections that it accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// `TCP_NODELAY`: small segments go out at once.
    pub no_delay: bool,
    /// `TCP_CORK`: small segments wait while anything is on its way.
    pub cork: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `TCP_KEEPIDLE`: silence before the first probe.
    pub keep_idle: Duration,
    /// `TCP_KEEPINTVL`: between probes.
    pub keep_interval: Duration,
    /// `TCP_KEEPCNT`: unanswered probes until the connection is given up.
    pub keep_count: u32,
    /// `TCP_SYNCNT`: how often connect(2) tries again.
    pub syn_retries: u32,
    /// `SO_BINDTODEVICE`: the only interface that it uses.
    pub device: Option<LinkId>,
    /// `SO_LINGER`; zero resets on close.
    pub linger: Option<Duration>,
    /// `TCP_USER_TIMEOUT`: how long data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
    /// `TCP_QUICKACK`: no delayed acknowledgements.
    pub quick_ack: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `SO_RCVBUF` in bytes, once set.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes, once set.
    pub send_buffer: Option<usize>,
    /// `IP_TTL` or `IPV6_UNICAST_HOPS`.
    pub hop_limit: u8,
    /// `SO_OOBINLINE`: urgent bytes are read with all others.
    pub urgent_inline: bool,
    /// `IP_FREEBIND`, `IP_TRANSPARENT`.
    pub foreign: Foreign,
    /// `IP_MINTTL`: from how many hops on packets of IPv4 are taken.
    pub ttl_min: u8,
    /// `IPV6_MINHOPCOUNT`: the same of IPv6.
    pub hop_limit_min: u8,
}

impl TcpOptions {
    /// With whom a socket of these options shares its port.
    pub(crate) fn sharing(&self) -> Sharing {
        let Self { reuse_address, reuse_port, device, .. } = *self;
        Sharing { reuse_address, reuse_port, device }
    }

    /// True when a packet to `to` may have so few hops left.
    #[inline]
    pub(crate) fn takes(&self, to: IpAddr, hops: u8) -> bool {
        hops >= if to.is_ipv4() { self.ttl_min } else { self.hop_limit_min }
    }
}

impl Default for TcpOptions {
    /// Linux's defaults.
    fn default() -> Self {
        Self {
            no_delay: false,
            cork: false,
            keep_alive: false,
            keep_idle: Duration::from_secs(7200),
            keep_interval: Duration::from_secs(75),
            keep_count: 9,
            syn_retries: 6,
            device: None,
            linger: None,
            user_timeout: None,
            quick_ack: false,
            reuse_address: false,
            reuse_port: false,
            v6_only: false,
            receive_buffer: None,
            send_buffer: None,
            hop_limit: 64,
            urgent_inline: false,
            foreign: Foreign::default(),
            ttl_min: 0,
            hop_limit_min: 0,
        }
    }
}

/// Smallest buffer.
const RING_MIN: usize = 4 * 1024;
/// Largest buffer that is given unasked.
const RING_MAX: usize = 128 * 1024;
/// Largest buffer at all.
const RING_LIMIT: usize = 4 * 1024 * 1024;
/// Bytes that one end may have waiting for the other on the short way, where nobody asked for buffers of a size:
/// what those of Linux grow to (`tcp_wmem`).
const INBOX_MAX: usize = 4 * 1024 * 1024;
/// The first buffer gets this part of the memory. Later ones get less by the square of what is
/// left, so that a few connections are fast and thousands fit.
const SHARE: u128 = 256;
/// Closed connections kept with their buffers for the next ones.
const POOL_MAX: usize = 32;

/// Sizes of a connection's buffers in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingSizes {
    pub(crate) receive: usize,
    pub(crate) send: usize,
}

impl RingSizes {
    fn total(self) -> usize {
        self.receive + self.send
    }
}

/// A socket of the engine in a set of its own.
pub(crate) struct Ring {
    pub(crate) set: SocketSet<'static>,
    pub(crate) handle: SocketHandle,
    pub(crate) sizes: RingSizes,
    /// What came around the engine.
    pub(crate) inbox: Inbox,
}

/// The memory for connection buffers.
pub(crate) struct Rings {
    limit: usize,
    used: usize,
    pool: Vec<Ring>,
}

impl Rings {
    /// At most about `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, pool: Vec::new() }
    }

    /// True when another connection may be made. The smallest buffers are still given when the
    /// memory is used up, to half as much again.
    pub(crate) fn has_room(&self) -> bool {
        self.used < self.limit.saturating_add(self.limit / 2)
    }

    /// Bytes that an inbox may hold unasked, as far as there is plenty of memory.
    pub(crate) fn inbox_limit(&self) -> usize {
        self.plenty().min(INBOX_MAX)
    }

    /// As much as one may have of what is left.
    fn plenty(&self) -> usize {
        self.limit.saturating_sub(self.used) / 16
    }

    fn sizes(&self, options: &TcpOptions) -> RingSizes {
        let left = self.limit.saturating_sub(self.used) as u128;
        let share = left * left / (self.limit.max(1) as u128 * SHARE);
        let share = usize::try_from(share).unwrap_or(RING_MAX);
        let share = if share < RING_MIN { RING_MIN } else { 1 << share.ilog2() };
        let unasked = share.clamp(RING_MIN, RING_MAX);
        let size = |asked: Option<usize>| {
            // What is asked for is granted only as far as there is plenty.
            let most = self.plenty().clamp(RING_MIN, RING_LIMIT);
            asked.map_or(unasked, |asked| asked.clamp(RING_MIN, most).next_power_of_two())
        };
        RingSizes { receive: size(options.receive_buffer), send: size(options.send_buffer) }
    }

    /// A closed engine socket with its buffers.
    pub(crate) fn take(&mut self, options: &TcpOptions) -> Ring {
        let sizes = self.sizes(options);
        self.used += sizes.total();
        if let Some(at) = self.pool.iter().position(|ring| ring.sizes == sizes) {
            return self.pool.swap_remove(at);
        }
        let buffer = |bytes: usize| tcp::SocketBuffer::new(vec![0; bytes]);
        let socket = tcp::Socket::new(buffer(sizes.receive), buffer(sizes.send));
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Ring { set, handle, sizes, inbox: Inbox::default() }
    }

    /// Gives one back.
    pub(crate) fn give(&mut self, mut ring: Ring) {
        let inbox = core::mem::take(&mut ring.inbox);
        self.used = self.used.saturating_sub(ring.sizes.total() + inbox.held());
        let socket = ring.set.get_mut::<tcp::Socket<'_>>(ring.handle);
        socket.abort();
        // As much is kept as is in use, so that what a busy time left goes with it.
        let most = self.used.max(2 * ring.sizes.total()).min(self.limit / 8);
        if ring.sizes.total() <= most {
            self.pool.push(ring);
        }
        let mut pooled: usize = self.pool.iter().map(|ring| ring.sizes.total()).sum();
        while self.pool.len() > POOL_MAX || pooled > most {
            // The oldest first.
            pooled -= self.pool.remove(0).sizes.total();
        }
    }

    /// What an inbox holds went from `before` to `after` bytes.
    pub(crate) fn changed(&mut self, before: usize, after: usize) {
        self.used = (self.used + after).saturating_sub(before);
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_a_busy_time_go_with_it() {
        let options = TcpOptions::default();
        let mut rings = Rings::new(64 << 20);
        let mut busy: Vec<Ring> = (0..20).map(|_| rings.take(&options)).collect();
        for ring in busy.drain(10..) {
            rings.give(ring);
        }
        assert!(rings.pool.len() >= 9, "a new connection finds buffers: {}", rings.pool.len());
        for ring in busy.drain(..) {
            rings.give(ring);
        }
        assert_eq!(rings.used(), 0);
        assert!(rings.pool.len() <= 2, "{} are kept", rings.pool.len());
    }
}
