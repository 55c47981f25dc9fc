//! `cargo run -p eggos-vm-tests --bin platforms [-- --few] [--minutes N]`: boots every image on every
//! machine that it is for and writes `docs/platforms.md`. `--few`: a quarter of that. `--minutes`: as
//! much as fits; the next run goes on.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use vm_tests::platforms::{self, Extent};

fn main() -> ExitCode {
    match extent().map(platforms::run) {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            eprintln!("platforms: {error:#}");
            ExitCode::from(2)
        }
        None => {
            eprintln!("platforms: only --few and --minutes N are known");
            ExitCode::from(2)
        }
    }
}

/// What the arguments ask for; `None`: they cannot be read.
fn extent() -> Option<Extent> {
    let mut extent = Extent { few: false, until: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--few" => extent.few = true,
            "--minutes" => {
                let minutes: u64 = arguments.next()?.parse().ok()?;
                extent.until = Instant::now().checked_add(Duration::from_secs(60 * minutes));
            }
            _ => return None,
        }
    }
    Some(extent)
}
