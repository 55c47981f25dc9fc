//! `egg test`: `go test` in machines says what `go test` says, with any Go; and the own tests of packages
//! that ask much of a kernel pass.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::build::{self, GoVersion};
use crate::suite::{Set, Test};
use crate::vm::Mode;

const PACKAGES: [&str; 6] = ["./pass", "./fails", "./panics", "./none", "./files", "./exits"];

pub(super) fn tests() -> Vec<Test> {
    let of = |version: GoVersion| {
        let set = if build::CORE.contains(&version) { Set::Core } else { Set::All };
        let run = move |mode: &Mode| same_as_go(mode, version);
        Test::new(format!("gotest/{version}"), set, run).in_machine()
    };
    let of_module = |(name, set, packages): (&str, Set, &'static [&str])| {
        let run = move |mode: &Mode| pass_in_machines(mode, packages);
        Test::new(format!("module/tests/{name}"), set, run).in_machine()
    };
    build::ALL.into_iter().map(of).chain(MODULES.into_iter().map(of_module)).collect()
}

/// Packages that ask more of a kernel than most, whose own tests pass in machines.
const MODULES: [(&str, Set, &[&str]); 4] = [
    ("sys", Set::Core, &["golang.org/x/sys/unix", "github.com/gofrs/flock"]),
    (
        "net",
        Set::Core,
        &[
            "golang.org/x/net/icmp",
            "golang.org/x/net/ipv4",
            "golang.org/x/net/ipv6",
            "golang.org/x/net/nettest",
        ],
    ),
    ("pty", Set::Core, &["github.com/creack/pty"]),
    ("fsnotify", Set::All, &["github.com/fsnotify/fsnotify"]),
];

/// Tests that start processes, and that root does not pass on Linux either.
const LEFT_OUT: &str = "TestPidfd|TestPassFD|TestAdd/permission_denied";

fn pass_in_machines(mode: &Mode, packages: &[&str]) -> Result<()> {
    let Mode::Machine { egg, .. } = mode else { return Ok(()) };
    let mut command = Command::new(egg);
    command.args(["test", "-v", "-p=1", "-timeout=10m", "-skip", LEFT_OUT]).args(packages);
    command.current_dir(build::root().join("go/modules/tests"));
    command.env("GOENV", "off").env("GOFLAGS", "").env("GOWORK", "off");
    command.env("GOTOOLCHAIN", format!("go{}", build::NEWEST)).env("CGO_ENABLED", "0");
    let output = command.output().context("run egg test")?;
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let failures = said.lines().filter(|line| line.trim_start().starts_with("--- FAIL"));
    let failed: Vec<_> = failures.collect();
    ensure!(output.status.success() && failed.is_empty(), "{failed:#?}\n{errors}\n{said}");
    let passed = said.lines().filter(|line| line.starts_with("--- PASS")).count();
    ensure!(passed >= packages.len(), "only {passed} passed:\n{said}");
    Ok(())
}

fn same_as_go(mode: &Mode, version: GoVersion) -> Result<()> {
    let Mode::Machine { egg, .. } = mode else { return Ok(()) };
    let output = |command: &mut Command| -> Result<Output> {
        command.current_dir(build::root().join("go/tests"));
        command.env("GOENV", "off").env("GOFLAGS", "").env("GOWORK", "off");
        command.env("GOTOOLCHAIN", format!("go{version}")).env("CGO_ENABLED", "0");
        command.output().with_context(|| format!("run {:?}", command.get_program()))
    };
    // An emulated machine on a busy host is given time.
    let flags = ["-v", "-p=1", "-timeout=5m", "-bench=.", "-benchtime=10x"];
    let ours = output(Command::new(egg).arg("test").args(flags).args(PACKAGES))?;
    let gos = output(Command::new("go").args(["test", "-count=1"]).args(flags).args(PACKAGES))?;
    let (our_lines, go_lines) = (lines(&ours.stdout), lines(&gos.stdout));
    let shown = String::from_utf8_lossy(&ours.stdout);
    ensure!(our_lines == go_lines, "{our_lines:#?}\nis not\n{go_lines:#?}\nof\n{shown}");
    ensure!(ours.status.code() == gos.status.code(), "{} is not {}", ours.status, gos.status);

    let folder = build::target().join("go-programs").join(version);
    fs::create_dir_all(&folder)?;
    let profile = folder.join("cover.out");
    let _ = fs::remove_file(&profile);
    let flag = format!("-coverprofile={}", profile.display());
    let covered = output(Command::new(egg).args(["test", &flag, "./pass"]))?;
    let text = fs::read_to_string(&profile).with_context(|| format!("{covered:?}"))?;
    ensure!(text.starts_with("mode: set\neggos.example/tests/pass/twice.go:"), "{text}");
    ensure!(covered.status.success(), "{covered:?}");
    Ok(())
}

/// What tests and Go say, without times.
fn lines(output: &[u8]) -> Vec<String> {
    const STARTS: [&str; 8] = ["ok", "FAIL", "?", "PASS", "---", "===", "    ", "panic:"];
    let untimed = |word: &str| {
        let number = word.trim_matches(['(', ')', 's']);
        if number.parse::<f64>().is_ok() { "N".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| line.split_whitespace().map(untimed).collect::<Vec<_>>().join(" ");
    let text = String::from_utf8_lossy(output);
    text.lines().filter(|row| STARTS.iter().any(|start| row.starts_with(start))).map(line).collect()
}
