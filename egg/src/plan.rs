//! From arguments to a plan: what is to be run and with which settings. Pure; what must be known
//! of the host comes in as [`Host`].

use std::path::{Path, PathBuf};

use bundle::config::{Config, Console, Keymap, Size, Window};

use crate::cli::{ContentArgs, MachineKind, RunArgs};
use crate::exit::{Code, Failure};
use crate::host_files::HostFiles;

/// What the plan needs to know of the host.
pub(crate) struct Host<'a> {
    /// A variable of `egg`'s environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// What lies at a path.
    pub(crate) at: &'a dyn Fn(&Path) -> PathKind,
    /// Standard input and output are a terminal that `egg` may use.
    pub(crate) terminal: bool,
    /// The size of its window.
    pub(crate) window: Option<Window>,
}

/// What lies at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PathKind {
    File,
    Directory,
    Nothing,
}

/// What is to become a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// For `go build`: a package by its import path or a pattern.
    Package(String),
    /// For `go build`: the package in a folder, which may be a module of its own, so Go is started
    /// there.
    Folder(PathBuf),
    /// For `go build`: a file of Go source.
    Source(PathBuf),
    /// An ELF file or an image.
    File(PathBuf),
}

/// A file or folder of the host that goes into the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileMapping {
    /// Path on the host.
    pub(crate) host: PathBuf,
    /// Absolute path in the machine.
    pub(crate) guest: String,
}

/// Flags that `go build` gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct GoFlags(pub(crate) Vec<String>);

/// What goes into the image, and how it differs from what the program's own image says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) go: GoFlags,
    pub(crate) files: Vec<FileMapping>,
    pub(crate) host_files: HostFiles,
    pub(crate) kernel: Option<PathBuf>,
    /// Where a program that comes without settings lies in the machine; else in /bin.
    pub(crate) program: Option<String>,
    /// The kernel runs as a process of the host.
    pub(crate) process: bool,
    args: Vec<String>,
    env: Vec<String>,
    workdir: Option<String>,
    memory: Option<Size>,
    cpus: Option<u32>,
    console: Option<Console>,
    keymap: Option<Keymap>,
    restart_on_panic: bool,
    trace: bool,
    verbose: bool,
    terminal: Option<String>,
    window: Option<Window>,
}

/// Memory of a machine when nobody says.
pub(crate) const DEFAULT_MEMORY: Size = Size::from_mebibytes(256);

impl Plan {
    /// The plan of `egg run`.
    pub(crate) fn of_run(args: &RunArgs, host: &Host<'_>) -> anyhow::Result<Self> {
        let mut plan = Self::of_content(&args.content, host)?;
        plan.trace = args.trace;
        plan.verbose = args.verbose;
        plan.process = args.machine == MachineKind::Process;
        if plan.process {
            plan.kernel = path_given(&args.process_kernel);
        }
        if host.terminal {
            plan.terminal = Some((host.variable)("TERM").unwrap_or_else(|| "dumb".to_owned()));
            plan.window = host.window;
        }
        Ok(plan)
    }

