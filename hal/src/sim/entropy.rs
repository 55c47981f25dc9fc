//! Seeds of the simulated machine: as given by the test, so that runs repeat.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// Fills `seed` from every source the processor has. Returns true when a hardware generator
/// (RDSEED, RDRAND) took part.
pub fn seed(seed: &mut [u8]) -> bool {
    for byte in seed {
        *byte = (next() >> 24) as u8;
    }
    true
}

/// xorshift64*.
pub(super) fn next() -> u64 {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

pub(super) fn set(seed: u64) {
    STATE.with(|state| state.set(seed | 1));
}
