//! The queue on which the device is told what to do (§5.7.6).

use super::picture::{Area, Picture};
use crate::virtio::handshake::Device;
use crate::virtio::queue::{Queue, Segment, Violation};
use crate::virtio::transport::{QueueIndex, Transport};
use crate::virtio::{Error, feature, polled};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::Instant;
use base::display::Layout;
use core::fmt;
use core::time::Duration;
use hal::dma::DmaBuffer;

const CONTROL: QueueIndex = QueueIndex(0);
/// Two requests, each with a part that the device reads and one that it writes.
const DESCRIPTORS: u16 = 4;

/// Requests and answers (§5.7.6.7).
mod kind {
    pub(super) const GET_DISPLAY_INFO: u32 = 0x0100;
    pub(super) const RESOURCE_CREATE_2D: u32 = 0x0101;
    pub(super) const SET_SCANOUT: u32 = 0x0103;
    pub(super) const RESOURCE_FLUSH: u32 = 0x0104;
    pub(super) const TRANSFER_TO_HOST_2D: u32 = 0x0105;
    pub(super) const RESOURCE_ATTACH_BACKING: u32 = 0x0106;
    pub(super) const OK_NO_DATA: u32 = 0x1100;
    pub(super) const OK_DISPLAY_INFO: u32 = 0x1101;
}

/// What stands in front of requests and answers: the kind, and fields that are 0 here.
const HEADER_BYTES: usize = 24;
const HEADER_FIELDS: usize = HEADER_BYTES / size_of::<u32>();
/// Displays that a device has at most, and what it says of each: a rectangle, whether it is there, flags.
const DISPLAYS: usize = 16;
const DISPLAY_BYTES: usize = 24;
/// Bytes of the longest of the two requests that go out again and again.
const REQUEST_BYTES: usize = 64;

/// The one resource.
const PICTURE: u32 = 1;
/// VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM.
const FORMAT: u32 = 2;

/// Sizes of displays that are believed.
const WIDTHS: core::ops::RangeInclusive<u32> = 320..=8192;
const HEIGHTS: core::ops::RangeInclusive<u32> = 200..=8192;
/// Where the device says none.
const USUAL: (u32, u32) = (1024, 768);

/// How long the device may take while it is set up.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long later, and how often it is asked meanwhile: time also passes where the whole machine stands.
const RUNNING_PATIENCE: Duration = Duration::from_secs(5);
const MOST_ASKED: u32 = 100;

/// What is wrong with a device that had worked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    Queue(Violation),
    Answer(u32),
    Silent,
}

impl From<Violation> for Trouble {
    fn from(violation: Violation) -> Self {
        Self::Queue(violation)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(violation) => violation.fmt(f),
            Self::Answer(kind) => write!(f, "it answers {kind:#x}"),
            Self::Silent => f.write_str("it does not answer"),
        }
    }
}

pub(super) struct Control {
    device: Device,
    // `None` once the device broke the rules or lost our patience.
    queue: Option<Queue<DmaBuffer>>,
    /// Memory of the requests that go out again and again, while the device has it not.
    spare: [Option<DmaBuffer>; 2],
    /// When the last of these went out, and how often the device was found busy since.
    since: Instant,
    found_busy: u32,
}

impl Control {
    pub(super) fn new(transport: Box<dyn Transport>) -> Result<Self, Error> {
        let mut device = Device::negotiate(transport, 0)?;
        let event_index = device.has(feature::EVENT_INDEX);
        // Answers are polled for: no interrupt.
        let queue = Queue::new(device.transport(), CONTROL, DESCRIPTORS, event_index, None)?;
        if queue.size() < DESCRIPTORS {
            return Err(Error::NoQueue(CONTROL));
        }
        let memory = || DmaBuffer::new(REQUEST_BYTES + HEADER_BYTES).map(Some);
        let spare = [memory()?, memory()?];
        device.start();
        Ok(Self { device, queue: Some(queue), spare, since: Instant::ZERO, found_busy: 0 })
    }

