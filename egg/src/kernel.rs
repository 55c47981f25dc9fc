//! The kernel: the one within `egg`, one from a file, or the one that an image brings.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use anyhow::Context;
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::exit::{Code, Failure};
use crate::symbols::Symbols;

static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel.elf"));
/// The kernel as a Linux program; empty where it was not built.
static PROCESS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/process.elf"));
static EMBEDDED_SYMBOLS: &str = include_str!(concat!(env!("OUT_DIR"), "/kernel.symbols"));

/// A kernel to boot.
pub(crate) struct Kernel {
    elf: Cow<'static, [u8]>,
}

impl Kernel {
    /// The kernel from `path`, or the one within `egg` for a machine or (`process`) for this host.
    pub(crate) fn choose(path: Option<&Path>, process: bool) -> anyhow::Result<Self> {
        let embedded = if process { PROCESS } else { EMBEDDED };
        match path {
            Some(path) => {
                let elf = fs::read(path).with_context(|| format!("--kernel {}", path.display()))?;
                Self::from_bytes(elf).with_context(|| format!("--kernel {}", path.display()))
            }
            None if embedded.is_empty() => Failure::err(
                Code::Usage,
                "this egg was built without such a kernel; give one with --kernel FILE",
            ),
            None => Ok(Self { elf: Cow::Borrowed(embedded) }),
        }
    }

    /// A kernel from elsewhere.
    pub(crate) fn from_bytes(elf: Vec<u8>) -> anyhow::Result<Self> {
        let kernel = Self { elf: Cow::Owned(elf) };
        anyhow::ensure!(kernel.memory() > 0, "not a kernel: no ELF file with something to load");
        Ok(kernel)
    }

    /// The ELF file.
    pub(crate) fn elf(&self) -> &[u8] {
        &self.elf
    }

    /// Bytes of memory that it is loaded to, from address 0 on.
    pub(crate) fn memory(&self) -> u64 {
        let bytes = self.elf();
        let end = || {
            let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
            let endian = header.endian().ok()?;
            let segments = header.program_headers(endian, bytes).ok()?;
            let loaded = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
            loaded.map(|row| row.p_paddr(endian).saturating_add(row.p_memsz(endian))).max()
        };
        end().unwrap_or(0)
    }

    /// Names of its functions.
    pub(crate) fn symbols(&self) -> Symbols {
        if self.elf() == EMBEDDED {
            return Symbols::from_text(EMBEDDED_SYMBOLS);
        }
        Symbols::from_elf(self.elf()).unwrap_or_default()
    }
}
