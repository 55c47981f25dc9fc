//! reboot(2): the program ends the machine, and says how.

use crate::call::{Call, Outcome};
use crate::credentials::capability;
use crate::process::{ExitStatus, MachineEnd};
use crate::table::{Row, partial};
use crate::trace::Argument::{Hex, Name};
use abi::number as nr;
use base::Errno;

/// The first argument, and what the second may be.
const MAGIC: u32 = 0xfee1_dead;
const MAGICS: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];

const RESTART: u32 = 0x0123_4567;
const HALT: u32 = 0xcdef_0123;
const POWER_OFF: u32 = 0x4321_fedc;
const KEYS_OFF: u32 = 0;
const COMMANDS: &[(u64, &str)] = &[
    (RESTART as u64, "LINUX_REBOOT_CMD_RESTART"),
    (HALT as u64, "LINUX_REBOOT_CMD_HALT"),
    (POWER_OFF as u64, "LINUX_REBOOT_CMD_POWER_OFF"),
    (KEYS_OFF as u64, "LINUX_REBOOT_CMD_CAD_OFF"),
    (0x89ab_cdef, "LINUX_REBOOT_CMD_CAD_ON"),
    (0xa1b2_c3d4, "LINUX_REBOOT_CMD_RESTART2"),
    (0xd000_fce2, "LINUX_REBOOT_CMD_SW_SUSPEND"),
    (0x4558_4543, "LINUX_REBOOT_CMD_KEXEC"),
];

/// The calls of this family.
pub const ROWS: &[Row] = &[partial(
    nr::REBOOT,
    "reboot",
    &[Hex, Hex, Name(COMMANDS), Hex],
    "RESTART, HALT, POWER_OFF, CAD_OFF (nothing watches for Ctrl-Alt-Delete); others EINVAL",
    reboot,
)];

fn reboot(call: &mut Call<'_>) -> Outcome {
    if !call.thread.identity.has(capability::SYS_BOOT) {
        return Errno::EPERM.into();
    }
    if call.unsigned(0) != MAGIC || !MAGICS.contains(&call.unsigned(1)) {
        return Errno::EINVAL.into();
    }
    let end = match call.unsigned(2) {
        RESTART => MachineEnd::Restart,
        HALT => MachineEnd::Halt,
        POWER_OFF => MachineEnd::PowerOff,
        KEYS_OFF => return Ok(0).into(),
        _ => return Errno::EINVAL.into(),
    };
    call.process().end(ExitStatus::Machine(end));
    Outcome::Ended
}
