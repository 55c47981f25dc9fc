//! The network's part of the loop.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Instant;
use base::link::NetDevice;
use bundle::config::Config;
use hal::irq::Irq;
use syscalls::machine::Machine;
use vfs::Vfs;

/// A network device as the machine found it.
pub struct Link {
    /// Moves the frames.
    pub device: Box<dyn NetDevice>,
    /// What it raises; `None`: it must be polled.
    pub irq: Option<Irq>,
}
pub(crate) struct Network {}
impl Network {
    pub(crate) fn new(_m: &Arc<Machine>, _c: &Config, _l: Vec<Link>, _v: Arc<Vfs>) -> Self { Self {} }
    pub(crate) fn poll_if_due(&self, _now: Instant, _pending: u64) {}
    pub(crate) fn enable_interrupts(&self) -> bool { false }
    pub(crate) fn next_deadline(&self) -> Option<Instant> { None }
    pub(crate) fn online(&self, _m: &Arc<Machine>) -> impl Future<Output = ()> + Send + 'static { async {} }
}
