//! Black-box tests of the built command. A shell script stands in for QEMU, so that every end of a
//! machine can be played, and nothing here needs QEMU or a kernel; `tests/vm` has the real ones.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod bad_input;
mod ends;
mod files;
mod stage;
mod testing;
