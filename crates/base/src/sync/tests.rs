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
