//! Pictures of fewer bits a pixel, which GRUB sets up by VBE.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Screen, image};
use crate::build;
use crate::picture::{Cell, Colour, Picture};
use crate::platforms;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{Mode, Vm};

/// Modes that QEMU's standard adapter has by VBE: bits of a pixel; by how much red, green and blue may differ
/// from those of 32 bits.
const FIVE_FIVE_FIVE: (u32, Colour) = (15, [7, 7, 7]);
const FIVE_SIX_FIVE: (u32, Colour) = (16, [7, 3, 7]);

pub(super) fn tests() -> Vec<Test> {
    let own = |name: &str, set, run: fn(&Mode) -> Result<()>| {
        Test::new(format!("screen/{name}"), set, run).with_own_machine()
    };
    vec![
        own("depth-15", Set::All, |mode| looks_the_same(mode, "depth-15", FIVE_FIVE_FIVE)),
        own("depth-16", Set::Core, |mode| looks_the_same(mode, "depth-16", FIVE_SIX_FIVE)),
        own("depth-16-framebuffer", Set::All, |mode| {
            super::draws(start(mode, "depth-16-framebuffer", 16, "programs/screen", &[])?, SIZE)
        }),
    ]
}

const SIZE: (usize, usize) = (1024, 768);

/// A program on a CD with GRUB, which sets up a picture of so many bits.
fn start(mode: &Mode, name: &str, bits: u32, program: &str, arguments: &[&str]) -> Result<Screen> {
    let folder = build::target().join("screen").join(name);
    if folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    }
    let [iso, elf] = ["iso", "elf"].map(|form| image(mode, &folder, form, program, arguments));
    let (iso, elf) = (iso?, elf?);
    ask_for(&elf, bits)?;
    let cd = platforms::cd_with_grub(&elf, &folder, "eggos.verbose")?;
    let vm = Vm::of(&iso, mode).machine("q35").flags(["--firmware", "bios"]);
    Screen::start_with(name, vm, |line| {
        format!("{line} -device VGA").replace(&iso.display().to_string(), &cd.display().to_string())
    })
}

/// Changes what a kernel asks for in its header, and what GRUB's configuration has no say in (multiboot2
/// specification 2.0, section 3.1.10): width, height, and bits of a pixel.
fn ask_for(kernel: &Path, bits: u32) -> Result<()> {
    const HEADER_ENDS: usize = 32 << 10;
    let tag = |words: [u32; 3]| {
        let words = [0x0001_0005, 20].into_iter().chain(words);
        words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
    };
    let (old, new) = (tag([0, 0, 32]), tag([SIZE.0 as u32, SIZE.1 as u32, bits]));
    let mut bytes = fs::read(kernel)?;
    let at = bytes.windows(old.len()).take(HEADER_ENDS).position(|window| window == old);
    let at = at.context("the kernel asks for no picture")?;
    bytes[at..at + new.len()].copy_from_slice(&new);
    Ok(fs::write(kernel, bytes)?)
}

/// The test card with so many bits, which the kernel says that it has been given.
fn card(mode: &Mode, name: &str, bits: u32) -> Result<Picture> {
    let mut screen = start(mode, name, bits, "modules/term", &["card"])?;
    let picture = screen.wait_for("> ")?;
    if picture.size() != SIZE {
        bail!("{:?} pixels", picture.size());
    }
    let told = format!("picture     {}x{}, {bits} bits, by the loader", SIZE.0, SIZE.1);
    if !screen.running.output().contains(&told) {
        bail!("no {told:?}:\n{}", screen.running.output());
    }
    screen.press(&["ctrl-c"])?;
    screen.running.expect_orderly("exit 0", LIMIT)?;
    Ok(picture)
}

fn looks_the_same(mode: &Mode, name: &str, (bits, tolerance): (u32, Colour)) -> Result<()> {
    let [whole, packed] = [32, bits].map(|bits| card(mode, &format!("{name}/{bits}"), bits));
    let (whole, packed) = (whole?, packed?);
    let near = |one: Colour, other: Colour| {
        let differences = one.iter().zip(other).map(|(one, other)| one.abs_diff(other));
        differences.zip(tolerance).all(|(difference, most)| difference <= most)
    };
    let same = |one: &Cell, other: &Cell| {
        one.character == other.character
            && near(one.front, other.front)
            && near(one.back, other.back)
    };
    let rows = whole.rows.iter().zip(&packed.rows).enumerate();
    for (row, (one, other)) in rows {
        if let Some(at) = one.iter().zip(other).position(|(one, other)| !same(one, other)) {
            bail!("row {row}, column {at}: {:?}, {:?}", one[at], other[at]);
        }
    }
    // A colour that fewer bits cannot hold.
    let orange = |picture: &Picture| picture.rows[1][33].front;
    if orange(&whole) != [255, 128, 0] || orange(&packed) == [255, 128, 0] {
        bail!("{:?} of 32 bits, {:?} of {bits}", orange(&whole), orange(&packed));
    }
    Ok(())
}
