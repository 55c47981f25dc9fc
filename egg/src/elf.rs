//! What an ELF file is: for this machine, static, made by which Go.

use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind};
use serde::Serialize;

use crate::buildinfo::{self, BuildInfo};

type Header = FileHeader64<Endianness>;
type Segment = elf::ProgramHeader64<Endianness>;

/// What [`Report::of`] found.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    /// `executable` or `shared object`.
    pub(crate) kind: &'static str,
    /// For the x86-64 that eggos runs on, as far as the header says.
    pub(crate) machine: String,
    /// Needs no shared library.
    pub(crate) is_static: bool,
    /// Shared libraries it needs.
    pub(crate) libraries: Vec<String>,
    /// Can be loaded anywhere.
    pub(crate) pie: bool,
    /// Has no symbol table.
    pub(crate) stripped: bool,
    /// Bytes of memory that its segments cover.
    pub(crate) memory: u64,
    /// Bytes of the file that the program may write, and then needs copies of. What has no content
    /// in the file costs nothing before it is touched, and Go reserves far more than it touches.
    pub(crate) private_memory: u64,
    /// Present for programs made by Go.
    pub(crate) go: Option<BuildInfo>,
    /// Why it will not run; empty: it will.
    pub(crate) problems: Vec<String>,
}

/// Why a file cannot be read as an ELF file at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotElf {
    /// The file is empty.
    Empty,
    /// It begins as something else; what, as far as it is known.
    Other(&'static str),
    /// It begins as an ELF file, and does not hold what its header says.
    Damaged(&'static str),
}

impl std::fmt::Display for NotElf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("not an ELF file: it is empty"),
            Self::Other("") => f.write_str("not an ELF file"),
            Self::Other(what) => write!(f, "not an ELF file but {what}"),
            Self::Damaged(why) => write!(f, "a damaged ELF file: {why}"),
        }
    }
}

/// What begins so is no ELF file; the first that fits names it.
const OTHERS: [(&[u8], &str); 8] = [
    (b"#!", "a script"),
    (b"!<arch>\n", "an archive: the Go package is not a main package"),
    (b"MZ", "a Windows program; build it with GOOS=linux GOARCH=amd64"),
    (b"\xcf\xfa\xed\xfe", "a macOS program; build it with GOOS=linux GOARCH=amd64"),
    (b"\xce\xfa\xed\xfe", "a macOS program; build it with GOOS=linux GOARCH=amd64"),
    (b"\xca\xfe\xba\xbe", "a macOS or Java program"),
    (b"\0asm", "a WebAssembly module; build it with GOOS=linux GOARCH=amd64"),
    (b"\x1f\x8b", "a gzip archive"),
];

/// Names of `e_machine` that people meet.
const MACHINES: [(elf::Machine, &str); 8] = [
    (elf::EM_X86_64, "x86-64"),
    (elf::EM_386, "386 (GOARCH=386)"),
    (elf::EM_AARCH64, "AArch64 (GOARCH=arm64)"),
    (elf::EM_ARM, "ARM (GOARCH=arm)"),
    (elf::EM_RISCV, "RISC-V"),
    (elf::EM_PPC64, "PowerPC 64"),
    (elf::EM_S390, "S390"),
    (elf::EM_MIPS, "MIPS"),
];

const REBUILD: &str = "rebuild it with GOOS=linux GOARCH=amd64 CGO_ENABLED=0";

