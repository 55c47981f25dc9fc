//! Scheduling: the executor, timers, and what threads wait on.
//!
//! * [`Executor`]: run queues of futures, one a CPU. A thread of the program is one future.
//! * [`Timers`]: deadlines, in a heap a CPU. Time is passed in.
//! * [`WaitQueue`]: tasks that sleep until somebody wakes them.
//! * [`Notifier`], [`Observer`]: readiness of files ("you may read now"), for blocking calls and
//!   for epoll.
//! * [`FutexTable`]: futex(2) waiting, hashed by address.
//!
//! Nothing here reads a clock. Of the hardware, it asks which CPU it runs on, and calls others.
#![no_std]

extern crate alloc;

mod affinity;
mod executor;
mod futex;
mod readiness;
mod timers;
mod wait;

pub use affinity::Affinity;
pub use executor::{Executor, Shuffle, Spawner, yield_now};
pub use futex::{FutexTable, FutexWait};
pub use readiness::{Notifier, Observer, PollEvents, Ready, Registration, weak};
pub use timers::{Sleep, Timers};
pub use wait::{Wait, WaitQueue};
