//! Copies to and from the program's memory.
//!
//! `hal` copies until a page refuses; the page is then made as for a touch of the program, and the
//! copy goes on. What cannot be made is `EFAULT`.
//!
//! Under a lock no page is made (`docs/adr/0001`): there are copies that stop instead.

use crate::memory::Mm;
use alloc::vec::Vec;
use base::address::USER_END;
use base::sync;
use base::{Errno, PAGE_SIZE, UserAddr};
use core::cmp::min;
use hal::{Access, UserFault, usercopy};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// How often one page may refuse, though it was made present, before the copy gives up.
const PATIENCE: u32 = 16;

/// Keeps a copy from trying the same page for ever.
struct Progress {
    page: UserAddr,
    tries: u32,
}

impl Progress {
    fn new() -> Self {
        Self { page: UserAddr(u64::MAX), tries: 0 }
    }

    /// Notes a refusal; `false` when it is time to give up.
    fn refused(&mut self, at: UserAddr) -> bool {
        if self.page == at.page_floor() {
            self.tries += 1;
        } else {
            *self = Self { page: at.page_floor(), tries: 0 };
        }
        self.tries < PATIENCE
    }
}

/// True when `length` bytes from `start` are user addresses (Linux's access_ok).
fn is_user(start: UserAddr, length: usize) -> bool {
    start.checked_add(length as u64).is_some_and(|end| end.0 <= USER_END)
}

impl Mm {
    /// Runs `copy(done)` until all `length` bytes are copied or a page cannot be made. Returns how
    /// many were copied.
    #[inline]
    fn copy_loop(
        &self,
        start: UserAddr,
        length: usize,
        access: Access,
        mut copy: impl FnMut(UserAddr, usize) -> Result<(), UserFault>,
    ) -> usize {
        sync::pages_may_be_made();
        if !is_user(start, length) {
            return 0;
        }
        match copy(start, 0) {
            Ok(()) => length,
            Err(fault) => self.copy_on((start, length), access, fault, &mut copy),
        }
    }

    /// The rest of [`Mm::copy_loop`] after a page refused.
    #[cold]
    fn copy_on(
        &self,
        (start, length): (UserAddr, usize),
        access: Access,
        mut fault: UserFault,
        copy: &mut dyn FnMut(UserAddr, usize) -> Result<(), UserFault>,
    ) -> usize {
        let mut done = 0;
        let mut progress = Progress::new();
        loop {
            done = min(done + fault.copied, length);
            if !progress.refused(fault.address) || self.touch(fault.address, access).is_err() {
                return done;
            }
            self.touch_ahead(fault.address, length - done, access);
            match copy(start.wrapping_add(done as u64), done) {
                Ok(()) => return length,
                Err(next) => fault = next,
            }
        }
    }

    /// Makes further pages that a copy of `bytes` bytes from `at` will reach, so that it does not
    /// stop at each. What fails is found again by the copy.
    fn touch_ahead(&self, at: UserAddr, bytes: usize, access: Access) {
        const MOST_PAGES: u64 = 16;
        let first = at.page_floor();
        let pages = (at.page_offset() + bytes as u64).div_ceil(PAGE_SIZE).min(MOST_PAGES);
        for page in 1..pages {
            if self.touch(first.wrapping_add(page * PAGE_SIZE), access).is_err() {
                return;
            }
        }
    }

    /// Copies as much as it can from the program's memory; returns how much that was.
    pub fn read_partly(&self, from: UserAddr, into: &mut [u8]) -> usize {
        self.copy_loop(from, into.len(), Access::Read, |at, done| {
            let rest = into.get_mut(done..).unwrap_or_default();
            usercopy::copy_from_user(&self.space, rest, at)
        })
    }

    /// Copies as much as it can to the program's memory; returns how much that was.
    pub fn write_partly(&self, to: UserAddr, bytes: &[u8]) -> usize {
        self.copy_loop(to, bytes.len(), Access::Write, |at, done| {
            usercopy::copy_to_user(&self.space, at, bytes.get(done..).unwrap_or_default())
        })
    }

    /// Copies from the program's memory up to the first page that would have to be made; returns
    /// how much that was.
    #[inline]
    pub(crate) fn read_present(&self, from: UserAddr, into: &mut [u8]) -> usize {
        sync::bytes_are_copied(into.len());
        let length = into.len();
        let result = usercopy::copy_from_user(&self.space, into, from);
        result.map_or_else(|fault| min(fault.copied, length), |()| length)
    }

    /// Copies to the program's memory up to the first page that would have to be made; returns how
    /// much that was.
    #[inline]
    pub(crate) fn write_present(&self, to: UserAddr, bytes: &[u8]) -> usize {
        sync::bytes_are_copied(bytes.len());
        let result = usercopy::copy_to_user(&self.space, to, bytes);
        result.map_or_else(|fault| min(fault.copied, bytes.len()), |()| bytes.len())
    }

    /// Writes a structure, under a lock: `false` when a page would have to be made first.
    #[must_use]
    pub fn write_if_present(&self, to: UserAddr, bytes: &[u8]) -> bool {
        is_user(to, bytes.len()) && self.write_present(to, bytes) == bytes.len()
    }

