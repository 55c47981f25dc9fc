//! Input devices (§5.8): a queue on which events come, eight bytes each, one on which they go to the device
//! (lights), and a configuration that says what they may be.

use super::handshake::Device;
use super::queue::{Queue, Segment, Violation};
use super::transport::{Acknowledge, QueueIndex, Transport};
use super::{Error, feature, report_broken};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use base::input::{Axis, Description, Event, InputSource, kind};
use core::ops::Range;
use hal::dma::DmaBuffer;
use hal::irq::Irq;
use hal::mmio::MmioWindow;

const EVENTS: QueueIndex = QueueIndex(0);
const STATUS: QueueIndex = QueueIndex(1);
const EVENT_BYTES: usize = 8;
/// Events that may come before they are looked at.
const BUFFERS: u16 = 64;
/// Axes that a device may have (ABS_CNT).
const MOST_AXES: u16 = 64;

/// The configuration (§5.8.4): what is asked for, and the answer.
mod configuration {
    pub(super) const SELECT: usize = 0;
    pub(super) const SUBSELECT: usize = 1;
    pub(super) const SIZE: usize = 2;
    pub(super) const ANSWER: usize = 8;
    pub(super) const ANSWER_BYTES: usize = 128;

    pub(super) const NAME: u8 = 0x01;
    pub(super) const IDS: u8 = 0x03;
    pub(super) const PROPERTIES: u8 = 0x10;
    pub(super) const CODES: u8 = 0x11;
    pub(super) const AXIS: u8 = 0x12;
}

/// A virtio input device.
pub struct VirtioInput {
    device: Device,
    acknowledge: Option<Acknowledge>,
    // `None` once the device broke the rules.
    queue: Option<Queue<Range<usize>>>,
    /// All buffers of the queue, which tells where in it they are.
    buffer: Option<DmaBuffer>,
    /// `None`: the device is told nothing.
    status: Option<Queue<DmaBuffer>>,
    /// Memory for what it is told next.
    spare: Vec<DmaBuffer>,
}

/// As many events to the device may be on their way.
const TOLD: u16 = 8;

impl VirtioInput {
    /// Brings up the device behind `transport`: what it is, and what it raises.
    ///
    /// # Errors
    /// The device does not follow, or there is no memory, or no interrupt.
    pub fn new(transport: Box<dyn Transport>) -> Result<(Self, Description, Irq), Error> {
        let mut device = Device::negotiate(transport, 0)?;
        let window = device.transport().configuration().ok_or(Error::Unmapped)?;
        let description = describe(window);
        let interrupt = device.transport().interrupt();
        let irq = interrupt.as_ref().ok_or(Error::NoInterrupt)?.irq;
        let acknowledge = device.transport().acknowledge();
        let vector = interrupt.map(|interrupt| interrupt.vector);
        let event_index = device.has(feature::EVENT_INDEX);
        let mut queue = Queue::new(device.transport(), EVENTS, BUFFERS, event_index, vector)?;
        let buffer = DmaBuffer::new(usize::from(BUFFERS) * EVENT_BYTES)?;
        for at in 0..usize::from(queue.size()) {
            let place = at * EVENT_BYTES..(at + 1) * EVENT_BYTES;
            let segment = Segment::writable(&buffer, place.clone()).ok_or(Error::OutOfMemory)?;
            let _ = queue.push(place, &[segment]);
        }
        let status = Queue::new(device.transport(), STATUS, TOLD, event_index, None).ok();
        let mut spare = Vec::with_capacity(usize::from(TOLD));
        for _ in 0..status.as_ref().map_or(0, Queue::size) {
            spare.push(DmaBuffer::new(EVENT_BYTES)?);
        }
        device.start();
        queue.publish();
        // Nothing is there yet, or the interrupt comes at once.
        let _ = queue.request_interrupt(1);
        let (queue, buffer) = (Some(queue), Some(buffer));
        Ok((Self { device, acknowledge, queue, buffer, status, spare }, description, irq))
    }

