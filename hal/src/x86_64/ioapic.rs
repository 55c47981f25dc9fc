//! I/O APICs: they turn interrupt lines into messages to a processor.

use super::paging;
use base::PAGE_SIZE;
use base::sync::{Rank, SpinLock};
use core::fmt::Arguments;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where QEMU's machines and PCs have the first one, and microvm a second, when no table says.
const USUAL: [u64; 2] = [0xfec0_0000, 0xfec1_0000];
/// As many as are used.
const MOST: usize = 8;
/// What the tables say: address, and the first line in the upper half; 0: no more.
static TOLD: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
/// Offset of the data register.
const WINDOW: usize = 0x10;

#[derive(Clone, Copy)]
struct Controller {
    address: u64,
    registers: *mut u32,
    first: u32,
    lines: u32,
}

// SAFETY: used under the lock only.
unsafe impl Send for Controller {}

static CONTROLLERS: SpinLock<[Option<Controller>; MOST]> =
    SpinLock::ranked(Rank::InterruptControllers, [None; MOST]);

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

/// The tables name one: its address, and which line its first is.
pub(super) fn tell(address: u32, first: u32) {
    let told = u64::from(address) | u64::from(first) << 32;
    if let Some(slot) = TOLD.iter().find(|slot| slot.load(Relaxed) == 0) {
        slot.store(told, Relaxed);
    }
}

/// The addresses where there may be one, with its first line where the tables say it.
fn places() -> impl Iterator<Item = (u64, Option<u32>)> {
    let told = || TOLD.iter().map(|told| told.load(Relaxed)).filter(|told| *told != 0);
    let usual = USUAL.into_iter().filter(move |_| told().next().is_none());
    told()
        .map(|told| (told & 0xffff_ffff, Some((told >> 32) as u32)))
        .chain(usual.map(|at| (at, None)))
}

/// Finds the controllers and masks all their lines.
pub(super) fn init() {
    let mut controllers = CONTROLLERS.lock();
    let mut next = 0;
    for (slot, (address, first)) in controllers.iter_mut().zip(places()) {
        let first = first.unwrap_or(next);
        let Some(controller) = find(address, first) else { return };
        next = first + controller.lines;
        *slot = Some(controller);
    }
}

fn find(address: u64, first: u32) -> Option<Controller> {
    let registers = paging::map_device(address, PAGE_SIZE)?;
    let controller = Controller { address, registers: registers.cast(), first, lines: 0 };
    let version = controller.read(VERSION);
    let lines = (version >> 16 & 0xff) + 1;
    // Version 0x11 or 0x20; where there is no device all bits read the same.
    if !(0x10..=0x2f).contains(&(version & 0xff)) || !(16..=240).contains(&lines) {
        return None;
    }
    first.checked_add(lines)?;
    for line in 0..lines {
        controller.write(REDIRECTION + 2 * line, MASKED);
    }
    Some(Controller { lines, ..controller })
}

/// True when there is any.
pub(super) fn is_there() -> bool {
    CONTROLLERS.lock().iter().any(Option::is_some)
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
    for Controller { address, first, lines, .. } in controllers.iter().flatten() {
        each("io apic", format_args!("{address:#x}, {lines} lines from {first}"));
    }
    if controllers.iter().all(Option::is_none) {
        each("io apic", format_args!("none: the old controllers (8259) are used"));
    }
}

/// True when `start..end` has a page of a controller, or a place where there may be one.
pub(super) fn owns(start: u64, end: u64) -> bool {
    let all = USUAL.into_iter().chain(places().map(|place| place.0));
    all.into_iter().any(|page| start < page + PAGE_SIZE && page < end)
}
