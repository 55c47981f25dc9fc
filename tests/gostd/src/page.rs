//! The page with the results.

use std::fmt::Write;

use crate::results::{Exception, Packages, is_excused};

const HEAD: &str = "\
# How much of Go's own test suite passes

Generated from the results in `tests/gostd/results`: write it anew with `make docs`.

Each package's tests are built once, as one static program, and run twice: on Linux, in a folder that
holds the same files, on two processors and with the starting of processes denied; and in a
machine. A test function that passes there must pass in the machine. `make gostd GO=1.27.4
PKG=net/http` runs one package.

| column | functions that |
|---|---|
| passed | pass on Linux and in the machine |
| same | fail on Linux too, so confined |
| skipped | leave themselves out on Linux |
| excused | fail in the machine, by a row of `tests/gostd/exceptions.toml` |
| failed | fail in the machine, and should not |
";

/// The page; `versions` with their results, newest first.
pub(crate) fn page(versions: &[(String, Packages)], exceptions: &[Exception]) -> String {
    let mut page = HEAD.to_owned();
    for (version, packages) in versions {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## Go {version}\n\n");
        let _ = writeln!(page, "| package | passed | same | skipped | excused | failed |");
        let _ = writeln!(page, "|---|---|---|---|---|---|");
        let mut sums = [0; 5];
        let mut open = String::new();
        for (name, package) in packages {
            let excused = |test: &&String| is_excused(exceptions, version, name, test);
            let (excused, failed): (Vec<_>, Vec<_>) = package.failed.iter().partition(excused);
            let row =
                [package.passed, package.same.len(), package.skipped, excused.len(), failed.len()];
            sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
            let short = if package.short { " (short)" } else { "" };
            let _ =
                writeln!(page, "| {name}{short} | {} |", row.map(|n| n.to_string()).join(" | "));
            for test in failed {
                let _ = writeln!(open, "- {name}: {test}");
            }
        }
        let _ = writeln!(page, "| **all** | {} |", sums.map(|n| format!("**{n}**")).join(" | "));
        if !open.is_empty() {
            let _ = write!(page, "\nFailed and not excused:\n\n{open}");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Kind, Package};

    #[test]
    fn sums_and_what_is_open() {
        let package = Package {
            passed: 7,
            same: vec!["S".into()],
            failed: vec!["X".into(), "Y".into()],
            ..Package::default()
        };
        let exception = Exception {
            go: "1.2".into(),
            package: "p".into(),
            test: "X".into(),
            kind: Kind::WallTime,
            reason: String::new(),
        };
        let page = page(&[("1.2".into(), [("p".to_owned(), package)].into())], &[exception]);
        assert!(page.contains("| p | 7 | 1 | 0 | 1 | 1 |\n| **all** | **7**"), "{page}");
        assert!(page.ends_with("\n- p: Y\n"), "{page}");
    }
}
