//! From one pipe to another (splice, tee).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::Errno;
use base::io::{SliceSink, SliceSource};
use std::sync::Arc;
use vfs::pipe::{Pipe, PipeEnd};
use vfs::{FileRef, OpenFlags};

fn pipe() -> (FileRef, FileRef, Arc<Pipe>) {
    let (reader, writer) = Pipe::pair(OpenFlags::empty());
    let pipe = Arc::clone(reader.as_any().downcast_ref::<PipeEnd>().unwrap().pipe());
    (reader, writer, pipe)
}

fn read(end: &FileRef) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let count = end.read(0, &mut SliceSink::new(&mut bytes)).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn bytes_move_or_are_copied() {
    let (from_reader, from_writer, from) = pipe();
    let (to_reader, _to_writer, to) = pipe();
    assert_eq!(from.move_to(&to, 9, false), Err(Errno::EAGAIN));
    assert_eq!(from.move_to(&from, 9, false), Err(Errno::EINVAL));
    assert_eq!(from_writer.write(0, &mut SliceSource::new(b"eggs")), Ok(4));
    assert_eq!(from.move_to(&to, 3, true), Ok(3));
    assert_eq!(from.move_to(&to, 2, false), Ok(2));
    assert_eq!(read(&to_reader), b"eggeg");
    assert_eq!(read(&from_reader), b"gs");
    drop(from_writer);
    assert_eq!(from.move_to(&to, 9, false), Ok(0));
    drop(to_reader);
    assert_eq!(from.move_to(&to, 9, false), Err(Errno::EPIPE));
}

/// Nobody waits for the other for good, and nothing is lost.
#[test]
fn bytes_move_both_ways_at_once() {
    let (one_reader, one_writer, one) = pipe();
    let (other_reader, _other_writer, other) = pipe();
    assert_eq!(one_writer.write(0, &mut SliceSource::new(b"0123456789")), Ok(10));
    std::thread::scope(|scope| {
        for (from, to) in [(&one, &other), (&other, &one)] {
            scope.spawn(move || {
                for _ in 0..10_000 {
                    assert!(matches!(from.move_to(to, 3, false), Ok(1..) | Err(Errno::EAGAIN)));
                }
            });
        }
    });
    let mut bytes = Vec::new();
    for (reader, pipe) in [(&one_reader, &one), (&other_reader, &other)] {
        if pipe.room() < vfs::pipe::PIPE_BYTES {
            bytes.extend(read(reader));
        }
    }
    bytes.sort_unstable();
    assert_eq!(bytes, b"0123456789");
}
