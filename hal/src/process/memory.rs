//! Physical frames: pages of a memfd, which the kernel has mapped as a whole.

use crate::types::{HeapClass, MemoryStatistics, OutOfMemory};
use base::PAGE_SIZE;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

const FRAME_BYTES: usize = PAGE_SIZE as usize;
/// In a [`Frame`]: of the archive.
const ARCHIVE: u32 = 1 << 31;
const MAX_REFERENCES: u32 = 1 << 30;

/// The memory of the machine. The archive lies at its end.
struct Physical {
    file: File,
    start: *mut u8,
    /// Frames that can be handed out.
    frames: u32,
    archive_bytes: usize,
    counts: Box<[AtomicU32]>,
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// Frames from here on were never handed out and hold zeros.
    fresh: u32,
    used: Vec<u32>,
}

// SAFETY: the mapping lives as long as the process, and its bytes are reached through raw pointers
// only, except for the archive, which nobody writes once it is there.
unsafe impl Send for Physical {}
// SAFETY: as above.
unsafe impl Sync for Physical {}

static PHYSICAL: OnceLock<Physical> = OnceLock::new();

fn physical() -> &'static Physical {
    PHYSICAL.get().unwrap_or_else(|| panic!("memory is used before hal::host::start"))
}

/// Makes memory of `bytes` bytes with the archive at its end, and returns the archive.
pub(super) fn init(bytes: u64, image: &mut File) -> io::Result<&'static [u8]> {
    let archive_bytes = image.metadata()?.len();
    let archive_frames = archive_bytes.div_ceil(PAGE_SIZE);
    let all = bytes / PAGE_SIZE;
    let usable = all.checked_sub(archive_frames).filter(|&frames| frames > 0);
    let (Some(frames), true) = (usable, all < u64::from(MAX_REFERENCES)) else {
        return Err(io::Error::other("the image does not fit the memory; give it more with -m"));
    };
    // SAFETY: the name is a string that ends with 0.
    let fd = unsafe { libc::memfd_create(c"eggos-memory".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(all * PAGE_SIZE)?;
    let length = (all * PAGE_SIZE) as usize;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, where Linux finds room.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = start.cast::<u8>();
    // SAFETY: that many bytes of the new mapping, which nobody else knows yet.
    let archive = unsafe {
        let at = start.add(frames as usize * FRAME_BYTES);
        core::slice::from_raw_parts_mut(at, archive_bytes as usize)
    };
    image.read_exact(archive)?;
    let physical = Physical {
        file,
        start,
        frames: frames as u32,
        archive_bytes: archive.len(),
        counts: (0..frames).map(|_| AtomicU32::new(0)).collect(),
        free: Mutex::default(),
    };
    if PHYSICAL.set(physical).is_err() {
        return Err(io::Error::other("the machine was started twice"));
    }
    Ok(archive)
}

/// A reference to a 4 KiB frame of physical memory. Cloning shares the frame; the last one to be
/// dropped frees it.
#[derive(Debug)]
pub struct Frame {
    /// Which page of the memfd, and [`ARCHIVE`].
    tagged: u32,
}

impl Frame {
    /// A fresh frame of zeros.
    ///
    /// # Errors
    /// No memory left.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let (frame, is_zero) = Self::take()?;
        if !is_zero {
            frame.clear(0, FRAME_BYTES);
        }
        Ok(frame)
    }

    /// A free frame, and whether it is known to hold zeros.
    fn take() -> Result<(Self, bool), OutOfMemory> {
        let physical = physical();
        let mut free = physical.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, is_zero) = match free.used.pop() {
            Some(index) => (index, false),
            None if free.fresh < physical.frames => {
                free.fresh += 1;
                (free.fresh - 1, true)
            }
            None => return Err(OutOfMemory),
        };
        drop(free);
        physical.counts[index as usize].store(1, Ordering::Relaxed);
        Ok((Self { tagged: index }, is_zero))
    }

    /// The frame that holds a page of the boot archive, in place. `None` unless `page` is exactly
    /// one page long, page-aligned and lies in the archive. Such a frame is never written: callers
    /// map it without `WRITE`.
    #[must_use]
    pub fn of_archive(page: &'static [u8]) -> Option<Self> {
        let physical = physical();
        let offset = page.as_ptr().addr().checked_sub(physical.start.addr())?;
        let archive = physical.frames as usize * FRAME_BYTES;
        let inside = page.len() == FRAME_BYTES
            && offset.is_multiple_of(FRAME_BYTES)
            && offset >= archive
            && offset + FRAME_BYTES <= archive + physical.archive_bytes;
        inside.then_some(Self { tagged: (offset / FRAME_BYTES) as u32 | ARCHIVE })
    }

    /// True when this is a page of the boot archive.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        self.tagged & ARCHIVE != 0
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
            // memory of the kernel's own, never part of a frame.
            unsafe {
                ptr::copy_nonoverlapping(self.bytes().add(offset), into.as_mut_ptr(), count);
            }
        }
    }

    /// Copies bytes in; what lies beyond the frame is left out. Does nothing to an archive frame.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let count = bytes.len().min(FRAME_BYTES.saturating_sub(offset));
        if count > 0 && !self.is_archive() {
            // SAFETY: as in `read`; no Rust reference to the bytes of a frame exists. The source may
            // be the archive, which is no part of this frame.
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
        let (copy, _) = Self::take()?;
        // SAFETY: two whole frames, both held; the new one is ours alone.
        unsafe { ptr::copy_nonoverlapping(self.bytes(), copy.bytes(), FRAME_BYTES) };
        Ok(copy)
    }

    /// An aligned word of the frame. `None` unless it lies in the frame and can be written.
    pub(super) fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let valid = offset.is_multiple_of(4) && offset < FRAME_BYTES;
        // SAFETY: inside the frame and aligned; the kernel makes no other kind of reference to the
        // bytes of a frame, and the program is another processor's peer at most.
        valid.then(|| unsafe { AtomicU32::from_ptr(self.bytes().add(offset).cast()) })
    }

    /// Which page of the memfd.
    fn index(&self) -> usize {
        (self.tagged & !ARCHIVE) as usize
    }

    fn bytes(&self) -> *mut u8 {
        physical().start.wrapping_add(self.index() * FRAME_BYTES)
    }

    fn references(&self) -> Option<&'static AtomicU32> {
        (!self.is_archive()).then(|| &physical().counts[self.index()])
    }

    /// The memfd and where in it the frame lies.
    pub(super) fn place(&self) -> (c_int, i64) {
        (physical().file.as_raw_fd(), (self.index() * FRAME_BYTES) as i64)
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        if let Some(count) = self.references() {
            let before = count.fetch_add(1, Ordering::Relaxed);
            assert!(before < MAX_REFERENCES, "a frame has too many references");
        }
        Self { tagged: self.tagged }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let Some(count) = self.references() else { return };
        if count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            let mut free = physical().free.lock().unwrap_or_else(PoisonError::into_inner);
            free.used.push(self.tagged);
        }
    }
}

/// What lies on the kernel's heap, by size: nothing, it is the host's.
pub fn heap_classes() -> impl Iterator<Item = HeapClass> {
    core::iter::empty()
}

/// How much memory there is. The kernel's heap is not part of it.
#[must_use]
pub fn statistics() -> MemoryStatistics {
    let physical = physical();
    let free = physical.free.lock().unwrap_or_else(PoisonError::into_inner);
    let unused = (physical.frames - free.fresh) as usize + free.used.len();
    MemoryStatistics { total: u64::from(physical.frames), free: unused as u64, heap: 0 }
}
