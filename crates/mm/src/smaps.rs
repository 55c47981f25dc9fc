//! /proc/self/smaps and smaps_rollup (proc_pid_smaps(5)). What one process cannot see, sharing with
//! others and swap, is zero.

use crate::memory::Mm;
use crate::query::{without_guards, write_line};
use crate::vma::{Vma, VmaFlags};
use alloc::string::String;
use alloc::vec::Vec;
use base::{PAGE_SIZE, PageRange, UserAddr};
use core::fmt::{self, Write};
use hal::PageProtection;

/// The numbers of one mapping, or of all, in bytes.
#[derive(Clone, Copy, Default)]
struct Counts {
    resident: u64,
    shared_clean: u64,
    shared_dirty: u64,
    anonymous: u64,
    large: u64,
    locked: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.resident += other.resident;
        self.shared_clean += other.shared_clean;
        self.shared_dirty += other.shared_dirty;
        self.anonymous += other.anonymous;
        self.large += other.large;
        self.locked += other.locked;
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let shared = self.shared_clean + self.shared_dirty;
        let private = self.resident - shared.min(self.resident);
        let rows = [
            ("Rss:", self.resident),
            ("Pss:", self.resident),
            ("Shared_Clean:", self.shared_clean),
            ("Shared_Dirty:", self.shared_dirty),
            ("Private_Clean:", private - self.anonymous.min(private)),
            ("Private_Dirty:", self.anonymous.min(private)),
            ("Referenced:", self.resident),
            ("Anonymous:", self.anonymous),
            ("LazyFree:", 0),
            ("AnonHugePages:", self.large),
            ("Swap:", 0),
            ("SwapPss:", 0),
            ("Locked:", self.locked),
        ];
        rows.iter().try_for_each(|(name, bytes)| write_row(out, name, *bytes))
    }
}

fn write_row(out: &mut dyn Write, name: &str, bytes: u64) -> fmt::Result {
    writeln!(out, "{name:<15} {:>8} kB", bytes / 1024)
}

impl Mm {
    fn mappings(&self) -> Vec<Vma> {
        without_guards(self.state.lock().tree.iter())
    }

    fn count(&self, vma: &Vma) -> Counts {
        let mut counts = Counts::default();
        let mut rest = Some(vma.range);
        while let Some(page) = rest.and_then(|range| self.space.next_mapped(range)) {
            rest = PageRange::new(page.wrapping_add(PAGE_SIZE), vma.end());
            let Some((frame, protection)) = self.space.lookup(page) else { continue };
            counts.resident += PAGE_SIZE;
            if vma.is_shared() {
                let dirty = protection.contains(PageProtection::WRITE);
                *(if dirty { &mut counts.shared_dirty } else { &mut counts.shared_clean }) +=
                    PAGE_SIZE;
            } else if vma.is_anonymous() || !frame.is_archive() {
                counts.anonymous += PAGE_SIZE;
            }
        }
        counts.large = self.space.large_pages(vma.range) as u64 * PAGE_SIZE;
        if vma.flags.contains(VmaFlags::LOCKED) {
            counts.locked = counts.resident;
        }
        counts
    }

    /// Writes /proc/self/smaps.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn smaps(&self, out: &mut dyn Write) -> fmt::Result {
        let mut line = String::new();
        for vma in self.mappings() {
            line.clear();
            write_line(&mut line, &vma)?;
            out.write_str(&line)?;
            write_row(out, "Size:", vma.range.bytes())?;
            write_row(out, "KernelPageSize:", PAGE_SIZE)?;
            write_row(out, "MMUPageSize:", PAGE_SIZE)?;
            self.count(&vma).write(out)?;
            writeln!(out, "THPeligible:    {:>8}", u32::from(vma.is_large_eligible()))?;
            write_flags(out, &vma)?;
        }
        Ok(())
    }

    /// Writes /proc/self/smaps_rollup.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn smaps_rollup(&self, out: &mut dyn Write) -> fmt::Result {
        let mappings = self.mappings();
        let first = mappings.first().map_or(UserAddr::NULL, Vma::start);
        let last = mappings.last().map_or(UserAddr::NULL, Vma::end);
        let mut counts = Counts::default();
        mappings.iter().for_each(|vma| counts.add(self.count(vma)));
        writeln!(out, "{:08x}-{:08x} ---p 00000000 00:00 0{:25}[rollup]", first.0, last.0, "")?;
        counts.write(out)
    }
}

/// The `VmFlags` row: rights, the rights that mprotect could give, and what was asked for.
fn write_flags(out: &mut dyn Write, vma: &Vma) -> fmt::Result {
    let has = |right| vma.protection.contains(right);
    let flags = [
        (has(PageProtection::READ), " rd"),
        (has(PageProtection::WRITE), " wr"),
        (has(PageProtection::EXECUTE), " ex"),
        (vma.is_shared(), " sh"),
        (true, " mr"),
        (vma.may_write(), " mw"),
        (true, " me"),
        (vma.is_shared(), " ms"),
        (vma.flags.contains(VmaFlags::LOCKED), " lo"),
        (vma.flags.contains(VmaFlags::RANDOM), " rr"),
        (vma.flags.contains(VmaFlags::NO_RESERVE), " nr"),
        (vma.flags.contains(VmaFlags::LARGE_PAGES), " hg"),
        (vma.flags.contains(VmaFlags::NO_LARGE_PAGES), " nh"),
    ];
    out.write_str("VmFlags:")?;
    for (_, name) in flags.iter().filter(|(set, _)| *set) {
        out.write_str(name)?;
    }
    out.write_str(" \n")
}
