//! The locks and atomics of the real `base::sync`, made of loom's.

pub use loom::sync::atomic;
use loom::sync::{Mutex, MutexGuard};
use std::sync::{Mutex as Cell, OnceLock};

/// Not looked at here.
#[derive(Clone, Copy)]
pub enum Rank {
    /// As in the real crate.
    Task,
    /// As in the real crate.
    FutexBucket,
    /// As in the real crate.
    Choice,
}

/// loom's lock, which cannot be made in a constant: when it is first taken.
pub struct SpinLock<T> {
    first: Cell<Option<T>>,
    lock: OnceLock<Mutex<T>>,
}

impl<T> SpinLock<T> {
    /// As in the real crate.
    pub const fn new(value: T) -> Self {
        Self { first: Cell::new(Some(value)), lock: OnceLock::new() }
    }

    /// As in the real crate.
    pub const fn ranked(_rank: Rank, value: T) -> Self {
        Self::new(value)
    }

    /// As in the real crate.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let made = || Mutex::new(self.first.lock().unwrap().take().unwrap());
        self.lock.get_or_init(made).lock().unwrap()
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// As in the real crate.
pub fn lock_both<'a, T>(
    one: &'a SpinLock<T>,
    other: &'a SpinLock<T>,
) -> (MutexGuard<'a, T>, MutexGuard<'a, T>) {
    if core::ptr::from_ref(one) < core::ptr::from_ref(other) {
        let first = one.lock();
        (first, other.lock())
    } else {
        let first = other.lock();
        (one.lock(), first)
    }
}
