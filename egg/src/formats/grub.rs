//! Booting by BIOS: GRUB as the host's packages have it, told by block numbers where kernel and
//! archive lie, so that they are on the disk once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::bytes::{SECTOR, put, u32_at};

/// What is said where there is no GRUB.
pub(super) const MISSING: &str = "it boots by UEFI only; to boot by BIOS too it needs GRUB's files: apt-get install grub-common grub-pc-bin (Debian, Ubuntu), dnf install grub2-tools-extra grub2-pc-modules (Fedora), pacman -S grub (Arch)";

const COMMANDS: [&str; 2] = ["grub-mkimage", "grub2-mkimage"];
const FOLDERS: [&str; 2] = ["/usr/lib/grub/i386-pc", "/usr/share/grub2/i386-pc"];
/// What it takes to load a kernel from a disk, and to find a screen for it; then what ends the machine
/// when there is none.
const MODULES: [&str; 6] = ["biosdisk", "multiboot2", "vbe", "serial", "echo", "halt"];
/// What comes after a kernel that cannot be read. One without its archive says so itself.
const DAMAGED: &str = "serial --unit=0 --speed=115200\nterminal_output console serial\n\
    echo 'eggos: the image is damaged: its kernel cannot be read'\nhalt\n";

/// GRUB of this host.
pub(super) struct Grub {
    command: &'static str,
    folder: PathBuf,
}

/// A stretch of the disk.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    /// Its first sector.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Blocks {
    /// What holds so many bytes.
    pub(super) fn of_bytes(offset: usize, length: usize) -> Self {
        Self { first: offset / SECTOR, count: length.div_ceil(SECTOR) }
    }
}

impl Grub {
    /// Finds it. `EGG_GRUB` names its folder, or an empty one to go without.
    pub(super) fn find() -> Option<Self> {
        let given = std::env::var_os("EGG_GRUB").map(PathBuf::from);
        let folders =
            given.map_or_else(|| FOLDERS.map(PathBuf::from).to_vec(), |folder| vec![folder]);
        let has_boot = |folder: &PathBuf| folder.join("boot.img").is_file();
        let folder = folders.into_iter().find(has_boot)?;
        let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        Some(Self { command: COMMANDS.into_iter().find(runs)?, folder })
    }

    /// GRUB's own image. `kind`: where it is started from.
    fn image(&self, kind: &str, kernel: Blocks, archive: Blocks) -> anyhow::Result<Vec<u8>> {
        let work = tempfile::tempdir()?;
        let path = |name: &str| work.path().join(name);
        let blocks = |row: Blocks| format!("($root){}+{}", row.first, row.count);
        let (kernel, archive) = (blocks(kernel), blocks(archive));
        let script = format!("multiboot2 {kernel}\nmodule2 {archive}\nboot\n{DAMAGED}");
        fs::write(path("script"), script)?;
        let output = Command::new(self.command)
            .args(["--format", kind, "--prefix", "/boot/grub", "--compression", "xz"])
            .args([Path::new("--directory"), &self.folder])
            .args([Path::new("--config"), &path("script"), Path::new("--output"), &path("image")])
            .args(MODULES)
            .output()
            .with_context(|| format!("cannot start {}", self.command))?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{}: {}", self.command, said.trim());
        Ok(fs::read(path("image"))?)
    }

    /// The master boot record's code, which starts [`Self::on_disk`] at `core`.
    pub(super) fn boot_record(&self, core: usize) -> anyhow::Result<[u8; 440]> {
        const KERNEL_SECTOR: usize = 0x5c;
        const DRIVE_CHECK: usize = 0x66;
        let mut code = fs::read(self.folder.join("boot.img"))?;
        put(&mut code, KERNEL_SECTOR, &u64::try_from(core)?.to_le_bytes())?;
        // As grub-bios-setup does for hard disks: do not trust what the BIOS calls the drive.
        put(&mut code, DRIVE_CHECK, &[0x90, 0x90])?;
        code.first_chunk().copied().context("GRUB's boot.img is too small")
    }

    /// What lies on the disk from sector `core` on.
    pub(super) fn on_disk(
        &self,
        core: usize,
        kernel: Blocks,
        archive: Blocks,
    ) -> anyhow::Result<Vec<u8>> {
        /// Where the code is loaded, as a real-mode segment.
        const SEGMENT: u16 = 0x820;
        const BLOCK_LIST: usize = SECTOR - 12;
        let mut image = self.image("i386-pc", kernel, archive)?;
        image.resize(image.len().next_multiple_of(SECTOR), 0);
        // The first sector loads the others: from where, how many, to where.
        let (first, count) = (u64::try_from(core + 1)?, u16::try_from(image.len() / SECTOR - 1)?);
        put(&mut image, BLOCK_LIST, &first.to_le_bytes())?;
        put(&mut image, BLOCK_LIST + 8, &[count, SEGMENT].map(u16::to_le_bytes).concat())?;
        Ok(image)
    }

    /// What a CD's boot catalogue names, at sector `at` of the CD.
    pub(super) fn on_cd(
        &self,
        at: usize,
        kernel: Blocks,
        archive: Blocks,
    ) -> anyhow::Result<Vec<u8>> {
        /// The boot information table (mkisofs(8)): where the volume and this file are.
        const TABLE: usize = 8;
        const DESCRIPTOR: u32 = 16;
        const SUMMED_FROM: usize = 64;
        let mut image = self.image("i386-pc-eltorito", kernel, archive)?;
        let length = u32::try_from(image.len())?;
        image.resize(image.len().next_multiple_of(4 * SECTOR), 0);
        let words = (SUMMED_FROM..image.len()).step_by(4).filter_map(|word| u32_at(&image, word));
        let sum = words.fold(0_u32, |sum, word| sum.wrapping_add(word as u32));
        let table = [DESCRIPTOR, u32::try_from(at)?, length, sum].map(u32::to_le_bytes).concat();
        put(&mut image, TABLE, &table)?;
        Ok(image)
    }
}
