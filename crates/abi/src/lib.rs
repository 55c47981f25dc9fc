//! Linux facts: system-call numbers, flags and structures, and nothing else.
#![no_std]

pub mod file;
pub mod mman;
pub mod number;
pub mod time;

pub use base::Errno;
/// Constants and structures of the Linux headers, as `linux-raw-sys` generates them.
pub use linux_raw_sys as raw;
