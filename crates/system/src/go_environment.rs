//! What the environment says to Go's runtime, where the program's owner says nothing.

use alloc::string::String;
use alloc::vec::Vec;

/// With less than this for the program, its heap must not wait for 4 MiB of garbage, MiB.
const TIGHT_MEBIBYTES: u64 = 12;

/// Makes Go collect early where memory is scarce: its heap grows to 4 MiB times GOGC / 100 before
/// the first collection, whatever the machine has (`heapMinimum` in runtime/mgcpacer.go), and there
/// is no swap to take up the rest. An environment that sets GOGC or GOMEMLIMIT stays as it is.
pub(crate) fn fit_to_memory(environment: &mut Vec<String>, free_mebibytes: u64) {
    let decided = environment
        .iter()
        .any(|variable| variable.starts_with("GOGC=") || variable.starts_with("GOMEMLIMIT="));
    if free_mebibytes < TIGHT_MEBIBYTES && !decided {
        environment.push(String::from("GOGC=25"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(environment: &[&str], free_mebibytes: u64) -> Vec<String> {
        let mut environment = environment.iter().copied().map(String::from).collect();
        fit_to_memory(&mut environment, free_mebibytes);
        environment
    }

    #[test]
    fn only_little_memory_and_an_undecided_owner_change_the_environment() {
        assert_eq!(fitted(&["A=b"], TIGHT_MEBIBYTES), ["A=b"]);
        assert_eq!(fitted(&["A=b"], TIGHT_MEBIBYTES - 1), ["A=b", "GOGC=25"]);
        assert_eq!(fitted(&["GOGC=off"], 1), ["GOGC=off"]);
        assert_eq!(fitted(&["GOMEMLIMIT=3MiB"], 1), ["GOMEMLIMIT=3MiB"]);
        assert_eq!(fitted(&["MYGOGC=1"], 1), ["MYGOGC=1", "GOGC=25"]);
    }
}
