//! The memory map: what the loader says is usable, sorted and joined.

use super::super::paging::DIRECT_BYTES;
use base::PAGE_SIZE;
use base::sync::Once;

/// Usable ranges kept; a map with more holes loses its smallest pieces' tail.
const RANGES: usize = 64;
/// Memory below is left alone: firmware tables, and where processors will start.
const LOW_END: u64 = 1 << 20;

/// A range of usable memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct MemoryRange {
    /// First byte, page-aligned.
    pub start: u64,
    /// One past the last byte, page-aligned.
    pub end: u64,
}

struct Map {
    ranges: [MemoryRange; RANGES],
    count: usize,
}

static MAP: Once<Map> = Once::new();

/// Collects ranges while the loader's information is read.
pub(super) struct Builder {
    map: Map,
}

impl Builder {
    pub(super) const fn new() -> Self {
        Self { map: Map { ranges: [MemoryRange { start: 0, end: 0 }; RANGES], count: 0 } }
    }

    /// Adds a usable range as the loader gave it.
    pub(super) fn add(&mut self, start: u64, bytes: u64) {
        let end = start.saturating_add(bytes).min(DIRECT_BYTES) & !(PAGE_SIZE - 1);
        let start = start.max(LOW_END).next_multiple_of(PAGE_SIZE);
        if start < end
            && let Some(slot) = self.map.ranges.get_mut(self.map.count)
        {
            *slot = MemoryRange { start, end };
            self.map.count += 1;
        }
    }

    /// Takes a range that is in use by something else out again.
    pub(super) fn remove(&mut self, start: u64, bytes: u64) {
        let end = start.saturating_add(bytes).min(DIRECT_BYTES).next_multiple_of(PAGE_SIZE);
        let start = start & !(PAGE_SIZE - 1);
        for at in 0..self.map.count {
            let range = self.map.ranges[at];
            if start >= range.end || end <= range.start {
                continue;
            }
            self.map.ranges[at].end = start.max(range.start);
            self.add(end, range.end.saturating_sub(end));
        }
    }

    /// Sorts, joins, and publishes the map.
    pub(super) fn finish(mut self) {
        let count = self.map.count;
        let ranges = &mut self.map.ranges;
        base::sort(&mut ranges[..count]);
        let mut kept = 0;
        for at in 0..count {
            let range = ranges[at];
            if range.start >= range.end {
                continue;
            }
            if kept > 0 && range.start <= ranges[kept - 1].end {
                ranges[kept - 1].end = ranges[kept - 1].end.max(range.end);
            } else {
                ranges[kept] = range;
                kept += 1;
            }
        }
        self.map.count = kept;
        let map = self.map;
        MAP.call_once(|| map);
    }
}

/// Usable memory, ascending.
pub(in super::super) fn usable() -> &'static [MemoryRange] {
    MAP.get().map_or(&[], |map| map.ranges.get(..map.count).unwrap_or_default())
}

/// True when some of `start..end` is usable memory, or lies below 1 MiB.
pub(in super::super) fn has_memory(start: u64, end: u64) -> bool {
    start < LOW_END || usable().iter().any(|range| start < range.end && range.start < end)
}

/// True when all of `start..end` is usable memory.
pub(super) fn is_memory(start: u64, end: u64) -> bool {
    usable().iter().any(|range| range.start <= start && end <= range.end)
}

/// The parts of `range` outside `reserved`, in order.
fn outside(
    range: MemoryRange,
    reserved: &[(u64, u64)],
) -> impl Iterator<Item = (u64, u64)> + use<'_> {
    let mut next = range.start;
    core::iter::from_fn(move || {
        while next < range.end {
            let start = next;
            // The reserved range that begins first at or after `start`, or covers it.
            let blocker = reserved
                .iter()
                .filter(|(_, end)| *end > start)
                .filter(|(from, to)| from < to && *from < range.end)
                .min_by_key(|(from, _)| *from);
            let Some(&(from, to)) = blocker else {
                next = range.end;
                return Some((start, range.end));
            };
            next = to;
            if from > start {
                return Some((start, from));
            }
        }
        None
    })
}

/// Fills `into` with usable memory outside `reserved`, ascending; returns how many ranges.
pub(super) fn free_ranges(reserved: &[(u64, u64)], into: &mut [(u64, u64)]) -> usize {
    let all = usable().iter().flat_map(|range| outside(*range, reserved));
    into.iter_mut().zip(all).map(|(slot, range)| *slot = range).count()
}

/// Moves empty ranges out of the first `count`; returns how many are left.
pub(super) fn drop_empty(ranges: &mut [(u64, u64)], count: usize) -> usize {
    let mut kept = 0;
    for at in 0..count {
        if ranges[at].0 < ranges[at].1 {
            ranges[kept] = ranges[at];
            kept += 1;
        }
    }
    kept
}

/// What the direct map holds, and whether it is writable there: all usable memory but the kernel's
/// image (`reserved[0]`), the archive (`reserved[2]`) read-only.
pub(super) fn direct_ranges(reserved: &[(u64, u64); 3]) -> impl Iterator<Item = (u64, u64, bool)> {
    let [kernel, _, archive] = *reserved;
    let hidden = [kernel, archive];
    let writable = usable()
        .iter()
        .flat_map(move |range| outside(*range, &hidden).collect_small())
        .map(|(start, end)| (start, end, true));
    let readable = (archive.0 < archive.1).then_some((archive.0, archive.1, false));
    writable.chain(readable)
}

/// At most three pieces remain of one range when two are taken out.
trait CollectSmall {
    fn collect_small(self) -> core::array::IntoIter<(u64, u64), 3>;
}

impl<I: Iterator<Item = (u64, u64)>> CollectSmall for I {
    fn collect_small(mut self) -> core::array::IntoIter<(u64, u64), 3> {
        core::array::from_fn(|_| self.next().unwrap_or((0, 0))).into_iter()
    }
}
