//! What to map where.

use crate::program::{Kind, Program, Segment};
use crate::{LoadError, program};
use abi::mman::Prot;
use alloc::vec::Vec;
use base::address::USER_END;
use base::{PAGE_SIZE, UserAddr};

/// One thing to do, in order. All addresses are final.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Map pages of the file, private, in place of what is there.
    File {
        /// Page-aligned.
        address: UserAddr,
        /// Whole pages.
        bytes: u64,
        /// Page-aligned offset in the file.
        offset: u64,
        /// What the program may do with them.
        protection: Prot,
    },
    /// Map pages of zeros.
    Zeros {
        /// Page-aligned.
        address: UserAddr,
        /// Whole pages.
        bytes: u64,
        /// What the program may do with them.
        protection: Prot,
    },
    /// Set bytes at the end of a mapped page to zero.
    Clear {
        /// First byte.
        address: UserAddr,
        /// How many.
        bytes: u64,
    },
}

/// Everything that loading a program means, but for its stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What is added to the addresses in the file.
    pub bias: u64,
    /// What to do.
    pub steps: Vec<Step>,
    /// First instruction.
    pub entry: UserAddr,
    /// AT_PHDR, or null.
    pub headers: UserAddr,
    /// Where the program break starts: the first page behind the program.
    pub program_break: UserAddr,
}

impl Program {
    /// First page and one past the last byte of memory, as the file has them.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        let low = self.segments.first().map_or(0, Segment::first_page);
        let high = self.segments.last().map_or(0, Segment::end);
        (low, high)
    }

    /// What to map, with a position-independent program at `base` (a page-aligned wish; other
    /// programs go where they must).
    ///
    /// # Errors
    /// The program does not fit there.
    pub fn plan(&self, base: UserAddr) -> Result<Plan, LoadError> {
        let (low, high) = self.span();
        let bias = match self.kind {
            Kind::Fixed => 0,
            Kind::PositionIndependent => base.page_floor().0.wrapping_sub(low),
        };
        let fits = base
            .page_floor()
            .checked_add(high - low)
            .is_some_and(|end| end.0 <= USER_END - PAGE_SIZE);
        if self.kind == Kind::PositionIndependent && !fits {
            return Err(LoadError::OutsideAddressSpace { address: base.0 });
        }
        let mut steps = Vec::new();
        for segment in &self.segments {
            plan_segment(segment, bias, &mut steps);
        }
        let end = UserAddr(high.wrapping_add(bias));
        Ok(Plan {
            bias,
            steps,
            entry: UserAddr(self.entry.wrapping_add(bias)),
            headers: self
                .headers_address
                .map_or(UserAddr::NULL, |address| UserAddr(address.wrapping_add(bias))),
            program_break: end.page_ceil().unwrap_or(end),
        })
    }
}

fn plan_segment(segment: &program::Segment, bias: u64, steps: &mut Vec<Step>) {
    let page_ceil = |address: u64| address.next_multiple_of(PAGE_SIZE);
    let start = segment.first_page();
    let file_end = segment.address + segment.file_bytes;
    let memory_end = page_ceil(segment.end());
    // Zeros begin here: behind the last page that has bytes of the file.
    let file_pages_end = if segment.file_bytes > 0 { page_ceil(file_end) } else { start };
    let protection = segment.protection;
    if file_pages_end > start {
        steps.push(Step::File {
            address: UserAddr(start.wrapping_add(bias)),
            bytes: file_pages_end - start,
            offset: segment.file_offset & !(PAGE_SIZE - 1),
            protection,
        });
    }
    // The rest of the last page shows what comes next in the file. The program expects zeros, if
    // it can tell: as on Linux only where it may write.
    if segment.memory_bytes > segment.file_bytes
        && file_pages_end > file_end
        && segment.file_bytes > 0
        && protection.contains(Prot::WRITE)
    {
        let bytes = file_pages_end - file_end;
        steps.push(Step::Clear { address: UserAddr(file_end.wrapping_add(bias)), bytes });
    }
    if memory_end > file_pages_end {
        steps.push(Step::Zeros {
            address: UserAddr(file_pages_end.wrapping_add(bias)),
            bytes: memory_end - file_pages_end,
            protection,
        });
    }
}
