//! The kernel's `main`: the order in which the machine comes up, on one screen.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bare;

#[cfg(target_os = "none")]
mod display;

#[cfg(target_os = "none")]
mod hardware;

#[cfg(eggos_process)]
mod process;

#[cfg(eggos_process)]
fn main() -> std::process::ExitCode {
    process::main()
}

#[cfg(not(any(target_os = "none", eggos_process)))]
fn main() {
    eprintln!("This program is a kernel: build it for x86_64-unknown-none and boot it with egg.");
    std::process::exit(2);
}
