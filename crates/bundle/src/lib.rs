//! The image format: `egg` writes it, the kernel reads it.
//!
//! An image is one `newc` cpio archive (cpio(5)), so `cpio -t` and every other standard tool
//! lists and unpacks it. Two rules of ours stay inside that format:
//!
//! * the data of each file of at least one page starts on a page boundary, so the kernel can map
//!   it where it lies. The entry's name is padded with NUL bytes up to there.
//! * the first entry is [`config::PATH`], the settings of the machine as text.
//!
//! What follows the data in its last page is the next header, not zeros: whoever maps a file in
//! place copies its last partial page.
//!
//! Key types: [`Archive`] and [`Entry`] to read, [`Writer`] to write, [`config::Config`].
#![no_std]

extern crate alloc;

mod checksum;
pub mod config;
mod header;
mod reader;
mod writer;

pub use checksum::checksum;
pub use header::{Kind, Metadata};
pub use reader::{Archive, ArchiveError, Entries, Entry};
pub use writer::{WriteError, Writer};

/// Where a self-contained image holds the kernel that boots it.
pub const KERNEL_PATH: &str = "boot/kernel";