    fn stop(&mut self) {
        let stopped = self.device.stop();
        if let (Some(queue), Some(buffer)) = (self.queue.take(), self.buffer.take())
            && !stopped
        {
            // It may still write to them.
            queue.leak();
            core::mem::forget(buffer);
        }
        if let Some(status) = self.status.take()
            && !stopped
        {
            status.leak();
        }
    }

    /// Sends an event to the device, when there is memory for it.
    fn send(&mut self, event: Event) -> Result<(), Violation> {
        let Some(status) = &mut self.status else { return Ok(()) };
        while let Some(completion) = status.pop()? {
            self.spare.extend(status.release(completion.head));
        }
        let Some(mut buffer) = self.spare.pop() else { return Ok(()) };
        let ([a, b], [c, d]) = (event.kind.to_le_bytes(), event.code.to_le_bytes());
        let [e, f, g, h] = event.value.to_le_bytes();
        buffer.copy_from_slice(&[a, b, c, d, e, f, g, h]);
        if let Some(segment) = Segment::readable(&buffer, 0..EVENT_BYTES) {
            self.spare.extend(status.push(buffer, &[segment]).err());
        }
        status.publish();
        Ok(())
    }
}

impl InputSource for VirtioInput {
    fn next(&mut self) -> Option<Event> {
        if let Some(acknowledge) = &self.acknowledge {
            acknowledge.all();
        }
        let queue = self.queue.as_mut()?;
        let mut found = queue.pop();
        if matches!(found, Ok(None)) && queue.request_interrupt(1) {
            // It came meanwhile, perhaps without an interrupt.
            found = queue.pop();
        }
        let completion = match found {
            Ok(completion) => completion?,
            Err(violation) => {
                report_broken("virtio-input", violation);
                self.stop();
                return None;
            }
        };
        let place = queue.token(completion.head).cloned();
        let bytes = place.and_then(|place| self.buffer.as_ref()?.get(place)?.try_into().ok());
        queue.recycle(completion.head);
        queue.publish();
        let [a, b, c, d, value @ ..]: [u8; EVENT_BYTES] = bytes?;
        Some(Event {
            kind: u16::from_le_bytes([a, b]),
            code: u16::from_le_bytes([c, d]),
            value: i32::from_le_bytes(value),
        })
    }

    fn tell(&mut self, event: Event) {
        if let Err(violation) = self.send(event) {
            report_broken("virtio-input", violation);
            self.stop();
        }
    }
}

impl Drop for VirtioInput {
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.stop();
        }
    }
}

/// Asks for a part of the configuration.
fn ask(window: &MmioWindow, select: u8, subselect: u8) -> Vec<u8> {
    window.write_u8(configuration::SELECT, select);
    window.write_u8(configuration::SUBSELECT, subselect);
    let size = usize::from(window.read_u8(configuration::SIZE)).min(configuration::ANSWER_BYTES);
    (0..size).map(|at| window.read_u8(configuration::ANSWER + at)).collect()
}

fn describe(window: &MmioWindow) -> Description {
    let half = |bytes: &[u8], at: usize| match bytes.get(2 * at..2 * at + 2) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    let ids = ask(window, configuration::IDS, 0);
    let mut properties = ask(window, configuration::PROPERTIES, 0);
    properties.resize(4, 0);
    let mut codes = Vec::new();
    for kind in 1..kind::COUNT {
        let bits = ask(window, configuration::CODES, kind as u8);
        if !bits.is_empty() {
            codes.push((kind, bits));
        }
    }
    let mut description = Description {
        name: String::from_utf8_lossy(&ask(window, configuration::NAME, 0))
            .trim_end_matches('\0')
            .into(),
        place: String::new(),
        id: [0, 1, 2, 3].map(|at| half(&ids, at)),
        codes,
        axes: Vec::new(),
        properties: properties.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)),
    };
    for code in 0..MOST_AXES {
        if description.has(kind::ABS, code) {
            description.axes.push((code, axis(&ask(window, configuration::AXIS, code as u8))));
        }
    }
    description
}

