//! `egg run`.

use std::time::Instant;

use anyhow::Context;
use bundle::config::Size;

use crate::accel;
use crate::cli::{Display, MachineKind, RunArgs};
use crate::content::{self, Content};
use crate::control::{Event, signal_name};
use crate::exit::{Code, Ended, Failure};
use crate::formats::open;
use crate::forward::Forward;
use crate::launch::MemoryFile;
use crate::outcome::Outcome;
use crate::plan::{DEFAULT_MEMORY, Plan, Target};
use crate::qemu::{self, Accel, Boot, Channel, Machine};
use crate::returned::Returned;
use crate::symbols::Symbols;
use crate::terminal::{self, Raw};
use crate::vm::{self, Connection};

/// Prepares, boots, waits.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<Ended> {
    let plan = Plan::of_run(args, &super::host())?;
    if let Target::File(path) = &plan.target
        && let bytes = content::read(path)?
        && let Some(opened) = open::open(&bytes)
    {
        return match super::medium::start(args, &plan, path, &bytes, opened)? {
            Ok(outcome) => ended(outcome),
            Err(ended) => Ok(ended),
        };
    }
    anyhow::ensure!(args.firmware.is_none(), NO_FIRMWARE);
    let content = Content::prepare(&plan)?;
    match start(args, &content, DEFAULT_MEMORY, None)? {
        Ok(outcome) => ended(outcome),
        Err(ended) => Ok(ended),
    }
}

/// Boots what was prepared and waits for its end; an [`Ended`] when there was nothing to boot. What
/// comes back goes to `returned`.
pub(crate) fn start(
    args: &RunArgs,
    content: &Content,
    default_memory: Size,
    returned: Option<&mut Returned>,
) -> anyhow::Result<Result<Outcome, Ended>> {
    let memory = content.config.memory.unwrap_or(default_memory);
    let archive = content.archive(memory)?;
    content.check_memory(memory, &archive)?;
    let forwards = claimed(args)?;
    let accel = match args.machine {
        MachineKind::Process => Accel::Host,
        _ => match accel::choose(args.accel, &content.kernel, args.verbose)? {
            Ok(accel) => accel,
            Err(ended) => return Ok(Err(ended)),
        },
    };
    let kernel_file = MemoryFile::new("kernel", content.kernel.elf())?;
    let image_file = MemoryFile::new("image", &archive)?;
    let machine = Machine {
        kind: kind(args),
        accel,
        memory,
        cpus: content.config.cpus.unwrap_or(1),
        boot: Boot::Kernel { kernel: kernel_file.path(), image: Some(image_file.path()) },
        display: args.display,
        console: Channel::Stdio,
        control: Channel::Stdio,
        forwards,
    };
    if args.dry_run {
        return dry_run(machine, content, &archive).map(Err);
    }
    for forward in &machine.forwards {
        terminal::say(&forward.to_string());
    }
    drop(archive);
    boot(machine, content, args.verbose, returned).map(Ok)
}

/// The forwarded ports, each with a port of this host.
pub(super) fn claimed(args: &RunArgs) -> anyhow::Result<Vec<Forward>> {
    let mut forwards = args.publish.clone();
    for forward in &mut forwards {
        forward.claim()?;
    }
    Ok(forwards)
}

/// The kind of machine: the smallest has no screen.
fn kind(args: &RunArgs) -> MachineKind {
    match (args.machine, args.display) {
        (MachineKind::Microvm, Display::Gtk | Display::Sdl | Display::Vnc) => MachineKind::Q35,
        (kind, _) => kind,
    }
}

/// Boots a machine and waits for its end.
pub(super) fn boot(
    machine: Machine,
    content: &Content,
    verbose: bool,
    mut returned: Option<&mut Returned>,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let mut symbols = None;
    let mut on_event = |event: &Event| match event {
        Event::Panic(text) => say(format_args!("kernel panic: {text}")),
        Event::Frame(address) => {
            let symbols: &Symbols = symbols.get_or_insert_with(|| content.kernel.symbols());
            let name = symbols.name(*address).unwrap_or_else(|| "?".to_owned());
            say(format_args!("  {address:#018x} {name}"));
        }
        Event::Warn(text) => say(format_args!("warning: {text}")),
        Event::Trace(line) => terminal::show(format!("{line}\n").as_bytes()),
        Event::Unimplemented(call, addresses) => {
            let caller = caller(content, addresses);
            say(format_args!("{}; {caller} made it", not_here(call)));
        }
        Event::File { path, data } => {
            if let Some(returned) = returned.as_mut() {
                returned.take(path, data);
            }
        }
        Event::Ready if verbose => say(format_args!("ready after {:?}", started.elapsed())),
        Event::Net(address) if verbose => say(format_args!("network up: {address}")),
        Event::Unknown(line) if verbose => say(format_args!("not understood: {line}")),
        Event::Ready
        | Event::Net(_)
        | Event::Unknown(_)
        | Event::Exit(_)
        | Event::Signal(_)
        | Event::Refused(_) => {}
    };
    let raw = if content.config.tty { Some(Raw::enter()?) } else { None };
    let connection = Connection {
        terminal: content.config.tty,
        input: terminal::stdin_is_ours_to_read(),
        output: true,
        limit: None,
        on_event: &mut on_event,
        verbose,
    };
    let outcome = vm::run(machine, connection)?;
    drop(raw);
    Ok(outcome)
}

