//! Tests `hal` on the machine itself. The exit status says whether all passed: 33, else 35 (a
//! failed test is a kernel panic). `tests/selftest.sh` runs it on several machines.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bare {
    pub(crate) mod cpus;
    pub(crate) mod devices;
    pub(crate) mod hostile;
    pub(crate) mod memory;
    pub(crate) mod pages;
    pub(crate) mod time;
    pub(crate) mod user;
    pub(crate) mod vectors;

    use alloc::format;
    use hal::boot::BootInfo;
    use hal::{clock, console, power};

    hal::entry!(main);

    /// What a test finds wrong.
    pub(crate) type Outcome = Result<(), &'static str>;

    /// `Err(what)` unless `holds`.
    pub(crate) fn check(holds: bool, what: &'static str) -> Outcome {
        if holds { Ok(()) } else { Err(what) }
    }

    type Test = (&'static str, fn(&BootInfo) -> Outcome);

    const TESTS: &[Test] = &[
        ("boot: what the loader said makes sense", devices::boot_information),
        ("memory: frames are zeroed, shared and given back", memory::frames),
        ("memory: copies and fills of every small length", memory::copies),
        ("memory: the heap grows, moves and shrinks", memory::heap),
        ("memory: the program runs out before the heap", memory::exhaustion),
        ("memory: the archive is read in place", memory::archive),
        ("space: map, look up, protect, unmap", pages::mapping),
        ("space: tables are given back", pages::tables),
        ("space: relocate", pages::relocation),
        ("space: large pages are made, split and given back", pages::large),
        ("usercopy: crosses pages, stops at the exact byte", pages::copies),
        ("usercopy: refuses kernel addresses", pages::limits),
        ("usercopy: compare and exchange", pages::exchange),
        ("user: registers cross system calls", user::system_calls),
        ("user: registers cross interrupts", user::interrupts),
        ("user: faults", user::faults),
        ("user: exceptions", user::exceptions),
        ("user: bad instruction pointers", user::bad_pointers),
        ("user: flags are sanitised", user::flags),
        ("user: FS and GS bases", user::bases),
        ("user: protection changes take effect", user::protection),
        ("user: no way out of 64-bit mode", user::compatibility),
        ("user: random programs", hostile::random_programs),
        ("vectors: initial state", vectors::initial),
        ("vectors: two threads do not mix", vectors::switching),
        ("vectors: duplicates and drops", vectors::copies),
        ("vectors: hostile state is refused or masked", vectors::hostile),
        ("clock: moves forward", time::monotonic),
        ("clock: the timer wakes an idle processor", time::timer),
        ("clock: vDSO parameters give the same time", time::vdso),
        ("devices: DMA, MMIO, PCI, entropy, messages", devices::ports),
        ("cpus: idle ones do not hold addresses of large blocks", cpus::large_blocks),
    ];

    fn main(info: BootInfo) -> ! {
        for (name, test) in TESTS {
            let start = clock::now();
            match test(&info) {
                Ok(()) => {
                    let took = clock::now() - start;
                    console::write(format!("ok {name} ({} us)\r\n", took.as_micros()).as_bytes());
                }
                Err(what) => {
                    console::write(format!("FAILED {name}: {what}\r\n").as_bytes());
                    power::off(false);
                }
            }
        }
        console::write(format!("{} tests passed\r\n", TESTS.len()).as_bytes());
        user::measure();
        power::off(true)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program is a kernel: see tests/selftest.sh.");
    std::process::exit(2);
}
