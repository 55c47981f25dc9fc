//! `egg build`.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{BuildArgs, Format};
use crate::content::Content;
use crate::exit::Ended;
use crate::formats;
use crate::plan::Plan;
use crate::terminal;

/// Writes an image: one file that holds everything, the kernel too.
pub(crate) fn build(args: &BuildArgs) -> anyhow::Result<Ended> {
    let content = if args.hardware {
        Content::hardware(&args.content)?
    } else {
        Content::prepare(&Plan::of_content(&args.content, &super::host())?)?
    };
    let named = args.output.as_deref().and_then(Format::of_name);
    let format = args.format.or(named).unwrap_or(Format::Egg);
    let output = args.output.clone().unwrap_or_else(|| {
        let name = content.config.program.rsplit('/').next().unwrap_or("program");
        format!("{name}.{}", format.extension()).into()
    });
    let progress = progress();
    let mut step = |what: &'static str| {
        progress.set_message(what);
        progress.inc(1);
    };
    step("archive");
    let within = (format == Format::Egg).then(|| content.kernel.elf());
    let archive = content.tree.archive(&content.config, within)?;
    let made = formats::make(format, content.kernel.elf(), archive, &mut step)?;
    step("writing");
    let shown = output.display().to_string();
    fs::write(&output, &made.bytes).with_context(|| format!("cannot write {shown}"))?;
    progress.finish_and_clear();

    if let Some(note) = made.note {
        terminal::say(&format!("{shown}: {note}"));
    }
    let rows = starts(format, &output);
    let rows: String = rows.iter().map(|(name, how)| format!("  {name:<18} {how}\n")).collect();
    let text = format!("{shown}: {} KiB\n{rows}", made.bytes.len() / 1024);
    // The image is written, whoever reads on.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(Ended::SUCCESS)
}

/// A bar on the terminal; elsewhere nothing.
fn progress() -> ProgressBar {
    const STEPS: u64 = 7;
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(STEPS);
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// A network card, for QEMU.
const NETWORK: &str = "-nic user,model=virtio-net-pci,hostfwd=tcp::8080-:80";

/// How it is started, and where.
fn starts(format: Format, output: &Path) -> Vec<(&'static str, String)> {
    let file = output.display().to_string();
    let path = if file.starts_with(['/', '.']) { file.clone() } else { format!("./{file}") };
    let mut rows = vec![("here", format!("egg run {path}"))];
    let mut add = |name, how: String| rows.push((name, how));
    match format {
        Format::Egg => {}
        Format::Elf => {
            add(
                "QEMU",
                format!(
                    "qemu-system-x86_64 -M microvm,acpi=off -cpu max -nographic -global \
                     virtio-mmio.force-legacy=false -nic user,model=virtio-net-device,hostfwd=tcp::8080-:80 -kernel {path}"
                ),
            );
            add("Firecracker", format!("\"kernel_image_path\": \"{file}\" in the configuration"));
            add("Cloud Hypervisor", format!("cloud-hypervisor --kernel {path} --serial tty"));
            add("GRUB", format!("multiboot2 /boot/{file}"));
        }
        Format::Efi => {
            add("a PC", "copy it to EFI/BOOT/BOOTX64.EFI of a FAT file system".to_owned());
            add("beside Linux", format!("efibootmgr --create --label eggos --loader {file}"));
        }
        Format::Iso => {
            add("USB stick", format!("dd if={path} of=/dev/sdX bs=1M conv=fsync"));
            add("a virtual machine", "put it in as its CD".to_owned());
            add("QEMU", format!("qemu-system-x86_64 -cpu max -m 256 {NETWORK} -cdrom {path}"));
        }
        Format::Raw => {
            add("a PC's disk", format!("dd if={path} of=/dev/sdX bs=1M conv=fsync"));
            add(
                "QEMU",
                format!(
                    "qemu-system-x86_64 -cpu max -m 256 {NETWORK} -drive format=raw,file={path}"
                ),
            );
            add(
                "Google Cloud",
                "name it disk.raw, tar czf it, gcloud compute images create".to_owned(),
            );
        }
        Format::Qcow2 => {
            add("QEMU", format!("qemu-system-x86_64 -cpu max -m 256 {NETWORK} -drive file={path}"));
            add("libvirt", format!("virt-install --import --disk {path} --osinfo generic"));
            add("Proxmox", format!("qm importdisk VMID {path} STORAGE"));
            add(
                "OpenStack",
                format!("openstack image create --disk-format qcow2 --file {path} NAME"),
            );
        }
        Format::Vmdk => {
            add("VirtualBox", format!("VBoxManage storageattach VM ... --medium {path}"));
            add("VMware", format!("a machine with {file} as its existing disk"));
            add("ESXi", format!("vmkfstools -i {file} NAME.vmdk"));
        }
        Format::Vhd => {
            add("Hyper-V", format!("New-VM -VHDPath {file} -Generation 1"));
            add("Azure", format!("az storage blob upload --type page --file {path}"));
        }
        Format::Vhdx => {
            add("Hyper-V", format!("New-VM -Name VM -VHDPath {file} -Generation 2"));
            add("", "Set-VMFirmware VM -EnableSecureBoot Off".to_owned());
            add(
                "QEMU",
                format!(
                    "qemu-system-x86_64 -cpu max -m 256 {NETWORK} -drive format=vhdx,file={path}"
                ),
            );
        }
    }
    rows
}
