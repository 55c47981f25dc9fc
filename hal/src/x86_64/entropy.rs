//! Seeds for the random number generator.

use super::features::{self, Feature};
use super::instructions::read_tsc;
use core::arch::asm;

/// As Intel recommends: ten tries of RDRAND; RDSEED may be exhausted for longer.
const TRIES: u32 = 10;

fn hardware() -> Option<u64> {
    macro_rules! attempt {
        ($feature:expr, $instruction:literal) => {
            if features::has($feature) {
                for _ in 0..TRIES {
                    let value: u64;
                    let valid: u8;
                    // SAFETY: the instruction exists and only writes its operand and the flags.
                    unsafe {
                        asm!(concat!($instruction, " {}"), "setc {}", out(reg) value,
                            out(reg_byte) valid, options(nostack, nomem));
                    }
                    // Some processors once returned all ones after waking up, as valid.
                    if valid == 1 && value != 0 && value != u64::MAX {
                        return Some(value);
                    }
                }
            }
        };
    }
    attempt!(Feature::Rdseed, "rdseed");
    attempt!(Feature::Rdrand, "rdrand");
    None
}

/// The finalizer of SplitMix64: every input bit changes half of the output bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Fills `seed` from every source the processor has. Returns true when a hardware generator
/// (RDSEED, RDRAND) took part in every byte.
pub fn seed(seed: &mut [u8]) -> bool {
    let mut all = true;
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for chunk in seed.chunks_mut(8) {
        // How long the loop takes differs a little each time.
        for _ in 0..16 {
            state = mix(state ^ read_tsc());
        }
        let word = match hardware() {
            Some(random) => random ^ state,
            None => {
                all = false;
                state
            }
        };
        for (slot, byte) in chunk.iter_mut().zip(word.to_le_bytes()) {
            *slot = byte;
        }
    }
    all
}
