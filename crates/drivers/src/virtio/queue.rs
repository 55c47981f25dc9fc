//! The split virtqueue (§2.7).
//!
//! Memory moves in with a request ([`Queue::push`]) as its *token* and comes back when the device
//! has used it ([`Queue::pop`], then [`Queue::release`], or [`Queue::recycle`] to hand the same
//! memory to the device again without writing descriptors). Nothing allocates after
//! [`Queue::new`].
//!
//! The device is not trusted. What the driver must remember, it keeps in its own memory, never in
//! the ring; what the device writes is checked, and the first lie is a [`Violation`], after which
//! the queue stands still.

use super::Error;
use super::transport::{Doorbell, QueueIndex, QueueLayout, Transport};
use alloc::boxed::Box;
use base::PhysAddr;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{Ordering, fence};
use hal::dma::{DmaBuffer, DmaRing};

/// Bytes of a descriptor: address u64, length u32, flags u16, next u16 (§2.7.5).
const DESCRIPTOR_BYTES: usize = 16;
const DESCRIPTOR_NEXT: u64 = 1 << 32;
const DESCRIPTOR_WRITE: u64 = 2 << 32;
const DESCRIPTOR_NEXT_SHIFT: u32 = 48;

/// Flags and index in front of both rings (§2.7.6, §2.7.8).
const RING_INDEX: usize = 2;
const RING_ENTRIES: usize = 4;
const AVAILABLE_ENTRY_BYTES: usize = 2;
/// An entry of the used ring: id u32, length u32.
const USED_ENTRY_BYTES: usize = 8;
/// In the available ring: the driver wants no interrupts (§2.7.7).
const AVAILABLE_NO_INTERRUPT: u16 = 1;
/// In the used ring: the device wants no notifications (§2.7.10).
const USED_NO_NOTIFY: u16 = 1;

/// How the device broke the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// It claims to have used more than it was given.
    UsedTooMany,
    /// It returned a descriptor that it did not have.
    UnknownDescriptor,
    /// It claims to have written beyond the buffer.
    LengthBeyondBuffer,
    /// A packet has more buffers than the device returned.
    BuffersMissing,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsedTooMany => "used ring runs ahead of the available ring",
            Self::UnknownDescriptor => "used ring names a descriptor that was not given",
            Self::LengthBeyondBuffer => "used ring claims more bytes than the buffer has",
            Self::BuffersMissing => "a packet names more buffers than were used",
        })
    }
}

/// A piece of memory in a request.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    address: PhysAddr,
    length: u32,
    writable: bool,
}

impl Segment {
    /// Bytes that the device reads. `None` when `range` is not inside `buffer`.
    #[must_use]
    pub fn readable(buffer: &DmaBuffer, range: Range<usize>) -> Option<Self> {
        Self::new(buffer, range, false)
    }

    /// Bytes that the device writes. `None` when `range` is not inside `buffer`.
    #[must_use]
    pub fn writable(buffer: &DmaBuffer, range: Range<usize>) -> Option<Self> {
        Self::new(buffer, range, true)
    }

    fn new(buffer: &DmaBuffer, range: Range<usize>, writable: bool) -> Option<Self> {
        let part = buffer.get(range.clone())?;
        let address = PhysAddr(buffer.physical().0 + range.start as u64);
        Some(Self { address, length: u32::try_from(part.len()).ok()?, writable })
    }
}

/// The first descriptor of a request: its name while it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head(u16);

/// A request that the device has used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Which.
    pub head: Head,
    /// How many bytes the device wrote.
    pub written: u32,
}

/// What the driver remembers about the request that begins at a descriptor.
struct Slot<T> {
    token: Option<T>,
    /// The device has it.
    given: bool,
    /// Bytes that the device may write.
    writable: u32,
}

/// A split virtqueue whose requests carry tokens of type `T`, which own the requests' memory.
pub struct Queue<T> {
    ring: DmaRing,
    size: u16,
    available_at: usize,
    used_at: usize,
    event_index: bool,
    doorbell: Option<Doorbell>,
    slots: Box<[Slot<T>]>,
    /// Links of the free list and of the chains: the driver's own copy.
    links: Box<[u16]>,
    free_head: u16,
    free: u16,
    /// Index in the available ring after the last entry written.
    filled: u16,
    /// The same as the device knows it.
    published: u16,
    /// Index in the used ring of the next entry to look at.
    seen: u16,
    /// The used index as last read: entries before it are there without asking again.
    used: u16,
    /// Requests that the device has.
    given: u16,
}

