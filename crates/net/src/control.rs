//! The control side of an Ethernet link: ARP and neighbour-discovery answers, DHCP, SLAAC, group
//! membership. A smoltcp interface of its own does it; data packets never come here.

use crate::neighbor::Mac;
use crate::route::{Assigned, LinkId, Route};
use alloc::vec;
use alloc::vec::Vec;
use base::Instant;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

/// Where an interface's IPv4 address comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ipv4Config {
    /// From a DHCP server.
    Dhcp,
    /// Given.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Length of the network's prefix in bits.
        prefix: u8,
        /// Router for everything else.
        gateway: Option<Ipv4Addr>,
        /// Name servers.
        dns: Vec<IpAddr>,
    },
    /// No IPv4.
    Off,
}

/// Where an interface's IPv6 addresses come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ipv6Config {
    /// Link-local, and what routers advertise.
    Slaac,
    /// Link-local and this one.
    Static {
        /// The address.
        address: Ipv6Addr,
        /// Length of the network's prefix in bits.
        prefix: u8,
        /// Router for everything else.
        gateway: Option<Ipv6Addr>,
    },
    /// No IPv6.
    Off,
}

/// How an interface gets its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceConfig {
    /// IPv4.
    pub ipv4: Ipv4Config,
    /// IPv6.
    pub ipv6: Ipv6Config,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self { ipv4: Ipv4Config::Dhcp, ipv6: Ipv6Config::Slaac }
    }
}

/// The device of the control interface: one frame in, any number of frames out.
struct ControlPort<'a> {
    received: Option<&'a [u8]>,
    sent: &'a mut Vec<Vec<u8>>,
    mtu: usize,
}

