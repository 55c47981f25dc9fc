//! The Linux system calls: what the program asks, decoded, decided and done.
//!
//! * [`process::Process`] and [`thread::Thread`]: what a call acts on.
//! * [`thread::run`]: the life of a thread: run the program, handle the trap, again.
//! * [`table`]: one row a call; each family of calls has its own file.
//! * [`call::Call`] and [`call::Outcome`]: how a handler gets its arguments and how it ends.
//!
//! A handler that can answer at once returns [`call::Outcome::Done`] and allocates nothing; one
//! that must sleep returns a future.
#![no_std]

extern crate alloc;

mod accounting;
pub mod call;
mod credentials;
pub mod directory;
pub mod dispatch;
pub mod epoll;
pub mod exec;
pub mod file_attributes;
pub mod file_control;
pub mod file_io;
pub mod file_open;
mod file_owner;
pub mod file_status;
pub mod file_transfer;
pub mod files;
pub mod futex2;
pub mod identity;
pub mod information;
mod io_counts;
mod load;
pub mod machine;
pub mod mapped_file;
pub mod memory;
mod memory_limit;
pub mod pidfd;
pub mod pipe;
pub mod poll;
mod prctl;
pub mod proc;
pub mod process;
pub mod random;
pub mod reboot;
pub mod scheduling;
pub mod signal;
pub mod signalfd;
pub mod signals;
pub mod socket;
mod socket_address;
mod socket_control;
mod socket_device;
mod socket_file;
mod socket_ioctl;
pub mod socket_message;
mod socket_multipath;
pub mod socket_option;
mod socket_option_foreign;
mod socket_option_inet;
mod socket_option_kept;
mod socket_option_tcp;
mod socket_proc;
mod socket_tcp_info;
mod socket_timestamp;
pub mod table;
pub mod thread;
pub mod threads;
pub mod time;
mod timer;
pub mod timers;
pub mod trace;