    /// Makes pages for a copy of `bytes` bytes at `at` that stopped there; at least the first.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn prepare(&self, at: UserAddr, bytes: usize, access: Access) -> Result<(), Errno> {
        sync::pages_may_be_made();
        if !is_user(at, 1) || self.touch(at, access).is_err() {
            return Err(Errno::EFAULT);
        }
        self.touch_ahead(at, bytes, access);
        Ok(())
    }

    /// Copies from the program's memory.
    ///
    /// # Errors
    /// `EFAULT`: not all of it could be read.
    #[inline]
    pub fn read_bytes(&self, from: UserAddr, into: &mut [u8]) -> Result<(), Errno> {
        let length = into.len();
        if self.read_partly(from, into) == length { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies to the program's memory.
    ///
    /// # Errors
    /// `EFAULT`: not all of it could be written; what comes before is.
    #[inline]
    pub fn write_bytes(&self, to: UserAddr, bytes: &[u8]) -> Result<(), Errno> {
        if self.write_partly(to, bytes) == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Reads a structure.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read<T: FromBytes + IntoBytes>(&self, from: UserAddr) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_bytes(from, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Reads as many structures as `into` has room for.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read_slice<T: FromBytes + IntoBytes>(
        &self,
        from: UserAddr,
        into: &mut [T],
    ) -> Result<(), Errno> {
        self.read_bytes(from, into.as_mut_bytes())
    }

    /// Writes a structure, or a slice of them.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write<T: IntoBytes + Immutable + ?Sized>(
        &self,
        to: UserAddr,
        value: &T,
    ) -> Result<(), Errno> {
        self.write_bytes(to, value.as_bytes())
    }

    /// Sets `count` bytes to zero.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn clear(&self, start: UserAddr, count: u64) -> Result<(), Errno> {
        static ZEROS: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        let mut done = 0;
        while done < count {
            let at = start.checked_add(done).ok_or(Errno::EFAULT)?;
            let piece = min(PAGE_SIZE - at.page_offset(), count - done);
            self.write_bytes(at, ZEROS.get(..piece as usize).unwrap_or_default())?;
            done += piece;
        }
        Ok(())
    }

    /// Reads a string that ends with a NUL, without it, of less than `maximum` bytes.
    ///
    /// # Errors
    /// `EFAULT`. `ENAMETOOLONG`: no NUL in the first `maximum` bytes.
    pub fn read_c_string(&self, from: UserAddr, maximum: usize) -> Result<Vec<u8>, Errno> {
        const PIECE: usize = 128;
        let mut string = Vec::new();
        let mut piece = [0; PIECE];
        while string.len() < maximum {
            let at = from.checked_add(string.len() as u64).ok_or(Errno::EFAULT)?;
            // Never beyond the page: the string may end right before memory that is not there.
            let in_page = (PAGE_SIZE - at.page_offset()) as usize;
            let count = PIECE.min(in_page).min(maximum - string.len());
            let bytes = piece.get_mut(..count).unwrap_or_default();
            self.read_bytes(at, bytes)?;
            match bytes.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    string.extend_from_slice(bytes.get(..end).unwrap_or_default());
                    return Ok(string);
                }
                None => string.extend_from_slice(bytes),
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Loads an aligned 32-bit word atomically (futex).
    ///
    /// # Errors
    /// `EFAULT`. `EINVAL`: not aligned.
    pub fn load_u32(&self, from: UserAddr) -> Result<u32, Errno> {
        self.word(from, Access::Read, || usercopy::load_u32(&self.space, from))
    }

    /// As [`Mm::load_u32`], under a lock: `None` when its page would have to be made first.
    #[must_use]
    pub fn load_u32_if_present(&self, from: UserAddr) -> Option<u32> {
        let valid = from.0.is_multiple_of(4) && is_user(from, 4);
        valid.then(|| usercopy::load_u32(&self.space, from).ok()).flatten()
    }

    /// Replaces an aligned 32-bit word by `new` if it holds `expected`; returns what it held.
    ///
    /// # Errors
    /// `EFAULT`. `EINVAL`: not aligned.
    pub fn compare_exchange_u32(
        &self,
        at: UserAddr,
        expected: u32,
        new: u32,
    ) -> Result<u32, Errno> {
        self.word(at, Access::Write, || {
            usercopy::compare_exchange_u32(&self.space, at, expected, new)
        })
    }

    fn word(
        &self,
        at: UserAddr,
        access: Access,
        mut attempt: impl FnMut() -> Result<u32, UserFault>,
    ) -> Result<u32, Errno> {
        if !at.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if !is_user(at, 4) {
            return Err(Errno::EFAULT);
        }
        sync::pages_may_be_made();
        let mut progress = Progress::new();
        loop {
            match attempt() {
                Ok(word) => return Ok(word),
                Err(_) if progress.refused(at) && self.touch(at, access).is_ok() => {}
                Err(_) => return Err(Errno::EFAULT),
            }
        }
    }
}