    /// The plan of `egg build`.
    pub(crate) fn of_content(args: &ContentArgs, host: &Host<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            target: target(args.target.as_deref(), host)?,
            go: go_flags(args),
            files: args
                .file
                .iter()
                .map(|text| file_mapping(text, host))
                .collect::<Result<_, _>>()?,
            host_files: HostFiles { zoneinfo: args.zoneinfo, certificates: args.certificates },
            kernel: path_given(&args.kernel),
            program: None,
            args: args.args.clone(),
            env: environment(&args.env, host)?,
            workdir: args.workdir.as_deref().map(workdir).transpose()?,
            memory: args.memory,
            cpus: args.cpus,
            console: args.console,
            keymap: args.keymap,
            restart_on_panic: args.restart_on_panic,
            process: false,
            trace: false,
            verbose: false,
            terminal: None,
            window: None,
        })
    }

    /// Settings for a program that comes without any, to be called `/bin/NAME` if nothing else is
    /// said.
    pub(crate) fn settings_for_program(&self, name: &str) -> Config {
        let program = self.program.clone().unwrap_or_else(|| format!("/bin/{name}"));
        let base = Config {
            args: vec![program.clone()],
            program,
            env: vec!["PATH=/bin".to_owned(), "HOME=/root".to_owned()],
            ..Config::default()
        };
        self.settings(base)
    }

    /// Settings of an image, with what the command line says on top.
    pub(crate) fn settings(&self, base: Config) -> Config {
        let mut config = base;
        if !self.args.is_empty() {
            config.args.truncate(1);
            config.args.extend(self.args.iter().cloned());
        }
        if let Some(terminal) = &self.terminal {
            set_variable(&mut config.env, &format!("TERM={terminal}"));
        }
        for variable in &self.env {
            set_variable(&mut config.env, variable);
        }
        if let Some(workdir) = &self.workdir {
            config.workdir.clone_from(workdir);
        }
        config.memory = self.memory.or(config.memory);
        config.cpus = self.cpus.or(config.cpus);
        config.console = self.console.unwrap_or(config.console);
        config.keymap = self.keymap.unwrap_or(config.keymap);
        config.restart_on_panic |= self.restart_on_panic;
        config.trace |= self.trace;
        config.verbose |= self.verbose;
        config.tty = self.terminal.is_some();
        config.window = self.window;
        config
    }
}

/// A variable that is set to nothing gives no path.
fn path_given(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}

fn target(target: Option<&Path>, host: &Host<'_>) -> anyhow::Result<Target> {
    let path = target.unwrap_or_else(|| Path::new("."));
    let is_source = path.extension().is_some_and(|extension| extension == "go");
    let kind = (host.at)(path);
    if kind == PathKind::Directory {
        return Ok(Target::Folder(path.to_owned()));
    }
    if kind == PathKind::File {
        let path = path.to_owned();
        return Ok(if is_source { Target::Source(path) } else { Target::File(path) });
    }
    let text = path.to_string_lossy();
    let local = text.starts_with(['/', '.']);
    // Go's patterns, and import paths, which begin with a host name.
    if text.ends_with("...") || (!local && !is_source && text.contains(['/', '.'])) {
        return Ok(Target::Package(text.into_owned()));
    }
    Failure::err(Code::NotFound, format!("there is no file or Go package `{text}`"))
}

fn go_flags(args: &ContentArgs) -> GoFlags {
    let valued = [("-tags", &args.tags), ("-ldflags", &args.ldflags), ("-gcflags", &args.gcflags)];
    let given = valued.into_iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(format!("{name}={value}"))
    });
    GoFlags(given.chain(args.trimpath.then(|| "-trimpath".to_owned())).collect())
}

fn workdir(text: &str) -> anyhow::Result<String> {
    if !text.starts_with('/') {
        let message = format!("--workdir {text}: want an absolute path in the machine");
        return Failure::err(Code::Usage, message);
    }
    Ok(text.to_owned())
}

/// Reads the value of `--file`.
pub(crate) fn file_mapping(text: &str, at: &Host<'_>) -> anyhow::Result<FileMapping> {
    let split = text.rsplit_once(':').filter(|(host, guest)| {
        !host.is_empty() && guest.starts_with('/') && !guest.split('/').any(|part| part == "..")
    });
    let Some((host, guest)) = split else {
        let message = format!(
            "--file {text}: want HOST:GUEST with an absolute path in the machine, such as ./static:/srv"
        );
        return Failure::err(Code::Usage, message);
    };
    let host = PathBuf::from(host);
    let guest = match (guest.ends_with('/'), host.file_name()) {
        // Onto the root, as `./static:/srv` goes onto /srv.
        _ if guest == "/" && (at.at)(&host) == PathKind::Directory => String::new(),
        // Like cp: a path that ends with a slash is a folder to put it into.
        (true, Some(name)) => format!("{guest}{}", name.to_string_lossy()),
        _ => guest.trim_end_matches('/').to_owned(),
    };
    Ok(FileMapping { host, guest })
}

