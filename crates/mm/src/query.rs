//! What is mapped, for /proc, mincore(2) and msync(2).

use crate::backing::{Backing, FileIdentity};
use crate::memory::Mm;
use crate::vma::{Label, Source, Vma, VmaFlags};
use abi::mman::MsyncFlags;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
use core::fmt::{self, Write};
use hal::PageProtection;

/// The numbers in /proc/self/status, statm and stat, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// VmSize: all mappings, reservations included.
    pub virtual_bytes: u64,
    /// VmPeak.
    pub peak_bytes: u64,
    /// VmRSS: pages present.
    pub resident_bytes: u64,
    /// VmLck.
    pub locked_bytes: u64,
    /// VmData: private writable mappings but for the stack.
    pub data_bytes: u64,
    /// VmStk.
    pub stack_bytes: u64,
    /// VmExe: executable file mappings.
    pub text_bytes: u64,
    /// How many mappings.
    pub mappings: usize,
}

impl Mm {
    /// Counts.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let state = self.state.lock();
        let mut counts = Statistics {
            virtual_bytes: state.tree.bytes(),
            peak_bytes: state.peak_bytes,
            resident_bytes: self.space.resident_pages() as u64 * PAGE_SIZE,
            mappings: state.tree.len(),
            ..Default::default()
        };
        for vma in state.tree.iter() {
            let bytes = vma.range.bytes();
            if vma.flags.contains(VmaFlags::LOCKED) {
                counts.locked_bytes += bytes;
            }
            let writable = vma.protection.contains(PageProtection::WRITE);
            if vma.label == Label::Stack {
                counts.stack_bytes += bytes;
            } else if writable && !vma.is_shared() {
                counts.data_bytes += bytes;
            } else if vma.protection.contains(PageProtection::EXECUTE) && !writable {
                counts.text_bytes += bytes;
            }
        }
        counts
    }

    /// Writes /proc/self/maps (proc_pid_maps(5)).
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn maps(&self, out: &mut dyn Write) -> fmt::Result {
        // Names come from files, which must not be asked under the lock.
        let all = without_guards(self.state.lock().tree.iter());
        let mut line = String::new();
        for vma in &all {
            line.clear();
            write_line(&mut line, vma)?;
            out.write_str(&line)?;
        }
        Ok(())
    }

    /// How many bytes of the range are mapped, and how many of these count as data: private and
    /// writable.
    #[must_use]
    pub fn mapped_bytes(&self, range: PageRange) -> (u64, u64) {
        let state = self.state.lock();
        state.tree.mapped(range).fold((0, 0), |(all, data), (vma, part)| {
            let writable = vma.protection.contains(PageProtection::WRITE);
            let is_data = writable && !vma.is_shared() && vma.label != Label::Stack;
            (all + part.bytes(), data + if is_data { part.bytes() } else { 0 })
        })
    }

    /// True when a mapping through which the program can write, or could after mprotect, shares
    /// the file.
    #[must_use]
    pub fn shares_for_writing(&self, file: FileIdentity) -> bool {
        // Identities come from files, which must not be asked under the lock.
        let backings: Vec<Arc<dyn Backing>> = {
            let state = self.state.lock();
            let shared = state.tree.iter().filter_map(|vma| match &vma.source {
                Source::File { backing, shared: true, may_write: true, .. } => {
                    Some(Arc::clone(backing))
                }
                _ => None,
            });
            shared.collect()
        };
        backings.iter().any(|backing| backing.identity() == file)
    }

    /// mincore(2): for each page of the page-aligned range, whether touching it needs no I/O.
    /// Fills as many bytes of `into` as the range has pages.
    ///
    /// # Errors
    /// `ENOMEM`: not all of it is mapped.
    pub fn mincore(&self, range: PageRange, into: &mut [u8]) -> Result<(), Errno> {
        let state = self.state.lock();
        for (page, slot) in range.iter().zip(into) {
            let vma = state.tree.find(page).ok_or(Errno::ENOMEM)?;
            // Files live in memory.
            let present = !vma.is_anonymous() || self.space.lookup(page).is_some();
            *slot = u8::from(present);
        }
        Ok(())
    }

    /// msync(2).
    ///
    /// # Errors
    /// As msync(2).
    pub fn sync(&self, start: UserAddr, length: u64, flags: MsyncFlags) -> Result<(), Errno> {
        if !start.is_page_aligned() || flags.contains(MsyncFlags::ASYNC | MsyncFlags::SYNC) {
            return Err(Errno::EINVAL);
        }
        let range = PageRange::from_length(start, length).ok_or(Errno::ENOMEM)?;
        let mut files: Vec<(Arc<dyn Backing>, u64, u64)> = Vec::new();
        let covered = {
            let state = self.state.lock();
            for (vma, part) in state.tree.mapped(range) {
                let locked = vma.flags.contains(VmaFlags::LOCKED);
                if flags.contains(MsyncFlags::INVALIDATE) && locked {
                    return Err(Errno::EBUSY);
                }
                if let Source::File { backing, shared: true, .. } = &vma.source {
                    let first = vma.file_page(part.start());
                    files.push((Arc::clone(backing), first, part.pages()));
                }
            }
            state.tree.is_covered(range)
        };
        if flags.contains(MsyncFlags::SYNC) {
            for (backing, first, pages) in files {
                backing.sync(first, pages)?;
            }
        }
        if covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// A file was cut to `pages` pages: mapped pages beyond that are gone, and touching them is
    /// SIGBUS.
    pub fn file_truncated(&self, file: FileIdentity, pages: u64) {
        // Identities come from files, which must not be asked under the lock.
        let mapped: Vec<(Arc<dyn Backing>, PageRange, u64)> = {
            let mut state = self.state.lock();
            state.truncations += 1;
            let files = state.tree.iter().filter_map(|vma| match &vma.source {
                Source::File { backing, page, .. } => Some((Arc::clone(backing), vma.range, *page)),
                Source::Anonymous => None,
            });
            files.collect()
        };
        for (backing, range, first) in mapped {
            if backing.identity() != file {
                continue;
            }
            let kept = pages.saturating_sub(first).min(range.pages()) * PAGE_SIZE;
            let gone = PageRange::new(range.start().wrapping_add(kept), range.end());
            let state = self.state.lock();
            let same = state.tree.find(range.start()).is_some_and(|vma| vma.range == range);
            if let Some(gone) = gone.filter(|_| same) {
                self.space.unmap(gone);
            }
        }
    }
}

