//! Images that someone damaged, by accident or not: the machine says so in a line and ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::platforms::{ORDERLY, OVMF, image};
use crate::build;
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{self, Mode};

/// What is done to an image.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// A bit of the archive is another.
    Bit,
    /// A bit of the length or checksum is another that the kernel knows.
    Seal,
    /// The archive's segment is shorter.
    Segment,
    /// The archive is a module, and cut off; the kernel does not know what it should be.
    Module,
    /// The disk ends within the archive.
    Archive,
    /// The disk ends within the kernel.
    Kernel,
}

/// Damage, what of, how many boots in the quick set and in the long one. No CD that ends within the
/// kernel: SeaBIOS reads what is not there without an error, and GRUB starts what was in memory.
const KINDS: [(Damage, &str, usize, usize); 8] = [
    (Damage::Bit, "elf", 3, 13),
    (Damage::Bit, "raw", 1, 3),
    (Damage::Seal, "elf", 2, 6),
    (Damage::Segment, "elf", 2, 8),
    (Damage::Module, "elf", 2, 8),
    (Damage::Archive, "raw", 1, 6),
    (Damage::Archive, "iso", 0, 3),
    (Damage::Kernel, "raw", 1, 3),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (damage, form, few, many) in KINDS {
        for (name, count, set) in [("few", few, Set::Core), ("many", many, Set::All)] {
            let name = format!("platform/damaged/{damage:?}/{form}/{name}").to_lowercase();
            let run = move |mode: &Mode| damaged(mode, damage, form, count);
            if count > 0 {
                tests.push(Test::new(name, set, run).with_own_machine());
            }
        }
    }
    tests
}

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    /// One in `range`.
    fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        range.start + (self.0 >> 20) as usize % range.len()
    }
}

fn damaged(mode: &Mode, damage: Damage, form: &str, count: usize) -> Result<()> {
    let good = Image::read(&image(mode, form)?)?;
    let name = format!("vm-images/damaged-{}-{damage:?}-{count}", std::process::id());
    let path = build::target().join(name).with_extension(form);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let what = good.damage(damage, &path, &mut numbers)?;
        says_so(damage, form, &path).context(what)?;
    }
    if matches!(damage, Damage::Module) {
        fs::remove_file(module_of(&path))?;
    }
    Ok(fs::remove_file(path)?)
}

/// Boots it, which must end with a line about the damage.
fn says_so(damage: Damage, form: &str, path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    let module = module_of(path).display().to_string();
    let disk = format!("format=raw,snapshot=on,file={shown}");
    let machine: &[&str] = match (damage, form) {
        (Damage::Module, _) => &["microvm", "-kernel", &shown, "-initrd", &module],
        (Damage::Bit, "raw") => &["q35", "-bios", OVMF, "-drive", &disk],
        (_, "elf") => &["microvm", "-kernel", &shown],
        (_, "iso") => &["pc", "-cdrom", &shown],
        _ => &["pc", "-drive", &disk],
    };
    let mut running = vm::qemu(80, [&["-m", "128", "-M"], machine].concat())?;
    // Without a kernel, GRUB turns the machine off.
    let end = if matches!(damage, Damage::Kernel) { Exit::Code(0) } else { ORDERLY };
    running.expect(end, LIMIT)?;
    let said = running.output();
    if !said.lines().any(|line| line.contains("eggos: the image is damaged: ")) {
        bail!("it says {said:?}");
    }
    Ok(())
}

/// Beside a damaged kernel.
fn module_of(path: &Path) -> PathBuf {
    path.with_extension("module")
}

/// An image, and where its parts are.
struct Image {
    bytes: Vec<u8>,
    /// Where the kernel begins.
    kernel: usize,
    /// Of the words that `egg build` fills in (`hal/src/x86_64/boot/entry.s`): from where to where the
    /// archive is loaded, then its length and checksum.
    words: usize,
    archive: usize,
    archive_bytes: usize,
}

impl Image {
    fn read(path: &Path) -> Result<Self> {
        /// Parts begin on sectors.
        const SECTOR: usize = 512;
        const MARK: &[u8] = b"eggosELF";
        const LENGTH: usize = 16;
        let bytes = fs::read(path)?;
        let begins = |with: &[u8], step: usize| {
            let mut places = (0..bytes.len()).step_by(step);
            places.find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(with)))
        };
        let kernel = begins(b"\x7fELF", SECTOR).context("no kernel in the image")?;
        let words = begins(MARK, 8).context("not a kernel to be packed")? + MARK.len();
        let archive = begins(b"070701", SECTOR).context("no archive in the image")?;
        let archive_bytes = usize::try_from(number(&bytes, words + LENGTH)?)?;
        Ok(Self { kernel, words, archive, archive_bytes, bytes })
    }

    /// Writes a damaged copy, and says what was done to it.
    fn damage(&self, damage: Damage, path: &Path, numbers: &mut Numbers) -> Result<String> {
        let mut bytes = self.bytes.clone();
        let at = numbers.within(match damage {
            Damage::Seal => self.words + 16..self.words + 32,
            // The last of both is padding, or of no use.
            Damage::Kernel => self.kernel..self.kernel + (self.archive - self.kernel) / 8 * 7,
            _ => self.archive..self.archive + self.archive_bytes / 8 * 7,
        });
        match damage {
            Damage::Bit | Damage::Seal => {
                *bytes.get_mut(at).context("no such byte")? ^= 1 << numbers.within(0..8);
            }
            Damage::Segment => {
                self.shorten(&mut bytes, at - self.archive)?;
                bytes.truncate(at);
            }
            Damage::Module => {
                fs::write(module_of(path), bytes.get(self.archive..at).unwrap_or_default())?;
                bytes.get_mut(self.words..self.words + 32).context("no words")?.fill(0);
            }
            Damage::Archive | Damage::Kernel => bytes.truncate(at),
        }
        fs::write(path, bytes)?;
        Ok(format!("{damage:?} at byte {at}"))
    }

    /// Writes another length into the program header of the archive.
    fn shorten(&self, bytes: &mut [u8], length: usize) -> Result<()> {
        const TABLE: usize = 64;
        const ROW: usize = 56;
        let mut rows = (0..16).map(|n| TABLE + ROW * n);
        let is_archive =
            |at: &usize| number(bytes, at + 8).is_ok_and(|at| at == self.archive as u64);
        let row = rows.find(is_archive).context("no segment for the archive")?;
        for field in [row + 32, row + 40] {
            let place = bytes.get_mut(field..field + 8).context("a cut header")?;
            place.copy_from_slice(&(length as u64).to_le_bytes());
        }
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u64> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    Ok(u64::from_le_bytes(*bytes.context("a number beyond the end")?))
}
