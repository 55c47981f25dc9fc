//! Runs programs in machines made by `egg run`, or the same programs on the Linux of the host, and
//! judges them by their exit status and by what real clients get from them; never by a log.
//!
//! - [`runner`]: command line, filters, parallel jobs, one line a test, the counts.
//! - [`suite`]: the catalogue: which tests there are.
//! - [`vm`]: one run of one program, in a machine or natively.
//! - [`build`]: Go programs by any Go version, C and Rust programs.
//! - [`load`]: load for minutes and many boots, for the `soak` command.
//! - [`platforms`]: which image boots on which machine.
//! - [`http`]: a small client for the ports that a machine forwards.

pub mod build;
pub mod http;
pub mod load;
mod monitor;
mod picture;
pub mod platforms;
pub mod process;
pub mod runner;
pub mod suite;
mod terminal;
mod viewer;
pub mod vm;
