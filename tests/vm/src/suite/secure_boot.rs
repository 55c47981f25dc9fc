//! UEFI's Secure Boot: a signed EFI program starts, with kernel and archive under the signature, and one
//! that nobody signed does not. Firmware, its variables and the key are Debian's for tests (`ovmf`).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::platforms::{ORDERLY, image};
use crate::build;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{self, Mode, Running};

const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Which signatures it takes.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("platform/efi/secure-boot".into(), Set::All, signed).with_own_machine()]
}

fn signed(mode: &Mode) -> Result<()> {
    let folder = build::target().join(format!("vm-images/signed-{}", std::process::id()));
    let disk = folder.join("disk");
    let program = disk.join("EFI/BOOT/BOOTX64.EFI");
    fs::create_dir_all(disk.join("EFI/BOOT"))?;
    let image = image(mode, "efi")?;
    fs::copy(&image, &program)?;
    start(&folder, &disk)?.wait_for_text("Access Denied")?;

    let key = folder.join("key");
    let mut decrypt = Command::new("openssl");
    decrypt.args(["rsa", "-in", KEY, "-passin", "pass:snakeoil", "-out"]).arg(&key);
    build::succeed(decrypt)?;
    let mut sign = Command::new("sbsign");
    sign.args(["--cert", CERTIFICATE, "--key"]).arg(&key).arg("--output").arg(&program).arg(&image);
    build::succeed(sign)?;
    let mut running = start(&folder, &disk)?;
    running.get_until_ready(80, "/")?;
    running.get(80, "/exit?code=0")?;
    running.expect(ORDERLY, LIMIT)?;
    Ok(fs::remove_dir_all(folder)?)
}

fn start(folder: &Path, disk: &Path) -> Result<Running> {
    let variables = folder.join("variables");
    fs::copy(VARIABLES, &variables)?;
    let flash = |unit, rest: String| format!("if=pflash,format=raw,unit={unit},{rest}");
    let drives = [
        flash(0, format!("readonly=on,file={FIRMWARE}")),
        flash(1, format!("file={}", variables.display())),
        format!("format=raw,snapshot=on,file=fat:{}", disk.display()),
    ];
    // Only firmware, in system management mode, may change its variables.
    let machine = "-M q35,smm=on -m 256 -global driver=cfi.pflash01,property=secure,value=on \
                   -device virtio-net-pci,netdev=net,romfile=";
    let drives = drives.iter().flat_map(|drive| ["-drive", drive]);
    vm::qemu(80, machine.split(' ').chain(drives))
}
