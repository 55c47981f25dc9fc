//! What readers of a keyboard get.

use super::*;
use crate::access::ROOT;
use crate::file::KernelArgument;
use base::io::{SliceSink, SliceSource};
use core::time::Duration;

fn keyboard() -> Arc<InputDevice> {
    hal::sim::reset(1, 16);
    InputDevice::new(0, pc_keyboard([28, 30]))
}

type Seen = (u16, u16, i32);

/// Types, codes and values of what can be read.
fn read(file: &FileRef) -> Vec<Seen> {
    let mut buffer = [0; 200 * EVENT_BYTES];
    let count = file.read(0, &mut SliceSink::new(&mut buffer)).unwrap_or(0);
    let events = buffer[..count].chunks_exact(EVENT_BYTES);
    let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    events
        .map(|one| (half(&one[16..]), half(&one[18..]), i32::from(half(&one[20..]).cast_signed())))
        .collect()
}

fn ask(file: &FileRef, command: u32) -> (Result<usize, Errno>, Vec<u8>) {
    let mut argument = KernelArgument::default();
    (file.ioctl(command, &mut argument), argument.bytes)
}

const END: Seen = (SYN, 0, 0);

#[test]
fn keys_go_down_repeat_and_come_up() {
    let keyboard = keyboard();
    let [one, two] = [(); 2].map(|()| keyboard.open(&ROOT).unwrap());
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
    let file = keyboard.open(&ROOT).unwrap();
    for _ in 0..33 {
        assert!(!keyboard.key(28, true, Instant::ZERO));
    }
    assert_eq!(read(&file), [(SYN, SYN_DROPPED, 0), (KEY, 28, 2), END]);
}

#[test]
fn one_may_want_all_keys() {
    let keyboard = keyboard();
    let [one, two] = [(); 2].map(|()| keyboard.open(&ROOT).unwrap());
    let grab = |file: &FileRef, on| file.ioctl(0x4004_4590, &mut KernelArgument::of_value(on));
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
    let file = keyboard.open(&ROOT).unwrap();
    let bits = |number: u32, bytes: u32| 2 << 30 | bytes << 16 | 0x45 << 8 | number;
    assert_eq!(ask(&file, 0x8004_4501), (Ok(0), alloc::vec![1, 0, 1, 0]));
    assert_eq!(ask(&file, bits(0x06, 5)), (Ok(5), b"AT Tr".to_vec()));
    assert_eq!(ask(&file, bits(0x20, 4)), (Ok(4), alloc::vec![3, 0, 2, 0]));
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
    let file = keyboard.open(&ROOT).unwrap();
    let clock = |number: u8| {
        file.ioctl(0x4004_45a0, &mut KernelArgument::of_bytes(&[number, 0, 0, 0])).err()
    };
    assert_eq!((clock(2), clock(1)), (Some(Errno::EINVAL), None));
    let _ = keyboard.key(28, true, Instant::ZERO + Duration::from_millis(2500));
    let mut event = [0; EVENT_BYTES];
    assert_eq!(file.read(0, &mut SliceSink::new(&mut event)), Ok(EVENT_BYTES));
    assert_eq!((event[0], &event[8..12]), (2, &500_000_u32.to_le_bytes()[..]));
}

#[test]
fn a_mouse_moves_and_clicks() {
    hal::sim::reset(1, 16);
    let mouse = InputDevice::new(1, pc_mouse(true, [0x110, 0x111], [0, 1, 8]));
    assert!(!mouse.is_keyboard());
    let file = mouse.open(&ROOT).unwrap();
    let event = |kind, code, value| Event { kind, code, value };
    mouse.report([event(KEY, 0x110, 1), event(REL, 0, -5), event(REL, 1, 0)], Instant::ZERO);
    // Nothing that it has, or that changes anything.
    mouse.report([event(REL, 3, 1), event(KEY, 30, 1), event(KEY, 0x111, 0)], Instant::ZERO);
    mouse.report([event(REL, 8, 1)], Instant::ZERO);
    assert_eq!(read(&file), [(KEY, 0x110, 1), (REL, 0, -5), END, (REL, 8, 1), END]);
    let bits = |number: u32, bytes: u32| 2 << 30 | bytes << 16 | 0x45 << 8 | number;
    assert_eq!(ask(&file, bits(0x22, 8)), (Ok(8), alloc::vec![3, 1, 0, 0, 0, 0, 0, 0]));
    assert_eq!(ask(&file, bits(0x20, 1)), (Ok(1), alloc::vec![7]));
    assert_eq!(ask(&file, bits(0x09, 1)), (Ok(1), alloc::vec![1]));
    assert_eq!(ask(&file, bits(0x40, 24)).0, Err(Errno::EINVAL));
    assert_eq!(file.describe(), "/dev/input/event1");
}