impl<T> Queue<T> {
    /// Makes a queue of at most `wanted` descriptors and gives it to the device. `vector` is the
    /// interrupt it shall raise.
    ///
    /// # Errors
    /// The device lacks the queue, or there is no memory.
    pub fn new(
        transport: &mut dyn Transport,
        index: QueueIndex,
        wanted: u16,
        event_index: bool,
        vector: Option<u16>,
    ) -> Result<Self, Error> {
        let size = usable_size(transport.queue_limit(index), wanted);
        if size == 0 {
            return Err(Error::NoQueue(index));
        }
        let entries = usize::from(size);
        let available_at = DESCRIPTOR_BYTES * entries;
        // One half-word behind each ring holds the event index (§2.7.6, §2.7.8).
        let available_bytes = RING_ENTRIES + AVAILABLE_ENTRY_BYTES * entries + 2;
        // The used ring is aligned to 4 (§2.7); 4 above a multiple of 8 its entries can be loaded
        // at once.
        let used_at = (available_at + available_bytes).next_multiple_of(8) + 4;
        let used_bytes = RING_ENTRIES + USED_ENTRY_BYTES * entries + 2;
        let ring = DmaRing::new(used_at + used_bytes)?;
        let at = |offset: usize| PhysAddr(ring.physical().0 + offset as u64);
        let layout = QueueLayout {
            size,
            descriptors: at(0),
            available: at(available_at),
            used: at(used_at),
        };
        let doorbell = transport.enable_queue(index, &layout, vector)?;
        let mut queue = Self {
            ring,
            size,
            available_at,
            used_at,
            event_index,
            doorbell: Some(doorbell),
            slots: (0..size).map(|_| Slot { token: None, given: false, writable: 0 }).collect(),
            links: (1..=size).collect(),
            free_head: 0,
            free: size,
            filled: 0,
            published: 0,
            seen: 0,
            used: 0,
            given: 0,
        };
        queue.suppress_interrupts();
        Ok(queue)
    }

    /// Number of descriptors.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Descriptors that are free.
    #[must_use]
    pub fn free(&self) -> u16 {
        self.free
    }

    /// Requests that the device has, or will have after [`Queue::publish`].
    #[must_use]
    pub fn given(&self) -> u16 {
        self.given
    }

    /// Requests that wait for [`Queue::publish`].
    #[must_use]
    pub fn unpublished(&self) -> u16 {
        self.filled.wrapping_sub(self.published)
    }

    /// Adds a request. The device sees it after [`Queue::publish`].
    ///
    /// # Errors
    /// There is no room (or there are no segments): the token comes back.
    pub fn push(&mut self, token: T, segments: &[Segment]) -> Result<(), T> {
        if segments.is_empty() || segments.len() > usize::from(self.free) {
            return Err(token);
        }
        let head = self.free_head;
        let mut at = head;
        let mut writable = 0u32;
        for (index, segment) in segments.iter().enumerate() {
            let next = self.links.get(usize::from(at)).copied().unwrap_or(0);
            let mut word = u64::from(segment.length);
            if segment.writable {
                word |= DESCRIPTOR_WRITE;
                writable = writable.saturating_add(segment.length);
            }
            if index + 1 < segments.len() {
                word |= DESCRIPTOR_NEXT | u64::from(next) << DESCRIPTOR_NEXT_SHIFT;
            } else if let Some(link) = self.links.get_mut(usize::from(at)) {
                *link = END;
            }
            let offset = usize::from(at) * DESCRIPTOR_BYTES;
            self.ring.write_u64(offset, segment.address.0);
            self.ring.write_u64(offset + 8, word);
            self.free -= 1;
            at = next;
        }
        self.free_head = at;
        if let Some(slot) = self.slots.get_mut(usize::from(head)) {
            *slot = Slot { token: Some(token), given: true, writable };
        }
        self.make_available(head);
        Ok(())
    }

    fn make_available(&mut self, head: u16) {
        let entry = usize::from(self.filled & (self.size - 1));
        let offset = self.available_at + RING_ENTRIES + AVAILABLE_ENTRY_BYTES * entry;
        self.ring.write_u16(offset, head);
        self.filled = self.filled.wrapping_add(1);
        self.given += 1;
    }

    /// Lets the device see everything pushed, and notifies it if it asked for that.
    pub fn publish(&mut self) {
        if self.filled == self.published {
            return;
        }
        let before = self.published;
        self.published = self.filled;
        // The entries, descriptors and buffers before the index (§2.7.13.3).
        fence(Ordering::Release);
        self.ring.write_u16(self.available_at + RING_INDEX, self.filled);
        // The index before looking whether to notify: the device writes and looks the other way
        // round (§2.7.13.4.1).
        hal::dma::barrier();
        let notify = if self.event_index {
            let offset = self.used_at + RING_ENTRIES + USED_ENTRY_BYTES * usize::from(self.size);
            passes(self.ring.read_u16(offset), before, self.filled)
        } else {
            self.ring.read_u16(self.used_at) & USED_NO_NOTIFY == 0
        };
        if notify && let Some(doorbell) = &self.doorbell {
            doorbell.ring();
        }
    }

    /// True when the device has used something that [`Queue::pop`] has not returned yet.
    #[must_use]
    pub fn has_used(&self) -> bool {
        self.seen != self.used || self.read_used_index() != self.seen
    }

    fn read_used_index(&self) -> u16 {
        self.ring.read_u16(self.used_at + RING_INDEX)
    }

