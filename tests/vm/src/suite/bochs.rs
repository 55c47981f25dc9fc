//! Bochs, a PC other than QEMU's, which needs nothing of the host's processor: it starts the disk by
//! BIOS and GRUB, and its e1000 is another than QEMU's.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::platforms::image;
use crate::process::Process;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::Mode;
use crate::{build, http};

/// The display is a terminal that nobody looks at; that one knows no graphics, so there must be none.
const SETTINGS: &str = "\
config_interface: textconfig
display_library: term
megs: 256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
vga: extension=none
cpu: model=corei7_haswell_4770, ips=200000000
pci: enabled=1, chipset=i440fx, slot1=e1000
e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp, script=network
ata0-master: type=disk, path=disk, mode=volatile, cylinders=0, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev=serial
sound: waveoutdrv=dummy
speaker: enabled=0
log: log
panic: action=fatal
error: action=report
";

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("platform/raw/bochs/bios".into(), Set::All, serves).with_own_machine()]
}

/// The server answers.
fn serves(mode: &Mode) -> Result<()> {
    let folder = build::target().join(format!("vm-images/bochs-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    // It locks its file.
    fs::copy(image(mode, "raw")?, folder.join("disk"))?;
    fs::write(folder.join("settings"), SETTINGS)?;
    // Debian's has a debugger, which waits for this.
    fs::write(folder.join("commands"), "continue\n")?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let network = format!("# slirp config\nhostfwd = tcp:127.0.0.1:{port}-:80\n");
    fs::write(folder.join("network"), network)?;
    let mut command = Command::new("bochs");
    command.current_dir(&folder).env("TERM", "xterm");
    command.args(["-q", "-f", "settings", "-rc", "commands"]);
    let mut bochs = Process::start(command)?;
    let answered = answers(&mut bochs, port);
    let said = || fs::read_to_string(folder.join("serial")).unwrap_or_default();
    answered.with_context(said)?;
    drop(bochs);
    Ok(fs::remove_dir_all(folder)?)
}

/// Asks until the first reply.
fn answers(bochs: &mut Process, port: u16) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let until = Instant::now() + LIMIT;
    while let Err(error) = http::request(port, "GET", "/", b"", PATIENCE) {
        if let Some(exit) = bochs.ended()? {
            bail!("Bochs ended with {exit:?}: {}", bochs.output());
        }
        if Instant::now() > until {
            return Err(error.context("no reply"));
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
