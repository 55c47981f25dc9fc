//! Where this package lies, for the build script of `egg`, which builds the kernel and embeds it.
#![no_std]

/// The folder of this package's manifest.
pub const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");
