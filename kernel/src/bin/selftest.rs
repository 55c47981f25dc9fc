//! Tests `hal` on the machine itself; judged by the exit status (33: all passed).
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
hal::entry!(main);

#[cfg(target_os = "none")]
extern crate alloc;
#[cfg(target_os = "none")]
fn main(info: hal::boot::BootInfo) -> ! {
    let v = hal::clock::vdso_parameters();
    let s = alloc::format!("{info:?}\r\n{:?} {:?} {v:?}\r\n wall {:?} {:?}\r\n", hal::memory::statistics(), hal::clock::now(), hal::clock::wall(hal::clock::now()), hal::console::irq());
    hal::console::write(s.as_bytes());
    hal::power::off(true)
}

#[cfg(not(target_os = "none"))]
fn main() {}
