//! More than one processor.

use super::{Outcome, check};
use alloc::vec;
use core::hint::black_box;
use core::time::Duration;
use hal::boot::BootInfo;
use hal::{clock, cpu, irq, memory};

/// Larger than the buddy allocator has: such blocks are mapped from single frames.
const LARGE: usize = 5 << 20;
/// The others may be slow to come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the other processors do from here on: as they do when nothing is runnable.
fn rest() -> ! {
    loop {
        let _ = irq::take_pending();
        cpu::idle();
    }
}

/// Addresses of large blocks that were freed come back: processors that rest must not hold them.
/// The last of the tests, since the others were written for one processor.
pub(crate) fn large_blocks(_: &BootInfo) -> Outcome {
    let up = cpu::start_others(u32::MAX, rest);
    check(up == cpu::count(), "not as many processors as came up")?;
    if memory::statistics().free < 4 * (LARGE / 4096) as u64 {
        return Ok(());
    }
    for round in 1..=20_u8 {
        let mut freed = use_and_free(round)?;
        let deadline = clock::now() + PATIENCE;
        loop {
            let again = use_and_free(!round)?;
            if again == freed {
                break;
            }
            check(clock::now() < deadline, "the address of a freed block does not come back")?;
            freed = again;
        }
        // They wake, and rest again.
        for id in 1..up {
            cpu::kick(base::CpuId(id));
        }
    }
    Ok(())
}

/// Fills a large block and frees it. Returns where it was.
fn use_and_free(byte: u8) -> Result<usize, &'static str> {
    // The compiler must not leave the block out.
    let block = black_box(vec![byte; LARGE]);
    check(block.iter().all(|found| *found == byte), "a large block does not keep its content")?;
    Ok(block.as_ptr().addr())
}
