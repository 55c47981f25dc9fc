//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use bundle::config::{Console, Keymap, Size};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit;
use crate::forward::Forward;
use crate::host_files::Wish;

/// Runs ordinary Go programs on their own machine, with only the eggos kernel under them.
#[derive(Parser, Debug)]
#[command(name = "egg", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = exit::HELP)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a Go package, an ELF file or an image as a machine; its console is this terminal
    #[command(after_help = exit::HELP)]
    Run(RunArgs),
    /// Test Go packages as `go test` does, each in a machine of its own
    #[command(override_usage = TEST_USAGE, after_help = TEST_HELP)]
    Test(TestArgs),
    /// Make an image: one file with the kernel, the program and its settings
    #[command(visible_alias = "pack")]
    Build(BuildArgs),
    /// Say what an ELF file or image is, and whether it will run
    Inspect(InspectArgs),
    /// Runs one test program in a machine: what `go test` starts in its place.
    #[command(hide = true, name = "__test")]
    TestProgram(TestArgs),
    /// Becomes the command that follows, and dies with its parent.
    #[command(hide = true, name = "__exec")]
    Exec {
        /// Process id of the parent.
        parent: i32,
        /// Program and arguments.
        #[arg(allow_hyphen_values = true, trailing_var_arg = true, required = true)]
        command: Vec<OsString>,
    },
}

/// What goes into an image; the same for `run` and `build`.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ContentArgs {
    /// Go package, ELF file or (run) image; the package in this folder when left out
    #[arg(value_name = "PACKAGE|ELF|IMAGE")]
    pub(crate) target: Option<PathBuf>,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
    /// Memory of the machine: 64M, 2G; a plain number counts MiB [default: 256M]
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<Size>,
    /// Processors of the machine [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) cpus: Option<u32>,
    /// Set an environment variable; without =VALUE it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Put a file or folder of this host into the machine; a folder's contents, with GUEST `/`
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) file: Vec<String>,
    /// Put this host's time zones into the machine; auto: if the program looks for them
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) zoneinfo: Wish,
    /// Put this host's CA certificates into the machine; auto: if the program looks for them
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) certificates: Wish,
    /// Folder of the machine in which the program starts [default: /]
    #[arg(long, value_name = "PATH")]
    pub(crate) workdir: Option<String>,
    /// Where the console is, on a machine with a screen: both, serial or screen [default: both]
    #[arg(long, value_name = "WHERE")]
    pub(crate) console: Option<Console>,
    /// Restart the machine when the kernel fails, where no `egg run` watches
    #[arg(long)]
    pub(crate) restart_on_panic: bool,
    /// Layout of the keyboard at the screen: us, de, fr or uk [default: us]
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) keymap: Option<Keymap>,
    /// Kernel to boot instead of the one within egg, in QEMU's machines
    #[arg(long, value_name = "ELF", env = "EGG_KERNEL")]
    pub(crate) kernel: Option<PathBuf>,
    /// For `go build`: build tags, separated by commas
    #[arg(long, value_name = "TAGS", allow_hyphen_values = true, help_heading = "Go build flags")]
    pub(crate) tags: Option<String>,
    /// For `go build`: flags for the linker
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true, help_heading = "Go build flags")]
    pub(crate) ldflags: Option<String>,
    /// For `go build`: flags for the compiler
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true, help_heading = "Go build flags")]
    pub(crate) gcflags: Option<String>,
    /// For `go build`: remove this host's paths from the program
    #[arg(long, help_heading = "Go build flags")]
    pub(crate) trimpath: bool,
}

