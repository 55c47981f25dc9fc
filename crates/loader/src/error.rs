//! Why a file cannot be run, in words for the person who tried.

use alloc::string::String;
use core::fmt;

/// Why a file cannot be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Not an ELF file. `Some`: what it is instead.
    NotElf {
        /// "a macOS program", "a script" …
        is: Option<&'static str>,
    },
    /// For another processor: the number in `e_machine`.
    WrongArchitecture {
        /// ELF machine number.
        machine: u16,
    },
    /// A 32-bit program.
    ThirtyTwoBit,
    /// For another operating system: the number in `EI_OSABI`.
    WrongSystem {
        /// ELF OS/ABI number.
        abi: u8,
    },
    /// An object file, core dump or the like.
    NotExecutable {
        /// ELF file type.
        kind: u16,
    },
    /// It needs libraries that a dynamic linker would load.
    DynamicallyLinked {
        /// The dynamic linker it asks for.
        interpreter: String,
        /// The first library it needs, if it names one.
        library: Option<String>,
    },
    /// It leaves more to a dynamic linker than adding the load address.
    UnsupportedRelocation {
        /// Relocation type (R_X86_64_*).
        kind: u32,
    },
    /// The file ends before something that it announces.
    Truncated {
        /// What is missing.
        what: &'static str,
    },
    /// A header says something impossible.
    Malformed {
        /// What.
        what: &'static str,
    },
    /// Nothing to load.
    NoLoadSegments,
    /// Two segments want the same address.
    Overlap {
        /// The address.
        address: u64,
    },
    /// A segment lies where no program can be.
    OutsideAddressSpace {
        /// Its address.
        address: u64,
    },
    /// The entry point is not in code.
    EntryOutside {
        /// The entry point.
        entry: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf { is: Some(is) } => write!(
                f,
                "this is {is}, not a Linux program; build it with GOOS=linux GOARCH=amd64"
            ),
            Self::NotElf { is: None } => {
                f.write_str("this is not a program (no ELF header); give a Linux x86-64 executable")
            }
            Self::WrongArchitecture { machine } => write!(
                f,
                "the program is for {}, eggos runs x86-64; build it with GOOS=linux GOARCH=amd64",
                Machine(*machine)
            ),
            Self::ThirtyTwoBit => f.write_str(
                "this is a 32-bit program, eggos runs 64-bit ones; build it with GOARCH=amd64",
            ),
            Self::WrongSystem { abi } => write!(
                f,
                "the program is for {}, eggos runs Linux programs; build it with GOOS=linux",
                System(*abi)
            ),
            Self::NotExecutable { kind } => {
                write!(f, "this ELF file is {}, not a program", FileKind(*kind))
            }
            Self::DynamicallyLinked { interpreter, library } => {
                write_dynamic(f, interpreter, library.as_deref())
            }
            Self::UnsupportedRelocation { kind } => write!(
                f,
                "the program needs a dynamic linker (relocation type {kind}); build it with \
                 CGO_ENABLED=0, or link it with -static"
            ),
            Self::Truncated { what } => {
                write!(f, "the file is cut off: {what} is missing; copy or build it again")
            }
            Self::Malformed { what } => write!(f, "the file is damaged: {what}; build it again"),
            Self::NoLoadSegments => f.write_str("the file has nothing to load; build it again"),
            Self::Overlap { address } => {
                write!(f, "the file is damaged: two parts of it claim the address {address:#x}")
            }
            Self::OutsideAddressSpace { address } => write!(
                f,
                "the program wants the address {address:#x}, where no program can be loaded"
            ),
            Self::EntryOutside { entry } => write!(
                f,
                "the entry point {entry:#x} is not in the program's code: a library, or a damaged file"
            ),
        }
    }
}

impl core::error::Error for LoadError {}

fn write_dynamic(
    f: &mut fmt::Formatter<'_>,
    interpreter: &str,
    library: Option<&str>,
) -> fmt::Result {
    f.write_str("the program is dynamically linked")?;
    match (library, interpreter) {
        (Some(library), _) => write!(f, " (it needs {library})")?,
        (None, "") => {}
        (None, interpreter) => write!(f, " (it asks for {interpreter})")?,
    }
    f.write_str(
        ", and eggos has no shared libraries; build it with CGO_ENABLED=0, or with cgo: \
         go build -ldflags '-linkmode external -extldflags -static'",
    )
}

/// The name of an ELF machine.
struct Machine(u16);

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: &[(u16, &str)] = &[
            (2, "SPARC"),
            (3, "32-bit x86"),
            (8, "MIPS"),
            (20, "PowerPC"),
            (21, "64-bit PowerPC"),
            (22, "IBM Z"),
            (40, "32-bit ARM"),
            (43, "64-bit SPARC"),
            (183, "64-bit ARM"),
            (243, "RISC-V"),
            (258, "LoongArch"),
        ];
        match NAMES.iter().find(|row| row.0 == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "another processor (ELF machine {})", self.0),
        }
    }
}

/// The name of an ELF OS/ABI.
struct System(u8);

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: &[(u8, &str)] =
            &[(2, "NetBSD"), (6, "Solaris"), (9, "FreeBSD"), (12, "OpenBSD")];
        match NAMES.iter().find(|row| row.0 == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "another system (ELF OS/ABI {})", self.0),
        }
    }
}

/// What kind of ELF file.
struct FileKind(u16);

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("an object file"),
            4 => f.write_str("a core dump"),
            kind => write!(f, "of type {kind}"),
        }
    }
}
