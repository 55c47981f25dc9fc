//! Files as memory sees them: what stands between `vfs` and `mm`.

use crate::process::Process;
use alloc::string::String;
use alloc::sync::Arc;
use base::{Errno, PAGE_SIZE};
use core::fmt;
use hal::memory::Frame;
use mm::{Backing, FileIdentity};
use vfs::{FileRef, Metadata, OpenFile};

/// A mapped file. It holds the file, not the descriptor: those may be closed.
pub struct MappedFile {
    file: FileRef,
    identity: FileIdentity,
    path: String,
}

impl MappedFile {
    /// `file`, which `metadata` describes, to be shown as `path`.
    #[must_use]
    pub fn new(file: FileRef, metadata: &Metadata, path: String) -> Arc<Self> {
        Arc::new(Self { file, identity: identity(metadata), path })
    }

    /// The file of an open description.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of_open(process: &Process, open: &OpenFile) -> Result<Arc<Self>, Errno> {
        let path = open.place().map(|place| {
            let root = Arc::clone(&process.directories.lock().root);
            process.vfs.path_of_place(&place, &root)
        });
        let path = path.unwrap_or_else(|| b"/ (deleted)".to_vec());
        let path = String::from_utf8_lossy(&path).into_owned();
        Ok(Self::new(Arc::clone(open.file()), &open.metadata()?, path))
    }
}

/// Which file `metadata` is of.
pub(crate) fn identity(metadata: &Metadata) -> FileIdentity {
    FileIdentity { device: metadata.device, inode: metadata.inode }
}

impl Process {
    /// A file was cut to `bytes` bytes: the program's mappings of what lies beyond are gone.
    pub fn file_truncated(&self, metadata: &Metadata, bytes: u64) {
        self.memory.file_truncated(identity(metadata), bytes.div_ceil(PAGE_SIZE));
    }
}

impl Backing for MappedFile {
    fn frame(&self, page: u64, write: bool) -> Result<Frame, Errno> {
        self.file.frame(page, write)
    }

    fn mapped_for_writing(&self) {
        self.file.mapped_for_writing();
    }

    fn identity(&self) -> FileIdentity {
        self.identity
    }

    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        // A newline in a name would look like another mapping.
        for part in self.path.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(line) => write!(out, "{line}\\012")?,
                None => out.write_str(part)?,
            }
        }
        Ok(())
    }

    fn sync(&self, _first: u64, _pages: u64) -> Result<(), Errno> {
        self.file.sync()
    }

    fn discard(&self, first: u64, pages: u64) -> Result<(), Errno> {
        /// `FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`.
        const PUNCH_HOLE: u32 = 3;
        self.file.allocate(PUNCH_HOLE, first * PAGE_SIZE, pages * PAGE_SIZE)
    }
}
