//! Copies under a lock that stop, as at memory that is not there, and go on when it is open.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::Errno;
use base::io::{Sink, SliceSink, SliceSource, Source};
use std::cell::Cell;
use std::rc::Rc;
use vfs::File;
use vfs::pipe::{PIPE_BUF, PIPE_BYTES, Pipe};

/// What happens where memory has to be made.
type Between = Box<dyn FnMut()>;

/// Memory that is there by pieces of `piece` bytes, up to `end`.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    left: usize,
    end: usize,
    stopped: bool,
    between: Between,
}

impl Memory {
    fn new(bytes: Vec<u8>, piece: usize, end: usize, between: Between) -> Self {
        Self { bytes, at: 0, piece, left: piece, end, stopped: false, between }
    }

    fn present(&mut self, wanted: usize) -> std::ops::Range<usize> {
        let from = self.at;
        self.at += wanted.min(self.left).min(self.end - from);
        self.left -= self.at - from;
        self.stopped = self.at - from < wanted;
        from..self.at
    }

    fn whole(&mut self, wanted: usize) -> std::ops::Range<usize> {
        self.left = usize::MAX;
        self.present(wanted)
    }

    fn go_on(&mut self) -> Result<bool, Errno> {
        if !self.stopped {
            return Ok(false);
        }
        if self.at == self.end {
            return Err(Errno::EFAULT);
        }
        (self.between)();
        (self.left, self.stopped) = (self.piece, false);
        Ok(true)
    }
}

impl Source for Memory {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let range = self.whole(into.len());
        into[..range.len()].copy_from_slice(&self.bytes[range.clone()]);
        if range.is_empty() { Err(Errno::EFAULT) } else { Ok(range.len()) }
    }

    fn take_present(&mut self, into: &mut [u8]) -> usize {
        let range = self.present(into.len());
        into[..range.len()].copy_from_slice(&self.bytes[range.clone()]);
        range.len()
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.go_on()
    }
}

impl Sink for Memory {
    fn room(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let range = self.whole(bytes.len());
        self.bytes[range.clone()].copy_from_slice(&bytes[..range.len()]);
        if range.is_empty() { Err(Errno::EFAULT) } else { Ok(range.len()) }
    }

    fn put_present(&mut self, bytes: &[u8]) -> usize {
        let range = self.present(bytes.len());
        self.bytes[range.clone()].copy_from_slice(&bytes[..range.len()]);
        range.len()
    }

    fn resume(&mut self) -> Result<bool, Errno> {
        self.go_on()
    }
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|at| ((at * 7) >> 3) as u8).collect()
}

fn read(end: &dyn File, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let count = end.read(0, &mut SliceSink::new(&mut bytes)).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn one_read_goes_on_where_memory_was_missing() {
    let (reader, writer) = Pipe::pair(vfs::OpenFlags::empty());
    let content = numbers(PIPE_BYTES);
    for piece in [0, 1, 1000] {
        assert_eq!(writer.write(0, &mut SliceSource::new(&content)), Ok(content.len()));
        // The first piece may be no byte at all.
        let mut memory =
            Memory::new(vec![0; content.len()], piece.max(1), content.len(), Box::new(|| {}));
        memory.left = piece;
        assert_eq!(reader.read(0, &mut memory), Ok(content.len()));
        assert_eq!(memory.bytes, content);
    }
}

#[test]
fn bad_memory_ends_a_read_and_loses_nothing() {
    let (reader, writer) = Pipe::pair(vfs::OpenFlags::empty());
    let content = numbers(5000);
    assert_eq!(writer.write(0, &mut SliceSource::new(&content)), Ok(5000));
    let memory = |end| Memory::new(vec![0; 5000], 1000, end, Box::new(|| {}));
    assert_eq!(reader.read(0, &mut memory(0)), Err(Errno::EFAULT));
    assert_eq!(reader.read(0, &mut memory(2500)), Ok(2500));
    assert_eq!(read(&*reader, 5000), content[2500..]);
}

#[test]
fn an_atomic_write_stays_whole_when_memory_is_missing() {
    let (reader, writer) = Pipe::pair(vfs::OpenFlags::empty());
    let content = numbers(PIPE_BUF);
    let other = writer.clone();
    let interruptions = Rc::new(Cell::new(0));
    let count = Rc::clone(&interruptions);
    let between = move || {
        count.set(count.get() + 1);
        assert_eq!(other.write(0, &mut SliceSource::new(b"other")), Ok(5));
    };
    let mut memory = Memory::new(content.clone(), 1000, PIPE_BUF, Box::new(between));
    assert_eq!(writer.write(0, &mut memory), Ok(PIPE_BUF));
    // The rest was gathered without the lock, in one go.
    assert_eq!(interruptions.get(), 0);
    assert_eq!(read(&*reader, 2 * PIPE_BUF), content);
    // Half of it cannot be read: nothing is written.
    let mut memory = Memory::new(content, 1000, 2000, Box::new(|| {}));
    assert_eq!(writer.write(0, &mut memory), Err(Errno::EFAULT));
    assert_eq!(reader.read(0, &mut SliceSink::new(&mut [0])), Err(Errno::EAGAIN));
}

#[test]
fn a_long_write_lets_others_between() {
    let (reader, writer) = Pipe::pair(vfs::OpenFlags::empty());
    let content = numbers(3 * PIPE_BUF);
    let other = writer.clone();
    let between = move || assert_eq!(other.write(0, &mut SliceSource::new(b"x")), Ok(1));
    let mut memory = Memory::new(content.clone(), PIPE_BUF, content.len(), Box::new(between));
    assert_eq!(writer.write(0, &mut memory), Ok(content.len()));
    let got = read(&*reader, PIPE_BYTES);
    assert_eq!(got.len(), content.len() + 2);
    assert_eq!(got[PIPE_BUF], b'x');
    // A write that fails half-way tells what it did, and the error next time.
    let mut memory = Memory::new(content, 1000, 5000, Box::new(|| {}));
    assert_eq!(writer.write(0, &mut memory), Ok(5000));
}