#[test]
fn a_tablet_has_places() {
    hal::sim::reset(1, 16);
    let axis = Axis { maximum: 0x7fff, ..Axis::default() };
    let description = Description {
        name: "tablet".into(),
        codes: alloc::vec![(ABS, input::bits([0, 1]))],
        axes: alloc::vec![(0, axis), (1, axis)],
        ..Description::default()
    };
    let tablet = InputDevice::new(2, description);
    let file = tablet.open(&ROOT).unwrap();
    let event = |code, value| Event { kind: ABS, code, value };
    tablet.report([event(0, 100), event(1, 0)], Instant::ZERO);
    tablet.report([event(0, 100), event(1, 7), event(2, 9)], Instant::ZERO);
    assert_eq!(read(&file), [(ABS, 0, 100), END, (ABS, 1, 7), END]);
    let (length, answer) = ask(&file, 0x8018_4540);
    assert_eq!(
        (length, &answer[..4], &answer[8..12]),
        (Ok(0), &[100, 0, 0, 0][..], &[255, 127, 0, 0][..])
    );
    assert_eq!(ask(&file, 0x8018_4545), (Ok(0), alloc::vec![0; 24]));
    let bits = |number: u32, bytes: u32| 2 << 30 | bytes << 16 | 0x45 << 8 | number;
    assert_eq!(ask(&file, bits(0x07, 9)).0, Err(Errno::ENOENT));
}

/// Writes events.
fn write(file: &FileRef, events: &[(u16, u16, i32)]) -> Result<usize, Errno> {
    let mut bytes = Vec::new();
    for (kind, code, value) in events {
        bytes.extend([0x55; 16]);
        bytes.extend(kind.to_le_bytes());
        bytes.extend(code.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    file.write(0, &mut SliceSource::new(&bytes))
}

#[test]
fn what_a_program_writes_happens() {
    let keyboard = keyboard();
    let typed = Arc::new(SpinLock::new(Vec::new()));
    let to = Arc::clone(&typed);
    keyboard.types(Box::new(move |code, pressed, _| to.lock().push((code, pressed))));
    let [one, two] = [(); 2].map(|()| keyboard.open(&ROOT).unwrap());
    assert_eq!(write(&one, &[(KEY, 30, 1)]), Ok(24));
    assert_eq!(read(&two), [], "there is no report yet");
    // Down already, up already, no such key, no such kind; a repetition.
    let more = [(KEY, 30, 1), (KEY, 28, 0), (KEY, 31, 1), (REL, 0, 1), (KEY, 30, 2), (SYN, 0, 0)];
    assert_eq!(write(&one, &more), Ok(6 * 24));
    let want = [(KEY, 30, 1), (KEY, 30, 2), END];
    assert_eq!((read(&one), read(&two)), (want.to_vec(), want.to_vec()));
    assert_eq!(*typed.lock(), [(30, true), (30, true)]);
    let bits = |number: u32, bytes: u32| 2 << 30 | bytes << 16 | 0x45 << 8 | number;
    assert_eq!(ask(&one, bits(0x18, 4)), (Ok(4), alloc::vec![0, 0, 0, 0x40]));
    // Only a report: nothing.
    assert_eq!((write(&one, &[END]), read(&two)), (Ok(24), alloc::vec![]));
    // For one alone, whoever writes.
    let grab = |file: &FileRef, on| file.ioctl(0x4004_4590, &mut KernelArgument::of_value(on));
    assert_eq!(grab(&one, 1), Ok(0));
    assert_eq!(write(&two, &[(KEY, 30, 0), END]), Ok(48));
    assert_eq!((read(&one).len(), read(&two).len(), typed.lock().len()), (2, 0, 2));
    // Whole events.
    let bytes = |count: usize| one.write(0, &mut SliceSource::new(&alloc::vec![0; count]));
    assert_eq!([0, 1, 23, 47].map(bytes), [Ok(0), Err(Errno::EINVAL), Err(Errno::EINVAL), Ok(24)]);
}

#[test]
fn lights_go_on_and_off() {
    let keyboard = keyboard();
    let told = Arc::new(SpinLock::new(Vec::new()));
    let to = Arc::clone(&told);
    keyboard
        .tells(Box::new(move |event, lights| to.lock().push((event.code, event.value, lights))));
    let file = keyboard.open(&ROOT).unwrap();
    let lights = || ask(&file, 2 << 30 | 1 << 16 | 0x45 << 8 | 0x19);
    assert_eq!(lights(), (Ok(1), alloc::vec![0]));
    // On, on again, one that it lacks.
    let events = [(LED, 1, 1), (LED, 0, 1), (LED, 1, 1), (LED, 3, 1), (LED, 200, 1), END];
    assert_eq!(write(&file, &events), Ok(6 * 24));
    assert_eq!(*told.lock(), [(1, 1, 2), (0, 1, 3)]);
    assert_eq!(
        (lights(), read(&file)),
        ((Ok(1), alloc::vec![3]), alloc::vec![(LED, 1, 1), (LED, 0, 1), END])
    );
    assert_eq!(write(&file, &[(LED, 1, 0)]), Ok(24));
    assert_eq!((lights().1, told.lock().len()), (alloc::vec![1], 3));
}

#[test]
fn written_events_that_never_end_are_passed_on() {
    let keyboard = keyboard();
    let file = keyboard.open(&ROOT).unwrap();
    for _ in 0..QUEUE_MAX / 2 {
        assert_eq!(write(&file, &[(KEY, 30, 2)]), Ok(24));
    }
    let seen = read(&file);
    assert_eq!((seen.len(), seen.last()), (QUEUE_MAX / 2 + 1, Some(&END)));
}