/// `NAME=value` as it is, `NAME` from the host's environment; left out where that has none.
fn environment(wishes: &[String], host: &Host<'_>) -> anyhow::Result<Vec<String>> {
    let mut environment = Vec::new();
    for wish in wishes {
        match wish.split_once('=') {
            Some(("", _)) => {
                return Failure::err(Code::Usage, format!("--env {wish}: a name is missing"));
            }
            Some(_) => environment.push(wish.clone()),
            None => {
                environment.extend((host.variable)(wish).map(|value| format!("{wish}={value}")))
            }
        }
    }
    Ok(environment)
}

fn set_variable(environment: &mut Vec<String>, variable: &str) {
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    environment.retain(|present| name(present) != name(variable));
    environment.push(variable.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Host<'static> = Host {
        variable: &|name| (name == "LANG").then(|| "C".to_owned()),
        at: &|path| match path.to_str() {
            Some("cmd/shop" | ".") => PathKind::Directory,
            Some("shop" | "main.go") => PathKind::File,
            _ => PathKind::Nothing,
        },
        terminal: false,
        window: None,
    };

    fn target_of(text: &str) -> Target {
        target(Some(Path::new(text)), &NOBODY).unwrap()
    }

    #[test]
    fn targets() {
        assert_eq!(target(None, &NOBODY).unwrap(), Target::Folder(".".into()));
        assert_eq!(target_of("shop"), Target::File("shop".into()));
        assert_eq!(target_of("cmd/shop"), Target::Folder("cmd/shop".into()));
        assert_eq!(target_of("example.com/x"), Target::Package("example.com/x".into()));
        assert_eq!(target_of("./cmd/..."), Target::Package("./cmd/...".into()));
        assert_eq!(target_of("main.go"), Target::Source("main.go".into()));
        for missing in ["./nothing", "/nothing", "nothing", "nothing.go"] {
            let error = target(Some(Path::new(missing)), &NOBODY).unwrap_err();
            assert_eq!(error.downcast_ref::<Failure>().unwrap().code, Code::NotFound, "{missing}");
        }
    }

    #[test]
    fn settings_of_a_program() {
        let content = ContentArgs {
            args: vec!["-v".into()],
            env: vec!["LANG".into(), "NONE".into(), "HOME=/x".into()],
            workdir: Some("/srv".into()),
            ..ContentArgs::default()
        };
        let args = RunArgs { content, trace: true, ..RunArgs::default() };
        let window = "24x80x0x0".parse().ok();
        let plan = Plan::of_run(&args, &Host { terminal: true, window, ..NOBODY }).unwrap();
        let config = plan.settings_for_program("shop");
        assert_eq!(config.args, ["/bin/shop", "-v"]);
        assert_eq!(config.env, ["PATH=/bin", "TERM=dumb", "LANG=C", "HOME=/x"]);
        assert_eq!(config.workdir, "/srv");
        assert!(config.trace && config.tty && !config.verbose);
        assert_eq!(config.window, window);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn an_image_keeps_what_the_command_line_leaves_open() {
        let base = Config {
            program: "/bin/a".into(),
            args: vec!["/bin/a".into(), "x".into()],
            memory: Some(Size::from_mebibytes(64)),
            tty: true,
            ..Config::default()
        };
        let plan = Plan::of_run(&RunArgs::default(), &NOBODY).unwrap();
        assert_eq!(plan.settings(base.clone()), Config { tty: false, ..base });
    }

    #[test]
    fn files() {
        let mapping = |text| file_mapping(text, &NOBODY).map(|mapping| mapping.guest);
        assert_eq!(mapping("a/b.txt:/srv/c").unwrap(), "/srv/c");
        assert_eq!(mapping("a/b.txt:/srv/").unwrap(), "/srv/b.txt");
        assert_eq!(mapping("a:b:/c").unwrap(), "/c");
        assert_eq!(mapping("cmd/shop:/").unwrap(), "");
        assert_eq!(mapping("main.go:/").unwrap(), "/main.go");
        for bad in ["a", "a:", "a:b", ":/b", "a:/../b"] {
            assert!(mapping(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_for_go() {
        let content = ContentArgs {
            tags: Some("a,b".into()),
            ldflags: Some("-s -w".into()),
            trimpath: true,
            ..ContentArgs::default()
        };
        assert_eq!(go_flags(&content).0, ["-tags=a,b", "-ldflags=-s -w", "-trimpath"]);
    }
}
