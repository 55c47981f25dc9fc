//! mmap(2) and munmap(2).

use crate::backing::{Backing, SharedMemory};
use crate::memory::{Mm, OnFault, State, check_commit};
use crate::tree::Removed;
use crate::vma::{Label, Sequence, Source, Vma, VmaFlags};
use crate::{LOWEST_ADDRESS, MAXIMUM_MAPPINGS};
use alloc::sync::Arc;
use base::address::USER_END;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
use hal::PageProtection;

/// Where a mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Where there is room; at this address if it is free (null: no wish).
    Hint(UserAddr),
    /// Below 2 GiB (`MAP_32BIT`).
    Low,
    /// Exactly here, in place of what is there (`MAP_FIXED`).
    Fixed(UserAddr),
    /// Exactly here, or `EEXIST` (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace(UserAddr),
}

/// What is mapped.
#[derive(Clone)]
pub enum Content {
    /// Zeros, private.
    Anonymous,
    /// Zeros, shared.
    SharedAnonymous,
    /// A file.
    File {
        /// The file.
        backing: Arc<dyn Backing>,
        /// Byte offset in it, page-aligned.
        offset: u64,
        /// `MAP_SHARED`: writes go to the file.
        shared: bool,
        /// The descriptor allows writing; without it a shared mapping never becomes writable.
        writable: bool,
    },
}

/// The arguments of mmap(2), decoded.
#[derive(Clone)]
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes, rounded up to pages.
    pub length: u64,
    /// What the program may do there.
    pub protection: PageProtection,
    /// What.
    pub content: Content,
    /// Make every page present now (`MAP_POPULATE`).
    pub populate: bool,
    /// `MAP_LOCKED`.
    pub locked: bool,
    /// `MAP_NORESERVE`.
    pub no_reserve: bool,
    /// `MAP_DROPPABLE`.
    pub droppable: bool,
    /// Its name in /proc/self/maps.
    pub label: Label,
}

impl MapRequest {
    /// Private zeros, `length` bytes.
    #[must_use]
    pub fn anonymous(placement: Placement, length: u64, protection: PageProtection) -> Self {
        Self::new(placement, length, protection, Content::Anonymous)
    }

    /// `content`, `length` bytes, with no option set.
    #[must_use]
    pub fn new(
        placement: Placement,
        length: u64,
        protection: PageProtection,
        content: Content,
    ) -> Self {
        Self {
            placement,
            length,
            protection,
            content,
            populate: false,
            locked: false,
            no_reserve: false,
            droppable: false,
            label: Label::None,
        }
    }

    fn source(&self, bytes: u64) -> Result<Source, Errno> {
        match &self.content {
            Content::Anonymous => Ok(Source::Anonymous),
            Content::SharedAnonymous => Ok(Source::File {
                backing: Arc::new(SharedMemory::new(bytes)),
                page: 0,
                shared: true,
                may_write: true,
            }),
            Content::File { backing, offset, shared, writable } => {
                if offset % PAGE_SIZE != 0 {
                    return Err(Errno::EINVAL);
                }
                // Files end before 2^63 bytes.
                let end = offset.checked_add(bytes).ok_or(Errno::EOVERFLOW)?;
                i64::try_from(end).map_err(|_| Errno::EOVERFLOW)?;
                if *shared && !writable && self.protection.contains(PageProtection::WRITE) {
                    return Err(Errno::EACCES);
                }
                Ok(Source::File {
                    backing: Arc::clone(backing),
                    page: offset / PAGE_SIZE,
                    shared: *shared,
                    may_write: *shared && *writable,
                })
            }
        }
    }
}

/// `length` rounded up to pages.
///
/// # Errors
/// `ENOMEM` when it is more than there are addresses.
pub(crate) fn whole_pages(length: u64) -> Result<u64, Errno> {
    let rounded = UserAddr(length).page_ceil().ok_or(Errno::ENOMEM)?.0;
    if rounded > USER_END { Err(Errno::ENOMEM) } else { Ok(rounded) }
}

