//! What readers of a keyboard get.

use super::*;
use base::io::SliceSink;
use core::time::Duration;

fn keyboard() -> Arc<InputDevice> {
    hal::sim::reset(1, 16);
    InputDevice::new(keys([28, 30]))
}

/// Types, codes and values of what can be read.
fn read(file: &FileRef) -> Vec<Event> {
    let mut buffer = [0; 200 * EVENT_BYTES];
    let count = file.read(0, &mut SliceSink::new(&mut buffer)).unwrap_or(0);
    let events = buffer[..count].chunks_exact(EVENT_BYTES);
    let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    events
        .map(|one| (half(&one[16..]), half(&one[18..]), i32::from(half(&one[20..]).cast_signed())))
        .collect()
}

struct Argument(u64, Vec<u8>);

impl IoctlArgument for Argument {
    fn value(&self) -> u64 {
        self.0
    }
    fn load(&mut self, into: &mut [u8]) -> Result<(), Errno> {
        into.copy_from_slice(&self.1[..into.len()]);
        Ok(())
    }
    fn store(&mut self, from: &[u8]) -> Result<(), Errno> {
        self.1 = from.to_vec();
        Ok(())
    }
}

fn ask(file: &FileRef, command: u32) -> (Result<usize, Errno>, Vec<u8>) {
    let mut argument = Argument(0, Vec::new());
    (file.ioctl(command, &mut argument), argument.1)
}

const END: Event = (SYN, SYN_REPORT, 0);

#[test]
fn keys_go_down_repeat_and_come_up() {
    let keyboard = keyboard();
    let [one, two] = [(); 2].map(|()| keyboard.open(OpenFlags::empty()).unwrap());
    assert!(!one.poll().contains(PollEvents::IN));
    for (code, pressed) in [(30, true), (30, true), (30, false), (30, false), (31, true)] {
        assert!(!keyboard.key(code, pressed, Instant::ZERO));
    }
    assert!(one.poll().contains(PollEvents::IN));
    let want = [(KEY, 30, 1), END, (KEY, 30, 2), END, (KEY, 30, 0), END];
    assert_eq!(read(&one), want);
    assert_eq!(read(&two), want);
    assert_eq!(one.read(0, &mut SliceSink::new(&mut [0; 24])), Err(Errno::EAGAIN));
    assert_eq!(one.read(0, &mut SliceSink::new(&mut [0; 23])), Err(Errno::EINVAL));
}

#[test]
fn a_slow_reader_is_told_that_it_lost_events() {
    let keyboard = keyboard();
    let file = keyboard.open(OpenFlags::empty()).unwrap();
    for _ in 0..33 {
        assert!(!keyboard.key(28, true, Instant::ZERO));
    }
    assert_eq!(read(&file), [(SYN, SYN_DROPPED, 0), (KEY, 28, 2), END]);
}

#[test]
fn one_may_want_all_keys() {
    let keyboard = keyboard();
    let [one, two] = [(); 2].map(|()| keyboard.open(OpenFlags::empty()).unwrap());
    let grab = |file: &FileRef, on| file.ioctl(0x4004_4590, &mut Argument(on, Vec::new()));
    assert_eq!(grab(&one, 0), Err(Errno::EINVAL));
    assert_eq!(grab(&one, 1), Ok(0));
    assert_eq!((grab(&two, 1), grab(&two, 0)), (Err(Errno::EBUSY), Err(Errno::EINVAL)));
    assert!(keyboard.key(30, true, Instant::ZERO));
    assert_eq!((read(&one).len(), read(&two).len()), (2, 0));
    // With its holder it ends.
    drop(one);
    assert!(!keyboard.key(30, false, Instant::ZERO));
    assert_eq!(read(&two), [(KEY, 30, 0), END]);
}

#[test]
fn it_says_what_it_is() {
    let keyboard = keyboard();
    let file = keyboard.open(OpenFlags::empty()).unwrap();
    let bits = |number: u32, bytes: u32| 2 << 30 | bytes << 16 | 0x45 << 8 | number;
    assert_eq!(ask(&file, 0x8004_4501), (Ok(0), alloc::vec![1, 0, 1, 0]));
    assert_eq!(ask(&file, bits(0x06, 5)), (Ok(5), b"AT Tr".to_vec()));
    assert_eq!(ask(&file, bits(0x20, 4)), (Ok(4), alloc::vec![3, 0, 0, 0]));
    let (length, have) = ask(&file, bits(0x21, 512));
    assert_eq!((length, &have[..5]), (Ok(96), &[0, 0, 0, 0x50, 0][..]));
    let _ = keyboard.key(28, true, Instant::ZERO);
    assert_eq!(ask(&file, bits(0x18, 4)), (Ok(4), alloc::vec![0, 0, 0, 0x10]));
    assert_eq!(ask(&file, bits(0x08, 100)).0, Err(Errno::ENOENT));
    assert_eq!(ask(&file, 0x5401).0, Err(Errno::EINVAL));
}

#[test]
fn events_are_stamped_with_the_clock_that_was_chosen() {
    let keyboard = keyboard();
    let file = keyboard.open(OpenFlags::empty()).unwrap();
    let clock =
        |number: u8| file.ioctl(0x4004_45a0, &mut Argument(0, alloc::vec![number, 0, 0, 0])).err();
    assert_eq!((clock(2), clock(1)), (Some(Errno::EINVAL), None));
    let _ = keyboard.key(28, true, Instant::ZERO + Duration::from_millis(2500));
    let mut event = [0; EVENT_BYTES];
    assert_eq!(file.read(0, &mut SliceSink::new(&mut event)), Ok(EVENT_BYTES));
    assert_eq!((event[0], &event[8..12]), (2, &500_000_u32.to_le_bytes()[..]));
}
