//! The EFI stub. One `.egg.efi` file holds it, the kernel and the archive, as sections of a PE image
//! (`egg build --format efi`); firmware starts it, and it starts the kernel in the state and with the
//! information of multiboot2, so that the kernel has one way in for GRUB and for UEFI.
//!
//! `src/main.rs` is what needs firmware. Here is what does not, and can be tested on the host:
//! [`sections`] finds the parts in the loaded image, [`kernel`] lays the kernel out, [`information`]
//! writes multiboot2's tags.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod information;
pub mod kernel;
pub mod sections;

/// Reads a little-endian number of `N` bytes, at most 8.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(N)?)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