/// What is said of a system call that failed with ENOSYS.
fn not_here(call: &str) -> String {
    const STARTS: [&str; 6] = ["clone", "clone3", "fork", "vfork", "execve", "execveat"];
    if STARTS.iter().any(|name| call.split(' ').next() == Some(name)) {
        format!("eggos runs one program, system call {call} for another fails (ENOSYS)")
    } else {
        format!("system call {call} is not implemented (ENOSYS)")
    }
}

/// The function of the program that made a call: the first one that is not the Go library's own
/// wrapper around system calls.
fn caller(content: &Content, addresses: &[u64]) -> String {
    const WRAPPERS: [&str; 8] = [
        "os.",
        "os/exec.",
        "syscall.",
        "runtime/internal/syscall.",
        "internal/runtime/syscall.",
        "internal/runtime/syscall/linux.",
        "golang.org/x/sys/unix.",
        "runtime.",
    ];
    let program = content.tree.contents(&content.config.program).unwrap_or_default();
    let symbols = Symbols::from_elf(program).unwrap_or_default();
    let names: Vec<String> = addresses.iter().filter_map(|at| symbols.name(*at)).collect();
    let is_wrapper = |name: &&String| !WRAPPERS.iter().any(|wrapper| name.starts_with(wrapper));
    let named = names.iter().find(is_wrapper).or_else(|| names.first());
    match (named, addresses.first()) {
        (Some(name), _) => name.clone(),
        (None, Some(address)) => format!("code at {address:#x}"),
        (None, None) => "the program".to_owned(),
    }
}

/// The exit code for the end of a machine; what the user must know is printed.
pub(crate) fn ended(outcome: Outcome) -> anyhow::Result<Ended> {
    match outcome {
        Outcome::Exited(code) => Ok(Ended(code)),
        // Whoever pressed Ctrl-C knows.
        Outcome::Killed(number) if signal_name(number) == "SIGINT" => Ok(Ended::by_signal(number)),
        Outcome::Killed(number) => {
            say(format_args!("the program was killed by {}", signal_name(number)));
            Ok(Ended::by_signal(number))
        }
        Outcome::Refused(why) => Failure::err(Code::CannotRun, why),
        Outcome::Stopped(number) => Ok(Ended::by_signal(number)),
        Outcome::KernelFailed(why) => Failure::err(Code::Kernel, format!("kernel failure: {why}")),
        Outcome::QemuFailed(why) => Failure::err(Code::Usage, why),
        Outcome::NoQemu => Failure::err(Code::Usage, NO_QEMU),
        Outcome::TimedOut => Failure::err(Code::Kernel, "the machine did not end in time"),
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    terminal::say(&line.to_string());
}

const NO_FIRMWARE: &str =
    "--firmware is for images that egg build made with a boot loader; QEMU starts programs without";

const NO_QEMU: &str = "there is no qemu-system-x86_64; install it: apt-get install qemu-system-x86 (Debian, Ubuntu), dnf install qemu-system-x86-core (Fedora), pacman -S qemu-system-x86 (Arch)";

/// Prints a command that really works: its files are put where they stay.
fn dry_run(mut machine: Machine, content: &Content, archive: &[u8]) -> anyhow::Result<Ended> {
    let directory = accel::cache_directory().unwrap_or_else(std::env::temp_dir).join("dry-run");
    let write = |name: &str, contents: &[u8]| {
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(name);
        std::fs::write(&path, contents)?;
        Ok::<_, std::io::Error>(path)
    };
    let context = || format!("cannot write to {}", directory.display());
    let kernel = write("kernel", content.kernel.elf()).with_context(context)?;
    let image = Some(write("image", archive).with_context(context)?);
    machine.boot = Boot::Kernel { kernel, image };
    machine.control = Channel::File("/dev/stderr".into());
    println!("{}", qemu::shell_line(&machine));
    Ok(Ended::SUCCESS)
}
