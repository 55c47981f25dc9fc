//! The wire: two queues of frames. One end is the machine's network device, the other one smoltcp's.

use crate::addresses::GUEST_MAC;
use base::link::{LinkCapabilities, NetDevice, ReceiveMeta, TransmitMeta};
use rustix::event::{EventfdFlags, eventfd};
use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Frames that may lie in a queue.
const ROOM: usize = 512;
/// Largest IP packet, and with its Ethernet header.
const MTU: usize = 1500;
pub(crate) const FRAME_BYTES: usize = MTU + 14;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// Whoever takes frames wants to be told of the next one.
    wants_frame: bool,
    /// Whoever puts frames in found no room and wants to be told of it.
    wants_room: bool,
}

/// What both ends share.
struct Wire {
    to_gateway: Mutex<Queue>,
    to_guest: Mutex<Queue>,
    /// Wakes the gateway.
    bell: OwnedFd,
    /// Interrupts the machine.
    interrupt: Box<dyn Fn() + Send + Sync>,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    fn ring(&self) {
        // It cannot fail but by being full, and then it rings.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

/// The machine's end: its network device.
pub struct Port {
    wire: Arc<Wire>,
    sent: bool,
}

/// The gateway's end.
pub(crate) struct Far {
    wire: Arc<Wire>,
    /// Frames for smoltcp.
    pub(crate) received: VecDeque<Vec<u8>>,
}

/// A wire; `interrupt` is called on the gateway's thread when the machine has to look at its end.
pub(crate) fn wire(interrupt: Box<dyn Fn() + Send + Sync>) -> io::Result<(Port, Far)> {
    let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let (to_gateway, to_guest) = (Mutex::default(), Mutex::default());
    let wire = Arc::new(Wire { to_gateway, to_guest, bell, interrupt });
    let far = Far { wire: Arc::clone(&wire), received: VecDeque::new() };
    Ok((Port { wire, sent: false }, far))
}

impl NetDevice for Port {
    fn mac(&self) -> [u8; 6] {
        GUEST_MAC
    }

    fn capabilities(&self) -> LinkCapabilities {
        // Nothing is lost or damaged on this wire: nobody computes checksums.
        LinkCapabilities { mtu: MTU, transmit_checksum: true, ..LinkCapabilities::default() }
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool {
        let (frame, starved) = {
            let mut queue = lock(&self.wire.to_guest);
            let frame = queue.frames.pop_front();
            (frame, std::mem::take(&mut queue.wants_room))
        };
        if starved {
            self.wire.ring();
        }
        let Some(frame) = frame else { return false };
        take(&frame, ReceiveMeta { checksum_verified: true });
        true
    }

    fn can_transmit(&mut self) -> bool {
        let mut queue = lock(&self.wire.to_gateway);
        queue.wants_room = queue.frames.len() >= ROOM;
        !queue.wants_room
    }

    fn transmit(
        &mut self,
        bytes: usize,
        _meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        if !self.can_transmit() {
            return false;
        }
        let mut frame = vec![0; bytes];
        fill(&mut frame);
        lock(&self.wire.to_gateway).frames.push_back(frame);
        self.sent = true;
        true
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.sent) {
            self.wire.ring();
        }
    }

    fn enable_interrupt(&mut self) -> bool {
        let mut queue = lock(&self.wire.to_guest);
        queue.wants_frame = true;
        !queue.frames.is_empty()
    }
}

impl Far {
    /// Readable when frames have come, or room for some.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.wire.bell.as_fd()
    }

    /// Stops the bell.
    pub(crate) fn answer(&self) {
        let _ = rustix::io::read(&self.wire.bell, &mut [0; 8]);
    }

    /// The next frame from the machine.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        let mut queue = lock(&self.wire.to_gateway);
        let frame = queue.frames.pop_front();
        let room = std::mem::take(&mut queue.wants_room);
        drop(queue);
        if room {
            (self.wire.interrupt)();
        }
        frame
    }

    /// Sends a frame to the machine; lost when there is no room, as on any wire.
    pub(crate) fn send(&self, frame: Vec<u8>) {
        let mut queue = lock(&self.wire.to_guest);
        if queue.frames.len() < ROOM {
            queue.frames.push_back(frame);
        }
        let wanted = std::mem::take(&mut queue.wants_frame);
        drop(queue);
        if wanted {
            (self.wire.interrupt)();
        }
    }

    /// False when the machine has to take frames first; the bell then rings.
    pub(crate) fn has_room(&self) -> bool {
        let mut queue = lock(&self.wire.to_guest);
        queue.wants_room = queue.frames.len() >= ROOM;
        !queue.wants_room
    }
}

/// smoltcp's permission to send one frame.
pub(crate) struct Sending<'a>(&'a Far);

/// A frame for smoltcp.
pub(crate) struct Received(Vec<u8>);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, fill: F) -> R {
        let mut frame = vec![0; bytes];
        let result = fill(&mut frame);
        self.0.send(frame);
        result
    }
}

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl phy::Device for Far {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        if !self.has_room() {
            return None;
        }
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        self.has_room().then_some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        // As `Port` says of itself.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.udp = Checksum::None;
        capabilities
    }
}
