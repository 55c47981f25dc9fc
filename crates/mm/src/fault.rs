//! Page faults: making pages when they are touched.

use crate::backing::Backing;
use crate::memory::{Mm, State};
use crate::vma::{Source, Vma, VmaFlags, need};
use alloc::sync::Arc;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
use core::sync::atomic::Ordering;
use hal::memory::Frame;
use hal::space::LargeFrame;
use hal::{Access, OutOfMemory, PageFault, PageProtection};

/// Pages mapped around a touched page of the boot archive. They cost page-table entries only, and
/// a fault costs as much as many of these.
const AROUND_PAGES: u64 = 32;

/// How often a file fault starts over when the mapping changes under it.
const ATTEMPTS: usize = 64;

/// Why a SIGSEGV: its `si_code` (sigaction(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum SegvCode {
    /// `SEGV_MAPERR`: nothing is mapped there.
    MapError = 1,
    /// `SEGV_ACCERR`: the mapping does not allow it.
    AccessError = 2,
}

/// Why a fault cannot be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// SIGSEGV.
    Segv {
        /// Its `si_code`.
        code: SegvCode,
    },
    /// SIGBUS with `BUS_ADRERR`: beyond the end of the mapped file, or it could not be read.
    Bus,
    /// No memory: the program cannot go on.
    OutOfMemory,
}

impl From<OutOfMemory> for FaultError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What a file fault needs from the file, remembered while the lock is open.
struct FilePlan {
    backing: Arc<dyn Backing>,
    page: UserAddr,
    access: Access,
    file_page: u64,
    protection: PageProtection,
    shared: bool,
    /// Ask for the file's own writable frame.
    own: bool,
    /// Pages to map before and after, when the frames lie in the archive.
    around: PageRange,
    truncations: u64,
}

/// A touch that cannot be resolved while the lock of memory is held.
enum Plan {
    File(FilePlan),
    Large(LargePlan),
}

/// A large page that is to be made, remembered while the lock is open: zeroing takes long.
struct LargePlan {
    page: UserAddr,
    block: PageRange,
}

impl Mm {
    /// Resolves a page fault of the program.
    ///
    /// # Errors
    /// What the program must be told.
    pub fn fault(&self, fault: &PageFault) -> Result<(), FaultError> {
        self.make_present(fault.address, fault.access)
    }

    /// Makes the page at `address` present for `access` of the kernel.
    pub(crate) fn touch(&self, address: UserAddr, access: Access) -> Result<(), FaultError> {
        self.kernel_touches.fetch_add(1, Ordering::Relaxed);
        self.make_present(address, access)
    }

    fn make_present(&self, address: UserAddr, access: Access) -> Result<(), FaultError> {
        let page = address.page_floor();
        let mut large = true;
        for _ in 0..ATTEMPTS {
            let plan = {
                let mut state = self.state.lock();
                match self.touch_locked(&mut state, page, access, large)? {
                    Some(plan) => plan,
                    None => return Ok(()),
                }
            };
            let settled = match plan {
                Plan::File(plan) => self.touch_file(&plan)?,
                Plan::Large(plan) => self.touch_large(&plan),
            };
            if settled {
                return Ok(());
            }
            large = false;
        }
        // The program changes this mapping all the time; the access faults again and goes on.
        Ok(())
    }

    /// Everything that needs no file, and no large page unless `large`. `Some`: the rest is up to
    /// [`Mm::touch_file`] or [`Mm::touch_large`].
    fn touch_locked(
        &self,
        state: &mut State,
        page: UserAddr,
        access: Access,
        large: bool,
    ) -> Result<Option<Plan>, FaultError> {
        let truncations = state.truncations;
        let Some(vma) = state.tree.find_mut(page) else {
            return Err(FaultError::Segv { code: SegvCode::MapError });
        };
        if !vma.allows(access) {
            let is_guard = vma.flags.contains(VmaFlags::GUARD);
            let code = if is_guard { SegvCode::MapError } else { SegvCode::AccessError };
            return Err(FaultError::Segv { code });
        }
        if self.settle_present(vma, page, access)? {
            return Ok(None);
        }
        match &vma.source {
            Source::Anonymous => match vma.large_block(page).filter(|_| large) {
                Some(block) if self.has_room_for_large(block) => {
                    Ok(Some(Plan::Large(LargePlan { page, block })))
                }
                _ => self.fill(vma, page).map(|()| None),
            },
            Source::File { backing, shared, may_write, .. } => Ok(Some(Plan::File(FilePlan {
                backing: Arc::clone(backing),
                page,
                access,
                file_page: vma.file_page(page),
                protection: vma.hardware(),
                shared: *shared,
                // Also for reads: a copy of an archive page would not see later writes.
                own: *may_write,
                around: around(vma, page, access),
                truncations,
            }))),
        }
    }

