//! Which processor this is, and waiting.

use super::percpu;
use base::CpuId;
use core::arch::asm;

/// The processor this code runs on.
#[must_use]
#[inline]
pub fn current() -> CpuId {
    CpuId(percpu::this().id.get())
}

/// How many processors are up. Only the boot processor is started today.
#[must_use]
pub fn count() -> u32 {
    1
}

/// Waits for an interrupt. Returns at once when a device interrupt is pending already.
pub fn idle() {
    if percpu::this().pending.get() != 0 {
        return;
    }
    // SAFETY: STI lets interrupts in only after the next instruction, so none slips in between and
    // leaves HLT waiting; the handlers only set bits.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}
