//! The EFI stub: started by firmware, ends in the kernel.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
mod firmware;

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!("This program is started by UEFI: build it for x86_64-unknown-uefi, as egg does.");
    std::process::exit(2);
}