impl Report {
    /// Reads the file.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, NotElf> {
        if bytes.is_empty() {
            return Err(NotElf::Empty);
        }
        if !bytes.starts_with(&elf::ELFMAG) {
            let other = OTHERS.iter().find(|row| bytes.starts_with(row.0));
            return Err(NotElf::Other(other.map_or("", |row| row.1)));
        }
        match FileKind::parse(bytes) {
            Ok(FileKind::Elf64) => Self::of_64_bit(bytes),
            Ok(FileKind::Elf32) => Ok(Self::of_32_bit(bytes)),
            _ => Err(NotElf::Damaged("the header is cut off")),
        }
    }

    fn of_32_bit(bytes: &[u8]) -> Self {
        let machine = bytes.get(18..20).and_then(|field| field.try_into().ok());
        let machine = machine_name(elf::Machine(machine.map_or(0, u16::from_le_bytes)));
        Self {
            kind: "executable",
            problems: vec![format!("it is a 32-bit program for {machine}; {REBUILD}")],
            machine,
            is_static: true,
            libraries: Vec::new(),
            pie: false,
            stripped: false,
            memory: 0,
            private_memory: 0,
            go: None,
        }
    }

    fn of_64_bit(bytes: &[u8]) -> Result<Self, NotElf> {
        let damaged = NotElf::Damaged;
        let header = Header::parse(bytes).map_err(|_| damaged("the header is cut off"))?;
        let endian = header.endian().map_err(|_| damaged("unknown byte order"))?;
        let segments = header
            .program_headers(endian, bytes)
            .map_err(|_| damaged("the program headers lie beyond its end"))?;
        let mut loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        if loaded.any(|segment| segment.data(endian, bytes).is_err()) {
            return Err(damaged("a segment lies beyond its end; it may be cut off"));
        }
        let machine = header.e_machine(endian);
        let kind = header.e_type(endian);
        let libraries = libraries(bytes, segments, endian);
        let sections = header.sections(endian, bytes).ok();
        let has_symbols = sections.is_some_and(|sections| {
            sections.iter().any(|section| section.sh_type(endian) == elf::SHT_SYMTAB)
        });
        let mut report = Self {
            kind: if kind == elf::ET_DYN { "shared object" } else { "executable" },
            machine: machine_name(machine),
            is_static: libraries.is_empty(),
            libraries,
            pie: kind == elf::ET_DYN,
            stripped: !has_symbols,
            memory: 0,
            private_memory: 0,
            go: buildinfo::read(bytes),
            problems: Vec::new(),
        };
        report.measure(segments, endian);
        report.judge(header, bytes, segments, endian);
        Ok(report)
    }

    fn measure(&mut self, segments: &[Segment], endian: Endianness) {
        for segment in segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD) {
            let memory = segment.p_memsz(endian);
            self.memory = self.memory.saturating_add(memory);
            if segment.p_flags(endian).contains(elf::PF_W) {
                let private = segment.p_filesz(endian).min(memory);
                self.private_memory = self.private_memory.saturating_add(private);
            }
        }
    }

    fn judge(&mut self, header: &Header, bytes: &[u8], segments: &[Segment], endian: Endianness) {
        let machine = header.e_machine(endian);
        if machine != elf::EM_X86_64 || !matches!(endian, Endianness::Little) {
            self.problems.push(format!("it is a program for {}; {REBUILD}", self.machine));
            return;
        }
        let kind = header.e_type(endian);
        if kind != elf::ET_EXEC && kind != elf::ET_DYN {
            let what = if kind == elf::ET_REL { "an object file" } else { "a core dump" };
            self.problems.push(format!("it is {what}, not a program"));
            return;
        }
        if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_LOAD) {
            self.problems.push("it has no segment to load".to_owned());
        }
        if !self.libraries.is_empty() {
            let libraries = self.libraries.join(", ");
            self.problems.push(match &self.go {
                Some(_) => format!(
                    "it is dynamically linked (needs {libraries}); rebuild it with CGO_ENABLED=0"
                ),
                None => format!(
                    "it is dynamically linked (needs {libraries}); link it statically: CGO_ENABLED=0 for Go, -static for C"
                ),
            });
        } else if let Some(problem) = relocation_problem(bytes, segments, endian) {
            self.problems.push(problem);
        }
        let system = header.e_ident().os_abi;
        if system != elf::ELFOSABI_SYSV && system != elf::ELFOSABI_GNU {
            self.problems.push(
                "it is made for another operating system; build it with GOOS=linux".to_owned(),
            );
        }
        let of_linux =
            self.go.as_ref().and_then(|go| go.setting("GOOS")).is_none_or(|os| os == "linux");
        if !of_linux {
            self.problems.push(
                "it is made for another operating system; build it with GOOS=linux".to_owned(),
            );
        }
    }
}

fn machine_name(machine: elf::Machine) -> String {
    let known = MACHINES.iter().find(|row| row.0 == machine);
    known.map_or_else(|| format!("machine {}", machine.0), |row| row.1.to_owned())
}

/// The tables that the dynamic section names, as contents of the file.
struct Dynamic<'a> {
    entries: &'a [elf::Dyn64<Endianness>],
    segments: &'a [Segment],
    bytes: &'a [u8],
    endian: Endianness,
}

impl<'a> Dynamic<'a> {
    fn find(bytes: &'a [u8], segments: &'a [Segment], endian: Endianness) -> Option<Self> {
        let entries =
            segments.iter().find_map(|segment| segment.dynamic(endian, bytes).ok().flatten())?;
        Some(Self { entries, segments, bytes, endian })
    }

    fn value(&self, tag: elf::DynamicTag) -> Option<u64> {
        let is_wanted = |entry: &&elf::Dyn64<Endianness>| entry.tag(self.endian) == tag;
        self.entries.iter().find(is_wanted).map(|entry| entry.d_val(self.endian))
    }

    /// `size` bytes at a virtual address, as far as the file has them.
    fn at(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type(self.endian) == elf::PT_LOAD)
            .find_map(|segment| segment.data_range(self.endian, self.bytes, address, size).ok()?)
    }
}

