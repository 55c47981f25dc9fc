//! Random sequences of calls, against a map of pages as the model.

use super::*;
use crate::Advice;
use abi::mman::MremapFlags;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The area in which the model lives: few pages, so that calls meet.
const PAGES: u64 = 24;
const AREA: UserAddr = UserAddr(0x10_0000_0000);
const FILE_PAGES: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    Anonymous,
    Private(u64),
    Shared(u64),
}

#[derive(Clone, Copy, Debug)]
struct ModelPage {
    protection: PageProtection,
    origin: Origin,
    /// Content of a private page that was written.
    written: Option<u8>,
}

#[derive(Default)]
struct Model {
    pages: BTreeMap<u64, ModelPage>,
    file: BTreeMap<u64, u8>,
}

impl Model {
    fn content(&self, page: &ModelPage) -> u8 {
        let of_file = |index: u64| self.file.get(&index).copied().unwrap_or(file_byte(index));
        match (page.origin, page.written) {
            (Origin::Shared(index), _) => of_file(index),
            (_, Some(byte)) => byte,
            (Origin::Anonymous, None) => 0,
            (Origin::Private(index), None) => of_file(index),
        }
    }

    fn write(&mut self, at: u64, byte: u8) -> bool {
        let Some(page) = self.pages.get_mut(&at) else { return false };
        if !page.protection.contains(PageProtection::WRITE) {
            return false;
        }
        match page.origin {
            Origin::Shared(index) => {
                self.file.insert(index, byte);
            }
            _ => page.written = Some(byte),
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map { at: u64, count: u64, protection: u8, origin: u8, first: u64 },
    Unmap { at: u64, count: u64 },
    Protect { at: u64, count: u64, protection: u8 },
    Drop { at: u64, count: u64 },
    Move { at: u64, count: u64, to: u64, new_count: u64 },
    Write { at: u64, byte: u8 },
    Read { at: u64 },
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    (0..PAGES).prop_flat_map(|at| (Just(at), 1..=(PAGES - at).min(8)))
}

fn step() -> impl Strategy<Value = Step> {
    let map = (range(), 0..3_u8, 0..3_u8, 0..FILE_PAGES - 8);
    prop_oneof![
        4 => map.prop_map(|((at, count), protection, origin, first)| {
            Step::Map { at, count, protection, origin, first }
        }),
        2 => range().prop_map(|(at, count)| Step::Unmap { at, count }),
        3 => (range(), 0..3_u8)
            .prop_map(|((at, count), protection)| Step::Protect { at, count, protection }),
        2 => range().prop_map(|(at, count)| Step::Drop { at, count }),
        2 => (range(), range()).prop_map(|((at, count), (to, new_count))| {
            Step::Move { at, count, to, new_count }
        }),
        8 => (0..PAGES, 1..255_u8).prop_map(|(at, byte)| Step::Write { at, byte }),
        4 => (0..PAGES).prop_map(|at| Step::Read { at }),
    ]
}

fn protection(index: u8) -> PageProtection {
    [NONE, READ, READ_WRITE][usize::from(index)]
}

struct Run {
    mm: Arc<Mm>,
    model: Model,
    file: Arc<TestFile>,
}

impl Run {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Map { at, count, protection: index, origin, first } => {
                self.map(at, count, protection(index), origin, first);
            }
            Step::Unmap { at, count } => {
                self.mm.unmap(page(AREA, at), count * PAGE_SIZE).unwrap();
                self.model.pages.retain(|page, _| !(at..at + count).contains(page));
            }
            Step::Protect { at, count, protection: index } => {
                let wanted = protection(index);
                let result = self.mm.protect(page(AREA, at), count * PAGE_SIZE, wanted);
                let mut hole = false;
                for index in at..at + count {
                    match self.model.pages.get_mut(&index) {
                        Some(page) if !hole => page.protection = wanted,
                        Some(_) => {}
                        None => hole = true,
                    }
                }
                assert_eq!(result, if hole { Err(Errno::ENOMEM) } else { Ok(()) });
            }
            Step::Drop { at, count } => {
                let advice = Advice::DontNeed { locked: false };
                let result = self.mm.advise(page(AREA, at), count * PAGE_SIZE, advice);
                let mut found = 0;
                for (_, page) in self.model.pages.range_mut(at..at + count) {
                    page.written = None;
                    found += 1;
                }
                assert_eq!(result.is_ok(), found == count);
            }
            Step::Move { at, count, to, new_count } => self.relocate(at, count, to, new_count),
            Step::Write { at, byte } => {
                let result = self.mm.write(UserAddr(page(AREA, at).0 + 100), &byte);
                assert_eq!(result.is_ok(), self.model.write(at, byte), "write at {at}");
            }
            Step::Read { at } => self.check(at),
        }
    }

