//! I/O APICs: they turn interrupt lines into messages to a processor.

use super::paging;
use base::PAGE_SIZE;
use base::sync::{Rank, SpinLock};
use core::fmt::Arguments;

/// Where QEMU's machines and PCs have the first one, and microvm a second.
const ADDRESSES: [u64; 2] = [0xfec0_0000, 0xfec1_0000];
const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
/// Offset of the data register.
const WINDOW: usize = 0x10;

#[derive(Clone, Copy)]
struct Controller {
    registers: *mut u32,
    first: u32,
    lines: u32,
}

// SAFETY: used under the lock only.
unsafe impl Send for Controller {}

static CONTROLLERS: SpinLock<[Option<Controller>; ADDRESSES.len()]> =
    SpinLock::ranked(Rank::InterruptControllers, [None; ADDRESSES.len()]);

impl Controller {
    fn read(self, register: u32) -> u32 {
        // SAFETY: the page is mapped; the index register says what the data register shows.
        unsafe {
            self.registers.write_volatile(register);
            self.registers.byte_add(WINDOW).read_volatile()
        }
    }

    fn write(self, register: u32, value: u32) {
        // SAFETY: as in `read`; entries are only ever given vectors that have handlers.
        unsafe {
            self.registers.write_volatile(register);
            self.registers.byte_add(WINDOW).write_volatile(value);
        }
    }
}

/// Finds the controllers and masks all their lines.
pub(super) fn init() {
    let mut controllers = CONTROLLERS.lock();
    let mut first = 0;
    for (slot, address) in controllers.iter_mut().zip(ADDRESSES) {
        let Some(registers) = paging::map_device(address, PAGE_SIZE) else { return };
        let controller = Controller { registers: registers.cast(), first, lines: 0 };
        let version = controller.read(VERSION);
        let lines = (version >> 16 & 0xff) + 1;
        // Version 0x11 or 0x20; where there is no device all bits read the same.
        if !(0x10..=0x2f).contains(&(version & 0xff)) || !(16..=240).contains(&lines) {
            return;
        }
        for line in 0..lines {
            controller.write(REDIRECTION + 2 * line, MASKED);
        }
        *slot = Some(Controller { lines, ..controller });
        first += lines;
    }
}

/// Sends line `line` (counted over all controllers) as `vector` to a processor, for as long as it
/// is raised (`level`) or once each time. `false`: there is no such line.
pub(super) fn route(line: u32, active_low: bool, level: bool, vector: u8, apic_id: u32) -> bool {
    let polarity = if active_low { ACTIVE_LOW } else { 0 } | if level { LEVEL } else { 0 };
    let controllers = CONTROLLERS.lock();
    for controller in controllers.iter().flatten() {
        let Some(own) = line.checked_sub(controller.first).filter(|own| *own < controller.lines)
        else {
            continue;
        };
        controller.write(REDIRECTION + 2 * own + 1, apic_id << 24);
        controller.write(REDIRECTION + 2 * own, u32::from(vector) | polarity);
        return true;
    }
    false
}

/// Says which there are.
pub(super) fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    let controllers = *CONTROLLERS.lock();
    for (controller, address) in controllers.iter().zip(ADDRESSES) {
        if let Some(Controller { first, lines, .. }) = controller {
            each("io apic", format_args!("{address:#x}, {lines} lines from {first}"));
        }
    }
    if controllers.iter().all(Option::is_none) {
        each("io apic", format_args!("none"));
    }
}

/// True when `start..end` has a page of a controller.
pub(super) fn owns(start: u64, end: u64) -> bool {
    ADDRESSES.iter().any(|&page| start < page + PAGE_SIZE && page < end)
}
