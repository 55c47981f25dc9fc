//! One package: built, run on Linux and in the machine, compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::linux;
use crate::prepare::{self, Go};
use crate::results::Package;
use crate::rounds;
use crate::verdicts::{self, Verdict};

/// How runs are made.
pub(crate) struct Settings {
    /// The `egg` command.
    pub(crate) egg: PathBuf,
    /// The kind of machine that `egg` runs, when it is not its own choice.
    pub(crate) machine: Option<String>,
    /// Memory and processors of the machine.
    pub(crate) memory: String,
    pub(crate) processors: u32,
    /// With `-test.short`.
    pub(crate) short: bool,
    /// Only functions that match, for looking into one; then nothing is stored.
    pub(crate) only: Option<String>,
    /// A run on Linux is given up after this time; one in a machine after [`Settings::slowness`]
    /// times as much.
    pub(crate) limit: Duration,
    /// What does not pass in the machine may try again so often, alone.
    pub(crate) retries: usize,
}

/// Emulation, beside other work.
const SLOWNESS: u32 = 20;
/// The kernel as a process of this host, whose system calls and faults are signals.
const SLOWNESS_OF_PROCESS: u32 = 3;
/// The emulated processor lacks AVX-512. Where this host has it, Go programs are told not to use it;
/// versions that do not know a feature by its name say so and go on.
const LESSER_PROCESSOR: &str = "GODEBUG=cpu.avx512f=off,cpu.avx512bw=off,cpu.avx512vl=off";

impl Settings {
    /// How much longer than on Linux a run may take.
    fn slowness(&self) -> u32 {
        if self.machine.as_deref() == Some("process") { SLOWNESS_OF_PROCESS } else { SLOWNESS }
    }
}
/// What a run exits with whose program could not be started, as `egg` does. No Go test program ends so.
pub(crate) const NEVER_RAN: u8 = 125;
/// A program is asked by its own time limit to end, before it is killed.
const GRACE: Duration = Duration::from_secs(60);

/// One package's runs; its logs and files lie in `folder`.
struct Runs<'a> {
    settings: &'a Settings,
    folder: &'a Path,
    root: PathBuf,
    program: String,
    directory: PathBuf,
}

/// Runs the tests of a package at both places. `folder` keeps the logs `linux-N.log` and
/// `machine-N.log`.
pub(crate) fn package(
    settings: &Settings,
    go: &Go,
    package: &str,
    folder: &Path,
) -> Result<Package> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let name = format!("{}.test", package.rsplit('/').next().unwrap_or(package));
    let root = folder.join("root");
    prepare::make_root(go, package, &root)?;
    go.build(package, &root.join("bin").join(&name))?;
    let runs = Runs {
        settings,
        folder,
        root,
        program: format!("/bin/{name}"),
        directory: go.folder(package),
    };
    let pattern = settings.only.as_deref().unwrap_or(".");
    let listed = runs.linux("list.log", &[format!("-test.list={pattern}")])?;
    let functions = verdicts::listed(&listed);
    let mut on_linux = runs.everything(&functions, Place::Linux)?;
    let passed = |name: &&String| on_linux.get(*name) == Some(&Verdict::Passed);
    let wanted: Vec<String> = on_linux.keys().filter(passed).cloned().collect();
    let mut in_machine =
        if wanted.is_empty() { BTreeMap::new() } else { runs.everything(&wanted, Place::Machine)? };
    runs.leave_out_by_processor(&mut on_linux, &in_machine)?;
    for retry in 1..=settings.retries {
        let failed = in_machine.iter().filter(|(name, verdict)| {
            **verdict != Verdict::Passed && on_linux.get(*name) == Some(&Verdict::Passed)
        });
        for name in failed.map(|row| row.0.clone()).collect::<Vec<_>>() {
            let arguments = runs.arguments(Place::Machine, Some(std::slice::from_ref(&name)));
            let said = runs.machine(&format!("retry-{retry}-{name}.log"), &arguments)?;
            in_machine.extend(verdicts::read(&said).verdicts);
        }
    }
    fs::remove_dir_all(&runs.root)?;
    Ok(Package::of(settings.short, &on_linux, &in_machine))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Linux,
    Machine,
}

