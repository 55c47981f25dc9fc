//! The results as data: one file a Go version, from which a run goes on and the page is made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::verdicts::Verdict;

/// How the functions of one package ended.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Package {
    /// With `-test.short`.
    pub(crate) short: bool,
    /// Passed on Linux and in the machine.
    pub(crate) passed: usize,
    /// Left themselves out on Linux.
    pub(crate) skipped: usize,
    /// Failed on Linux too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) same: Vec<String>,
    /// Passed on Linux and not in the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<String>,
}

impl Package {
    /// Compares what Linux and the machine say.
    pub(crate) fn of(
        short: bool,
        linux: &BTreeMap<String, Verdict>,
        machine: &BTreeMap<String, Verdict>,
    ) -> Self {
        let mut package = Self { short, ..Self::default() };
        for (name, on_linux) in linux {
            match (on_linux, machine.get(name)) {
                (Verdict::Skipped, _) => package.skipped += 1,
                (Verdict::Failed, _) => package.same.push(name.clone()),
                (Verdict::Passed, Some(Verdict::Passed)) => package.passed += 1,
                (Verdict::Passed, _) => package.failed.push(name.clone()),
            }
        }
        package
    }
}

/// All results of one Go version, by import path.
pub(crate) type Packages = BTreeMap<String, Package>;

/// The file with the results of a version.
pub(crate) fn path(folder: &Path, version: &str) -> PathBuf {
    folder.join(format!("{version}.json"))
}

/// The results of a version; none before the first run.
pub(crate) fn load(path: &Path) -> Result<Packages> {
    if !path.exists() {
        return Ok(Packages::new());
    }
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Writes the results of a version.
pub(crate) fn store(path: &Path, packages: &Packages) -> Result<()> {
    let text = serde_json::to_string_pretty(packages)? + "\n";
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// A function that may fail in the machine though it passes on Linux.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// The Go version.
    pub(crate) go: String,
    /// The package's import path.
    pub(crate) package: String,
    /// The function.
    pub(crate) test: String,
    /// Why it cannot pass; there is no third kind.
    pub(crate) kind: Kind,
    /// What was seen.
    pub(crate) reason: String,
}

/// The kinds of exceptions.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It starts a process.
    ChildProcess,
    /// It measures time more tightly than emulation keeps it: a Linux guest under the same
    /// emulation fails too.
    WallTime,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

/// The exceptions in a file.
pub(crate) fn exceptions(path: &Path) -> Result<Vec<Exception>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let read: Exceptions = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(read.exception)
}

/// Whether a failure is excused.
pub(crate) fn is_excused(
    exceptions: &[Exception],
    version: &str,
    package: &str,
    test: &str,
) -> bool {
    exceptions.iter().any(|row| row.go == version && row.package == package && row.test == test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison() {
        use Verdict::{Failed, Passed, Skipped};
        let of = |rows: &[(&str, Verdict)]| -> BTreeMap<String, Verdict> {
            rows.iter().map(|(name, verdict)| ((*name).to_owned(), *verdict)).collect()
        };
        let linux =
            of(&[("A", Passed), ("B", Passed), ("C", Failed), ("D", Skipped), ("E", Passed)]);
        let machine =
            of(&[("A", Passed), ("B", Failed), ("C", Passed), ("D", Failed), ("E", Skipped)]);
        let package = Package::of(true, &linux, &machine);
        assert_eq!((package.passed, package.skipped), (1, 1));
        assert_eq!(
            (package.same, package.failed),
            (vec!["C".into()], vec!["B".into(), "E".into()])
        );
    }

    #[test]
    fn exceptions_name_one_function_and_one_of_two_kinds() {
        let text = "[[exception]]\ngo = \"1\"\npackage = \"a\"\ntest = \"T\"\nkind = \"wall-time\"\nreason = \"r\"\n";
        let read: Exceptions = toml::from_str(text).unwrap();
        assert!(is_excused(&read.exception, "1", "a", "T"));
        assert!(!is_excused(&read.exception, "1", "a", "U"));
        assert_eq!(read.exception[0].kind, Kind::WallTime);
        assert!(toml::from_str::<Exceptions>(&text.replace("wall-time", "other")).is_err());
    }
}
