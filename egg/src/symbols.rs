//! Names of the kernel's functions, by address.

use std::error::Error;

use object::{Object, ObjectSymbol, SymbolKind};

/// Functions sorted by address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Symbols {
    pub(crate) rows: Vec<(u64, String)>,
}

impl Symbols {
    /// The functions in the symbol table of an ELF file; none when it is stripped.
    pub(crate) fn from_elf(elf: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let file = object::File::parse(elf)?;
        let mut rows: Vec<_> = file
            .symbols()
            .filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown))
            .filter(|symbol| symbol.is_definition() && symbol.address() != 0)
            .filter_map(|symbol| {
                let name = symbol.name().ok().filter(|name| !name.is_empty())?;
                Some((symbol.address(), format!("{:#}", rustc_demangle::demangle(name))))
            })
            .collect();
        rows.sort();
        rows.dedup_by_key(|row| row.0);
        Ok(Self { rows })
    }

    /// Reads lines of address in hexadecimal, space, name: what `build.rs` writes.
    pub(crate) fn from_text(text: &str) -> Self {
        let row = |line: &str| {
            let (address, name) = line.split_once(' ')?;
            Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
        };
        Self { rows: text.lines().filter_map(row).collect() }
    }

    /// `function+0x12` for an address within or after a function.
    pub(crate) fn name(&self, address: u64) -> Option<String> {
        let after = self.rows.partition_point(|row| row.0 <= address);
        let (start, name) = self.rows.get(after.checked_sub(1)?)?;
        Some(format!("{name}+{:#x}", address - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_name_before_them() {
        let symbols = Symbols::from_text("1000 kernel::start\n2000 <impl A for B>::run\nbad\n");
        assert_eq!(symbols.name(0xfff), None);
        assert_eq!(symbols.name(0x1000).as_deref(), Some("kernel::start+0x0"));
        assert_eq!(symbols.name(0x2010).as_deref(), Some("<impl A for B>::run+0x10"));
    }
}
