//! The end of the simulated machine.

/// Ends the machine. `true`: as asked by the program; `false`: kernel failure.
///
/// # Panics
/// Always: the test catches it.
pub fn off(orderly: bool) -> ! {
    panic!("simulated machine off, orderly: {orderly}")
}
