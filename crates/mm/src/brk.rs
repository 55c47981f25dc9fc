//! brk(2).

use crate::memory::{Mm, check_commit};
use crate::tree::Removed;
use crate::vma::{Label, Sequence, Source, Vma};
use crate::{LOWEST_ADDRESS, MAXIMUM_MAPPINGS};
use base::{PageRange, UserAddr};
use hal::PageProtection;

impl Mm {
    /// Puts the program break behind the loaded program.
    pub fn set_program_break(&self, start: UserAddr) {
        let mut state = self.state.lock();
        state.program_break.start = start;
        state.program_break.current = start;
    }

    /// brk(2): moves the program break to `wanted` if it can, and returns where it is then.
    pub fn brk(&self, wanted: UserAddr) -> UserAddr {
        let mut removed = Removed::default();
        let mut state = self.state.lock();
        let at = state.program_break;
        if wanted < at.start || at.start < LOWEST_ADDRESS {
            return at.current;
        }
        let (Some(old), Some(new)) = (at.current.page_ceil(), wanted.page_ceil()) else {
            return at.current;
        };
        if let Some(gone) = PageRange::new(new, old) {
            self.clear_range(&mut state, gone, &mut removed);
        } else {
            let Some(grown) = PageRange::new(old, new) else { return at.current };
            let refused = state.tree.len() >= MAXIMUM_MAPPINGS
                || !state.tree.is_free(grown)
                || check_commit(grown.bytes()).is_err();
            if refused {
                return at.current;
            }
            let flags = state.default_flags();
            state.tree.insert(Vma {
                range: grown,
                protection: PageProtection::READ | PageProtection::WRITE,
                source: Source::Anonymous,
                flags,
                label: Label::Heap,
                sequence: Sequence::default(),
            });
            state.note_peak();
        }
        state.program_break.current = wanted;
        wanted
    }
}
