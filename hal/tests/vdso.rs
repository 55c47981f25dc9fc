//! Runs the vDSO's code on the host, against the host's own clock.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hal::VdsoParameters;
use hal::memory::Frame;
use hal::vdso;
use std::arch::asm;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;

/// The two pages, mapped where they can be executed.
struct Mapped {
    base: *mut u8,
}

/// mmap(2) without a C library binding.
fn map(bytes: usize) -> *mut u8 {
    let result: isize;
    // SAFETY: an anonymous private mapping at an address that the kernel chooses touches nothing.
    unsafe {
        asm!("syscall", inlateout("rax") 9_isize => result, in("rdi") 0, in("rsi") bytes,
            in("rdx") 7, in("r10") 0x22, in("r8") -1_isize, in("r9") 0,
            lateout("rcx") _, lateout("r11") _);
    }
    assert!(result > 0, "mmap: {result}");
    std::ptr::with_exposed_provenance_mut(result as usize)
}

impl Mapped {
    fn new(parameters: &VdsoParameters) -> Self {
        let base = map(2 * PAGE);
        let frame = Frame::zeroed().unwrap();
        vdso::write_data(&frame, parameters);
        let mut pages = vec![0; 2 * PAGE];
        frame.read(0, &mut pages[..PAGE]);
        let code = vdso::code();
        let start = PAGE + vdso::CODE_OFFSET;
        pages[start..start + code.len()].copy_from_slice(code);
        // SAFETY: both are two pages long, and the mapping is ours.
        unsafe { base.copy_from_nonoverlapping(pages.as_ptr(), pages.len()) };
        Self { base }
    }

    /// Calls a function with two arguments.
    fn call(&self, name: &str, first: u64, second: u64) -> i64 {
        let function = vdso::functions().into_iter().find(|f| f.name == name).unwrap();
        let at = PAGE + vdso::CODE_OFFSET + function.offset;
        let result: i64;
        // SAFETY: the code follows the System V ABI, and writes only where its arguments point.
        unsafe {
            asm!("call {at}", at = in(reg) self.base.add(at), in("rdi") first, in("rsi") second,
                lateout("rax") result, clobber_abi("C"));
        }
        result
    }

    fn clock(&self, clock: u64) -> Duration {
        let mut time = [0_u64; 2];
        let result = self.call("__vdso_clock_gettime", clock, (&raw mut time).addr() as u64);
        assert_eq!(result, 0);
        Duration::new(time[0], u32::try_from(time[1]).unwrap())
    }
}

fn tsc() -> u64 {
    // SAFETY: reading the counter has no effect.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The host's counter, measured.
fn parameters(wall_at_zero: u64) -> VdsoParameters {
    let (start, from) = (Instant::now(), tsc());
    std::thread::sleep(Duration::from_millis(50));
    let ticks = tsc() - from;
    let multiplier = ((start.elapsed().as_nanos() << 32) / u128::from(ticks)) as u64;
    VdsoParameters { tsc_base: from, multiplier, shift: 32, wall_at_zero }
}

#[test]
fn clocks_tell_the_time() {
    const WALL: u64 = 1_767_225_600_987_654_321;
    let mapped = Mapped::new(&parameters(WALL));
    let mut last = mapped.clock(1);
    for clock in [1, 4, 6, 7, 1, 7] {
        let now = mapped.clock(clock);
        assert!(now >= last && now - last < Duration::from_secs(1), "{now:?} after {last:?}");
        last = now;
    }
    for clock in [0, 5, 11] {
        let wall = mapped.clock(clock);
        let since = wall - Duration::from_nanos(WALL);
        assert!(since >= last && since - last < Duration::from_secs(1));
        last = since;
    }
    let (before, started) = (mapped.clock(1), Instant::now());
    std::thread::sleep(Duration::from_millis(100));
    let (after, real) = (mapped.clock(1), started.elapsed());
    let differs = (after - before).abs_diff(real);
    assert!(differs < Duration::from_millis(20), "off by {differs:?}");
}

#[test]
fn other_forms_agree() {
    let mapped = Mapped::new(&parameters(1_767_225_600_000_000_000));
    let mut time = [0_u64; 2];
    let mut zone = [u32::MAX; 2];
    let to = |pointer: *mut u8| pointer.addr() as u64;
    let zone_at = to((&raw mut zone).cast());
    assert_eq!(mapped.call("__vdso_gettimeofday", to((&raw mut time).cast()), zone_at), 0);
    let wall = mapped.clock(0);
    let told = Duration::new(time[0], 0) + Duration::from_micros(time[1]);
    assert!(time[1] < 1_000_000);
    assert!(wall >= told && wall - told < Duration::from_secs(1));
    assert_eq!(zone, [0, 0]);
    assert_eq!(mapped.call("__vdso_gettimeofday", 0, 0), 0);
    let mut seconds = 0_u64;
    let result = mapped.call("__vdso_time", to((&raw mut seconds).cast()), 0);
    assert_eq!(result as u64, seconds);
    assert!(seconds.abs_diff(mapped.clock(0).as_secs()) <= 1);
    assert_eq!(mapped.call("__vdso_time", 0, 0) as u64 / 60, seconds / 60);
}

#[test]
fn division_is_exact_everywhere() {
    // A counter that stands still: base far in the future gives zero, so wall time is the offset.
    for wall in
        [0, 999_999_999, 1_000_000_000, 1_999_999_999, u64::MAX, 1 << 63, 1_767_225_600_123_456_789]
    {
        let still =
            VdsoParameters { tsc_base: u64::MAX, multiplier: 1, shift: 0, wall_at_zero: wall };
        assert_eq!(Mapped::new(&still).clock(0), Duration::from_nanos(wall));
        assert_eq!(Mapped::new(&still).clock(1), Duration::ZERO);
    }
}

#[test]
fn what_it_does_not_know_the_kernel_answers() {
    let mapped = Mapped::new(&parameters(0));
    // CLOCK_PROCESS_CPUTIME_ID.
    assert!(mapped.clock(2) < Duration::from_secs(3600));
    let mut time = [0_u64; 2];
    const EINVAL: i64 = 22;
    let at = (&raw mut time).addr() as u64;
    assert_eq!(mapped.call("__vdso_clock_gettime", 99, at), -EINVAL);
    assert_eq!(mapped.call("__vdso_clock_getres", 1, at), 0);
    assert_eq!(time, [0, 1]);
    assert_eq!(mapped.call("__vdso_getcpu", at, 0), 0);
}
