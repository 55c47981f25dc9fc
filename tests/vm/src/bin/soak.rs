//! What takes too long for every run: load for minutes, and many boots in a row.
//!
//! `soak load [--minutes N] [--native] [EGG FLAG…]`: a web server under connections that come, go,
//! stall, misbehave and are reset. Fails when one that behaves is not answered, or when the machine
//! has less free memory at the end than after warming up.
//!
//! `soak boots [--times N] [EGG FLAG…]`: the machine is started N times; each must answer.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use vm_tests::build;
use vm_tests::load;
use vm_tests::vm::Mode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let (mut minutes, mut times, mut native, mut flags) = (10, 200, false, Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--minutes" => minutes = number(args.next())?,
            "--times" => times = number(args.next())?,
            "--native" => native = true,
            _ => flags.push(arg),
        }
    }
    let mode = if native { Mode::Native } else { Mode::Machine { egg: build::egg()?, flags } };
    match what.as_str() {
        "load" => load::load(&mode, Duration::from_secs(60 * minutes)),
        "boots" => load::boots(&mode, times),
        _ => bail!("usage: soak load [--minutes N] [--native] [FLAG…] | boots [--times N] [FLAG…]"),
    }
}

fn number(text: Option<String>) -> Result<u64> {
    text.context("a number is missing")?.parse().context("not a number")
}
