//! The x87, SSE, AVX and AVX-512 registers of a thread, in the format in which Linux puts them into
//! signal frames (XSAVE's standard one).

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Offsets, Intel SDM volume 1, tables 10-2 and 13.4.2.
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
/// Words that Linux keeps for itself in the frame (`struct _fpx_sw_bytes`), 48 bytes.
pub(super) const SOFTWARE_WORDS: usize = 464;
const LEGACY_BYTES: usize = 512;
const HEADER_BYTES: usize = 64;
const XSTATE_BV: usize = LEGACY_BYTES;
const XCOMP_BV: usize = LEGACY_BYTES + 8;
const INITIAL_CONTROL_WORD: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
const X87_AND_SSE: u64 = 3;

static BYTES: AtomicUsize = AtomicUsize::new(LEGACY_BYTES + HEADER_BYTES);
static FEATURES: AtomicU64 = AtomicU64::new(X87_AND_SSE);
static MXCSR_ALLOWED: AtomicU32 = AtomicU32::new(0xffbf);

/// Bytes of the area.
pub(super) fn bytes() -> usize {
    BYTES.load(Relaxed)
}

/// The features in it, as bits of XCR0.
pub(super) fn features() -> u64 {
    FEATURES.load(Relaxed)
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

/// Learns the format from the first 512 bytes of a frame that Linux made. `None`: it has no XSAVE
/// state.
pub(super) fn learn(legacy: &[u8]) -> Option<()> {
    const MAGIC_1: u32 = 0x4650_5853;
    if read_u32(legacy, SOFTWARE_WORDS) != MAGIC_1 {
        return None;
    }
    FEATURES.store(read_u64(legacy, SOFTWARE_WORDS + 8), Relaxed);
    BYTES.store(read_u32(legacy, SOFTWARE_WORDS + 16) as usize, Relaxed);
    match read_u32(legacy, MXCSR_MASK) {
        // Processors that write 0 have no DAZ.
        0 => {}
        mask => MXCSR_ALLOWED.store(mask, Relaxed),
    }
    Some(())
}

/// The vector state of one thread.
#[derive(Clone)]
pub(super) struct VectorState {
    /// [`bytes`] long.
    pub(super) area: Vec<u8>,
}

impl VectorState {
    /// As the System V ABI wants it at process start.
    pub(super) fn new() -> Self {
        let mut area = vec![0; bytes()];
        put(&mut area, 0, &INITIAL_CONTROL_WORD.to_le_bytes());
        put(&mut area, MXCSR, &INITIAL_MXCSR.to_le_bytes());
        put(&mut area, MXCSR_MASK, &MXCSR_ALLOWED.load(Relaxed).to_le_bytes());
        Self { area }
    }

    /// Copies the state out, with every component filled in.
    pub(super) fn export(&self, into: &mut [u8]) {
        let count = into.len().min(self.area.len());
        into[..count].copy_from_slice(&self.area[..count]);
        let present = read_u64(&self.area, XSTATE_BV);
        put(into, XSTATE_BV, &(present | X87_AND_SSE).to_le_bytes());
    }

    /// Replaces the state by one in standard format. `false`, and nothing changed, when its size
    /// or header is not valid.
    pub(super) fn import(&mut self, from: &[u8]) -> bool {
        if from.len() != bytes() || read_u64(from, XCOMP_BV) != 0 {
            return false;
        }
        let area = &mut self.area;
        area.copy_from_slice(from);
        // Linux refuses unknown features, reserved header bits and reserved MXCSR bits.
        let present = read_u64(from, XSTATE_BV) & features();
        area[XSTATE_BV..XSTATE_BV + HEADER_BYTES].fill(0);
        put(area, XSTATE_BV, &present.to_le_bytes());
        let allowed = MXCSR_ALLOWED.load(Relaxed);
        put(area, MXCSR, &(read_u32(from, MXCSR) & allowed).to_le_bytes());
        put(area, MXCSR_MASK, &allowed.to_le_bytes());
        true
    }
}
