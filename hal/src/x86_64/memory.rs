//! Physical frames, counted by reference.

use super::paging::{DIRECT_BASE, direct, direct_mut};
use super::pool::{self, Purpose};
use super::slab;
use crate::types::{HeapClass, MemoryStatistics, OutOfMemory};
use base::PAGE_SIZE;
use core::mem::ManuallyDrop;
use core::num::NonZeroU64;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

const FRAME_BYTES: usize = PAGE_SIZE as usize;
/// Set in [`Frame::tagged`] for a page of the boot archive.
const ARCHIVE: u64 = 1;
/// More references than this to one frame are a leak.
const MAX_REFERENCES: u32 = 1 << 30;

/// The archive's first byte and one past its last, as physical addresses.
static ARCHIVE_START: AtomicU64 = AtomicU64::new(0);
static ARCHIVE_END: AtomicU64 = AtomicU64::new(0);

/// Says where the archive lies. Its frames are never given to anybody else. Once, at boot.
pub(super) fn set_archive(start: u64, end: u64) {
    ARCHIVE_START.store(start, Ordering::Relaxed);
    ARCHIVE_END.store(end, Ordering::Relaxed);
}

/// A reference to a 4 KiB frame of physical memory. Cloning shares the frame; the last one to be
/// dropped frees it.
#[derive(Debug)]
pub struct Frame {
    /// The physical address, and [`ARCHIVE`].
    tagged: NonZeroU64,
}

impl Frame {
    /// A fresh frame of zeros.
    ///
    /// # Errors
    /// No memory left.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let frame = Self::arbitrary()?;
        frame.clear(0, FRAME_BYTES);
        Ok(frame)
    }

    /// A fresh frame with whatever was in memory: for callers that write all of it.
    #[inline]
    fn arbitrary() -> Result<Self, OutOfMemory> {
        let address = pool::allocate_frame(Purpose::Program)?;
        // SAFETY: the frame was just handed out.
        unsafe { pool::count(address) }.store(1, Ordering::Relaxed);
        Ok(Self { tagged: NonZeroU64::new(address).ok_or(OutOfMemory)? })
    }

    /// The frame that holds a page of the boot archive, in place. `None` unless `page` is exactly
    /// one page long, page-aligned and lies in the archive. Such a frame is never written: callers
    /// map it without `WRITE`.
    #[must_use]
    pub fn of_archive(page: &'static [u8]) -> Option<Self> {
        let address = (page.as_ptr() as u64).checked_sub(DIRECT_BASE)?;
        let inside = page.len() == FRAME_BYTES
            && address.is_multiple_of(PAGE_SIZE)
            && address >= ARCHIVE_START.load(Ordering::Relaxed)
            && address + PAGE_SIZE <= ARCHIVE_END.load(Ordering::Relaxed);
        inside.then_some(Self { tagged: NonZeroU64::new(address | ARCHIVE)? })
    }

    /// True when this is a page of the boot archive.
    #[must_use]
    #[inline]
    pub fn is_archive(&self) -> bool {
        self.tagged.get() & ARCHIVE != 0
    }

    /// True when somebody else holds the same frame.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.references().is_some_and(|count| count.load(Ordering::Acquire) > 1)
    }

    /// True when both are the same frame.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.tagged == other.tagged
    }

    /// Copies bytes out. `offset + into.len()` beyond the frame copies what there is.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let count = into.len().min(FRAME_BYTES.saturating_sub(offset));
        if count > 0 {
            // SAFETY: the source lies in this frame, which is mapped and held by `self`; `into` is
            // kernel memory, never part of a frame. The program may write to the frame at the same
            // time only on another processor: the copy is then a mix of old and new bytes.
            unsafe {
                ptr::copy_nonoverlapping(self.bytes().add(offset), into.as_mut_ptr(), count);
            }
        }
    }

    /// Copies bytes in; what lies beyond the frame is left out. Does nothing to an archive frame.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let count = bytes.len().min(FRAME_BYTES.saturating_sub(offset));
        if count > 0 && !self.is_archive() {
            // SAFETY: as in `read`; no Rust reference to the bytes of a frame exists.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes().add(offset), count);
            }
        }
    }

    /// Sets `count` bytes from `offset` to zero.
    pub fn clear(&self, offset: usize, count: usize) {
        let count = count.min(FRAME_BYTES.saturating_sub(offset));
        if count > 0 && !self.is_archive() {
            // SAFETY: as in `write`.
            unsafe { ptr::write_bytes(self.bytes().add(offset), 0, count) };
        }
    }

    /// A fresh frame with the same bytes.
    ///
    /// # Errors
    /// No memory left.
    pub fn duplicate(&self) -> Result<Self, OutOfMemory> {
        let copy = Self::arbitrary()?;
        // SAFETY: two whole frames, both held; the new one is ours alone.
        unsafe { ptr::copy_nonoverlapping(self.bytes(), copy.bytes(), FRAME_BYTES) };
        Ok(copy)
    }

    /// The physical address.
    #[inline]
    pub(super) fn address(&self) -> u64 {
        self.tagged.get() & !ARCHIVE
    }

    /// Where the direct map has it.
    fn bytes(&self) -> *mut u8 {
        direct_mut(self.address())
    }

    fn references(&self) -> Option<&AtomicU32> {
        // SAFETY: `self` holds the frame, so it was handed out and not given back.
        (!self.is_archive()).then(|| unsafe { pool::count(self.address()) })
    }

    /// Gives up the reference without dropping it: the address, and whether it is of the archive.
    pub(super) fn into_raw(self) -> (u64, bool) {
        let frame = ManuallyDrop::new(self);
        (frame.address(), frame.is_archive())
    }

    /// Takes up a reference given up by [`Frame::into_raw`].
    ///
    /// # Safety
    /// Each `into_raw` is taken up at most once.
    pub(super) unsafe fn from_raw(address: u64, archive: bool) -> Self {
        // SAFETY: frames never lie at 0 (the first MiB is never used).
        Self { tagged: unsafe { NonZeroU64::new_unchecked(address | u64::from(archive)) } }
    }
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(count) = self.references() {
            let before = count.fetch_add(1, Ordering::Relaxed);
            assert!(before < MAX_REFERENCES, "a frame has too many references");
        }
        Self { tagged: self.tagged }
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        let Some(count) = self.references() else { return };
        if count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: that was the last reference.
            unsafe { pool::release_frame(self.address()) };
        }
    }
}

/// How much memory there is.
#[must_use]
pub fn statistics() -> MemoryStatistics {
    pool::statistics()
}

/// What lies on the kernel's heap, by size. The last row is blocks of whole frames, each frame an
/// object.
pub fn heap_classes() -> impl Iterator<Item = HeapClass> {
    let mut frames = pool::statistics().heap;
    slab::classes().map(Some).chain([None]).map(move |class| match class {
        Some(class) => {
            frames = frames.saturating_sub(class.slabs * class.frames_per_slab);
            class
        }
        None => HeapClass {
            object_bytes: FRAME_BYTES,
            objects: frames,
            slots: frames,
            slabs: frames,
            frames_per_slab: 1,
        },
    })
}

/// The physical address of kernel memory that lies in the direct map.
pub(super) fn physical(address: *const u8) -> u64 {
    debug_assert!(address >= direct::<u8>(0));
    (address as u64).wrapping_sub(DIRECT_BASE)
}

/// The physical address of a static of the kernel.
pub(super) fn physical_of_image(address: u64) -> u64 {
    address.wrapping_sub(super::paging::KERNEL_BASE)
}