impl Runs<'_> {
    fn everything(&self, functions: &[String], place: Place) -> Result<BTreeMap<String, Verdict>> {
        let mut round = 0;
        rounds::complete(functions, |wanted| {
            round += 1;
            // In the machine only what passes on Linux counts, from the first run on: what hangs
            // there need not hang here.
            let wanted = wanted.or((place == Place::Machine).then_some(functions));
            let arguments = self.arguments(place, wanted);
            match place {
                Place::Linux => self.linux(&format!("linux-{round}.log"), &arguments),
                Place::Machine => self.machine(&format!("machine-{round}.log"), &arguments),
            }
        })
    }

    /// A function that passes on Linux and leaves itself out in the machine may miss something of
    /// the processor there: it is asked again, on Linux, with what the emulated processor lacks
    /// switched off. What leaves itself out then, and only then, has not passed on Linux with the same
    /// processor.
    fn leave_out_by_processor(
        &self,
        on_linux: &mut BTreeMap<String, Verdict>,
        in_machine: &BTreeMap<String, Verdict>,
    ) -> Result<()> {
        let left_out = in_machine.iter().filter(|row| *row.1 == Verdict::Skipped);
        let names: Vec<String> = left_out.map(|row| row.0.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let arguments = self.arguments(Place::Linux, Some(&names));
        let lesser = self.linux_with("linux-lesser.log", &[LESSER_PROCESSOR], &arguments)?;
        let whole = self.linux_with("linux-whole.log", &[], &arguments)?;
        let [lesser, whole] = [lesser, whole].map(|said| verdicts::read(&said).verdicts);
        // The processor is the reason only when it makes the difference.
        for name in names {
            let ends = (lesser.get(&name), whole.get(&name));
            if ends == (Some(&Verdict::Skipped), Some(&Verdict::Passed)) {
                on_linux.insert(name, Verdict::Skipped);
            }
        }
        Ok(())
    }

    fn arguments(&self, place: Place, wanted: Option<&[String]>) -> Vec<String> {
        let limit = self.limit(place).as_secs();
        let mut arguments = vec!["-test.v".to_owned(), "-test.paniconexit0".to_owned()];
        arguments.push(format!("-test.timeout={limit}s"));
        arguments.extend(self.settings.short.then(|| "-test.short".to_owned()));
        let pattern = wanted.map(verdicts::pattern).or_else(|| self.settings.only.clone());
        arguments.extend(pattern.map(|pattern| format!("-test.run={pattern}")));
        arguments
    }

    fn limit(&self, place: Place) -> Duration {
        self.settings.limit * if place == Place::Machine { self.settings.slowness() } else { 1 }
    }

    fn linux(&self, log: &str, arguments: &[String]) -> Result<String> {
        self.linux_with(log, &[], arguments)
    }

    fn linux_with(&self, log: &str, more: &[&str], arguments: &[String]) -> Result<String> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("linux").args(more.iter().flat_map(|variable| ["--env", variable]));
        command.arg(&self.root).arg(&self.directory).arg("--").arg(&self.program);
        command.args(arguments);
        // What one run leaves behind, the next must not find.
        let output = self.run(command, log, self.limit(Place::Linux))?;
        let temporary = self.root.join("tmp");
        fs::remove_dir_all(&temporary)?;
        fs::create_dir(&temporary)?;
        Ok(output)
    }

    fn machine(&self, log: &str, arguments: &[String]) -> Result<String> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("alone").arg("--").arg(&self.settings.egg).arg("run");
        if let Some(kind) = &self.settings.machine {
            command.args(["--machine", kind]);
        }
        command.args(["--memory", &self.settings.memory]);
        command.args(["--cpus", &self.settings.processors.to_string()]);
        command.arg("--workdir").arg(&self.directory);
        command.arg("--file").arg(format!("{}:/", self.root.display()));
        for variable in linux::environment(&self.directory) {
            command.args(["--env", &variable]);
        }
        let program = self.root.join(self.program.trim_start_matches('/'));
        command.arg(program).arg("--").args(arguments);
        self.run(command, log, self.limit(Place::Machine))
    }

    /// Runs to the end, or to the limit, and gives the output, which the log keeps.
    fn run(&self, mut command: Command, log: &str, limit: Duration) -> Result<String> {
        let path = self.folder.join(log);
        let file = File::create(&path)?;
        let errors = file.try_clone()?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let mut child = command.spawn().context("start a run")?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > limit + GRACE {
                let group = Pid::from_raw(i32::try_from(child.id())?);
                killpg(group, Signal::SIGKILL)?;
                break child.wait()?;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        // A program that never ran says nothing against the machine, nor for it.
        let why = || said.lines().last().unwrap_or("it said nothing").to_owned();
        ensure!(status.code() != Some(i32::from(NEVER_RAN)), "{}: {}", path.display(), why());
        Ok(said)
    }
}
