//! The x87, SSE, AVX and AVX-512 registers of a thread.
//!
//! They stay in the processor when the thread traps, because kernel code does not use them (but
//! for [`super::wide`], which gives them back). Each processor remembers whose they are; only when
//! another thread wants to run there are they saved (XSAVEOPT, standard format) and the other's
//! loaded. With more than one processor they are saved when the thread goes to sleep or waits for
//! its turn ([`park`]), because it may go on elsewhere; if it does not, they need not be loaded
//! again.
//!
//! Invariant: what is in a processor's registers was loaded from its owner's area by that
//! processor, and the area was not written since but by saving them. XSAVEOPT may leave out what
//! did not change.

use super::features::{self, Feature};
use super::instructions::{self, cpuid};
use super::{percpu, wide};
use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::arch::asm;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const AVX512: u64 = 7 << 5;

/// The part that FXSAVE knows; the XSAVE header follows.
const LEGACY_BYTES: usize = 512;
const HEADER_BYTES: usize = 64;
/// Offsets, Intel SDM volume 1, tables 10-2 and 13.4.2.
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const XMM: usize = 160;
const XMM_END: usize = 416;
const XSTATE_BV: usize = LEGACY_BYTES;
const XCOMP_BV: usize = LEGACY_BYTES + 8;
const INITIAL_CONTROL_WORD: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;

static BYTES: AtomicUsize = AtomicUsize::new(LEGACY_BYTES + HEADER_BYTES);
static FEATURES: AtomicU64 = AtomicU64::new(X87 | SSE);
static MXCSR_ALLOWED: AtomicU32 = AtomicU32::new(0xffbf);

/// Bytes of the area.
pub(super) fn bytes() -> usize {
    BYTES.load(Relaxed)
}

/// XCR0.
pub(super) fn enabled_features() -> u64 {
    FEATURES.load(Relaxed)
}

/// Turns on all vector state that the processor has. On each processor.
pub(super) fn init_processor() {
    const CR0_MP: u64 = 1 << 1;
    const CR0_EM: u64 = 1 << 2;
    const CR0_TS: u64 = 1 << 3;
    const CR0_NE: u64 = 1 << 5;
    const CR4_OSFXSR: u64 = 1 << 9;
    const CR4_OSXMMEXCPT: u64 = 1 << 10;
    const CR4_OSXSAVE: u64 = 1 << 18;
    let xsave = features::has(Feature::Xsave);
    let cr0 = instructions::read_cr0() & !(CR0_EM | CR0_TS) | CR0_MP | CR0_NE;
    let mut cr4 = instructions::read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if xsave {
        cr4 |= CR4_OSXSAVE;
    }
    // SAFETY: every 64-bit processor has SSE; XSAVE was asked for.
    unsafe {
        instructions::write_cr0(cr0);
        instructions::write_cr4(cr4);
    }
    if xsave {
        let [low, _, _, high] = cpuid(0xd, 0);
        let offered = u64::from(high) << 32 | u64::from(low);
        let mut wanted = X87 | SSE | offered & AVX;
        if wanted & AVX != 0 && offered & AVX512 == AVX512 {
            wanted |= AVX512;
        }
        // SAFETY: OSXSAVE is on and the processor offers these.
        unsafe { instructions::write_xcr0(wanted) };
        FEATURES.store(wanted, Relaxed);
        wide::init_processor(wanted & AVX != 0, wanted & AVX512 != 0);
        BYTES.store(cpuid(0xd, 0)[1] as usize, Relaxed);
    }
    MXCSR_ALLOWED.store(mxcsr_mask(), Relaxed);
}

/// The bits of MXCSR that exist.
fn mxcsr_mask() -> u32 {
    #[repr(align(16))]
    struct Area([u8; LEGACY_BYTES]);
    let mut area = Area([0; LEGACY_BYTES]);
    // SAFETY: the area has the size and alignment that FXSAVE asks for.
    unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut area, options(nostack, preserves_flags)) };
    let mask = read_u32(&area.0, MXCSR_MASK);
    // Processors that write 0 have no DAZ.
    if mask == 0 { 0xffbf } else { mask }
}

