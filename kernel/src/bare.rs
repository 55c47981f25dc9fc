//! The machine from power-on to the program's end.

use crate::{display, hardware};
use alloc::format;
use alloc::vec::Vec;
use base::PAGE_SIZE;
use base::sync::Once;
use bundle::Archive;
use bundle::config::Config;
use core::fmt::Arguments;
use drivers::{AttachedInput, AttachedNet, AttachedScreen, Devices};
use hal::boot::BootInfo;
use system::{Input, Link, Parts, StartError, System};

hal::entry!(main);

fn main(info: BootInfo) -> ! {
    base::sync::cpus_are_told_by(hal::cpu::current);
    let surface = display::find(info.framebuffer);
    let (archive, config) = match settings(&info) {
        Ok(settings) => settings,
        Err(problem) => {
            let by_driver = || {
                let screen = drivers::probe(info.command_line, true, &mut |_| {}).screen.take();
                Some(screen?.surface)
            };
            let surface = surface.or_else(by_driver);
            let _ = surface.and_then(|surface| display::start(surface, None, &Config::default()));
            refuse(&problem)
        }
    };
    let wants_screen = surface.is_none();
    let mut display = surface.and_then(|surface| display::start(surface, None, &config));
    if config.restart_on_panic {
        hal::power::restart_on_failure();
    }
    let verbose = config.verbose || config.hardware;
    if verbose {
        say_machine(&info);
    }
    let mut log = |line: Arguments<'_>| {
        if verbose {
            say(format_args!("eggos: {line}\n"));
        }
    };
    let mut devices = drivers::probe(info.command_line, wants_screen, &mut log);
    if let Some(AttachedScreen { surface, irq }) = devices.screen.take() {
        display = display::start(surface, irq, &config);
    }
    let seed = seed(&mut devices);
    let cpus = hal::cpu::start_others(config.cpus.unwrap_or(u32::MAX), run_secondary);
    if verbose {
        hardware::print(&info, &devices, display.as_ref());
    }
    if config.hardware {
        hardware::stop();
    }
    let parts = Parts {
        archive,
        config,
        links: links(devices.nets),
        inputs: inputs(devices.inputs),
        seed,
        cpus,
        console_irq: hal::console::irq(),
        display,
        button_irq: hal::power::button(),
        shuffle: None,
        script: None,
    };
    let system = match System::new(parts) {
        Ok(system) => system,
        Err(problem) => refuse(&problem),
    };
    SYSTEM.call_once(|| system).run()
}

static SYSTEM: Once<System> = Once::new();

/// What the other CPUs do from their start.
fn run_secondary() -> ! {
    SYSTEM.wait().run()
}

/// The archive and the settings in it, changed by the command line.
fn settings(info: &BootInfo) -> Result<(Archive<'static>, Config), StartError> {
    let mut bytes = info.archive.ok_or(match info.seal {
        Some(_) => StartError::CutOff,
        None => StartError::NoArchive,
    })?;
    if let Some(seal) = info.seal {
        bytes = bytes
            .get(..seal.bytes as usize)
            .filter(|bytes| bundle::checksum(bytes) == seal.checksum)
            .ok_or(StartError::Checksum)?;
    }
    let archive = Archive::new(bytes);
    let mut config = system::settings(&archive)?;
    for problem in config.apply_command_line(info.command_line) {
        say(format_args!("eggos: command line: {problem}\n"));
    }
    Ok((archive, config))
}

/// A seed from the processor and from virtio-rng, whatever there is.
fn seed(devices: &mut Devices) -> [u8; 32] {
    let mut seed = [0; 32];
    let has_hardware = hal::entropy::seed(&mut seed);
    let mut more = [0; 32];
    let warn = &mut |line: Arguments<'_>| say(format_args!("eggos: {line}\n"));
    let from_device = devices.seed(&mut more, warn);
    for (byte, other) in seed.iter_mut().zip(more) {
        *byte ^= other;
    }
    if !has_hardware && from_device == 0 {
        say(format_args!(
            "eggos: no hardware randomness: keys made by this machine can be guessed\n"
        ));
    }
    seed
}

fn links(nets: Vec<AttachedNet>) -> Vec<Link> {
    nets.into_iter().map(|net| Link { device: net.device, irq: net.irq }).collect()
}

fn inputs(inputs: Vec<AttachedInput>) -> Vec<Input> {
    let input = |AttachedInput { source, description, irq }| Input { source, description, irq };
    inputs.into_iter().map(input).collect()
}

fn say_machine(info: &BootInfo) {
    let memory = hal::memory::statistics();
    say(format_args!(
        "eggos {}: {} MiB of memory, kernel at {:#x}..{:#x}, archive of {} KiB\n",
        env!("CARGO_PKG_VERSION"),
        memory.total * PAGE_SIZE / (1 << 20),
        info.kernel.0,
        info.kernel.1,
        info.archive.map_or(0, |archive| archive.len() / 1024),
    ));
}

pub(crate) fn say(line: Arguments<'_>) {
    hal::console::write(format!("{line}").as_bytes());
}

/// The machine cannot run the program: says why, to `egg` or else on the console, and ends.
fn refuse(problem: &StartError) -> ! {
    if hal::console::has_control() {
        hal::console::control(&format!("refused {problem}"));
    } else {
        say(format_args!("eggos: {problem}\n"));
        display::settle();
        hal::console::linger();
    }
    hal::power::off(true)
}
