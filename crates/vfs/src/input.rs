//! /dev/input/event*: keyboards, mice and others as evdev gives them (Linux:
//! Documentation/input/input.rst, include/uapi/linux/input.h, drivers/input/evdev.c).

use crate::access::Who;
use crate::device::Device;
use crate::file::{File, FileRef, IoctlArgument};
use crate::metadata::{FileType, Metadata};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::input::kind::{ABS, KEY, LED, REL, SYN};
use base::input::{self, Axis, Description, Event};
use base::io::{Sink, Source};
use base::sync::{Once, SpinLock};
use base::{Errno, Instant};
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use sched::{Notifier, PollEvents};

/// As many have a number (EVDEV_MINORS).
pub const MOST: u32 = 32;

/// The device number of an event device, counted from 0.
#[must_use]
pub const fn device_number(index: u32) -> u64 {
    const MAJOR: u64 = 13;
    const FIRST: u64 = 64;
    crate::device::device_number(MAJOR, FIRST + index as u64)
}

/// Bytes of the set of all keys (KEY_CNT bits).
const KEY_BYTES: usize = 96;
/// `struct input_event`.
const EVENT_BYTES: usize = 24;
/// Events that wait for a reader at most (EVDEV_MIN_BUFFER_SIZE).
const QUEUE_MAX: usize = 64;

const SYN_DROPPED: u16 = 3;

/// Takes a key's number, whether it went down, and when, of keys that no program has for itself.
pub type TypedHook = Box<dyn Fn(u16, bool, Instant) + Send + Sync>;

/// Takes what the device is to do, of what a program has written: a light that changes, and a bit for
/// each that is on then.
pub type ToldHook = Box<dyn Fn(Event, u16) + Send + Sync>;

/// A set of keys.
type Keys = [u8; KEY_BYTES];

/// A PC's keyboard with these keys, as Linux describes it.
#[must_use]
pub fn pc_keyboard(keys: impl IntoIterator<Item = u16>) -> Description {
    Description {
        name: String::from("AT Translated Set 2 keyboard"),
        place: String::from("isa0060/serio0/input0"),
        // i8042, vendor 1, product 1, version: as Linux's atkbd has them.
        id: [0x11, 1, 1, 0xab41],
        // The lights of NumLock, CapsLock and ScrollLock.
        codes: alloc::vec![(KEY, input::bits(keys)), (LED, input::bits(0..3))],
        ..Description::default()
    }
}

/// A PC's mouse, as Linux describes it.
#[must_use]
pub fn pc_mouse(
    has_wheel: bool,
    buttons: impl IntoIterator<Item = u16>,
    axes: impl IntoIterator<Item = u16>,
) -> Description {
    const WHEEL: u16 = 8;
    let axes = axes.into_iter().filter(|axis| has_wheel || *axis != WHEEL);
    let (name, product) =
        if has_wheel { ("ImPS/2 Generic Wheel Mouse", 5) } else { ("PS/2 Generic Mouse", 1) };
    Description {
        name: String::from(name),
        place: String::from("isa0060/serio1/input0"),
        id: [0x11, 2, product, 0],
        codes: alloc::vec![(KEY, input::bits(buttons)), (REL, input::bits(axes))],
        // INPUT_PROP_POINTER.
        properties: 1,
        ..Description::default()
    }
}

fn has(keys: &Keys, code: u16) -> bool {
    keys.get(usize::from(code / 8)).is_some_and(|byte| byte >> (code % 8) & 1 != 0)
}

fn set(keys: &mut Keys, code: u16, on: bool) {
    if let Some(byte) = keys.get_mut(usize::from(code / 8)) {
        *byte = *byte & !(1 << (code % 8)) | u8::from(on) << (code % 8);
    }
}

/// Bits with zeros behind them, as many bytes as Linux has.
fn padded(bits: &[u8], length: usize) -> Vec<u8> {
    let mut bits = bits.to_vec();
    bits.resize(length, 0);
    bits
}

struct State {
    held: Keys,
    /// A bit for each light that is on.
    lights: u16,
    axes: Vec<(u16, Axis)>,
    readers: Vec<Weak<Reader>>,
    /// The only one that gets events (EVIOCGRAB).
    grab: Option<Weak<Reader>>,
    /// What programs have written since the last report.
    written: Vec<Event>,
}

/// A device.
pub struct InputDevice {
    own: Weak<Self>,
    index: u32,
    description: Description,
    state: SpinLock<State>,
    typed: Once<TypedHook>,
    told: Once<ToldHook>,
}

