//! Writing an archive.

use alloc::vec::Vec;
use core::fmt;

use crate::header::{ALIGNMENT, HEADER_LENGTH, Header, Kind, Metadata, PAGE, TRAILER};

/// Archives end on a multiple of this, as cpio(1) writes them.
const BLOCK: usize = 512;

/// Builds an archive in memory.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    entries: u32,
}

/// Why an entry cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// The format has 32-bit lengths: a file must be smaller than 4 GiB.
    TooLarge,
    /// A path is empty, holds a NUL or is longer than 4095 bytes.
    BadPath,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "a file in an image must be smaller than 4 GiB",
            Self::BadPath => "a path in an image must have 1 to 4095 bytes and no NUL",
        })
    }
}

impl core::error::Error for WriteError {}

impl Writer {
    /// An archive without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), entries: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// The path does not fit the format.
    pub fn directory(&mut self, path: &[u8], metadata: Metadata) -> Result<(), WriteError> {
        self.entry(path, Kind::Directory, metadata, &[])
    }

    /// Adds a regular file. Data of a page or more will start on a page boundary.
    ///
    /// # Errors
    /// The path or the length does not fit the format.
    pub fn file(&mut self, path: &[u8], metadata: Metadata, data: &[u8]) -> Result<(), WriteError> {
        self.entry(path, Kind::File, metadata, data)
    }

    /// Adds a symbolic link to `target`.
    ///
    /// # Errors
    /// The path or the target does not fit the format.
    pub fn symlink(
        &mut self,
        path: &[u8],
        metadata: Metadata,
        target: &[u8],
    ) -> Result<(), WriteError> {
        self.entry(path, Kind::Symlink, metadata, target)
    }

    /// Adds an entry of any kind. A leading `/` of the path is dropped: archives hold relative
    /// paths, so that unpacking one on a host cannot overwrite the host's files.
    ///
    /// # Errors
    /// The path or the length does not fit the format.
    pub fn entry(
        &mut self,
        path: &[u8],
        kind: Kind,
        metadata: Metadata,
        data: &[u8],
    ) -> Result<(), WriteError> {
        let relative = path.iter().position(|&byte| byte != b'/');
        let path = relative.and_then(|start| path.get(start..)).ok_or(WriteError::BadPath)?;
        if path.len() >= PAGE || path.contains(&0) {
            return Err(WriteError::BadPath);
        }
        self.entries = self.entries.wrapping_add(1);
        let mut header = Header::new(kind, metadata, self.entries);
        header.data_length = u32::try_from(data.len()).map_err(|_| WriteError::TooLarge)?;
        let alignment = if kind == Kind::File && data.len() >= PAGE { PAGE } else { ALIGNMENT };
        self.append(header, path, alignment, data)
    }

    /// Ends the archive and gives its bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let header = Header { mode: 0, ..Header::new(Kind::Fifo, Metadata::root(0), 0) };
        // The trailer's lengths always fit.
        let _ = self.append(header, TRAILER, ALIGNMENT, &[]);
        self.pad_to(BLOCK);
        self.bytes
    }

    fn append(
        &mut self,
        mut header: Header,
        name: &[u8],
        alignment: usize,
        data: &[u8],
    ) -> Result<(), WriteError> {
        let start = self.bytes.len();
        let data_start = (start + HEADER_LENGTH + name.len() + 1).next_multiple_of(alignment);
        // Only alignment to a page goes into the length of the name: the four bytes of the
        // format's own alignment do not belong to it.
        let name_length = if alignment == ALIGNMENT {
            name.len() + 1
        } else {
            data_start - start - HEADER_LENGTH
        };
        header.name_length = u32::try_from(name_length).map_err(|_| WriteError::BadPath)?;
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(name);
        self.bytes.resize(data_start, 0);
        self.bytes.extend_from_slice(data);
        self.pad_to(ALIGNMENT);
        Ok(())
    }

    fn pad_to(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }
}
