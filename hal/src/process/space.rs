//! The program's address space: a table of pages, and the host's mappings that follow it.
//!
//! The table says what is true. A host mapping may be missing although the table has the page: Linux
//! allows a process only so many (vm.max_map_count), and when they are used up all are given up. The
//! program's next access then faults, and [`AddressSpace::refill`] maps the page again.

pub use super::large::{LARGE_PAGES, LargeFrame};
use super::memory::Frame;
use super::trap;
use crate::types::{Access, OutOfMemory, PageProtection};
use base::address::USER_END;
use base::{PAGE_SIZE, PageRange, UserAddr};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Entry {
    frame: Frame,
    protection: PageProtection,
    /// The host has it mapped, as the table says.
    hosted: bool,
}

type Pages = BTreeMap<u64, Entry>;

/// The program's address space. Each mapped page holds a reference to its frame.
#[derive(Default)]
pub struct AddressSpace {
    pages: Mutex<Pages>,
}

/// As the processor has it: what can be touched at all can be read, and archive frames are never
/// written.
fn effective(frame: &Frame, protection: PageProtection) -> PageProtection {
    let mut effective = protection;
    if !protection.is_empty() {
        effective |= PageProtection::READ;
    }
    if frame.is_archive() {
        effective -= PageProtection::WRITE;
    }
    effective
}

fn host_protection(protection: PageProtection) -> c_int {
    [
        (PageProtection::READ, libc::PROT_READ),
        (PageProtection::WRITE, libc::PROT_WRITE),
        (PageProtection::EXECUTE, libc::PROT_EXEC),
    ]
    .into_iter()
    .filter(|(ours, _)| protection.contains(*ours))
    .fold(libc::PROT_NONE, |sum, (_, theirs)| sum | theirs)
}

/// Host pages `start..end` that follow one another and get the same treatment.
struct Run {
    start: u64,
    end: u64,
    protection: PageProtection,
}

/// Adds a page to the last run, or begins a new one.
fn add_to_runs(runs: &mut Vec<Run>, page: u64, protection: PageProtection) {
    match runs.last_mut() {
        Some(run) if run.end == page && run.protection == protection => run.end += PAGE_SIZE,
        _ => runs.push(Run { start: page, end: page + PAGE_SIZE, protection }),
    }
}

