//! From a plan to what is booted: builds or reads the program, makes settings and files of it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use bundle::config::{Config, Size};
use bundle::{Archive, Metadata};

use crate::cli::ContentArgs;
use crate::elf::Report;
use crate::exit::{Code, Failure};
use crate::go;
use crate::host_files;
use crate::image::{Image, Tree};
use crate::kernel::Kernel;
use crate::plan::{Plan, Target};
use crate::stripped::loadable_part;

/// Everything that a machine boots from.
pub(crate) struct Content {
    pub(crate) kernel: Kernel,
    pub(crate) config: Config,
    pub(crate) tree: Tree,
    /// Memory that the program's own data needs, in bytes.
    private_memory: u64,
}

/// In a machine with less memory, the image goes without what is never loaded of the program.
const SMALL: Size = Size::from_mebibytes(32);

/// What the kernel needs for itself beyond its image, and a small program for its stacks and heap:
/// less than this cannot work.
const OVERHEAD: u64 = 3 << 20;

impl Content {
    /// Does what the plan says.
    pub(crate) fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        let built = |package: &str, directory: &Path, shown: &str| {
            let bytes = go::build(package, directory, &plan.go, shown)?;
            Self::of_program(plan, shown, bytes, None)
        };
        let here = Path::new(".");
        let mut content = match &plan.target {
            Target::Package(package) => built(package, here, package)?,
            Target::Folder(path) => built(".", path, &path.to_string_lossy())?,
            Target::Source(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                built(&name, folder.unwrap_or(here), &path.to_string_lossy())?
            }
            Target::File(path) => Self::of_file(plan, path)?,
        };
        content.tree.add(&plan.files)?;
        Ok(content)
    }

    /// The page that says what the machine is made of, in place of a program.
    pub(crate) fn hardware(args: &ContentArgs) -> anyhow::Result<Self> {
        let config = Config {
            program: "/hardware".to_owned(),
            hardware: true,
            memory: args.memory,
            cpus: args.cpus,
            console: args.console.unwrap_or(Config::default().console),
            ..Config::default()
        };
        let kernel = Kernel::choose(args.kernel.as_deref(), false)?;
        Ok(Self { kernel, config, tree: Tree::default(), private_memory: 0 })
    }

    fn of_file(plan: &Plan, path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let bytes = read(path)?;
        if Archive::recognises(&bytes) {
            let image = Image::parse(&bytes).map_err(|error| error.context(shown.clone()))?;
            return Self::of_image(plan, &shown, image);
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self::of_program(plan, &shown, bytes, name)
    }

    fn of_program(
        plan: &Plan,
        shown: &str,
        bytes: Vec<u8>,
        name: Option<String>,
    ) -> anyhow::Result<Self> {
        let report = runnable(shown, &bytes)?;
        let name = name.or_else(|| package_name(&report)).unwrap_or_else(|| "program".to_owned());
        let config = plan.settings_for_program(&name);
        let mut tree = Tree::base(&config.hostname);
        host_files::add(&mut tree, &bytes, plan.host_files)?;
        tree.file(config.program.as_bytes(), Metadata::root(0o755), bytes);
        let kernel = Kernel::choose(plan.kernel.as_deref(), plan.process)?;
        Ok(Self { kernel, config, tree, private_memory: report.private_memory })
    }

    /// What an image of its own holds.
    pub(crate) fn of_image(plan: &Plan, shown: &str, image: Image) -> anyhow::Result<Self> {
        let private_memory = match image.tree.contents(&image.config.program) {
            Some(program) => runnable(shown, program)?.private_memory,
            None if image.config.hardware => 0,
            None => {
                let program = &image.config.program;
                let problem = format!("{shown}: the image lacks its program {program}");
                return Failure::err(Code::CannotRun, problem);
            }
        };
        let kernel = match (&plan.kernel, image.kernel) {
            (None, Some(elf)) if !plan.process => {
                Kernel::from_bytes(elf).map_err(|error| error.context(shown.to_owned()))?
            }
            (path, _) => Kernel::choose(path.as_deref(), plan.process)?,
        };
        Ok(Self { kernel, config: plan.settings(image.config), tree: image.tree, private_memory })
    }

    /// The archive to boot with so much memory. It stays in memory as a whole, so a small machine
    /// gets the program without its symbols and debug information: a quarter to a third of what
    /// `go build` writes, which Go's own traces do not need. `self` keeps them, to name callers.
    pub(crate) fn archive(&self, memory: Size) -> anyhow::Result<Vec<u8>> {
        if memory.bytes >= SMALL.bytes {
            return self.tree.archive(&self.config, None);
        }
        let mut tree = self.tree.clone();
        tree.change(&self.config.program, |elf| loadable_part(elf).ok());
        tree.archive(&self.config, None)
    }

    /// Says so when the machine would be too small: a lower bound, so what passes may still not
    /// be enough.
    pub(crate) fn check_memory(&self, memory: Size, archive: &[u8]) -> anyhow::Result<()> {
        let needed = [self.kernel.memory(), archive.len() as u64, self.private_memory, OVERHEAD]
            .into_iter()
            .fold(0, u64::saturating_add);
        if memory.bytes >= needed {
            return Ok(());
        }
        let (needed, program) = (Size { bytes: needed }.mebibytes(), &self.config.program);
        Failure::err(
            Code::Usage,
            format!(
                "{memory} of memory are too little for {program}: it needs at least {needed}M; give more with -m {needed}M"
            ),
        )
    }
}

/// Reads a file that the user named.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let shown = path.display();
        match error.kind() {
            ErrorKind::NotFound => Failure::of(Code::NotFound, format!("there is no file {shown}")),
            ErrorKind::IsADirectory => Failure::of(Code::CannotRun, format!("{shown} is a folder")),
            _ => Failure::of(Code::CannotRun, format!("{shown}: {error}")),
        }
    })
}

/// The report on a program, if it will run.
fn runnable(shown: &str, bytes: &[u8]) -> anyhow::Result<Report> {
    let cannot = |why: String| Failure::of(Code::CannotRun, format!("{shown}: {why}"));
    let report = Report::of(bytes).map_err(|error| cannot(error.to_string()))?;
    match report.problems.first() {
        None => Ok(report),
        Some(problem) => Err(cannot(problem.clone())),
    }
}

/// The last element of the import path, as `go install` names programs; a version suffix such as
/// `/v2` does not count.
fn package_name(report: &Report) -> Option<String> {
    let path = &report.go.as_ref()?.path;
    let is_version =
        |part: &str| part.strip_prefix('v').is_some_and(|digits| digits.parse::<u32>().is_ok());
    let name = path.rsplit('/').find(|part| !part.is_empty() && !is_version(part))?;
    // `command-line-arguments` is what Go calls source files without a package path.
    (name != "command-line-arguments").then(|| name.to_owned())
}
