//! Files that come back from a machine, to the same paths on this host.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Writes what was asked for, and nothing else.
pub(crate) struct Returned {
    wanted: Vec<PathBuf>,
    begun: HashSet<PathBuf>,
    problem: Option<String>,
}

impl Returned {
    /// Takes the files and folders `wanted`.
    pub(crate) fn new(wanted: Vec<PathBuf>) -> Self {
        Self { wanted, begun: HashSet::new(), problem: None }
    }

    /// Takes the next piece of a file.
    pub(crate) fn take(&mut self, path: &[u8], data: &[u8]) {
        let path = Path::new(OsStr::from_bytes(path));
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        // A machine must not choose what is written here.
        if goes_up || !self.wanted.iter().any(|wanted| path.starts_with(wanted)) {
            self.problem.get_or_insert(format!("{}: was not asked for", path.display()));
            return;
        }
        if let Err(error) = self.write(path, data) {
            self.problem.get_or_insert(format!("{}: {error}", path.display()));
        }
    }

    fn write(&mut self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut file = if self.begun.insert(path.to_owned()) {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            File::create(path)?
        } else {
            File::options().append(true).open(path)?
        };
        file.write_all(data)
    }

    /// The first thing that went wrong.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.problem {
            Some(problem) => anyhow::bail!("a file does not come back: {problem}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_files_where_they_were_asked_for() {
        let host = tempfile::tempdir().unwrap();
        let path = |name: &str| host.path().join(name);
        fs::write(path("a"), "what was before").unwrap();
        let mut returned = Returned::new(vec![path("a"), path("deep")]);
        for (name, data) in [("a", "on"), ("deep/er/b", "x"), ("a", "e"), ("deep/empty", "")] {
            returned.take(path(name).as_os_str().as_bytes(), data.as_bytes());
        }
        returned.finish().unwrap();
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!(
            (read("a"), read("deep/er/b"), read("deep/empty")),
            ("one".into(), "x".into(), String::new())
        );
    }

    #[test]
    fn nothing_else_is_written() {
        let host = tempfile::tempdir().unwrap();
        for name in ["b", "a/../b", "ab"] {
            let mut returned = Returned::new(vec![host.path().join("a")]);
            returned.take(host.path().join(name).as_os_str().as_bytes(), b"x");
            assert!(returned.finish().unwrap_err().to_string().contains("not asked for"), "{name}");
        }
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
    }
}
