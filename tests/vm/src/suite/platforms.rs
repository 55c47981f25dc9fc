//! Images that boot by themselves: each form, by the firmware that it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::platforms;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{self, Mode, Vm};

/// (form, machine, firmware, set). A CD and a disk each by BIOS and by UEFI; the containers hold the
/// same disk.
const BOOTS: [(&str, &str, &str, Set); 16] = [
    ("elf", "microvm", "", Set::Core),
    ("elf", "pc", "", Set::All),
    ("elf", "q35", "", Set::All),
    ("efi", "q35", "uefi", Set::Core),
    ("iso", "pc", "bios", Set::Core),
    ("iso", "q35", "bios", Set::All),
    ("iso", "q35", "uefi", Set::Core),
    ("raw", "pc", "bios", Set::All),
    ("raw", "q35", "bios", Set::Core),
    ("raw", "pc", "uefi", Set::All),
    ("raw", "q35", "uefi", Set::All),
    ("qcow2", "q35", "uefi", Set::Core),
    ("vmdk", "pc", "bios", Set::Core),
    ("vhd", "q35", "bios", Set::Core),
    ("vhdx", "q35", "uefi", Set::Core),
    ("vhdx", "pc", "bios", Set::All),
];

/// Where the image lies that a PC starts from: QEMU's words for a drive `disk`, sets by BIOS and UEFI.
const DISKS: [(&str, &str, [Set; 2]); 6] = [
    ("virtio", "-device virtio-blk-pci,drive=disk", [Set::All, Set::All]),
    ("nvme", "-device nvme,drive=disk,serial=1", [Set::All, Set::Core]),
    ("scsi", "-device virtio-scsi-pci -device scsi-hd,drive=disk", [Set::All, Set::All]),
    ("usb", "-device qemu-xhci -device usb-storage,drive=disk", [Set::Core, Set::All]),
    ("usb-2", "-device usb-ehci -device usb-storage,drive=disk", [Set::All, Set::All]),
    ("usb-cd", "-device qemu-xhci -device usb-storage,drive=disk", [Set::All, Set::All]),
];

/// What QEMU exits with when the kernel ended the machine in order.
pub(super) const ORDERLY: Exit = Exit::Code(33);
pub(super) const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (form, machine, firmware, set) in BOOTS {
        let name = format!(
            "platform/{form}/{machine}/{}",
            if firmware.is_empty() { "pvh" } else { firmware }
        );
        let run = move |mode: &Mode| boots(mode, form, machine, firmware);
        tests.push(Test::new(name, set, run).with_own_machine());
    }
    for (disk, words, sets) in DISKS {
        for (firmware, set) in ["bios", "uefi"].into_iter().zip(sets) {
            let run = move |mode: &Mode| from_disk(mode, disk, words, firmware == "uefi");
            let name = format!("platform/iso/{disk}/{firmware}");
            tests.push(Test::new(name, set, run).with_own_machine());
        }
    }
    for (firmware, set) in [("bios", Set::Core), ("uefi", Set::All)] {
        let name = format!("platform/multiboot2/q35/{firmware}");
        let run = move |mode: &Mode| by_grub(mode, firmware == "uefi");
        tests.push(Test::new(name, set, run).with_own_machine());
    }
    for (way, set) in
        [("pvh", Set::Core), ("grub-bios", Set::All), ("grub-uefi", Set::All), ("efi", Set::Core)]
    {
        let run = move |mode: &Mode| takes_settings(mode, way);
        tests.push(Test::new(format!("platform/settings/{way}"), set, run).with_own_machine());
    }
    let small = Test::new("platform/size".into(), Set::Core, size);
    tests.push(small.with_own_machine());
    let whole = Test::new("platform/containers".into(), Set::Core, containers);
    tests.push(whole.with_own_machine());
    let same = Test::new("platform/again".into(), Set::Core, again);
    tests.push(same.with_own_machine());
    tests
}

/// An image of the test server, which listens on port 80; made once.
pub(super) fn image(mode: &Mode, form: &str) -> Result<PathBuf> {
    // Not what a file is called: an earlier run may have had the same process id.
    static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let Mode::Machine { egg, .. } = mode else { bail!("images are for machines") };
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Stripped)?;
    let folder = build::target().join("vm-images");
    fs::create_dir_all(&folder)?;
    if made.is_empty() {
        remove_leftovers(&folder)?;
    }
    let path = folder.join(format!("{}.{form}", std::process::id()));
    if !made.contains(&path) {
        build_image(egg, form, &elf, &path)?;
        made.insert(path.clone());
    }
    Ok(path)
}

/// Removes what runs that have ended left behind: their images are called by their process ids.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        if id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn build_image(egg: &Path, form: &str, elf: &Path, path: &Path) -> Result<()> {
    let mut command = Command::new(egg);
    command.args(["build", "--format", form, "-o"]).arg(path).arg(elf);
    command.args(["--", "-serve", "-http", ":80"]);
    build::succeed(command)
}

/// The same input gives the same bytes, GRUB's part too.
fn again(mode: &Mode) -> Result<()> {
    let Mode::Machine { egg, .. } = mode else { bail!("images are for machines") };
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Stripped)?;
    for form in ["elf", "iso", "vmdk", "vhdx"] {
        let first = image(mode, form)?;
        let second = first.with_extension("again");
        build_image(egg, form, &elf, &second)?;
        if fs::read(first)? != fs::read(&second)? {
            bail!("{form}: other bytes the second time");
        }
        fs::remove_file(second)?;
    }
    Ok(())
}

