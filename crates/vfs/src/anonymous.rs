//! Numbers for files that lie in no file system: pipes, sockets, epoll instances.

use core::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The next inode number.
#[must_use]
pub fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}
