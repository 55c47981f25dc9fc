//! Embeds the kernel: builds it for bare metal with a cargo of its own and hands the stripped ELF
//! and its symbols to the crate; then once more, as a program for this host (`--machine process`), and
//! the EFI stub.
//!
//! `EGG_KERNEL=FILE` at build time embeds that ELF instead of the first; `EGG_KERNEL=none` embeds
//! nothing, for checks that only look at the code (the command then needs `--kernel`).

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/stripped.rs"]
mod stripped;
#[path = "src/symbols.rs"]
#[expect(dead_code, reason = "the command looks names up, this script only collects them")]
mod symbols;

const TARGET: &str = "x86_64-unknown-none";
const PROFILE: &str = "kernel";
/// The one list of compiler flags for the kernel. `chacha20`, `sha2` and `aes` must not choose
/// vector code at run time: it would corrupt the program's registers. Functions of the same instructions
/// (a collection's, for two kinds of pointers) are linked once; a trace names them by either name, and
/// no code here compares addresses of functions.
const FLAGS: [&str; 9] = [
    "-Crelocation-model=static",
    "-Cforce-frame-pointers=yes",
    "-Clink-arg=--icf=all",
    "--cfg",
    "chacha20_backend=\"soft\"",
    "--cfg",
    "sha2_backend=\"soft\"",
    "--cfg",
    "aes_force_soft",
];

/// The EFI stub (`hal/efi`), which `egg build --format efi` puts before the kernel.
const STUB: Nested = Nested {
    package: "eggos-efi",
    manifest: "../hal/efi/Cargo.toml",
    binary: "stub",
    file: "stub.efi",
    target: "x86_64-unknown-uefi",
    profile: "efi",
    flags: &["-Clink-arg=/DEBUG:NONE", "-Clink-arg=/Brepro"],
};

/// The kernel for bare metal.
const KERNEL: Nested = Nested {
    package: "eggos-kernel",
    manifest: "../kernel/Cargo.toml",
    binary: "kernel",
    file: "kernel",
    target: TARGET,
    profile: PROFILE,
    flags: &FLAGS,
};

/// The same as a program for this host.
const PROCESS: Nested =
    Nested { target: PROCESS_TARGET, profile: PROCESS_PROFILE, flags: &PROCESS_FLAGS, ..KERNEL };

/// A program that another cargo builds for another target.
struct Nested {
    package: &'static str,
    /// From this package's folder.
    manifest: &'static str,
    binary: &'static str,
    /// The binary's file.
    file: &'static str,
    target: &'static str,
    profile: &'static str,
    flags: &'static [&'static str],
}

/// The host on which the kernel can be a process.
const PROCESS_TARGET: &str = "x86_64-unknown-linux-gnu";
const PROCESS_PROFILE: &str = "process";
/// Chooses that backend of `hal`.
const PROCESS_FLAGS: [&str; 3] = ["-Cforce-frame-pointers=yes", "--cfg", "eggos_process"];

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("cargo::rerun-if-env-changed=EGG_KERNEL");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/symbols.rs");
    println!("cargo::rerun-if-changed=src/stripped.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let elf = match env::var_os("EGG_KERNEL") {
        Some(path) if path == "none" || path.is_empty() => Vec::new(),
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(path)?
        }
        None => KERNEL.build(&out)?,
    };
    let has_process = !elf.is_empty() && env::var("TARGET")? == PROCESS_TARGET;
    let process = match has_process {
        true => PROCESS.build(&out)?,
        false => Vec::new(),
    };
    fs::write(out.join("process.elf"), process)?;
    let stub = if elf.is_empty() { Vec::new() } else { STUB.build(&out)? };
    fs::write(out.join("stub.efi"), stub)?;
    let (kernel, names) = if elf.is_empty() {
        (Vec::new(), String::new())
    } else {
        let rows = symbols::Symbols::from_elf(&elf)?.rows;
        let lines = rows.iter().map(|(address, name)| format!("{address:x} {name}\n"));
        (stripped::loadable_part(&elf)?, lines.collect())
    };
    fs::write(out.join("kernel.elf"), kernel)?;
    fs::write(out.join("kernel.symbols"), names)?;
    Ok(())
}

impl Nested {
    fn build(&self, out: &Path) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(self.manifest);
        if !target_is_installed(self.target)? {
            let target = self.target;
            println!("cargo::error=a Rust target is missing; run: rustup target add {target}");
            return Err(format!("no Rust target for {}", self.package).into());
        }
        let target_directory = out.join("kernel-target");
        let mut cargo = Command::new(env::var("CARGO")?);
        cargo
            .args(["build", "--package", self.package, "--bin", self.binary, "--quiet"])
            .args(["--target", self.target, "--profile", self.profile])
            .arg("--manifest-path")
            .arg(&manifest)
            .arg("--target-dir")
            .arg(&target_directory);
        // The outer build's settings are for the host.
        for (name, _) in env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            let of_cargo = name.starts_with("CARGO_")
                && !matches!(name, "CARGO_HOME" | "CARGO_NET_OFFLINE" | "CARGO_BUILD_JOBS");
            if of_cargo || matches!(name, "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER")
            {
                cargo.env_remove(name);
            }
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.flags.join("\u{1f}"));
        if env::var("PROFILE")? == "debug" {
            // While egg itself is a debug build, a kernel that is built soon is worth more than one
            // that is a little faster.
            let quick = [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("INCREMENTAL", "true")];
            for (setting, value) in quick {
                let profile = self.profile.to_uppercase();
                cargo.env(format!("CARGO_PROFILE_{profile}_{setting}"), value);
            }
        }
        let status = cargo.status()?;
        if !status.success() {
            return Err(format!("{} does not build ({status})", self.package).into());
        }
        let built = target_directory.join(self.target).join(self.profile).join(self.file);
        watch_sources(&built.with_extension("d"))?;
        Ok(fs::read(built)?)
    }
}

/// Asks rustc rather than rustup: distributions ship Rust without it.
fn target_is_installed(target: &str) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let output = Command::new(env::var("RUSTC")?)
        .args(["--print", "target-libdir", "--target", target])
        .output()?;
    Ok(output.status.success() && Path::new(String::from_utf8(output.stdout)?.trim()).exists())
}

/// Has cargo run this script again when a file changes that the kernel was made from.
fn watch_sources(dependencies: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let text = fs::read_to_string(dependencies)?;
    let sources = text.split_once(": ").map_or("", |(_, sources)| sources);
    // Spaces within a path are written `\ `.
    for path in sources.trim().replace("\\ ", "\0").split_whitespace() {
        println!("cargo::rerun-if-changed={}", path.replace('\0', " "));
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    println!("cargo::rerun-if-changed={}", workspace.join("Cargo.lock").display());
    println!("cargo::rerun-if-changed={}", workspace.join("Cargo.toml").display());
    Ok(())
}
