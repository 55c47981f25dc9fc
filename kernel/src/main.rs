//! The kernel's `main`: the order in which the machine comes up, on one screen.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bare;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program is a kernel: build it for x86_64-unknown-none and boot it with egg.");
    std::process::exit(2);
}
