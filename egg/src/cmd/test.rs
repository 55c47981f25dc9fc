//! `egg test`.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::Context;
use bundle::config::Size;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};

use crate::cli::{ContentArgs, RunArgs, TestArgs};
use crate::cmd::run;
use crate::content::Content;
use crate::exit::{Code, Ended, Failure};
use crate::go;
use crate::host_files::Wish;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::returned::Returned;
use crate::testing;

/// Becomes `go test`, which comes back by [`run_program`] for each package. Returns only when that
/// fails.
pub(crate) fn test(args: &TestArgs) -> anyhow::Result<Ended> {
    testing::refuse(&args.words)?;
    let here = std::env::current_dir()?;
    let egg = std::env::current_exe().context("where egg itself lies")?;
    let mut args = args.clone();
    args.file.extend(time_zones(&args.words));
    let exec = testing::exec(&egg, &args, &here, &super::host())?;
    let error = go::command().args(testing::go_arguments(&args.words, &exec)).exec();
    Err(go::cannot_start(&error))
}

/// Where Go's own copy of the time zones lies, which programs fall back to: along it comes.
fn time_zones(words: &[String]) -> Option<String> {
    let mut command = go::command();
    command.args(["env", "GOROOT"]).current_dir(testing::folder(words).unwrap_or("."));
    let output = command.output().ok().filter(|output| output.status.success())?;
    let root = String::from_utf8(output.stdout).ok()?;
    let path = Path::new(root.trim()).join("lib/time/zoneinfo.zip");
    path.is_file().then(|| format!("{0}:{0}", path.display()))
}

/// Runs a test program in a machine, as `go test` would start it here: in the package's folder.
pub(crate) fn run_program(args: &TestArgs) -> anyhow::Result<Ended> {
    let Some((program, arguments)) = args.words.split_first() else {
        return Failure::err(Code::Usage, "no test program");
    };
    let (host, directory) = (super::host(), std::env::current_dir()?);
    let program = directory.join(program);
    let returns = testing::returns(arguments, &directory);
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let run_args = RunArgs {
        content: ContentArgs {
            target: Some(program.clone()),
            args: arguments.to_vec(),
            memory: args.memory,
            cpus: args.cpus,
            env: testing::environment(variables, &args.env),
            file: args.file.clone(),
            workdir: Some(text(&directory)?),
            kernel: args.kernel.clone(),
            // Go's own copy of the time zones is among the files already.
            zoneinfo: Wish::Off,
            certificates: Wish::Off,
            ..ContentArgs::default()
        },
        machine: args.machine,
        process_kernel: args.process_kernel.clone(),
        accel: args.accel,
        trace: args.trace,
        verbose: args.verbose,
        ..RunArgs::default()
    };
    let mut plan = Plan::of_run(&run_args, &host)?;
    plan.program = Some(text(&program)?);
    let mut content = Content::prepare(&plan)?;
    let sources = || testing::sources(&directory);
    for path in testing::bundled(&directory, &sources, &testing::is_small, &host) {
        let shown = path.display().to_string();
        content.tree.add_in_place(&path, &testing::is_skipped).context(shown)?;
    }
    for path in &returns {
        content.config.returns.push(text(path)?);
        // What go test made there for the program is there, too.
        if path.is_dir() {
            content.tree.add_in_place(path, &testing::is_skipped)?;
        } else if let Some(folder) = path.parent() {
            content.tree.folder(text(folder)?.as_bytes());
        }
    }
    let mut returned = Returned::new(returns);
    let files: usize = content.tree.files().map(|(_, bytes)| bytes).sum();
    let memory = Size { bytes: testing::MEMORY.bytes.saturating_add(files as u64) };
    let outcome = match run::start(&run_args, &content, memory, Some(&mut returned))? {
        Ok(outcome) => outcome,
        Err(ended) => return Ok(ended),
    };
    returned.finish()?;
    if let Outcome::Killed(number) = outcome {
        die_by(number);
    }
    run::ended(outcome)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}

/// Ends as the program did, for `go test` to see. Comes back from signals that do not end.
fn die_by(number: u8) {
    if let Ok(signal) = Signal::try_from(i32::from(number)) {
        // It is the program that failed: no core of egg.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        let _ = SigSet::from(signal).thread_unblock();
        // Rust's own handler of SIGSEGV and SIGBUS lets the first one pass.
        let _ = raise(signal);
        let _ = raise(signal);
    }
}
