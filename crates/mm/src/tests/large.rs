//! Pages of 2 MiB: when they are made, and that nothing else can tell them from single ones.

use super::*;
use crate::Advice;
use crate::vma::LARGE_BYTES;
use abi::mman::MremapFlags;
use alloc::string::String;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Pages of a large page.
const LARGE: u64 = LARGE_BYTES / PAGE_SIZE;
const AREA: UserAddr = UserAddr(0x10_0000_0000);
const HUGE: Advice = Advice::Large(true);

/// A machine with room for large pages.
fn roomy() -> Arc<Mm> {
    hal::sim::reset(1, 40_000);
    Mm::new(7).unwrap()
}

fn area(mm: &Mm, pages: u64) -> UserAddr {
    let bytes = pages * PAGE_SIZE;
    mm.map(MapRequest::anonymous(Placement::Fixed(AREA), bytes, READ_WRITE)).unwrap()
}

fn resident(mm: &Mm) -> u64 {
    mm.space.resident_pages() as u64
}

fn large(mm: &Mm) -> u64 {
    let range = base::PageRange::from_length(AREA, 1 << 30).unwrap();
    mm.space.large_pages(range) as u64
}

#[test]
fn a_touch_makes_one_where_it_was_asked_for() {
    let mm = roomy();
    let start = area(&mm, 3 * LARGE);
    mm.write(start, &1_u8).unwrap();
    assert_eq!((resident(&mm), large(&mm)), (1, 0));
    mm.advise(start, 3 * LARGE_BYTES, HUGE).unwrap();
    // A block in which something is mapped goes on with single pages.
    mm.write(page(start, 5), &1_u8).unwrap();
    assert_eq!(large(&mm), 0);
    assert_eq!(byte(&mm, page(start, LARGE + 5)), Ok(0));
    assert_eq!((resident(&mm), large(&mm)), (2 + LARGE, LARGE));
    mm.advise(start, 3 * LARGE_BYTES, Advice::Large(false)).unwrap();
    mm.write(page(start, 2 * LARGE + 3), &1_u8).unwrap();
    assert_eq!((resident(&mm), large(&mm)), (3 + LARGE, LARGE));
    let mut text = String::new();
    mm.smaps(&mut text).unwrap();
    assert!(text.contains("AnonHugePages:      2048 kB"), "{text}");
    assert!(text.contains(" nh \n"), "{text}");
}

#[test]
fn one_is_made_where_memory_is_touched_in_order() {
    let mm = roomy();
    let start = area(&mm, 3 * LARGE);
    let touch_all = |pages: core::ops::Range<u64>| {
        pages.for_each(|index| mm.write(page(start, index), &1_u8).unwrap());
    };
    touch_all(LARGE - 33..LARGE + 1);
    assert_eq!((resident(&mm), large(&mm)), (33 + LARGE, LARGE));
    mm.advise(page(start, 2 * LARGE), LARGE_BYTES, Advice::Large(false)).unwrap();
    touch_all(LARGE..2 * LARGE + 1);
    assert_eq!(large(&mm), LARGE);
    // Not at every other page.
    mm.unmap(start, 3 * LARGE_BYTES).unwrap();
    area(&mm, 3 * LARGE);
    (0..LARGE + 2).step_by(2).for_each(|index| mm.write(page(start, index), &1_u8).unwrap());
    assert_eq!(large(&mm), 0);
}

#[test]
fn none_is_made_at_the_edges_nor_in_a_small_machine() {
    let mm = roomy();
    let start = area(&mm, 2 * LARGE - 1);
    mm.advise(start, (2 * LARGE - 1) * PAGE_SIZE, HUGE).unwrap();
    mm.write(page(start, LARGE), &1_u8).unwrap();
    assert_eq!((resident(&mm), large(&mm)), (1, 0));
    mm.write(start, &1_u8).unwrap();
    assert_eq!(large(&mm), LARGE);
    hal::sim::reset(1, 4096);
    let mm = Mm::new(7).unwrap();
    let start = area(&mm, LARGE);
    mm.advise(start, LARGE_BYTES, HUGE).unwrap();
    mm.write(start, &1_u8).unwrap();
    assert_eq!((resident(&mm), large(&mm)), (1, 0));
}