impl InputDevice {
    /// The event device of this number, counted from 0.
    #[must_use]
    pub fn new(index: u32, description: Description) -> Arc<Self> {
        let axes = description.axes.clone();
        let (readers, written) = (Vec::new(), Vec::new());
        let state = State { held: [0; KEY_BYTES], lights: 0, axes, readers, grab: None, written };
        let (state, typed, told) = (SpinLock::new(state), Once::new(), Once::new());
        Arc::new_cyclic(|own| Self { own: own.clone(), index, description, state, typed, told })
    }

    /// Its number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// True for a device with letters.
    #[must_use]
    pub fn is_keyboard(&self) -> bool {
        const A: u16 = 30;
        self.description.has(KEY, A)
    }

    /// Keys that programs let go down and up are typed there. Once.
    pub fn types(&self, hook: TypedHook) {
        self.typed.call_once(|| hook);
    }

    /// What programs have the device do goes there. Once.
    pub fn tells(&self, hook: ToldHook) {
        self.told.call_once(|| hook);
    }

    /// A key went down, also again while it is held, or up. True: somebody wants the keys for
    /// himself.
    pub fn key(&self, code: u16, pressed: bool, now: Instant) -> bool {
        self.report([Event { kind: KEY, code, value: i32::from(pressed) }], now)
    }

    /// Events that belong together; what changes nothing is left out, and what the device does not
    /// have. True: somebody wants them for himself.
    pub fn report(&self, events: impl IntoIterator<Item = Event>, now: Instant) -> bool {
        let changes = {
            let mut state = self.state.lock();
            let events =
                events.into_iter().filter(|event| self.description.has(event.kind, event.code));
            events.filter_map(|event| state.change(event)).collect()
        };
        self.deliver(changes, Event::REPORT, now)
    }

    /// What a program has written happens, as with Linux's input_inject_event: what changes nothing, or
    /// the device does not have, is left out; the rest belongs together up to the next report.
    fn inject(&self, event: Event, now: Instant) {
        const REPORT: Event = Event::REPORT;
        let is_report = (event.kind, event.code) == (REPORT.kind, REPORT.code);
        let mut told = None;
        let changes = {
            let mut state = self.state.lock();
            if !is_report
                && self.description.has(event.kind, event.code)
                && let Some(event) = state.injected(event)
            {
                state.written.push(event);
                told = (event.kind == LED).then_some((event, state.lights));
            }
            // So many at once that a reader has room for.
            let is_whole = is_report || state.written.len() >= QUEUE_MAX / 2;
            is_whole.then(|| core::mem::take(&mut state.written))
        };
        if let (Some((event, lights)), Some(hook)) = (told, self.told.get()) {
            hook(event, lights);
        }
        let Some(changes) = changes else { return };
        let end = if is_report { event } else { REPORT };
        let keys: Vec<Event> = changes.iter().filter(|event| event.kind == KEY).copied().collect();
        if !self.deliver(changes, end, now)
            && let Some(typed) = self.typed.get()
        {
            keys.iter().for_each(|key| typed(key.code, key.value != 0, now));
        }
    }

    /// Gives readers events, and their end, if there are any. True: somebody wants them for himself.
    fn deliver(&self, mut changes: Vec<Event>, end: Event, now: Instant) -> bool {
        let (readers, grabbed) = {
            let state = self.state.lock();
            let grab = state.grab.as_ref().and_then(Weak::upgrade);
            let grabbed = grab.is_some();
            let all = || state.readers.iter().filter_map(Weak::upgrade).collect();
            (grab.map_or_else(all, |reader| alloc::vec![reader]), grabbed)
        };
        if !changes.is_empty() {
            changes.push(end);
            readers.iter().for_each(|reader| reader.push(&changes, now));
        }
        grabbed
    }

    fn grab(&self, reader: &Reader, wanted: bool) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let holder = state.grab.as_ref().and_then(Weak::upgrade);
        let is_ours = holder.as_ref().is_some_and(|one| core::ptr::eq(&raw const **one, reader));
        state.grab = match (wanted, holder) {
            (true, None) => Some(reader.own.clone()),
            (true, Some(_)) => return Err(Errno::EBUSY),
            (false, _) if is_ours => None,
            (false, _) => return Err(Errno::EINVAL),
        };
        Ok(())
    }
}

