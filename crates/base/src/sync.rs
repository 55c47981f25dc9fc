//! Locks.
//!
//! The kernel runs with interrupts off and never sleeps under a lock, so a spin lock is held for
//! moments only. `.await` under a guard does not compile in a spawned future: the guard is not
//! `Send`.

/// A spin lock around the data it guards.
#[derive(Debug, Default)]
pub struct SpinLock<T: ?Sized> {
    inner: spin::Mutex<T>,
}

/// Access to the data of a locked [`SpinLock`].
pub struct SpinGuard<'a, T: ?Sized> {
    guard: spin::MutexGuard<'a, T>,
    /// Raw pointers are not `Send`: keeps the guard out of futures that sleep.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl<T> SpinLock<T> {
    /// A lock, open, around `value`.
    pub const fn new(value: T) -> Self {
        Self { inner: spin::Mutex::new(value) }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock and takes it.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        SpinGuard { guard: self.inner.lock(), _not_send: core::marker::PhantomData }
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let guard = self.inner.try_lock()?;
        Some(SpinGuard { guard, _not_send: core::marker::PhantomData })
    }
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

pub use spin::{LazyLock, Once};
