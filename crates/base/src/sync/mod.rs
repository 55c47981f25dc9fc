//! Locks.
//!
//! The kernel runs with interrupts off and never sleeps under a lock, so a spin lock is held for
//! moments only. `.await` under a guard does not compile in a spawned future: the guard is not
//! `Send`.
//!
//! Locks have ranks, in whose order a CPU takes them. Debug builds check it at every lock.

#[cfg(debug_assertions)]
mod held;
mod rank;
#[cfg(test)]
mod tests;

/// Of the kernel's own use: what is named through here can be looked at by loom, with its atomics.
pub use core::sync::atomic;
pub use rank::Rank;
pub use spin::{LazyLock, Once};

/// Most bytes that are copied to or from the program's memory while a lock is held, other than one
/// that puts whole transfers in order ([`Rank::orders_transfers`]).
pub const COPIED_AT_ONCE: usize = 64 << 10;

/// Says that pages of the program may be made now. Debug builds stop when a lock is held for which
/// others would spin meanwhile.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn pages_may_be_made() {
    #[cfg(debug_assertions)]
    held::check_transfer(None);
}

/// Says that `bytes` bytes are copied to or from pages of the program that are there. Debug builds
/// stop when they are more than [`COPIED_AT_ONCE`] and a lock is held.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn bytes_are_copied(bytes: usize) {
    #[cfg(debug_assertions)]
    held::check_transfer(Some(bytes));
    #[cfg(not(debug_assertions))]
    let _ = bytes;
}

/// A spin lock around the data it guards.
#[derive(Debug)]
pub struct SpinLock<T: ?Sized> {
    #[cfg(debug_assertions)]
    rank: Rank,
    inner: spin::Mutex<T>,
}

/// Access to the data of a locked [`SpinLock`].
pub struct SpinGuard<'a, T: ?Sized> {
    guard: spin::MutexGuard<'a, T>,
    #[cfg(debug_assertions)]
    _mark: held::Mark,
    /// Raw pointers are not `Send`: keeps the guard out of futures that sleep.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl<T> SpinLock<T> {
    /// A lock, open, around `value`, under which no other lock is taken.
    pub const fn new(value: T) -> Self {
        Self::ranked(Rank::Leaf, value)
    }

    /// A lock, open, around `value`, under which locks of later ranks are taken.
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "checked in debug builds"))]
    pub const fn ranked(rank: Rank, value: T) -> Self {
        Self {
            #[cfg(debug_assertions)]
            rank,
            inner: spin::Mutex::new(value),
        }
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock and takes it.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        #[cfg(debug_assertions)]
        held::Mark::check(self.address(), self.rank, false);
        self.marked(self.inner.lock())
    }

    /// As [`SpinLock::lock`], possibly under another lock of the same rank. Whoever calls it keeps
    /// an order among those.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self) -> SpinGuard<'_, T> {
        #[cfg(debug_assertions)]
        held::Mark::check(self.address(), self.rank, true);
        self.marked(self.inner.lock())
    }

    /// Takes the lock if it is open. Never waits, so any lock may be held.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        Some(self.marked(self.inner.try_lock()?))
    }

    /// Where it is: what orders two locks of one rank.
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn marked<'a>(&self, guard: spin::MutexGuard<'a, T>) -> SpinGuard<'a, T> {
        SpinGuard {
            guard,
            #[cfg(debug_assertions)]
            _mark: held::Mark::new(self.address(), self.rank),
            _not_send: core::marker::PhantomData,
        }
    }
}

/// Takes two locks of one rank, in the order of their addresses.
#[cfg_attr(debug_assertions, track_caller)]
pub fn lock_both<'a, T>(
    one: &'a SpinLock<T>,
    other: &'a SpinLock<T>,
) -> (SpinGuard<'a, T>, SpinGuard<'a, T>) {
    if one.address() < other.address() {
        let first = one.lock();
        (first, other.lock_nested())
    } else {
        let first = other.lock();
        (one.lock_nested(), first)
    }
}

/// Tells debug builds which CPU runs. Before a second one does.
pub fn cpus_are_told_by(current: fn() -> crate::CpuId) {
    #[cfg(debug_assertions)]
    held::cpus_are_told_by(current);
    #[cfg(not(debug_assertions))]
    let _ = current;
}

impl<T: ?Sized> core::ops::Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> core::ops::DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