/// An axis as the device describes it: five words.
fn axis(answer: &[u8]) -> Axis {
    let field = |at: usize| match answer.get(4 * at..4 * at + 4) {
        Some(&[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]),
        _ => 0,
    };
    let [minimum, maximum, fuzz, flat, resolution] = [0, 1, 2, 3, 4].map(field);
    Axis { value: 0, minimum, maximum, fuzz, flat, resolution }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Behaviour, Device as Model, Shared, lock, mmio_window};
    use crate::virtio::MmioTransport;
    use std::sync::{Arc, Mutex};

    /// A device with this answer to whatever is asked.
    fn device(behaviour: Behaviour, answer: &[u8]) -> Shared {
        let mut model = Model::new(18, 0, behaviour);
        model.configuration = std::vec![0; 136];
        model.configuration[configuration::SIZE] = answer.len() as u8;
        model.configuration[configuration::ANSWER..][..answer.len()].copy_from_slice(answer);
        Arc::new(Mutex::new(model))
    }

    fn attach(device: &Shared) -> Result<(VirtioInput, Description, Irq), Error> {
        let irq = hal::irq::allocate_line(5);
        let transport = MmioTransport::new(mmio_window(device), || irq).unwrap();
        VirtioInput::new(Box::new(transport))
    }

    #[test]
    fn events_come_and_buffers_go_round() {
        hal::sim::reset(1, 1 << 12);
        // Each buffer is filled with 0, 1, 2, … once it is given.
        let device = device(Behaviour::Count, b"\x03names");
        let (mut input, description, _) = attach(&device).unwrap();
        assert_eq!(description.name, "\x03names");
        assert_eq!(description.id, [0x6e03, 0x6d61, 0x7365, 0]);
        assert!(description.has(kind::KEY, 0) && description.has(kind::KEY, 1));
        // Its first byte says that it has the axes 0 and 1.
        let axis = Axis { minimum: 0x6d61_6e03, ..Axis::default() };
        assert_eq!(description.axes[..2], [(0, axis), (1, axis)]);
        let event = Event { kind: 0x0100, code: 0x0302, value: 0x0706_0504 };
        for _ in 0..1000 {
            assert_eq!(input.next(), Some(event));
        }
        drop(input);
        assert_eq!(lock(&device).status, 0, "it is reset");
    }

    #[test]
    fn lights_are_told_to_the_device() {
        hal::sim::reset(1, 1 << 12);
        let device = device(Behaviour::Dead, b"");
        let (mut input, ..) = attach(&device).unwrap();
        let light = |value| Event { kind: kind::LED, code: 1, value };
        for value in 0..20 {
            input.tell(light(value));
        }
        // The device has room for eight.
        let told = |count: usize| -> Vec<i32> {
            let queue = &mut lock(&device).queues[1];
            let chains =
                (0..count).map_while(|_| queue.next(false)).map(|chain| (chain.head, chain.read()));
            let chains: Vec<_> = chains.collect();
            let value = |(head, event): (u16, Vec<u8>)| {
                queue.put_used(head, 0, false);
                assert_eq!(event[..4], [0x11, 0, 1, 0]);
                i32::from_le_bytes(event[4..].try_into().unwrap())
            };
            chains.into_iter().map(value).collect()
        };
        assert_eq!(told(20), [0, 1, 2, 3, 4, 5, 6, 7]);
        input.tell(light(-1));
        assert_eq!(told(20), [-1]);
        lock(&device).queues[1].scribble(2, &500_u16.to_le_bytes());
        input.tell(light(1));
        assert_eq!(input.next(), None);
        assert_eq!(lock(&device).status, 0);
    }

    #[test]
    fn a_device_that_says_nothing_is_left_alone() {
        hal::sim::reset(1, 1 << 12);
        let device = device(Behaviour::Dead, b"");
        let (mut input, description, _) = attach(&device).unwrap();
        assert_eq!(description, Description::default());
        assert_eq!(input.next(), None);
    }

    #[test]
    fn without_an_interrupt_it_is_not_used() {
        hal::sim::reset(1, 1 << 12);
        let device = device(Behaviour::Dead, b"");
        let transport = MmioTransport::new(mmio_window(&device), || None).unwrap();
        let outcome = VirtioInput::new(Box::new(transport));
        assert_eq!(outcome.err(), Some(Error::NoInterrupt));
    }
}
