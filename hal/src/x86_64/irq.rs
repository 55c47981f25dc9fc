//! Device interrupts. A source is a bit of a 64-bit word; its interrupt only sets the bit.

use super::boot::tables;
use super::{apic, clock, ioapic, percpu, pic, presence};
use base::sync::{Rank, SpinLock};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;

/// Vector of source 0.
const FIRST_VECTOR: u8 = 0x30;
const SOURCES: u32 = 64;
/// Vector of the first line of the old interrupt controllers.
const LEGACY_VECTOR: u8 = 0x20;

static NEXT: AtomicU32 = AtomicU32::new(0);
/// The sources of lines that devices share.
static SHARED: SpinLock<[Option<Irq>; tables::OLD_LINES]> =
    SpinLock::ranked(Rank::SharedLines, [None; tables::OLD_LINES]);

/// An interrupt source, 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq(pub u32);

/// What a device writes, and where, to raise a message-signalled interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Physical address.
    pub address: u64,
    /// The word written.
    pub data: u32,
}

/// Silences the old interrupt controllers, and finds those of today.
pub(super) fn init() {
    pic::init(LEGACY_VECTOR);
    ioapic::init();
}

/// Sends a line to this processor, as this source with this vector.
fn route(line: u32, active_low: bool, level: bool, (irq, vector): (Irq, u8)) -> Option<Irq> {
    let apic_id = percpu::this().apic_id.get();
    let routed = if ioapic::is_there() {
        ioapic::route(line, active_low, level, vector, apic_id)
    } else {
        // Firmware has told the controllers which lines are levels.
        pic::route(line, irq)
    };
    routed.then_some(irq)
}

fn allocate() -> Option<(Irq, u8)> {
    let id =
        NEXT.fetch_update(Relaxed, Relaxed, |next| (next < SOURCES).then_some(next + 1)).ok()?;
    Some((Irq(id), FIRST_VECTOR + id as u8))
}

/// A message-signalled interrupt. `None` when all are taken.
#[must_use]
pub fn allocate_message() -> Option<(Irq, Message)> {
    let apic_id = percpu::this().apic_id.get();
    if apic_id > 0xff {
        // Needs interrupt remapping.
        return None;
    }
    let (irq, vector) = allocate()?;
    let address = 0xfee0_0000 | u64::from(apic_id) << 12;
    Some((irq, Message { address, data: u32::from(vector) }))
}

/// An interrupt line of the I/O APIC, edge-triggered. `None` when there is no such line.
#[must_use]
pub fn allocate_line(global_interrupt: u32) -> Option<Irq> {
    allocate_system_line(global_interrupt, false)
}

/// The interrupt line of the PC's old controllers that PCI functions share, as firmware numbers
/// them: level-triggered. The same source each time for the same line. `None` when there is none.
#[must_use]
pub fn allocate_shared_line(line: u8) -> Option<Irq> {
    let mut shared = SHARED.lock();
    let slot = shared.get_mut(usize::from(line))?;
    if let Some(irq) = *slot {
        return Some(irq);
    }
    let (input, active_low) = tables::line_of(line);
    *slot = route(input, active_low, true, allocate()?);
    *slot
}

/// The same as [`allocate_line`], for a line that may be active low.
pub(super) fn allocate_system_line(global_interrupt: u32, active_low: bool) -> Option<Irq> {
    route(global_interrupt, active_low, false, allocate()?)
}

/// The sources that fired since the last call, as bits, and forgets them.
#[must_use]
pub fn take_pending() -> u64 {
    presence::refresh_kernel();
    // Interrupts that came while the kernel worked are let in here, for one instruction.
    // SAFETY: the handlers only set bits and acknowledge; they return to this place.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
    percpu::this().pending.replace(0)
}

/// True when the source fires within some milliseconds; forgets that it did. For drivers that try
/// their device's interrupt out.
#[must_use]
pub fn comes(irq: Irq) -> bool {
    const LIMIT: Duration = Duration::from_millis(20);
    let end = clock::now() + LIMIT;
    loop {
        let all = take_pending();
        let others = all & !(1 << irq.0);
        let pending = &percpu::this().pending;
        pending.set(pending.get() | others);
        if all != others || clock::now() > end {
            return all != others;
        }
        core::hint::spin_loop();
    }
}

/// True when [`take_pending`] would return something.
#[must_use]
pub fn any_pending() -> bool {
    percpu::this().pending.get() != 0
}

/// Handles an interrupt: notes it and acknowledges.
pub(super) fn handle(vector: u8) {
    if vector == apic::SPURIOUS_VECTOR {
        return;
    }
    if (LEGACY_VECTOR..FIRST_VECTOR).contains(&vector) {
        // The local APIC only passed it on.
        if let Some(source) = pic::take(vector - LEGACY_VECTOR) {
            let pending = &percpu::this().pending;
            pending.set(pending.get() | 1 << source);
        }
        return;
    }
    let source = u32::from(vector.wrapping_sub(FIRST_VECTOR));
    if source < SOURCES {
        let pending = &percpu::this().pending;
        pending.set(pending.get() | 1 << source);
    } else if vector == apic::TIMER_VECTOR {
        apic::acknowledge();
        clock::fired();
        return;
    }
    apic::acknowledge();
}