    /// Deals with a page that is there but refuses: its rights are brought up to date, or it is
    /// copied because somebody else holds it too. `false`: there is no page, or not the right one.
    fn settle_present(
        &self,
        vma: &Vma,
        page: UserAddr,
        access: Access,
    ) -> Result<bool, FaultError> {
        match self.space.lookup(page) {
            None => return Ok(false),
            // Another thread was faster, or the processor remembered what was before.
            Some((_, protection)) if protection.contains(need(access)) => return Ok(true),
            Some(_) => {}
        }
        let Some(range) = PageRange::from_length(page, PAGE_SIZE) else {
            return Ok(false);
        };
        self.space.protect(range, vma.hardware(), vma.is_shared());
        let Some((frame, protection)) = self.space.lookup(page) else {
            return Ok(false);
        };
        if protection.contains(need(access)) {
            return Ok(true);
        }
        if vma.is_shared() {
            return Ok(false);
        }
        let copy = if frame.same(&self.zero) { Frame::zeroed()? } else { frame.duplicate()? };
        self.space.map(page, copy, vma.hardware())?;
        Ok(true)
    }

    /// Makes pages of zeros: one, or more when memory is touched in order and plentiful.
    fn fill(&self, vma: &mut Vma, page: UserAddr) -> Result<(), FaultError> {
        let protection = vma.hardware();
        if !protection.contains(PageProtection::WRITE) {
            return Ok(self.space.map(page, self.zero.clone(), protection)?);
        }
        self.space.map(page, Frame::zeroed()?, protection)?;
        let window = vma.sequence.touch(page);
        if window == 1 || !is_plentiful() {
            return Ok(());
        }
        for at in 1..window {
            let next = page.wrapping_add(at * PAGE_SIZE);
            if next >= vma.end() || self.space.lookup(next).is_some() {
                break;
            }
            let Ok(frame) = Frame::zeroed() else { break };
            if self.space.map(next, frame, protection).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Fetches the page from the file, without the lock, and maps it. `false`: the mapping changed
    /// meanwhile; start over.
    fn touch_file(&self, plan: &FilePlan) -> Result<bool, FaultError> {
        let frame = fetch(plan, plan.file_page)?;
        if plan.shared {
            return self.map_fetched(plan, plan.page, frame, plan.protection);
        }
        if plan.access == Access::Write {
            let copy = frame.duplicate()?;
            return self.map_fetched(plan, plan.page, copy, plan.protection);
        }
        let protection = plan.protection - PageProtection::WRITE;
        let is_archive = frame.is_archive();
        let settled = self.map_fetched(plan, plan.page, frame, protection)?;
        if settled && is_archive {
            self.map_around(plan, protection);
        }
        Ok(settled)
    }

    fn map_fetched(
        &self,
        plan: &FilePlan,
        page: UserAddr,
        frame: Frame,
        protection: PageProtection,
    ) -> Result<bool, FaultError> {
        let state = self.state.lock();
        if !plan.holds(&state) {
            return Ok(false);
        }
        // Another thread may have been faster, and have written to its page.
        if !plan.shared && self.space.lookup(page).is_some() {
            return Ok(false);
        }
        self.space.map(page, frame, protection)?;
        Ok(true)
    }

    /// Maps the archive pages around a touched one; what fails is left for later faults.
    fn map_around(&self, plan: &FilePlan, protection: PageProtection) {
        const BATCH: usize = 8;
        let mut page = plan.around.start();
        while page < plan.around.end() {
            let mut batch: [Option<(UserAddr, Frame)>; BATCH] = [const { None }; BATCH];
            for slot in &mut batch {
                if page >= plan.around.end() {
                    break;
                }
                *slot = archive_neighbour(plan, page).map(|frame| (page, frame));
                page = page.wrapping_add(PAGE_SIZE);
            }
            let state = self.state.lock();
            if !plan.holds(&state) {
                return;
            }
            for (at, frame) in batch.into_iter().flatten() {
                if self.space.lookup(at).is_none() && self.space.map(at, frame, protection).is_err()
                {
                    return;
                }
            }
        }
    }

    /// Makes every page of `range` present, for writing where the mapping allows it.
    ///
    /// # Errors
    /// Of the first page that could not be made.
    pub(crate) fn populate(&self, range: PageRange) -> Result<(), FaultError> {
        let mut page = range.start();
        while page < range.end() {
            let access = {
                let state = self.state.lock();
                let Some(vma) = state.tree.at_or_after(page) else { return Ok(()) };
                if vma.start() >= range.end() {
                    return Ok(());
                }
                if vma.hardware().is_empty() || vma.is_always_zero() {
                    page = vma.end();
                    continue;
                }
                page = page.max(vma.start());
                let writes = vma.protection.contains(PageProtection::WRITE);
                if writes { Access::Write } else { Access::Read }
            };
            self.touch(page, access)?;
            page = page.wrapping_add(PAGE_SIZE);
        }
        Ok(())
    }
}

impl FilePlan {
    /// True when the page still belongs to the same part of the same file with the same rights.
    fn holds(&self, state: &State) -> bool {
        state.truncations == self.truncations
            && state.tree.find(self.page).is_some_and(|vma| {
                vma.hardware() == self.protection
                    && vma.file_page(self.page) == self.file_page
                    && vma.start() <= self.around.start()
                    && self.around.end() <= vma.end()
                    && match &vma.source {
                        Source::File { backing, shared, .. } => {
                            *shared == self.shared && Arc::ptr_eq(backing, &self.backing)
                        }
                        Source::Anonymous => false,
                    }
            })
    }
}

/// Gets one page from the file.
fn fetch(plan: &FilePlan, file_page: u64) -> Result<Frame, FaultError> {
    if plan.own && plan.protection.contains(PageProtection::WRITE) {
        plan.backing.mapped_for_writing();
    }
    plan.backing.frame(file_page, plan.own).map_err(|errno| match errno {
        Errno::ENOMEM => FaultError::OutOfMemory,
        _ => FaultError::Bus,
    })
}

/// The frame of a page near the touched one, if it lies in the archive.
fn archive_neighbour(plan: &FilePlan, page: UserAddr) -> Option<Frame> {
    let file_page = if page < plan.page {
        plan.file_page.checked_sub((plan.page.0 - page.0) / PAGE_SIZE)
    } else {
        plan.file_page.checked_add((page.0 - plan.page.0) / PAGE_SIZE)
    }?;
    plan.backing.frame(file_page, false).ok().filter(Frame::is_archive)
}

/// The aligned window around `page`, within the mapping; just the page where a window makes no
/// sense.
fn around(vma: &Vma, page: UserAddr, access: Access) -> PageRange {
    const WINDOW: u64 = AROUND_PAGES * PAGE_SIZE;
    let alone = access == Access::Write || vma.is_shared() || vma.flags.contains(VmaFlags::RANDOM);
    let (low, high) = if alone {
        (page, page.wrapping_add(PAGE_SIZE))
    } else {
        let low = UserAddr(page.0 & !(WINDOW - 1));
        (low, low.wrapping_add(WINDOW))
    };
    PageRange::new(low.max(vma.start()), high.min(vma.end())).unwrap_or(vma.range)
}

/// Blocks of large pages: memory must have this many for one to be made by a touch, so that little
/// is lost when the program uses a part of it.
const LEAST_BLOCKS: u64 = 48;

impl Mm {
    /// True when nothing is mapped in `block`, and memory is plentiful beside it.
    fn has_room_for_large(&self, block: PageRange) -> bool {
        let statistics = hal::memory::statistics();
        statistics.total >= LEAST_BLOCKS * block.pages()
            && statistics.free > statistics.total / 4
            && self.space.next_mapped(block).is_none()
    }

    /// Makes a large page. `false`: there was no memory in one piece, or the mapping changed
    /// meanwhile; a single page will do.
    fn touch_large(&self, plan: &LargePlan) -> bool {
        let Ok(frame) = LargeFrame::zeroed() else { return false };
        let mut state = self.state.lock();
        let Some(vma) = state.tree.find_mut(plan.page) else { return false };
        let settled = vma.large_block(plan.page) == Some(plan.block)
            && self.space.map_large(plan.block.start(), frame, vma.hardware()) == Ok(true);
        if settled {
            vma.sequence.pass_block(plan.block);
        }
        settled
    }
}

/// True when an eighth of all memory is free: then a page too many does not hurt.
pub(crate) fn is_plentiful() -> bool {
    let statistics = hal::memory::statistics();
    statistics.free > statistics.total / 8
}
