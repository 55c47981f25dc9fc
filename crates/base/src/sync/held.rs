//! Debug builds: which locks a CPU holds, and that each is taken in the order of ranks.

use super::Rank;
use crate::CpuId;
use core::panic::Location;

/// Locks that one CPU holds at once, at most.
const DEPTH: usize = 16;

#[derive(Clone, Copy)]
struct Entry {
    lock: usize,
    rank: Rank,
    place: &'static Location<'static>,
}

/// The locks that a CPU (in tests: a thread) holds, in the order in which they were taken.
struct Held {
    entries: [Option<Entry>; DEPTH],
}

impl Held {
    const NONE: Self = Self { entries: [None; DEPTH] };

    /// The held lock that stands in the way of taking one of `rank`.
    fn obstacle(&self, lock: usize, rank: Rank, nested: bool) -> Option<Entry> {
        let allowed = |held: &Entry| held.rank < rank || (nested && held.rank == rank);
        let in_the_way = |held: &Entry| held.lock == lock || !allowed(held);
        self.entries.iter().flatten().copied().find(in_the_way)
    }

    /// A held lock under which the program's memory is left as it is.
    fn still(&self) -> Option<Entry> {
        self.entries.iter().flatten().copied().find(|held| !held.rank.orders_transfers())
    }

    fn add(&mut self, entry: Entry) -> bool {
        let free = self.entries.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(entry)).is_some()
    }

    fn remove(&mut self, lock: usize) {
        for slot in &mut self.entries {
            slot.take_if(|held| held.lock == lock);
        }
    }
}

/// On bare metal a row a CPU.
#[cfg(target_os = "none")]
mod storage {
    use super::{CpuId, Held};
    use spin::{Mutex, Once};

    static HELD: [Mutex<Held>; CpuId::COUNT_MAX] =
        [const { Mutex::new(Held::NONE) }; CpuId::COUNT_MAX];
    static CURRENT: Once<fn() -> CpuId> = Once::new();

    pub(in crate::sync) fn cpus_are_told_by(current: fn() -> CpuId) {
        CURRENT.call_once(|| current);
    }

    pub(super) fn is_failing() -> bool {
        false
    }

    /// Never waits: a CPU touches its own row only, with interrupts off.
    pub(super) fn with<T>(step: impl FnOnce(&mut Held) -> T) -> Option<T> {
        let cpu = CURRENT.get().map_or(0, |current| current().0 as usize);
        let mut held = HELD.get(cpu)?.try_lock()?;
        Some(step(&mut held))
    }
}

/// On the host a row a thread, also in the simulation: its CPUs never run inside each other.
#[cfg(not(target_os = "none"))]
mod storage {
    extern crate std;

    use super::{CpuId, Held};
    use core::cell::RefCell;

    std::thread_local! {
        static HELD: RefCell<Held> = const { RefCell::new(Held::NONE) };
    }

    pub(in crate::sync) fn cpus_are_told_by(_current: fn() -> CpuId) {}

    /// True while the thread unwinds: one complaint is enough.
    pub(super) fn is_failing() -> bool {
        std::thread::panicking()
    }

    /// `None` when the thread ends.
    pub(super) fn with<T>(step: impl FnOnce(&mut Held) -> T) -> Option<T> {
        HELD.try_with(|held| step(&mut held.borrow_mut())).ok()
    }
}

pub(super) use storage::cpus_are_told_by;

/// Fails while a lock is held under which no page of the program is made; or, when `bytes` are
/// copied without making pages, under which only so many are copied.
#[track_caller]
#[expect(clippy::panic, reason = "debug builds stop where other CPUs would spin for long")]
pub(super) fn check_transfer(bytes: Option<usize>) {
    if bytes.is_some_and(|bytes| bytes <= super::COPIED_AT_ONCE) {
        return;
    }
    let obstacle = storage::with(|held| held.still()).flatten();
    if let Some(Entry { rank, place, .. }) = obstacle.filter(|_| !storage::is_failing()) {
        match bytes {
            None => panic!(
                "the program's memory is touched under lock {rank:?}, which was taken at {place}"
            ),
            Some(bytes) => panic!(
                "{bytes} bytes are copied at once under lock {rank:?}, which was taken at {place}"
            ),
        }
    }
}

/// One lock that is held; dropping it says that it is not any more.
pub(super) struct Mark {
    lock: usize,
}

impl Mark {
    /// Before waiting for a lock: it must come after all that are held.
    #[track_caller]
    #[expect(clippy::panic, reason = "debug builds stop at a lock order that can deadlock")]
    pub(super) fn check(lock: usize, rank: Rank, nested: bool) {
        let obstacle = storage::with(|held| held.obstacle(lock, rank, nested)).flatten();
        if let Some(Entry { rank: outer, place, .. }) = obstacle.filter(|_| !storage::is_failing())
        {
            panic!("lock {rank:?} is taken while {outer:?} is held, which was taken at {place}");
        }
    }

    /// The lock was taken.
    #[track_caller]
    pub(super) fn new(lock: usize, rank: Rank) -> Self {
        let entry = Entry { lock, rank, place: Location::caller() };
        let noted = storage::with(|held| held.add(entry)).unwrap_or(true);
        assert!(noted, "more than {DEPTH} locks are held");
        Self { lock }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        storage::with(|held| held.remove(self.lock));
    }
}
