//! Runs the tests of Go's standard library on this Linux and in machines, and compares them
//! function by function.
//!
//! The way of a run: [`prepare`] builds a package's test program and lays out its files, [`run`]
//! runs it in both places ([`linux`] is the yardstick; in rounds, by [`rounds`]), [`verdicts`] reads
//! what it says, [`results`] keeps it, [`page`] shows it.

mod linux;
mod page;
mod prepare;
mod results;
mod rounds;
mod run;
mod verdicts;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Runs Go's standard-library tests on Linux and in machines. Needs root.
#[derive(Parser, Debug)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Run packages, store what is seen; packages that are stored already are left out
    Run(RunArgs),
    /// Run packages anew, store nothing; what fails must have failed in the stored results
    Check(RunArgs),
    /// Write docs/go-compat.md from what is stored
    Page,
    /// Becomes a program that is confined as the yardstick wants it.
    #[command(hide = true)]
    Linux {
        /// More of its environment.
        #[arg(long)]
        env: Vec<String>,
        root: PathBuf,
        directory: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Becomes a command without this host's network.
    #[command(hide = true)]
    Alone {
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(clap::Args, Debug)]
struct RunArgs {
    /// Go version, such as 1.27.4
    #[arg(long, value_name = "VERSION")]
    go: String,
    /// The egg command
    #[arg(long, value_name = "FILE", env = "EGG", default_value = "target/release/egg")]
    egg: PathBuf,
    /// Kind of machine: microvm, q35 or process. What process shows is not the machine's result: it
    /// is stored with what is built
    #[arg(long, value_name = "KIND")]
    machine: Option<String>,
    /// Memory of the machine
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    memory: String,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: u32,
    /// Run the tests in full, which takes much longer
    #[arg(long)]
    full: bool,
    /// Run again what is stored
    #[arg(long)]
    again: bool,
    /// Only functions that match; nothing is stored
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Time on Linux; a machine gets twenty times as much, the process three times
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    limit: u64,
    /// Folder of the results [default: the one in the repository; with --machine: within target]
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// The packages that tell most
    #[arg(long, conflicts_with = "packages")]
    core: bool,
    /// Packages; all of them when none is named
    packages: Vec<String>,
}

/// What `make test` runs.
const CORE: [&str; 13] = [
    "sync",
    "io",
    "bufio",
    "bytes",
    "context",
    "time",
    "syscall",
    "os/signal",
    "internal/poll",
    "os",
    "net",
    "net/http",
    "runtime",
];

fn main() -> ExitCode {
    let result = match Cli::parse().action {
        Action::Run(args) => run(&args),
        Action::Check(args) => check(&args),
        Action::Page => write_page().map(|()| true),
        Action::Linux { env, root, directory, command } => {
            return never_ran(linux::become_confined(&root, &directory, &env, &command));
        }
        Action::Alone { command } => return never_ran(become_alone(&command)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gostd: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whoever becomes another program and comes back did not.
fn never_ran(result: Result<()>) -> ExitCode {
    if let Err(error) = result {
        eprintln!("gostd: {error:#}");
    }
    ExitCode::from(run::NEVER_RAN)
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

fn become_alone(command: &[String]) -> Result<()> {
    linux::leave_network()?;
    let (program, arguments) = command.split_first().context("no command")?;
    Err(Command::new(program).args(arguments).exec()).context(program.clone())
}

/// What a run needs to know.
struct Runner {
    settings: run::Settings,
    go: prepare::Go,
    packages: Vec<String>,
    /// What is made on the way lies here.
    work: PathBuf,
    /// The file of results.
    results: PathBuf,
    exceptions: Vec<results::Exception>,
}

impl Runner {
    fn new(args: &RunArgs, retries: usize) -> Result<Self> {
        let settings = run::Settings {
            egg: args.egg.canonicalize().with_context(|| args.egg.display().to_string())?,
            machine: args.machine.clone(),
            memory: args.memory.clone(),
            processors: args.cpus,
            short: !args.full,
            only: args.only.clone(),
            limit: Duration::from_secs(args.limit),
            retries,
        };
        let go = prepare::Go::find(&args.go, &root().join("go/tests"))?;
        let packages = match (args.core, args.packages.is_empty()) {
            (true, _) => CORE.map(str::to_owned).to_vec(),
            (false, true) => go.packages()?,
            (false, false) => args.packages.clone(),
        };
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| root().join("target"), PathBuf::from);
        let kind = args.machine.as_ref().map(|kind| format!("gostd-{kind}"));
        let work = target.join(kind.as_deref().unwrap_or("gostd"));
        // The repository keeps what the machine shows that everybody gets, nothing else.
        let theirs = || if kind.is_some() { work.join("results") } else { root().join(RESULTS) };
        let folder = args.results.clone().unwrap_or_else(theirs);
        let results = results::path(&folder, &args.go);
        let exceptions = results::exceptions(&root().join(EXCEPTIONS))?;
        Ok(Self { settings, go, packages, work, results, exceptions })
    }

    fn package(&self, name: &str) -> Result<results::Package> {
        let folder = self.work.join(&self.go.version).join(name.replace('/', "_"));
        run::package(&self.settings, &self.go, name, &folder)
    }

    /// The functions that failed, and may not by the exceptions.
    fn failed(&self, name: &str, package: &results::Package) -> Vec<String> {
        let excused =
            |test: &&String| results::is_excused(&self.exceptions, &self.go.version, name, test);
        package.failed.iter().filter(|test| !excused(test)).cloned().collect()
    }
}

fn report(name: &str, result: &results::Package, failed: &[String]) {
    println!(
        "{} {name}: {} passed, {} same, {} skipped, {} excused, {} failed: {}",
        if failed.is_empty() { "ok    " } else { "FAILED" },
        result.passed,
        result.same.len(),
        result.skipped,
        result.failed.len().saturating_sub(failed.len()),
        failed.len(),
        failed.join(" ")
    );
}

/// True when everything that passes on Linux passes in the machine, or is excused.
fn run(args: &RunArgs) -> Result<bool> {
    let runner = Runner::new(args, 0)?;
    let mut good = true;
    for name in &runner.packages {
        let stored = results::load(&runner.results)?;
        let known = stored.get(name).filter(|package| package.short == runner.settings.short);
        let result = match known {
            Some(package) if !args.again && args.only.is_none() => package.clone(),
            _ => {
                let result = runner.package(name)?;
                if args.only.is_none() {
                    // Read anew: another run may have stored something.
                    let mut stored = results::load(&runner.results)?;
                    stored.insert(name.clone(), result.clone());
                    results::store(&runner.results, &stored)?;
                }
                result
            }
        };
        let failed = runner.failed(name, &result);
        report(name, &result, &failed);
        good &= failed.is_empty();
    }
    Ok(good)
}

/// A busy host makes single tests fail that measure time: in a check they may try again.
const RETRIES: usize = 2;

/// True when nothing fails that did not fail in the stored results, and Linux passes about what it
/// passed then: it is the yardstick. The last line has the counts.
fn check(args: &RunArgs) -> Result<bool> {
    let runner = Runner::new(args, RETRIES)?;
    let stored = results::load(&runner.results)?;
    let (mut passed, mut worse) = (0, 0);
    for name in &runner.packages {
        let result = runner.package(name)?;
        let known = stored.get(name).map_or(&[][..], |package| &package.failed);
        let mut failed = runner.failed(name, &result);
        failed.retain(|test| !known.contains(test));
        report(name, &result, &failed);
        passed += result.passed;
        worse += failed.len();
        let before = stored.get(name).map_or(0, |package| package.passed);
        if (result.passed + result.failed.len()) * 10 < before * 9 {
            println!("FAILED {name}: of {before} functions fewer pass on Linux now");
            worse += 1;
        }
    }
    println!("{passed} passed, {worse} failed");
    Ok(worse == 0)
}

fn write_page() -> Result<()> {
    let (page, picture) = current_page()?;
    std::fs::write(root().join(PAGE), page)?;
    std::fs::write(root().join(PICTURE), picture)?;
    Ok(())
}

const PAGE: &str = "docs/go-compat.md";
const PICTURE: &str = "docs/go-compat.svg";
const RESULTS: &str = "tests/gostd/results";
const EXCEPTIONS: &str = "tests/gostd/exceptions.toml";

/// The page and its picture, from what is stored.
fn current_page() -> Result<(String, String)> {
    let folder = root().join(RESULTS);
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let Some(version) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        versions.push((version.to_owned(), results::load(&path)?));
    }
    let number = |version: &str| -> Vec<u32> {
        version.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(number(version)));
    let exceptions = results::exceptions(&root().join(EXCEPTIONS))?;
    Ok((page::page(&versions, &exceptions), page::picture(&versions, &exceptions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let read = |path| std::fs::read_to_string(root().join(path)).unwrap();
        assert!((read(PAGE), read(PICTURE)) == current_page().unwrap(), "write it with: make docs");
    }
}
