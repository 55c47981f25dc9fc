//! The port between what drives an input device and whoever gives programs its events. Numbers are
//! those of Linux's evdev (include/uapi/linux/input-event-codes.h), which virtio uses too.

use alloc::string::String;
use alloc::vec::Vec;

/// Something happened at a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its type.
    pub kind: u16,
    /// What, by the numbers of the type.
    pub code: u16,
    /// How much.
    pub value: i32,
}

impl Event {
    /// What came since the last of these belongs together.
    pub const REPORT: Self = Self { kind: kind::SYN, code: 0, value: 0 };
}

/// Types of events.
#[expect(missing_docs, reason = "Linux's names")]
pub mod kind {
    pub const SYN: u16 = 0;
    pub const KEY: u16 = 1;
    pub const REL: u16 = 2;
    pub const ABS: u16 = 3;
    pub const LED: u16 = 0x11;
    /// Types are below.
    pub const COUNT: u16 = 0x20;
}

/// What there is to know of an axis with places (`struct input_absinfo`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "Linux's names")]
pub struct Axis {
    pub value: i32,
    pub minimum: i32,
    pub maximum: i32,
    pub fuzz: i32,
    pub flat: i32,
    pub resolution: i32,
}

/// What a device is and has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    /// For people.
    pub name: String,
    /// Where it is; empty: it is not known.
    pub place: String,
    /// Bus, vendor, product, version.
    pub id: [u16; 4],
    /// Types of events that it makes, with a bit for each code.
    pub codes: Vec<(u16, Vec<u8>)>,
    /// Its axes with places, by code.
    pub axes: Vec<(u16, Axis)>,
    /// A bit for each property (INPUT_PROP_*).
    pub properties: u32,
}

impl Description {
    /// True when the device makes such events.
    #[must_use]
    pub fn has(&self, kind: u16, code: u16) -> bool {
        let bits = self.codes.iter().find(|row| row.0 == kind).map(|row| row.1.as_slice());
        bits.and_then(|bits| bits.get(usize::from(code / 8)))
            .is_some_and(|byte| byte >> (code % 8) & 1 != 0)
    }
}

/// Bits for these codes.
#[must_use]
pub fn bits(codes: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut bits = Vec::new();
    for code in codes {
        let at = usize::from(code / 8);
        bits.resize(bits.len().max(at + 1), 0);
        if let Some(byte) = bits.get_mut(at) {
            *byte |= 1 << (code % 8);
        }
    }
    bits
}

/// A device that is driven.
pub trait InputSource: Send {
    /// The next event; an interrupt comes again after `None`.
    fn next(&mut self) -> Option<Event>;

    /// Lets the device do something: a light, say. Left out when it is too busy.
    fn tell(&mut self, event: Event) {
        let _ = event;
    }
}
