//! Which image boots on which machine: every form, firmware, network card, number of processors and
//! size of memory, as QEMU makes them, with the example server of the oldest and of the newest Go. The
//! table goes to `docs/platforms.md`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::build::{self, GoVersion, Variant};
use crate::vm;

/// What is booted.
const FORMS: [&str; 9] =
    ["elf, PVH", "elf, multiboot2", "efi", "iso", "raw", "qcow2", "vmdk", "vhd", "vhdx"];
/// What it is booted on.
const MACHINES: [&str; 4] = ["microvm", "pc, BIOS", "q35, BIOS", "q35, OVMF"];
const OLDEST: GoVersion = "1.16.15";
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// One boot.
#[derive(Clone, Copy, Debug)]
struct Boot {
    form: &'static str,
    machine: &'static str,
    card: &'static str,
    cpus: u32,
    memory: &'static str,
    go: GoVersion,
}

/// Why a boot makes no sense.
fn senseless(boot: &Boot) -> Option<&'static str> {
    match (boot.form, boot.machine) {
        ("elf, PVH", "q35, OVMF") => Some("OVMF starts no PVH kernels"),
        ("elf, PVH", "microvm") if boot.card != "virtio-net" => Some("microvm has no PCI"),
        ("elf, PVH", _) => None,
        (_, "microvm") => Some("microvm has no firmware that reads disks"),
        ("efi", "pc, BIOS" | "q35, BIOS") => Some("a BIOS starts no EFI programs"),
        // GRUB loads it in pieces.
        ("elf, multiboot2", _) => None,
        (_, "q35, OVMF") if boot.memory == "64M" => Some("with 64 MiB OVMF has no room to load it"),
        _ => None,
    }
}

/// All that may be combined; `few`: the corners.
fn boots(form: &'static str, machine: &'static str, few: bool) -> Vec<Boot> {
    let mut boots = Vec::new();
    for card in CARDS {
        for (cpus, memory, go) in [
            (1, "64M", OLDEST),
            (2, "3G", build::NEWEST),
            (2, "6G", OLDEST),
            (1, "64M", build::NEWEST),
            (1, "3G", build::NEWEST),
            (1, "6G", build::NEWEST),
            (2, "64M", OLDEST),
            (2, "64M", build::NEWEST),
            (1, "3G", OLDEST),
            (2, "3G", OLDEST),
            (1, "6G", OLDEST),
            (2, "6G", build::NEWEST),
        ]
        .into_iter()
        .take(if few { 3 } else { usize::MAX })
        {
            boots.push(Boot { form, machine, card, cpus, memory, go });
        }
    }
    boots
}

/// Network cards, as QEMU calls them.
const CARDS: [&str; 1] = ["virtio-net"];

