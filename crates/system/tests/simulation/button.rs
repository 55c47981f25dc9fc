//! The power button.

use super::{FRAMES, parts, start};
use abi::number as nr;
use hal::sim::{self, Script};
use std::time::Duration;
use syscalls::process::ExitStatus;
use system::{Next, Parts};

/// The set of SIGTERM alone.
const TERMINATION: u64 = 1 << (15 - 1);
const MEMORY: u64 = 0x10_0000;

/// Runs the program and presses the button after a second; how it ended, and how long that took.
fn pressed<F>(program: impl FnOnce(Script) -> F) -> (ExitStatus, Duration)
where
    F: Future<Output = ()> + Send + 'static,
{
    sim::reset(1, FRAMES);
    let system = start(Parts { button_irq: hal::power::button(), ..parts(program) });
    let press = hal::clock::now() + Duration::from_secs(1);
    let mut is_pressed = false;
    loop {
        match system.step() {
            Next::Again => continue,
            Next::Ended(status) => return (status, hal::clock::now() - press),
            Next::Idle => {}
        }
        let timer = sim::armed_timer();
        if is_pressed {
            sim::set_now(timer.expect("something happens"));
        } else {
            sim::set_now(timer.unwrap_or(press).min(press));
            is_pressed = hal::clock::now() == press;
            if is_pressed {
                sim::press_power_button();
            }
        }
        system.woken();
    }
}

async fn pause(script: &Script) {
    script.syscall(u64::from(nr::PAUSE), [0; 6]).await;
}

/// Blocks SIGTERM; the place where the set lies.
async fn block(script: &Script) -> u64 {
    let map = [MEMORY, 4096, 3, 0x32, u64::MAX, 0];
    script.syscall(u64::from(nr::MMAP), map).await;
    script.store(MEMORY, &TERMINATION.to_le_bytes()).await;
    script.syscall(u64::from(nr::RT_SIGPROCMASK), [0, MEMORY, 0, 8, 0, 0]).await;
    MEMORY
}

#[test]
fn a_program_that_does_nothing_about_it_ends_at_once() {
    let (status, took) = pressed(|script| async move { pause(&script).await });
    assert_eq!(status, ExitStatus::Signal(base::Signal(15)));
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn a_program_that_waits_for_it_ends_as_it_likes() {
    let (status, took) = pressed(|script| async move {
        let set = block(&script).await;
        let wait = [set, 0, 0, 8, 0, 0];
        let signal = script.syscall(u64::from(nr::RT_SIGTIMEDWAIT), wait).await;
        script
            .syscall(u64::from(nr::EXIT_GROUP), [signal.cast_unsigned() + 1, 0, 0, 0, 0, 0])
            .await;
    });
    assert_eq!((status, took), (ExitStatus::Code(16), Duration::ZERO));
}

#[test]
fn a_program_that_takes_no_notice_is_killed() {
    let (status, took) = pressed(|script| async move {
        block(&script).await;
        pause(&script).await;
    });
    assert_eq!(status, ExitStatus::Signal(base::Signal(9)));
    assert_eq!(took, Duration::from_secs(10));
}
