//! An open file of /proc or /sys.

use super::inode::PseudoInode;
use crate::file::File;
use crate::flags::Whence;
use crate::inode::Inode;
use crate::metadata::Metadata;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source};
use base::sync::SpinLock;
use core::any::Any;

/// Longest write taken: a line.
const WRITE_MAX: usize = 4096;

/// Holds what was read at offset 0, so that the parts of a long text fit together. Reading from
/// the start again makes it anew.
pub(super) struct PseudoFile {
    inode: Arc<PseudoInode>,
    text: SpinLock<Option<Arc<[u8]>>>,
}

impl PseudoFile {
    pub(super) fn new(inode: Arc<PseudoInode>) -> Arc<Self> {
        Arc::new(Self { inode, text: SpinLock::new(None) })
    }
}

impl File for PseudoFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        self.inode.status()
    }

    fn read(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let kept = if offset == 0 { None } else { self.text.lock().clone() };
        let text = match kept {
            Some(text) => text,
            None => {
                let text: Arc<[u8]> = self.inode.content()?.into();
                *self.text.lock() = Some(Arc::clone(&text));
                text
            }
        };
        let rest = usize::try_from(offset).ok().and_then(|at| text.get(at..)).unwrap_or_default();
        if rest.is_empty() { Ok(0) } else { sink.put(rest) }
    }

    fn takes_splices(&self) -> bool {
        false
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let count = source.remaining().min(WRITE_MAX);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(count, 0);
        let count = source.take(&mut bytes)?;
        self.inode.store(bytes.get(..count).unwrap_or_default())?;
        Ok(count)
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

    /// `O_TRUNC` and truncate(2) mean nothing to these files, and succeed.
    fn truncate(&self, _bytes: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}
