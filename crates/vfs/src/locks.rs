//! Advisory locks: flock(2), and the record locks of fcntl(2), of the process (POSIX) and of the
//! open file description (OFD).

use alloc::vec::Vec;
use base::Errno;
use base::sync::SpinLock;
use sched::{Notifier, PollEvents};

/// Who holds a record lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOwner {
    /// The process (there is one).
    Process,
    /// An open file description, by its address.
    Description(usize),
}

/// A record lock: bytes `start..=end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordLock {
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX` (shown as length 0): to the end of the file, however long.
    pub end: u64,
    /// Write lock (else read lock).
    pub exclusive: bool,
    /// Who.
    pub owner: LockOwner,
}

impl RecordLock {
    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start <= end && start <= self.end
    }

    fn conflicts(&self, other: &Self) -> bool {
        self.owner != other.owner
            && (self.exclusive || other.exclusive)
            && self.overlaps(other.start, other.end)
    }
}

#[derive(Default)]
struct State {
    /// flock: (open file description, exclusive).
    whole: Vec<(usize, bool)>,
    /// Sorted by start; those of one owner do not overlap.
    records: Vec<RecordLock>,
}

/// The locks of one inode.
#[derive(Default)]
pub struct FileLocks {
    state: SpinLock<State>,
    notifier: Notifier,
}

impl FileLocks {
    /// Tells when a lock was released.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// flock: takes or converts the lock of `description`.
    ///
    /// # Errors
    /// `EAGAIN`: somebody else holds a conflicting one. A lock that was to be converted is lost
    /// then, as on Linux.
    pub fn lock_whole(&self, description: usize, exclusive: bool) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.whole.contains(&(description, exclusive)) {
            return Ok(());
        }
        let held = state.whole.len();
        state.whole.retain(|row| row.0 != description);
        let released = state.whole.len() != held;
        let conflict = state.whole.iter().any(|row| row.1 || exclusive);
        if !conflict {
            state.whole.push((description, exclusive));
        }
        drop(state);
        if released {
            self.notifier.notify(PollEvents::IN);
        }
        if conflict { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// flock: releases the lock of `description`, if it has one.
    pub fn unlock_whole(&self, description: usize) {
        self.state.lock().whole.retain(|row| row.0 != description);
        self.notifier.notify(PollEvents::IN);
    }

    /// The first lock that stands in the way of `wanted` (F_GETLK).
    #[must_use]
    pub fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.state.lock().records.iter().find(|held| held.conflicts(wanted)).copied()
    }

    /// Takes a record lock; what the owner held in that range is replaced.
    ///
    /// # Errors
    /// `EAGAIN`: somebody else holds a conflicting one.
    pub fn lock_record(&self, wanted: RecordLock) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.records.iter().any(|held| held.conflicts(&wanted)) {
            return Err(Errno::EAGAIN);
        }
        state.cut(wanted.owner, wanted.start, wanted.end);
        state.insert(wanted);
        state.merge(wanted.owner);
        drop(state);
        // A write lock may have become a read lock.
        self.notifier.notify(PollEvents::IN);
        Ok(())
    }

    /// Releases the bytes `start..=end` of `owner`.
    pub fn unlock_record(&self, owner: LockOwner, start: u64, end: u64) {
        {
            let mut state = self.state.lock();
            if state.records.is_empty() {
                return;
            }
            state.cut(owner, start, end);
        }
        self.notifier.notify(PollEvents::IN);
    }

    /// Releases everything that belongs to an open file description.
    pub fn release_description(&self, description: usize) {
        self.unlock_whole(description);
        self.unlock_record(LockOwner::Description(description), 0, u64::MAX);
    }
}

impl State {
    /// Takes `start..=end` out of the owner's locks.
    fn cut(&mut self, owner: LockOwner, start: u64, end: u64) {
        let mut pieces = Vec::new();
        self.records.retain(|held| {
            if held.owner != owner || !held.overlaps(start, end) {
                return true;
            }
            if held.start < start {
                pieces.push(RecordLock { end: start - 1, ..*held });
            }
            if held.end > end {
                pieces.push(RecordLock { start: end + 1, ..*held });
            }
            false
        });
        for piece in pieces {
            self.insert(piece);
        }
    }

    /// Puts a lock where its start belongs.
    fn insert(&mut self, lock: RecordLock) {
        let at = self.records.partition_point(|held| held.start <= lock.start);
        self.records.insert(at, lock);
    }

    /// Joins neighbours of the same owner and kind.
    fn merge(&mut self, owner: LockOwner) {
        let mut at = 0;
        while let Some(lock) = self.records.get(at).copied() {
            let next = lock.end.checked_add(1).and_then(|start| {
                self.records.iter().position(|other| {
                    lock.owner == owner
                        && other.owner == owner
                        && other.exclusive == lock.exclusive
                        && other.start == start
                })
            });
            let Some(next) = next else {
                at += 1;
                continue;
            };
            let end = self.records.remove(next).end;
            if let Some(lock) = self.records.get_mut(at) {
                lock.end = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(start: u64, end: u64, exclusive: bool, owner: LockOwner) -> RecordLock {
        RecordLock { start, end, exclusive, owner }
    }

    #[test]
    fn records_split_merge_and_conflict() {
        let locks = FileLocks::default();
        let (me, other) = (LockOwner::Process, LockOwner::Description(1));
        locks.lock_record(record(0, 99, true, me)).unwrap();
        locks.unlock_record(me, 40, 49);
        assert!(locks.conflict(&record(40, 49, true, other)).is_none());
        assert_eq!(
            locks.conflict(&record(45, 60, false, other)).map(|l| (l.start, l.end)),
            Some((50, 99))
        );
        assert_eq!(locks.lock_record(record(39, 41, false, other)), Err(Errno::EAGAIN));
        locks.lock_record(record(40, 49, true, me)).unwrap();
        assert_eq!(
            locks.conflict(&record(45, 60, false, other)).map(|l| (l.start, l.end)),
            Some((0, 99))
        );
        locks.lock_record(record(0, u64::MAX, false, me)).unwrap();
        assert!(locks.lock_record(record(5, 5, false, other)).is_ok());
    }

    #[test]
    fn flock_shares_and_excludes() {
        let locks = FileLocks::default();
        locks.lock_whole(1, false).unwrap();
        locks.lock_whole(2, false).unwrap();
        assert_eq!(locks.lock_whole(1, true), Err(Errno::EAGAIN));
        locks.unlock_whole(2);
        locks.lock_whole(1, true).unwrap();
        assert_eq!(locks.lock_whole(2, false), Err(Errno::EAGAIN));
    }
}
