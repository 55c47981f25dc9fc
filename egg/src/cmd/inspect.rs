//! `egg inspect`.

use bundle::Archive;
use bundle::config::Config;
use serde::Serialize;

use super::run;
use crate::cli::{ContentArgs, InspectArgs, MachineKind, RunArgs};
use crate::content::{self, Content};
use crate::elf::Report;
use crate::exit::{Code, Ended, Failure};
use crate::formats::open;
use crate::image::Image;
use crate::plan::DEFAULT_MEMORY;

/// What is printed.
#[derive(Serialize)]
struct Findings {
    file: String,
    /// `elf` for a program; `image`, or what `egg build --format` calls it.
    format: String,
    runs: bool,
    #[serde(flatten)]
    program: Report,
    image: Option<ImageFindings>,
}

/// What an image holds beside its program.
#[derive(Serialize)]
struct ImageFindings {
    /// What lies around the archive.
    parts: Vec<String>,
    settings: String,
    has_kernel: bool,
    files: Vec<FileFindings>,
}

#[derive(Serialize)]
struct FileFindings {
    path: String,
    bytes: usize,
}

/// Says what a file is. Ends with 126 when it will not run, so that scripts can ask.
pub(crate) fn inspect(args: &InspectArgs) -> anyhow::Result<Ended> {
    let Some(file) = &args.file else { return hardware(args) };
    let shown = file.display().to_string();
    let bytes = content::read(file)?;
    let cannot =
        |error: &dyn std::fmt::Display| Failure::of(Code::CannotRun, format!("{shown}: {error}"));
    let findings = if Archive::recognises(&bytes) {
        of_image(shown, "image".to_owned(), Vec::new(), &bytes)?
    } else if let Some(opened) = open::open(&bytes) {
        let archive = opened.archive.map_err(|error| cannot(&format_args!("{error:#}")))?;
        let format = opened.format.extension().to_owned();
        of_image(shown, format, opened.parts, &archive)?
    } else {
        let program = Report::of(&bytes).map_err(|error| cannot(&error))?;
        let runs = program.problems.is_empty();
        Findings { file: shown, format: "elf".to_owned(), runs, program, image: None }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print!("{}", text(&findings));
    }
    Ok(if findings.runs { Ended::SUCCESS } else { Ended(Code::CannotRun as u8) })
}

/// Boots a machine that says what it is made of.
fn hardware(args: &InspectArgs) -> anyhow::Result<Ended> {
    if args.machine == MachineKind::Process {
        return Failure::err(Code::Usage, "--machine process has no hardware of its own");
    }
    let InspectArgs { machine, memory, cpus, accel, dry_run, .. } = *args;
    let kernel = args.kernel.clone().filter(|path| !path.as_os_str().is_empty());
    let content = ContentArgs { memory, cpus, kernel, ..ContentArgs::default() };
    let page = Content::hardware(&content)?;
    let run_args = RunArgs { content, machine, accel, dry_run, ..RunArgs::default() };
    match run::start(&run_args, &page, DEFAULT_MEMORY, None)? {
        Ok(outcome) => run::ended(outcome),
        Err(ended) => Ok(ended),
    }
}

/// Findings on an image with this archive.
fn of_image(
    shown: String,
    format: String,
    parts: Vec<String>,
    archive: &[u8],
) -> anyhow::Result<Findings> {
    let cannot =
        |error: &dyn std::fmt::Display| Failure::of(Code::CannotRun, format!("{shown}: {error}"));
    let image = Image::parse(archive).map_err(|error| error.context(shown.clone()))?;
    let program = image.tree.contents(&image.config.program);
    let program = program.ok_or_else(|| {
        cannot(&format_args!("the image lacks its program {}", image.config.program))
    })?;
    let program = Report::of(program).map_err(|error| cannot(&error))?;
    let image = ImageFindings {
        // Around the archive there is always one.
        has_kernel: image.kernel.is_some() || format != "image",
        parts,
        settings: settings(&image.config),
        files: image.tree.files().map(|(path, bytes)| FileFindings { path, bytes }).collect(),
    };
    let runs = program.problems.is_empty();
    Ok(Findings { file: shown, format, runs, program, image: Some(image) })
}

fn settings(config: &Config) -> String {
    config
        .render()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn text(findings: &Findings) -> String {
    let program = &findings.program;
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("{name:<14} {value}\n"));
        }
    };
    row("file", &findings.file);
    row("format", &findings.format);
    row("machine", &program.machine);
    row(
        "linking",
        &match program.is_static {
            true => "static".to_owned(),
            false => format!("dynamic: needs {}", program.libraries.join(", ")),
        },
    );
    row("position", if program.pie { "independent (PIE)" } else { "fixed" });
    row("symbols", if program.stripped { "stripped" } else { "present" });
    row("memory", &format!("{} KiB of segments", program.memory.div_ceil(1024)));
    match &program.go {
        None => row("language", "not Go, or without build information"),
        Some(go) => {
            row("go", &go.version);
            row(
                "abi",
                &format!(
                    "{} (arguments in {})",
                    go.abi,
                    match go.abi {
                        "stack" => "memory, up to Go 1.16",
                        "register" => "registers, since Go 1.17",
                        _ => "an unknown way",
                    }
                ),
            );
            row("package", &go.path);
            row("module", &go.module);
            go.dependencies.iter().for_each(|dependency| row("dependency", dependency));
            go.settings.iter().for_each(|setting| row("setting", setting));
        }
    }
    if let Some(image) = &findings.image {
        image.parts.iter().for_each(|part| row("holds", part));
        row("kernel", if image.has_kernel { "within" } else { "none: egg's own is used" });
        image.settings.lines().for_each(|line| row("image", line));
        image
            .files
            .iter()
            .for_each(|file| row("contains", &format!("{} {}", file.bytes, file.path)));
    }
    if program.problems.is_empty() {
        row("runs", "yes");
    }
    program.problems.iter().for_each(|problem| row("runs", &format!("no: {problem}")));
    out
}
