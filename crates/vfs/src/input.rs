//! /dev/input/event0: a keyboard as evdev gives it (Linux: Documentation/input/input.rst,
//! include/uapi/linux/input.h, drivers/input/evdev.c). Events cannot be injected.

use crate::device::Device;
use crate::file::{File, FileRef, IoctlArgument};
use crate::flags::OpenFlags;
use crate::metadata::{FileType, Metadata};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::io::{Sink, Source};
use base::sync::SpinLock;
use base::{Errno, Instant};
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use sched::{Notifier, PollEvents};

/// Its device number: that of the first event device.
pub const NUMBER: u64 = crate::device::device_number(13, 64);

/// Bytes of the set of all keys (KEY_CNT bits).
const KEY_BYTES: usize = 96;
/// `struct input_event`.
const EVENT_BYTES: usize = 24;
/// Events that wait for a reader at most (EVDEV_MIN_BUFFER_SIZE).
const QUEUE_MAX: usize = 64;

const SYN: u16 = 0;
const KEY: u16 = 1;
const SYN_REPORT: u16 = 0;
const SYN_DROPPED: u16 = 3;

/// A set of keys.
pub type Keys = [u8; KEY_BYTES];

/// The set of keys with these codes.
#[must_use]
pub fn keys(codes: impl IntoIterator<Item = u16>) -> Keys {
    let mut keys = [0; KEY_BYTES];
    codes.into_iter().for_each(|code| set(&mut keys, code, true));
    keys
}

fn has(keys: &Keys, code: u16) -> bool {
    keys.get(usize::from(code / 8)).is_some_and(|byte| byte >> (code % 8) & 1 != 0)
}

fn set(keys: &mut Keys, code: u16, on: bool) {
    if let Some(byte) = keys.get_mut(usize::from(code / 8)) {
        *byte = *byte & !(1 << (code % 8)) | u8::from(on) << (code % 8);
    }
}

struct State {
    held: Keys,
    readers: Vec<Weak<Reader>>,
    /// The only one that gets events (EVIOCGRAB).
    grab: Option<Weak<Reader>>,
}

/// A keyboard.
pub struct InputDevice {
    own: Weak<Self>,
    keys: Keys,
    state: SpinLock<State>,
}

impl InputDevice {
    /// A keyboard that has these keys.
    #[must_use]
    pub fn new(keys: Keys) -> Arc<Self> {
        let state = State { held: [0; KEY_BYTES], readers: Vec::new(), grab: None };
        Arc::new_cyclic(|own| Self { own: own.clone(), keys, state: SpinLock::new(state) })
    }

    /// A key went down, also again while it is held, or up. True: somebody wants the keys for
    /// himself.
    pub fn key(&self, code: u16, pressed: bool, now: Instant) -> bool {
        let (value, readers, grabbed) = {
            let mut state = self.state.lock();
            let held = has(&state.held, code);
            let value = match (pressed, held) {
                (true, false) => 1,
                (true, true) => 2,
                (false, _) => 0,
            };
            let grab = state.grab.as_ref().and_then(Weak::upgrade);
            let grabbed = grab.is_some();
            if !has(&self.keys, code) || !pressed && !held {
                return grabbed;
            }
            set(&mut state.held, code, pressed);
            let all = || state.readers.iter().filter_map(Weak::upgrade).collect();
            (value, grab.map_or_else(all, |reader| alloc::vec![reader]), grabbed)
        };
        for reader in readers {
            reader.push([(KEY, code, value), (SYN, SYN_REPORT, 0)], now);
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

impl Device for InputDevice {
    fn open(&self, _flags: OpenFlags) -> Result<FileRef, Errno> {
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

/// Type, code and value.
type Event = (u16, u16, i32);

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
    fn push(&self, events: [Event; 2], now: Instant) {
        let nanoseconds = if self.monotonic.load(Relaxed) {
            now.nanoseconds()
        } else {
            hal::clock::wall(now).nanoseconds
        };
        let stamped = |(kind, code, value): Event| {
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
                queue.push_back(stamped((SYN, SYN_DROPPED, 0)));
            }
            queue.extend(events.map(stamped));
        }
        self.notifier.notify(PollEvents::IN | PollEvents::RDNORM);
    }

    /// Commands that store bits or text: as many bytes as there is room for, whose number returns.
    fn answer(&self, number: u32) -> Result<Vec<u8>, Errno> {
        const NAME: &[u8] = b"AT Translated Set 2 keyboard\0";
        const PLACE: &[u8] = b"isa0060/serio0/input0\0";
        /// i8042, vendor 1, product 1, version: as Linux's atkbd has them.
        const ID: [u8; 8] = [0x11, 0, 1, 0, 1, 0, 0x41, 0xab];
        /// Commands for the bits of a type of event: 0 for the types.
        const BITS: u32 = 0x20;
        Ok(match number {
            0x01 => 0x0001_0001_u32.to_le_bytes().to_vec(),
            0x02 => ID.to_vec(),
            0x06 => NAME.to_vec(),
            0x07 => PLACE.to_vec(),
            // It has no number of its own.
            0x08 => return Err(Errno::ENOENT),
            0x18 => self.device.state.lock().held.to_vec(),
            BITS => u64::to_le_bytes(1 << SYN | 1 << KEY).to_vec(),
            0x21 => self.device.keys.to_vec(),
            // Properties; the states of lights, sounds and switches; axes, switches, what else there
            // is, lights, sounds: none.
            0x09 | 0x19..=0x1b | 0x22..=0x25 | 0x31 | 0x32 => alloc::vec![0; 8],
            // No force feedback.
            0x35 => alloc::vec![0; 16],
            // No repetition that could be set: the keyboard repeats.
            0x03 => return Err(Errno::ENOSYS),
            _ => return Err(Errno::EINVAL),
        })
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
        metadata.special_device = NUMBER;
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

    fn write(&self, _offset: u64, _source: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        let always = PollEvents::OUT | PollEvents::WRNORM;
        let readable = !self.queue.lock().is_empty();
        if readable { always | PollEvents::IN | PollEvents::RDNORM } else { always }
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
                // These two have a size of their own, and return nothing.
                return Ok(if matches!(command & 0xff, 1 | 2) { 0 } else { answer.len() });
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    fn describe(&self) -> String {
        String::from("/dev/input/event0")
    }
}

#[cfg(test)]
mod tests;
