//! Physical memory: a buddy allocator of blocks from 4 KiB to 4 MiB.
//!
//! Memory is taken into the allocator block by block as it is needed ("fresh" ranges below), so
//! that boot does not touch what the program may never use. Each frame has one 32-bit word in the
//! frame table: for a frame in use, whatever its user counts there ([`count`]); for the first
//! frame of a free block, [`FREE`] and the block's order. The list links of a free block lie in
//! the block itself.
//!
//! Each processor keeps a few single frames to itself, so that most allocations take no lock.

use super::paging::{direct, direct_mut};
use super::percpu::{self, CACHED_FRAMES};
use crate::types::{MemoryStatistics, OutOfMemory};
use base::PAGE_SIZE;
use base::sync::{Rank, SpinLock};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The largest block has `1 << MAX_ORDER` frames (4 MiB).
pub(super) const MAX_ORDER: usize = 10;
/// As many ranges of usable memory as are kept; the smallest ones are given up.
pub(super) const RANGES: usize = 96;

const FREE: u32 = 1 << 31;
const BLOCK: u64 = PAGE_SIZE << MAX_ORDER;

/// Who asks for memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The program's pages, the tables that map them, and device buffers: refused while only the
    /// reserve is left.
    Program,
    /// The kernel's heap, and the tables that map the kernel.
    Kernel,
}

/// Links of a free block, in its first bytes. Addresses are physical, 0 is none.
#[repr(C)]
struct Links {
    next: u64,
    previous: u64,
}

struct Pool {
    /// First free block of each order.
    heads: [u64; MAX_ORDER + 1],
    /// Bit n: `heads[n]` is not 0.
    occupied: u32,
    /// Free frames in the lists.
    listed: u64,
    /// Ranges of memory not yet taken in, ascending, as addresses.
    fresh: [(u64, u64); RANGES],
    /// The range that is being taken in.
    next_range: usize,
    /// Frames in `fresh`.
    unlisted: u64,
    /// The block whose part of the frame table was cleared last.
    cleared: u64,
    /// Frames that only [`Purpose::Kernel`] gets.
    reserve: u64,
}

static POOL: SpinLock<Pool> = SpinLock::ranked(
    Rank::Frames,
    Pool {
        heads: [0; MAX_ORDER + 1],
        occupied: 0,
        listed: 0,
        fresh: [(0, 0); RANGES],
        next_range: 0,
        unlisted: 0,
        cleared: u64::MAX,
        reserve: 0,
    },
);

static FRAME_TABLE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
static TOTAL: AtomicU64 = AtomicU64::new(0);
/// What [`Pool::free`] said when the lock was last let go of: files ask for each page.
static FREE_FRAMES: AtomicU64 = AtomicU64::new(0);
pub(super) static HEAP_FRAMES: AtomicU64 = AtomicU64::new(0);

/// The word of the frame at `address` in the frame table.
///
/// # Safety
/// `address` lies in a block that was handed out by this allocator and not given back.
#[inline]
pub(super) unsafe fn count(address: u64) -> &'static AtomicU32 {
    // SAFETY: the table covers all memory that the allocator hands out, and lives forever.
    unsafe { word(address) }
}

/// # Safety
/// `address` lies in memory that was taken into the allocator.
#[inline]
unsafe fn word(address: u64) -> &'static AtomicU32 {
    let table = FRAME_TABLE.load(Relaxed);
    // SAFETY: the caller's address is below the end of usable memory, up to which the table goes.
    unsafe { &*table.add((address / PAGE_SIZE) as usize) }
}

/// Hands usable memory to the allocator. `ranges`: page-aligned, ascending, apart from each other,
/// mapped in the direct map; `table`: room for one word for each frame below the end of the last.
///
/// # Safety
/// Nothing else uses that memory, ever. Called once.
pub(super) unsafe fn init(ranges: &[(u64, u64)], table: *mut AtomicU32) {
    FRAME_TABLE.store(table, Relaxed);
    let mut pool = POOL.lock();
    for (slot, range) in pool.fresh.iter_mut().zip(ranges) {
        *slot = *range;
    }
    let total: u64 = ranges.iter().map(|(start, end)| (end - start) / PAGE_SIZE).sum();
    pool.unlisted = total;
    // 1/32 of memory, at least 768 KiB, at most 32 MiB.
    pool.reserve = (total / 32).clamp(192, 8192);
    TOTAL.store(total, Relaxed);
    pool.tell_free();
}

