//! Runs the vDSO's code on the host, against the host's own clock and a model of its random bytes.
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
        self.call_all(name, [first, second, 0, 0, 0])
    }

    /// Calls a function with up to five arguments.
    fn call_all(&self, name: &str, arguments: [u64; 5]) -> i64 {
        let [first, second, third, fourth, fifth] = arguments;
        let function = vdso::functions().into_iter().find(|f| f.name == name).unwrap();
        let at = PAGE + vdso::CODE_OFFSET + function.offset;
        let result: i64;
        // SAFETY: the code follows the System V ABI, and writes only where its arguments point.
        unsafe {
            asm!("call {at}", at = in(reg) self.base.add(at), in("rdi") first, in("rsi") second,
                in("rdx") third, in("rcx") fourth, in("r8") fifth,
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

const STATE_BYTES: u64 = 144;

/// The memory of one thread's random numbers.
#[repr(C, align(256))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    batch: [u8; 96],
    key: [u8; 32],
    generation: u64,
    position: u8,
    in_use: u8,
}

impl State {
    const EMPTY: Self =
        Self { batch: [0; 96], key: [0; 32], generation: 0, position: 0, in_use: 0 };

    /// One that has a key, and nothing made by it.
    const fn keyed(key: [u8; 32]) -> Self {
        Self { key, generation: 1, position: 96, ..Self::EMPTY }
    }

    /// What the function gives and leaves, written down once more.
    fn model(&mut self, mut out: &mut [u8]) {
        loop {
            let start = usize::from(self.position);
            let count = out.len().min(96 - start);
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&self.batch[start..start + count]);
            self.batch[start..start + count].fill(0);
            self.position += count as u8;
            if later.is_empty() {
                return;
            }
            let mut stream = (0..).map(|number| block(&self.key, number));
            let (whole, rest) = later.split_at_mut(later.len() / 64 * 64);
            for place in whole.chunks_exact_mut(64) {
                place.copy_from_slice(&stream.next().unwrap());
            }
            let (first, second) = (stream.next().unwrap(), stream.next().unwrap());
            self.batch[..64].copy_from_slice(&first);
            self.batch[64..].copy_from_slice(&second[..32]);
            self.key.copy_from_slice(&second[32..]);
            self.position = 0;
            out = rest;
        }
    }
}

/// ChaCha20's block function (RFC 8439, section 2.3) without a nonce.
fn block(key: &[u8; 32], number: u32) -> [u8; 64] {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    for (slot, bytes) in start[4..12].iter_mut().zip(key.chunks_exact(4)) {
        *slot = word(bytes);
    }
    start[12] = number;
    let mut state = start;
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for (x, y, z, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            state[x] = state[x].wrapping_add(state[y]);
            state[z] = (state[z] ^ state[x]).rotate_left(turn);
        }
    };
    for _ in 0..10 {
        (0..4).for_each(|at| quarter(at, at + 4, at + 8, at + 12));
        (0..4).for_each(|at| quarter(at, (at + 1) % 4 + 4, (at + 2) % 4 + 8, (at + 3) % 4 + 12));
    }
    let mut bytes = [0; 64];
    for ((place, word), add) in bytes.chunks_exact_mut(4).zip(state).zip(start) {
        place.copy_from_slice(&word.wrapping_add(add).to_le_bytes());
    }
    bytes
}

/// Asks for random bytes.
fn random(mapped: &Mapped, out: &mut [u8], flags: u64, state: &mut State) -> i64 {
    let (at, length) = (out.as_mut_ptr().addr() as u64, out.len() as u64);
    let state = (&raw mut *state).addr() as u64;
    mapped.call_all("__vdso_getrandom", [at, length, flags, state, STATE_BYTES])
}

#[test]
fn the_models_block_is_that_of_the_rfc() {
    // Appendix A.1, test vector 1: all zero.
    assert_eq!(block(&[0; 32], 0)[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    // Test vector 3: the last byte of the key is 1, block 1.
    let mut key = [0; 32];
    key[31] = 1;
    assert_eq!(block(&key, 1)[..8], [0x3a, 0xeb, 0x52, 0x24, 0xec, 0xf8, 0x49, 0x92]);
}

#[test]
fn random_bytes_are_those_of_the_model() {
    let mapped = Mapped::new(&parameters(0));
    let mut choice = 88_172_645_463_325_252_u64;
    for round in 0..200_u8 {
        let mut state = State::keyed([round; 32]);
        let mut model = state;
        for _ in 0..50 {
            choice ^= choice << 13;
            choice ^= choice >> 7;
            choice ^= choice << 17;
            let longest = if choice.is_multiple_of(3) { 1000 } else { 40 };
            let length = (choice >> 32) as usize % longest;
            let (mut got, mut want) = (vec![0; length + 8], vec![0; length + 8]);
            let (out, beyond) = got.split_at_mut(length);
            assert_eq!(random(&mapped, out, 0, &mut state), length as i64);
            assert_eq!(beyond, [0; 8]);
            if length > 0 {
                model.model(&mut want[..length]);
            }
            assert_eq!(got, want, "{length} bytes");
            assert_eq!(state, model, "{length} bytes");
        }
    }
}

#[test]
fn each_state_has_a_key_of_its_own_and_gets_another_when_it_was_dropped() {
    let mapped = Mapped::new(&parameters(0));
    let mut seen = std::collections::BTreeSet::new();
    let mut states = [State::EMPTY; 4];
    for _ in 0..3 {
        for state in &mut states {
            for length in [16, 32, 200] {
                let mut out = vec![0; length];
                assert_eq!(random(&mapped, &mut out, 0, state), length as i64);
                assert!(seen.insert(out), "the same bytes once more");
            }
            assert_eq!((state.generation, state.in_use), (1, 0));
        }
        states = [State::EMPTY; 4];
    }
}

#[test]
fn a_state_is_asked_for_and_what_is_wrong_is_said() {
    const PROTECTION: u32 = 3;
    const DROPPABLE_ANONYMOUS: u32 = 0x28;
    let mapped = Mapped::new(&parameters(0));
    let call = |arguments| mapped.call_all("__vdso_getrandom", arguments);
    let mut needs = [u32::MAX; 17];
    let at = needs.as_mut_ptr().addr() as u64;
    assert_eq!(call([0, 0, 0, at, u64::MAX]), 0);
    assert_eq!(needs[..3], [STATE_BYTES as u32, PROTECTION, DROPPABLE_ANONYMOUS]);
    assert!(needs[3..16].iter().all(|word| *word == 0));
    assert_eq!(needs[16], u32::MAX);

    let pages = map(2 * PAGE).addr() as u64;
    let mut out = [0_u8; 16];
    let to = out.as_mut_ptr().addr() as u64;
    let across = pages + PAGE as u64 - STATE_BYTES;
    assert_eq!(call([to, 16, 0, across, STATE_BYTES]), 16);
    assert_eq!(call([to, 16, 0, across + 1, STATE_BYTES]), -14, "EFAULT");
    // The kernel decides.
    assert_eq!(call([to, 16, 0, pages, STATE_BYTES - 1]), 16);
    assert_eq!(call([to, 16, 8, pages, STATE_BYTES]), -22, "EINVAL");
    assert_eq!(call([to, 0, 0, pages, STATE_BYTES]), 0);
    // Within a handler that came while the state was used.
    let mut busy = State { in_use: 1, ..State::keyed([7; 32]) };
    let before = busy;
    out = [0; 16];
    assert_eq!(random(&mapped, &mut out, 0, &mut busy), 16);
    assert!(out != [0; 16] && busy == before);
}
