//! A machine as a value, and the QEMU command that makes it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use bundle::config::Size;

use crate::cli::{Display, MachineKind};
use crate::forward::Forward;

/// From here on, memory is taken from the host only as it is touched.
const LARGE: Size = Size::from_mebibytes(8 << 10);

/// The command.
const PROGRAM: &str = "qemu-system-x86_64";

/// What runs the machine's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU's translator.
    Tcg,
    /// The processor itself, without QEMU: [`MachineKind::Process`].
    Host,
}

/// Where a character device of the machine leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    /// QEMU's standard input and output.
    Stdio,
    /// A connected socket that QEMU inherits, by its number.
    Socket(i32),
    /// A file that is written.
    File(PathBuf),
}

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    pub(crate) kind: MachineKind,
    pub(crate) accel: Accel,
    pub(crate) memory: Size,
    pub(crate) cpus: u32,
    pub(crate) boot: Boot,
    pub(crate) display: Display,
    /// The serial port.
    pub(crate) console: Channel,
    /// The port that the kernel writes its lines for `egg` to.
    pub(crate) control: Channel,
    pub(crate) forwards: Vec<Forward>,
}

/// What a machine starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Boot {
    /// A kernel, and its archive unless that is within.
    Kernel {
        /// The ELF file.
        kernel: PathBuf,
        /// The archive.
        image: Option<PathBuf>,
    },
    /// What firmware finds on a medium, in QEMU's word for its format.
    Medium {
        /// The image.
        file: PathBuf,
        /// What QEMU calls its format.
        format: &'static str,
        /// It is put in as a CD.
        is_cd: bool,
        /// The firmware in place of QEMU's BIOS.
        firmware: Option<PathBuf>,
    },
}

impl Machine {
    /// The command.
    pub(crate) fn program(&self) -> OsString {
        match (&self.boot, self.kind) {
            (Boot::Kernel { kernel, .. }, MachineKind::Process) => kernel.clone().into(),
            _ => PROGRAM.into(),
        }
    }

    /// The arguments after the name of the command.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        match self.kind {
            MachineKind::Process => self.process_arguments(),
            _ => self.qemu_arguments(),
        }
    }

    /// What the kernel wants to know as a process, see `kernel/src/process.rs`.
    fn process_arguments(&self) -> Vec<OsString> {
        let mut list = vec![self.memory.bytes.to_string().into()];
        if let Boot::Kernel { image: Some(image), .. } = &self.boot {
            list.push(image.clone().into());
        }
        list.push(match self.control {
            Channel::Socket(number) => number.to_string().into(),
            Channel::Stdio | Channel::File(_) => "2".into(),
        });
        list.extend(self.forwards.iter().map(|forward| forward.rule().into()));
        list
    }

    fn has_medium(&self) -> bool {
        matches!(self.boot, Boot::Medium { .. })
    }

    fn qemu_arguments(&self) -> Vec<OsString> {
        let mut list = Arguments::default();
        list.flags("-nodefaults -no-user-config -no-reboot");
        list.display(self.display);
        // The board. What costs time at start and serves no one is left out.
        list.option(
            "-M",
            match self.kind {
                MachineKind::Microvm => "microvm,acpi=off,x-option-roms=off,rtc=on",
                // Firmware reads media by SATA.
                MachineKind::Q35 if self.has_medium() => "q35,vmport=off,smbus=off,usb=off",
                MachineKind::Q35 => "q35,vmport=off,smbus=off,sata=off,usb=off",
                MachineKind::Pc | MachineKind::Process => "pc,vmport=off,usb=off",
            },
        );
        match self.accel {
            // The frequency of the time-stamp counter is only shown to machines that stay.
            Accel::Kvm => list.flags("-accel kvm -cpu host,migratable=no,+invtsc"),
            // Without ERMS the program copies by vector moves: `rep movsb` is translated byte by
            // byte.
            Accel::Tcg | Accel::Host => list.flags("-accel tcg,thread=multi -cpu max,-erms,-fsrm"),
        }
        list.option("-m", format!("{}M", self.memory.mebibytes()));
        if self.memory.bytes >= LARGE.bytes {
            // Linux refuses a mapping larger than all its memory, unless none is to be reserved.
            let size = self.memory.bytes;
            list.option("-object", format!("memory-backend-ram,id=ram,size={size},reserve=off"));
            list.option("-machine", "memory-backend=ram");
        }
        list.option("-smp", self.cpus.to_string());
        list.boot(&self.boot);
        list.option("-chardev", channel(&self.console, "console"));
        list.option("-serial", "chardev:console");
        list.option("-chardev", channel(&self.control, "control"));
        list.option("-device", "isa-debugcon,iobase=0xe9,chardev=control");
        list.option("-device", "isa-debug-exit,iobase=0xf4,iosize=4");

        let rules = self.forwards.iter().fold(String::new(), |mut rules, forward| {
            // Writing to a string cannot fail.
            let _ = write!(rules, ",hostfwd={}", forward.rule());
            rules
        });
        list.option("-netdev", format!("user,id=net{rules}"));
        if self.kind == MachineKind::Microvm {
            list.option("-global", "virtio-mmio.force-legacy=false");
            list.option("-device", "virtio-net-device,netdev=net");
            list.option("-device", "virtio-rng-device");
        } else {
            list.option("-device", "virtio-net-pci,netdev=net,romfile=,disable-legacy=on");
            list.option("-device", "virtio-rng-pci,disable-legacy=on");
        }
        list.0
    }
}

