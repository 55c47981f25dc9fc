//! `docs/locks.md` knows every rank, in order, and every file that has locks.
#![expect(clippy::expect_used, reason = "a test that cannot go on ends")]

use base::sync::Rank;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The cells of the page's tables.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/locks.md")).expect("docs/locks.md");
    let lines = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().into()).collect();
    lines.map(cells).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_skipped = path.ends_with("target") || path.ends_with("tests");
        if path.is_dir() && !is_skipped {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Source files but those of tests and of the locks themselves: path from the root, and text.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&root().join("crates"), &mut found);
    sources(&root().join("hal/src"), &mut found);
    let named = found.iter().map(|path| {
        let name = path.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8");
        (name.to_owned(), fs::read_to_string(path).expect("a source file"))
    });
    named
        .filter(|(name, _)| !name.starts_with("crates/base/") && !name.ends_with("tests.rs"))
        .collect()
}

#[test]
fn ranks_stand_in_their_order() {
    let names: Vec<String> = Rank::ALL.iter().map(|rank| format!("{rank:?}")).collect();
    let ranks = rows().into_iter().filter(|row| row.len() == 4).map(|row| row[0].clone());
    let listed: Vec<String> = ranks.skip(1).collect();
    assert_eq!(listed, names);
}

#[test]
fn every_file_with_locks_is_listed() {
    let rows = rows();
    for (name, text) in files() {
        let quoted = format!("`{name}`");
        for rank in Rank::ALL.map(|rank| format!("{rank:?}")) {
            if text.contains(&format!("Rank::{rank},")) {
                let told =
                    rows.iter().any(|row| row.len() == 4 && row[0] == rank && row[2] == quoted);
                assert!(told, "docs/locks.md: {rank} is in {name}");
            }
        }
        if text.contains("SpinLock<") {
            let told = rows.iter().any(|row| row.contains(&quoted));
            assert!(told, "docs/locks.md lacks {name}");
        }
    }
    for cell in rows.iter().flatten() {
        let path = cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        assert!(path.is_none_or(|path| root().join(path).is_file()), "docs/locks.md: {cell}");
    }
}
