//! What the Go linker writes into every program: version, module, settings (`go version -m`).
//!
//! Two layouts, both read here (Go's `debug/buildinfo`): up to Go 1.17 the record points to Go
//! strings in memory, since Go 1.18 the strings follow it with their lengths as varints.

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};
use serde::Serialize;

const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
const ALIGNMENT: usize = 16;
const HEADER_LENGTH: usize = 32;
const POINTER_SIZE_AT: usize = 14;
const FLAGS_AT: usize = 15;
const INLINE: u8 = 2;
const BIG_ENDIAN: u8 = 1;
/// The settings lie between two marks of this length.
const MARK: usize = 16;
/// The longest string we take from a file.
const LONGEST: u64 = 1 << 24;

/// The record.
#[derive(Serialize, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BuildInfo {
    /// `go1.26.8`.
    pub(crate) version: String,
    /// `stack` (up to Go 1.16) or `register` (since Go 1.17).
    pub(crate) abi: &'static str,
    /// Import path of the main package.
    pub(crate) path: String,
    /// Path and version of its module.
    pub(crate) module: String,
    /// Path and version of the modules it is made from.
    pub(crate) dependencies: Vec<String>,
    /// Build settings, `name=value`.
    pub(crate) settings: Vec<String>,
}

impl BuildInfo {
    /// The value of a build setting.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find_map(|row| row.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The record of a program; `None` when it is not made by Go, or the record is damaged.
pub(crate) fn read(bytes: &[u8]) -> Option<BuildInfo> {
    let program = Program::parse(bytes)?;
    let record = program.record()?;
    let flags = *record.get(FLAGS_AT)?;
    let (version, settings) = if flags & INLINE != 0 {
        let rest = record.get(HEADER_LENGTH..)?;
        let (version, rest) = varint_string(rest)?;
        (version, varint_string(rest).map_or(&[][..], |(settings, _)| settings))
    } else {
        let size = usize::from(*record.get(POINTER_SIZE_AT)?);
        if size != 8 || flags & BIG_ENDIAN != 0 {
            return None;
        }
        let pointers = record.get(MARK..)?;
        let version = program.go_string(number(pointers)?)?;
        let settings = number(pointers.get(size..)?).and_then(|at| program.go_string(at));
        (version, settings.unwrap_or(&[]))
    };
    let mut info = BuildInfo {
        version: String::from_utf8_lossy(version).into_owned(),
        ..BuildInfo::default()
    };
    info.abi = abi(&info.version);
    info.take_settings(settings);
    Some(info)
}

impl BuildInfo {
    fn take_settings(&mut self, marked: &[u8]) {
        let end = marked.len().saturating_sub(MARK);
        let text = String::from_utf8_lossy(marked.get(MARK..end).unwrap_or(&[]));
        for line in text.lines() {
            let (kind, rest) = line.split_once('\t').unwrap_or((line, ""));
            let mut fields = rest.split('\t');
            let mut name_and_version = || {
                let name = fields.next().unwrap_or("");
                let version = fields.next().unwrap_or("");
                format!("{name} {version}").trim_end().to_owned()
            };
            match kind {
                "path" => rest.clone_into(&mut self.path),
                "mod" => self.module = name_and_version(),
                "dep" => self.dependencies.push(name_and_version()),
                "=>" => {
                    if let Some(replaced) = self.dependencies.last_mut() {
                        *replaced = format!("{replaced} => {}", name_and_version());
                    }
                }
                "build" => self.settings.push(rest.to_owned()),
                _ => {}
            }
        }
    }
}

/// Go passes arguments in registers since 1.17 on amd64.
fn abi(version: &str) -> &'static str {
    let minor = version.strip_prefix("go1.").and_then(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits)?.parse::<u32>().ok()
    });
    match minor {
        Some(..17) => "stack",
        Some(_) => "register",
        None if version.starts_with("devel") => "register",
        None => "unknown",
    }
}

/// A string with its length in front.
fn varint_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).ok()?;
            return bytes.get(index + 1..)?.split_at_checked(length);
        }
    }
    None
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_le_bytes)
}

struct Program<'a> {
    bytes: &'a [u8],
    segments: &'a [elf::ProgramHeader64<Endianness>],
}

impl<'a> Program<'a> {
    const ENDIAN: Endianness = Endianness::Little;

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
        let segments = header.program_headers(header.endian().ok()?, bytes).ok()?;
        Some(Self { bytes, segments })
    }

    /// The record and what follows it: in its own section, or, where sections are stripped, at an
    /// aligned place of a writable segment.
    fn record(&self) -> Option<&'a [u8]> {
        let section = object::File::parse(self.bytes).ok().and_then(|file| {
            file.section_by_name(".go.buildinfo").and_then(|section| section.data().ok())
        });
        section.and_then(search).or_else(|| {
            self.loaded()
                .filter(|segment| segment.p_flags(Self::ENDIAN).contains(elf::PF_W))
                .find_map(|segment| search(segment.data(Self::ENDIAN, self.bytes).ok()?))
        })
    }

    fn loaded(&self) -> impl Iterator<Item = &'a elf::ProgramHeader64<Endianness>> {
        self.segments.iter().filter(|segment| segment.p_type(Self::ENDIAN) == elf::PT_LOAD)
    }

    fn at(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        self.loaded().find_map(|segment| {
            segment.data_range(Self::ENDIAN, self.bytes, address, size).ok().flatten()
        })
    }

    /// The Go string (pointer and length) at an address.
    fn go_string(&self, address: u64) -> Option<&'a [u8]> {
        let string = self.at(address, 16)?;
        let length = number(string.get(8..)?)?;
        (length <= LONGEST).then(|| self.at(number(string)?, length)).flatten()
    }
}

fn search(data: &[u8]) -> Option<&[u8]> {
    let at = data.chunks(ALIGNMENT).position(|chunk| chunk.starts_with(MAGIC))?;
    data.get(at * ALIGNMENT..).filter(|record| record.len() >= HEADER_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abi_changed_with_1_17() {
        for (version, expected) in [
            ("go1.16.15", "stack"),
            ("go1.9", "stack"),
            ("go1.17", "register"),
            ("go1.17beta1", "register"),
            ("go1.27.4 X:nodwarf5", "register"),
            ("devel +abc", "register"),
            ("", "unknown"),
        ] {
            assert_eq!(abi(version), expected, "{version}");
        }
    }

    #[test]
    fn settings_are_read_line_by_line() {
        let mark = "0123456789abcdef";
        let text = "path\ta.b/c\nmod\ta.b\tv1\th1:x\ndep\td.e\tv2\th1:y\n=>\t../d\t(devel)\t\nbuild\t-tags=x\nbuild\tGOOS=linux\n";
        let mut info = BuildInfo::default();
        info.take_settings(format!("{mark}{text}{mark}").as_bytes());
        assert_eq!((info.path.as_str(), info.module.as_str()), ("a.b/c", "a.b v1"));
        assert_eq!(info.dependencies, ["d.e v2 => ../d (devel)"]);
        assert_eq!(info.setting("GOOS"), Some("linux"));
        assert_eq!(info.setting("-tags"), Some("x"));
    }

    #[test]
    fn a_string_longer_than_the_file_is_none() {
        assert_eq!(varint_string(&[5, b'a']), None);
        assert_eq!(varint_string(&[0x80; 12]), None);
        assert_eq!(varint_string(&[2, b'a', b'b', 1]), Some((&b"ab"[..], &[1][..])));
    }
}
