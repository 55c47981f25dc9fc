//! Files: descriptors, paths, the in-memory file system, devices, /proc, pipes, eventfd, epoll.
#![no_std]

extern crate alloc;

pub mod file;
pub mod metadata;

pub use file::{File, FileRef, IoctlArgument};
pub use metadata::{FileType, Metadata};
