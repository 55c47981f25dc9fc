//! The end of the process.

/// As QEMU ends after the same call on bare metal: see `hal/src/x86_64/power.rs`.
const EXIT_ORDERLY: i32 = 0x10 << 1 | 1;
const EXIT_FAILURE: i32 = 0x11 << 1 | 1;

/// Ends the machine. `true`: as asked by the program; `false`: kernel failure.
pub fn off(orderly: bool) -> ! {
    // SAFETY: ends the process; other threads do nothing that must be finished.
    unsafe { libc::_exit(if orderly { EXIT_ORDERLY } else { EXIT_FAILURE }) }
}
