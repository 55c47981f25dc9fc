//! Received frames: a ring of buffers that go round.

use super::super::Error;
use super::super::queue::{Completion, Queue, Segment, Violation};
use super::header::{self, ETHERNET_HEADER_BYTES, HEADER_BYTES};
use alloc::vec::Vec;
use base::link::ReceiveMeta;
use hal::dma::DmaBuffer;

/// Two fit a page; an Ethernet frame and the header fit one.
const BUFFER_BYTES: usize = 2048;
/// The largest merged frame: an IP packet of 64 KiB.
const MERGED_FRAME_BYTES: usize = ETHERNET_HEADER_BYTES + 65_535;
/// How many buffers to collect before giving them back to the device.
const BATCH: u16 = 16;
/// Frames dropped in one call because they are nonsense, before the caller may do something else.
const NONSENSE: usize = 64;

/// The receive queue and its buffers.
pub(super) struct Receiver {
    queue: Queue<DmaBuffer>,
    buffers: usize,
    /// Frames may lie in several buffers, and are put together here.
    merge: Option<Vec<u8>>,
    /// The device says which checksums are good.
    checksums: bool,
    /// Interrupts are on, and must be switched off by hand.
    repeating: bool,
    batch: u16,
}

impl Receiver {
    /// Fills `queue` with buffers for frames of up to `frame_bytes`.
    pub(super) fn new(
        mut queue: Queue<DmaBuffer>,
        frame_bytes: usize,
        merge: bool,
        checksums: bool,
    ) -> Result<Self, Error> {
        let needed = HEADER_BYTES + frame_bytes;
        let bytes = if merge || needed <= BUFFER_BYTES {
            BUFFER_BYTES
        } else {
            needed.next_multiple_of(BUFFER_BYTES)
        };
        // Jumbo frames do not get more memory, but fewer buffers.
        let limit = usize::from(queue.size());
        let count = (limit * BUFFER_BYTES / bytes).max(16).min(limit);
        for _ in 0..count {
            let buffer = DmaBuffer::new(bytes)?;
            let segment = Segment::writable(&buffer, 0..bytes).ok_or(Error::OutOfMemory)?;
            if queue.push(buffer, &[segment]).is_err() {
                break;
            }
        }
        let merge = merge.then(|| Vec::with_capacity(MERGED_FRAME_BYTES));
        let batch = BATCH.min(queue.size() / 4).max(1);
        Ok(Self { queue, buffers: count, merge, checksums, repeating: false, batch })
    }

    /// How many buffers there are.
    pub(super) fn buffers(&self) -> usize {
        self.buffers
    }

    /// Gives the free buffers to the device.
    pub(super) fn publish(&mut self) {
        self.queue.publish();
    }

    /// Asks for an interrupt at the next frame; true when one is there.
    pub(super) fn request_interrupt(&mut self) -> bool {
        self.repeating = self.queue.interrupts_repeat();
        self.queue.request_interrupt(1)
    }

    /// Hands the next frame to `take`; false when there is none.
    pub(super) fn receive(
        &mut self,
        take: &mut dyn FnMut(&[u8], ReceiveMeta),
    ) -> Result<bool, Violation> {
        if self.repeating {
            self.repeating = false;
            self.queue.suppress_interrupts();
        }
        for _ in 0..NONSENSE {
            let Some(completion) = self.queue.pop()? else {
                self.queue.publish();
                return Ok(false);
            };
            let taken = self.frame(completion, take)?;
            if self.queue.unpublished() >= self.batch {
                self.queue.publish();
            }
            if taken {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands on one frame and recycles its buffers; false when it was nonsense.
    fn frame(
        &mut self,
        completion: Completion,
        take: &mut dyn FnMut(&[u8], ReceiveMeta),
    ) -> Result<bool, Violation> {
        let Completion { head, .. } = completion;
        let Some((received, first)) = written(&self.queue, completion).and_then(header::decode)
        else {
            self.queue.recycle(head);
            return Ok(false);
        };
        let meta = ReceiveMeta { checksum_verified: self.checksums && received.checksum_verified };
        let Some(merged) = self.merge.as_mut().filter(|_| received.buffers > 1) else {
            let good = first.len() >= ETHERNET_HEADER_BYTES;
            if good {
                take(first, meta);
            }
            self.queue.recycle(head);
            return Ok(good);
        };
        merged.clear();
        merged.extend_from_slice(first);
        self.queue.recycle(head);
        let mut good = merged.len() >= ETHERNET_HEADER_BYTES;
        for _ in 1..received.buffers {
            // The device shows all buffers of a frame at once (§5.1.6.4.1).
            let next = self.queue.pop()?.ok_or(Violation::BuffersMissing)?;
            if let Some(bytes) = written(&self.queue, next)
                && merged.len() + bytes.len() <= MERGED_FRAME_BYTES
            {
                merged.extend_from_slice(bytes);
            } else {
                good = false;
            }
            self.queue.recycle(next.head);
        }
        if good {
            take(merged, meta);
        }
        Ok(good)
    }

    /// Gives up all memory.
    pub(super) fn leak(self) {
        self.queue.leak();
    }
}

/// The bytes that the device wrote for a completion.
fn written(queue: &Queue<DmaBuffer>, completion: Completion) -> Option<&[u8]> {
    queue.token(completion.head)?.get(..usize::try_from(completion.written).ok()?)
}
