//! The kernel as a Linux process, from its start to the program's end. `egg run --machine process`
//! starts it as it starts QEMU:
//!
//! `kernel MEMORY IMAGE CONTROL FORWARD…`: bytes of memory, the image's path, the number of the
//! inherited file descriptor that lines for `egg` go to, and forwarded ports as in QEMU's `hostfwd=`.

use bundle::Archive;
use gateway::Forward;
use hal::host::HostParts;
use std::fs::File;
use std::process::ExitCode;
use std::sync::OnceLock;
use system::{Link, Parts, StartError, System};

/// What is wrong with the arguments, or missing on this host.
const EXIT_USAGE: u8 = 1;
const USAGE: &str = "usage: kernel MEMORY IMAGE CONTROL FORWARD...";

pub(crate) fn main() -> ExitCode {
    let problem = match start() {
        Ok((image, links)) => run(image, links),
        Err(problem) => problem,
    };
    eprintln!("eggos: {problem}");
    ExitCode::from(EXIT_USAGE)
}

/// Starts the machine and its network.
fn start() -> Result<(&'static [u8], Vec<Link>), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [memory, image, control, forwards @ ..] = arguments.as_slice() else {
        return Err(USAGE.to_owned());
    };
    let forwards: Vec<Forward> =
        forwards.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let image = hal::host::start(parts(memory, image, control)?).map_err(|e| e.to_string())?;
    let link = network(&forwards).map_err(|error| format!("network: {error}"))?;
    Ok((image, vec![link]))
}

fn parts(memory: &str, image: &str, control: &str) -> Result<HostParts, String> {
    let memory = memory.parse().map_err(|_| USAGE.to_owned())?;
    let control = control.parse().map_err(|_| USAGE.to_owned())?;
    let image = File::open(image).map_err(|error| format!("{image}: {error}"))?;
    Ok(HostParts { memory, image, control: Some(control) })
}

fn network(forwards: &[Forward]) -> std::io::Result<Link> {
    let irq = hal::irq::allocate();
    let interrupt = Box::new(move || irq.into_iter().for_each(hal::irq::raise));
    let mut seed = [0; 8];
    hal::entropy::seed(&mut seed);
    let seed = u64::from_le_bytes(seed);
    let port = hal::host::beside_processors(|| gateway::start(forwards, seed, interrupt))?;
    Ok(Link { device: Box::new(port), irq })
}

fn run(image: &'static [u8], links: Vec<Link>) -> ! {
    match system(image, links) {
        Ok(system) => SYSTEM.get_or_init(|| system).run(),
        Err(problem) => {
            hal::console::control(&format!("refused {problem}"));
            hal::power::off(true)
        }
    }
}

fn system(image: &'static [u8], links: Vec<Link>) -> Result<System, StartError> {
    let archive = Archive::new(image);
    let config = system::settings(&archive)?;
    let cpus = hal::cpu::start_others(config.cpus.unwrap_or(1), work_on_other_cpu);
    let mut seed = [0; 32];
    if !hal::entropy::seed(&mut seed) {
        hal::console::control("warn no randomness: keys made by this machine can be guessed");
    }
    System::new(Parts {
        archive,
        config,
        links,
        seed,
        cpus,
        console_irq: hal::console::irq(),
        display: None,
        inputs: Vec::new(),
        button_irq: hal::power::button(),
        shuffle: None,
        script: None,
    })
}

static SYSTEM: OnceLock<System> = OnceLock::new();

/// What the other CPUs do from their start.
fn work_on_other_cpu() -> ! {
    SYSTEM.wait().run()
}
