//! The network stack of the machine.

use crate::control::{Control, InterfaceConfig};
use crate::engine::{Core, Engine, Link, LinkCounters, Side};
use crate::icmp::IcmpCounters;
use crate::input::IpCounters;
use crate::netlink::NetlinkPorts;
use crate::route::{Assigned, LinkId, Route};
use crate::tcp::{TcpCounters, TcpInfo};
use crate::udp::{UdpCounters, UdpInfo};
use crate::unix::UnixSpace;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Instant;
use base::link::NetDevice;
use base::sync::{Rank, SpinGuard, SpinLock};
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use sched::{Notifier, PollEvents};

/// What a stack needs from its surroundings.
pub struct StackConfig {
    /// Reads the monotonic clock.
    pub clock: Box<dyn Fn() -> Instant + Send + Sync>,
    /// Makes unpredictable numbers: sequence numbers, ports and hash keys depend on it.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Takes warnings for the console.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
    /// Bytes that buffers of TCP connections may take together, about.
    pub socket_memory: usize,
}

/// An interface as programs see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceInfo {
    /// Which.
    pub link: LinkId,
    /// Name: `lo`, `eth0`.
    pub name: String,
    /// Hardware address; zeros for the loopback.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// Addresses.
    pub addresses: Vec<Assigned>,
    /// What went over it.
    pub counters: LinkCounters,
}

impl InterfaceInfo {
    /// Linux's flags (`IFF_*`).
    #[must_use]
    pub fn flags(&self) -> u32 {
        const UP: u32 = 0x1;
        const BROADCAST: u32 = 0x2;
        const LOOPBACK: u32 = 0x8;
        const RUNNING: u32 = 0x40;
        const MULTICAST: u32 = 0x1000;
        const LOWER_UP: u32 = 0x1_0000;
        let up = UP | RUNNING | LOWER_UP;
        if self.link == LinkId::LOOPBACK { up | LOOPBACK } else { up | BROADCAST | MULTICAST }
    }
}

/// What the whole stack counts.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// IP.
    pub ip: IpCounters,
    /// ICMP.
    pub icmp: IcmpCounters,
    /// TCP.
    pub tcp: TcpCounters,
    /// UDP.
    pub udp: UdpCounters,
}

/// The network stack. All sockets belong to one.
pub struct Stack {
    pub(crate) engine: SpinLock<Engine>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    /// When [`Stack::poll`] was last said to be due, in nanoseconds.
    promised: AtomicU64,
    attention: Notifier,
    configuration: Notifier,
    /// Changes with every change of addresses, routes or name servers.
    generation: AtomicU64,
    unix: Arc<UnixSpace>,
    pub(crate) netlink: NetlinkPorts,
}

impl Stack {
    /// A stack with a loopback interface only.
    #[must_use]
    pub fn new(config: StackConfig) -> Arc<Self> {
        let StackConfig { clock, random, log, socket_memory } = config;
        let core = Core::new(clock(), socket_memory, random, log);
        Arc::new(Self {
            engine: SpinLock::ranked(Rank::Network, Engine { core, links: Vec::new() }),
            clock,
            promised: AtomicU64::new(u64::MAX),
            attention: Notifier::new(),
            configuration: Notifier::new(),
            generation: AtomicU64::new(0),
            unix: Arc::default(),
            netlink: NetlinkPorts::default(),
        })
    }

    /// The names of Unix sockets.
    #[must_use]
    pub fn unix(&self) -> &Arc<UnixSpace> {
        &self.unix
    }

    /// The clock's time.
    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Adds a device. Its interface is `eth0`, `eth1` and so on.
    pub fn attach(&self, device: Box<dyn NetDevice>, config: &InterfaceConfig) -> LinkId {
        self.enter(|engine| {
            let id = LinkId(engine.links.len() as u32 + 1);
            let mut capabilities = device.capabilities();
            // Below, no IPv4 host must accept whole packets; above, no driver goes.
            capabilities.mtu = capabilities.mtu.clamp(576, 65_535);
            let mac = device.mac();
            let core = &mut engine.core;
            let control = Control::new(id, mac, capabilities.mtu, config, core.random(), core.now);
            core.mtus.push(capabilities.mtu);
            core.tcp_attach(id, &capabilities);
            let name = format!("eth{}", id.0 - 1);
            let counters = LinkCounters::default();
            let side = Side { id, name, mac, capabilities, control, counters };
            engine.links.push(Link { device, side, touched: false });
            engine.expire();
            id
        })
    }

    /// Does `f` and what follows from it: segments, packets to ourselves.
    pub(crate) fn enter<R>(&self, f: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.lock();
        engine.core.now = self.now();
        let result = f(&mut engine);
        self.leave(engine);
        result
    }

    /// Does `f`, of which seldom more follows than a connection that has something to send.
    pub(crate) fn enter_lightly<R>(&self, f: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.lock();
        let result = f(&mut engine);
        if engine.core.tcp.is_dirty() {
            engine.core.now = self.now();
            self.leave(engine);
        }
        result
    }

