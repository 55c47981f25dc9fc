//! Does KVM really run the kernel? A device file says little: it is tried with a program that only
//! ends, once a boot of the host.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::Metadata;
use bundle::config::{Config, Network, Size};

use crate::cli::{AccelWish, Display, MachineKind};
use crate::exit::{Code, Ended, Failure};
use crate::image::Tree;
use crate::kernel::Kernel;
use crate::launch::MemoryFile;
use crate::outcome::Outcome;
use crate::qemu::{Accel, Boot, Channel, Machine};
use crate::terminal;
use crate::vm::{self, Connection};

const DEVICE: &str = "/dev/kvm";
/// KVM boots the kernel in some 20 ms.
const LIMIT: Duration = Duration::from_secs(3);
/// How the names of remembered tries begin.
const PREFIX: &str = "kvm-";
/// So many kernels can be used in turn without trying again.
const KEPT: usize = 7;
/// What the probe ends with.
const CODE: u8 = 42;

/// What KVM turned out to be.
enum Kvm {
    Works,
    /// Why it cannot be used.
    Problem(String),
}

/// Chooses; with a reason when KVM was wanted or preferred, and is not to be had. `Err(Ended)`
/// within the result: `egg` was told to stop meanwhile.
pub(crate) fn choose(
    wish: AccelWish,
    kernel: &Kernel,
    verbose: bool,
) -> anyhow::Result<Result<Accel, Ended>> {
    if wish == AccelWish::Tcg {
        return Ok(Ok(Accel::Tcg));
    }
    let kvm = match kvm(kernel) {
        Ok(kvm) => kvm,
        Err(ended) => return Ok(Err(ended)),
    };
    match (kvm, wish) {
        (Kvm::Works, _) => Ok(Ok(Accel::Kvm)),
        (Kvm::Problem(problem), AccelWish::Kvm) => Failure::err(
            Code::Usage,
            format!("no KVM: {problem}; --accel tcg runs everywhere, only slower"),
        ),
        (Kvm::Problem(problem), _) => {
            if verbose {
                terminal::say(&format!("no KVM, running with TCG: {problem}"));
            }
            Ok(Ok(Accel::Tcg))
        }
    }
}

/// Tries KVM, or remembers what came of it.
fn kvm(kernel: &Kernel) -> Result<Kvm, Ended> {
    if let Err(error) = File::options().read(true).write(true).open(DEVICE) {
        return Ok(Kvm::Problem(match error.kind() {
            ErrorKind::NotFound => format!("there is no {DEVICE}"),
            ErrorKind::PermissionDenied => {
                format!("{DEVICE} may not be opened; join its group: sudo usermod -aG kvm $USER")
            }
            _ => format!("{DEVICE}: {error}"),
        }));
    }
    let cache = cache_path(kernel);
    let known = cache.as_ref().and_then(|path| fs::read_to_string(path).ok());
    let problem = match known {
        Some(problem) => problem,
        None => {
            let problem = match probe(kernel) {
                Ok(Outcome::Exited(CODE)) => String::new(),
                Ok(Outcome::Stopped(number)) => return Err(Ended::by_signal(number)),
                // Says nothing about KVM, so it is not remembered; the run itself will tell.
                Ok(Outcome::NoQemu) => return Ok(Kvm::Works),
                Ok(outcome) => does_not_run(&outcome),
                Err(error) => format!("{DEVICE} cannot be tried: {error:#}"),
            };
            if let Some(path) = cache {
                // Without a cache the next run tries again.
                let _ = remember(&path, &problem);
            }
            problem
        }
    };
    Ok(if problem.is_empty() { Kvm::Works } else { Kvm::Problem(problem) })
}

/// Keeps what came of a try, and forgets all but the [`KEPT`] newest others.
fn remember(path: &Path, problem: &str) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::NotFound)?;
    fs::create_dir_all(directory)?;
    let mut others = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort_unstable();
    for (_, old) in others.iter().rev().skip(KEPT) {
        fs::remove_file(old)?;
    }
    fs::write(path, problem)
}

fn does_not_run(outcome: &Outcome) -> String {
    let why = match outcome {
        Outcome::KernelFailed(why) | Outcome::QemuFailed(why) => format!(": {why}"),
        Outcome::TimedOut => ": nothing happens".to_owned(),
        other => format!(": {other:?}"),
    };
    format!("{DEVICE} exists, but does not run the kernel{why}")
}

/// One file a boot of the host and a kernel.
fn cache_path(kernel: &Kernel) -> Option<PathBuf> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let mut hasher = DefaultHasher::new();
    kernel.elf().hash(&mut hasher);
    let name = format!("{PREFIX}{}-{:016x}", boot.trim(), hasher.finish());
    Some(cache_directory()?.join(name))
}

/// Where `egg` keeps what it can make again.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("eggos"))
}

fn probe(kernel: &Kernel) -> anyhow::Result<Outcome> {
    let config = Config {
        program: "/probe".to_owned(),
        args: vec!["/probe".to_owned()],
        network: Network::Off,
        ..Config::default()
    };
    let mut tree = Tree::base("probe");
    tree.file(b"probe", Metadata::root(0o755), probe_program());
    let image = MemoryFile::new("probe", &tree.archive(&config, None)?)?;
    let kernel = MemoryFile::new("kernel", kernel.elf())?;
    let machine = Machine {
        kind: MachineKind::Microvm,
        accel: Accel::Kvm,
        memory: Size::from_mebibytes(64),
        cpus: 1,
        boot: Boot::Kernel { kernel: kernel.path(), image: Some(image.path()) },
        display: Display::None,
        console: Channel::Stdio,
        control: Channel::Stdio,
        forwards: Vec::new(),
    };
    let connection = Connection {
        terminal: false,
        input: false,
        output: false,
        limit: Some(LIMIT),
        on_event: &mut |_| {},
        verbose: false,
    };
    vm::run(machine, connection)
}

/// A static ELF file that calls `exit_group(42)` and nothing else.
fn probe_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    const EXIT_GROUP: u8 = 231;
    let code = [
        0xbf, CODE, 0, 0, 0, // mov $42, %edi
        0xb8, EXIT_GROUP, 0, 0, 0, // mov $231, %eax
        0x0f, 0x05, // syscall
        0x0f, 0x0b, // ud2
    ];
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // e_type EXEC, e_machine x86-64, e_version
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    // e_entry, e_phoff, e_shoff
    elf.extend([BASE + HEADERS, 64, 0].map(u64::to_le_bytes).concat());
    // e_flags; e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    elf.extend([0; 4]);
    elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // PT_LOAD, R+X
    elf.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    elf.extend([0, BASE, BASE, size, size, 4096].map(u64::to_le_bytes).concat());
    elf.extend(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn the_probe_is_a_program() {
        assert_eq!(crate::elf::Report::of(&probe_program()).unwrap().problems, [""; 0]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe");
        fs::write(&path, probe_program()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Command::new(path).status().unwrap().code(), Some(i32::from(CODE)));
    }

    #[test]
    fn tries_of_long_ago_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("eggos");
        for number in 0..=2 * KEPT {
            remember(&cache.join(format!("{PREFIX}{number}")), "a problem").unwrap();
            fs::write(cache.join("other"), "").unwrap();
        }
        let newest = cache.join(format!("{PREFIX}{}", 2 * KEPT));
        assert_eq!(fs::read_to_string(newest).unwrap(), "a problem");
        assert!(cache.join("other").exists());
        assert_eq!(fs::read_dir(&cache).unwrap().count(), KEPT + 2);
    }
}
