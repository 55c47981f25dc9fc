//! The kernel's upper half in one piece: the process, its files, its network and the loop that
//! runs them.
//!
//! The machine boots it (`kernel`), and so does the simulation (`tests/`): with virtual time, a
//! seeded order of tasks, a scripted program and a wire that loses frames.
#![no_std]

extern crate alloc;

mod console;
mod display;
mod go_environment;
mod inputs;
mod line;
mod network;
mod returned;
mod root;
mod start;
mod step;
mod target;

pub use console::Console;
pub use display::{Display, affords_image};
pub use inputs::Input;
pub use network::Link;
pub use start::{Parts, StartError, System, settings};
pub use step::Next;
pub use syscalls::process::ExitStatus;
