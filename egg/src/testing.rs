//! The plan of `egg test`. `go test` does what it always does, with one difference: in place of each
//! test program it starts `egg __test`, by its flag `-exec`. So packages, flags, output and exit
//! status are Go's own. Pure; what must be known of the host comes in as arguments.

use std::path::{Path, PathBuf};

use crate::cli::{AccelWish, MachineKind, TestArgs};
use crate::exit::{Code, Failure};
use crate::named_paths::named;
use crate::plan::{Host, file_mapping};

use bundle::config::Size;
use clap::ValueEnum;

/// Memory of a test's machine, beside what its files take.
pub(crate) const MEMORY: Size = Size::from_mebibytes(512);

/// Flags of `go test` that cannot work here, and why.
const REFUSED: [(&str, &str); 5] = [
    ("race", "needs cgo, and eggos runs static programs; `go test -race` on this host works"),
    ("msan", "needs cgo, and eggos runs static programs; `go test -msan` on this host works"),
    ("asan", "needs cgo, and eggos runs static programs; `go test -asan` on this host works"),
    ("fuzz", "starts processes, and eggos runs one program; its seeds are tested without the flag"),
    ("exec", "is what egg test itself uses"),
];

/// Says why a command line for `go test` cannot be, when it has a flag that cannot work.
pub(crate) fn refuse(words: &[String]) -> anyhow::Result<()> {
    for (name, value) in flags(words) {
        let off = value.is_some_and(|value| matches!(value, "false" | "0" | ""));
        if let Some((name, why)) = REFUSED.iter().find(|row| row.0 == name && !off) {
            return Failure::err(Code::Usage, format!("-{name} {why}"));
        }
    }
    Ok(())
}

/// Names and values of the flags, up to `-args`. One whose value is the next word has none here.
fn flags(words: &[String]) -> impl Iterator<Item = (&str, Option<&str>)> {
    let before_args =
        words.iter().take_while(|word| !matches!(word.as_str(), "-args" | "--args" | "--"));
    before_args.filter_map(|word| {
        let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
        Some(flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
    })
}

/// The folder that `-C` names: it must come first, and Go goes there before all else.
pub(crate) fn folder(words: &[String]) -> Option<&str> {
    let (first, rest) = words.split_first()?;
    match first.as_str() {
        "-C" | "--C" => rest.first().map(String::as_str),
        text => text.strip_prefix("-C=").or_else(|| text.strip_prefix("--C=")),
    }
}

/// The arguments of `go`.
pub(crate) fn go_arguments(words: &[String], exec: &str) -> Vec<String> {
    let folder = match words.first().map(String::as_str) {
        Some("-C" | "--C") => 2,
        Some(text) if text.starts_with("-C=") || text.starts_with("--C=") => 1,
        _ => 0,
    };
    let (folder, rest) = words.split_at_checked(folder).unwrap_or((words, &[]));
    let mut arguments = vec!["test".to_owned()];
    arguments.extend_from_slice(folder);
    arguments.push(format!("-exec={exec}"));
    arguments.extend_from_slice(rest);
    arguments
}

/// The command that `go test` is to start, as its flag `-exec` wants it: words with quotes. `here`
/// is the folder that relative paths start from, since the command runs elsewhere.
pub(crate) fn exec(
    egg: &Path,
    args: &TestArgs,
    here: &Path,
    host: &Host<'_>,
) -> anyhow::Result<String> {
    let mut words = vec![egg.display().to_string(), "__test".to_owned()];
    let mut option = |name: &str, value: String| words.push(format!("--{name}={value}"));
    if let Some(memory) = args.memory {
        option("memory", memory.to_string());
    }
    if let Some(cpus) = args.cpus {
        option("cpus", cpus.to_string());
    }
    for variable in &args.env {
        option("env", variable.clone());
    }
    for text in &args.file {
        let mapping = file_mapping(text, host)?;
        let guest = if mapping.guest.is_empty() { "/" } else { &mapping.guest };
        option("file", format!("{}:{guest}", here.join(mapping.host).display()));
    }
    if let Some(kernel) = args.kernel.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        option("kernel", here.join(kernel).display().to_string());
    }
    if let Some(kernel) = args.process_kernel.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        option("process-kernel", here.join(kernel).display().to_string());
    }
    if args.machine != MachineKind::default() {
        option("machine", name_of(args.machine));
    }
    if args.accel != AccelWish::default() {
        option("accel", name_of(args.accel));
    }
    words.extend(args.trace.then(|| "--trace".to_owned()));
    words.extend(args.verbose.then(|| "--verbose".to_owned()));
    words.push("--".to_owned());
    let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect::<Result<_, _>>()?;
    Ok(quoted.join(" "))
}

fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Go splits at white space, and knows both quotes, at the start of a word, and no escape.
fn quoted(word: &str) -> anyhow::Result<String> {
    let plain = !word.contains(char::is_whitespace) && !word.starts_with(['\'', '"']);
    match ["'", "\""].iter().find(|quote| !word.contains(**quote)) {
        _ if plain && !word.is_empty() => Ok(word.to_owned()),
        Some(quote) => Ok(format!("{quote}{word}{quote}")),
        None => Failure::err(
            Code::Usage,
            format!("a space and both kinds of quotes cannot be handed on by go test: {word}"),
        ),
    }
}

/// Variables that speak of this host's files; the machine has others.
const OF_THE_HOST: [&str; 7] =
    ["PATH", "HOME", "TMPDIR", "GOTMPDIR", "SHELL", "EGG_KERNEL", "EGG_PROCESS_KERNEL"];

/// The environment of a test in the machine: the one that `go test` gives it, without what speaks
/// of this host's files, and with what the command line says.
pub(crate) fn environment(
    host: impl Iterator<Item = (String, String)>,
    wishes: &[String],
) -> Vec<String> {
    let fits = |name: &str| !OF_THE_HOST.contains(&name) && !name.starts_with("LD_");
    let host = host.filter(|(name, _)| fits(name)).map(|(name, value)| format!("{name}={value}"));
    host.chain(wishes.iter().cloned()).collect()
}

/// Flags of a test program that name a file to be written, relative to `-test.outputdir`.
const WRITTEN: [&str; 7] = [
    "coverprofile",
    "cpuprofile",
    "memprofile",
    "blockprofile",
    "mutexprofile",
    "trace",
    "testlogfile",
];

/// The files and folders that a test program with these arguments, started in `directory`, writes
/// for `go test` and its user.
pub(crate) fn returns(arguments: &[String], directory: &Path) -> Vec<PathBuf> {
    let flags: Vec<(&str, &str)> = arguments
        .iter()
        .map_while(|word| word.strip_prefix("-test."))
        .map(|flag| flag.split_once('=').unwrap_or((flag, "true")))
        .collect();
    let value = |wanted: &str| {
        flags.iter().rev().find(|row| row.0 == wanted).map(|row| row.1).filter(|v| !v.is_empty())
    };
    let output = value("outputdir").map_or(directory.to_owned(), |path| directory.join(path));
    let mut paths: Vec<PathBuf> =
        WRITTEN.iter().filter_map(|name| Some(output.join(value(name)?))).collect();
    paths.extend(value("gocoverdir").map(|path| directory.join(path)));
    if value("artifacts") == Some("true") {
        paths.push(output.join("_artifacts"));
    }
    paths
}

/// What of the host goes into the machine of a test in `directory`, to the same paths: its module,
/// when that `is_small`; else its folder, the module's file and the `testdata` on the way up to it,
/// and what `sources` name beside it.
pub(crate) fn bundled(
    directory: &Path,
    sources: &dyn Fn() -> Vec<String>,
    is_small: &dyn Fn(&Path) -> bool,
    host: &Host<'_>,
) -> Vec<PathBuf> {
    use crate::plan::PathKind::{Directory, File};
    let mut paths = vec![directory.to_owned()];
    let is = |path: &Path, kind| (host.at)(path) == kind;
    let Some(root) = directory.ancestors().find(|folder| is(&folder.join("go.mod"), File)) else {
        return paths;
    };
    if is_small(root) {
        return vec![root.to_owned()];
    }
    let above = directory.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    paths.extend(above.map(|folder| folder.join("testdata")).filter(|path| is(path, Directory)));
    if root != directory {
        paths.push(root.join("go.mod"));
    }
    for path in sources().iter().flat_map(|source| named(source, directory, root, host)) {
        if !is_skipped(&path) && !paths.iter().any(|taken| path.starts_with(taken)) {
            paths.push(path);
        }
    }
    paths
}

/// True for a module that goes along whole: 32 MiB and 4,000 files are copied in an instant.
pub(crate) fn is_small(root: &Path) -> bool {
    const BYTES_MAX: u64 = 32 << 20;
    const FILES_MAX: usize = 4_000;
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            let path = entry.path();
            if !found.is_dir() {
                bytes += found.len();
            } else if !is_skipped(&path) {
                folders.push(path);
            }
            files += 1;
            if bytes > BYTES_MAX || files > FILES_MAX {
                return false;
            }
        }
    }
    true
}

