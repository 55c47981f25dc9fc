//! The words every eggos crate shares: addresses, ids, time, errors, locks, byte streams and the
//! few traits through which policy meets devices.
//!
//! Nothing here knows Linux structures (see `abi`) or hardware (see `hal`).
#![no_std]

extern crate alloc;

pub mod address;
pub mod display;
pub mod errno;
pub mod id;
pub mod input;
pub mod io;
pub mod link;
pub mod room;
pub mod sort;
pub mod sync;
pub mod time;

pub use address::{PAGE_SIZE, PageRange, PhysAddr, UserAddr};
pub use errno::Errno;
pub use id::{CpuId, Fd, Pid, Signal, Tid};
pub use sort::sort;
pub use time::{Instant, WallTime};
