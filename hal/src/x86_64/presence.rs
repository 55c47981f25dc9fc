//! Which processor uses which page tables right now, and making them forget translations.
//!
//! A processor touches the program's memory in two ways: the program runs on it, or the kernel
//! copies. For that time its entry here names the address space; otherwise it is 0. Whoever changed
//! page tables counts the space's generation up and then looks at the entries: a processor that is
//! away compares generations before it touches the program's memory again; one that is inside gets
//! an interrupt, which ends the program's run, and is waited for. Both sides have a full fence
//! between their store and their load, so at least one sees the other.
//!
//! Nobody inside ever waits for a lock (copies give up at a fault instead), so waiting for them
//! under locks ends soon.

use super::boot::tables::MAX_PROCESSORS;
use super::{apic, instructions, paging, percpu};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64, fence};

#[repr(align(64))]
struct Entry {
    /// Root of the page tables in use, 0: none.
    inside: AtomicU64,
    /// Generation of that address space that the processor's translations are not older than.
    seen: AtomicU64,
    /// The same for the kernel's own half; [`RESTS`] while the processor waits for an interrupt.
    kernel_seen: AtomicU64,
    apic_id: AtomicU32,
}

/// This processor touches nothing that may be unmapped, and will look before it does.
const RESTS: u64 = u64::MAX;

static ENTRIES: [Entry; MAX_PROCESSORS] = [const {
    Entry {
        inside: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        kernel_seen: AtomicU64::new(0),
        apic_id: AtomicU32::new(0),
    }
}; MAX_PROCESSORS];

/// Counts removals from the kernel's half of the page tables.
static KERNEL_GENERATION: AtomicU64 = AtomicU64::new(0);

fn own() -> &'static Entry {
    &ENTRIES[percpu::this().id.get() as usize % MAX_PROCESSORS]
}

fn others() -> impl Iterator<Item = &'static Entry> {
    let own = percpu::this().id.get() as usize;
    let up = ENTRIES.iter().take(percpu::count() as usize).enumerate();
    up.filter(move |(id, _)| *id != own).map(|(_, entry)| entry)
}

/// Says where messages for this processor go.
pub(super) fn register(apic_id: u32) {
    own().apic_id.store(apic_id, Relaxed);
}

/// Interrupts another processor: it takes a look at what there is to do.
pub(super) fn kick(id: u32) {
    if id != percpu::this().id.get()
        && id < percpu::count()
        && let Some(entry) = ENTRIES.get(id as usize)
    {
        apic::send_kick(entry.apic_id.load(Relaxed));
    }
}

/// This processor is about to touch the program's memory through the page tables at `root`.
#[inline]
pub(super) fn enter(root: u64, generation: &AtomicU64) {
    if percpu::count() > 1 {
        enter_shared(root, generation);
    } else {
        paging::activate(root);
    }
}

#[inline]
fn enter_shared(root: u64, generation: &AtomicU64) {
    let entry = own();
    entry.inside.store(root, Relaxed);
    fence(SeqCst);
    let now = generation.load(Acquire);
    if percpu::this().active_root.get() != root {
        // Loading the root forgets everything of the program's half.
        paging::activate(root);
    } else if entry.seen.load(Relaxed) != now {
        instructions::invalidate_program_pages();
    } else {
        return;
    }
    entry.seen.store(now, Release);
}

/// It does no longer.
#[inline]
pub(super) fn leave() {
    if percpu::count() > 1 {
        own().inside.store(0, Release);
    }
}

/// The page tables at `root` changed, and this processor has forgotten what changed. Returns when
/// no processor uses the old translations any more.
pub(super) fn shoot_down(root: u64, generation: &AtomicU64) {
    if percpu::count() == 1 {
        return;
    }
    let new = generation.fetch_add(1, SeqCst) + 1;
    let entry = own();
    if percpu::this().active_root.get() == root && entry.seen.load(Relaxed) == new - 1 {
        entry.seen.store(new, Relaxed);
    }
    fence(SeqCst);
    let uses_old =
        |entry: &Entry| entry.inside.load(Acquire) == root && entry.seen.load(Acquire) < new;
    let mut waiting = 0_u64;
    for (at, other) in others().enumerate() {
        if uses_old(other) {
            waiting |= 1 << at;
            apic::send_kick(other.apic_id.load(Relaxed));
        }
    }
    for (at, other) in others().enumerate() {
        while waiting >> at & 1 == 1 && uses_old(other) {
            core::hint::spin_loop();
        }
    }
}

/// A page left the kernel's half of the page tables. Returns the generation after which no
/// processor has its translation any more, see [`kernel_forgotten`].
pub(super) fn kernel_changed() -> u64 {
    KERNEL_GENERATION.fetch_add(1, SeqCst) + 1
}

/// True when every processor has forgotten what left the kernel's half before `generation`, or
/// will before it uses that again.
pub(super) fn kernel_forgotten(generation: u64) -> bool {
    refresh_kernel();
    // Between the removal and these loads, as in `end_rest`.
    fence(SeqCst);
    let mut up = ENTRIES.iter().take(percpu::count() as usize);
    percpu::count() == 1 || up.all(|entry| entry.kernel_seen.load(Acquire) >= generation)
}

/// Brings this processor's view of the kernel's half up to date. Between two tasks. The only
/// processor is up to date always: whoever removes a page forgets it at once.
#[inline]
pub(super) fn refresh_kernel() {
    if percpu::count() == 1 {
        return;
    }
    let now = KERNEL_GENERATION.load(Acquire);
    let entry = own();
    if entry.kernel_seen.load(Relaxed) != now {
        instructions::invalidate_all_pages();
        entry.kernel_seen.store(now, Release);
    }
}

/// This processor is about to wait for an interrupt, however long: nobody needs to wait for it.
/// Its interrupt handlers use what is never unmapped. Returns what [`end_rest`] asks for.
pub(super) fn begin_rest() -> u64 {
    own().kernel_seen.swap(RESTS, Release)
}

/// It has waited.
pub(super) fn end_rest(seen: u64) {
    own().kernel_seen.store(seen, Relaxed);
    // Either this sees a page's removal, or who removed it sees that this processor is back.
    fence(SeqCst);
    refresh_kernel();
}
