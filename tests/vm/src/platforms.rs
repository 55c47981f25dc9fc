//! Which image boots on which machine: every form, firmware, network card, number of processors and
//! size of memory, as QEMU makes them, with the example server of the oldest and of the newest Go. The
//! table goes to `docs/platforms.md`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::build::{self, GoVersion, Variant};
use crate::vm;

/// What is booted.
const FORMS: [&str; 9] =
    ["elf, PVH", "elf, multiboot2", "efi", "iso", "raw", "qcow2", "vmdk", "vhd", "vhdx"];
/// What it is booted on.
const MACHINES: [&str; 4] = ["microvm", "pc, BIOS", "q35, BIOS", "q35, OVMF"];
/// Network cards, as QEMU calls them.
const CARDS: [&str; 3] = ["virtio-net", "e1000", "e1000e"];
const OLDEST: GoVersion = "1.16.15";
/// Processors, memory and the program's Go version; the corners first.
const SIZES: [(u32, &str, GoVersion); 12] = [
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
];
/// As many of them are enough for `--few`.
const CORNERS: usize = 3;
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

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, machine, card, cpus, memory, go } = self;
        write!(f, "{form}; {machine}; {card}; {cpus} CPUs; {memory}; go{go}")
    }
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
        (_, "q35, OVMF") if boot.memory == "64M" => {
            Some("OVMF leaves too little of 64 MiB to load it; of 72 MiB it leaves enough")
        }
        _ => None,
    }
}

/// What is booted in a cell of the table, of so many sizes.
fn boots(
    (form, card): (&'static str, &'static str),
    machine: &'static str,
    sizes: usize,
) -> impl Iterator<Item = Boot> {
    let boot = move |&(cpus, memory, go)| Boot { form, machine, card, cpus, memory, go };
    SIZES.iter().take(sizes).map(boot)
}

/// Rows of the table.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMS.into_iter().flat_map(|form| CARDS.map(|card| (form, card)))
}

/// How much of it is booted.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The corners: three boots in place of twelve for each form, card and machine.
    pub few: bool,
    /// No boot begins later. What is missing then is booted by the next run.
    pub until: Option<Instant>,
}

/// What came of each boot so far, by the boot's name: nothing, or why it did not answer. It is kept in a
/// file, so that a run that was stopped goes on where it was, with the same `egg`.
struct Results {
    folder: PathBuf,
    file: PathBuf,
    outcomes: BTreeMap<String, String>,
}

impl Results {
    /// Of the `egg` that is tested now; those of another are removed, and its images.
    fn open() -> Result<Self> {
        let folder = build::target().join("vm-images/platforms");
        let mark = folder.join("egg");
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(build::egg()?)?);
        let egg = hasher.finish().to_string();
        if fs::read_to_string(&mark).is_ok_and(|marked| marked == egg) {
            let text = fs::read_to_string(folder.join("results.tsv")).unwrap_or_default();
            let outcomes = text.lines().filter_map(|line| line.split_once('\t'));
            let outcomes = outcomes.map(|(boot, why)| (boot.into(), why.into())).collect();
            return Ok(Self { file: folder.join("results.tsv"), folder, outcomes });
        }
        if folder.is_dir() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::write(mark, egg)?;
        Ok(Self { file: folder.join("results.tsv"), folder, outcomes: BTreeMap::new() })
    }

    /// Boots it, unless it did already.
    fn add(&mut self, boot: &Boot) -> Result<()> {
        let name = boot.to_string();
        if self.outcomes.get(&name).is_some_and(String::is_empty) {
            return Ok(());
        }
        let started = Instant::now();
        let why = match try_boot(boot, &self.folder) {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}").replace(['\n', '\t'], " "),
        };
        let seconds = started.elapsed().as_secs_f32();
        println!("{name}: {}, {seconds:.1} s", if why.is_empty() { "it answers" } else { &why });
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&self.file)?;
        writeln!(file, "{name}\t{why}")?;
        self.outcomes.insert(name, why);
        Ok(())
    }
}

/// Boots all of it, prints a line each, and writes the page; false when something did not boot.
pub fn run(extent: Extent) -> Result<bool> {
    let sizes = if extent.few { CORNERS } else { SIZES.len() };
    let mut results = Results::open()?;
    let mut complete = true;
    // Size by size: what a run has no time for is the rest of each cell.
    for size in 0..sizes {
        for (row, machine) in rows().flat_map(|row| MACHINES.map(|machine| (row, machine))) {
            let Some(boot) = boots(row, machine, sizes).nth(size) else { continue };
            if senseless(&boot).is_some() {
                continue;
            }
            match extent.until.is_some_and(|end| Instant::now() > end) {
                true => complete = false,
                false => results.add(&boot)?,
            }
        }
    }
    let outcomes = || results.outcomes.iter();
    outcomes().filter(|row| !row.1.is_empty()).for_each(|(boot, why)| println!("{boot}: {why}"));
    let good = outcomes().filter(|row| row.1.is_empty()).count();
    let failed = results.outcomes.len() - good;
    fs::write(build::root().join("docs/platforms.md"), page(&results.outcomes, sizes))?;
    if complete && failed == 0 {
        // The next run begins anew.
        fs::remove_file(&results.file)?;
    }
    println!("{good} passed, {failed} failed");
    Ok(failed == 0)
}

