//! The program's memory: what is mapped where, page faults, and copies to and from it.
//!
//! * [`Mm`] is the memory of the process: mmap and its relatives, [`Mm::fault`], user copies.
//! * [`MapRequest`] says what to map; [`Backing`] is a file as memory sees it.
//! * [`UserSink`] and [`UserSource`] are user memory as byte streams (read and write calls).
//!
//! Private pages live in the page tables only (`hal::space`); what is not there is made when it is
//! touched. So a reservation costs one entry in a tree, and dropping pages is unmapping them.
//!
//! Locks: one spin lock guards the tree. It is never held while a [`Backing`] is called, so the
//! order is file locks, then memory lock. A file must not hold the lock of its pages while it copies
//! to or from user memory: that memory may be a mapping of the same file.
#![no_std]

extern crate alloc;

mod advise;
mod backing;
mod brk;
mod copy;
mod fault;
mod forced;
mod io;
mod lock;
mod mapping;
mod memory;
mod protect;
mod query;
mod remap;
mod smaps;
#[cfg(test)]
mod tests;
mod tree;
mod vma;

pub use advise::Advice;
pub use backing::{Backing, FileIdentity, SharedMemory};
pub use fault::{FaultError, SegvCode};
pub use io::{MAXIMUM_TRANSFER, Piece, UserSink, UserSource};
pub use mapping::{Content, MapRequest, Placement};
pub use memory::{Layout, Mm};
pub use query::Statistics;
pub use vma::Label;

/// Lowest address that may be mapped (Linux's `vm.mmap_min_addr`): null pointers with small
/// offsets must fault.
pub const LOWEST_ADDRESS: base::UserAddr = base::UserAddr(0x1_0000);

/// Most mappings a process may have (Linux's `vm.max_map_count`).
pub const MAXIMUM_MAPPINGS: usize = 65_530;
