//! The files that go back to the host when the program has ended: what a test leaves behind.
//!
//! Each piece of a file is a line `file NAME DATA` on the control channel, the lengths in bytes of
//! the path and of the piece, which follow as they are. Pieces of a file come in order; an empty
//! file has one, of no bytes.

use crate::start::System;
use alloc::format;
use alloc::vec::Vec;
use base::Errno;
use base::io::SliceSink;
use vfs::access::ROOT;
use vfs::inode::Place;
use vfs::metadata::FileType;
use vfs::open::OpenFile;
use vfs::{OpenFlags, Vfs};

/// Bytes of a file that are sent at once.
const PIECE: usize = 16 * 1024;
/// Folders are followed to this depth.
const DEEPEST: usize = 64;

impl System {
    /// Sends the files that the settings name to the host command. What is not there is left out:
    /// the program may have had no reason to write it.
    pub fn return_files(&self) {
        if !hal::console::has_control() {
            return;
        }
        for path in &self.returns {
            match send(&self.process.vfs, path.as_bytes(), 0) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    hal::console::control(&format!("warn {path} does not come back: {errno}"));
                }
            }
        }
    }
}

fn send(vfs: &Vfs, path: &[u8], depth: usize) -> Result<(), Errno> {
    // A link to elsewhere is followed only where the settings name it.
    let place = vfs.resolve(vfs.at_root(), path, depth == 0)?;
    match place.inode.kind() {
        FileType::Regular => send_file(path, &*vfs.open_found(&ROOT, place, OpenFlags::empty())?),
        FileType::Directory if depth < DEEPEST => {
            for name in names(&place)? {
                send(vfs, &[path, b"/", &name].concat(), depth + 1)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn names(directory: &Place) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    directory.inode.list(0, &mut |entry| {
        names.push(entry.name.to_vec());
        true
    })?;
    Ok(names)
}

fn send_file(path: &[u8], file: &OpenFile) -> Result<(), Errno> {
    let mut buffer = alloc::vec![0; PIECE];
    let mut offset = 0;
    loop {
        let count = file.read_at(offset, &mut SliceSink::new(&mut buffer))?;
        if count == 0 && offset > 0 {
            return Ok(());
        }
        let header = format!("file {} {count}", path.len());
        hal::console::control_with(&header, &[path, buffer.get(..count).unwrap_or_default()]);
        if count == 0 {
            return Ok(());
        }
        offset += count as u64;
    }
}
