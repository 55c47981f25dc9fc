//! What debug builds refuse. (Tests are debug builds.)

use super::{Rank, SpinLock, lock_both};

#[test]
fn ranks_are_listed_in_their_order() {
    assert!(Rank::ALL.is_sorted_by(|one, other| one < other));
    assert_eq!(Rank::ALL.map(|rank| rank as usize), core::array::from_fn(|index| index));
}

#[test]
fn later_ranks_go_inside_earlier_ones() {
    let (outer, inner) = (SpinLock::ranked(Rank::Pipe, 1), SpinLock::new(2));
    {
        let held = outer.lock();
        assert_eq!(*held + *inner.lock(), 3);
    }
    // Nothing is held any more, whichever way round it was let go.
    let (first, second) = (outer.lock(), inner.lock());
    drop(first);
    drop(second);
    drop(inner.lock());
    drop(outer.lock());
}

#[test]
#[should_panic(expected = "lock Pipe is taken while Leaf is held")]
fn earlier_ranks_are_refused_inside_later_ones() {
    let (outer, inner) = (SpinLock::ranked(Rank::Pipe, ()), SpinLock::new(()));
    let _inner = inner.lock();
    let _outer = outer.lock();
}

#[test]
#[should_panic(expected = "lock Pipe is taken while Pipe is held")]
fn two_of_one_rank_are_refused() {
    let (one, other) = (SpinLock::ranked(Rank::Pipe, ()), SpinLock::ranked(Rank::Pipe, ()));
    let _one = one.lock();
    let _other = other.lock();
}

#[test]
#[should_panic(expected = "lock Pipe is taken while Pipe is held")]
fn one_lock_twice_is_refused() {
    let lock = SpinLock::ranked(Rank::Pipe, ());
    let _once = lock.lock();
    let _twice = lock.lock_nested();
}

#[test]
fn two_of_one_rank_are_taken_by_address() {
    let (one, other) = (SpinLock::ranked(Rank::Pipe, 1), SpinLock::ranked(Rank::Pipe, 2));
    {
        let (first, second) = lock_both(&one, &other);
        assert_eq!((*first, *second), (1, 2));
    }
    let (first, second) = lock_both(&other, &one);
    assert_eq!((*first, *second), (2, 1));
}

#[test]
fn trying_is_never_refused() {
    let (outer, inner) = (SpinLock::ranked(Rank::Pipe, ()), SpinLock::new(()));
    let _inner = inner.lock();
    let held = outer.try_lock();
    assert!(held.is_some());
    assert!(outer.try_lock().is_none());
}

#[test]
fn transfers_are_ordered_by_locks_under_which_pages_are_made() {
    let (task, offset) = (SpinLock::ranked(Rank::Task, ()), SpinLock::ranked(Rank::Offset, ()));
    let (_task, _offset) = (task.lock(), offset.lock());
    super::pages_may_be_made();
    super::bytes_are_copied(super::COPIED_AT_ONCE + 1);
}

#[test]
#[should_panic(expected = "the program's memory is touched under lock Pipe")]
fn no_page_is_made_under_other_locks() {
    let pipe = SpinLock::ranked(Rank::Pipe, ());
    let _pipe = pipe.lock();
    super::pages_may_be_made();
}

#[test]
fn a_copy_of_bounded_length_goes_on_under_a_lock() {
    let pipe = SpinLock::ranked(Rank::Pipe, ());
    let _pipe = pipe.lock();
    super::bytes_are_copied(super::COPIED_AT_ONCE);
}

#[test]
#[should_panic(expected = "65537 bytes are copied at once under lock Pipe")]
fn a_long_copy_is_refused_under_a_lock() {
    let pipe = SpinLock::ranked(Rank::Pipe, ());
    let _pipe = pipe.lock();
    super::bytes_are_copied(super::COPIED_AT_ONCE + 1);
}
