//! What the machine is made of, for people: at boot (`--verbose`), and as a page on which the machine
//! stops (the setting `hardware`), so that somebody with a strange PC can report it.

use crate::bare::say;
use crate::display;
use core::fmt::Arguments;
use drivers::Devices;
use hal::boot::{BootInfo, Framebuffer};
use system::Display;

/// Prints the rows.
pub(crate) fn print(info: &BootInfo, devices: &Devices, display: Option<&Display>) {
    hal::inventory::rows(&mut row);
    drivers::inventory::rows(&mut row);
    row("networks", format_args!("{}", devices.nets.len()));
    row("randomness", format_args!("{} devices", devices.rngs.len()));
    if let Some(Framebuffer { address, width, height, bits, .. }) = info.framebuffer {
        row(
            "picture",
            format_args!("{width}x{height}, {bits} bits, by the loader at {address:#x}"),
        );
    }
    for input in &devices.inputs {
        row("input", format_args!("{:?}", input.description.name));
    }
    let Some(display) = display else { return row("screen", format_args!("none")) };
    let layout = display.surface.layout();
    row("screen", format_args!("{}x{}", layout.width, layout.height));
    let ps2 = |there: bool| if there { "PS/2" } else { "none" };
    row("keyboard", format_args!("{}", ps2(display.keyboard_irq.is_some())));
    row("mouse", format_args!("{}", ps2(display.mouse.is_some())));
}

fn row(name: &str, text: Arguments<'_>) {
    say(format_args!("eggos: {name:<11} {text}\n"));
}

/// The page stays for as long as the machine is on; `egg` reads it at once.
pub(crate) fn stop() -> ! {
    if hal::console::has_control() {
        hal::console::control("exit 0");
        hal::power::off(true)
    }
    let button = hal::power::button().map_or("", |_| "; the power button ends it");
    row("stopped", format_args!("as the setting `hardware` asks{button}"));
    display::settle();
    loop {
        let _ = hal::irq::take_pending();
        if hal::power::button_pressed() {
            hal::power::off(true)
        }
        hal::cpu::idle();
    }
}
