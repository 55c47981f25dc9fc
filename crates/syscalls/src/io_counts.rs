//! How much a thread read and wrote (/proc/self/io, proc_pid_io(5)).

use alloc::format;
use alloc::string::String;
use base::Errno;
use core::ops::Add;
use core::sync::atomic::{AtomicU64, Ordering};

/// The counts of one thread. Only it counts: no read-modify-write is needed.
#[derive(Default)]
pub(crate) struct IoCounts {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl IoCounts {
    /// A call that reads is over.
    #[inline]
    pub(crate) fn read(&self, result: &Result<usize, Errno>) {
        count(&self.reads, 1);
        if let Ok(bytes) = result {
            count(&self.read_bytes, *bytes as u64);
        }
    }

    /// A call that writes is over.
    #[inline]
    pub(crate) fn wrote(&self, result: &Result<usize, Errno>) {
        count(&self.writes, 1);
        if let Ok(bytes) = result {
            count(&self.written_bytes, *bytes as u64);
        }
    }

    /// The counts so far.
    pub(crate) fn sum(&self) -> Sum {
        Sum {
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }
}

/// Counts of several threads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    read_bytes: u64,
    written_bytes: u64,
    reads: u64,
    writes: u64,
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes + other.read_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
        }
    }
}

impl Sum {
    /// As the file tells it. Nothing goes to a disk.
    pub(crate) fn text(self) -> String {
        format!(
            "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\n\
             cancelled_write_bytes: 0\n",
            self.read_bytes, self.written_bytes, self.reads, self.writes
        )
    }
}
