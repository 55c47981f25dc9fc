//! `cargo run -p eggos-vm-tests --bin platforms [-- --few]`: boots every image on every machine that it
//! is for and writes `docs/platforms.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let few = std::env::args().any(|argument| argument == "--few");
    match vm_tests::platforms::run(few) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("platforms: {error:#}");
            ExitCode::from(2)
        }
    }
}