impl State {
    /// What readers see of an event. `None`: nothing changed.
    fn change(&mut self, event: Event) -> Option<Event> {
        let Event { kind, code, value } = event;
        match kind {
            KEY => {
                let held = has(&self.held, code);
                set(&mut self.held, code, value != 0);
                match (value != 0, held) {
                    (false, false) => None,
                    // Down already: it repeats.
                    (true, true) => Some(Event { value: 2, ..event }),
                    (pressed, _) => Some(Event { value: i32::from(pressed), ..event }),
                }
            }
            REL => (value != 0).then_some(event),
            ABS => {
                let axis = self.axes.iter_mut().find(|axis| axis.0 == code)?;
                (core::mem::replace(&mut axis.1.value, value) != value).then_some(event)
            }
            LED => {
                let (bit, before) = (1_u16.checked_shl(code.into())?, self.lights);
                self.lights = if value == 0 { before & !bit } else { before | bit };
                (self.lights != before).then_some(event)
            }
            _ => Some(event),
        }
    }

    /// The same of an event that a program has written: whoever writes keys says himself which repeat.
    fn injected(&mut self, event: Event) -> Option<Event> {
        let Event { kind: KEY, code, value } = event else { return self.change(event) };
        let pressed = value != 0;
        if value != 2 && has(&self.held, code) == pressed {
            return None;
        }
        if value != 2 {
            set(&mut self.held, code, pressed);
        }
        Some(event)
    }
}

impl Device for InputDevice {
    fn open(&self, _who: &Who) -> Result<FileRef, Errno> {
        let device = self.own.upgrade().ok_or(Errno::ENODEV)?;
        let reader = Arc::new_cyclic(|own| Reader {
            own: own.clone(),
            number: crate::anonymous::next_number(),
            device,
            queue: SpinLock::default(),
            monotonic: AtomicBool::new(false),
            notifier: Notifier::new(),
        });
        let mut state = self.state.lock();
        state.readers.retain(|reader| reader.strong_count() > 0);
        state.readers.push(Arc::downgrade(&reader));
        Ok(reader)
    }
}

/// Somebody who has opened the device.
struct Reader {
    own: Weak<Self>,
    number: u64,
    device: Arc<InputDevice>,
    queue: SpinLock<VecDeque<[u8; EVENT_BYTES]>>,
    /// The clock that events are stamped with: that of the wall, or the monotonic one.
    monotonic: AtomicBool,
    notifier: Notifier,
}

impl Reader {
    fn push(&self, events: &[Event], now: Instant) {
        let nanoseconds = if self.monotonic.load(Relaxed) {
            now.nanoseconds()
        } else {
            hal::clock::wall(now).nanoseconds
        };
        let stamped = |&Event { kind, code, value }: &Event| {
            let mut bytes = [0; EVENT_BYTES];
            bytes[..8].copy_from_slice(&(nanoseconds / 1_000_000_000).to_le_bytes());
            bytes[8..16].copy_from_slice(&(nanoseconds / 1000 % 1_000_000).to_le_bytes());
            bytes[16..18].copy_from_slice(&kind.to_le_bytes());
            bytes[18..20].copy_from_slice(&code.to_le_bytes());
            bytes[20..].copy_from_slice(&value.to_le_bytes());
            bytes
        };
        {
            let mut queue = self.queue.lock();
            if queue.len() + events.len() > QUEUE_MAX {
                queue.clear();
                queue.push_back(stamped(&Event { code: SYN_DROPPED, ..Event::REPORT }));
            }
            queue.extend(events.iter().map(stamped));
        }
        self.notifier.notify(PollEvents::READABLE);
    }

    /// Commands that store bits or text: as many bytes as there is room for, whose number returns.
    fn answer(&self, number: u32) -> Result<Vec<u8>, Errno> {
        /// Commands for the bits of a type of event: 0 for the types; then those for axes.
        const BITS: u32 = 0x20;
        const AXES: u32 = 0x40;
        const AXES_END: u32 = 0x80;
        let description = &self.device.description;
        let text = |text: &str| [text.as_bytes(), &[0]].concat();
        Ok(match number {
            0x01 => 0x0001_0001_u32.to_le_bytes().to_vec(),
            0x02 => description.id.iter().flat_map(|part| part.to_le_bytes()).collect(),
            0x06 => text(&description.name),
            0x07 if description.place.is_empty() => return Err(Errno::ENOENT),
            0x07 => text(&description.place),
            // It has no number of its own.
            0x08 => return Err(Errno::ENOENT),
            0x09 => u64::from(description.properties).to_le_bytes().to_vec(),
            0x18 => self.device.state.lock().held.to_vec(),
            0x19 => u64::from(self.device.state.lock().lights).to_le_bytes().to_vec(),
            // The states of sounds and switches.
            0x1a | 0x1b => alloc::vec![0; 8],
            BITS => {
                let kinds = description.codes.iter().map(|row| row.0).chain([SYN]);
                padded(&input::bits(kinds), 8)
            }
            0x21..AXES => self.codes((number - BITS) as u16)?,
            AXES..AXES_END => self.axis((number - AXES) as u16)?,
            // No repetition that could be set: the keyboard repeats.
            0x03 => return Err(Errno::ENOSYS),
            _ => return Err(Errno::EINVAL),
        })
    }

