//! What a test program's verbose output says about each test function.

use std::collections::BTreeMap;

/// How a test function ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It passed.
    Passed,
    /// It left itself out.
    Skipped,
    /// It failed, or took the program down with it.
    Failed,
}

/// What one run of a test program said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Said {
    /// How functions ended, by name.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// The function that ran last, when it did not end: it is suspected of the program's end.
    pub(crate) suspect: Option<String>,
}

const ENDS: [(&str, Verdict); 3] = [
    ("--- PASS: ", Verdict::Passed),
    ("--- SKIP: ", Verdict::Skipped),
    ("--- FAIL: ", Verdict::Failed),
];
const BEGINS: [&str; 3] = ["=== RUN   ", "=== CONT  ", "=== NAME  "];

/// Reads verbose output. The marks may follow text of the test's own on the same line; names with
/// a slash are of subtests, which count for their function only.
pub(crate) fn read(output: &str) -> Said {
    let mut said = Said::default();
    let mut last = None;
    for line in output.lines() {
        for (mark, verdict) in ENDS {
            if let Some((_, rest)) = line.split_once(mark)
                && let Some((name, _)) = rest.split_once(" (")
                && is_function(name)
            {
                said.verdicts.insert(name.to_owned(), verdict);
            }
        }
        for mark in BEGINS {
            if let Some((_, name)) = line.split_once(mark) {
                let name = name.trim().split('/').next().unwrap_or_default();
                last = is_function(name).then(|| name.to_owned());
            }
        }
    }
    said.suspect = last.filter(|name| !said.verdicts.contains_key(name));
    said
}

/// Names of the functions that `-test.list` printed and that a plain run runs.
pub(crate) fn listed(output: &str) -> Vec<String> {
    let runs = |name: &&str| {
        is_function(name) && ["Test", "Example", "Fuzz"].iter().any(|kind| name.starts_with(kind))
    };
    output.lines().map(str::trim).filter(runs).map(str::to_owned).collect()
}

fn is_function(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The pattern for `-test.run` that means exactly these functions.
pub(crate) fn pattern(names: &[String]) -> String {
    format!("^({})$", names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_and_subtests_are_not() {
        let output = "=== RUN   TestA\n    --- FAIL: TestA/x (0.00s)\ntext--- PASS: TestA (0.01s)\n\
                      === RUN   TestB\n=== PAUSE TestB\n=== RUN   ExampleC\n\
                      --- SKIP: ExampleC (0.00s)\n=== CONT  TestB\n=== RUN   TestB/sub\npanic: x\n\
                      --- PASS: not a name (0)\n";
        let said = read(output);
        let expected = [("ExampleC", Verdict::Skipped), ("TestA", Verdict::Passed)];
        assert!(said.verdicts.iter().map(|(name, v)| (name.as_str(), *v)).eq(expected));
        assert_eq!(said.suspect.as_deref(), Some("TestB"));
        assert_eq!(read("=== RUN   TestA\n--- PASS: TestA (1.00s)\nPASS\n").suspect, None);
    }

    #[test]
    fn lists_and_patterns() {
        let names = listed("TestA\nBenchmarkB\nExampleC_d\nFuzzE\nok  \tpkg\t0.1s\n");
        assert_eq!(names, ["TestA", "ExampleC_d", "FuzzE"]);
        assert_eq!(pattern(&names), "^(TestA|ExampleC_d|FuzzE)$");
    }
}
