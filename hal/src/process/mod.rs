//! The kernel as an ordinary Linux process, for development and tests. No isolation is promised: the
//! program lies in the same address space and could write to the kernel.
//!
//! * A processor is a host thread ([`processor`]). In kernel code its system calls go to Linux; while
//!   it runs the program, Syscall User Dispatch turns each into SIGSYS ([`trap`]).
//! * Physical memory is a memfd ([`memory`]). A page of the program is a page of it, mapped at the
//!   program's own address. The host's mappings are only a cache of [`space`]'s table, as a TLB is.
//! * The timer and other threads interrupt by signals, which are blocked in kernel code; exceptions
//!   are signals too.
//! * Signal handlers run on the processor's own stack, and never return to the program: [`trap::enter`]
//!   returns instead, and RT_SIGRETURN goes back with the whole register file.

pub mod clock;
pub mod console;
pub mod cpu;
pub mod entropy;
pub mod host;
pub mod irq;
pub mod keyboard;
mod large;
pub mod memory;
mod panic;
pub mod power;
mod processor;
pub mod space;
mod trap;
pub mod user;
pub mod usercopy;
mod vector_state;
