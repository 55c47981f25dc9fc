//! Tests on the simulated machine.

mod hostile;
mod large;
mod model;
mod rules;

use crate::backing::{Backing, FileIdentity};
use crate::{Content, MapRequest, Mm, Placement};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use base::sync::SpinLock;
use base::{Errno, PAGE_SIZE, UserAddr};
use core::fmt;
use hal::PageProtection;
use hal::memory::Frame;

const READ: PageProtection = PageProtection::READ;
const READ_WRITE: PageProtection = PageProtection::READ.union(PageProtection::WRITE);
const NONE: PageProtection = PageProtection::empty();

/// What page `page` of a test file is filled with.
fn file_byte(page: u64) -> u8 {
    (page % 200) as u8 + 50
}

/// A file like those of the image: pages in the archive, writable ones when first written.
pub(super) struct TestFile {
    pages: u64,
    archive: &'static [u8],
    own: SpinLock<BTreeMap<u64, Frame>>,
}

impl TestFile {
    fn new(pages: u64) -> Arc<Self> {
        let mut bytes = vec![0; (pages * PAGE_SIZE) as usize];
        for (page, chunk) in bytes.chunks_mut(PAGE_SIZE as usize).enumerate() {
            chunk.fill(file_byte(page as u64));
        }
        let archive = Box::leak(bytes.into_boxed_slice());
        Arc::new(Self { pages, archive, own: SpinLock::default() })
    }
}

impl Backing for TestFile {
    fn frame(&self, page: u64, write: bool) -> Result<Frame, Errno> {
        if page >= self.pages {
            return Err(Errno::ENXIO);
        }
        let mut own = self.own.lock();
        if let Some(frame) = own.get(&page) {
            return Ok(frame.clone());
        }
        let start = (page * PAGE_SIZE) as usize;
        let frame = Frame::of_archive(&self.archive[start..start + PAGE_SIZE as usize])
            .ok_or(Errno::EIO)?;
        if !write {
            return Ok(frame);
        }
        let copy = frame.duplicate().map_err(|_| Errno::ENOMEM)?;
        own.insert(page, copy.clone());
        Ok(copy)
    }

    fn identity(&self) -> FileIdentity {
        FileIdentity { device: 0x801, inode: 77 }
    }

    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/srv/data")
    }
}

fn memory() -> Arc<Mm> {
    hal::sim::reset(1, 4096);
    Mm::new(7).unwrap()
}

fn anonymous(mm: &Mm, pages: u64) -> UserAddr {
    mm.map(MapRequest::anonymous(Placement::Hint(UserAddr::NULL), pages * PAGE_SIZE, READ_WRITE))
        .unwrap()
}

fn file(file: &Arc<TestFile>, first: u64, shared: bool, writable: bool) -> Content {
    Content::File { backing: file.clone(), offset: first * PAGE_SIZE, shared, writable }
}

fn byte(mm: &Mm, at: UserAddr) -> Result<u8, Errno> {
    mm.read::<u8>(at)
}

fn page(start: UserAddr, index: u64) -> UserAddr {
    UserAddr(start.0 + index * PAGE_SIZE)
}