    fn map(&mut self, at: u64, count: u64, protection: PageProtection, origin: u8, first: u64) {
        let content = match origin {
            0 => Content::Anonymous,
            1 => file(&self.file, first, false, false),
            _ => file(&self.file, first, true, true),
        };
        let placement = Placement::Fixed(page(AREA, at));
        let request = MapRequest::new(placement, count * PAGE_SIZE, protection, content);
        self.mm.map(request).unwrap();
        for index in 0..count {
            let origin = match origin {
                0 => Origin::Anonymous,
                1 => Origin::Private(first + index),
                _ => Origin::Shared(first + index),
            };
            self.model.pages.insert(at + index, ModelPage { protection, origin, written: None });
        }
    }

    /// Moves within the area, when the model can tell what must come out: equal neighbours.
    fn relocate(&mut self, at: u64, count: u64, to: u64, new_count: u64) {
        let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
        let apart = at + count <= to || to + new_count <= at;
        let pages: Vec<_> = (at..at + count).map(|index| self.model.pages.get(&index)).collect();
        let uniform = pages.windows(2).all(|pair| match pair {
            [Some(a), Some(b)] => {
                a.protection == b.protection
                    && a.origin == Origin::Anonymous
                    && b.origin == Origin::Anonymous
            }
            _ => false,
        });
        let anonymous = pages[0].is_some_and(|page| page.origin == Origin::Anonymous);
        if !apart || !uniform || !anonymous {
            return;
        }
        let result = self.mm.remap(
            page(AREA, at),
            count * PAGE_SIZE,
            new_count * PAGE_SIZE,
            flags,
            page(AREA, to),
        );
        assert_eq!(result, Ok(page(AREA, to)));
        let moved: Vec<ModelPage> =
            (at..at + count).filter_map(|index| self.model.pages.remove(&index)).collect();
        for index in 0..new_count {
            let fresh = ModelPage { written: None, ..moved[0] };
            let entry = moved.get(index as usize).copied().unwrap_or(fresh);
            self.model.pages.insert(to + index, entry);
        }
    }

    fn check(&self, at: u64) {
        let result = byte(&self.mm, UserAddr(page(AREA, at).0 + 100));
        let expected = match self.model.pages.get(&at) {
            Some(page) if !page.protection.is_empty() => Ok(self.model.content(page)),
            _ => Err(Errno::EFAULT),
        };
        // Whether a private page sees later changes of the file is open until it is written
        // (mmap(2)); an archive page stays what it was.
        if let Some(ModelPage { origin: Origin::Private(index), written: None, .. }) =
            self.model.pages.get(&at)
            && result == Ok(file_byte(*index))
            && expected.is_ok()
        {
            return;
        }
        assert_eq!(result, expected, "page {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn memory_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run { mm: memory(), model: Model::default(), file: TestFile::new(FILE_PAGES) };
        for step in &steps {
            run.apply(step);
            run.mm.state.lock().tree.check();
        }
        for at in 0..PAGES {
            run.check(at);
        }
    }
}