struct Received<'a>(&'a [u8]);
struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for ControlPort<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sent<'a>
    where
        Self: 'a;

    fn receive(
        &mut self,
        _now: smoltcp::time::Instant,
    ) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self.received.take()?;
        Some((Received(frame), Sent(self.sent)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Self::TxToken<'_>> {
        Some(Sent(self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + crate::wire::ETHERNET_BYTES;
        capabilities
    }
}

/// smoltcp's form of an instant.
pub(crate) fn to_smoltcp(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros_const((now.nanoseconds() / 1000).cast_signed())
}

/// Our form of smoltcp's instant; rounds up, so that a timer is due when it is fired.
pub(crate) fn from_smoltcp(at: smoltcp::time::Instant) -> Instant {
    let microseconds = u64::try_from(at.total_micros()).unwrap_or(0);
    Instant::from_nanoseconds(microseconds.saturating_mul(1000))
}

/// Frames sent by one poll at most.
const FRAMES_MAX: usize = 32;
/// A server that did not answer by then is worth a warning.
const DHCP_PATIENCE: Duration = Duration::from_secs(5);

/// The control side of one link.
pub(crate) struct Control {
    link: LinkId,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    /// Frames to send, complete with Ethernet headers.
    pub(crate) outgoing: Vec<Vec<u8>>,
    mtu: usize,
    /// Name servers that this link told of.
    pub(crate) dns: Vec<IpAddr>,
    warn_at: Option<Instant>,
    next: Option<Instant>,
    /// The IPv4 side is settled: static, off, or a lease was got.
    pub(crate) configured: bool,
    known: (Vec<IpCidr>, Option<IpAddr>, Option<IpAddr>),
}

impl Control {
    pub(crate) fn new(
        link: LinkId,
        mac: Mac,
        mtu: usize,
        config: &InterfaceConfig,
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut outgoing = Vec::new();
        let mac = EthernetAddress(mac);
        let mut settings = Config::new(HardwareAddress::Ethernet(mac));
        settings.random_seed = seed;
        settings.slaac = config.ipv6 == Ipv6Config::Slaac;
        let mut port = ControlPort { received: None, sent: &mut outgoing, mtu };
        let interface = Interface::new(settings, &mut port, to_smoltcp(now));
        let mut control = Self {
            link,
            interface,
            sockets: SocketSet::new(Vec::new()),
            dhcp: None,
            outgoing,
            mtu,
            dns: Vec::new(),
            warn_at: None,
            next: Some(now),
            configured: config.ipv4 != Ipv4Config::Dhcp,
            known: (Vec::new(), None, None),
        };
        control.configure(mac, config, now);
        control
    }

    fn configure(&mut self, mac: EthernetAddress, config: &InterfaceConfig, now: Instant) {
        match &config.ipv4 {
            Ipv4Config::Dhcp => {
                let mut socket = dhcpv4::Socket::new();
                let mut retry = dhcpv4::RetryConfig::default();
                retry.discover_timeout = smoltcp::time::Duration::from_secs(2);
                retry.initial_request_timeout = smoltcp::time::Duration::from_secs(1);
                socket.set_retry_config(retry);
                self.dhcp = Some(self.sockets.add(socket));
                self.warn_at = Some(now + DHCP_PATIENCE);
            }
            Ipv4Config::Static { address, prefix, gateway, dns } => {
                self.add_address(IpAddr::V4(*address), *prefix);
                if let Some(gateway) = gateway {
                    let _ = self.interface.routes_mut().add_default_ipv4_route(*gateway);
                }
                self.dns.clone_from(dns);
            }
            Ipv4Config::Off => {}
        }
        if config.ipv6 != Ipv6Config::Off {
            self.add_address(IpAddr::V6(link_local(mac.0)), 64);
        }
        if let Ipv6Config::Static { address, prefix, gateway } = &config.ipv6 {
            self.add_address(IpAddr::V6(*address), *prefix);
            if let Some(gateway) = gateway {
                let _ = self.interface.routes_mut().add_default_ipv6_route(*gateway);
            }
        }
    }

    fn add_address(&mut self, address: IpAddr, prefix: u8) {
        if !crate::wire::is_unicast(address) {
            return;
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let cidr = IpCidr::new(address.into(), prefix.min(longest));
        self.interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(cidr);
        });
    }

    /// Takes in a control frame.
    pub(crate) fn input(&mut self, frame: &[u8], now: Instant) {
        let mut port =
            ControlPort { received: Some(frame), sent: &mut self.outgoing, mtu: self.mtu };
        let now_there = to_smoltcp(now);
        self.interface.poll_ingress_single(now_there, &mut port, &mut self.sockets);
        self.next = Some(now);
    }

    /// Does what is due. True when addresses, routes or name servers changed.
    pub(crate) fn poll(&mut self, now: Instant, warn: &mut dyn FnMut(&str)) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let there = to_smoltcp(now);
        self.interface.poll_maintenance(there);
        let mut changed = self.take_lease();
        for _ in 0..FRAMES_MAX {
            let before = self.outgoing.len();
            let mut port = ControlPort { received: None, sent: &mut self.outgoing, mtu: self.mtu };
            self.interface.poll_egress(there, &mut port, &mut self.sockets);
            if self.outgoing.len() == before {
                break;
            }
        }
        if self.warn_at.is_some_and(|at| at <= now) {
            self.warn_at = None;
            warn("network: no DHCP server answers; going on without an IPv4 address");
        }
        let next = self.interface.poll_at(there, &self.sockets).map(from_smoltcp);
        // What could be done now was done: whatever is due at once waits for something else.
        let next = next.map(|at| at.max(now + Duration::from_millis(20)));
        self.next = [next, self.warn_at].into_iter().flatten().min();
        let known = (
            self.interface.ip_addrs().to_vec(),
            self.interface.routes().get_default_ipv4_route().map(|route| route.via_router.into()),
            self.interface.routes().get_default_ipv6_route().map(|route| route.via_router.into()),
        );
        if known != self.known {
            self.known = known;
            changed = true;
        }
        changed
    }

    fn take_lease(&mut self) -> bool {
        let Some(handle) = self.dhcp else { return false };
        let Some(event) = self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() else {
            return false;
        };
        let (lease, dns) = match event {
            dhcpv4::Event::Deconfigured => (None, Vec::new()),
            dhcpv4::Event::Configured(config) => (
                Some((config.address, config.router)),
                config.dns_servers.iter().map(|server| IpAddr::V4(*server)).collect(),
            ),
        };
        self.interface.update_ip_addrs(|addresses| {
            addresses.retain(|address| !matches!(address, IpCidr::Ipv4(_)));
        });
        self.interface.routes_mut().remove_default_ipv4_route();
        if let Some((address, router)) = lease {
            self.add_address(IpAddr::V4(address.address()), address.prefix_len());
            if let Some(router) = router {
                let _ = self.interface.routes_mut().add_default_ipv4_route(router);
            }
            self.configured = true;
            self.warn_at = None;
        }
        self.dns = dns;
        true
    }

    /// True when DHCP is on: datagrams to port 68 are for us.
    pub(crate) fn wants_dhcp(&self) -> bool {
        self.dhcp.is_some()
    }

    /// When [`Control::poll`] is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The addresses of the link.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Assigned> + '_ {
        self.interface.ip_addrs().iter().map(|cidr| Assigned {
            link: self.link,
            address: cidr.address().into(),
            prefix: cidr.prefix_len(),
        })
    }

    /// The routes over the link.
    pub(crate) fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        let (_, v4, v6) = &self.known;
        [*v4, *v6].into_iter().flatten().map(|gateway| Route {
            link: self.link,
            network: crate::route::unspecified_like(gateway),
            prefix: 0,
            gateway,
        })
    }

    /// Joins or leaves a multicast group. False when there are too many.
    pub(crate) fn group(&mut self, group: IpAddr, join: bool, now: Instant) -> bool {
        self.next = Some(now);
        let address: smoltcp::wire::IpAddress = group.into();
        if join {
            self.interface.join_multicast_group(address).is_ok()
        } else {
            self.interface.leave_multicast_group(address).is_ok()
        }
    }
}

/// The link-local address that follows from a hardware address (RFC 4291, appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