impl Mm {
    /// mmap(2). Returns where the mapping starts.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn map(&self, request: MapRequest) -> Result<UserAddr, Errno> {
        if request.length == 0 {
            return Err(Errno::EINVAL);
        }
        let bytes = whole_pages(request.length)?;
        let source = request.source(bytes)?;
        let mut removed = Removed::default();
        let mut state = self.state.lock();
        if state.tree.len() >= MAXIMUM_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        let range = self.place(&mut state, request.placement, bytes)?;
        let mut flags = state.default_flags();
        flags.set(VmaFlags::LOCKED, request.locked || flags.contains(VmaFlags::LOCKED));
        flags.set(VmaFlags::NO_RESERVE, request.no_reserve);
        flags.set(VmaFlags::DROPPABLE, request.droppable);
        let vma = Vma {
            range,
            protection: request.protection,
            source,
            flags,
            label: request.label,
            sequence: Sequence::default(),
        };
        if vma.is_accounted() {
            check_commit(bytes)?;
        }
        self.clear_range(&mut state, range, &mut removed);
        state.tree.insert(vma);
        state.note_peak();
        let locked = flags.contains(VmaFlags::LOCKED) && state.lock_future != Some(OnFault::Yes);
        drop(state);
        drop(removed);
        if request.populate || locked {
            // As Linux: the mapping stands even when not all of it could be made present.
            let _ = self.populate(range);
        }
        Ok(range.start())
    }

    /// Decides where `bytes` bytes go.
    fn place(
        &self,
        state: &mut State,
        placement: Placement,
        bytes: u64,
    ) -> Result<PageRange, Errno> {
        let start = match placement {
            Placement::Fixed(address) => fixed(address, bytes)?.start(),
            Placement::FixedNoReplace(address) => {
                let range = fixed(address, bytes)?;
                if !state.tree.is_free(range) {
                    return Err(Errno::EEXIST);
                }
                range.start()
            }
            Placement::Low => {
                state.tree.find_room(bytes, LOW_AREA_START, LOW_AREA_END).ok_or(Errno::ENOMEM)?
            }
            Placement::Hint(address) => match self.honour(state, address, bytes) {
                Some(start) => start,
                None => state
                    .tree
                    .find_room(bytes, LOWEST_ADDRESS, self.layout.mmap_top)
                    .ok_or(Errno::ENOMEM)?,
            },
        };
        PageRange::from_length(start, bytes).ok_or(Errno::ENOMEM)
    }

    /// The hinted address, when there is a hint and all of the range is free.
    fn honour(&self, state: &State, hint: UserAddr, bytes: u64) -> Option<UserAddr> {
        if hint.is_null() {
            return None;
        }
        let start = hint.page_floor().max(LOWEST_ADDRESS);
        let range = PageRange::from_length(start, bytes)?;
        state.tree.is_free(range).then_some(start)
    }

    /// munmap(2).
    ///
    /// # Errors
    /// As munmap(2).
    pub fn unmap(&self, start: UserAddr, length: u64) -> Result<(), Errno> {
        let range = PageRange::from_length(start, length).ok_or(Errno::EINVAL)?;
        if range.is_empty() {
            return Err(Errno::EINVAL);
        }
        let mut removed = Removed::default();
        let mut state = self.state.lock();
        // Cutting the middle out of a mapping makes two of it.
        if state.tree.len() >= MAXIMUM_MAPPINGS && state.tree.splits(range) == 2 {
            return Err(Errno::ENOMEM);
        }
        self.clear_range(&mut state, range, &mut removed);
        drop(state);
        Ok(())
    }
}

/// Linux's area for `MAP_32BIT`.
const LOW_AREA_START: UserAddr = UserAddr(0x4000_0000);
const LOW_AREA_END: UserAddr = UserAddr(0x8000_0000);

/// The range at a fixed address, if it may be mapped.
pub(crate) fn fixed(address: UserAddr, bytes: u64) -> Result<PageRange, Errno> {
    if address.0 > USER_END - bytes {
        return Err(Errno::ENOMEM);
    }
    if !address.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    if address < LOWEST_ADDRESS {
        return Err(Errno::EPERM);
    }
    PageRange::from_length(address, bytes).ok_or(Errno::ENOMEM)
}
