//! Drives the Go toolchain: the user's own, as their PATH, GOTOOLCHAIN and GOFLAGS choose it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

use crate::exit::{Code, Failure};
use crate::plan::GoFlags;

const NO_GO: &str = "there is no `go` in PATH; install Go (https://go.dev/dl/ or `apt-get install golang-go`), or give egg a program that is already built";

/// Builds `package`, as seen from `directory`, for eggos, and gives the program. Go's own messages
/// go to standard error.
pub(crate) fn build(
    package: &str,
    directory: &Path,
    flags: &GoFlags,
    shown: &str,
) -> anyhow::Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let output = scratch.path().join("program");
    let status = command()
        .current_dir(directory)
        .arg("build")
        .arg("-o")
        .arg(&output)
        .args(&flags.0)
        .arg(package)
        .status();
    match status {
        Ok(status) if status.success() => Ok(fs::read(&output)?),
        Ok(_) => Failure::err(Code::Usage, format!("go build {shown} failed")),
        Err(error) => Err(cannot_start(&error)),
    }
}

/// The `go` command, to build for eggos.
pub(crate) fn command() -> Command {
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "0").env("GOOS", "linux").env("GOARCH", "amd64");
    command
}

/// What to tell when `go` could not be started.
pub(crate) fn cannot_start(error: &io::Error) -> anyhow::Error {
    let message = match error.kind() {
        ErrorKind::NotFound => NO_GO.to_owned(),
        _ => format!("cannot start go: {error}"),
    };
    Failure::of(Code::Usage, message)
}
