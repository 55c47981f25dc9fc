//! What the processor offers (CPUID), asked once at boot.

use super::instructions::cpuid;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $leaf:literal, $subleaf:literal, $register:literal, $bit:literal;)*) => {
        /// The features that the backend asks about.
        #[derive(Clone, Copy)]
        #[repr(u32)]
        pub(super) enum Feature { $($(#[$doc])* $name,)* }

        const ROWS: &[(u32, u32, usize, u32)] = &[$(($leaf, $subleaf, $register, $bit),)*];
        const NAMES: &[&str] = &[$(stringify!($name),)*];
    };
}

// Leaf, sub-leaf, register (0 = EAX .. 3 = EDX), bit: Intel SDM volume 2A, CPUID.
flags! {
    X2apic = 1, 0, 2, 21;
    TscDeadline = 1, 0, 2, 24;
    Xsave = 1, 0, 2, 26;
    Rdrand = 1, 0, 2, 30;
    Hypervisor = 1, 0, 2, 31;
    FsGsBase = 7, 0, 1, 0;
    Smep = 7, 0, 1, 7;
    FastStrings = 7, 0, 1, 9;
    Rdseed = 7, 0, 1, 18;
    Smap = 7, 0, 1, 20;
    Umip = 7, 0, 2, 2;
    Xsaveopt = 0xd, 1, 0, 0;
    Xgetbv1 = 0xd, 1, 0, 2;
    NoExecute = 0x8000_0001, 0, 3, 20;
    HugePages = 0x8000_0001, 0, 3, 26;
}

static PRESENT: AtomicU32 = AtomicU32::new(0);
/// Read by the copy routines (assembly): `rep movsb` and `rep stosb` are fast here.
pub(super) static FAST_STRINGS: AtomicBool = AtomicBool::new(false);
/// Read by the user copy routines (assembly): STAC and CLAC exist.
pub(super) static SMAP: AtomicBool = AtomicBool::new(false);

/// Asks the processor. Once, first thing at boot.
pub(super) fn detect() {
    let [highest, ..] = cpuid(0, 0);
    let [highest_extended, ..] = cpuid(0x8000_0000, 0);
    let mut present = 0;
    for (bit, &(leaf, subleaf, register, flag)) in ROWS.iter().enumerate() {
        let limit = if leaf >= 0x8000_0000 { highest_extended } else { highest };
        if leaf <= limit && cpuid(leaf, subleaf)[register] >> flag & 1 == 1 {
            present |= 1 << bit;
        }
    }
    PRESENT.store(present, Relaxed);
    // QEMU's emulator moves one byte per step of `rep movsb`, whatever CPUID says.
    FAST_STRINGS.store(has(Feature::FastStrings) && hypervisor() != *b"TCGTCGTCGTCG", Relaxed);
    SMAP.store(has(Feature::Smap), Relaxed);
}

/// Those that are there, by name.
pub(super) struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = PRESENT.load(Relaxed);
        let mut names = NAMES.iter().enumerate().filter(|(bit, _)| present >> bit & 1 == 1);
        names.try_for_each(|(_, name)| write!(f, "{name} "))
    }
}

/// True when the processor has it.
#[inline]
pub(super) fn has(feature: Feature) -> bool {
    PRESENT.load(Relaxed) >> feature as u32 & 1 == 1
}

/// The hypervisor's signature, zeros on bare metal.
pub(super) fn hypervisor() -> [u8; 12] {
    let mut signature = [0; 12];
    if has(Feature::Hypervisor) {
        let [_, b, c, d] = cpuid(0x4000_0000, 0);
        for (slot, word) in signature.chunks_exact_mut(4).zip([b, c, d]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }
    signature
}

/// The highest CPUID leaf of the hypervisor, 0 when there is none.
pub(super) fn hypervisor_leaves() -> u32 {
    if has(Feature::Hypervisor) { cpuid(0x4000_0000, 0)[0] } else { 0 }
}
