//! Every form is read back as it was written, and damage is found or harmless. That they boot is shown
//! in machines (`tests/vm/src/suite/platforms.rs`).

use super::*;
use proptest::prelude::*;

/// All that hold a kernel of their own making.
const FORMS: [Format; 8] = [
    Format::Elf,
    Format::Efi,
    Format::Iso,
    Format::Raw,
    Format::Qcow2,
    Format::Vmdk,
    Format::Vhd,
    Format::Vhdx,
];

/// A kernel of one segment, with the words that `egg build` fills in.
fn kernel() -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([0x10_0000_u64, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend([0; 4]);
    elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([1_u32, 7].map(u32::to_le_bytes).concat());
    elf.extend([4096_u64, 0x10_0000, 0x10_0000, 64, 8192, 4096].map(u64::to_le_bytes).concat());
    elf.resize(4096, 0);
    elf.extend(b"eggosELF");
    elf.resize(4096 + 64, 0);
    elf
}

fn archive() -> Vec<u8> {
    (0..6000_u32).map(|n| ((n * n) >> 3) as u8).collect()
}

fn made(format: Format) -> Vec<u8> {
    let stub = pe::tests::program();
    let maker = Maker { stub: &stub, kernel: &kernel(), grub: None };
    maker.make(format, archive(), &mut |_| {}).unwrap().bytes
}

#[test]
fn every_form_comes_back() {
    for format in FORMS {
        let image = made(format);
        let opened = open::open(&image).unwrap_or_else(|| panic!("{format:?} is not known again"));
        assert_eq!(opened.format, format);
        assert_eq!(opened.archive.unwrap(), archive(), "{format:?}");
        assert_eq!(
            Format::of_name(Path::new("x").with_extension(format.extension()).as_path()),
            Some(format)
        );
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for format in FORMS {
        assert_eq!(made(format), made(format), "{format:?}");
    }
}

#[test]
fn without_grub_the_package_is_named() {
    let stub = pe::tests::program();
    let maker = Maker { stub: &stub, kernel: &kernel(), grub: None };
    let note = maker.make(Format::Raw, archive(), &mut |_| {}).unwrap().note;
    assert!(note.unwrap().contains("grub-pc-bin"));
}

#[test]
fn other_kernels_are_refused() {
    let mut kernel = kernel();
    kernel[4096] = 0;
    let maker = Maker { stub: &pe::tests::program(), kernel: &kernel, grub: None };
    for format in FORMS {
        assert!(maker.make(format, archive(), &mut |_| {}).is_err());
    }
}

/// What can happen to a file.
#[derive(Clone, Debug)]
enum Damage {
    Bit(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Zeros(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        at().prop_map(Damage::Cut),
        (at(), 1..5000_usize).prop_map(|(at, length)| Damage::Zeros(at, length)),
    ]
}

fn damaged(mut image: Vec<u8>, damage: &Damage) -> Vec<u8> {
    match damage {
        Damage::Bit(at, bit) => {
            let at = at.index(image.len());
            image[at] ^= 1 << bit;
        }
        Damage::Cut(at) => image.truncate(at.index(image.len())),
        Damage::Zeros(at, length) => {
            let at = at.index(image.len());
            let end = (at + length).min(image.len());
            image[at..end].fill(0);
        }
    }
    image
}

/// Opens it: whatever the damage, an archive that comes out is the one that went in.
fn survives(image: &[u8]) {
    if let Some(archive_of) = open::open(image).map(|opened| opened.archive)
        && let Ok(found) = archive_of
    {
        assert!(found == archive(), "a damaged archive went unnoticed");
    }
}

/// Of the ten thousand mutations, most are of the small forms, which have all the structure of their
/// own: a disk is mostly zeros.
fn mutate(format: Format, cases: u32) {
    let image = made(format);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    // Half of them where the structure is: at the beginning.
    let strategy = (damage(), any::<bool>());
    let result = runner.run(&strategy, |(damage, early)| {
        let head = 70_000.min(image.len());
        match (early, &damage) {
            (true, Damage::Bit(..) | Damage::Zeros(..)) => {
                let mut image = image.clone();
                let changed = damaged(image[..head].to_vec(), &damage);
                image[..head].copy_from_slice(&changed);
                survives(&image);
            }
            _ => survives(&damaged(image.clone(), &damage)),
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn elf_survives_damage() {
    mutate(Format::Elf, 3500);
}

#[test]
fn efi_survives_damage() {
    mutate(Format::Efi, 3500);
}

#[test]
fn iso_survives_damage() {
    mutate(Format::Iso, 1200);
}

#[test]
fn disks_survive_damage() {
    for format in [Format::Raw, Format::Vhd] {
        mutate(format, 300);
    }
}

#[test]
fn containers_survive_damage() {
    for format in [Format::Qcow2, Format::Vmdk, Format::Vhdx] {
        mutate(format, 600);
    }
}
