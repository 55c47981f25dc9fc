//! The network's part of the loop.

use crate::root;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::link::NetDevice;
use base::sync::{Rank, SpinLock};
use base::{Errno, Instant};
use bundle::config::{Config, Network as Source};
use core::future::Future;
use core::net::IpAddr;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;
use core::time::Duration;
use hal::clock;
use hal::irq::Irq;
use net::{InterfaceConfig, Ipv4Config, Ipv6Config, Stack};
use sched::{Observer, PollEvents, Registration};
use syscalls::machine::Machine;
use vfs::Vfs;

/// How long the program's start waits for an address.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// A network device as the machine found it.
pub struct Link {
    /// Moves the frames.
    pub device: Box<dyn NetDevice>,
    /// What it raises; `None`: it must be polled.
    pub irq: Option<Irq>,
}

/// Set when the stack wants to be polled sooner than it said.
#[derive(Default)]
struct Attention(AtomicBool);

impl Observer for Attention {
    fn notify(&self, _events: PollEvents) -> bool {
        self.0.store(true, Ordering::Relaxed);
        false
    }
}

/// The stack, and when to look at it.
pub(crate) struct Network {
    pub(crate) stack: Arc<Stack>,
    vfs: Arc<Vfs>,
    interrupts: u64,
    /// A device without interrupts is looked at this often.
    polled: bool,
    deadline: SpinLock<Option<Instant>>,
    /// Held by the CPU that polls, until the new deadline is known.
    turn: SpinLock<()>,
    attention: Arc<Attention>,
    _registration: Registration,
    /// The state of [`Stack::generation`] that /etc/resolv.conf tells.
    resolver_generation: SpinLock<u64>,
    /// Name servers that the settings name; those of DHCP when empty.
    dns: Vec<IpAddr>,
}

/// How often a device that cannot interrupt is polled.
const POLL_PERIOD: Duration = Duration::from_millis(1);

impl Network {
    pub(crate) fn new(
        machine: &Arc<Machine>,
        config: &Config,
        links: Vec<Link>,
        vfs: Arc<Vfs>,
    ) -> Self {
        let warn = &|line: &str| hal::console::control(&format!("warn {line}"));
        let stack = Stack::new(machine.stack_config(warn));
        machine.set_network(&stack);
        let interface = interface(config);
        let (mut interrupts, mut polled) = (0, false);
        let wanted = if config.network == Source::Off { Vec::new() } else { links };
        for link in wanted {
            match link.irq {
                Some(irq) => interrupts |= 1 << irq.0,
                None => polled = true,
            }
            stack.attach(link.device, &interface);
        }
        let attention = Arc::new(Attention::default());
        let registration = stack.attention().attach(sched::weak(&attention));
        Self {
            stack,
            vfs,
            interrupts,
            polled,
            deadline: SpinLock::new(Some(Instant::ZERO)),
            turn: SpinLock::ranked(Rank::NetworkTurn, ()),
            attention,
            _registration: registration,
            resolver_generation: SpinLock::new(u64::MAX),
            dns: config.dns.clone(),
        }
    }

    /// Lets the stack work if a device called, or something is due.
    pub(crate) fn poll_if_due(&self, now: Instant, pending: u64) {
        let due = self.deadline.lock().is_some_and(|deadline| deadline <= now);
        let called = pending & self.interrupts != 0;
        if due || called || self.attention.0.swap(false, Ordering::Relaxed) {
            let _turn = self.turn.lock();
            let mut next = self.stack.poll(now);
            if self.polled {
                next = Some(next.unwrap_or(Instant::FAR).min(now + POLL_PERIOD));
            }
            *self.deadline.lock() = next;
            self.follow_configuration();
            // The next frame interrupts the program; those that came meanwhile are polled in the
            // next step.
            self.enable_interrupts();
        }
    }

    /// Asks the devices for interrupts. True when there is work already.
    pub(crate) fn enable_interrupts(&self) -> bool {
        if self.interrupts != 0 && self.stack.enable_interrupts() {
            self.attention.0.store(true, Ordering::Relaxed);
        }
        self.wants_attention()
    }

    /// True when the stack wants to be polled now.
    pub(crate) fn wants_attention(&self) -> bool {
        self.attention.0.load(Ordering::Relaxed)
    }

    /// When the stack wants to be looked at next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        *self.deadline.lock()
    }

    /// Writes /etc/resolv.conf when the name servers may have changed, and tells `egg` of the
    /// address.
    fn follow_configuration(&self) {
        let generation = self.stack.generation();
        if core::mem::replace(&mut *self.resolver_generation.lock(), generation) == generation {
            return;
        }
        let servers = if self.dns.is_empty() { self.stack.dns_servers() } else { self.dns.clone() };
        if write_resolver(&self.vfs, &servers).is_err() {
            hal::console::control("warn /etc/resolv.conf cannot be written: no memory");
        }
        for assigned in self.stack.addresses() {
            if assigned.address.is_ipv4() {
                hal::console::control(&format!("net {}", assigned.address));
            }
        }
    }

    /// Completes when no interface waits for its address any more, or after a while.
    pub(crate) fn online(
        &self,
        machine: &Arc<Machine>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (stack, machine) = (Arc::clone(&self.stack), Arc::clone(machine));
        async move {
            let deadline = clock::now() + ADDRESS_PATIENCE;
            loop {
                let changed = stack.configuration().wait();
                if stack.is_configured() {
                    return;
                }
                let (mut changed, mut sleep) =
                    (pin!(changed), pin!(machine.timers.sleep_until(deadline)));
                let timed_out = core::future::poll_fn(|context| {
                    if changed.as_mut().poll(context).is_ready() {
                        return Poll::Ready(false);
                    }
                    sleep.as_mut().poll(context).map(|()| true)
                });
                if timed_out.await {
                    hal::console::control(
                        "warn no answer from a DHCP server yet: the program starts without an \
                         address",
                    );
                    return;
                }
            }
        }
    }
}

fn write_resolver(vfs: &Vfs, servers: &[IpAddr]) -> Result<(), Errno> {
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    root::write_file(vfs, "/etc/resolv.conf", &text)
}

/// What the settings say about every interface.
fn interface(config: &Config) -> InterfaceConfig {
    let automatic = InterfaceConfig::default();
    if config.network != Source::Static {
        return automatic;
    }
    let Some(subnet) = config.address else { return automatic };
    match (subnet.address, config.gateway) {
        (IpAddr::V4(address), gateway) => InterfaceConfig {
            ipv4: Ipv4Config::Static {
                address,
                prefix: subnet.prefix,
                gateway: match gateway {
                    Some(IpAddr::V4(gateway)) => Some(gateway),
                    _ => None,
                },
                dns: config.dns.clone(),
            },
            ipv6: Ipv6Config::Slaac,
        },
        (IpAddr::V6(address), gateway) => InterfaceConfig {
            ipv4: Ipv4Config::Off,
            ipv6: Ipv6Config::Static {
                address,
                prefix: subnet.prefix,
                gateway: match gateway {
                    Some(IpAddr::V6(gateway)) => Some(gateway),
                    _ => None,
                },
            },
        },
    }
}
