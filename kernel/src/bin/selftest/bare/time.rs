//! Clocks and the timer.

use super::{Outcome, check};
use base::Instant;
use core::time::Duration;
use hal::boot::BootInfo;
use hal::{clock, cpu};

pub(crate) fn monotonic(_: &BootInfo) -> Outcome {
    let mut last = clock::now();
    for _ in 0..10_000 {
        let now = clock::now();
        check(now >= last, "time went back")?;
        last = now;
    }
    check(last > Instant::ZERO && last.nanoseconds() < 600_000_000_000, "time since the start")?;
    // 2020 to 2100.
    let wall = clock::wall(last).seconds();
    check((1_577_836_800..4_102_444_800).contains(&wall), "wall clock")
}

pub(crate) fn timer(_: &BootInfo) -> Outcome {
    for microseconds in [1, 100, 2000, 20_000] {
        let start = clock::now();
        let deadline = start + Duration::from_micros(microseconds);
        clock::arm(Some(deadline + Duration::from_secs(100)));
        clock::arm(Some(deadline));
        for _ in 0..1000 {
            if clock::now() >= deadline {
                break;
            }
            cpu::idle();
            clock::arm(Some(deadline));
        }
        let late = clock::now().saturating_since(deadline);
        check(clock::now() >= deadline, "woke up too often, too early")?;
        check(late < Duration::from_millis(200), "woke up too late")?;
    }
    // In the past: at once.
    clock::arm(Some(Instant::ZERO));
    cpu::idle();
    // An earlier deadline that was taken back only wakes.
    clock::arm(Some(clock::now() + Duration::from_millis(5)));
    clock::arm(None);
    let deadline = clock::now() + Duration::from_millis(20);
    clock::arm(Some(deadline));
    for _ in 0..1000 {
        if clock::now() >= deadline {
            return Ok(());
        }
        cpu::idle();
        clock::arm(Some(deadline));
    }
    Err("the second deadline was lost")
}

pub(crate) fn vdso(_: &BootInfo) -> Outcome {
    let parameters = clock::vdso_parameters();
    let wall = clock::wall(Instant::ZERO).nanoseconds;
    check(parameters.wall_at_zero == wall, "wall clock at the start")?;
    check(parameters.multiplier > 0 && parameters.shift == 32, "factors")
}