    /// The codes of a type of event that the device has.
    fn codes(&self, kind: u16) -> Result<Vec<u8>, Errno> {
        let length = match kind {
            KEY => KEY_BYTES,
            // Axes, what else there is, switches; lights, sounds.
            REL..=5 | 0x11 | 0x12 => 8,
            // Force feedback.
            0x15 => 16,
            _ => return Err(Errno::EINVAL),
        };
        let row = self.device.description.codes.iter().find(|row| row.0 == kind);
        Ok(padded(row.map_or(&[], |row| &row.1), length))
    }

    /// What there is to know of an axis; zeros for one that the device lacks, if it has others.
    fn axis(&self, code: u16) -> Result<Vec<u8>, Errno> {
        let state = self.device.state.lock();
        if state.axes.is_empty() {
            return Err(Errno::EINVAL);
        }
        let axis =
            state.axes.iter().find(|axis| axis.0 == code).map_or_else(Axis::default, |axis| axis.1);
        let Axis { value, minimum, maximum, fuzz, flat, resolution } = axis;
        let fields = [value, minimum, maximum, fuzz, flat, resolution];
        Ok(fields.iter().flat_map(|field| field.to_le_bytes()).collect())
    }

    fn set_clock(&self, argument: &mut dyn IoctlArgument) -> Result<(), Errno> {
        const REALTIME: u32 = 0;
        const MONOTONIC: u32 = 1;
        const BOOTTIME: u32 = 7;
        let mut clock = [0; 4];
        argument.load(&mut clock)?;
        let monotonic = match u32::from_le_bytes(clock) {
            REALTIME => false,
            MONOTONIC | BOOTTIME => true,
            _ => return Err(Errno::EINVAL),
        };
        if self.monotonic.swap(monotonic, Relaxed) != monotonic {
            // Stamps of two clocks do not go together.
            self.queue.lock().clear();
        }
        Ok(())
    }
}

impl File for Reader {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let mut metadata = Metadata::anonymous(FileType::CharacterDevice, 0o660, self.number);
        metadata.special_device = device_number(self.device.index);
        Ok(metadata)
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        if sink.room() < EVENT_BYTES {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        while sink.room() >= EVENT_BYTES {
            let Some(event) = self.queue.lock().pop_front() else { break };
            sink.put(&event)?;
            done += EVENT_BYTES;
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        if (1..EVENT_BYTES).contains(&source.remaining()) {
            return Err(Errno::EINVAL);
        }
        let (mut done, now) = (0, hal::clock::now());
        while source.remaining() >= EVENT_BYTES {
            let mut event = [0; EVENT_BYTES];
            if source.take(&mut event)? < EVENT_BYTES {
                return Err(Errno::EFAULT);
            }
            // When it happens is now.
            let [.., a, b, c, d, e, f, g, h] = event;
            let event = Event {
                kind: u16::from_le_bytes([a, b]),
                code: u16::from_le_bytes([c, d]),
                value: i32::from_le_bytes([e, f, g, h]),
            };
            self.device.inject(event, now);
            done += EVENT_BYTES;
        }
        Ok(done)
    }

    fn poll(&self) -> PollEvents {
        let always = PollEvents::WRITABLE;
        let readable = !self.queue.lock().is_empty();
        if readable { always | PollEvents::READABLE } else { always }
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(&self.notifier)
    }

    fn ioctl(&self, command: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        const TYPE: u32 = b'E' as u32;
        const READ: u32 = 2;
        const GRAB: u32 = 0x4004_4590;
        const SET_CLOCK: u32 = 0x4004_45a0;
        match command {
            GRAB => self.device.grab(self, argument.value() != 0)?,
            SET_CLOCK => self.set_clock(argument)?,
            _ if command >> 8 & 0xff == TYPE && command >> 30 == READ => {
                let answer = self.answer(command & 0xff)?;
                let room = (command >> 16 & 0x3fff) as usize;
                let answer = answer.get(..room).unwrap_or(&answer);
                argument.store(answer)?;
                // These have a size of their own, and return nothing.
                let fixed = matches!(command & 0xff, 0x01 | 0x02 | 0x40..=0x7f);
                return Ok(if fixed { 0 } else { answer.len() });
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    fn describe(&self) -> String {
        alloc::format!("/dev/input/event{}", self.device.index)
    }
}

#[cfg(test)]
mod tests;
