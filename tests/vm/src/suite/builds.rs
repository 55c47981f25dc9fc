//! How a program is built: PIE, stripped, C, Rust; and that the tested Go programs really contain
//! the code of both calling conventions.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::endian::LittleEndian;

use crate::build::{self, GoVersion, Variant};
use crate::suite::{LIMIT, Set, Test};
use crate::vm::Vm;

/// `xorps %xmm15,%xmm15`, which the register ABI's wrappers begin with.
const CLEAR_X15: [u8; 4] = [0x45, 0x0f, 0x57, 0xff];

/// For C without a library that must not touch vector registers by itself.
const FREESTANDING: [&str; 5] = [
    "-nostdlib",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    "-mgeneral-regs-only",
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for version in build::ALL {
        let set = if build::CORE.contains(&version) { Set::Core } else { Set::All };
        for variant in [Variant::Pie, Variant::Stripped] {
            for program in ["hello", "gc", "abi"] {
                // One of each in the quick set.
                let set = if program == "gc" { set.max(Set::All) } else { set };
                let name = format!("{program}/{}/{version}", variant.name());
                tests.push(Test::new(name, set, move |mode| {
                    let elf = build::go(&format!("programs/{program}"), version, variant)?;
                    Vm::of(&elf, mode).run(LIMIT)
                }));
            }
        }
        tests.push(Test::new(format!("wrappers/{version}"), set, move |_| wrappers(version)));
    }
    tests.push(Test::new("static/contract".into(), Set::Core, |mode| {
        Vm::of(&build::c(&["contract.c", "contract.S"], "gcc", &FREESTANDING)?, mode).run(LIMIT)
    }));
    tests.push(Test::new("static/memory".into(), Set::Core, |mode| {
        Vm::of(&build::c(&["memory.c"], "gcc", &[])?, mode).run(LIMIT)
    }));
    tests.push(Test::new("static/signals".into(), Set::Core, |mode| {
        Vm::of(&build::c(&["signals.c"], "gcc", &["-pthread"])?, mode).run(LIMIT)
    }));
    for compiler in ["gcc", "musl-gcc"] {
        tests.push(Test::new(format!("static/c/{compiler}"), Set::Core, move |mode| {
            if !build::installed(compiler) {
                println!("       ({compiler} is not installed: not tried)");
                return Ok(());
            }
            Vm::of(&build::c(&["hello.c"], compiler, &["-pthread"])?, mode).run(LIMIT)
        }));
    }
    tests.push(Test::new("static/rust".into(), Set::Core, |mode| {
        Vm::of(&build::rust("hello.rs")?, mode).run(LIMIT)
    }));
    tests
}

/// The `abi` program of a version has the entries into Go code of that version's ABI: from 1.17 on
/// the assembly that calls Go goes through a wrapper that clears X15, in 1.16 nothing clears it.
fn wrappers(version: GoVersion) -> Result<()> {
    let path = build::go("programs/abi", version, Variant::Plain)?;
    let file = fs::read(&path)?;
    let text = section(&file, ".text").with_context(|| format!("read {}", path.display()))?;
    let clears = contains(text, &CLEAR_X15);
    if version == "1.16.15" {
        if clears {
            bail!("{}: a program of the stack ABI clears X15", path.display());
        }
        return Ok(());
    }
    if !clears {
        bail!("{}: nothing clears X15", path.display());
    }
    let wrapper = symbol(&file, &path, "main.calledFromAssembly.abi0")?;
    if !contains(wrapper, &CLEAR_X15) {
        bail!("{}: the wrapper of main.calledFromAssembly does not clear X15", path.display());
    }
    Ok(())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn section<'a>(file: &'a [u8], name: &str) -> Result<&'a [u8]> {
    let parsed = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let header = parsed.section_header_by_name(name)?.with_context(|| format!("no {name}"))?;
    Ok(parsed.section_data(&header)?.0)
}

/// The bytes of a function.
fn symbol<'a>(file: &'a [u8], path: &Path, name: &str) -> Result<&'a [u8]> {
    let parsed = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let (symbols, strings) = parsed.symbol_table()?.context("no symbols")?;
    let text = parsed.section_header_by_name(".text")?.context("no .text")?;
    for symbol in symbols.iter() {
        if strings.get(symbol.st_name as usize)? == name {
            let start = usize::try_from(symbol.st_value - text.sh_addr)?;
            let end = start + usize::try_from(symbol.st_size)?;
            return parsed.section_data(&text)?.0.get(start..end).context("outside .text");
        }
    }
    bail!("{}: no symbol {name}", path.display())
}
