//! [`Mm`]: the memory of the process, and where things lie in it.

use crate::tree::{Removed, Tree};
use crate::vma::VmaFlags;
use alloc::sync::Arc;
use base::address::USER_END;
use base::sync::{Rank, SpinLock};
use base::{Errno, PAGE_SIZE, PageRange, UserAddr};
use core::sync::atomic::{AtomicU64, Ordering};
use hal::OutOfMemory;
use hal::memory::Frame;
use hal::space::AddressSpace;

/// Bytes reserved for the stack of the first thread (Linux's default `RLIMIT_STACK`).
const STACK_BYTES: u64 = 8 << 20;

/// Bytes kept free below the stack, so that running over its end faults.
const STACK_GAP: u64 = 1 << 20;

/// Where the kernel puts what the program leaves to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// One past the first thread's stack.
    pub stack_top: UserAddr,
    /// Bytes of that stack.
    pub stack_bytes: u64,
    /// mmap looks for room downwards from here.
    pub mmap_top: UserAddr,
    /// Where a position-independent program is loaded.
    pub program_base: UserAddr,
}

impl Layout {
    /// The layout for a random `seed`: a little chance in every base. Little, because each further
    /// GiB that is touched costs page tables, and the smallest machines count them.
    fn new(seed: u64) -> Self {
        let pages = |shift: u32, bits: u32| ((seed >> shift) & ((1 << bits) - 1)) * PAGE_SIZE;
        let stack_top = UserAddr(USER_END - pages(0, 16));
        let mmap_top = UserAddr(stack_top.0 - STACK_BYTES - STACK_GAP - pages(16, 16));
        // Linux's ELF_ET_DYN_BASE: two thirds of the address space.
        let program_base = UserAddr(0x5555_5555_4000 + pages(32, 16));
        Self { stack_top, stack_bytes: STACK_BYTES, mmap_top, program_base }
    }

    /// The first thread's stack.
    #[must_use]
    pub fn stack(&self) -> Option<PageRange> {
        PageRange::new(UserAddr(self.stack_top.0.checked_sub(self.stack_bytes)?), self.stack_top)
    }
}

/// The program break (brk(2)).
#[derive(Clone, Copy, Default)]
pub(crate) struct Break {
    pub(crate) start: UserAddr,
    pub(crate) current: UserAddr,
}

/// What the lock guards.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) program_break: Break,
    /// mlockall(MCL_FUTURE), and whether with `MCL_ONFAULT`.
    pub(crate) lock_future: Option<OnFault>,
    /// Counts truncations: a frame fetched before one may not be mapped after it.
    pub(crate) truncations: u64,
    /// Most bytes ever mapped.
    pub(crate) peak_bytes: u64,
}

/// When locked memory is made present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnFault {
    /// At once.
    No,
    /// When it is touched.
    Yes,
}

/// The memory of the process, shared by its threads.
pub struct Mm {
    pub(crate) space: AddressSpace,
    pub(crate) layout: Layout,
    /// A page of zeros, for reads of read-only anonymous memory.
    pub(crate) zero: Frame,
    pub(crate) state: SpinLock<State>,
    /// How often the kernel touched a page for the program that had to be made.
    pub(crate) kernel_touches: AtomicU64,
}

impl Mm {
    /// Empty memory, laid out by the random `seed`.
    ///
    /// # Errors
    /// No memory for the first page table.
    pub fn new(seed: u64) -> Result<Arc<Self>, OutOfMemory> {
        Ok(Arc::new(Self {
            space: AddressSpace::new()?,
            layout: Layout::new(seed),
            zero: Frame::zeroed()?,
            state: SpinLock::ranked(Rank::Memory, State::default()),
            kernel_touches: AtomicU64::new(0),
        }))
    }

    /// The page tables, for running the program.
    #[must_use]
    pub fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// Pages made because the kernel touched them for the program: copies, mlock(2). Faults of the
    /// program itself are not among them.
    #[must_use]
    pub fn kernel_touches(&self) -> u64 {
        self.kernel_touches.load(Ordering::Relaxed)
    }

    /// Where things lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes out what is mapped in `range`: mappings and pages.
    pub(crate) fn clear_range(&self, state: &mut State, range: PageRange, removed: &mut Removed) {
        if !range.is_empty() && !state.tree.is_free(range) {
            state.tree.remove(range, removed);
            self.space.unmap(range);
        }
    }
}

impl State {
    /// Flags of every new mapping.
    pub(crate) fn default_flags(&self) -> VmaFlags {
        if self.lock_future.is_some() { VmaFlags::LOCKED } else { VmaFlags::empty() }
    }

    pub(crate) fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(self.tree.bytes());
    }
}

/// Refuses what cannot be meant, as Linux's overcommit mode 0 does: one request for more private
/// writable memory than the machine has. Unlike Linux, a fixed amount is granted on top: Go's heap
/// index alone is 32 MiB of which it touches a few pages, and must fit a machine of 16.
pub(crate) fn check_commit(bytes: u64) -> Result<(), Errno> {
    const GRANTED_PAGES: u64 = (64 << 20) / PAGE_SIZE;
    let total = hal::memory::statistics().total;
    if bytes / PAGE_SIZE > total + GRANTED_PAGES { Err(Errno::ENOMEM) } else { Ok(()) }
}
