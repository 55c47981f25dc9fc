//! Kernel memory made of single frames, mapped one after the other: for blocks larger than the
//! buddy allocator has, and for when memory is too fragmented for contiguous ones.

use super::pool::{self, HEAP_FRAMES, Purpose};
use super::{paging, presence};
use base::PAGE_SIZE;
use base::sync::{Rank, SpinLock};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// Address ranges are powers of two of pages, up to this many (4 GiB).
const MAX_ORDER: usize = 20;
/// As many free address ranges of each size are remembered; more are forgotten, which costs
/// nothing but addresses.
const REMEMBERED: usize = 15;

/// A free range, and the generation of the kernel's page tables after which no processor has a
/// translation of it any more.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    generation: u64,
}

struct Addresses {
    next: u64,
    free: [[Range; REMEMBERED]; MAX_ORDER + 1],
    count: [usize; MAX_ORDER + 1],
}

static ADDRESSES: SpinLock<Addresses> = SpinLock::ranked(
    Rank::HeapAddresses,
    Addresses {
        next: paging::SCATTER_BASE,
        free: [[Range { start: 0, generation: 0 }; REMEMBERED]; MAX_ORDER + 1],
        count: [0; MAX_ORDER + 1],
    },
);

impl Addresses {
    fn take(&mut self, order: usize) -> Option<u64> {
        let count = self.count.get_mut(order)?;
        let last = count.checked_sub(1).and_then(|last| self.free[order].get(last));
        if let Some(range) = last.filter(|range| presence::kernel_forgotten(range.generation)) {
            *count -= 1;
            return Some(range.start);
        }
        let at = self.next;
        // A page that is never mapped lies behind each range.
        let end = at + (PAGE_SIZE << order) + PAGE_SIZE;
        if end > paging::SCATTER_BASE + paging::SCATTER_BYTES {
            return None;
        }
        self.next = end;
        Some(at)
    }

    fn give_back(&mut self, order: usize, start: u64) {
        let generation = presence::kernel_changed();
        let count = self.count[order];
        if let Some(slot) = self.free[order].get_mut(count) {
            *slot = Range { start, generation };
            self.count[order] += 1;
        }
    }
}

fn order(frames: u64) -> usize {
    frames.next_power_of_two().ilog2() as usize
}

/// True for memory from [`allocate`].
#[inline]
pub(super) fn owns(block: *const u8) -> bool {
    (block as u64).wrapping_sub(paging::SCATTER_BASE) < paging::SCATTER_BYTES
}

/// Page-aligned memory of `frames` frames; null when there is not enough.
pub(super) fn allocate(frames: u64) -> *mut u8 {
    if frames == 0 || frames > 1 << MAX_ORDER || frames > pool::statistics().free {
        return ptr::null_mut();
    }
    let Some(start) = ADDRESSES.lock().take(order(frames)) else { return ptr::null_mut() };
    for page in 0..frames {
        let at = start + page * PAGE_SIZE;
        let mapped = pool::allocate_frame(Purpose::Kernel).and_then(|frame| {
            paging::map_scattered(at, frame).inspect_err(|_| {
                // SAFETY: just handed out, and not mapped.
                unsafe { pool::release_frame(frame) };
            })
        });
        if mapped.is_err() {
            unmap(start, page);
            ADDRESSES.lock().give_back(order(frames), start);
            return ptr::null_mut();
        }
    }
    HEAP_FRAMES.fetch_add(frames, Relaxed);
    start as *mut u8
}

fn unmap(start: u64, frames: u64) {
    for page in 0..frames {
        if let Some(frame) = paging::unmap_scattered(start + page * PAGE_SIZE) {
            // SAFETY: it was mapped here only, and the translation is gone.
            unsafe { pool::release_frame(frame) };
        }
    }
}

/// Gives memory back.
///
/// # Safety
/// It came from [`allocate`] with as many frames and is not used any more.
pub(super) unsafe fn release(block: *mut u8, frames: u64) {
    unmap(block as u64, frames);
    HEAP_FRAMES.fetch_sub(frames, Relaxed);
    ADDRESSES.lock().give_back(order(frames), block as u64);
}