/// The mappings as Linux shows them: guard regions are part of what they lie in.
pub(crate) fn without_guards<'a>(mappings: impl Iterator<Item = &'a Vma>) -> Vec<Vma> {
    let mut all: Vec<Vma> = Vec::new();
    for vma in mappings {
        let mut vma = vma.clone();
        vma.flags.remove(VmaFlags::GUARD);
        match all.last_mut() {
            Some(last) if last.joins(&vma) => {
                last.range = PageRange::new(last.start(), vma.end()).unwrap_or(last.range);
            }
            _ => all.push(vma),
        }
    }
    all
}

/// One line of /proc/self/maps.
pub(crate) fn write_line(line: &mut String, vma: &Vma) -> fmt::Result {
    let flag = |bit, letter| if vma.protection.contains(bit) { letter } else { '-' };
    let identity = match &vma.source {
        Source::Anonymous => FileIdentity::default(),
        Source::File { backing, .. } => backing.identity(),
    };
    write!(
        line,
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
        vma.start().0,
        vma.end().0,
        flag(PageProtection::READ, 'r'),
        flag(PageProtection::WRITE, 'w'),
        flag(PageProtection::EXECUTE, 'x'),
        if vma.is_shared() { 's' } else { 'p' },
        vma.file_page(vma.start()) * PAGE_SIZE,
        identity.device >> 8,
        identity.device & 0xff,
        identity.inode,
    )?;
    // Linux pads to column 73 before a name, and ends the line with a space without one.
    const NAME_COLUMN: usize = 73;
    let padding = NAME_COLUMN.saturating_sub(line.len());
    let has_name = !matches!((&vma.source, &vma.label), (Source::Anonymous, Label::None));
    if has_name {
        write!(line, "{:padding$}", "")?;
    }
    match (&vma.source, &vma.label) {
        (Source::File { backing, .. }, _) => backing.name(line)?,
        (Source::Anonymous, Label::None) => {}
        (Source::Anonymous, Label::Heap) => line.push_str("[heap]"),
        (Source::Anonymous, Label::Stack) => line.push_str("[stack]"),
        (Source::Anonymous, Label::Named(name)) => write!(line, "[anon:{name}]")?,
    }
    line.push('\n');
    Ok(())
}