#[test]
fn parts_of_one_are_split_off() {
    let mm = roomy();
    let start = area(&mm, LARGE);
    mm.advise(start, LARGE_BYTES, HUGE).unwrap();
    for index in 0..LARGE {
        mm.write(page(start, index), &(index as u8)).unwrap();
    }
    assert_eq!(large(&mm), LARGE);
    mm.protect(start, LARGE_BYTES, READ).unwrap();
    assert_eq!(large(&mm), LARGE);
    assert_eq!(mm.write(start, &0_u8), Err(Errno::EFAULT));
    mm.protect(start, LARGE_BYTES, READ_WRITE).unwrap();
    mm.advise(page(start, 3), PAGE_SIZE, Advice::DontNeed { locked: false }).unwrap();
    assert_eq!((resident(&mm), large(&mm)), (LARGE - 1, 0));
    assert_eq!(byte(&mm, page(start, 3)), Ok(0));
    mm.unmap(page(start, 100), 10 * PAGE_SIZE).unwrap();
    assert_eq!(byte(&mm, page(start, 99)), Ok(99));
    assert_eq!(byte(&mm, page(start, 105)), Err(Errno::EFAULT));
    assert_eq!(byte(&mm, page(start, 110)), Ok(110));
}

#[test]
fn collapse_keeps_what_is_there() {
    let mm = roomy();
    let start = area(&mm, 3 * LARGE);
    let collapse =
        |first: u64, pages: u64| mm.advise(page(start, first), pages * PAGE_SIZE, Advice::Collapse);
    // Nothing is there.
    assert_eq!(collapse(0, LARGE), Err(Errno::EINVAL));
    for index in [0, 7, LARGE + 1] {
        mm.write(page(start, index), &(index as u8 + 1)).unwrap();
    }
    assert_eq!(collapse(0, 2 * LARGE), Ok(()));
    assert_eq!((resident(&mm), large(&mm)), (2 * LARGE, 2 * LARGE));
    assert_eq!(collapse(0, 2 * LARGE), Ok(()));
    let bytes = [0, 6, 7, LARGE, LARGE + 1].map(|index| byte(&mm, page(start, index)).unwrap());
    assert_eq!(bytes, [1, 0, 8, 0, 2]);
    // Not a whole block, as Linux: no error when it ends where it begins.
    assert_eq!(collapse(LARGE, 1), Ok(()));
    assert_eq!(collapse(1, 1), Err(Errno::EINVAL));
    mm.write(page(start, 2 * LARGE), &1_u8).unwrap();
    mm.advise(start, 3 * LARGE_BYTES, Advice::Large(false)).unwrap();
    assert_eq!(collapse(2 * LARGE, LARGE), Err(Errno::EINVAL));
    mm.advise(start, 3 * LARGE_BYTES, HUGE).unwrap();
    mm.unmap(page(start, LARGE), LARGE_BYTES).unwrap();
    assert_eq!(collapse(0, 3 * LARGE), Err(Errno::ENOMEM));
    assert_eq!((resident(&mm), large(&mm)), (2 * LARGE, 2 * LARGE));
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Drop(u64, u64),
    Unmap(u64, u64),
    Map(u64, u64),
    Protect(u64, u64, bool),
    Advise(u64, u64, bool),
    Collapse,
    Move(u64, u64),
}

/// Borders and what lies beside them, more than anything else.
fn at() -> impl Strategy<Value = u64> {
    (0..=2_u64, prop_oneof![Just(0), Just(1), Just(LARGE - 1), 0..LARGE])
        .prop_map(|(block, at)| block * LARGE + at)
}

fn step() -> impl Strategy<Value = Step> {
    let range = || {
        (at(), prop_oneof![Just(1), Just(LARGE), 1..LARGE])
            .prop_map(|(at, count)| (at, count.min(3 * LARGE - at)))
    };
    prop_oneof![
        6 => at().prop_map(Step::Write),
        1 => range().prop_map(|(at, count)| Step::Drop(at, count)),
        1 => range().prop_map(|(at, count)| Step::Unmap(at, count)),
        1 => range().prop_map(|(at, count)| Step::Map(at, count)),
        2 => (range(), any::<bool>()).prop_map(|((at, count), on)| Step::Protect(at, count, on)),
        2 => (range(), any::<bool>()).prop_map(|((at, count), on)| Step::Advise(at, count, on)),
        1 => Just(Step::Collapse),
        1 => (0..3_u64, 0..3_u64).prop_map(|(from, to)| Step::Move(from, to)),
    ]
}

