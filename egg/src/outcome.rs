//! How a machine ended, judged from all that is known of its end.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::control::{Event, ORDERLY_STATUS};
use crate::launch;

/// How a machine ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The program ended with this code, and the machine in order.
    Exited(u8),
    /// The program was killed by this signal, and the machine ended in order.
    Killed(u8),
    /// The kernel cannot run the program; why.
    Refused(String),
    /// The kernel failed; why.
    KernelFailed(String),
    /// QEMU, or the kernel's process before there was a machine, failed; why, with its own words.
    QemuFailed(String),
    /// There is no QEMU.
    NoQemu,
    /// `egg` was told to stop by this signal (SIGINT: Ctrl-C twice).
    Stopped(u8),
    /// The time given ran out.
    TimedOut,
}

/// What a machine was run by, and what it said on its standard error.
#[derive(Clone, Copy)]
pub(crate) struct Runner<'a> {
    /// The kernel as a process, not QEMU.
    pub(crate) is_process: bool,
    pub(crate) messages: &'a str,
}

impl Runner<'_> {
    fn name(self) -> &'static str {
        if self.is_process { "the kernel's process" } else { "QEMU" }
    }
}

/// What the end means. Only a word of the kernel *and* its status together are success: a machine
/// that never started must not look like one.
pub(crate) fn judge(
    end: Option<Event>,
    panic: Option<String>,
    status: ExitStatus,
    runner: Runner<'_>,
    stopped: Option<Outcome>,
) -> Outcome {
    let orderly = status.code() == Some(ORDERLY_STATUS) && panic.is_none();
    let (name, messages) = (runner.name(), runner.messages);
    let with =
        |what: String| if messages.is_empty() { what } else { format!("{what}: {messages}") };
    match (orderly, end, status.code(), panic, stopped) {
        (true, Some(Event::Exit(code)), ..) => Outcome::Exited(code),
        (true, Some(Event::Signal(number)), ..) => Outcome::Killed(number),
        (true, Some(Event::Refused(why)), ..) => Outcome::Refused(why),
        (.., Some(text), _) => Outcome::KernelFailed(format!("panic: {text}")),
        (.., Some(why)) => why,
        (_, _, Some(launch::NO_COMMAND), ..) => Outcome::NoQemu,
        (_, _, Some(0), ..) => Outcome::KernelFailed(
            "the machine stopped by itself (a triple fault?) before the program had ended".into(),
        ),
        (_, None, Some(ORDERLY_STATUS), ..) => Outcome::KernelFailed(
            "the kernel ended the machine without saying how the program ended".into(),
        ),
        (_, _, Some(1), ..) => Outcome::QemuFailed(with(format!("{name} failed"))),
        (_, _, Some(code), ..) => {
            Outcome::KernelFailed(with(format!("the machine ended with {name}'s status {code}")))
        }
        (_, _, None, ..) => {
            let signal = status.signal().and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
            let what = format!("{name} was killed by {}", crate::control::signal_name(signal));
            match runner.is_process {
                true => Outcome::KernelFailed(with(what)),
                false => Outcome::QemuFailed(with(what)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: Runner<'static> = Runner { is_process: false, messages: "" };

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn only_word_and_status_together_are_success() {
        let exit = Some(Event::Exit(0));
        let judge = |end, status| judge(end, None, status, QEMU, None);
        assert_eq!(judge(exit.clone(), exited(33)), Outcome::Exited(0));
        assert_eq!(judge(Some(Event::Signal(9)), exited(33)), Outcome::Killed(9));
        let refused = || "no".to_owned();
        let outcome = judge(Some(Event::Refused(refused())), exited(33));
        assert_eq!(outcome, Outcome::Refused(refused()));
        for status in [exited(0), exited(35), exited(3)] {
            assert!(matches!(judge(exit.clone(), status), Outcome::KernelFailed(_)), "{status}");
        }
        assert!(matches!(judge(None, exited(33)), Outcome::KernelFailed(_)));
        assert!(matches!(judge(None, exited(0)), Outcome::KernelFailed(_)));
        assert!(matches!(judge(None, exited(1)), Outcome::QemuFailed(_)));
        assert_eq!(judge(None, exited(127)), Outcome::NoQemu);
        assert_eq!(
            judge(exit, ExitStatus::from_raw(9)),
            Outcome::QemuFailed("QEMU was killed by SIGKILL".into())
        );
    }

    #[test]
    fn a_panic_beats_everything_and_a_stop_is_one() {
        let panic = || Some("boom".to_owned());
        let exit = || Some(Event::Exit(0));
        let failed = Outcome::KernelFailed("panic: boom".into());
        assert_eq!(judge(exit(), panic(), exited(33), QEMU, None), failed);
        assert_eq!(judge(None, panic(), exited(35), QEMU, Some(Outcome::TimedOut)), failed);
        let stopped = Outcome::Stopped(2);
        assert_eq!(judge(None, None, exited(0), QEMU, Some(stopped.clone())), stopped);
        // It may end by itself in the same moment.
        assert_eq!(judge(exit(), None, exited(33), QEMU, Some(stopped)), Outcome::Exited(0));
    }

    #[test]
    fn qemu_gets_the_last_word() {
        let words = Runner { messages: "no such device", ..QEMU };
        let outcome = judge(None, None, exited(1), words, None);
        assert_eq!(outcome, Outcome::QemuFailed("QEMU failed: no such device".into()));
    }

    #[test]
    fn a_process_that_dies_is_the_kernels_failure() {
        let process = Runner { is_process: true, messages: "" };
        let outcome = judge(None, None, ExitStatus::from_raw(11), process, None);
        let why = "the kernel's process was killed by SIGSEGV";
        assert_eq!(outcome, Outcome::KernelFailed(why.into()));
        let words = Runner { messages: "eggos: no memory", ..process };
        let why = "the kernel's process failed: eggos: no memory";
        assert_eq!(judge(None, None, exited(1), words, None), Outcome::QemuFailed(why.into()));
    }
}