/// `egg run`.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    /// Forward a port of this host: 8080:80, 0.0.0.0:8080:80, 5353:53/udp; host port 0 chooses one
    #[arg(short, long = "publish", value_name = "[ADDR:]HOST:GUEST[/udp]")]
    pub(crate) publish: Vec<Forward>,
    /// Kind of machine
    #[arg(long, value_enum, default_value_t)]
    pub(crate) machine: MachineKind,
    /// What starts the machine from an image with a boot loader; UEFI unless said, for .elf neither
    #[arg(long, value_enum)]
    pub(crate) firmware: Option<Firmware>,
    /// Show the machine's screen; microvm has none, q35 is taken in its place
    #[arg(long, value_enum, default_value_t)]
    pub(crate) display: Display,
    /// What runs the code of QEMU's machines; auto takes KVM where it works
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: AccelWish,
    /// Kernel for `--machine process` instead of the one within egg
    #[arg(long, value_name = "ELF", env = "EGG_PROCESS_KERNEL", hide = true)]
    pub(crate) process_kernel: Option<PathBuf>,
    /// Print every system call of the program
    #[arg(long)]
    pub(crate) trace: bool,
    /// Say what happens: egg's steps, the kernel's boot, QEMU's messages
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print the QEMU command instead of running it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const TEST_USAGE: &str = "egg test [EGG FLAGS] [GO TEST FLAGS] [PACKAGES] [-args ...]";
const TEST_HELP: &str =
    "What does not stand above is for `go test`, which see: go help test, go help testflag.
Flags with two dashes that stand above are egg's; Go's have one dash: -v, -run, -trace.

The program runs in the package's folder. A module of at most 32 MiB and 4,000 files is in the
machine whole; of a larger one, the package's folder with all that is below it (testdata, ...), the
testdata of the folders above it, up to go.mod, and what else of the module its tests name by a path
that begins with \"..\". The environment is this host's. Profiles come back to the host; other files
that a test writes do not.";

/// `egg test`. Its flags have no letters: those are Go's.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct TestArgs {
    /// Memory of a machine: 64M, 2G; a plain number counts MiB [default: 512M and the files]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<Size>,
    /// Processors of a machine [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) cpus: Option<u32>,
    /// Set an environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Put a file or folder of this host into the machine
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) file: Vec<String>,
    /// Kernel to boot instead of the one within egg, in QEMU's machines
    #[arg(long, value_name = "ELF", env = "EGG_KERNEL")]
    pub(crate) kernel: Option<PathBuf>,
    /// Kind of machine
    #[arg(long, value_enum, default_value_t)]
    pub(crate) machine: MachineKind,
    /// Kernel for `--machine process` instead of the one within egg
    #[arg(long, value_name = "ELF", env = "EGG_PROCESS_KERNEL", hide = true)]
    pub(crate) process_kernel: Option<PathBuf>,
    /// What runs the code of QEMU's machines; auto takes KVM where it works
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: AccelWish,
    /// Print every system call of the program
    #[arg(long)]
    pub(crate) trace: bool,
    /// Say what happens: egg's steps, the kernel's boot, QEMU's messages
    #[arg(long)]
    pub(crate) verbose: bool,
    /// What `go test` gets; or the test program and its arguments
    #[arg(last = true, allow_hyphen_values = true, hide = true)]
    pub(crate) words: Vec<String>,
}

/// `egg build`.
#[derive(Args, Debug, Clone)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    /// Where to write the image [default: NAME.egg, or the format's name in place of egg]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Form of the image; without it, the end of the output's name says
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// An image without a program: it says what the machine is made of, and stops
    #[arg(long, conflicts_with_all = ["target", "args"])]
    pub(crate) hardware: bool,
}

/// Forms of an image.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// An archive with the kernel in it, for `egg run`
    Egg,
    /// One ELF file: a kernel for QEMU, Firecracker, Cloud Hypervisor, GRUB
    Elf,
    /// One EFI program: for a UEFI machine's boot partition
    Efi,
    /// A CD that is a disk too: for USB sticks
    Iso,
    /// A disk, byte by byte
    Raw,
    /// The same for QEMU, libvirt, Proxmox, OpenStack
    Qcow2,
    /// The same for VMware and VirtualBox
    Vmdk,
    /// The same for Azure, and for Hyper-V's generation 1
    Vhd,
    /// The same for Hyper-V's generation 2
    Vhdx,
}

