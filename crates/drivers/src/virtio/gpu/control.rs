//! The queue on which the device is told what to do (§5.7.6).

use super::picture::{Picture, whole_groups};
use crate::virtio::handshake::Device;
use crate::virtio::queue::{Queue, Segment, Violation};
use crate::virtio::transport::{Acknowledge, QueueIndex, Transport};
use crate::virtio::{Error, feature, polled};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::Instant;
use base::display::Layout;
use core::fmt;
use core::time::Duration;
use hal::dma::DmaBuffer;
use hal::irq::Irq;

const CONTROL: QueueIndex = QueueIndex(0);
/// Two requests, each with a part that the device reads and one that it writes.
const DESCRIPTORS: u16 = 4;

/// Requests and answers (§5.7.6.7).
mod kind {
    pub(super) const GET_DISPLAY_INFO: u32 = 0x0100;
    pub(super) const RESOURCE_CREATE_2D: u32 = 0x0101;
    pub(super) const RESOURCE_UNREF: u32 = 0x0102;
    pub(super) const SET_SCANOUT: u32 = 0x0103;
    pub(super) const RESOURCE_FLUSH: u32 = 0x0104;
    pub(super) const TRANSFER_TO_HOST_2D: u32 = 0x0105;
    pub(super) const RESOURCE_ATTACH_BACKING: u32 = 0x0106;
    pub(super) const OK_NO_DATA: u32 = 0x1100;
    pub(super) const OK_DISPLAY_INFO: u32 = 0x1101;
}

/// Offsets in the configuration (§5.7.4): what has happened, and what of it is known.
mod configuration {
    pub(super) const EVENTS_READ: usize = 0;
    pub(super) const EVENTS_CLEAR: usize = 4;
    /// The displays are others, or have another size.
    pub(super) const DISPLAY: u32 = 1;
}

