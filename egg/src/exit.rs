//! How a run ends: the program's own code, or one of `egg`'s.

use std::fmt;
use std::process::ExitCode;

use crate::terminal;

/// `egg`'s own exit codes. The program's codes pass through unchanged, so these are chosen where
/// programs rarely go, as `docker run` and shells do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    /// The kernel failed: it panicked, or the machine stopped before the program had ended.
    Kernel = 124,
    /// `egg`, Go or QEMU failed, or the command line is wrong: nothing was run.
    Usage = 125,
    /// The program cannot be run: not an ELF file, for another machine, dynamically linked ….
    CannotRun = 126,
    /// There is no such program.
    NotFound = 127,
}

/// What the table in `--help` and README says.
pub(crate) const HELP: &str = "Exit codes of `egg run`:
  0-255  the program's own exit code
  124    the kernel failed, or the machine stopped before the program had ended
  125    egg, go or QEMU failed, or the command line is wrong
  126    the program cannot be run (not an ELF, wrong machine, dynamically linked, ...)
  127    there is no such program
  128+n  the program was killed by signal n (130: Ctrl-C twice)";

/// An error with the exit code it ends `egg` with. The message is one clear line.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Code,
    /// The message, without `egg:` in front.
    pub(crate) message: String,
}

impl Failure {
    /// A failure as an [`anyhow::Error`], from which `main` recovers the code.
    pub(crate) fn of(code: Code, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { code, message: message.into() })
    }

    /// [`Failure::of`] as the error of a result.
    pub(crate) fn err<T>(code: Code, message: impl Into<String>) -> anyhow::Result<T> {
        Err(Self::of(code, message))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How a command ended: with what code `egg` ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended(pub(crate) u8);

impl Ended {
    /// All is well.
    pub(crate) const SUCCESS: Self = Self(0);

    /// After death by a signal, as shells report it.
    pub(crate) const fn by_signal(number: u8) -> Self {
        Self(128_u8.saturating_add(number))
    }
}

/// The exit code for the result of a command; an error is printed.
pub(crate) fn report(result: anyhow::Result<Ended>) -> ExitCode {
    match result {
        Ok(Ended(code)) => ExitCode::from(code),
        Err(error) => {
            terminal::say(&format!("{error:#}"));
            let code = error.downcast_ref::<Failure>().map_or(Code::Usage, |failure| failure.code);
            ExitCode::from(code as u8)
        }
    }
}
