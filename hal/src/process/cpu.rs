//! Which processor this is, starting and waking others, and waiting.

pub use super::processor::start_others;
use super::{clock, irq, processor, trap};
use base::CpuId;

/// The processor this code runs on.
#[must_use]
pub fn current() -> CpuId {
    CpuId(processor::this().id.get())
}

/// How many processors are up.
#[must_use]
pub fn count() -> u32 {
    processor::count()
}

/// Interrupts another processor: it leaves the program or [`idle`], and looks what there is to do.
pub fn kick(cpu: CpuId) {
    processor::interrupt(cpu.0);
}

/// Waits for an interrupt. Returns at once when one is pending already.
pub fn idle() {
    // A signal that comes after this look stays pending, and ends the wait.
    if irq::any_pending() {
        return;
    }
    trap::wait_for_interrupt(clock::until_armed());
    clock::note_due();
}

/// AT_HWCAP and AT_HWCAP2 as Linux gives them: the feature bits of CPUID leaf 1 (EDX), for which the C
/// library has a number of its own, and what it gave this process.
#[must_use]
pub fn capabilities() -> (u64, u64) {
    let features = core::arch::x86_64::__cpuid(1).edx;
    // SAFETY: only reads the process's auxiliary vector.
    (u64::from(features), unsafe { libc::getauxval(libc::AT_HWCAP2) })
}