/// Boots all of it, prints a line each, and writes the page; false when something did not boot. `few`:
/// three boots in place of twelve for each form and machine.
pub fn run(few: bool) -> Result<bool> {
    let mut table = String::new();
    let mut failures = Vec::new();
    let mut booted = 0;
    for form in FORMS {
        let _ = write!(table, "| {form} |");
        for machine in MACHINES {
            let (mut good, mut all, mut why) = (0, 0, "");
            for boot in boots(form, machine, few) {
                if let Some(reason) = senseless(&boot) {
                    why = reason;
                    continue;
                }
                all += 1;
                match try_boot(&boot) {
                    Ok(()) => good += 1,
                    Err(error) => failures.push(format!("{boot:?}: {error:#}")),
                }
            }
            println!("{form} on {machine}: {good} of {all} {why}");
            booted += good;
            let cell = match (all, why) {
                (0, why) => format!("– {why}"),
                (_, "") => format!("{good} of {all}"),
                (_, why) => format!("{good} of {all}; {why}"),
            };
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    for failure in &failures {
        println!("not booted: {failure}");
    }
    fs::write(build::root().join("docs/platforms.md"), page(&table))?;
    println!("{booted} passed, {} failed", failures.len());
    Ok(failures.is_empty())
}

fn page(table: &str) -> String {
    format!(
        "# Platforms\n\n\
         <!-- Written by `cargo run -p eggos-vm-tests --bin platforms`. -->\n\n\
         Which image (`egg build --format`) boots on which machine of QEMU and answers a request: of so many boots, so many did.\n\
         The boots of a cell differ in network card ({}), processors (1, 2), memory (64 MiB, 3 GiB, 6 GiB) and the Go version\n\
         of the example server ({OLDEST}, {}).\n\n\
         | | {} |\n|---|{}\n{table}\n\
         QEMU starts `elf, PVH` by `-kernel`, without firmware of its own choosing; `elf, multiboot2` is loaded by a GRUB from a CD that\n\
         `grub-mkrescue` made; `iso` is in the CD drive, the others are the first disk; `efi` is on a FAT file system of QEMU's making.\n",
        CARDS.join(", "),
        build::NEWEST,
        MACHINES.join(" | "),
        "---|".repeat(MACHINES.len()),
    )
}

/// It answers a request.
fn try_boot(boot: &Boot) -> Result<()> {
    let image = image(boot)?;
    let shown = image.display().to_string();
    let (kind, firmware) = boot.machine.split_once(", ").unwrap_or((boot.machine, ""));
    let mut arguments =
        ["-M", if kind == "microvm" { "microvm,acpi=off,rtc=on" } else { kind }, "-m", boot.memory]
            .map(str::to_owned)
            .to_vec();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-smp", &boot.cpus.to_string()]);
    match (boot.card, kind) {
        ("virtio-net", "microvm") => {
            add(&[
                "-global",
                "virtio-mmio.force-legacy=false",
                "-device",
                "virtio-net-device,netdev=net",
            ]);
        }
        ("virtio-net", _) => add(&["-device", "virtio-net-pci,netdev=net,romfile="]),
        (card, _) => add(&["-device", &format!("{card},netdev=net,romfile=")]),
    }
    if firmware == "OVMF" {
        add(&["-bios", OVMF]);
    }
    match boot.form {
        "elf, PVH" => add(&["-kernel", &shown]),
        "elf, multiboot2" | "iso" => add(&["-cdrom", &shown]),
        "efi" => add(&["-drive", &format!("format=raw,snapshot=on,file=fat:{shown}")]),
        "vhd" => add(&["-drive", &format!("snapshot=on,format=vpc,file={shown}")]),
        form => add(&["-drive", &format!("snapshot=on,format={form},file={shown}")]),
    }
    let mut running = vm::qemu(80, arguments)?;
    let (reply, _) = running.get_until_ready(80, "/")?;
    if !reply.text().contains(&format!("Hello from go{}", boot.go)) {
        bail!("it answers {:?}", reply.text());
    }
    Ok(())
}

/// The image for a boot, made once: a file, or for `efi` the folder that becomes the disk.
fn image(boot: &Boot) -> Result<PathBuf> {
    let (form, way) = boot.form.split_once(", ").unwrap_or((boot.form, ""));
    let folder = build::target().join("vm-images/platforms").join(boot.go);
    fs::create_dir_all(&folder)?;
    let image = folder.join(format!("hello.{form}"));
    if !image.is_file() {
        let program = build::go("examples/hello", boot.go, Variant::Plain)?;
        let mut command = Command::new(build::egg()?);
        command.args(["build", "--format", form, "-o"]).arg(&image).arg(program);
        build::succeed(command)?;
    }
    match (form, way) {
        ("elf", "multiboot2") => cd_with_grub(&image, &folder),
        ("efi", _) => {
            fs::create_dir_all(folder.join("efi/EFI/BOOT"))?;
            fs::copy(&image, folder.join("efi/EFI/BOOT/BOOTX64.EFI"))?;
            Ok(folder.join("efi"))
        }
        _ => Ok(image),
    }
}

/// A CD on which GRUB loads that ELF file, by BIOS and by UEFI.
pub fn cd_with_grub(kernel: &Path, folder: &Path) -> Result<PathBuf> {
    let cd = folder.join("grub.iso");
    if cd.is_file() {
        return Ok(cd);
    }
    fs::create_dir_all(folder.join("cd/boot/grub"))?;
    fs::copy(kernel, folder.join("cd/boot/program"))?;
    let script = "set timeout=0\nmenuentry eggos { multiboot2 /boot/program\n}\n";
    fs::write(folder.join("cd/boot/grub/grub.cfg"), script)?;
    let mut command = Command::new("grub-mkrescue");
    command.arg("-o").arg(&cd).arg(folder.join("cd"));
    build::succeed(command)?;
    Ok(cd)
}
