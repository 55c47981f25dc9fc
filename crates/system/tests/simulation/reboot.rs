//! reboot(2): who may, what is refused, and what becomes of the machine.

use super::{FRAMES, parts, start};
use abi::number as nr;
use base::Errno;
use hal::sim::{self, Script};
use syscalls::process::{ExitStatus, MachineEnd};
use system::Next;

const MAGIC: u64 = 0xfee1_dead;
const MAGIC2: u64 = 672_274_793;

/// How the program ends.
pub(crate) fn end_of<F>(program: impl FnOnce(Script) -> F) -> ExitStatus
where
    F: Future<Output = ()> + Send + 'static,
{
    sim::reset(1, FRAMES);
    let system = start(parts(program));
    for _ in 0..10_000 {
        if let Next::Ended(status) = system.step() {
            return status;
        }
    }
    panic!("the program does not end")
}

async fn reboot(script: &Script, arguments: [u64; 3]) -> i64 {
    let [magic, magic2, command] = arguments;
    script.syscall(u64::from(nr::REBOOT), [magic, magic2, command, 0, 0, 0]).await
}

/// The machine's end by a command, after calls that must fail or do nothing.
fn end_by(command: u64) -> ExitStatus {
    end_of(move |script| async move {
        let invalid = -(Errno::EINVAL.number() as i64);
        for wrong in [
            [0, MAGIC2, command],
            [MAGIC, 0, command],
            [MAGIC, MAGIC2, 0x89ab_cdef],
            [MAGIC, MAGIC2, 0x4558_4543],
            [MAGIC, MAGIC2, 1],
        ] {
            assert_eq!(reboot(&script, wrong).await, invalid, "{wrong:x?}");
        }
        assert_eq!(reboot(&script, [MAGIC, 85_072_278, 0]).await, 0, "CAD_OFF");
        // The upper halves of the registers do not count.
        reboot(&script, [MAGIC | 1 << 32, 369_367_448, command | 1 << 32]).await;
        panic!("it came back");
    })
}

#[test]
fn the_program_says_what_becomes_of_the_machine() {
    for (command, end) in [
        (0x0123_4567, MachineEnd::Restart),
        (0xcdef_0123, MachineEnd::Halt),
        (0x4321_fedc, MachineEnd::PowerOff),
    ] {
        assert_eq!(end_by(command), ExitStatus::Machine(end));
    }
}

#[test]
fn without_the_capability_it_may_not() {
    let status = end_of(|script| async move {
        assert_eq!(script.syscall(u64::from(nr::SETUID), [1000, 0, 0, 0, 0, 0]).await, 0);
        let refused = -(Errno::EPERM.number() as i64);
        assert_eq!(reboot(&script, [MAGIC, MAGIC2, 0x0123_4567]).await, refused);
        // Before the numbers are looked at, as on Linux.
        assert_eq!(reboot(&script, [0, 0, 0]).await, refused);
        script.syscall(u64::from(nr::EXIT_GROUP), [7, 0, 0, 0, 0, 0]).await;
    });
    assert_eq!(status, ExitStatus::Code(7));
}