/// The shared libraries it needs (`DT_NEEDED`).
fn libraries(bytes: &[u8], segments: &[Segment], endian: Endianness) -> Vec<String> {
    let Some(dynamic) = Dynamic::find(bytes, segments, endian) else { return Vec::new() };
    let size = dynamic.value(elf::DT_STRSZ).unwrap_or(0);
    let strings =
        dynamic.value(elf::DT_STRTAB).and_then(|address| dynamic.at(address, size)).unwrap_or(&[]);
    let name = |offset: u64| {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
    };
    dynamic
        .entries
        .iter()
        .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        .map(|entry| name(entry.d_val(endian)).unwrap_or_else(|| "a library".to_owned()))
        .collect()
}

/// A program may ask for an interpreter and yet need none: Go links position-independent
/// executables so. Then every relocation only adds the base, which the kernel does.
fn relocation_problem(bytes: &[u8], segments: &[Segment], endian: Endianness) -> Option<String> {
    if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP) {
        return None;
    }
    let dynamic = Dynamic::find(bytes, segments, endian)?;
    let size = dynamic.value(elf::DT_RELASZ).unwrap_or(0);
    let table = dynamic.at(dynamic.value(elf::DT_RELA)?, size)?;
    let count = table.len() / size_of::<elf::Rela64<Endianness>>();
    let (rows, _) = object::pod::slice_from_bytes::<elf::Rela64<Endianness>>(table, count).ok()?;
    let plain = |row: &elf::Rela64<Endianness>| {
        matches!(row.r_type(endian, false), elf::R_X86_64_RELATIVE | elf::R_X86_64_NONE)
    };
    (!rows.iter().all(plain)).then(|| {
        "it needs a dynamic linker; link it statically: CGO_ENABLED=0 for Go, -static for C"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program of one segment, with room for the damage to come.
    fn program() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        elf.extend([0x40_0078_u64, 64, 0].map(u64::to_le_bytes).concat());
        elf.extend([0; 4]);
        elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
        elf.extend([1_u32, 7].map(u32::to_le_bytes).concat());
        elf.extend([0, 0x40_0000, 0x40_0000, 512, 512, 4096].map(u64::to_le_bytes).concat());
        elf.resize(512, 0);
        elf
    }

    /// The same with Go's record in its new form, at an aligned place of the segment.
    fn go_program(version: &str, settings: &str) -> Vec<u8> {
        let mut elf = program();
        elf.truncate(256);
        elf.extend(b"\xff Go buildinf:\x08\x02");
        elf.resize(256 + 32, 0);
        for text in [version.to_owned(), format!("{0}{settings}{0}", "0123456789abcdef")] {
            elf.push(u8::try_from(text.len()).unwrap());
            elf.extend(text.bytes());
        }
        elf.resize(512, 0);
        elf
    }

    #[test]
    fn a_static_program_runs() {
        let report = Report::of(&program()).unwrap();
        assert_eq!(report.problems, [""; 0]);
        assert!(report.is_static && !report.pie && report.stripped && report.go.is_none());
        assert_eq!((report.memory, report.private_memory), (512, 512));
    }

    #[test]
    fn go_is_found_without_sections() {
        let go = Report::of(&go_program("go1.18.3", "path\tx/y\n")).unwrap().go.unwrap();
        assert_eq!(
            (go.version.as_str(), go.abi, go.path.as_str()),
            ("go1.18.3", "register", "x/y")
        );
    }

    #[test]
    fn the_old_record_points_to_strings() {
        let mut elf = program();
        elf[256..272].copy_from_slice(b"\xff Go buildinf:\x08\x00");
        let at = |offset: u64| 0x40_0000 + offset;
        // Two pointers to Go strings, which are pointer and length.
        let numbers = [at(304), at(320), at(352), 9, at(368), 32 + 9];
        let places = [272, 280, 304, 312, 320, 328];
        for (place, number) in places.into_iter().zip(numbers) {
            elf[place..place + 8].copy_from_slice(&u64::to_le_bytes(number));
        }
        elf[352..361].copy_from_slice(b"go1.16.15");
        elf[368 + 16..368 + 25].copy_from_slice(b"path\tx/y\n");
        let go = Report::of(&elf).unwrap().go.unwrap();
        assert_eq!((go.version.as_str(), go.abi, go.path.as_str()), ("go1.16.15", "stack", "x/y"));
    }

    #[test]
    fn a_program_for_another_system_is_refused() {
        let report = Report::of(&go_program("go1.20", "build\tGOOS=freebsd\n")).unwrap();
        assert_eq!(report.problems.len(), 1);
        assert!(report.problems[0].contains("GOOS=linux"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Report::of(&bytes);
            let _ = Report::of(&[&elf::ELFMAG[..], &bytes].concat());
        }

        #[test]
        fn damage_never_panics(
            changes in proptest::collection::vec((0..512_usize, any::<u8>()), 1..12),
            length in 0..512_usize,
        ) {
            let mut elf = go_program("go1.18.3", "path\tx/y\n");
            for (at, byte) in changes {
                elf[at] = byte;
            }
            let _ = Report::of(&elf);
            let _ = Report::of(&elf[..length]);
        }
    }
}
