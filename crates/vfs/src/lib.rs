//! Files: descriptors, paths, the in-memory file system, devices, /proc, pipes, eventfd, epoll.
//!
//! * [`File`]: what a descriptor leads to; [`Inode`]: a file with a place in the tree.
//! * [`Vfs`]: the tree of mounts, path look-up, and the calls that change names.
//! * [`OpenFile`] and [`FdTable`]: open file descriptions and descriptors.
//! * [`access`]: who may do what.
//! * [`memory`]: the file system in memory; [`archive`]: its start from the boot archive.
//! * [`pseudo`]: /proc and /sys; [`dev`]: /dev; [`tty`]: the console.
//! * [`pipe`], [`eventfd`], [`timerfd`], [`epoll`], [`inotify`]: files without a path.
//!
//! Nothing here sleeps: a file that cannot go on says `EAGAIN`, and its notifier tells when to
//! try again.
#![no_std]

extern crate alloc;

pub mod access;
pub mod anonymous;
pub mod archive;
pub mod attributes;
pub mod dev;
pub mod device;
mod entry;
pub mod epoll;
pub mod eventfd;
pub mod extras;
pub mod file;
pub mod flags;
pub mod framebuffer;
pub mod inode;
pub mod inotify;
pub mod input;
pub mod locks;
pub mod memory;
pub mod metadata;
mod names;
pub mod open;
mod opening;
pub mod path;
pub mod pipe;
pub mod pseudo;
pub mod table;
pub mod timerfd;
pub mod tree;
pub mod tty;

pub use access::Who;
pub use epoll::Epoll;
pub use file::{File, FileRef, IoctlArgument, KernelArgument};
pub use flags::{OpenFlags, RenameFlags, Whence};
pub use inode::{FileSystem, FileSystemStatistics, Inode, InodeId, InodeRef, Place};
pub use metadata::{FileType, Metadata};
pub use open::OpenFile;
pub use path::At;
pub use pseudo::{Interface, ProcFile, ProcSource};
pub use table::FdTable;
pub use tree::{Found, Vfs};