    /// The first display that is there, or the first at all, and the size that it likes best.
    pub(super) fn display(&mut self) -> Result<(u32, (u32, u32)), Error> {
        let bytes = HEADER_BYTES + DISPLAYS * DISPLAY_BYTES;
        let answer = self.ask(kind::GET_DISPLAY_INFO, &[], kind::OK_DISPLAY_INFO, bytes)?;
        let displays = answer.get(HEADER_BYTES..).unwrap_or_default();
        let mut displays = (0..).zip(displays.chunks_exact(DISPLAY_BYTES));
        Ok(displays
            .find_map(|(number, display)| {
                let [width, height, is_there] = [2, 3, 4].map(|at| field(display, at));
                let sane = WIDTHS.contains(&width) && HEIGHTS.contains(&height);
                (is_there != 0 && sane).then_some((number, (width, height)))
            })
            .unwrap_or((0, USUAL)))
    }

    /// Lets the display show the picture.
    pub(super) fn show(&mut self, display: u32, picture: &Picture) -> Result<(), Error> {
        let Layout { width, height, .. } = picture.layout();
        self.order(kind::RESOURCE_CREATE_2D, &[PICTURE, FORMAT, width, height])?;
        let mut pieces = Vec::new();
        for (address, bytes) in picture.pieces() {
            pieces.extend([address.0 as u32, (address.0 >> 32) as u32, bytes, 0]);
        }
        let count = pieces.len() as u32 / 4;
        let backing = [&[PICTURE, count][..], &pieces].concat();
        self.order(kind::RESOURCE_ATTACH_BACKING, &backing)?;
        self.order(kind::SET_SCANOUT, &[0, 0, width, height, display, PICTURE])
    }

    fn order(&mut self, request: u32, fields: &[u32]) -> Result<(), Error> {
        self.ask(request, fields, kind::OK_NO_DATA, HEADER_BYTES).map(|_| ())
    }

    /// Sends a request and waits for its answer, which must be of a kind and have so many bytes.
    fn ask(
        &mut self,
        request: u32,
        fields: &[u32],
        wanted: u32,
        bytes: usize,
    ) -> Result<DmaBuffer, Error> {
        let length = HEADER_BYTES + size_of_val(fields);
        let (mut memory, answer) = (DmaBuffer::new(length)?, DmaBuffer::new(bytes)?);
        encode(request, fields, &mut memory);
        let parts = [Segment::readable(&memory, 0..length), Segment::writable(&answer, 0..bytes)];
        let [Some(reads), Some(writes)] = parts else { return Err(Error::OutOfMemory) };
        let queue = self.queue.as_mut().ok_or(Error::NoAnswer)?;
        if queue.push(answer, &[reads, writes]).is_err() {
            return Err(Error::NoQueue(CONTROL));
        }
        queue.publish();
        let found = match polled::wait(queue, PATIENCE) {
            Ok(Some((answer, written))) if written >= HEADER_BYTES => {
                match (field(&answer, 0), written >= bytes) {
                    (kind, true) if kind == wanted => return Ok(answer),
                    (kind, _) if kind != wanted => Error::Refused(kind),
                    _ => Error::NoAnswer,
                }
            }
            _ => Error::NoAnswer,
        };
        if !self.stop() {
            // It may still read it.
            core::mem::forget(memory);
        }
        Err(found)
    }

    /// Tells the device what has changed. False: it is busy.
    pub(super) fn flush(&mut self, picture: &Picture) -> Result<bool, Trouble> {
        let outcome = self.try_flush(picture);
        if outcome.is_err() {
            self.stop();
        }
        outcome
    }

    fn try_flush(&mut self, picture: &Picture) -> Result<bool, Trouble> {
        self.collect()?;
        if self.queue.is_none() || !picture.has_changed() {
            return Ok(true);
        }
        let now = hal::clock::now();
        if self.spare.iter().all(Option::is_some) {
            (self.since, self.found_busy) = (now, 0);
            picture.take_changed().inspect(|area| self.send(*area, picture.layout().pitch));
            return Ok(true);
        }
        self.found_busy += 1;
        if self.found_busy > MOST_ASKED && now > self.since + RUNNING_PATIENCE {
            return Err(Trouble::Silent);
        }
        Ok(false)
    }

