//! Which processor this is, starting and waking others, and waiting.

pub use super::smp::start_others;
use super::{percpu, presence};
use base::CpuId;
use core::arch::asm;

/// The processor this code runs on.
#[must_use]
#[inline]
pub fn current() -> CpuId {
    CpuId(percpu::this().id.get())
}

/// How many processors are up.
#[must_use]
#[inline]
pub fn count() -> u32 {
    percpu::count()
}

/// Interrupts another processor: it leaves the program or [`idle`], and looks what there is to do.
pub fn kick(cpu: CpuId) {
    presence::kick(cpu.0);
}

/// Waits for an interrupt. Returns at once when a device interrupt is pending already.
pub fn idle() {
    if percpu::this().pending.get() != 0 {
        return;
    }
    let seen = presence::begin_rest();
    // SAFETY: STI lets interrupts in only after the next instruction, so none slips in between and
    // leaves HLT waiting; the handlers only set bits.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
    presence::end_rest(seen);
}

/// AT_HWCAP and AT_HWCAP2 as Linux gives them: the feature bits of CPUID leaf 1 (EDX), and bit 1
/// when programs may use RDFSBASE and its like.
#[must_use]
pub fn capabilities() -> (u64, u64) {
    let [_, _, _, features] = super::instructions::cpuid(1, 0);
    let fs_gs_base = super::features::has(super::features::Feature::FsGsBase);
    (u64::from(features), u64::from(fs_gs_base) << 1)
}
