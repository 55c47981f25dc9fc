//! Programs: from the bytes of an ELF file to what the kernel must map and the first stack.
//!
//! * [`parse`] checks a file and returns a [`Program`], or a [`LoadError`] that says in plain words
//!   what is wrong and what to do about it (the host command prints it).
//! * [`Program::plan`] says what to map where: pure data, carried out by the system-call layer.
//! * [`Program::relocations`]: Go's `-buildmode=pie` leaves relative relocations to the dynamic
//!   linker though it needs no library; the kernel applies them.
//! * [`stack::build`]: arguments, environment and auxiliary vector as the program finds them.
//! * [`vdso::build`]: the ELF image around the clock functions.
//!
//! Nothing here trusts the file: every read is checked, every sum is checked.
#![no_std]

extern crate alloc;

mod bytes;
mod dynamic;
mod error;
mod header;
mod plan;
mod program;
pub mod stack;
pub mod vdso;

#[cfg(test)]
mod tests;

pub use dynamic::{Relocation, Relocations};
pub use error::LoadError;
pub use plan::{Plan, Step};
pub use program::{Kind, Program, Segment, parse};
