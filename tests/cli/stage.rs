//! A stage for one test: a folder with a stand-in QEMU, a dummy kernel and a dummy program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

pub(crate) struct Stage {
    directory: TempDir,
    /// Whether Go and the system's commands can be found too.
    system_path: bool,
}

/// What the script of a stand-in QEMU begins with: `$control` becomes the number of the descriptor
/// that egg hands over; the console is standard input and output.
const PROLOGUE: &str = r#"#!/bin/bash
for word in "$@"; do
  case "$word" in
    socket,id=control,fd=*) control="${word##*=}" ;;
  esac
done
tell() { printf '%s\n' "$@" >&"$control"; }
show() { printf '%s\n' "$@"; }
"#;

impl Stage {
    /// A stage on which QEMU does what the script says.
    pub(crate) fn with_qemu(script: &str) -> Self {
        let stage = Self { directory: tempfile::tempdir().unwrap(), system_path: true };
        fs::create_dir(stage.path("bin")).unwrap();
        fs::write(stage.path("kernel"), elf()).unwrap();
        fs::write(stage.path("program"), elf()).unwrap();
        stage.script("bin/qemu-system-x86_64", &format!("{PROLOGUE}{script}"));
        stage
    }

    /// A stage on which QEMU must not be started.
    pub(crate) fn without_machine() -> Self {
        Self::with_qemu("echo the machine was started >&2; exit 1")
    }

    /// Hides everything that is not on the stage.
    pub(crate) fn with_nothing_installed(mut self) -> Self {
        fs::remove_file(self.path("bin/qemu-system-x86_64")).unwrap();
        self.system_path = false;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The command, in the stage's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut path = self.path("bin").into_os_string();
        if self.system_path {
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap());
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_egg"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("EGG_KERNEL", self.path("kernel"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn egg(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdin(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn has_go(&self) -> bool {
        let found = Command::new("go").arg("version").output().is_ok();
        if !found {
            eprintln!("skipped: no go here");
        }
        found
    }
}

/// How the command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It failed with that code and exactly one line, which holds `part`.
    #[track_caller]
    pub(crate) fn one_line(&self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("egg: ") && self.stderr.contains(part), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

/// The smallest static ELF file that passes for a program, and for a kernel: one segment, for
/// x86-64, that only traps.
pub(crate) fn elf() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let code = [0x0f_u8, 0x0b];
    let size = 64 + 56 + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([BASE + 64 + 56, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend([0; 4]);
    elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    elf.extend([0, BASE, BASE, size, size, 4096].map(u64::to_le_bytes).concat());
    elf.extend(code);
    elf
}

/// Waits until the file has contents, and gives them.
pub(crate) fn wait_for(path: &Path) -> String {
    for _ in 0..1000 {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} stayed empty", path.display());
}
