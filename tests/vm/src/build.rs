//! Builds the programs under test, with any Go version, and finds `egg`. Results lie under
//! `target/go-programs/<version>/`; Go's own cache makes a second build quick.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

/// A Go version, `1.16.15`.
pub type GoVersion = &'static str;

/// Every Go version that must work, oldest first.
pub const ALL: [GoVersion; 12] = [
    "1.16.15", "1.17.13", "1.18.10", "1.19.13", "1.20.14", "1.21.13", "1.22.12", "1.23.12",
    "1.24.9", "1.25.3", "1.26.8", "1.27.4",
];

/// The last stack-ABI version, the first register-ABI version and the newest.
pub const CORE: [GoVersion; 3] = ["1.16.15", "1.17.13", NEWEST];

/// The newest version.
pub const NEWEST: GoVersion = "1.27.4";

/// How a Go program is built, besides its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `go build`.
    Plain,
    /// `-buildmode=pie`.
    Pie,
    /// `-ldflags="-s -w"`: no symbols, no DWARF.
    Stripped,
}

impl Variant {
    /// The word that stands for it in a test's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pie => "pie",
            Self::Stripped => "stripped",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Pie => &["-buildmode=pie"],
            Self::Stripped => &["-ldflags=-s -w"],
        }
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds a package of `go/` (`programs/gc`, `examples/hello`, `modules/gin`) and returns the ELF.
pub fn go(package: &str, version: GoVersion, variant: Variant) -> Result<PathBuf> {
    let folder = root().join("go").join(package);
    let name = package.rsplit('/').next().unwrap_or(package);
    let name = match variant {
        Variant::Plain => name.to_owned(),
        other => format!("{name}-{}", other.name()),
    };
    let output = target().join("go-programs").join(version).join(name);
    fs::create_dir_all(output.parent().unwrap_or(&output))?;
    let mut command = Command::new("go");
    command
        .current_dir(&folder)
        .arg("build")
        .args(variant.flags())
        .arg("-o")
        .arg(&output)
        .arg(".")
        // GOENV=off: a user's own GOFLAGS or GOTOOLCHAIN=local would refuse old versions.
        .env("GOENV", "off")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("GOOS", "linux")
        .env("GOARCH", "amd64")
        .env("GOTOOLCHAIN", format!("go{version}"))
        .env("CGO_ENABLED", "0");
    succeed(command).with_context(|| format!("build {package} with Go {version}"))?;
    Ok(output)
}

/// Compiles files of `tests/vm/c` statically into a program named after the first.
pub fn c(files: &[&str], compiler: &str, flags: &[&str]) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("c");
    let name = files.first().map_or("program", |file| file.trim_end_matches(".c"));
    let output = program_path("c", &format!("{name}-{compiler}"))?;
    let mut command = Command::new(compiler);
    command.current_dir(folder).args(["-static", "-O2", "-Wall", "-Wextra"]);
    command.args(flags).arg("-o").arg(&output).args(files);
    succeed(command).with_context(|| format!("compile {name}"))?;
    Ok(output)
}

/// Compiles a Rust file of `tests/vm/rust` statically: with musl when that target is installed,
/// else with the C library of the host linked in.
pub fn rust(file: &str) -> Result<PathBuf> {
    const MUSL: &str = "x86_64-unknown-linux-musl";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("rust").join(file);
    let output = program_path("rust", file.trim_end_matches(".rs"))?;
    let probe =
        Command::new("rustc").args(["--print", "target-libdir", "--target", MUSL]).output()?;
    let library = String::from_utf8_lossy(&probe.stdout).trim().to_owned();
    let mut command = Command::new("rustc");
    if probe.status.success() && Path::new(&library).is_dir() {
        command.args(["--target", MUSL]);
    } else {
        command.args(["-C", "target-feature=+crt-static"]);
    }
    command.args(["--edition", "2024", "-O", "-o"]).arg(&output).arg(source);
    succeed(command).with_context(|| format!("compile {file}"))?;
    Ok(output)
}

fn program_path(kind: &str, name: &str) -> Result<PathBuf> {
    let folder = target().join("go-programs").join(kind);
    fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

/// True if the command can be found in PATH.
pub fn installed(command: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|paths| env::split_paths(&paths).any(|folder| folder.join(command).is_file()))
}

/// The `egg` command: the one that `EGG` names, or built here once.
pub fn egg() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = built.as_ref() {
        return Ok(path.clone());
    }
    let path = match env::var_os("EGG") {
        Some(path) => PathBuf::from(path),
        None => {
            let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command
                .current_dir(root())
                .args(["build", "--release", "--bin", "egg"])
                .args(["-p", "egg"]);
            succeed(command).context("build egg")?;
            target().join("release/egg")
        }
    };
    if !path.is_file() {
        bail!("{} is not there", path.display());
    }
    *built = Some(path.clone());
    Ok(path)
}

/// Runs a command to its end; its output is in the error if it fails.
pub fn succeed(mut command: Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{:?} failed ({}):\n{}{}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
