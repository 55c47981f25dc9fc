//! Single instructions, as functions.

use core::arch::asm;

/// An I/O port of a device that cannot reach memory by itself.
#[derive(Clone, Copy)]
pub(super) struct Port(u16);

impl Port {
    /// # Safety
    /// Accesses to the port must not change memory or the state of the processor.
    pub(super) const unsafe fn at(port: u16) -> Self {
        Self(port)
    }

    pub(super) fn read8(self) -> u8 {
        let value;
        // SAFETY: `at` promised that accesses are harmless to memory.
        unsafe { asm!("in al, dx", out("al") value, in("dx") self.0, options(nostack, nomem)) };
        value
    }

    pub(super) fn write8(self, value: u8) {
        // SAFETY: as above.
        unsafe { asm!("out dx, al", in("al") value, in("dx") self.0, options(nostack, nomem)) };
    }

    pub(super) fn read16(self) -> u16 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in ax, dx", out("ax") value, in("dx") self.0, options(nostack, nomem)) };
        value
    }

    pub(super) fn write16(self, value: u16) {
        // SAFETY: as above.
        unsafe { asm!("out dx, ax", in("ax") value, in("dx") self.0, options(nostack, nomem)) };
    }

    pub(super) fn read32(self) -> u32 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in eax, dx", out("eax") value, in("dx") self.0, options(nostack, nomem)) };
        value
    }

    pub(super) fn write32(self, value: u32) {
        // SAFETY: as above.
        unsafe { asm!("out dx, eax", in("eax") value, in("dx") self.0, options(nostack, nomem)) };
    }

    /// Fills `into` from the port, one byte after the other.
    pub(super) fn read_all(self, into: &mut [u8]) {
        // SAFETY: writes exactly the slice (DF is clear in kernel code); the port is harmless.
        unsafe {
            asm!("rep insb", in("dx") self.0, inout("rdi") into.as_mut_ptr() => _,
                inout("rcx") into.len() => _, options(nostack, preserves_flags));
        }
    }

    /// Writes all of `bytes` to the port, one after the other.
    pub(super) fn write_all(self, bytes: &[u8]) {
        // SAFETY: reads exactly the slice (DF is clear in kernel code); the port is harmless.
        unsafe {
            asm!("rep outsb", in("dx") self.0, inout("rsi") bytes.as_ptr() => _,
                inout("rcx") bytes.len() => _, options(nostack, readonly, preserves_flags));
        }
    }
}

/// # Safety
/// The register exists.
pub(super) unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading has no side effects; the caller promises that the register exists.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high,
            options(nostack, nomem, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
/// The register exists, takes the value, and the change does not break what Rust relies on.
pub(super) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// The time-stamp counter, not earlier than the loads before it.
#[inline]
pub(super) fn read_tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: no side effects. Without `nomem` the compiler keeps it in order with device accesses.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high,
            options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// CPUID leaf and sub-leaf: `[eax, ebx, ecx, edx]`.
pub(super) fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let result = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [result.eax, result.ebx, result.ecx, result.edx]
}

/// The page that the last page fault was about.
pub(super) fn read_cr2() -> u64 {
    let value;
    // SAFETY: no side effects.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nostack, nomem, preserves_flags)) };
    value
}

/// # Safety
/// `root` is a top page table whose kernel half is the kernel's.
#[inline]
pub(super) unsafe fn write_cr3(root: u64) {
    // SAFETY: promised by the caller: kernel memory stays as it is.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Drops this processor's cached translation of one page.
#[inline]
pub(super) fn invalidate_page(address: u64) {
    // SAFETY: forgetting a translation changes no memory.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Drops this processor's cached translations of the program's half (kernel pages are global).
pub(super) fn invalidate_program_pages() {
    // SAFETY: rewrites CR3 with what it holds.
    unsafe {
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
    }
}

/// Drops all of this processor's cached translations, the kernel's too.
pub(super) fn invalidate_all_pages() {
    const CR4_PGE: u64 = 1 << 7;
    let cr4 = read_cr4();
    // SAFETY: changing PGE drops everything cached and leaves protection as it is.
    unsafe {
        write_cr4(cr4 & !CR4_PGE);
        write_cr4(cr4);
    }
}

pub(super) fn read_cr0() -> u64 {
    let value;
    // SAFETY: no side effects.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nostack, nomem, preserves_flags)) };
    value
}

pub(super) fn read_cr4() -> u64 {
    let value;
    // SAFETY: no side effects.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nostack, nomem, preserves_flags)) };
    value
}

/// # Safety
/// The bits are supported and keep paging and protection as the kernel needs them.
pub(super) unsafe fn write_cr0(value: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// # Safety
/// As for [`write_cr0`].
pub(super) unsafe fn write_cr4(value: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// # Safety
/// CR4.OSXSAVE is set and the processor supports all of `features`.
pub(super) unsafe fn write_xcr0(features: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") features as u32, in("edx") (features >> 32) as u32,
            options(nostack, nomem, preserves_flags));
    }
}

/// Stops this processor until something resets the machine.
pub(super) fn halt_forever() -> ! {
    loop {
        // SAFETY: interrupts are off; only a non-maskable one wakes it, and then it halts again.
        unsafe { asm!("cli", "hlt", options(nostack, nomem)) };
    }
}

/// Resets this processor: an exception without an interrupt table.
pub(super) fn reset() -> ! {
    let nothing = [0_u64; 2];
    // SAFETY: nothing runs after this.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &raw const nothing, options(nostack)) };
    halt_forever()
}
