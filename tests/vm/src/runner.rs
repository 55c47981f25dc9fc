//! The command line of the tests: which tests, where, how many at once; one line a test and the
//! counts at the end.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::suite::{self, Set, Test};
use crate::vm::Mode;

const USAGE: &str = "\
usage: cargo test -p eggos-vm-tests -- [options] [NAME…]

Runs the tests whose names contain one of the NAMEs (all, if there is none).

  --set core|all    core: Go 1.16, 1.17 and the newest (default); all: every version, more sizes
  --native          run the programs on this Linux, without a machine
  --exact           NAMEs are whole names
  --skip TEXT       leave out the tests whose names contain the text (may be repeated)
  --list            only print the names
  --jobs N          tests at the same time (default: processors of the host, at most 2)
  --machine KIND    run in machines of that kind, those apart that choose theirs; process: on this host
  --egg FLAG        pass FLAG to every `egg run` (may be repeated), as in --egg --trace
";

struct Options {
    set: Set,
    native: bool,
    /// Tests that choose the kind of machine run too.
    any_machine: bool,
    exact: bool,
    list: bool,
    jobs: usize,
    names: Vec<String>,
    skip: Vec<String>,
    egg_flags: Vec<String>,
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    match parse(env::args().skip(1)).and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vm tests: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn parse(args: impl Iterator<Item = String>) -> Result<Options> {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut options = Options {
        set: Set::Core,
        native: false,
        any_machine: true,
        exact: false,
        list: false,
        jobs: processors.min(2),
        names: Vec::new(),
        skip: Vec::new(),
        egg_flags: Vec::new(),
    };
    let mut args = args.flat_map(|arg| match arg.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
        _ => vec![arg],
    });
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--set" => {
                options.set = match value()?.as_str() {
                    "core" => Set::Core,
                    "all" => Set::All,
                    other => bail!("--set {other}: core or all"),
                };
            }
            "--native" => options.native = true,
            "--exact" => options.exact = true,
            "--list" => options.list = true,
            "--jobs" | "--test-threads" => options.jobs = value()?.parse::<usize>()?.max(1),
            "--skip" => options.skip.push(value()?),
            "--egg" => options.egg_flags.push(value()?),
            "--machine" => {
                options.any_machine = false;
                options.egg_flags.extend(["--machine".to_owned(), value()?]);
            }
            "--help" | "-h" => {
                print!("{USAGE}");
                std::process::exit(0);
            }
            // What people are used to type after `cargo test --`.
            "--nocapture" | "--show-output" | "--quiet" | "-q" => {}
            flag if flag.starts_with('-') => bail!("unknown option {flag}\n{USAGE}"),
            _ => options.names.push(arg),
        }
    }
    Ok(options)
}

fn run(options: Options) -> Result<bool> {
    let mut tests: VecDeque<Test> = suite::all();
    // A test asked for by its whole name runs whatever its set.
    let named = |test: &Test| options.names.contains(&test.name);
    tests.retain(|test| {
        let matches = options.names.is_empty()
            || named(test)
            || (!options.exact && options.names.iter().any(|name| test.name.contains(name)));
        let skipped = options.skip.iter().any(|text| test.name.contains(text));
        matches
            && !skipped
            && (test.set <= options.set || named(test))
            && !(options.native && test.machine_only)
            && (options.any_machine || !test.own_machine)
    });
    if options.list {
        for test in &tests {
            println!("{}", test.name);
        }
        return Ok(true);
    }
    if tests.is_empty() {
        bail!("no test matches {:?}", options.names);
    }
    let mode = if options.native {
        Mode::Native
    } else {
        Mode::Machine { egg: build::egg()?, flags: options.egg_flags.clone() }
    };
    println!("running {} tests", tests.len());
    let started = Instant::now();
    let failures = run_all(tests, &mode, options.jobs);
    let Outcome { passed, failed } = failures;
    if !failed.is_empty() {
        println!("\nfailed:");
        for name in &failed {
            println!("    {name}");
        }
    }
    println!("\nin {:.0?}", started.elapsed());
    println!("{passed} passed, {} failed", failed.len());
    Ok(failed.is_empty())
}

#[derive(Default)]
struct Outcome {
    passed: usize,
    failed: Vec<String>,
}

fn run_all(tests: VecDeque<Test>, mode: &Mode, jobs: usize) -> Outcome {
    let queue = Mutex::new(tests);
    let outcome = Mutex::new(Outcome::default());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(test) = locked(&queue).pop_front() else { return };
                    let started = Instant::now();
                    let result = (test.run)(mode);
                    report(&test, result, started.elapsed(), &mut locked(&outcome));
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn report(test: &Test, result: Result<()>, took: Duration, outcome: &mut Outcome) {
    let seconds = took.as_secs_f64();
    match result {
        Ok(()) => {
            outcome.passed += 1;
            println!("ok     {} ({seconds:.1} s)", test.name);
        }
        Err(error) => {
            outcome.failed.push(test.name.clone());
            println!("FAILED {} ({seconds:.1} s)", test.name);
            let text = format!("{error:#}");
            for line in text.lines() {
                println!("       {line}");
            }
            if let Err(error) = keep(&test.name, &text) {
                println!("       (not kept: {error:#})");
            }
        }
    }
}

/// Keeps the text of a failure under `target/vm-logs`.
fn keep(name: &str, text: &str) -> Result<()> {
    let folder = build::target().join("vm-logs");
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(format!("{}.log", name.replace('/', "-"))), text)?)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