impl Pool {
    fn free(&self) -> u64 {
        self.listed + self.unlisted
    }

    /// Lets everybody know, without the lock.
    fn tell_free(&self) {
        FREE_FRAMES.store(self.free(), Relaxed);
    }

    fn push(&mut self, block: u64, order: usize) {
        let next = self.heads[order];
        // SAFETY: the block is free, so nobody but this allocator uses its bytes or its word.
        unsafe {
            direct_mut::<Links>(block).write(Links { next, previous: 0 });
            if next != 0 {
                (*direct_mut::<Links>(next)).previous = block;
            }
            word(block).store(FREE | order as u32, Relaxed);
        }
        self.heads[order] = block;
        self.occupied |= 1 << order;
        self.listed += 1 << order;
    }

    /// Takes a block out of its list.
    fn unlink(&mut self, block: u64, order: usize) {
        // SAFETY: the block is free and listed: its links are valid, and so are its neighbours'.
        unsafe {
            let Links { next, previous } = direct::<Links>(block).read();
            if next != 0 {
                (*direct_mut::<Links>(next)).previous = previous;
            }
            if previous != 0 {
                (*direct_mut::<Links>(previous)).next = next;
            } else {
                self.heads[order] = next;
                if next == 0 {
                    self.occupied &= !(1 << order);
                }
            }
            word(block).store(0, Relaxed);
        }
        self.listed -= 1 << order;
    }

    /// Gives back a block; joins it with its free neighbours.
    fn release(&mut self, mut block: u64, mut order: usize) {
        while order < MAX_ORDER {
            let buddy = block ^ PAGE_SIZE << order;
            // SAFETY: the words of a whole largest block are cleared before any of it is used.
            if unsafe { word(buddy) }.load(Relaxed) != FREE | order as u32 {
                break;
            }
            self.unlink(buddy, order);
            block = block.min(buddy);
            order += 1;
        }
        self.push(block, order);
    }

    /// Gives back `frames` frames from `start`, in aligned blocks.
    fn release_range(&mut self, mut start: u64, mut frames: u64) {
        while frames > 0 {
            let aligned = (start / PAGE_SIZE).trailing_zeros() as usize;
            let order = aligned.min(frames.ilog2() as usize).min(MAX_ORDER);
            self.release(start, order);
            start += PAGE_SIZE << order;
            frames -= 1 << order;
        }
    }

    /// Takes the next part of a fresh range in. `false`: there is none left.
    fn take_in(&mut self) -> bool {
        let Some(range) = self.fresh.get_mut(self.next_range) else { return false };
        let (start, end) = *range;
        if start == end {
            if self.unlisted == 0 {
                return false;
            }
            self.next_range += 1;
            return true;
        }
        let block = start / BLOCK * BLOCK;
        let stop = end.min(block + BLOCK);
        range.0 = stop;
        let frames = (stop - start) / PAGE_SIZE;
        self.unlisted -= frames;
        if self.cleared != block {
            self.cleared = block;
            // The table ends with the last usable frame: the block's tail may have no words, but
            // then nobody looks for a buddy there, because `stop` is aligned like it or it is free.
            for frame in 0..1 << MAX_ORDER {
                // SAFETY: the table has room for the whole last block (`init`'s caller rounds up).
                unsafe { word(block + frame * PAGE_SIZE) }.store(0, Relaxed);
            }
        }
        self.release_range(start, frames);
        true
    }

    fn allocate(&mut self, order: usize) -> Option<u64> {
        loop {
            let fitting = self.occupied >> order << order;
            if fitting == 0 {
                if !self.take_in() {
                    return None;
                }
                continue;
            }
            let mut found = fitting.trailing_zeros() as usize;
            let block = self.heads[found];
            self.unlink(block, found);
            while found > order {
                found -= 1;
                self.push(block + (PAGE_SIZE << found), found);
            }
            return Some(block);
        }
    }

    fn allows(&self, purpose: Purpose, frames: u64) -> bool {
        purpose == Purpose::Kernel || self.free() >= self.reserve + frames
    }
}

