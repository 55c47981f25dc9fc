//! Requests whose answer is waited for: on the slow path, where no interrupt is worth its trouble.

use super::queue::{Queue, Violation};
use core::time::Duration;
use hal::dma::DmaBuffer;

/// Looks at the ring at most, should the clock stand still.
pub(super) const MOST_LOOKS: u32 = if cfg!(test) { 1000 } else { 50_000_000 };

/// Polls for the answer to a request: its memory, and how many bytes the device has written. `None` when
/// patience ends.
pub(super) fn wait(
    queue: &mut Queue<DmaBuffer>,
    patience: Duration,
) -> Result<Option<(DmaBuffer, usize)>, Violation> {
    let deadline = hal::clock::now() + patience;
    for _ in 0..MOST_LOOKS {
        if let Some(completion) = queue.pop()? {
            let written = usize::try_from(completion.written).unwrap_or(0);
            return Ok(queue.release(completion.head).map(|buffer| (buffer, written)));
        }
        if hal::clock::now() > deadline {
            break;
        }
        core::hint::spin_loop();
    }
    Ok(None)
}
