//! Runs a test program until each of its functions has ended somehow: after one that takes the
//! program down, the rest is run again.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::verdicts::{self, Said, Verdict};

/// So often a program is started again at most; whatever has not run by then has failed.
const ROUNDS: usize = 40;

/// The verdict on each of `functions`. `run` runs all or those named, and gives the output.
pub(crate) fn complete(
    functions: &[String],
    mut run: impl FnMut(Option<&[String]>) -> Result<String>,
) -> Result<BTreeMap<String, Verdict>> {
    let mut verdicts = BTreeMap::new();
    let mut suspects: Vec<String> = Vec::new();
    let mut said = verdicts::read(&run(None)?);
    for _ in 0..ROUNDS {
        let Said { verdicts: new, suspect } = said;
        let progress = !new.is_empty();
        verdicts.extend(new);
        let is_open = |name: &&String| !verdicts.contains_key(*name) && !suspects.contains(name);
        let open: Vec<String> = functions.iter().filter(is_open).cloned().collect();
        let blamed = suspect.filter(|name| open.contains(name));
        // Nobody is blamed and nothing ends: the first takes it, so that this comes to an end.
        let blamed = blamed.or_else(|| if progress { None } else { open.first().cloned() });
        let rest: Vec<String> =
            open.into_iter().filter(|name| Some(name) != blamed.as_ref()).collect();
        suspects.extend(blamed);
        if rest.is_empty() {
            break;
        }
        said = verdicts::read(&run(Some(&rest))?);
    }
    // Alone, a suspect answers for itself.
    for name in suspects {
        let alone = verdicts::read(&run(Some(std::slice::from_ref(&name)))?);
        let verdict = alone.verdicts.get(&name).copied().unwrap_or(Verdict::Failed);
        verdicts.insert(name, verdict);
    }
    for name in functions {
        verdicts.entry(name.clone()).or_insert(Verdict::Failed);
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program whose functions fail or crash by their names.
    fn program(functions: &[String], wanted: Option<&[String]>) -> String {
        let mut output = String::new();
        for name in wanted.unwrap_or(functions) {
            output += &format!("=== RUN   {name}\n");
            match name.as_str() {
                "TestCrash" => return output,
                "TestCrashesNotAlone" if wanted.is_none_or(|names| names.len() > 1) => {
                    return output;
                }
                "TestFail" => output += "--- FAIL: TestFail (0.00s)\n",
                _ => output += &format!("--- PASS: {name} (0.00s)\n"),
            }
        }
        output
    }

    #[test]
    fn the_rest_runs_after_a_crash() {
        let functions =
            ["TestA", "TestCrash", "TestFail", "TestCrashesNotAlone", "TestB"].map(String::from);
        let mut runs = 0;
        let verdicts = complete(&functions, |wanted| {
            runs += 1;
            Ok(program(&functions, wanted))
        })
        .unwrap();
        let of = |name: &str| verdicts[name];
        assert_eq!([of("TestA"), of("TestB")], [Verdict::Passed; 2]);
        assert_eq!([of("TestCrash"), of("TestFail")], [Verdict::Failed; 2]);
        assert_eq!(of("TestCrashesNotAlone"), Verdict::Passed);
        assert_eq!(runs, 5);
    }

    #[test]
    fn silence_comes_to_an_end() {
        let functions = ["TestA", "TestB"].map(String::from);
        let verdicts = complete(&functions, |_| Ok(String::new())).unwrap();
        assert!(verdicts.values().all(|verdict| *verdict == Verdict::Failed));
    }
}
