//! Which files beside their package tests read, by the paths that their sources name: `"../shared/a.json"`,
//! `filepath.Join("..", "shared", name)`.
//!
//! `go test` runs in a tree that has everything; a machine gets what is asked for. The words of a
//! source are no proof that a file is read, but they are cheap to go by, and what is not there is not taken.

use std::path::{Component, Path, PathBuf};

use crate::plan::{Host, PathKind};

/// What lies at paths that begin with `..` in a source of a package in `directory`, within the
/// module at `root` and not around the package. A path is cut where it does not exist: what a
/// program puts together begins with a folder.
pub(crate) fn named(source: &str, directory: &Path, root: &Path, host: &Host<'_>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for words in above(source) {
        let path = normal(&directory.join(words.join("/")));
        let whole = path.ancestors().take_while(|path| !directory.starts_with(path));
        let there = whole
            .filter(|path| path.starts_with(root))
            .find(|path| (host.at)(path) != PathKind::Nothing);
        if let Some(path) = there
            && !found.iter().any(|other| other == path)
        {
            found.push(path.to_owned());
        }
    }
    found
}

/// The path without `.` and `..`, as if there were no links.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// String literals that follow each other with nothing but a comma between, from each that begins
/// with `..`.
fn above(source: &str) -> Vec<Vec<&str>> {
    let mut all = Vec::new();
    let mut rest = source;
    let begins = |text: &str| {
        let of = |quote: char| Some((text.find(&format!("{quote}.."))?, quote));
        [of('"'), of('`')].into_iter().flatten().min()
    };
    while let Some((at, mut end)) = begins(rest) {
        let mut words = Vec::new();
        rest = &rest[at + 1..];
        while let Some((word, after)) = rest.split_once(end).filter(|row| !row.0.contains('\n')) {
            words.push(word);
            rest = after;
            let next = rest.trim_start().strip_prefix(',').map(str::trim_start);
            let next = next.and_then(|next| {
                let quote = next.chars().next().filter(|first| matches!(first, '"' | '`'))?;
                Some((quote, &next[1..]))
            });
            let Some((quote, next)) = next else { break };
            (end, rest) = (quote, next);
        }
        all.push(words);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host<'static> = Host {
        variable: &|_| None,
        at: &|path| match path.to_str() {
            Some("/m/shared/a.json" | "/m/LICENSE" | "/m/a/x.txt" | "/outside") => PathKind::File,
            Some("/m" | "/m/a" | "/m/a/b" | "/m/shared" | "/m/a/spec/data") => PathKind::Directory,
            _ => PathKind::Nothing,
        },
        terminal: false,
        window: None,
    };

    fn of(source: &str) -> Vec<String> {
        let found = named(source, Path::new("/m/a/b"), Path::new("/m"), &HOST);
        found.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn paths_are_found() {
        assert_eq!(of(r#"open("../../shared/a.json")"#), ["/m/shared/a.json"]);
        assert_eq!(of("open(`../../LICENSE`); x(\"../x.txt\")"), ["/m/LICENSE", "/m/a/x.txt"]);
        assert_eq!(of(r#"Join("..", "..", "shared", name)"#), ["/m/shared"]);
        assert_eq!(of("Join(dir, \"..\",\n\t\"x.txt\")"), ["/m/a/x.txt"]);
        assert_eq!(of(r#"Sprintf("../spec/data/%s.%d.wasm", a, b)"#), ["/m/a/spec/data"]);
        assert_eq!(of(r#"a("../x.txt"); b("../x.txt")"#), ["/m/a/x.txt"]);
    }

    #[test]
    fn others_are_not() {
        for source in [
            r#"open("../../../outside")"#,
            r#"open("..")"#,
            r#"open("../")"#,
            r#"open("../b/c")"#,
            r#"open("../nothing")"#,
            r#"Join("..", "..")"#,
            r#"say("...")"#,
            r#"say("..", "#,
            "say(\"..\n/x.txt\")",
            "\"..",
            "`..",
        ] {
            assert!(of(source).is_empty(), "{source}: {:?}", of(source));
        }
    }
}