    /// Does what follows from what was done, and gives up the lock.
    fn leave(&self, mut engine: SpinGuard<'_, Engine>) {
        engine.work();
        engine.flush();
        let next = engine.next().map_or(u64::MAX, Instant::nanoseconds);
        drop(engine);
        if next < self.promised.load(Ordering::Relaxed) {
            self.promised.store(next, Ordering::Relaxed);
            self.attention.notify(PollEvents::IN);
        }
    }

    /// Takes in all frames that arrived, runs the timers, sends. Returns when it wants to be
    /// called again at the latest; a later call that moves this forward notifies
    /// [`Stack::attention`].
    pub fn poll(&self, now: Instant) -> Option<Instant> {
        let mut engine = self.engine.lock();
        engine.core.now = now;
        engine.receive();
        let changed = engine.expire();
        engine.work();
        engine.flush();
        let next = engine.next();
        self.promised.store(next.map_or(u64::MAX, Instant::nanoseconds), Ordering::Relaxed);
        drop(engine);
        if changed {
            self.generation.fetch_add(1, Ordering::Relaxed);
            self.configuration.notify(PollEvents::IN);
        }
        next
    }

    /// Asks all devices for an interrupt on the next frame. True: frames came in meanwhile; poll
    /// again before sleeping.
    pub fn enable_interrupts(&self) -> bool {
        let mut engine = self.engine.lock();
        let mut any = false;
        for link in &mut engine.links {
            any |= link.device.enable_interrupt();
        }
        any
    }

    /// Notified when [`Stack::poll`] should be called sooner than it last said.
    #[must_use]
    pub fn attention(&self) -> &Notifier {
        &self.attention
    }

    /// Notified when addresses, routes or name servers changed.
    #[must_use]
    pub fn configuration(&self) -> &Notifier {
        &self.configuration
    }

    /// A number that is another one after every such change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// True when no interface waits for a DHCP server.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.engine.lock().links.iter().all(|link| link.side.control.configured)
    }

    /// Name servers, in the order of the interfaces that told of them.
    #[must_use]
    pub fn dns_servers(&self) -> Vec<IpAddr> {
        let engine = self.engine.lock();
        let mut servers = Vec::new();
        for server in engine.links.iter().flat_map(|link| &link.side.control.dns) {
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        servers
    }

    /// Addresses of all interfaces but the loopback.
    #[must_use]
    pub fn addresses(&self) -> Vec<Assigned> {
        self.engine.lock().core.routing.addresses.clone()
    }

    /// Routes through routers.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        self.engine.lock().core.routing.routes.clone()
    }

    /// All interfaces, the loopback first.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceInfo> {
        let engine = self.engine.lock();
        let mut all = alloc::vec![loopback(engine.core.loopback_counters)];
        for link in &engine.links {
            let side = &link.side;
            all.push(InterfaceInfo {
                link: side.id,
                name: side.name.clone(),
                mac: side.mac,
                mtu: side.capabilities.mtu,
                addresses: side.control.addresses().collect(),
                counters: side.counters,
            });
        }
        all
    }

    /// There is this interface.
    #[must_use]
    pub fn has_link(&self, link: LinkId) -> bool {
        (link.0 as usize) <= self.engine.lock().links.len()
    }

    /// Largest packet on the way to `to`, in bytes; 0: there is no way.
    #[must_use]
    pub fn mtu_to(&self, to: IpAddr) -> usize {
        let engine = self.engine.lock();
        let hop = engine.core.routing.lookup(to.to_canonical(), None);
        hop.map_or(0, |hop| match hop.link {
            LinkId::LOOPBACK => LOOPBACK_TOLD,
            link => engine.core.mtu(link),
        })
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let engine = self.engine.lock();
        let core = &engine.core;
        Counters {
            ip: core.ip_counters,
            icmp: core.icmp.counters,
            tcp: core.tcp.counters(),
            udp: core.udp.counters(),
        }
    }

    /// All TCP sockets (/proc/net/tcp).
    #[must_use]
    pub fn tcp_sockets(&self) -> Vec<TcpInfo> {
        let now = self.now();
        self.engine.lock().core.tcp.list(now)
    }

    /// All UDP sockets that have an address (/proc/net/udp).
    #[must_use]
    pub fn udp_sockets(&self) -> Vec<UdpInfo> {
        self.engine.lock().core.udp.list()
    }

    /// Groups that sockets are in, the newest first, and how many of them (/proc/net/igmp).
    #[must_use]
    pub fn groups(&self) -> Vec<(LinkId, IpAddr, usize)> {
        self.engine.lock().core.udp.groups().iter().rev().copied().collect()
    }
}

/// What the loopback says, in bytes: as Linux, and one more than a packet of IPv4 can have.
const LOOPBACK_TOLD: usize = 65_536;

fn loopback(counters: LinkCounters) -> InterfaceInfo {
    use core::net::{Ipv4Addr, Ipv6Addr};
    let address = |address: IpAddr, prefix| Assigned { link: LinkId::LOOPBACK, address, prefix };
    InterfaceInfo {
        link: LinkId::LOOPBACK,
        name: String::from("lo"),
        mac: [0; 6],
        mtu: LOOPBACK_TOLD,
        addresses: alloc::vec![
            address(Ipv4Addr::LOCALHOST.into(), 8),
            address(Ipv6Addr::LOCALHOST.into(), 128),
        ],
        counters,
    }
}
