//! Frames on their way out.

use super::super::Error;
use super::super::handshake::Device;
use super::super::queue::{Queue, Segment, Violation};
use super::header::{self, ETHERNET_HEADER_BYTES, HEADER_BYTES};
use super::{Budget, feature};
use alloc::vec::Vec;
use base::link::TransmitMeta;
use hal::dma::DmaBuffer;

/// The largest frame to be segmented: an IP packet of 64 KiB.
const LARGE_BYTES: usize = HEADER_BYTES + ETHERNET_HEADER_BYTES + 65_535;
const SMALL_BYTES: usize = 2048;
/// Look for sent frames when this many are out, so that few buffers, in the cache, go round.
const RECLAIM_AT: u16 = 16;
/// Tell the device without waiting for the flush when this many frames wait.
const PUBLISH_AT: u16 = 32;

/// Buffers of one size, made when they are first needed.
struct Pool {
    bytes: usize,
    idle: Vec<DmaBuffer>,
    /// How many may still be made.
    growth: u16,
}

impl Pool {
    fn new(bytes: usize, limit: u16) -> Self {
        Self { bytes, idle: Vec::with_capacity(usize::from(limit)), growth: limit }
    }

    /// True when [`Pool::take`] will find a buffer.
    fn ensure(&mut self) -> bool {
        if !self.idle.is_empty() {
            return true;
        }
        if self.growth == 0 {
            return false;
        }
        let Ok(buffer) = DmaBuffer::new(self.bytes) else { return false };
        self.growth -= 1;
        self.idle.push(buffer);
        true
    }
}

/// The transmit queue and its buffers.
pub(super) struct Transmitter {
    queue: Queue<DmaBuffer>,
    small: Pool,
    /// For frames to be segmented; empty when the device cannot do that.
    large: Option<Pool>,
    /// There was no room, and an interrupt was asked for.
    waiting: bool,
}

impl Transmitter {
    /// Buffers for frames of up to `frame_bytes`, and larger ones when the device segments.
    pub(super) fn new(
        queue: Queue<DmaBuffer>,
        frame_bytes: usize,
        budget: Budget,
        device: &Device,
    ) -> Result<Self, Error> {
        let bytes = (HEADER_BYTES + frame_bytes).next_multiple_of(SMALL_BYTES);
        let mut small = Pool::new(bytes, budget.transmit_buffers.min(queue.size()));
        let segments = device.has(feature::HOST_TSO4) || device.has(feature::HOST_TSO6);
        let large = segments.then(|| Pool::new(LARGE_BYTES, budget.large_buffers));
        if !small.ensure() {
            return Err(Error::OutOfMemory);
        }
        Ok(Self { queue, small, large, waiting: false })
    }

    /// Lets the device see what was queued.
    pub(super) fn publish(&mut self) {
        self.queue.publish();
    }

    /// True when a frame of any size finds room; if not, an interrupt will tell.
    pub(super) fn has_room(&mut self) -> Result<bool, Violation> {
        // Once per burst: each look fetches a cache line from the device's processor.
        if self.queue.given() >= RECLAIM_AT && self.queue.unpublished() == 0 {
            self.reclaim()?;
        }
        if self.room() {
            return Ok(true);
        }
        self.wait_for_room()
    }

    /// Sends a frame; false when there is no room, or the frame is longer than any may be.
    pub(super) fn transmit(
        &mut self,
        bytes: usize,
        meta: TransmitMeta,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<bool, Violation> {
        if !self.has_room()? {
            return Ok(false);
        }
        let total = bytes.saturating_add(HEADER_BYTES);
        let large = self.large.as_mut().filter(|_| total > self.small.bytes);
        let pool = large.unwrap_or(&mut self.small);
        let Some(mut buffer) = pool.idle.pop_if(|buffer| buffer.len() >= total) else {
            return Ok(false);
        };
        if let Some((header, rest)) = buffer.split_first_chunk_mut::<HEADER_BYTES>()
            && let Some(frame) = rest.get_mut(..bytes)
        {
            *header = header::encode(meta);
            fill(frame);
        }
        let Some(segment) = Segment::readable(&buffer, 0..total) else { return Ok(false) };
        if let Err(buffer) = self.queue.push(buffer, &[segment]) {
            self.keep(buffer);
            return Ok(false);
        }
        if self.queue.unpublished() >= PUBLISH_AT {
            self.queue.publish();
        }
        Ok(true)
    }

    /// True, once, when there was no room and the device has sent something since.
    pub(super) fn room_came(&mut self) -> Result<bool, Violation> {
        let came = self.waiting && self.queue.has_used();
        if came {
            self.reclaim()?;
        }
        Ok(came)
    }

    fn room(&mut self) -> bool {
        self.queue.free() > 0 && self.small.ensure() && self.large.as_mut().is_none_or(Pool::ensure)
    }

    /// Takes back what the device has sent, and asks to be told when it has sent more if that
    /// makes no room.
    fn wait_for_room(&mut self) -> Result<bool, Violation> {
        self.queue.publish();
        self.reclaim()?;
        if self.room() {
            return Ok(true);
        }
        let given = self.queue.given();
        if given == 0 {
            // The machine is out of memory.
            return Ok(false);
        }
        self.waiting = true;
        // Not at the first: then every frame would have its interrupt. Large buffers are few.
        let enough = if self.large.as_mut().is_none_or(Pool::ensure) { given / 2 } else { 1 };
        if self.queue.request_interrupt(enough.max(1)) {
            self.reclaim()?;
            return Ok(self.room());
        }
        Ok(false)
    }

    fn reclaim(&mut self) -> Result<(), Violation> {
        let mut any = false;
        while let Some(completion) = self.queue.pop()? {
            any = true;
            if let Some(buffer) = self.queue.release(completion.head) {
                self.keep(buffer);
            }
        }
        if any {
            self.waiting = false;
            self.queue.suppress_interrupts();
        }
        Ok(())
    }

    fn keep(&mut self, buffer: DmaBuffer) {
        let large = self.large.as_mut().filter(|_| buffer.len() > self.small.bytes);
        large.unwrap_or(&mut self.small).idle.push(buffer);
    }

    /// Gives up the memory that the device has.
    pub(super) fn leak(self) {
        self.queue.leak();
    }
}
