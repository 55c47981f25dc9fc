//! The kernel's heap: small objects from [`super::slab`], larger ones as whole frames, contiguous
//! when possible and else from [`super::scatter`].

use super::paging::direct_mut;
use super::pool::{self, HEAP_FRAMES, Purpose};
use super::{memory, scatter, slab};
use base::PAGE_SIZE;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

fn frames(size: usize) -> u64 {
    (size as u64).div_ceil(PAGE_SIZE).max(1)
}

fn allocate_large(layout: Layout) -> *mut u8 {
    let order = (layout.align() as u64).div_ceil(PAGE_SIZE).next_power_of_two().ilog2() as usize;
    let count = frames(layout.size());
    match pool::allocate_range(count, order, Purpose::Kernel) {
        Ok(block) => {
            HEAP_FRAMES.fetch_add(count, Relaxed);
            direct_mut(block)
        }
        Err(_) => allocate_scattered(layout),
    }
}

#[cold]
fn allocate_scattered(layout: Layout) -> *mut u8 {
    if layout.align() as u64 > PAGE_SIZE {
        return ptr::null_mut();
    }
    scatter::allocate(frames(layout.size()))
}

// SAFETY: blocks are disjoint, as large and aligned as asked for, and stay until given back.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = slab::class_of(layout) else { return allocate_large(layout) };
        let block = slab::allocate(class);
        if block.is_null() { allocate_scattered(layout) } else { block }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let count = frames(layout.size());
        // SAFETY (all): the caller gives back what `alloc` returned for this layout.
        if scatter::owns(block) {
            // SAFETY: as above.
            unsafe { scatter::release(block, count) };
        } else if let Some(class) = slab::class_of(layout) {
            // SAFETY: as above.
            unsafe { slab::release(block, class) };
        } else {
            HEAP_FRAMES.fetch_sub(count, Relaxed);
            // SAFETY: as above.
            unsafe { pool::release_range(memory::physical(block), count) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` rounded up to the alignment does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let stays = match (slab::class_of(layout), slab::class_of(new)) {
            (Some(old), Some(new)) => old == new && !scatter::owns(block),
            (None, None) => frames(layout.size()) == frames(size),
            _ => false,
        };
        if stays {
            return block;
        }
        // SAFETY: `new` is valid and not empty (the caller's promise); both blocks are disjoint and
        // hold at least the bytes copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
