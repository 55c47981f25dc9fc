//! The page with the results, and its picture.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::results::{Exception, Package, Packages, is_excused};

const HEAD: &str = "\
# How much of Go's own test suite passes

Generated from the results in `tests/gostd/results`: write it anew with `make docs`.

Each package's tests are built once, as one static program, and run twice: on Linux, in a folder that
holds the same files, on two processors and with the starting of processes denied; and in a
machine. A test function that passes there must pass in the machine. `make gostd GO=1.27.4
PKG=net/http` runs one package. With `MACHINE=process` the kernel is a process of this host, which is
quick, and what it shows does not count here.

QEMU's emulated processor has no AVX-512. A function that leaves itself out in the machine is asked again
on Linux, with and without AVX-512; what leaves itself out without it, and only then, counts as skipped.

![One row a version, one column a package: green passed, yellow excused, red failed](go-compat.svg)

| Go | packages | passed here and on Linux | failed on Linux too | skipped on Linux | excused | failed |
|---|---|---|---|---|---|---|
";

const TABLE: &str = "
Excused is what fails by a row of `tests/gostd/exceptions.toml`. Most of what fails on Linux too starts a
process. All was run with `-test.short`, but for what is marked *full*.

## Packages

passed / failed on Linux too / excused / failed

";

/// Functions of a package by how they count.
struct Counts {
    passed: usize,
    same: usize,
    skipped: usize,
    excused: usize,
    failed: Vec<String>,
}

impl Counts {
    fn of(package: &Package, name: &str, version: &str, exceptions: &[Exception]) -> Self {
        let excused = |test: &String| is_excused(exceptions, version, name, test);
        let failed: Vec<_> = package.failed.iter().filter(|test| !excused(test)).cloned().collect();
        Self {
            passed: package.passed,
            same: package.same.len(),
            skipped: package.skipped,
            excused: package.failed.len() - failed.len(),
            failed,
        }
    }
}

type Versions = [(String, Packages)];

/// The page; `versions` with their results, newest first.
pub(crate) fn page(versions: &Versions, exceptions: &[Exception]) -> String {
    let mut page = HEAD.to_owned();
    let mut open = String::new();
    // Writing to a string cannot fail.
    for (version, packages) in versions {
        let mut sums = [0; 5];
        for (name, package) in packages {
            let counts = Counts::of(package, name, version, exceptions);
            let row =
                [counts.passed, counts.same, counts.skipped, counts.excused, counts.failed.len()];
            sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
            if !counts.failed.is_empty() {
                let _ = writeln!(open, "- {version} {name}: {}", counts.failed.join(", "));
            }
        }
        let sums = sums.map(|sum| sum.to_string()).join(" | ");
        let _ = writeln!(page, "| {version} | {} | {sums} |", packages.len());
    }
    page += TABLE;
    let head: Vec<_> = versions.iter().map(|(version, _)| version.as_str()).collect();
    let _ =
        writeln!(page, "| package | {} |\n|---|{}", head.join(" | "), "---|".repeat(head.len()));
    for name in names(versions) {
        let cells: Vec<_> = versions
            .iter()
            .map(|(version, packages)| match packages.get(name) {
                Some(package) => {
                    cell(&Counts::of(package, name, version, exceptions), package.short)
                }
                None => "–".to_owned(),
            })
            .collect();
        let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
    }
    if !open.is_empty() {
        let _ = write!(page, "\n## Failed and not excused\n\n{open}");
    }
    page
}

fn names(versions: &Versions) -> BTreeSet<&String> {
    versions.iter().flat_map(|(_, packages)| packages.keys()).collect()
}

fn cell(counts: &Counts, short: bool) -> String {
    let Counts { passed, same, excused, failed, .. } = counts;
    let full = if short { "" } else { " *full*" };
    format!("{passed} / {same} / {excused} / {}{full}", failed.len())
}

/// Pixels of the picture.
const CELL: usize = 4;
const ROW: usize = 20;
const LEFT: usize = 70;

/// The picture, as SVG: a row a version, a column a package.
pub(crate) fn picture(versions: &Versions, exceptions: &[Exception]) -> String {
    let names = names(versions);
    let (width, height) = (LEFT + CELL * names.len(), ROW * versions.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    for (row, (version, packages)) in versions.iter().enumerate() {
        let top = row * ROW;
        let _ = writeln!(svg, "<text x=\"0\" y=\"{}\" fill=\"#888\">{version}</text>", top + 14);
        for (column, name) in names.iter().enumerate() {
            let Some(package) = packages.get(*name) else { continue };
            let counts = Counts::of(package, name, version, exceptions);
            let color = match (counts.failed.len(), counts.excused, counts.passed) {
                (1.., ..) => "#d33",
                (0, 1.., _) => "#db3",
                (0, 0, 1..) => "#3a3",
                (0, 0, 0) => "#bbb",
            };
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{top}\" width=\"{CELL}\" height=\"{}\" fill=\"{color}\">\
                 <title>{name}: {} passed, {} failed</title></rect>",
                LEFT + column * CELL,
                ROW - 2,
                counts.passed,
                counts.failed.len()
            );
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;

    #[test]
    fn sums_cells_and_what_is_open() {
        let package = Package {
            short: true,
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
        let versions = [
            ("1.2".to_owned(), Packages::from([("p".to_owned(), package)])),
            ("1.1".to_owned(), Packages::new()),
        ];
        let exceptions = [exception];
        let page = page(&versions, &exceptions);
        assert!(page.contains("\n| 1.2 | 1 | 7 | 1 | 0 | 1 | 1 |\n| 1.1 | 0 |"), "{page}");
        assert!(page.contains("\n| p | 7 / 1 / 1 / 1 | – |\n"), "{page}");
        assert!(page.ends_with("\n- 1.2 p: Y\n"), "{page}");
        let picture = picture(&versions, &exceptions);
        assert_eq!(picture.matches("<rect").count(), 1);
        assert!(picture.contains("#d33"), "{picture}");
    }
}
