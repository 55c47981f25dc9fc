//! `cargo test -p eggos-vm-tests -- [options] [NAME…]`; see `tests/README.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vm_tests::runner::main()
}