/// The sources of the tests in a folder; what is no text is none.
pub(crate) fn sources(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let tests = paths.filter(|path| path.to_str().is_some_and(|name| name.ends_with("_test.go")));
    let mut tests: Vec<_> = tests.collect();
    tests.sort();
    tests.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// Folders that are no part of a package: histories, and what other languages keep.
pub(crate) fn is_skipped(folder: &Path) -> bool {
    let names = [".git", ".hg", ".svn", ".bzr", "node_modules"];
    folder.file_name().is_some_and(|name| names.iter().any(|skipped| name == *skipped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PathKind;

    const HOST: Host<'static> = Host {
        variable: &|_| None,
        at: &|path| match path.to_str() {
            Some("/m/go.mod" | "/m/a/b/testdata/x/go.mod") => PathKind::File,
            Some("/m/testdata" | "/m/a/testdata" | "/testdata" | "d" | "/m/a/d" | "/m/.git") => {
                PathKind::Directory
            }
            _ => PathKind::Nothing,
        },
        terminal: false,
        window: None,
    };

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_that_cannot_work_are_refused() {
        for text in ["-race", "-v --race ./...", "-race=true", "-fuzz Fuzz", "-fuzz=F", "-exec x"] {
            let error = refuse(&words(text)).unwrap_err();
            assert_eq!(error.downcast_ref::<Failure>().unwrap().code, Code::Usage, "{text}");
        }
        for text in ["", "-race=false", "-run -racy", "race", "-args -race", "-fuzztime 1s"] {
            assert!(refuse(&words(text)).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_folder_comes_first() {
        let line = |text: &str| go_arguments(&words(text), "E").join(" ");
        assert_eq!(line("-v ./..."), "test -exec=E -v ./...");
        assert_eq!(line("-C sub -v"), "test -C sub -exec=E -v");
        assert_eq!(line("-C=sub -v"), "test -C=sub -exec=E -v");
        assert_eq!(line("-C"), "test -C -exec=E");
        assert_eq!(folder(&words("-C sub")), Some("sub"));
        assert_eq!(folder(&words("--C=sub")), Some("sub"));
        assert_eq!(folder(&words("-v -C sub")), None);
    }

    #[test]
    fn the_command_is_quoted_and_its_paths_are_absolute() {
        let args = TestArgs {
            memory: Some(Size::from_mebibytes(64)),
            env: vec!["A=b c".into(), "B=it's so".into()],
            file: vec!["d:/".into(), "x:/y".into()],
            kernel: Some("k".into()),
            accel: AccelWish::Tcg,
            trace: true,
            ..TestArgs::default()
        };
        let exec = |args: &TestArgs| exec(Path::new("/my egg"), args, Path::new("/here"), &HOST);
        assert_eq!(
            exec(&args).unwrap(),
            "'/my egg' __test --memory=64M '--env=A=b c' \"--env=B=it's so\" --file=/here/d:/ \
             --file=/here/x:/y --kernel=/here/k --accel=tcg --trace --"
        );
        assert_eq!(exec(&TestArgs::default()).unwrap(), "'/my egg' __test --");
        let both = TestArgs { env: vec!["A='\" ".into()], ..TestArgs::default() };
        assert!(exec(&both).is_err());
    }

    #[test]
    fn the_environment_is_the_hosts() {
        let host = [("PATH", "/x"), ("A", "b"), ("LD_PRELOAD", "x"), ("PWD", "/m/a")];
        let host = host.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = environment(host.into_iter(), &["HOME=/h".into()]);
        assert_eq!(environment, ["A=b", "PWD=/m/a", "HOME=/h"]);
    }

    #[test]
    fn what_comes_back() {
        let of = |text: &str| returns(&words(text), Path::new("/m/a"));
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(of("-test.paniconexit0 -test.timeout=10m0s"), paths(&[]));
        assert_eq!(of("-test.v=true -test.cpuprofile=c.out"), paths(&["/m/a/c.out"]));
        assert_eq!(
            of("-test.gocoverdir=/w/g -test.coverprofile=/w/c -test.trace=t -test.outputdir=/o"),
            paths(&["/w/c", "/o/t", "/w/g"])
        );
        assert_eq!(of("-test.outputdir=/o -test.artifacts=true"), paths(&["/o/_artifacts"]));
        assert_eq!(of("-test.cpuprofile= -test.run=X arg -test.trace=t"), paths(&[]));
    }

    #[test]
    fn modules_are_small_or_large() {
        let root = std::env::temp_dir().join(format!("egg-module-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/.git")).unwrap();
        std::fs::write(root.join("a/data"), vec![0; 17 << 20]).unwrap();
        std::fs::write(root.join("a/.git/data"), vec![0; 17 << 20]).unwrap();
        let small = is_small(&root);
        std::fs::write(root.join("more"), vec![0; 17 << 20]).unwrap();
        let large = is_small(&root);
        std::fs::remove_dir_all(&root).unwrap();
        assert!(small && !large);
    }

    #[test]
    fn what_goes_along() {
        let source = String::from(r#"open("../testdata/x"), open("../d/y"), open("../../.git/z")"#);
        let of = |text: &str, is_small: bool| {
            bundled(Path::new(text), &|| vec![source.clone()], &|_| is_small, &HOST)
        };
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let of_large = ["/m/a/b", "/m/a/testdata", "/m/testdata", "/m/go.mod", "/m/a/d"];
        assert_eq!(of("/m/a/b", false), paths(&of_large));
        assert_eq!(of("/m/a/b", true), paths(&["/m"]));
        assert_eq!(of("/m", false), paths(&["/m"]));
        assert_eq!(of("/other", true), paths(&["/other"]));
        assert!(is_skipped(Path::new("/m/.git")) && !is_skipped(Path::new("/m/git")));
    }
}
