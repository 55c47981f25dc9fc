//! The order of locks.

/// Which locks may be taken under which: under a lock, only those of a later rank. The page
/// `docs/locks.md` says of each rank which locks it is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rank {
    /// A task that is being polled: everything below happens inside.
    Task,
    /// The network's turn: the stack polls, and resolv.conf follows.
    NetworkTurn,
    /// The offset of an open file.
    Offset,
    /// Letting epoll instances watch each other.
    EpollNesting,
    /// An epoll instance whose files are being asked. Outer instances before inner ones.
    EpollScan,
    /// Changes of names in the tree of files.
    Names,
    /// A whole write to a regular file.
    Writing,
    /// A Unix socket's queue.
    UnixSocket,
    /// A netlink socket.
    Netlink,
    /// The network.
    Network,
    /// A pipe's bytes. Two pipes by address.
    Pipe,
    /// The bytes that were typed.
    Typed,
    /// The process's timers by number.
    Timers,
    /// The threads of the process.
    Threads,
    /// A thread's signals.
    Signals,
    /// A bucket of futex waiters. Two buckets by address.
    FutexBucket,
    /// The mappings of the process.
    Memory,
    /// A directory's entries. Two directories by address.
    Directory,
    /// What an epoll instance watches.
    EpollItems,
    /// What an epoll instance has found ready.
    EpollReady,
    /// What chooses among runnable tasks.
    Choice,
    /// The interrupt lines that devices share.
    SharedLines,
    /// The interrupt controllers.
    InterruptControllers,
    /// All locks that no other but the screen's and the allocator's are taken under.
    Leaf,
    /// The terminal on the screen.
    Screen,
    /// The page tables.
    PageTables,
    /// The kernel's own page tables.
    KernelTables,
    /// The kernel's heap, one size.
    Heap,
    /// Kernel addresses for large blocks.
    HeapAddresses,
    /// Free frames.
    Frames,
    /// The serial port.
    Console,
}

impl Rank {
    /// True for a lock that is there to put whole transfers in order, and so is held until the last
    /// byte of one has moved: pages are made under it, and any number of bytes is copied. None of
    /// them is taken while a page is made (docs/adr/0001).
    #[must_use]
    pub const fn orders_transfers(self) -> bool {
        matches!(self, Self::Task | Self::Offset | Self::Writing)
    }

    /// Every rank, outermost first.
    pub const ALL: [Self; 31] = [
        Self::Task,
        Self::NetworkTurn,
        Self::Offset,
        Self::EpollNesting,
        Self::EpollScan,
        Self::Names,
        Self::Writing,
        Self::UnixSocket,
        Self::Netlink,
        Self::Network,
        Self::Pipe,
        Self::Typed,
        Self::Timers,
        Self::Threads,
        Self::Signals,
        Self::FutexBucket,
        Self::Memory,
        Self::Directory,
        Self::EpollItems,
        Self::EpollReady,
        Self::Choice,
        Self::SharedLines,
        Self::InterruptControllers,
        Self::Leaf,
        Self::Screen,
        Self::PageTables,
        Self::KernelTables,
        Self::Heap,
        Self::HeapAddresses,
        Self::Frames,
        Self::Console,
    ];
}