/// `egg inspect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct InspectArgs {
    /// The ELF file or image, of any form that `egg build` makes
    #[arg(value_name = "ELF|IMAGE", required_unless_present = "hardware")]
    pub(crate) file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say what a machine is made of, as the kernel finds it, and which driver takes what
    #[arg(long, conflicts_with_all = ["file", "json"])]
    pub(crate) hardware: bool,
    /// Kind of that machine
    #[arg(long, value_enum, default_value_t, requires = "hardware")]
    pub(crate) machine: MachineKind,
    /// Memory of that machine
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size, requires = "hardware")]
    pub(crate) memory: Option<Size>,
    /// Processors of that machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255), requires = "hardware")]
    pub(crate) cpus: Option<u32>,
    /// What runs its code
    #[arg(long, value_enum, default_value_t, requires = "hardware")]
    pub(crate) accel: AccelWish,
    /// Kernel to boot instead of the one within egg
    #[arg(long, value_name = "ELF", env = "EGG_KERNEL", hide = true)]
    pub(crate) kernel: Option<PathBuf>,
    /// Print the QEMU command instead of running it
    #[arg(long, requires = "hardware")]
    pub(crate) dry_run: bool,
}

/// What the kernel boots on: QEMU's machines, or this host.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum MachineKind {
    /// The smallest and fastest to start: virtio over MMIO, no PCI
    #[default]
    Microvm,
    /// A PC with PCI Express
    Q35,
    /// A PC of 1996
    Pc,
    /// No machine: the kernel is a process of this host, which needs no QEMU and runs the program's
    /// code natively. For development and tests: it isolates nothing
    Process,
}

/// `--firmware`.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Firmware {
    /// SeaBIOS, which QEMU has
    Bios,
    /// OVMF, a package of its own
    Uefi,
}

/// `--display`.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Display {
    /// A machine without a screen
    #[default]
    None,
    /// A window of GTK
    Gtk,
    /// A window of SDL
    Sdl,
    /// VNC on a port of 127.0.0.1 from 5900 on
    Vnc,
}

/// `--accel`.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum AccelWish {
    /// KVM where it really runs the kernel, else TCG
    #[default]
    Auto,
    /// The processor itself, by Linux
    Kvm,
    /// QEMU's translator
    Tcg,
}

fn parse_size(text: &str) -> Result<Size, String> {
    match text.parse() {
        Ok(Size { bytes: 0 }) | Err(()) => {
            Err("a size is a number with an optional K, M or G: 64M, 2G".to_owned())
        }
        Ok(size) => Ok(size),
    }
}

/// The flags that `go build` spells with one dash; people type them so here too.
const GO_FLAGS: [&str; 4] = ["-tags", "-ldflags", "-gcflags", "-trimpath"];

/// The command line as clap is to see it.
pub(crate) fn prepared(arguments: Vec<OsString>) -> Vec<OsString> {
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("test") => separated(arguments),
        Some("__test") => arguments,
        _ => with_two_dashes(arguments.into_iter()).collect(),
    }
}

/// Puts what is for `go test` behind a `--`.
fn separated(arguments: Vec<OsString>) -> Vec<OsString> {
    let definition = TestArgs::augment_args(clap::Command::new("test"));
    let takes_value = |flag: &str| {
        let is_it = |row: &&clap::Arg| row.get_long() == Some(flag);
        definition.get_arguments().find(is_it).map(|row| row.get_action().takes_values())
    };
    let mut arguments = arguments.into_iter();
    let (mut ours, mut gos): (Vec<_>, Vec<_>) = (arguments.by_ref().take(2).collect(), Vec::new());
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        if matches!(text, "-args" | "--args" | "--") {
            gos.push(argument);
            gos.extend(arguments.by_ref());
        } else if matches!(text, "-h" | "-help" | "--help") {
            ours.push("--help".into());
        } else if let Some(flag) = text.strip_prefix("--")
            && let (name, value) = flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v)))
            && let Some(takes_value) = takes_value(name)
        {
            let wants_word = takes_value && value.is_none();
            ours.push(argument);
            ours.extend(arguments.by_ref().take(usize::from(wants_word)));
        } else {
            gos.push(argument);
        }
    }
    ours.push("--".into());
    ours.extend(gos);
    ours
}

