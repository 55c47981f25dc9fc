//! Physical frames of the simulated machine.

use crate::types::{HeapClass, MemoryStatistics, OutOfMemory};
use base::PAGE_SIZE;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

const FRAME_BYTES: usize = PAGE_SIZE as usize;

thread_local! {
    static LIMIT: Cell<u64> = const { Cell::new(1 << 18) };
    static LIVE: Cell<u64> = const { Cell::new(0) };
}

enum Content {
    Own(Box<[u8; FRAME_BYTES]>),
    Static(&'static [u8]),
}

struct Inner {
    content: Mutex<Content>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let is_static = matches!(
            self.content.lock().unwrap_or_else(PoisonError::into_inner).by_ref(),
            Content::Static(_)
        );
        if !is_static {
            LIVE.with(|live| live.set(live.get().saturating_sub(1)));
        }
    }
}

impl Content {
    fn by_ref(&self) -> &Self {
        self
    }
}

/// A reference to a 4 KiB frame of physical memory. Cloning shares the frame; the last one to be
/// dropped frees it.
#[derive(Clone)]
pub struct Frame {
    inner: Arc<Inner>,
}

impl Frame {
    /// A fresh frame of zeros.
    ///
    /// # Errors
    /// No memory left.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let live = LIVE.with(Cell::get);
        if live >= LIMIT.with(Cell::get) {
            return Err(OutOfMemory);
        }
        LIVE.with(|cell| cell.set(live + 1));
        let content = Mutex::new(Content::Own(Box::new([0; FRAME_BYTES])));
        Ok(Self { inner: Arc::new(Inner { content }) })
    }

    /// The frame that holds a page of the boot archive, in place. `None` unless `page` is exactly
    /// one page long and page-aligned (the simulation does not ask for alignment). Such a frame is
    /// never written: callers map it without `WRITE`.
    #[must_use]
    pub fn of_archive(page: &'static [u8]) -> Option<Self> {
        (page.len() == FRAME_BYTES)
            .then(|| Self { inner: Arc::new(Inner { content: Mutex::new(Content::Static(page)) }) })
    }

    /// True when this is a page of the boot archive.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        matches!(
            *self.inner.content.lock().unwrap_or_else(PoisonError::into_inner),
            Content::Static(_)
        )
    }

    /// True when somebody else holds the same frame.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// True when both are the same frame.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Copies bytes out. `offset + into.len()` beyond the frame copies what there is.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let content = self.inner.content.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: &[u8] = match &*content {
            Content::Own(bytes) => &bytes[..],
            Content::Static(bytes) => bytes,
        };
        let count = into.len().min(FRAME_BYTES.saturating_sub(offset));
        if count > 0 {
            into[..count].copy_from_slice(&bytes[offset..offset + count]);
        }
    }

    /// Copies bytes in; what lies beyond the frame is left out. Does nothing to an archive frame.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let mut content = self.inner.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Content::Own(own) = &mut *content {
            let count = bytes.len().min(FRAME_BYTES.saturating_sub(offset));
            if count > 0 {
                own[offset..offset + count].copy_from_slice(&bytes[..count]);
            }
        }
    }

    /// Sets `count` bytes from `offset` to zero.
    pub fn clear(&self, offset: usize, count: usize) {
        let mut content = self.inner.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Content::Own(own) = &mut *content {
            let end = offset.saturating_add(count).min(FRAME_BYTES);
            if offset < end {
                own[offset..end].fill(0);
            }
        }
    }

    /// A fresh frame with the same bytes.
    ///
    /// # Errors
    /// No memory left.
    pub fn duplicate(&self) -> Result<Self, OutOfMemory> {
        let copy = Self::zeroed()?;
        let mut bytes = [0; FRAME_BYTES];
        self.read(0, &mut bytes);
        copy.write(0, &bytes);
        Ok(copy)
    }
}

/// What lies on the kernel's heap, by size: nothing, it is the host's.
pub fn heap_classes() -> impl Iterator<Item = HeapClass> {
    core::iter::empty()
}

/// How much memory there is.
#[must_use]
pub fn statistics() -> MemoryStatistics {
    let total = LIMIT.with(Cell::get);
    MemoryStatistics { total, free: total.saturating_sub(LIVE.with(Cell::get)), heap: 0 }
}

pub(super) fn set_limit(frames: u64) {
    LIMIT.with(|limit| limit.set(frames));
}
