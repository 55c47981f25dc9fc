//! All mappings, by address: finding, splitting, merging, and looking for room.

use crate::vma::{Source, Vma};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::{PageRange, UserAddr};

/// Mappings that were removed and may be the last to hold a file. Dropped only when the memory
/// lock is open again: a file that goes away may take locks of its own.
#[derive(Default)]
pub(crate) struct Removed(Vec<Source>);

impl Removed {
    fn push(&mut self, vma: Vma) {
        if !vma.is_anonymous() {
            self.0.push(vma.source);
        }
    }
}

/// The mappings. They never overlap, and neighbours that could be one are one.
#[derive(Default)]
pub(crate) struct Tree {
    by_start: BTreeMap<UserAddr, Vma>,
    /// Where the last search for room ended, and the widest hole that it passed above there. A
    /// request that is wider than that hole need not look above.
    cursor: UserAddr,
    widest_hole: u64,
    /// The `high` of that search.
    searched_below: UserAddr,
    /// Bytes in all mappings.
    bytes: u64,
}

impl Tree {
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.by_start.values()
    }

    /// The mapping that holds `address`.
    pub(crate) fn find(&self, address: UserAddr) -> Option<&Vma> {
        let (_, vma) = self.by_start.range(..=address).next_back()?;
        vma.range.contains(address).then_some(vma)
    }

    pub(crate) fn find_mut(&mut self, address: UserAddr) -> Option<&mut Vma> {
        let (_, vma) = self.by_start.range_mut(..=address).next_back()?;
        vma.range.contains(address).then_some(vma)
    }

    /// The mapping that holds `address`, or the first one after it.
    pub(crate) fn at_or_after(&self, address: UserAddr) -> Option<&Vma> {
        self.find(address).or_else(|| self.by_start.range(address..).next().map(|(_, vma)| vma))
    }

    /// True when nothing is mapped in `range`.
    pub(crate) fn is_free(&self, range: PageRange) -> bool {
        self.at_or_after(range.start()).is_none_or(|vma| vma.start() >= range.end())
    }

    /// The parts of `range` that are mapped, in order.
    pub(crate) fn mapped(&self, range: PageRange) -> impl Iterator<Item = (&Vma, PageRange)> {
        let first = self.find(range.start()).map_or(range.start(), Vma::start);
        self.by_start
            .range(first..)
            .map_while(move |(_, vma)| (vma.start() < range.end()).then_some(vma))
            .filter_map(move |vma| Some((vma, vma.range.intersection(range)?)))
    }

    /// True when `range` has no hole.
    pub(crate) fn is_covered(&self, range: PageRange) -> bool {
        self.mapped(range).map(|(_, part)| part.bytes()).sum::<u64>() == range.bytes()
    }

    /// Makes `address` a border between mappings.
    fn split(&mut self, address: UserAddr) {
        let Some(vma) = self.find_mut(address).filter(|vma| vma.start() < address) else {
            return;
        };
        let (Some(low), Some(high)) =
            (PageRange::new(vma.start(), address), PageRange::new(address, vma.end()))
        else {
            return;
        };
        let upper = vma.part(high);
        vma.range = low;
        self.by_start.insert(address, upper);
    }

    /// How many mappings an operation on `range` may add by splitting.
    pub(crate) fn splits(&self, range: PageRange) -> usize {
        let cut = |address| self.find(address).is_some_and(|vma| vma.start() < address);
        usize::from(cut(range.start())) + usize::from(cut(range.end()))
    }

    /// Removes what is mapped in `range`.
    pub(crate) fn remove(&mut self, range: PageRange, removed: &mut Removed) {
        self.split(range.start());
        self.split(range.end());
        while let Some(start) =
            self.by_start.range(range.start()..range.end()).next().map(|(start, _)| *start)
        {
            if let Some(vma) = self.by_start.remove(&start) {
                self.bytes -= vma.range.bytes();
                removed.push(vma);
            }
        }
        if range.end() > self.cursor {
            self.widest_hole = u64::MAX;
        }
    }

    /// Adds a mapping where nothing is mapped, and merges it with its neighbours.
    pub(crate) fn insert(&mut self, vma: Vma) {
        let range = vma.range;
        self.bytes += range.bytes();
        self.by_start.insert(range.start(), vma);
        self.merge(range);
    }

    /// Applies `change` to what is mapped in `range`, split off where needed, and merges again.
    pub(crate) fn change(&mut self, range: PageRange, change: impl Fn(&mut Vma)) {
        self.change_each(range, &change);
    }

    fn change_each(&mut self, range: PageRange, change: &dyn Fn(&mut Vma)) {
        self.split(range.start());
        self.split(range.end());
        for (_, vma) in self.by_start.range_mut(range.start()..range.end()) {
            change(vma);
        }
        self.merge(range);
    }

    /// Merges neighbours in and around `range`.
    fn merge(&mut self, range: PageRange) {
        let mut at = self
            .by_start
            .range(..range.start())
            .next_back()
            .map_or(range.start(), |(start, _)| *start);
        while at <= range.end() {
            let mut following = self.by_start.range(at..);
            let Some((&start, vma)) = following.next() else { return };
            let Some((&next_start, next)) = following.next() else { return };
            if start > range.end() {
                return;
            }
            if !vma.joins(next) {
                at = next_start;
                continue;
            }
            let whole = PageRange::new(start, next.end());
            self.by_start.remove(&next_start);
            if let (Some(vma), Some(whole)) = (self.by_start.get_mut(&start), whole) {
                vma.range = whole;
            }
            at = start;
        }
    }

    /// The highest free range of `bytes` bytes between `low` and `high`, both page-aligned.
    pub(crate) fn find_room(
        &mut self,
        bytes: u64,
        low: UserAddr,
        high: UserAddr,
    ) -> Option<UserAddr> {
        let resume = high == self.searched_below && low < self.cursor && bytes > self.widest_hole;
        let from = if resume { self.cursor } else { high };
        let mut widest = if resume { self.widest_hole } else { 0 };
        let found = self.search(bytes, low, from, &mut widest);
        let found = match found {
            None if resume => {
                widest = 0;
                self.search(bytes, low, high, &mut widest)
            }
            found => found,
        };
        if let Some(start) = found {
            self.cursor = start;
            self.widest_hole = widest;
            self.searched_below = high;
        }
        found
    }

    fn search(
        &self,
        bytes: u64,
        low: UserAddr,
        high: UserAddr,
        widest: &mut u64,
    ) -> Option<UserAddr> {
        // A mapping may reach across `high`.
        let mut ceiling = high;
        for (_, vma) in self.by_start.range(..high).rev() {
            let hole = ceiling.0.saturating_sub(vma.end().0.max(low.0));
            if hole >= bytes {
                break;
            }
            *widest = hole.max(*widest);
            ceiling = ceiling.min(vma.start());
            if ceiling <= low {
                return None;
            }
        }
        let start = ceiling.0.checked_sub(bytes)?;
        (start >= low.0).then_some(UserAddr(start))
    }

    /// Checks what must always hold.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut bytes = 0;
        let mut previous: Option<&Vma> = None;
        for (start, vma) in &self.by_start {
            assert_eq!(*start, vma.start());
            assert!(!vma.range.is_empty());
            if let Some(previous) = previous {
                assert!(previous.end() <= vma.start(), "overlap at {start}");
                assert!(!previous.joins(vma), "not merged at {start}");
            }
            bytes += vma.range.bytes();
            previous = Some(vma);
        }
        assert_eq!(bytes, self.bytes);
    }
}
