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
    /// QEMU failed; why, with its own words.
    QemuFailed(String),
    /// There is no QEMU.
    NoQemu,
    /// `egg` was told to stop by this signal (SIGINT: Ctrl-C twice).
    Stopped(u8),
    /// The time given ran out.
    TimedOut,
}

/// What the end means. Only a word of the kernel *and* its status together are success: a machine
/// that never started must not look like one.
pub(crate) fn judge(
    end: Option<Event>,
    panic: Option<String>,
    status: ExitStatus,
    messages: &str,
    stopped: Option<Outcome>,
) -> Outcome {
    let orderly = status.code() == Some(ORDERLY_STATUS) && panic.is_none();
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
        (_, _, Some(1), ..) => Outcome::QemuFailed(with("QEMU failed".into())),
        (_, _, Some(code), ..) => {
            Outcome::KernelFailed(with(format!("the machine ended with QEMU status {code}")))
        }
        (_, _, None, ..) => {
            let signal = status.signal().and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
            Outcome::QemuFailed(with(format!(
                "QEMU was killed by {}",
                crate::control::signal_name(signal)
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn only_word_and_status_together_are_success() {
        let exit = Some(Event::Exit(0));
        let judge = |end, status| judge(end, None, status, "", None);
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
        assert_eq!(judge(exit(), panic(), exited(33), "", None), failed);
        assert_eq!(judge(None, panic(), exited(35), "", Some(Outcome::TimedOut)), failed);
        let stopped = Outcome::Stopped(2);
        assert_eq!(judge(None, None, exited(0), "", Some(stopped.clone())), stopped);
        // It may end by itself in the same moment.
        assert_eq!(judge(exit(), None, exited(33), "", Some(stopped)), Outcome::Exited(0));
    }

    #[test]
    fn qemu_gets_the_last_word() {
        let outcome = judge(None, None, exited(1), "no such device", None);
        assert_eq!(outcome, Outcome::QemuFailed("QEMU failed: no such device".into()));
    }
}