/// It answers, and ends as it was told to.
fn boots(mode: &Mode, form: &str, machine: &str, firmware: &str) -> Result<()> {
    let mut vm = Vm::of(&image(mode, form)?, mode).machine(machine);
    if !firmware.is_empty() {
        vm = vm.flags(["--firmware", firmware]);
    }
    vm.listen(80)?;
    let mut running = vm.start()?;
    running.get_until_ready(80, "/")?;
    running.get(80, "/exit?code=3")?;
    running.expect(Exit::Code(3), LIMIT)
}

/// As from a USB stick or the disk of a PC.
fn from_disk(mode: &Mode, disk: &str, words: &str, uefi: bool) -> Result<()> {
    let kind = if disk.ends_with("-cd") { "media=cdrom," } else { "" };
    let file = image(mode, "iso")?.display().to_string();
    let drive = format!("if=none,id=disk,snapshot=on,format=raw,{kind}file={file}");
    let machine = "-M q35 -m 256 -device virtio-net-pci,netdev=net,romfile= -drive";
    let firmware: &[&str] = if uefi { &["-bios", OVMF] } else { &[] };
    let words = machine.split(' ').chain([&*drive]).chain(words.split(' '));
    let mut running = vm::qemu(80, words.chain(firmware.iter().copied()))?;
    running.get_until_ready(80, "/")?;
    running.get(80, "/exit?code=0")?;
    running.expect(ORDERLY, LIMIT)
}

/// A GRUB of its own configuration, as someone has it who boots other systems too, loads the ELF file.
fn by_grub(mode: &Mode, uefi: bool) -> Result<()> {
    let folder = build::target().join(format!("vm-images/grub-{}-{uefi}", std::process::id()));
    let cd = platforms::cd_with_grub(&image(mode, "elf")?, &folder, "")?;
    let mut arguments =
        ["-M", "q35", "-m", "512", "-device", "virtio-net-pci,netdev=net", "-cdrom"]
            .map(str::to_owned)
            .to_vec();
    arguments.push(cd.display().to_string());
    if uefi {
        arguments.extend(["-bios", OVMF].map(str::to_owned));
    }
    let mut running = vm::qemu(80, arguments)?;
    running.get_until_ready(80, "/")?;
    running.get(80, "/exit?code=0")?;
    running.expect(ORDERLY, LIMIT)?;
    Ok(fs::remove_dir_all(folder)?)
}

/// The command line changes settings, whoever hands it over.
fn takes_settings(mode: &Mode, way: &str) -> Result<()> {
    const LINE: &str = "eggos.verbose";
    let folder = build::target().join(format!("vm-images/settings-{}-{way}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut arguments: Vec<String> = ["-M", "q35", "-m", "512"].map(str::to_owned).into();
    let mut add = |word: &str, value: String| arguments.extend([word.to_owned(), value]);
    match way {
        "pvh" => {
            add("-kernel", image(mode, "elf")?.display().to_string());
            add("-append", LINE.to_owned());
        }
        "efi" => {
            // Where no disk starts by itself, firmware's shell runs its script.
            fs::copy(image(mode, "efi")?, folder.join("program.efi"))?;
            fs::write(folder.join("startup.nsh"), format!("fs0:\\program.efi {LINE}\r\n"))?;
            add("-drive", format!("format=raw,snapshot=on,file=fat:{}", folder.display()));
        }
        _ => {
            let cd = platforms::cd_with_grub(&image(mode, "elf")?, &folder, LINE)?;
            add("-cdrom", cd.display().to_string());
        }
    }
    if way != "pvh" && way != "grub-bios" {
        add("-bios", OVMF.to_owned());
    }
    let mut running = vm::qemu(80, arguments)?;
    // What it says of the machine with that setting alone.
    running.wait_for_text(" of memory, kernel at 0x")?;
    drop(running);
    Ok(fs::remove_dir_all(folder)?)
}

/// A CD is at most 3 MiB larger than its program.
fn size(mode: &Mode) -> Result<()> {
    const MOST: u64 = 3 << 20;
    let elf = build::go("programs/httpserve", build::NEWEST, Variant::Stripped)?;
    let (program, cd) = (fs::metadata(elf)?.len(), fs::metadata(image(mode, "iso")?)?.len());
    if cd > program + MOST {
        bail!("{cd} bytes for a program of {program}");
    }
    Ok(())
}

/// QEMU's own tool finds the same disk in all of them, and nothing wrong with them.
fn containers(mode: &Mode) -> Result<()> {
    let raw = image(mode, "raw")?;
    for (form, name) in [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhd", "vpc"), ("vhdx", "vhdx")] {
        let image = image(mode, form)?;
        if form != "vhd" {
            let mut check = Command::new("qemu-img");
            check.args(["check", "-f", name]).arg(&image);
            build::succeed(check)?;
        }
        let mut compare = Command::new("qemu-img");
        compare.args(["compare", "-f", name, "-F", "raw"]).arg(&image).arg(&raw);
        build::succeed(compare)?;
    }
    Ok(())
}
