//! What is written to the picture appears on the screen, and nothing else of it changes.

use super::*;
use crate::file::KernelArgument;
use alloc::vec;
use alloc::vec::Vec;
use base::display::Pairs;
use base::io::{SliceSink, SliceSource};
use std::sync::Mutex;

extern crate std;

/// 64 by 32 pixels: two pages.
const LAYOUT: Layout = Layout { width: 64, height: 32, pitch: 256, shifts: [16, 8, 0] };
const NOISE: u8 = 0x77;

#[derive(Clone)]
struct Shown(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<bool>>>, Layout);

impl Surface for Shown {
    fn layout(&self) -> Layout {
        self.2
    }
    fn put(&self, _x: u32, _y: u32, _bits: &[u8], _pairs: &[Pairs]) {}
    fn store(&self, offset: u64, words: &[u64]) {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        let mut all = self.0.lock().unwrap();
        all.iter_mut().skip(offset as usize).zip(bytes).for_each(|(to, byte)| *to = byte);
    }
    fn flush(&self) -> bool {
        self.1.lock().unwrap().pop().unwrap_or(true)
    }
}

fn of(layout: Layout) -> Shown {
    let bytes = (layout.pitch * layout.height) as usize;
    Shown(Arc::new(Mutex::new(vec![NOISE; bytes])), Arc::default(), layout)
}

fn picture() -> (Arc<FrameBuffer>, Shown) {
    hal::sim::reset(1, 64);
    let shown = of(LAYOUT);
    (FrameBuffer::new(Arc::new(shown.clone())), shown)
}

fn at(milliseconds: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(milliseconds)
}

impl Shown {
    fn byte(&self, at: usize) -> u8 {
        self.0.lock().unwrap()[at]
    }
}

#[test]
fn what_is_written_is_shown_and_read() {
    let (buffer, shown) = picture();
    assert_eq!(buffer.next_refresh(), None);
    assert_eq!(buffer.write(4000, &mut SliceSource::new(&[1; 90])), Ok(90));
    assert_eq!(buffer.next_refresh(), Some(at(0)));
    buffer.refresh_if_due(at(0));
    assert_eq!([0, 3999, 4000, 4089, 4090].map(|at| shown.byte(at)), [0, 0, 1, 1, 0]);
    assert_eq!(shown.byte(4096), NOISE, "nobody wrote there");
    let mut bytes = [9; 100];
    assert_eq!(buffer.read(3995, &mut SliceSink::new(&mut bytes)), Ok(100));
    assert_eq!((&bytes[..6], &bytes[94..96]), (&[0, 0, 0, 0, 0, 1][..], &[1, 0][..]));
    assert_eq!(buffer.next_refresh(), None);
    // The end.
    assert_eq!(buffer.read(8190, &mut SliceSink::new(&mut bytes)), Ok(2));
    assert_eq!(buffer.write(8190, &mut SliceSource::new(&[1; 9])), Ok(2));
    assert_eq!(buffer.write(8192, &mut SliceSource::new(&[1])), Err(Errno::ENOSPC));
    assert_eq!(buffer.write(8193, &mut SliceSource::new(&[1])), Err(Errno::EFBIG));
}

#[test]
fn what_a_mapping_changes_is_shown() {
    let (buffer, shown) = picture();
    let frame = buffer.frame(1, true).unwrap();
    assert_eq!(buffer.frame(2, true).err(), Some(Errno::ENXIO));
    buffer.refresh_if_due(at(0));
    // The page as the program has it, which may have made it black; no other.
    assert_eq!([4095, 4096, 8191].map(|at| shown.byte(at)), [NOISE, 0, 0]);
    frame.write(5, &[3]);
    buffer.refresh_if_due(at(10));
    assert_eq!(shown.byte(4101), 0, "not yet");
    buffer.refresh_if_due(at(16));
    assert_eq!([4100, 4101, 4102].map(|at| shown.byte(at)), [0, 3, 0]);
    // What was changed last before the mapping ended.
    frame.write(6, &[4]);
    drop(frame);
    buffer.refresh_if_due(at(40));
    assert_eq!((shown.byte(4102), shown.byte(4095)), (4, NOISE));
    assert_eq!(buffer.next_refresh(), None);
}

#[test]
fn a_busy_screen_is_flushed_again() {
    let (buffer, shown) = picture();
    // Backwards.
    *shown.1.lock().unwrap() = vec![false, true, false];
    assert_eq!(buffer.write(0, &mut SliceSource::new(&[1])), Ok(1));
    buffer.refresh_if_due(at(0));
    assert_eq!(buffer.next_refresh(), Some(at(16)));
    buffer.refresh_if_due(at(16));
    assert_eq!(buffer.next_refresh(), None);
    assert_eq!(shown.1.lock().unwrap().len(), 1);
}

