//! Device interrupts.

use std::cell::Cell;

thread_local! {
    static PENDING: Cell<u64> = const { Cell::new(0) };
    static NEXT: Cell<u32> = const { Cell::new(0) };
}

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

pub(super) fn allocate() -> Option<Irq> {
    NEXT.with(|next| {
        let id = next.get();
        next.set(id + 1);
        (id < 64).then_some(Irq(id))
    })
}

/// A message-signalled interrupt. `None` when all are taken.
#[must_use]
pub fn allocate_message() -> Option<(Irq, Message)> {
    Some((allocate()?, Message { address: 0xfee0_0000, data: 0 }))
}

/// An interrupt line of the I/O APIC, edge-triggered. `None` when there is no such line.
#[must_use]
pub fn allocate_line(_global_interrupt: u32) -> Option<Irq> {
    allocate()
}

/// The interrupt line of the PC's old controllers that PCI functions share. Here none is shared.
#[must_use]
pub fn allocate_shared_line(_line: u8) -> Option<Irq> {
    allocate()
}

/// True when the source fired; forgets that it did.
#[must_use]
pub fn comes(irq: Irq) -> bool {
    let bit = 1 << irq.0;
    PENDING.with(|pending| pending.replace(pending.get() & !bit) & bit != 0)
}

/// The sources that fired since the last call, as bits, and forgets them. All go to the first
/// processor.
#[must_use]
pub fn take_pending() -> u64 {
    if is_first() { PENDING.take() } else { 0 }
}

fn is_first() -> bool {
    super::cpu::current().0 == 0
}

/// True when [`take_pending`] would return something.
#[must_use]
pub fn any_pending() -> bool {
    is_first() && PENDING.get() != 0
}

pub(super) fn raise(irq: Irq) {
    PENDING.with(|pending| pending.set(pending.get() | 1 << irq.0));
}