/// Gives the one-dash spelling of Go's flags the second dash, up to `--`.
fn with_two_dashes(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut over = false;
    arguments.map(move |argument| {
        let Some(text) = argument.to_str() else { return argument };
        over |= text == "--";
        let name = text.split('=').next().unwrap_or(text);
        if !over && GO_FLAGS.contains(&name) { format!("-{text}").into() } else { argument }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let arguments = std::iter::once(&"egg").chain(arguments).map(OsString::from);
        Cli::try_parse_from(prepared(arguments.collect()))
    }

    fn run_args(arguments: &[&str]) -> RunArgs {
        match parse(arguments).unwrap().command {
            Command::Run(args) => args,
            other => panic!("not run: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn everything_of_run() {
        let args = run_args(&[
            "run",
            "-p",
            "8080:80",
            "-p",
            "0.0.0.0:53:53/udp",
            "-m",
            "64M",
            "--cpus",
            "4",
            "-e",
            "A=b",
            "--machine",
            "q35",
            "--accel",
            "tcg",
            "--file",
            "a:/b",
            "-tags=x,y",
            "-ldflags",
            "-s -w",
            "./cmd/shop",
            "--",
            "-v",
            "--tags",
        ]);
        assert_eq!(args.publish.len(), 2);
        assert_eq!(args.content.memory, Some(Size::from_mebibytes(64)));
        assert_eq!(args.content.tags.as_deref(), Some("x,y"));
        assert_eq!(args.content.ldflags.as_deref(), Some("-s -w"));
        assert_eq!(args.content.args, ["-v", "--tags"]);
        assert_eq!(args.content.target, Some("./cmd/shop".into()));
        assert_eq!((args.machine, args.accel), (MachineKind::Q35, AccelWish::Tcg));
    }

    #[test]
    fn arguments_need_no_target() {
        let args = run_args(&["run", "--", "x"]);
        assert_eq!((args.content.target, args.content.args), (None, vec!["x".to_owned()]));
    }

    fn test_args(arguments: &[&str]) -> TestArgs {
        match parse(&[&["test"], arguments].concat()).unwrap().command {
            Command::Test(args) => args,
            other => panic!("not test: {other:?}"),
        }
    }

    #[test]
    fn flags_of_test_are_eggs_or_gos() {
        let args = test_args(&[
            "-v",
            "./...",
            "--memory",
            "64M",
            "-run",
            "X",
            "--env=A=b",
            "-p",
            "2",
            "--count=1",
            "--trace",
            "-trace",
            "t.out",
            "-args",
            "--memory",
            "1G",
            "-h",
        ]);
        assert_eq!(args.memory, Some(Size::from_mebibytes(64)));
        assert_eq!(args.env, ["A=b"]);
        assert!(args.trace && !args.verbose);
        let words = "-v ./... -run X -p 2 --count=1 -trace t.out -args --memory 1G -h";
        assert_eq!(args.words.join(" "), words);
        assert_eq!(test_args(&[]).words, [""; 0]);
        assert_eq!(test_args(&["--", "--memory"]).words, ["--", "--memory"]);
    }

    #[test]
    fn help_of_test_is_eggs() {
        for flag in ["-h", "--help"] {
            let help = parse(&["test", "-v", flag]).unwrap_err().to_string();
            assert!(
                help.contains("egg test [EGG FLAGS]") && help.contains("go help test"),
                "{help}"
            );
        }
    }

    #[test]
    fn an_unknown_flag_suggests_the_nearest() {
        let message = parse(&["run", "--verbos"]).unwrap_err().to_string();
        assert!(message.contains("--verbose"), "{message}");
    }

    #[test]
    fn bad_values_say_what_is_wanted() {
        for (arguments, part) in [
            (["run", "-m", "much"], "64M"),
            (["run", "-m", "0"], "64M"),
            (["run", "-p", "80"], "8080:80"),
            (["run", "--cpus", "0"], "1..=255"),
            (["run", "--machine", "vax"], "microvm"),
        ] {
            let message = parse(&arguments).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest! {
        #[test]
        fn random_arguments_never_panic(words in proptest::collection::vec("[-a-z0-9=:/.]{0,12}", 0..8)) {
            let words: Vec<_> = std::iter::once("run").chain(words.iter().map(String::as_str)).collect();
            let _ = parse(&words);
        }
    }
}