/// A block of `1 << order` frames, aligned to its size; its bytes are arbitrary.
pub(super) fn allocate(order: usize, purpose: Purpose) -> Result<u64, OutOfMemory> {
    if order > MAX_ORDER {
        return Err(OutOfMemory);
    }
    let mut pool = POOL.lock();
    if !pool.allows(purpose, 1 << order) {
        return Err(OutOfMemory);
    }
    let block = pool.allocate(order).ok_or(OutOfMemory);
    pool.tell_free();
    block
}

/// `frames` contiguous frames, aligned to `1 << order` frames; their bytes are arbitrary.
pub(super) fn allocate_range(
    frames: u64,
    order: usize,
    purpose: Purpose,
) -> Result<u64, OutOfMemory> {
    if frames == 0 || frames > 1 << MAX_ORDER || order > MAX_ORDER {
        return Err(OutOfMemory);
    }
    let whole = order.max(frames.next_power_of_two().ilog2() as usize);
    let block = allocate(whole, purpose)?;
    give_back(block + frames * PAGE_SIZE, (1 << whole) - frames);
    Ok(block)
}

/// Gives back frames.
///
/// # Safety
/// They came from [`allocate`] or [`allocate_range`], are given back once, and nobody uses them.
pub(super) unsafe fn release_range(start: u64, frames: u64) {
    give_back(start, frames);
}

fn give_back(start: u64, frames: u64) {
    let mut pool = POOL.lock();
    pool.release_range(start, frames);
    pool.tell_free();
}

/// A single frame; its bytes are arbitrary.
#[inline]
pub(super) fn allocate_frame(purpose: Purpose) -> Result<u64, OutOfMemory> {
    let cpu = percpu::this();
    let count = cpu.frame_count.get();
    if count == 0 {
        return refill(purpose);
    }
    cpu.frame_count.set(count - 1);
    Ok(cpu.cached()[(count - 1) % CACHED_FRAMES].get())
}

#[cold]
fn refill(purpose: Purpose) -> Result<u64, OutOfMemory> {
    let cpu = percpu::this();
    let mut pool = POOL.lock();
    if !pool.allows(purpose, 1) {
        return Err(OutOfMemory);
    }
    let frame = pool.allocate(0).ok_or(OutOfMemory)?;
    // Near the reserve every frame is judged on its own.
    if pool.free() > 2 * pool.reserve {
        let mut count = 0;
        for slot in &cpu.cached()[..CACHED_FRAMES / 2] {
            let Some(frame) = pool.allocate(0) else { break };
            slot.set(frame);
            count += 1;
        }
        // Handed out in ascending order.
        cpu.cached()[..count].reverse_cells();
        cpu.frame_count.set(count);
    }
    pool.tell_free();
    Ok(frame)
}

/// Gives back a single frame.
///
/// # Safety
/// As for [`release_range`].
#[inline]
pub(super) unsafe fn release_frame(frame: u64) {
    let cpu = percpu::this();
    let count = cpu.frame_count.get();
    if count < CACHED_FRAMES {
        cpu.cached()[count].set(frame);
        cpu.frame_count.set(count + 1);
        return;
    }
    let mut pool = POOL.lock();
    pool.release(frame, 0);
    for slot in &cpu.cached()[CACHED_FRAMES / 2..] {
        pool.release(slot.get(), 0);
    }
    pool.tell_free();
    cpu.frame_count.set(CACHED_FRAMES / 2);
}

trait ReverseCells {
    fn reverse_cells(&self);
}

impl ReverseCells for [core::cell::Cell<u64>] {
    fn reverse_cells(&self) {
        for at in 0..self.len() / 2 {
            self[at].swap(&self[self.len() - 1 - at]);
        }
    }
}

/// True while more than the reserve is free.
pub(super) fn has_room() -> bool {
    let pool = POOL.lock();
    pool.free() > pool.reserve
}

/// How much memory there is. Frames that the processors keep to themselves count as free.
pub(super) fn statistics() -> MemoryStatistics {
    let free = FREE_FRAMES.load(Relaxed) + percpu::this().frame_count.get() as u64;
    MemoryStatistics { total: TOTAL.load(Relaxed), free, heap: HEAP_FRAMES.load(Relaxed) }
}