fn read_u32(area: &[u8], at: usize) -> u32 {
    area.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn read_u64(area: &[u8], at: usize) -> u64 {
    u64::from(read_u32(area, at + 4)) << 32 | u64::from(read_u32(area, at))
}

fn put(area: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = area.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

fn clear(area: &mut [u8], from: usize, to: usize) {
    if let Some(slot) = area.get_mut(from..to) {
        slot.fill(0);
    }
}

/// The vector state of one thread.
pub(super) struct VectorState {
    /// [`bytes`] long, 64-aligned. Its address names the state in `PerCpu::vector_owner`.
    area: NonNull<u8>,
    /// The processor that loaded it last; [`NOWHERE`] when the area was written since.
    loaded_on: u32,
}

/// No processor has this id.
const NOWHERE: u32 = u32::MAX;

/// Saves the registers of the thread that ran here if it may go on elsewhere: it goes to sleep, or
/// others have their turn.
pub(super) fn park() {
    let cpu = percpu::this();
    let owner = cpu.vector_owner.get();
    if percpu::count() > 1 && cpu.vector_changed.replace(false) && !owner.is_null() {
        // SAFETY: the owner ran here since the registers were last saved, so it lives: dropping it
        // gives up ownership, and only the processor that it runs on drops it.
        unsafe { save(owner) };
    }
}

// SAFETY: the area is owned; which processor has the registers is checked before every use.
unsafe impl Send for VectorState {}
// SAFETY: shared references give no access.
unsafe impl Sync for VectorState {}

impl VectorState {
    fn layout() -> Layout {
        // SAFETY: the alignment is a power of two, and the size is a few KiB at most.
        unsafe { Layout::from_size_align_unchecked(bytes(), 64) }
    }

    fn zeroed() -> Self {
        // SAFETY: the layout is not empty.
        let area = unsafe { alloc_zeroed(Self::layout()) };
        let Some(area) = NonNull::new(area) else { handle_alloc_error(Self::layout()) };
        Self { area, loaded_on: NOWHERE }
    }

    /// As the System V ABI wants it at process start.
    pub(super) fn new() -> Self {
        let mut state = Self::zeroed();
        let area = state.area_mut();
        put(area, 0, &INITIAL_CONTROL_WORD.to_le_bytes());
        put(area, MXCSR, &INITIAL_MXCSR.to_le_bytes());
        put(area, MXCSR_MASK, &MXCSR_ALLOWED.load(Relaxed).to_le_bytes());
        state
    }

    fn area_mut(&mut self) -> &mut [u8] {
        // SAFETY: the area is `bytes()` long, initialised, and borrowed with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), bytes()) }
    }

    /// Whether this processor's registers hold the state.
    fn is_live(&self) -> bool {
        let cpu = percpu::this();
        ptr::eq(cpu.vector_owner.get(), self.area.as_ptr()) && self.loaded_on == cpu.id.get()
    }

    /// Puts the state into this processor's registers.
    #[inline]
    pub(super) fn load(&mut self) {
        if !self.is_live() {
            self.switch();
        }
        percpu::this().vector_changed.set(true);
    }

    #[cold]
    fn switch(&mut self) {
        let cpu = percpu::this();
        let owner = cpu.vector_owner.replace(self.area.as_ptr());
        self.loaded_on = cpu.id.get();
        // SAFETY: registers that changed since they were saved belong to an owner whose area is
        // alive (dropping it gives up ownership); both areas have the right size, and every way to
        // write to one keeps its header valid for XRSTOR.
        unsafe {
            if cpu.vector_changed.get() && !owner.is_null() {
                save(owner);
            }
            restore(self.area.as_ptr());
        }
    }

    /// Brings the area up to date.
    fn sync(&mut self) {
        if self.is_live() {
            // SAFETY: the registers hold this state, loaded from this area.
            unsafe { save(self.area.as_ptr()) };
        }
    }

    /// Makes the area the only copy.
    fn give_up_registers(&mut self) {
        if self.is_live() {
            percpu::this().vector_owner.set(ptr::null_mut());
        }
        self.loaded_on = NOWHERE;
    }

    /// A copy for another thread.
    pub(super) fn duplicate(&mut self) -> Self {
        self.sync();
        let mut copy = Self::zeroed();
        copy.area_mut().copy_from_slice(self.area_mut());
        copy
    }

    /// Copies the state out in standard format, with every component filled in.
    pub(super) fn export(&mut self, into: &mut [u8]) {
        self.sync();
        let area = self.area_mut();
        let present = read_u64(area, XSTATE_BV);
        let count = into.len().min(area.len());
        let (Some(into), Some(area)) = (into.get_mut(..count), area.get(..count)) else { return };
        into.copy_from_slice(area);
        // The save leaves out components in their initial state.
        if present & X87 == 0 {
            clear(into, 0, MXCSR);
            clear(into, MXCSR + 8, XMM);
            put(into, 0, &INITIAL_CONTROL_WORD.to_le_bytes());
        }
        if present & SSE == 0 {
            clear(into, XMM, XMM_END);
        }
        let mut missing = enabled_features() & !present & !(X87 | SSE);
        while missing != 0 {
            let [size, offset, ..] = cpuid(0xd, missing.trailing_zeros());
            clear(into, offset as usize, (offset + size) as usize);
            missing &= missing - 1;
        }
        put(into, XSTATE_BV, &(present | X87 | SSE).to_le_bytes());
    }

    /// Makes it what it is at process start.
    pub(super) fn reset(&mut self) {
        self.give_up_registers();
        let has_xsave = features::has(Feature::Xsave);
        let area = self.area_mut();
        // XRSTOR makes what the header does not name initial, and reads no more than MXCSR of it.
        clear(area, if has_xsave { LEGACY_BYTES } else { 0 }, LEGACY_BYTES + HEADER_BYTES);
        put(area, 0, &INITIAL_CONTROL_WORD.to_le_bytes());
        put(area, MXCSR, &INITIAL_MXCSR.to_le_bytes());
        put(area, MXCSR_MASK, &MXCSR_ALLOWED.load(Relaxed).to_le_bytes());
    }

    /// Replaces the state by one in standard format. `false`, and nothing changed, when its size
    /// or header is not valid.
    pub(super) fn import(&mut self, from: &[u8]) -> bool {
        if from.len() != bytes() || read_u64(from, XCOMP_BV) != 0 {
            return false;
        }
        self.give_up_registers();
        let area = self.area_mut();
        area.copy_from_slice(from);
        // XRSTOR refuses (#GP) unknown features, reserved header bits and reserved MXCSR bits.
        let features = read_u64(from, XSTATE_BV) & enabled_features();
        clear(area, XSTATE_BV, XSTATE_BV + HEADER_BYTES);
        put(area, XSTATE_BV, &features.to_le_bytes());
        let allowed = MXCSR_ALLOWED.load(Relaxed);
        put(area, MXCSR, &(read_u32(from, MXCSR) & allowed).to_le_bytes());
        put(area, MXCSR_MASK, &allowed.to_le_bytes());
        true
    }
}

impl Drop for VectorState {
    fn drop(&mut self) {
        self.give_up_registers();
        // SAFETY: allocated with this layout; no processor refers to it.
        unsafe { dealloc(self.area.as_ptr(), Self::layout()) };
    }
}

/// # Safety
/// `area` is an area of [`bytes`] bytes from which the registers were loaded.
unsafe fn save(area: *mut u8) {
    let (low, high) = (enabled_features() as u32, (enabled_features() >> 32) as u32);
    // SAFETY: promised by the caller; the instruction exists (checked).
    unsafe {
        if features::has(Feature::Xsaveopt) {
            asm!("xsaveopt64 [{}]", in(reg) area, in("eax") low, in("edx") high,
                options(nostack, preserves_flags));
        } else if features::has(Feature::Xsave) {
            asm!("xsave64 [{}]", in(reg) area, in("eax") low, in("edx") high,
                options(nostack, preserves_flags));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
            area.add(XSTATE_BV).cast::<u64>().write(X87 | SSE);
        }
    }
}

/// # Safety
/// `area` is an area of [`bytes`] bytes with a valid header and MXCSR.
unsafe fn restore(area: *mut u8) {
    let (low, high) = (enabled_features() as u32, (enabled_features() >> 32) as u32);
    // SAFETY: promised by the caller; the instruction exists (checked).
    unsafe {
        if features::has(Feature::Xsave) {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") low, in("edx") high,
                options(nostack, preserves_flags));
        } else {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}