fn channel(channel: &Channel, id: &str) -> OsString {
    match channel {
        Channel::Stdio => format!("stdio,id={id},signal=off").into(),
        Channel::Socket(number) => format!("socket,id={id},fd={number}").into(),
        Channel::File(path) => {
            let mut option = OsString::from(format!("file,id={id},path="));
            option.push(in_list(path));
            option
        }
    }
}

/// In an option list a comma is written twice.
fn in_list(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flags(&mut self, flags: &str) {
        self.0.extend(flags.split(' ').map(OsString::from));
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([name.into(), value.into()]);
    }

    fn display(&mut self, display: Display) {
        let kind = match display {
            Display::None => return self.option("-display", "none"),
            Display::Gtk => "gtk",
            Display::Sdl => "sdl",
            Display::Vnc => "vnc=127.0.0.1:0,to=99",
        };
        self.option("-display", kind);
        self.option("-vga", "std");
    }

    fn boot(&mut self, boot: &Boot) {
        match boot {
            Boot::Kernel { kernel, image } => {
                self.option("-kernel", kernel.clone());
                if let Some(image) = image {
                    self.option("-initrd", image.clone());
                }
            }
            Boot::Medium { file, format, is_cd, firmware } => {
                if let Some(firmware) = firmware {
                    self.option("-bios", firmware.clone());
                }
                let mut drive = OsString::from("if=none,id=medium,snapshot=on,file=");
                drive.push(in_list(file));
                drive.push(format!(",format={format}"));
                self.option("-drive", drive);
                let device = if *is_cd { "ide-cd" } else { "ide-hd" };
                self.option("-device", format!("{device},drive=medium"));
            }
        }
    }
}

/// The command as a line for a shell.
pub(crate) fn shell_line(machine: &Machine) -> String {
    quoted(&machine.program(), &machine.arguments())
}

