//! The two rings of descriptors (8254x 3.2.3 and 3.3.3): 16 bytes each, in memory that driver and
//! card share. The driver's tail says up to where the card may go; the card marks what is done.

use super::{Registers, register};
use crate::virtio::Error;
use alloc::vec::Vec;
use base::link::ReceiveMeta;
use hal::dma::{DmaBuffer, DmaRing};

const DESCRIPTOR_BYTES: usize = 16;
/// What the card may write of one frame (RCTL.BSIZE, when it is 0).
const BUFFER_BYTES: usize = 2048;
/// Header, MTU, and the tag of a virtual network.
const FRAME_BYTES: usize = 14 + 1500 + 4;
const ETHERNET_HEADER_BYTES: usize = 14;
/// Descriptors of the transmit ring; one is never used, so that full is not empty.
const TRANSMIT_ENTRIES: usize = 64;

/// Offset of the status within a descriptor of either ring.
const STATUS: usize = 12;
/// The card is done with a descriptor, in either ring.
const DONE: u32 = 1;
/// It holds the end of a frame.
const END: u32 = 1 << 1;

/// The ring, the buffers in it, and where the driver stands.
struct Ring {
    registers: Registers,
    base: usize,
    descriptors: DmaRing,
    buffers: Vec<DmaBuffer>,
    entries: usize,
    /// The first descriptor that the card was not told of.
    told: usize,
}

impl Ring {
    fn new(registers: Registers, base: usize, entries: usize) -> Result<Self, Error> {
        let bytes = entries * DESCRIPTOR_BYTES;
        let descriptors = DmaRing::new(bytes)?;
        registers.set_ring(base, descriptors.physical(), bytes);
        Ok(Self { registers, base, descriptors, buffers: Vec::new(), entries, told: 0 })
    }

    fn add_buffer(&mut self) -> Result<(), Error> {
        let buffer = DmaBuffer::new(BUFFER_BYTES)?;
        let at = self.buffers.len() * DESCRIPTOR_BYTES;
        self.descriptors.write_u64(at, buffer.physical().0);
        self.buffers.push(buffer);
        Ok(())
    }

    fn next(&self, entry: usize) -> usize {
        (entry + 1) % self.entries
    }

    fn status(&self, entry: usize) -> u32 {
        self.descriptors.read_u32(entry * DESCRIPTOR_BYTES + STATUS)
    }

    /// Lets the card go up to `tail`.
    fn tell(&mut self, tail: usize) {
        if core::mem::replace(&mut self.told, tail) != tail {
            hal::dma::barrier();
            // There are no more than some hundred.
            self.registers.write(self.base + register::RING_TAIL, tail as u32);
        }
    }
}

/// Frames on their way in.
pub(super) struct Receiver {
    ring: Ring,
    /// The next descriptor that the card will be done with.
    next: usize,
    /// It goes on with a frame that began before it.
    goes_on: bool,
}

impl Receiver {
    /// As many buffers as `memory` bytes in the machine allow: a 128th, 32 to 256 of them.
    pub(super) fn new(registers: Registers, memory: u64) -> Result<Self, Error> {
        let entries = (memory / 128 / BUFFER_BYTES as u64).clamp(32, 256) as usize;
        // The ring's length is in steps of 128 bytes.
        let mut ring = Ring::new(registers, register::RECEIVE_RING, entries & !7)?;
        for _ in 0..ring.entries {
            ring.add_buffer()?;
        }
        Ok(Self { ring, next: 0, goes_on: false })
    }

    /// Gives the card all buffers that the driver has; one stays, so that full is not empty.
    pub(super) fn publish(&mut self) {
        let before = (self.next + self.ring.entries - 1) % self.ring.entries;
        self.ring.tell(before);
    }

    /// True when a frame is there.
    pub(super) fn is_ready(&self) -> bool {
        self.ring.status(self.next) & DONE != 0
    }