/// What the area holds: of each page that is mapped, whether it may be written, and its first byte.
struct Model(Vec<Option<(bool, u8)>>);

impl Model {
    fn part(&mut self, at: u64, count: u64) -> &mut [Option<(bool, u8)>] {
        &mut self.0[at as usize..(at + count) as usize]
    }

    fn apply(&mut self, mm: &Mm, step: &Step, stamp: u8) {
        let bytes = |count: u64| count * PAGE_SIZE;
        match *step {
            Step::Write(at) => {
                let expected = match &mut self.0[at as usize] {
                    Some((true, byte)) => {
                        *byte = stamp;
                        Ok(())
                    }
                    _ => Err(Errno::EFAULT),
                };
                assert_eq!(mm.write(page(AREA, at), &stamp), expected);
            }
            Step::Drop(at, count) => {
                let _ = mm.advise(page(AREA, at), bytes(count), Advice::DontNeed { locked: false });
                self.part(at, count).iter_mut().flatten().for_each(|page| page.1 = 0);
            }
            Step::Unmap(at, count) => {
                mm.unmap(page(AREA, at), bytes(count)).unwrap();
                self.part(at, count).fill(None);
            }
            Step::Map(at, count) => {
                let place = Placement::Fixed(page(AREA, at));
                mm.map(MapRequest::anonymous(place, bytes(count), READ_WRITE)).unwrap();
                self.part(at, count).fill(Some((true, 0)));
            }
            Step::Protect(at, count, on) => {
                // It stops at the first hole.
                let _ =
                    mm.protect(page(AREA, at), bytes(count), if on { READ_WRITE } else { READ });
                let mapped = self.part(at, count).iter_mut().map_while(Option::as_mut);
                mapped.for_each(|page| page.0 = on);
            }
            Step::Advise(at, count, on) => {
                let _ = mm.advise(page(AREA, at), bytes(count), Advice::Large(on));
            }
            Step::Collapse => {
                let _ = mm.advise(AREA, bytes(3 * LARGE), Advice::Collapse);
            }
            Step::Move(from, to) => self.relocate(mm, from * LARGE, to * LARGE),
        }
    }

    /// mremap moves what is one mapping.
    fn relocate(&mut self, mm: &Mm, from: u64, to: u64) {
        let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
        let (old, new) = (page(AREA, from), page(AREA, to));
        if mm.remap(old, LARGE_BYTES, LARGE_BYTES, flags, new).is_ok() {
            let moved = self.part(from, LARGE).to_vec();
            self.part(to, LARGE).copy_from_slice(&moved);
            self.part(from, LARGE).fill(None);
        } else if from != to
            && mm.state.lock().tree.is_free(base::PageRange::from_length(new, LARGE_BYTES).unwrap())
        {
            // The target was cleared before that was found out.
            self.part(to, LARGE).fill(None);
        }
    }

    fn check(&self, mm: &Mm) {
        for (at, expected) in (0..).zip(&self.0) {
            let found = byte(mm, page(AREA, at));
            assert_eq!(found, expected.map(|page| page.1).ok_or(Errno::EFAULT), "page {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn nothing_else_can_tell(steps in proptest::collection::vec(step(), 1..30)) {
        let mm = roomy();
        area(&mm, 3 * LARGE);
        mm.advise(AREA, 3 * LARGE_BYTES, HUGE).unwrap();
        let mut model = Model(vec![Some((true, 0)); 3 * LARGE as usize]);
        for (step, stamp) in steps.iter().zip(1..) {
            model.apply(&mm, step, stamp);
        }
        model.check(&mm);
        mm.unmap(AREA, 3 * LARGE_BYTES).unwrap();
        prop_assert_eq!((resident(&mm), large(&mm)), (0, 0));
    }
}