    /// The next request that the device has used; its token stays here until
    /// [`Queue::release`] or [`Queue::recycle`].
    ///
    /// # Errors
    /// The device broke the rules: its queue must not be looked at again.
    pub fn pop(&mut self) -> Result<Option<Completion>, Violation> {
        if self.seen == self.used {
            let used = self.read_used_index();
            if used == self.seen {
                return Ok(None);
            }
            if used.wrapping_sub(self.seen) > self.given {
                return Err(Violation::UsedTooMany);
            }
            self.used = used;
            // The index before the entries and the buffers.
            fence(Ordering::Acquire);
        }
        let entry = usize::from(self.seen & (self.size - 1));
        let offset = self.used_at + RING_ENTRIES + USED_ENTRY_BYTES * entry;
        let word = self.ring.read_u64(offset);
        let (id, mut written) = (word as u32, (word >> 32) as u32);
        let slot = usize::try_from(id).ok().and_then(|id| self.slots.get_mut(id));
        let Some(slot) = slot.filter(|slot| slot.given) else {
            return Err(Violation::UnknownDescriptor);
        };
        if slot.writable == 0 {
            // Some devices count the bytes they read here.
            written = 0;
        } else if written > slot.writable {
            return Err(Violation::LengthBeyondBuffer);
        }
        slot.given = false;
        self.given -= 1;
        self.seen = self.seen.wrapping_add(1);
        // Below the queue's size, which is a u16.
        Ok(Some(Completion { head: Head(id as u16), written }))
    }

    /// The token of a request that [`Queue::pop`] returned.
    #[must_use]
    pub fn token(&self, head: Head) -> Option<&T> {
        let slot = self.slots.get(usize::from(head.0))?;
        slot.token.as_ref().filter(|_| !slot.given)
    }

    /// Ends a request that [`Queue::pop`] returned: its descriptors are free again.
    pub fn release(&mut self, head: Head) -> Option<T> {
        let slot = self.slots.get_mut(usize::from(head.0))?;
        if slot.given {
            return None;
        }
        let token = slot.token.take()?;
        let mut last = head.0;
        for _ in 0..self.size {
            self.free += 1;
            match self.links.get(usize::from(last)) {
                Some(&next) if next != END => last = next,
                _ => break,
            }
        }
        if let Some(link) = self.links.get_mut(usize::from(last)) {
            *link = self.free_head;
        }
        self.free_head = head.0;
        Some(token)
    }

    /// Gives a request that [`Queue::pop`] returned to the device again, as it was.
    pub fn recycle(&mut self, head: Head) {
        if let Some(slot) = self.slots.get_mut(usize::from(head.0))
            && slot.token.is_some()
            && !slot.given
        {
            slot.given = true;
            self.make_available(head.0);
        }
    }

    /// Asks for no interrupt. With event indices this holds for the next 65,535 uses: call it now
    /// and then.
    pub fn suppress_interrupts(&mut self) {
        if self.event_index {
            self.write_used_event(self.seen.wrapping_sub(1));
        } else {
            self.ring.write_u16(self.available_at, AVAILABLE_NO_INTERRUPT);
        }
    }

    /// Asks for one interrupt, when the device has used `count` (1 or more) more requests from
    /// here; without event indices, at the next. Returns true when it has used something already:
    /// then there may be no interrupt.
    pub fn request_interrupt(&mut self, count: u16) -> bool {
        if self.event_index {
            self.write_used_event(self.seen.wrapping_add(count.saturating_sub(1)));
        } else {
            self.ring.write_u16(self.available_at, 0);
        }
        // The request before the look: the device writes and looks the other way round.
        hal::dma::barrier();
        self.has_used()
    }

    /// True when an interrupt, once asked for, comes at every use until it is suppressed.
    #[must_use]
    pub fn interrupts_repeat(&self) -> bool {
        !self.event_index
    }

    fn write_used_event(&self, index: u16) {
        let entries = AVAILABLE_ENTRY_BYTES * usize::from(self.size);
        self.ring.write_u16(self.available_at + RING_ENTRIES + entries, index);
    }

    /// Gives up the queue and all memory in it without freeing either: the device may still use
    /// them.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}

/// The end of a chain in `links`. No descriptor has this number: sizes are at most 32,768.
const END: u16 = u16::MAX;

/// The largest power of two within both limits: split queues have such sizes, at most 32,768
/// (§2.7).
fn usable_size(limit: u32, wanted: u16) -> u16 {
    const MAXIMUM: u32 = 1 << 15;
    let size = limit.min(u32::from(wanted)).min(MAXIMUM);
    // At most 2^15, so it fits.
    size.checked_ilog2().map_or(0, |log| (1u32 << log) as u16)
}

/// True when an index on its way from `before` to `after` passed `event` (§2.7.7.2).
fn passes(event: u16, before: u16, after: u16) -> bool {
    after.wrapping_sub(event).wrapping_sub(1) < after.wrapping_sub(before)
}

#[cfg(test)]
mod tests;