fn quoted(program: &OsStr, arguments: &[OsString]) -> String {
    let mut line = program.to_string_lossy().into_owned();
    for argument in arguments {
        let text = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+.,:/@".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            let _ = write!(line, " {text}");
        } else {
            let _ = write!(line, " '{}'", text.replace('\'', r"'\''"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(kind: MachineKind) -> Machine {
        Machine {
            kind,
            accel: Accel::Tcg,
            memory: Size::from_mebibytes(64),
            cpus: 2,
            boot: Boot::Kernel { kernel: "kernel".into(), image: Some("an image".into()) },
            display: Display::None,
            console: Channel::Socket(4),
            control: Channel::File("/tmp/a,b".into()),
            forwards: vec!["8080:80".parse().unwrap(), "53:53/udp".parse().unwrap()],
        }
    }

    #[test]
    fn large_memory_is_not_reserved_on_the_host() {
        let line = |mebibytes| {
            let memory = Size::from_mebibytes(mebibytes);
            shell_line(&Machine { memory, ..machine(MachineKind::Pc) })
        };
        assert!(line(65536).contains(
            " -m 65536M -object memory-backend-ram,id=ram,size=68719476736,reserve=off \
             -machine memory-backend=ram "
        ));
        assert!(!line(4096).contains("reserve"));
    }

    #[test]
    fn microvm() {
        assert_eq!(
            shell_line(&machine(MachineKind::Microvm)),
            "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
             -M microvm,acpi=off,x-option-roms=off,rtc=on -accel tcg,thread=multi -cpu max,-erms,-fsrm \
             -m 64M -smp 2 -kernel kernel -initrd 'an image' \
             -chardev socket,id=console,fd=4 -serial chardev:console \
             -chardev file,id=control,path=/tmp/a,,b -device isa-debugcon,iobase=0xe9,chardev=control \
             -device isa-debug-exit,iobase=0xf4,iosize=4 \
             -netdev user,id=net,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:127.0.0.1:53-:53 \
             -global virtio-mmio.force-legacy=false -device virtio-net-device,netdev=net \
             -device virtio-rng-device"
        );
    }

    #[test]
    fn q35_with_kvm() {
        let machine = Machine {
            accel: Accel::Kvm,
            console: Channel::Stdio,
            forwards: Vec::new(),
            ..machine(MachineKind::Q35)
        };
        assert_eq!(
            shell_line(&machine),
            "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
             -M q35,vmport=off,smbus=off,sata=off,usb=off -accel kvm \
             -cpu host,migratable=no,+invtsc -m 64M -smp 2 -kernel kernel -initrd 'an image' \
             -chardev stdio,id=console,signal=off -serial chardev:console \
             -chardev file,id=control,path=/tmp/a,,b -device isa-debugcon,iobase=0xe9,chardev=control \
             -device isa-debug-exit,iobase=0xf4,iosize=4 -netdev user,id=net \
             -device virtio-net-pci,netdev=net,romfile=,disable-legacy=on \
             -device virtio-rng-pci,disable-legacy=on"
        );
    }

    #[test]
    fn a_medium_with_firmware_and_a_screen() {
        let boot = Boot::Medium {
            file: "a,b".into(),
            format: "qcow2",
            is_cd: false,
            firmware: Some("OVMF.fd".into()),
        };
        let line =
            shell_line(&Machine { boot, display: Display::Gtk, ..machine(MachineKind::Q35) });
        assert!(
            line.contains(" -display gtk -vga std -M q35,vmport=off,smbus=off,usb=off "),
            "{line}"
        );
        assert!(
            line.contains(
                " -bios OVMF.fd -drive if=none,id=medium,snapshot=on,file=a,,b,format=qcow2 \
                 -device ide-hd,drive=medium -chardev "
            ),
            "{line}"
        );
    }

    #[test]
    fn process() {
        assert_eq!(
            shell_line(&Machine { control: Channel::Socket(5), ..machine(MachineKind::Process) }),
            "kernel 67108864 'an image' 5 tcp:127.0.0.1:8080-:80 udp:127.0.0.1:53-:53"
        );
    }

    #[test]
    fn quotes_are_quoted() {
        assert_eq!(quoted("qemu".as_ref(), &["a'b".into(), "".into()]), r"qemu 'a'\''b' ''");
    }
}