#[test]
fn a_pan_shows_at_once_what_was_drawn() {
    let (buffer, shown) = picture();
    let frame = buffer.frame(0, true).unwrap();
    buffer.refresh_if_due(at(0));
    frame.write(0, &[5]);
    let mut told = KernelArgument::default();
    assert_eq!(buffer.ioctl(command::GET_VARIABLE, &mut told), Ok(0));
    assert_eq!(shown.byte(0), 0);
    assert_eq!(buffer.ioctl(command::PAN, &mut told), Ok(0));
    assert_eq!(shown.byte(0), 5);
}

#[test]
fn it_tells_its_layout_and_keeps_it() {
    let (buffer, _) = picture();
    let mut told = KernelArgument::default();
    assert_eq!(buffer.ioctl(command::GET_FIXED, &mut told), Ok(0));
    assert_eq!(
        (told.bytes.len(), told.bytes[24..28].to_vec(), told.bytes[49]),
        (80, vec![0, 0x20, 0, 0], 1)
    );
    assert_eq!(buffer.ioctl(command::GET_VARIABLE, &mut told), Ok(0));
    assert_eq!((told.bytes.len(), told.bytes[0], told.bytes[4], told.bytes[24]), (160, 64, 32, 32));
    assert_eq!((told.bytes[32], told.bytes[44], told.bytes[56], told.bytes[60]), (16, 8, 0, 8));
    let put = |told: &KernelArgument, command| buffer.ioctl(command, &mut told.clone());
    assert_eq!(put(&told, command::PUT_VARIABLE), Ok(0));
    assert_eq!(put(&told, command::PAN), Ok(0));
    told.bytes[20] = 1;
    assert_eq!(put(&told, command::PAN), Err(Errno::EINVAL));
    told.bytes[0] = 65;
    assert_eq!(put(&told, command::PUT_VARIABLE), Err(Errno::EINVAL));
    assert_eq!(put(&told, 0x4611), Err(Errno::ENOTTY));
}

#[test]
fn another_screen_shows_what_is_mapped() {
    let (buffer, _) = picture();
    let mapped = buffer.frame(0, true).unwrap();
    mapped.write(9, &[6]);
    assert_eq!(buffer.write(4096, &mut SliceSource::new(&[7])), Ok(1));
    buffer.refresh_if_due(at(0));
    // Smaller: what was mapped of the larger one stays, whenever it is touched first.
    let small = of(Layout { width: 32, height: 16, pitch: 128, ..LAYOUT });
    buffer.move_to(Arc::new(small.clone()), false);
    buffer.refresh_if_due(at(100));
    assert_eq!([8, 9, 10].map(|at| small.byte(at)), [0, 6, 0]);
    assert!(buffer.frame(1, true).is_ok());
    let mut told = KernelArgument::default();
    assert_eq!(buffer.ioctl(command::GET_VARIABLE, &mut told), Ok(0));
    assert_eq!((told.bytes[0], told.bytes[4], told.bytes[8], told.bytes[12]), (32, 16, 32, 16));
    assert_eq!(buffer.ioctl(command::PAN, &mut told), Ok(0));
    assert_eq!(buffer.ioctl(command::GET_FIXED, &mut told), Ok(0));
    assert_eq!((told.bytes[24..28].to_vec(), told.bytes[48]), (vec![0, 0x20, 0, 0], 128));
    // Larger. Text is there, so that only what somebody has mapped is seen beside it.
    let large = of(Layout { width: 128, height: 32, pitch: 512, ..LAYOUT });
    buffer.move_to(Arc::new(large.clone()), false);
    buffer.refresh_if_due(at(200));
    assert_eq!([9, 4096].map(|at| large.byte(at)), [6, NOISE]);
    assert!(buffer.frame(3, true).is_ok());
    assert_eq!(buffer.frame(4, true).err(), Some(Errno::ENXIO));
    // The same once more.
    assert_eq!(buffer.write(4096, &mut SliceSource::new(&[7])), Ok(1));
    buffer.refresh_if_due(at(300));
    assert_eq!(large.byte(4096), 7);
    // The program has the screen for itself.
    let last = of(LAYOUT);
    buffer.move_to(Arc::new(last.clone()), true);
    buffer.refresh_if_due(at(400));
    assert_eq!([9, 4096].map(|at| last.byte(at)), [6, 7]);
}