    /// The same of a kernel that fails: waits before and after, and says nothing.
    pub(super) fn flush_last(&mut self, picture: &Picture, deadline: Instant, looks: u32) {
        for wants_more in [true, false] {
            let mut left = looks;
            while self.spare.iter().any(Option::is_none) {
                let gone = self.queue.is_none() || self.collect().is_err();
                left = left.saturating_sub(1);
                if gone || left == 0 || hal::clock::now() > deadline {
                    // No further words wait for it.
                    if let Some(queue) = self.queue.take() {
                        queue.leak();
                    }
                    return;
                }
                core::hint::spin_loop();
            }
            if wants_more && self.queue.is_some() {
                picture.take_changed().inspect(|area| self.send(*area, picture.layout().pitch));
            }
        }
    }

    /// Sends both requests for a part of the picture.
    fn send(&mut self, area: Area, pitch: u32) {
        let [left, top, right, bottom] =
            [area.left, area.top, area.right, area.bottom].map(u32::from);
        let (width, height) = (right - left, bottom - top);
        // Below 4 GiB, as the picture.
        let offset = top * pitch + left * 4;
        let transfer = [left, top, width, height, offset, 0, PICTURE, 0];
        self.push(kind::TRANSFER_TO_HOST_2D, &transfer);
        self.push(kind::RESOURCE_FLUSH, &[left, top, width, height, PICTURE, 0]);
        if let Some(queue) = &mut self.queue {
            queue.publish();
        }
    }

    fn push(&mut self, request: u32, fields: &[u32]) {
        let Some(queue) = &mut self.queue else { return };
        let Some(slot) = self.spare.iter_mut().find(|slot| slot.is_some()) else { return };
        let Some(mut memory) = slot.take() else { return };
        encode(request, fields, &mut memory);
        let length = HEADER_BYTES + size_of_val(fields);
        let answer = REQUEST_BYTES..REQUEST_BYTES + HEADER_BYTES;
        let parts = [Segment::readable(&memory, 0..length), Segment::writable(&memory, answer)];
        // Both lie inside, and there is room for two requests.
        *slot = match parts {
            [Some(reads), Some(writes)] => queue.push(memory, &[reads, writes]).err(),
            _ => Some(memory),
        };
    }

    /// Takes back what was answered.
    fn collect(&mut self) -> Result<(), Trouble> {
        let Some(queue) = &mut self.queue else { return Ok(()) };
        while let Some(completion) = queue.pop()? {
            let Some(memory) = queue.release(completion.head) else { continue };
            let whole = completion.written as usize >= HEADER_BYTES;
            let answer = memory.get(REQUEST_BYTES..).filter(|_| whole);
            match answer.map_or(0, |answer| field(answer, 0)) {
                kind::OK_NO_DATA => {}
                other => return Err(Trouble::Answer(other)),
            }
            if let Some(slot) = self.spare.iter_mut().find(|slot| slot.is_none()) {
                *slot = Some(memory);
            }
        }
        Ok(())
    }

    /// Resets the device for good. False when it did not confirm.
    fn stop(&mut self) -> bool {
        let stopped = self.device.stop();
        if let Some(queue) = self.queue.take()
            && !stopped
        {
            // It may still write to the answers.
            queue.leak();
        }
        stopped
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.stop();
        }
    }
}

/// Writes a request.
fn encode(request: u32, fields: &[u32], to: &mut [u8]) {
    let header = [request, 0, 0, 0, 0, 0];
    const { assert!(HEADER_FIELDS == 6) };
    let words = header.iter().chain(fields);
    for (to, word) in to.chunks_exact_mut(size_of::<u32>()).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}

/// A field of 32 bits; 0 beyond the end.
fn field(bytes: &[u8], at: usize) -> u32 {
    bytes.as_chunks().0.get(at).map_or(0, |field| u32::from_le_bytes(*field))
}
