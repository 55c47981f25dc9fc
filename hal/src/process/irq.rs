//! Interrupts from other threads of the process. A source is a bit of a 64-bit word.

use super::processor;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The processor that all interrupts go to.
const FIRST: u32 = 0;

static PENDING: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// An interrupt source, 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq(pub u32);

/// A new source. `None` when all are taken.
#[must_use]
pub fn allocate() -> Option<Irq> {
    let next = |next| (next < u64::BITS).then_some(next + 1);
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(Irq)
}

/// Raises an interrupt, from any thread.
pub fn raise(irq: Irq) {
    let before = PENDING.fetch_or(1_u64.wrapping_shl(irq.0), Ordering::AcqRel);
    // Whoever set the first bit has called the processor, which then finds the others too.
    if before == 0 {
        processor::interrupt(FIRST);
    }
}

fn is_first() -> bool {
    processor::this().id.get() == FIRST
}

/// The sources that fired since the last call, as bits, and forgets them. All go to the first
/// processor.
#[must_use]
pub fn take_pending() -> u64 {
    if is_first() { PENDING.swap(0, Ordering::AcqRel) } else { 0 }
}

/// True when [`take_pending`] would return something.
#[must_use]
pub fn any_pending() -> bool {
    is_first() && PENDING.load(Ordering::Acquire) != 0
}