/// The boots of a cell: how many did, of how many that make sense, and why the others make none.
fn cell(
    boots: impl Iterator<Item = Boot>,
    outcomes: &BTreeMap<String, String>,
) -> (usize, usize, &'static str) {
    let (mut good, mut all, mut why) = (0, 0, "");
    for boot in boots {
        match senseless(&boot) {
            Some(reason) => why = reason,
            None => {
                all += 1;
                good += usize::from(outcomes.get(&boot.to_string()).is_some_and(String::is_empty));
            }
        }
    }
    (good, all, why)
}

fn page(outcomes: &BTreeMap<String, String>, sizes: usize) -> String {
    let mut table = String::new();
    let mut notes: Vec<&str> = Vec::new();
    let (mut booted, mut boots_in_all) = (0, 0);
    for row in rows() {
        let _ = write!(table, "| {}, {} |", row.0, row.1);
        for machine in MACHINES {
            let (good, all, why) = cell(boots(row, machine, sizes), outcomes);
            (booted, boots_in_all) = (booted + good, boots_in_all + all);
            let _ = match all {
                0 => write!(table, " –"),
                _ => write!(table, " {good} of {all}"),
            };
            if !why.is_empty() {
                let known = notes.iter().position(|note| *note == why);
                let number = known.unwrap_or(notes.len()) + 1;
                notes.resize(notes.len().max(number), why);
                let _ = write!(table, " ({number})");
            }
            table.push_str(" |");
        }
        table.push('\n');
    }
    let combinations = rows().count() * MACHINES.len() * sizes;
    let numbered = notes.iter().enumerate();
    let notes: String = numbered.map(|(n, note)| format!("{}. {note}\n", n + 1)).collect();
    format!(
        "# Platforms\n\n\
         <!-- Written by `cargo run -p eggos-vm-tests --bin platforms`. -->\n\n\
         Which image (`egg build --format`) with which network card boots on which machine of QEMU and answers a request: of so\n\
         many boots, so many did; in all {booted} of the {boots_in_all} that make sense of {combinations}. The boots of a cell differ in\n\
         processors (1, 2), memory (64 MiB, 3 GiB, 6 GiB) and the Go version of the example server ({OLDEST}, {}).\n\n\
         | | {} |\n|---|{}\n{table}\n\
         Boots that make no sense are left out:\n\n{notes}\n\
         QEMU starts `elf, PVH` by `-kernel`, without firmware of its own choosing; `elf, multiboot2` is loaded by a GRUB from a CD that\n\
         `grub-mkrescue` made; `iso` is in the CD drive, the others are the first disk; `efi` is on a FAT file system of QEMU's making.\n\n\
         `iso` boots from USB sticks and CDs (xHCI, EHCI), NVMe, SCSI and virtio disks too, by BIOS and by UEFI (the tests\n\
         `platform/iso/*`).\n\n\
         Bochs boots `raw` by its BIOS too and answers through its e1000 (the test `platform/raw/bochs/bios`). Of the other PCs that\n\
         Debian packages, DOSBox has no 64-bit processor, and Xen's need a processor with VT-x or SVM.\n\n\
         Not tried, as none was at hand: VMware, VirtualBox, Hyper-V, clouds. Hyper-V and Azure have their network cards on VMBus and\n\
         EC2 has ENA, for which there are no drivers: a program has no network there.\n",
        build::NEWEST,
        MACHINES.join(" | "),
        "---|".repeat(MACHINES.len()),
    )
}

/// It answers a request.
fn try_boot(boot: &Boot, folder: &Path) -> Result<()> {
    let image = image(boot, &folder.join(boot.go))?;
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
fn image(boot: &Boot, folder: &Path) -> Result<PathBuf> {
    let (form, way) = boot.form.split_once(", ").unwrap_or((boot.form, ""));
    fs::create_dir_all(folder)?;
    let image = folder.join(format!("hello.{form}"));
    if !image.is_file() {
        let program = build::go("examples/hello", boot.go, Variant::Plain)?;
        let mut command = Command::new(build::egg()?);
        command.args(["build", "--format", form, "-o"]).arg(&image).arg(program);
        build::succeed(command)?;
    }
    match (form, way) {
        ("elf", "multiboot2") => cd_with_grub(&image, folder, ""),
        ("efi", _) => {
            fs::create_dir_all(folder.join("efi/EFI/BOOT"))?;
            fs::copy(&image, folder.join("efi/EFI/BOOT/BOOTX64.EFI"))?;
            Ok(folder.join("efi"))
        }
        _ => Ok(image),
    }
}

/// A CD on which GRUB loads that ELF file with a command line, by BIOS and by UEFI.
pub fn cd_with_grub(kernel: &Path, folder: &Path, line: &str) -> Result<PathBuf> {
    let cd = folder.join("grub.iso");
    if cd.is_file() {
        return Ok(cd);
    }
    fs::create_dir_all(folder.join("cd/boot/grub"))?;
    fs::copy(kernel, folder.join("cd/boot/program"))?;
    let script = format!("set timeout=0\nmenuentry eggos {{ multiboot2 /boot/program {line}\n}}\n");
    fs::write(folder.join("cd/boot/grub/grub.cfg"), script)?;
    let mut command = Command::new("grub-mkrescue");
    command.arg("-o").arg(&cd).arg(folder.join("cd"));
    build::succeed(command)?;
    Ok(cd)
}