impl Run {
    fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }

    fn unmap(&self) {
        // SAFETY: only pages that the table says are the program's.
        let result = unsafe { libc::munmap(self.start as *mut _, self.bytes()) };
        assert!(result == 0, "munmap of the program's pages: {}", io::Error::last_os_error());
    }

    fn protect(&self) -> io::Result<()> {
        let protection = host_protection(self.protection);
        // SAFETY: only pages that the table says are the program's.
        let result = unsafe { libc::mprotect(self.start as *mut _, self.bytes(), protection) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Maps a page for the host. Without `replace`, only where there is nothing.
fn host_map(page: u64, entry: &Entry, replace: bool) -> io::Result<()> {
    let (file, offset) = entry.frame.place();
    let fixed = if replace { libc::MAP_FIXED } else { libc::MAP_FIXED_NOREPLACE };
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE | fixed;
    let protection = host_protection(entry.protection);
    // SAFETY: replaces a page of the program or nothing at all.
    let mapped =
        unsafe { libc::mmap(page as *mut _, PAGE_SIZE as usize, protection, flags, file, offset) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives up every host mapping of the program.
fn give_up_all(pages: &mut Pages) {
    let mut runs = Vec::new();
    for (page, entry) in pages.iter_mut().filter(|(_, entry)| entry.hosted) {
        entry.hosted = false;
        add_to_runs(&mut runs, *page, PageProtection::empty());
    }
    runs.iter().for_each(Run::unmap);
}

/// Maps the page for the host if the table allows anything there. The page has no host mapping, or
/// (`replace`) an older one.
fn follow(pages: &mut Pages, page: u64, replace: bool) -> Result<(), OutOfMemory> {
    for replace in [replace, false] {
        let Some(entry) = pages.get_mut(&page) else { return Ok(()) };
        if entry.protection.is_empty() {
            if replace {
                Run { start: page, end: page + PAGE_SIZE, protection: entry.protection }.unmap();
            }
            entry.hosted = false;
            return Ok(());
        }
        match host_map(page, entry, replace) {
            Ok(()) => {
                entry.hosted = true;
                return Ok(());
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                entry.hosted = replace;
                give_up_all(pages);
            }
            // Something of the kernel's own lies there.
            Err(_) => return Err(OutOfMemory),
        }
    }
    Err(OutOfMemory)
}

impl AddressSpace {
    /// An empty address space.
    ///
    /// # Errors
    /// None here.
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self::default())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps `frame` at the page that holds `page`, in place of what was there. Addresses outside
    /// user memory are refused with [`OutOfMemory`].
    ///
    /// # Errors
    /// The host has something of its own there, or no memory.
    pub fn map(
        &self,
        page: UserAddr,
        frame: Frame,
        protection: PageProtection,
    ) -> Result<(), OutOfMemory> {
        if page.0 >= USER_END {
            return Err(OutOfMemory);
        }
        let page = page.page_floor().0;
        let mut pages = self.pages();
        let protection = effective(&frame, protection);
        let old = pages.insert(page, Entry { frame, protection, hosted: false });
        let was_hosted = old.as_ref().is_some_and(|old| old.hosted);
        let result = follow(&mut pages, page, was_hosted);
        if result.is_err() {
            pages.remove(&page);
        }
        // Only now may its frame be handed out again.
        drop(old);
        result
    }

    /// Maps the page at `address` for the host again, if the table allows that access: then the
    /// program can go on. `false`: its fault is a real one.
    pub(super) fn refill(&self, address: UserAddr, access: Access) -> bool {
        let need = match access {
            Access::Read => PageProtection::READ,
            Access::Write => PageProtection::WRITE,
            Access::Execute => PageProtection::EXECUTE,
        };
        let page = address.page_floor().0;
        let mut pages = self.pages();
        let missing =
            pages.get(&page).is_some_and(|entry| !entry.hosted && entry.protection.contains(need));
        missing && follow(&mut pages, page, false).is_ok()
    }

    /// Unmaps every page in `range` and drops the references to their frames. Returns how many
    /// pages were mapped.
    pub fn unmap(&self, range: PageRange) -> usize {
        let mut pages = self.pages();
        let mut runs = Vec::new();
        let mut gone = Vec::new();
        for (page, entry) in pages.range(range.start().0..range.end().0) {
            gone.push(*page);
            if entry.hosted {
                add_to_runs(&mut runs, *page, PageProtection::empty());
            }
        }
        // Before the frames can be handed out again.
        runs.iter().for_each(Run::unmap);
        for page in &gone {
            pages.remove(page);
        }
        gone.len()
    }

    /// Changes what the program may do with the pages mapped in `range`. Archive frames never
    /// become writable, nor do frames that are shared (a write then faults, and the fault handler
    /// decides) unless `shared_writable`.
    pub fn protect(&self, range: PageRange, protection: PageProtection, shared_writable: bool) {
        let mut pages = self.pages();
        let mut runs = Vec::new();
        for (page, entry) in pages.range_mut(range.start().0..range.end().0) {
            let mut wanted = effective(&entry.frame, protection);
            if !shared_writable && entry.frame.is_shared() {
                wanted -= PageProtection::WRITE;
            }
            if wanted == entry.protection {
                continue;
            }
            entry.protection = wanted;
            if entry.hosted {
                add_to_runs(&mut runs, *page, wanted);
            }
        }
        if runs.iter().any(|run| run.protect().is_err()) {
            // No more mappings to be had: they come back one by one.
            give_up_all(&mut pages);
        }
    }

    /// The frame at `page` and what the program may do with it.
    pub fn lookup(&self, page: UserAddr) -> Option<(Frame, PageProtection)> {
        let pages = self.pages();
        let entry = pages.get(&page.page_floor().0)?;
        Some((entry.frame.clone(), entry.protection))
    }

    /// Has `with` look at the frame at `page`, if the program may do `need` there.
    pub(super) fn with_frame<T>(
        &self,
        page: UserAddr,
        need: PageProtection,
        with: impl FnOnce(&Frame) -> T,
    ) -> Option<T> {
        let pages = self.pages();
        let entry = pages.get(&page.page_floor().0)?;
        entry.protection.contains(need).then(|| with(&entry.frame))
    }

    /// The first mapped page in `range`. For skipping holes.
    pub fn next_mapped(&self, range: PageRange) -> Option<UserAddr> {
        self.pages().range(range.start().0..range.end().0).next().map(|(page, _)| UserAddr(*page))
    }

    /// Moves the mapped pages of `from` so that they start at `to` (mremap).
    ///
    /// # Errors
    /// The host has something of its own there, or no memory, or the target lies outside user
    /// memory; pages may have moved in part.
    pub fn relocate(&self, from: PageRange, to: UserAddr) -> Result<(), OutOfMemory> {
        let target = PageRange::from_length(to, from.bytes()).ok_or(OutOfMemory)?;
        let mut pages = self.pages();
        let range = from.start().0..from.end().0;
        let moving: Vec<u64> = pages.range(range).map(|(page, _)| *page).collect();
        for page in moving {
            let moved = target.start().0 + (page - from.start().0);
            if moved == page {
                continue;
            }
            let Some(mut entry) = pages.remove(&page) else { continue };
            if core::mem::take(&mut entry.hosted) {
                Run { start: page, end: page + PAGE_SIZE, protection: entry.protection }.unmap();
            }
            let old = pages.insert(moved, entry);
            let was_hosted = old.as_ref().is_some_and(|old| old.hosted);
            let result = follow(&mut pages, moved, was_hosted);
            // Only now may its frame be handed out again.
            drop(old);
            result?;
        }
        Ok(())
    }

    /// Returns when every processor that ran the program has left it since the call, or has had a
    /// barrier as good as that (membarrier).
    pub fn barrier(&self) {
        trap::barrier();
    }

    /// How many pages are mapped (the resident set).
    pub fn resident_pages(&self) -> usize {
        self.pages().len()
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        if let Some(all) = PageRange::new(UserAddr(0), UserAddr(USER_END)) {
            self.unmap(all);
        }
    }
}
