//! Reading an archive that lies in memory, without copying and without trusting it.

use core::fmt;

use crate::header::{ALIGNMENT, HEADER_LENGTH, Header, Kind, MAGIC, Metadata, TRAILER};

/// The longest path we take (Linux's `PATH_MAX`, with the NUL).
const LONGEST_PATH: usize = 4096;

/// An archive in memory. Making one checks nothing: each step of the iteration does.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
}

/// One file, directory, link or device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The path from the root, without a leading `/` or `./`, without `.`, `..` or empty
    /// components. The root directory itself is the empty path.
    pub path: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Owner, permissions, time.
    pub metadata: Metadata,
    /// The contents of a file or the target of a link, where it lies in the archive. Page-aligned
    /// within the archive for files of a page or more that [`crate::Writer`] wrote.
    pub data: &'a [u8],
}

/// Why an archive cannot be read further; `at` is the offset of the entry in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArchiveError {
    /// The archive ends within an entry, or before its trailer.
    Truncated {
        /// Offset of the entry.
        at: usize,
    },
    /// No header starts here.
    NotAHeader {
        /// Offset of the entry.
        at: usize,
    },
    /// A field of the header is not a hexadecimal number.
    BadNumber {
        /// Offset of the entry.
        at: usize,
    },
    /// The name is empty, longer than 4096 bytes, has no closing NUL, or leaves the root by `..`.
    BadName {
        /// Offset of the entry.
        at: usize,
    },
    /// The mode names no kind of file that we know.
    UnknownKind {
        /// Offset of the entry.
        at: usize,
    },
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, at) = match self {
            Self::Truncated { at } => ("the archive is cut off", at),
            Self::NotAHeader { at } => ("no cpio (newc) header", at),
            Self::BadNumber { at } => ("a header field is not a hexadecimal number", at),
            Self::BadName { at } => ("a file name is malformed", at),
            Self::UnknownKind { at } => ("unknown kind of file", at),
        };
        write!(f, "{what} at offset {at}")
    }
}

impl core::error::Error for ArchiveError {}

