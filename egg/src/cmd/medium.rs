//! `egg run` of an image that boots by itself: by QEMU alone, or by firmware from a disk or CD.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::run::{boot, claimed};
use crate::accel;
use crate::cli::{ContentArgs, Display, Firmware, Format, MachineKind, RunArgs};
use crate::content::Content;
use crate::exit::{Code, Ended, Failure};
use crate::formats::{self, open::Opened};
use crate::image::Image;
use crate::launch::MemoryFile;
use crate::outcome::Outcome;
use crate::plan::{DEFAULT_MEMORY, Plan};
use crate::qemu::{self, Boot, Channel, Machine};
use crate::terminal;

/// Boots an image and waits for its end.
pub(crate) fn start(
    args: &RunArgs,
    plan: &Plan,
    path: &Path,
    bytes: &[u8],
    opened: Opened,
) -> anyhow::Result<Result<Outcome, Ended>> {
    let shown = path.display().to_string();
    if let Some(flag) = unfit(args) {
        return Failure::err(
            Code::Usage,
            format!("{shown} boots with the settings within: {flag} is for egg build"),
        );
    }
    let damaged =
        |error: anyhow::Error| Failure::of(Code::CannotRun, format!("{shown}: {error:#}"));
    let image = Image::parse(&opened.archive.map_err(damaged)?).map_err(damaged)?;
    let content = Content::of_image(plan, &shown, image)?;
    let accel = match accel::choose(args.accel, &content.kernel, args.verbose)? {
        Ok(accel) => accel,
        Err(ended) => return Ok(Err(ended)),
    };
    // An EFI program needs a disk around it.
    let disk = match opened.format {
        Format::Efi => Some(MemoryFile::new("disk", &formats::disk_around(bytes)?)?),
        _ => None,
    };
    let file = disk.as_ref().map_or_else(|| path.to_owned(), MemoryFile::path);
    let boot_from = match opened.format {
        Format::Elf => Boot::Kernel { kernel: path.to_owned(), image: None },
        format => Boot::Medium {
            file,
            format: match format {
                Format::Qcow2 => "qcow2",
                Format::Vmdk => "vmdk",
                Format::Vhd => "vpc",
                Format::Vhdx => "vhdx",
                _ => "raw",
            },
            is_cd: format == Format::Iso,
            firmware: firmware(args.firmware, format)?,
        },
    };
    let kind = match (args.machine, &boot_from, args.display) {
        (MachineKind::Microvm, Boot::Kernel { .. }, Display::None) => MachineKind::Microvm,
        // It has neither firmware that reads disks nor a screen.
        (MachineKind::Microvm, ..) => MachineKind::Q35,
        (kind, ..) => kind,
    };
    let mut machine = Machine {
        kind,
        accel,
        memory: content.config.memory.unwrap_or(DEFAULT_MEMORY),
        cpus: content.config.cpus.unwrap_or(1),
        boot: boot_from,
        display: args.display,
        console: Channel::Stdio,
        control: Channel::Stdio,
        forwards: claimed(args)?,
    };
    if args.dry_run {
        machine.control = Channel::File("/dev/stderr".into());
        println!("{}", qemu::shell_line(&machine));
        return Ok(Err(Ended::SUCCESS));
    }
    for forward in &machine.forwards {
        terminal::say(&forward.to_string());
    }
    boot(machine, &content, args.verbose, None).map(Ok)
}

/// A flag that cannot change an image any more.
fn unfit(args: &RunArgs) -> Option<&'static str> {
    let ContentArgs { args: words, env, file, workdir, kernel, .. } = &args.content;
    let flags = [
        (!words.is_empty(), "what stands behind --"),
        (!env.is_empty(), "--env"),
        (!file.is_empty(), "--file"),
        (workdir.is_some(), "--workdir"),
        (kernel.is_some(), "--kernel"),
        (args.trace, "--trace"),
        (args.machine == MachineKind::Process, "--machine process"),
    ];
    flags.into_iter().find(|row| row.0).map(|row| row.1)
}

/// The firmware's file; `None`: QEMU's own BIOS, or no firmware.
fn firmware(wish: Option<Firmware>, format: Format) -> anyhow::Result<Option<PathBuf>> {
    const FILES: [&str; 7] = [
        "/usr/share/ovmf/OVMF.fd",
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/x64/OVMF.4m.fd",
        "/usr/share/edk2-ovmf/x64/OVMF.fd",
        "/usr/share/qemu/ovmf-x86_64.bin",
    ];
    match wish {
        Some(Firmware::Bios) if format == Format::Efi => {
            Failure::err(Code::Usage, "an EFI program does not start by BIOS")
        }
        Some(Firmware::Bios) => Ok(None),
        Some(Firmware::Uefi) | None => {
            let given = std::env::var_os("EGG_OVMF").map(PathBuf::from);
            let known = FILES.iter().map(PathBuf::from).find(|path| path.is_file());
            given.or(known).map(Some).context(
                "UEFI needs OVMF: apt-get install ovmf (Debian, Ubuntu), dnf install edk2-ovmf (Fedora), pacman -S edk2-ovmf (Arch); --firmware bios does without",
            )
        }
    }
}