/// What stands in front of requests and answers: the kind, and fields that are 0 here.
const HEADER_BYTES: usize = 24;
const HEADER_FIELDS: usize = HEADER_BYTES / size_of::<u32>();
/// Displays that a device has at most, and what it says of each: a rectangle, whether it is there, flags.
const DISPLAYS: usize = 16;
const DISPLAY_BYTES: usize = 24;
/// Bytes of the longest of the two requests that go out again and again.
const REQUEST_BYTES: usize = 64;

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
    /// What the device raises when its displays change, if it can.
    irq: Option<Irq>,
    acknowledge: Option<Acknowledge>,
    /// The display that is used, and the picture that it shows.
    display: u32,
    shown: u32,
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
        let transport = device.transport();
        let interrupt = transport.interrupt();
        let irq = interrupt.filter(|it| transport.interrupt_on_change(it.vector)).map(|it| it.irq);
        let acknowledge = transport.acknowledge();
        device.start();
        let (queue, since) = (Some(queue), Instant::ZERO);
        let (display, shown, found_busy) = (0, 0, 0);
        Ok(Self { device, queue, spare, irq, acknowledge, display, shown, since, found_busy })
    }

    pub(super) fn irq(&self) -> Option<Irq> {
        self.irq
    }

    /// The size that the display likes best: from now on the first that is there, or the first at all.
    pub(super) fn choose_display(&mut self) -> Result<(u32, u32), Error> {
        let displays = self.displays()?;
        let sizes = (0..DISPLAYS).map(|number| size_of_display(&displays, number));
        let there = (0..).zip(sizes).find(|(_, size)| size.is_some_and(is_sane));
        let (display, size) = there.unwrap_or_default();
        self.display = display;
        Ok(size.unwrap_or(USUAL))
    }

    fn displays(&mut self) -> Result<DmaBuffer, Error> {
        let bytes = HEADER_BYTES + DISPLAYS * DISPLAY_BYTES;
        self.ask(kind::GET_DISPLAY_INFO, &[], kind::OK_DISPLAY_INFO, bytes)
    }

    /// Shows a black picture in place of this one where the display has got another size. `None`: it has not.
    /// `fits`: there is memory for a picture of this size.
    ///
    /// # Errors
    /// It stays as it is, or the device does not answer and was stopped.
    pub(super) fn adapt(
        &mut self,
        old: &Picture,
        fits: impl Fn(&(u32, u32)) -> bool,
    ) -> Result<Option<Picture>, Error> {
        // First: a line that stays raised does not tell of what comes later.
        self.acknowledge.iter().for_each(Acknowledge::all);
        let is_shown = self.queue.is_some() && old.number() == self.shown;
        if !is_shown || !self.displays_have_changed() {
            return Ok(None);
        }
        if !self.settle(hal::clock::now() + PATIENCE, polled::MOST_LOOKS) {
            self.stop();
            return Err(Error::NoAnswer);
        }
        let displays = self.displays()?;
        let Some(size) = size_of_display(&displays, self.display as usize) else { return Ok(None) };
        let Layout { width, height, .. } = old.layout();
        if (whole_groups(size.0), size.1) == (width, height) {
            return Ok(None);
        }
        if !is_sane(size) || !fits(&size) {
            return Err(Error::Size(size.0, size.1));
        }
        let number = old.number().wrapping_add(1);
        let picture = Picture::new(number, size).map_err(|_| Error::Size(size.0, size.1))?;
        self.show(&picture)?;
        self.forget(old);
        Ok(Some(picture))
    }

    /// True when the device says so; it need not say it again.
    fn displays_have_changed(&mut self) -> bool {
        let Some(window) = self.device.transport().configuration() else { return false };
        let changed = window.read_u32(configuration::EVENTS_READ) & configuration::DISPLAY != 0;
        if changed {
            window.write_u32(configuration::EVENTS_CLEAR, configuration::DISPLAY);
        }
        changed
    }

    /// Lets the display show the picture. If not, the device has nothing to do with it any more.
    pub(super) fn show(&mut self, picture: &Picture) -> Result<(), Error> {
        let Layout { width, height, .. } = picture.layout();
        let number = picture.number();
        self.order(kind::RESOURCE_CREATE_2D, &[number, FORMAT, width, height])?;
        let scanout = [0, 0, width, height, self.display, number];
        let outcome = self.attach(picture).and_then(|()| self.order(kind::SET_SCANOUT, &scanout));
        match outcome {
            Ok(()) => self.shown = number,
            Err(_) => self.forget(picture),
        }
        outcome
    }

    /// Takes a picture's memory from the device, which is stopped if it does not let go.
    fn forget(&mut self, picture: &Picture) {
        if self.order(kind::RESOURCE_UNREF, &[picture.number(), 0]).is_err() {
            self.stop();
        }
    }

    /// Tells where the picture lies.
    fn attach(&mut self, picture: &Picture) -> Result<(), Error> {
        let mut pieces = Vec::new();
        for (address, bytes) in picture.pieces() {
            pieces.extend([address.0 as u32, (address.0 >> 32) as u32, bytes, 0]);
        }
        let count = pieces.len() as u32 / 4;
        let backing = [&[picture.number(), count][..], &pieces].concat();
        self.order(kind::RESOURCE_ATTACH_BACKING, &backing)
    }

    fn order(&mut self, request: u32, fields: &[u32]) -> Result<(), Error> {
        self.ask(request, fields, kind::OK_NO_DATA, HEADER_BYTES).map(|_| ())
    }

    /// Sends a request and waits for its answer, which must be of a kind and have so many bytes. Without an
    /// answer, or with one that is no answer, the device is stopped.
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
        match polled::wait(queue, PATIENCE) {
            Ok(Some((answer, written))) if written >= HEADER_BYTES => {
                match (field(&answer, 0), written >= bytes) {
                    (kind, true) if kind == wanted => return Ok(answer),
                    (kind, _) if kind != wanted => return Err(Error::Refused(kind)),
                    _ => {}
                }
            }
            _ => {}
        }
        if !self.stop() {
            // It may still read it.
            core::mem::forget(memory);
        }
        Err(Error::NoAnswer)
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
        if self.queue.is_none() || picture.number() != self.shown || !picture.has_changed() {
            return Ok(true);
        }
        let now = hal::clock::now();
        if self.spare.iter().all(Option::is_some) {
            (self.since, self.found_busy) = (now, 0);
            self.send(picture);
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
            if !self.settle(deadline, looks) {
                // No further words wait for it.
                if let Some(queue) = self.queue.take() {
                    queue.leak();
                }
                return;
            }
            if wants_more && self.queue.is_some() && picture.number() == self.shown {
                self.send(picture);
            }
        }
    }

    /// Waits for the answers to what is on its way. False: they do not come.
    fn settle(&mut self, deadline: Instant, mut looks: u32) -> bool {
        while self.spare.iter().any(Option::is_none) {
            let gone = self.queue.is_none() || self.collect().is_err();
            looks = looks.saturating_sub(1);
            if gone || looks == 0 || hal::clock::now() > deadline {
                return false;
            }
            core::hint::spin_loop();
        }
        true
    }

    /// Sends both requests for the part of the picture that has changed.
    fn send(&mut self, picture: &Picture) {
        let Some(area) = picture.take_changed() else { return };
        let (number, pitch) = (picture.number(), picture.layout().pitch);
        let [left, top, right, bottom] =
            [area.left, area.top, area.right, area.bottom].map(u32::from);
        let (width, height) = (right - left, bottom - top);
        // Below 4 GiB, as the picture.
        let offset = top * pitch + left * 4;
        let transfer = [left, top, width, height, offset, 0, number, 0];
        self.push(kind::TRANSFER_TO_HOST_2D, &transfer);
        self.push(kind::RESOURCE_FLUSH, &[left, top, width, height, number, 0]);
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

/// The size of a display, when it is there.
fn size_of_display(displays: &[u8], number: usize) -> Option<(u32, u32)> {
    let display = displays.get(HEADER_BYTES + number * DISPLAY_BYTES..).unwrap_or_default();
    let [width, height, is_there] = [2, 3, 4].map(|at| field(display, at));
    (is_there != 0).then_some((width, height))
}

fn is_sane((width, height): (u32, u32)) -> bool {
    WIDTHS.contains(&width) && HEIGHTS.contains(&height)
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