    /// Hands the next frame to `take`; `false` when there is none. Frames with errors are dropped.
    pub(super) fn receive(&mut self, take: &mut dyn FnMut(&[u8], ReceiveMeta)) -> bool {
        /// Buffers go back in groups: each time is an exit to the hypervisor.
        const GROUP: usize = 16;
        loop {
            let status = self.ring.status(self.next);
            if status & DONE == 0 {
                return false;
            }
            let at = self.next * DESCRIPTOR_BYTES;
            let bytes = usize::from(self.ring.descriptors.read_u16(at + 8));
            let goes_on = core::mem::replace(&mut self.goes_on, status & END == 0);
            // What is longer than a buffer comes in several, of which none is a frame.
            let status = if goes_on { status & !END } else { status };
            let good = self.good_frame(status, bytes).map(|(frame, meta)| take(frame, meta));
            self.ring.descriptors.write_u32(at + STATUS, 0);
            self.next = self.ring.next(self.next);
            if self.next.is_multiple_of(GROUP) {
                self.publish();
            }
            if good.is_some() {
                return true;
            }
        }
    }

    fn good_frame(&self, status: u32, bytes: usize) -> Option<(&[u8], ReceiveMeta)> {
        const NOT_CHECKED: u32 = 1 << 2;
        const CHECKED: u32 = 1 << 5;
        // The errors stand in the byte behind the status.
        const CHECKSUM_WRONG: u32 = 1 << 13;
        const FRAME_WRONG: u32 = 0x97 << 8;
        let frame = self.ring.buffers.get(self.next)?.get(..bytes)?;
        let whole = status & END != 0 && (ETHERNET_HEADER_BYTES..=FRAME_BYTES).contains(&bytes);
        let verified = status & (CHECKED | NOT_CHECKED | CHECKSUM_WRONG) == CHECKED;
        (whole && status & FRAME_WRONG == 0)
            .then_some((frame, ReceiveMeta { checksum_verified: verified }))
    }
}

/// Frames on their way out.
pub(super) struct Transmitter {
    ring: Ring,
    /// Where the next frame goes.
    next: usize,
    /// The oldest frame that may still be on its way.
    oldest: usize,
    /// There was no room.
    waiting: bool,
}

impl Transmitter {
    pub(super) fn new(registers: Registers) -> Result<Self, Error> {
        let mut ring = Ring::new(registers, register::TRANSMIT_RING, TRANSMIT_ENTRIES)?;
        ring.add_buffer()?;
        Ok(Self { ring, next: 0, oldest: 0, waiting: false })
    }

    /// Lets the card see what was queued.
    pub(super) fn publish(&mut self) {
        self.ring.tell(self.next);
    }

    /// True when a frame finds room.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.find_room();
        if !room {
            // What was queued must be on its way for room to come.
            self.publish();
            self.waiting = true;
        }
        room
    }

    fn find_room(&mut self) -> bool {
        while self.oldest != self.next && self.ring.status(self.oldest) & DONE != 0 {
            self.oldest = self.ring.next(self.oldest);
        }
        // Buffers are made when they are first needed.
        let has_buffer = self.next < self.ring.buffers.len() || self.ring.add_buffer().is_ok();
        has_buffer && self.ring.next(self.next) != self.oldest
    }

    /// True when there is room again after there was none.
    pub(super) fn room_came(&mut self) -> bool {
        let came = self.waiting && self.find_room();
        self.waiting &= !came;
        came
    }

    /// Queues a frame. There is room.
    pub(super) fn transmit(&mut self, bytes: usize, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        /// The frame ends here; add its checksum; say when it is sent.
        const COMMAND: u32 = (1 | 2 | 8) << 24;
        let entry = self.next;
        let buffer = self.ring.buffers.get_mut(entry).and_then(|buffer| buffer.get_mut(..bytes));
        let Some(buffer) = buffer.filter(|_| bytes <= FRAME_BYTES) else { return false };
        fill(buffer);
        let at = entry * DESCRIPTOR_BYTES;
        self.ring.descriptors.write_u32(at + STATUS, 0);
        self.ring.descriptors.write_u32(at + 8, bytes as u32 | COMMAND);
        self.next = self.ring.next(entry);
        true
    }
}
