//! /proc/self/mem and /proc/self/pagemap: the program's memory as a file (proc_pid_mem(5)).

use super::inode::PseudoInode;
use crate::file::{File, FileRef};
use crate::flags::Whence;
use crate::inode::Inode;
use crate::metadata::Metadata;
use alloc::sync::Arc;
use base::Errno;
use base::io::{Sink, Source, in_parts};
use core::any::Any;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The bytes, at their addresses.
    Bytes,
    /// A word for each page.
    Pages,
}

impl Kind {
    pub(super) fn permissions(self) -> u32 {
        match self {
            Self::Bytes => 0o600,
            Self::Pages => 0o400,
        }
    }
}

/// Bytes of an entry of pagemap.
const ENTRY: u64 = 8;
/// Entries of pagemap: pages of user memory.
const ENTRIES: u64 = base::address::USER_END.div_ceil(base::PAGE_SIZE);

/// One of them, open.
pub(super) struct MemoryFile {
    inode: Arc<PseudoInode>,
    kind: Kind,
}

impl MemoryFile {
    pub(super) fn open(inode: Arc<PseudoInode>, kind: Kind) -> FileRef {
        Arc::new(Self { inode, kind })
    }

    fn read_pages(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if !offset.is_multiple_of(ENTRY) || !(sink.room() as u64).is_multiple_of(ENTRY) {
            return Err(Errno::EINVAL);
        }
        let source = self.inode.source()?;
        in_parts(&mut |done| {
            let at = offset.saturating_add(done as u64) / ENTRY;
            if sink.room() < ENTRY as usize || at >= ENTRIES {
                return Ok(0);
            }
            sink.put(&source.page_entry(at).to_le_bytes())
        })
    }
}

impl File for MemoryFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        self.inode.status()
    }

    fn read(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        match self.kind {
            Kind::Bytes => self.inode.source()?.read_memory(offset, sink),
            Kind::Pages => self.read_pages(offset, sink),
        }
    }

    fn write(&self, offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        match self.kind {
            Kind::Bytes if source.remaining() == 0 => Ok(0),
            Kind::Bytes => self.inode.source()?.write_memory(offset, source),
            Kind::Pages => Err(Errno::EINVAL),
        }
    }

    fn takes_splices(&self) -> bool {
        false
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, position: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        match whence {
            Whence::Set | Whence::Current => crate::file::seek_within(0, position, whence, offset),
            _ => Err(Errno::EINVAL),
        }
    }
}
