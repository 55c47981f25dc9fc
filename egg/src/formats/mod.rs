//! Images that machines boot by themselves: kernel and archive in one file, in the form that a
//! loader, firmware or a hypervisor wants.
//!
//! [`elf`] joins them to one ELF file, [`pe`] to one EFI program. [`disk`] makes a disk around that
//! program, which boots by UEFI and, where [`grub`] finds GRUB on this host, by BIOS; as an ISO it is
//! a CD too ([`iso`]). [`qcow2`], [`vmdk`], [`vhd`] and [`vhdx`] wrap a disk for hypervisors; [`open`]
//! reads all of these back.

mod bytes;
mod disk;
mod elf;
mod fat;
mod grub;
mod iso;
pub(crate) mod open;
mod pe;
mod qcow2;
mod vhd;
mod vhdx;
mod vmdk;

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Context;
use bundle::checksum;

use self::grub::Grub;
use crate::cli::Format;

/// The EFI stub.
static STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub.efi"));

/// What was made.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    /// What the user should know.
    pub(crate) note: Option<String>,
}

impl Format {
    /// The form that a file's name asks for.
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()? {
            "egg" => Self::Egg,
            "elf" => Self::Elf,
            "efi" => Self::Efi,
            "iso" => Self::Iso,
            "raw" | "img" => Self::Raw,
            "qcow2" => Self::Qcow2,
            "vmdk" => Self::Vmdk,
            "vhd" => Self::Vhd,
            "vhdx" => Self::Vhdx,
            _ => return None,
        })
    }

    /// The end of such a file's name.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Egg => "egg",
            Self::Elf => "elf",
            Self::Efi => "efi",
            Self::Iso => "iso",
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }
}

/// What the images of all forms are made from.
struct Maker<'a> {
    stub: &'a [u8],
    kernel: &'a [u8],
    grub: Option<Grub>,
}

/// Makes an image of a kernel and the archive for it. `step` is told what is being done.
pub(crate) fn make(
    format: Format,
    kernel: &[u8],
    archive: Vec<u8>,
    step: &mut dyn FnMut(&'static str),
) -> anyhow::Result<Made> {
    Maker { stub: STUB, kernel, grub: Grub::find() }.make(format, archive, step)
}

impl Maker<'_> {
    fn make(
        &self,
        format: Format,
        archive: Vec<u8>,
        step: &mut dyn FnMut(&'static str),
    ) -> anyhow::Result<Made> {
        let plain = |bytes| Ok(Made { bytes, note: None });
        match format {
            // It holds its kernel as one of its files.
            Format::Egg => return plain(archive),
            Format::Elf => return plain(elf::join(self.kernel, &archive)?),
            _ => {}
        }
        anyhow::ensure!(!self.stub.is_empty(), "this egg was built without the EFI stub");
        step("EFI program");
        let kernel = elf::sealed(self.kernel, &archive)?;
        let sections = [(pe::KERNEL, &kernel[..]), (pe::ARCHIVE, &archive[..])];
        let program = pe::with_sections(self.stub, &sections)?;
        drop(archive);
        if format == Format::Efi {
            return plain(program);
        }
        let disk = disk::make(&program, format == Format::Iso, self.grub.as_ref(), step)?;
        drop(program);
        step("container");
        let bytes = match format {
            Format::Qcow2 => qcow2::wrap(&disk)?,
            Format::Vmdk => vmdk::wrap(&disk)?,
            Format::Vhd => vhd::wrap(disk)?,
            Format::Vhdx => vhdx::wrap(&disk)?,
            _ => disk,
        };
        let note = self.grub.is_none().then(|| grub::MISSING.to_owned());
        Ok(Made { bytes, note })
    }
}

/// A disk around an EFI program that someone has already, which boots by UEFI.
pub(crate) fn disk_around(program: &[u8]) -> anyhow::Result<Vec<u8>> {
    disk::make(program, false, None, &mut |_| {})
}

/// An identifier for what has one by habit: the same contents have the same.
fn identifier(contents: &[u8], salt: u64) -> u128 {
    let low = checksum(contents) ^ salt;
    let high = checksum(&low.to_le_bytes());
    u128::from(high) << 64 | u128::from(low)
}

/// Length in sectors, which must be a whole number of them.
fn sectors(disk: &[u8]) -> anyhow::Result<u64> {
    let length = u64::try_from(disk.len())?;
    anyhow::ensure!(length.is_multiple_of(bytes::SECTOR as u64), "a disk of half a sector");
    length.checked_div(bytes::SECTOR as u64).context("no sectors")
}