impl<'a> Archive<'a> {
    /// The archive that starts with the first of `bytes`; what follows its trailer is ignored.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// True when `bytes` begins as an archive does.
    #[must_use]
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The entries in the order of the archive. After an error the iteration ends.
    #[must_use]
    pub const fn entries(&self) -> Entries<'a> {
        Entries { bytes: self.bytes, offset: 0, ended: false }
    }

    /// The first entry with that path (as [`Entry::path`] gives it).
    ///
    /// # Errors
    /// The archive is damaged before such an entry is found.
    pub fn find(&self, path: &str) -> Result<Option<Entry<'a>>, ArchiveError> {
        for entry in self.entries() {
            let entry = entry?;
            if entry.path == path.as_bytes() {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// Iterator over the entries of an [`Archive`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    offset: usize,
    ended: bool,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

impl<'a> Entries<'a> {
    fn step(&mut self) -> Result<Option<Entry<'a>>, ArchiveError> {
        let at = self.offset;
        let truncated = ArchiveError::Truncated { at };
        let rest = self.bytes.get(at..).ok_or(truncated)?;
        let start = rest.get(..MAGIC.len()).ok_or(truncated)?;
        if start != MAGIC {
            return Err(ArchiveError::NotAHeader { at });
        }
        let bytes = rest.first_chunk::<HEADER_LENGTH>().ok_or(truncated)?;
        let header = Header::decode(bytes).ok_or(ArchiveError::BadNumber { at })?;

        // 32-bit lengths cannot overflow a 64-bit offset, but stay checked for the reader's sake.
        let name_end = HEADER_LENGTH.checked_add(header.name_length as usize).ok_or(truncated)?;
        let name = rest.get(HEADER_LENGTH..name_end).ok_or(truncated)?;
        let name = until_nul(name).ok_or(ArchiveError::BadName { at })?;
        let data_start = align_up(name_end, ALIGNMENT).ok_or(truncated)?;
        let data_end = data_start.checked_add(header.data_length as usize).ok_or(truncated)?;
        let data = rest.get(data_start..data_end).ok_or(truncated)?;
        if name == TRAILER {
            return Ok(None);
        }

        let (major, minor) = header.device;
        let kind =
            Kind::from_mode(header.mode, major, minor).ok_or(ArchiveError::UnknownKind { at })?;
        let path = clean(name).ok_or(ArchiveError::BadName { at })?;
        let next = at.checked_add(data_end).and_then(|end| align_up(end, ALIGNMENT));
        self.offset = next.ok_or(truncated)?;
        Ok(Some(Entry {
            path,
            kind,
            metadata: Metadata {
                permissions: (header.mode & 0o7777) as u16,
                uid: header.uid,
                gid: header.gid,
                modified: header.modified,
            },
            data,
        }))
    }
}

/// The bytes before the first NUL, when there is one within what a path may have.
fn until_nul(name: &[u8]) -> Option<&[u8]> {
    let length = name.iter().take(LONGEST_PATH).position(|&byte| byte == 0)?;
    name.get(..length).filter(|name| !name.is_empty())
}

/// A path without its leading `/` and `./`; `None` when a component is empty, `.` or `..`.
fn clean(name: &[u8]) -> Option<&[u8]> {
    let mut path = name;
    while let Some(rest) = path.strip_prefix(b"/").or_else(|| path.strip_prefix(b"./")) {
        path = rest;
    }
    if path.is_empty() || path == b"." {
        return Some(&[]);
    }
    let sound = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    path.split(|&byte| byte == b'/').all(sound).then_some(path)
}

/// `value` rounded up to a multiple of `alignment`, a power of two.
pub(crate) fn align_up(value: usize, alignment: usize) -> Option<usize> {
    value.checked_next_multiple_of(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.directory(b"etc", Metadata::root(0o755)).unwrap();
        writer.file(b"/etc/hosts", Metadata::root(0o644), b"127.0.0.1 localhost\n").unwrap();
        writer.file(b"bin/big", Metadata::root(0o755), &[7; 10_000]).unwrap();
        writer.symlink(b"bin/link", Metadata::root(0o777), b"big").unwrap();
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Entry<'_>>, ArchiveError> {
        Archive::new(bytes).entries().collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = sample();
        let entries = read(&bytes).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path).collect();
        assert_eq!(paths, [&b"etc"[..], b"etc/hosts", b"bin/big", b"bin/link"]);
        assert_eq!(entries[1].data, b"127.0.0.1 localhost\n");
        assert_eq!(entries[3].kind, Kind::Symlink);
        assert_eq!(entries[3].data, b"big");
    }

    #[test]
    fn data_of_a_page_or_more_is_page_aligned() {
        let bytes = sample();
        let entry = Archive::new(&bytes).find("bin/big").unwrap().unwrap();
        let offset = entry.data.as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(offset % 4096, 0);
        assert_eq!(entry.data, [7; 10_000]);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = sample();
        for length in 0..bytes.len() - 1024 {
            assert!(read(&bytes[..length]).is_err(), "cut at {length} went unnoticed");
        }
    }

    #[test]
    fn absurd_lengths_are_refused() {
        for field in [6 + 8 * 6, 6 + 8 * 11] {
            let mut bytes = sample();
            bytes[field..field + 8].copy_from_slice(b"ffffffff");
            assert_eq!(read(&bytes), Err(ArchiveError::Truncated { at: 0 }));
        }
    }

    #[test]
    fn names_that_leave_the_root_are_refused() {
        let header = Header { name_length: 6, ..Header::new(Kind::File, Metadata::root(0), 1) };
        for name in [b"a/../\0", b"../aa\0", b"a//bb\0", b"a/b/.\0", b"aaaaaa"] {
            let mut bytes = header.encode().to_vec();
            bytes.extend_from_slice(name);
            assert_eq!(read(&bytes), Err(ArchiveError::BadName { at: 0 }), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes);
        }

        #[test]
        fn damage_never_panics(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..9)
        ) {
            let mut bytes = sample();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            let _ = read(&bytes);
        }

        #[test]
        fn any_tree_comes_back(
            files in proptest::collection::vec(
                ("[a-z]{1,40}(/[a-z]{1,20}){0,3}", proptest::collection::vec(any::<u8>(), 0..9000)),
                0..8,
            )
        ) {
            let mut writer = Writer::new();
            for (path, data) in &files {
                writer.file(path.as_bytes(), Metadata::root(0o600), data).unwrap();
            }
            let bytes = writer.finish();
            let entries = read(&bytes).unwrap();
            prop_assert_eq!(entries.len(), files.len());
            for (entry, (path, data)) in entries.iter().zip(&files) {
                prop_assert_eq!(entry.path, path.as_bytes());
                prop_assert_eq!(entry.data, &data[..]);
                let offset = entry.data.as_ptr() as usize - bytes.as_ptr() as usize;
                prop_assert!(data.len() < 4096 || offset.is_multiple_of(4096));
            }
        }
    }
}
