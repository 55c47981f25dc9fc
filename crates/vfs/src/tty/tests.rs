use super::settings::InputFlags;
use super::*;
use crate::file::KernelArgument;
use base::io::{SliceSink, SliceSource};
use std::sync::Mutex;

extern crate std;
use std::vec::Vec;

type Log<T> = Arc<Mutex<Vec<T>>>;

fn tty() -> (Arc<Tty>, Log<u8>, Log<Signal>) {
    let (output, signals): (Log<u8>, Log<Signal>) = Default::default();
    let (out, sig) = (Arc::clone(&output), Arc::clone(&signals));
    let hooks = TtyHooks {
        output: Box::new(move |bytes| out.lock().unwrap().extend_from_slice(bytes)),
        signal: Box::new(move |signal| sig.lock().unwrap().push(signal)),
    };
    (Tty::new(hooks, 1), output, signals)
}

fn read(tty: &Tty) -> Result<Vec<u8>, Errno> {
    let mut buffer = [0; 64];
    let mut sink = SliceSink::new(&mut buffer);
    let count = tty.read(0, &mut sink)?;
    Ok(buffer[..count].to_vec())
}

#[test]
fn lines_are_edited_and_echoed() {
    let (tty, output, _) = tty();
    tty.input(b"helo\x7flo wrld\x17world");
    assert_eq!(read(&tty), Err(Errno::EAGAIN));
    assert!(!tty.poll().contains(PollEvents::IN));
    tty.input(b"\rnext");
    assert!(tty.poll().contains(PollEvents::IN));
    assert_eq!(read(&tty).unwrap(), b"hello world\n");
    assert_eq!(read(&tty), Err(Errno::EAGAIN));
    let shown = output.lock().unwrap().clone();
    assert!(shown.starts_with(b"helo\x08 \x08lo wrld"));
    assert!(shown.ends_with(b"world\r\nnext"));
}

#[test]
fn end_of_file_and_kill() {
    let (tty, _, _) = tty();
    tty.input(b"gone\x15abc\x04");
    assert_eq!(read(&tty).unwrap(), b"abc");
    tty.input(b"\x04");
    assert_eq!(read(&tty).unwrap(), b"");
    assert_eq!(read(&tty), Err(Errno::EAGAIN));
}

#[test]
fn control_c_is_a_signal_and_flushes() {
    let (tty, output, signals) = tty();
    tty.input(b"abc\x03\x1c\x1a");
    assert_eq!(*signals.lock().unwrap(), [SIGINT, SIGQUIT, SIGTSTP]);
    assert_eq!(*output.lock().unwrap(), b"abc^C^\\^Z");
    tty.input(b"\n");
    assert_eq!(read(&tty).unwrap(), b"\n");
}

#[test]
fn raw_mode_gives_bytes_as_they_come() {
    let (tty, output, signals) = tty();
    let mut argument = KernelArgument::default();
    tty.ioctl(command::TCGETS, &mut argument).unwrap();
    assert_eq!(argument.bytes.len(), 36);
    let mut settings = Settings::decode(&argument.bytes);
    settings.local -= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
    settings.input -= InputFlags::ICRNL | InputFlags::IXON;
    settings.output -= OutputFlags::OPOST;
    argument.bytes = settings.encode().to_vec();
    tty.input(b"ab");
    output.lock().unwrap().clear();
    tty.ioctl(command::TCSETS, &mut argument).unwrap();
    tty.input(b"\r\x03\x11");
    assert_eq!(read(&tty).unwrap(), b"ab\r\x03\x11");
    assert!(signals.lock().unwrap().is_empty());
    tty.write(0, &mut SliceSource::new(b"x\ny")).unwrap();
    assert_eq!(*output.lock().unwrap(), b"x\ny");
}

#[test]
fn newlines_get_carriage_returns_in_cooked_mode() {
    let (tty, output, _) = tty();
    assert_eq!(tty.write(0, &mut SliceSource::new(b"a\n\nb\n")), Ok(5));
    assert_eq!(*output.lock().unwrap(), b"a\r\n\r\nb\r\n");
}

/// A terminal in raw mode with these settings of VMIN and VTIME.
fn raw(minimum: u8, tenths: u8) -> Arc<Tty> {
    let (tty, _, _) = tty();
    let mut settings = Settings::default();
    settings.local -= LocalFlags::ICANON | LocalFlags::ECHO;
    let mut bytes = settings.encode();
    (bytes[17 + 5], bytes[17 + 6]) = (tenths, minimum);
    tty.ioctl(command::TCSETS, &mut KernelArgument::of_bytes(&bytes)).unwrap();
    tty
}

#[test]
fn a_raw_read_waits_for_bytes_and_time() {
    let at = |tenths: u64| Instant::from_nanoseconds(tenths * 100_000_000);
    hal::sim::set_now(at(10));
    let tty = raw(0, 0);
    assert_eq!((read(&tty), tty.read_ends(at(10))), (Ok(Vec::new()), None));

    let tty = raw(0, 2);
    assert_eq!(read(&tty), Err(Errno::EAGAIN));
    assert_eq!(tty.read_ends(at(10)), Some((at(12), true)));
    tty.input(b"a");
    assert_eq!(read(&tty).unwrap(), b"a");

    let tty = raw(3, 2);
    assert_eq!((read(&tty), tty.read_ends(at(10))), (Err(Errno::EAGAIN), None));
    tty.input(b"ab");
    assert_eq!(read(&tty), Err(Errno::EAGAIN));
    assert!(tty.poll().contains(PollEvents::IN));
    hal::sim::set_now(at(11));
    tty.input(b"c");
    assert_eq!(read(&tty).unwrap(), b"abc");
    tty.input(b"d");
    assert_eq!(tty.read_ends(at(10)), Some((at(13), false)));
    hal::sim::set_now(at(13));
    assert_eq!(read(&tty).unwrap(), b"d");

    let tty = raw(2, 0);
    tty.input(b"e");
    assert_eq!((read(&tty), tty.read_ends(at(13))), (Err(Errno::EAGAIN), None));
    assert!(!tty.poll().contains(PollEvents::IN));
}

#[test]
fn a_terminal_on_a_screen_leaves_it_to_the_program() {
    let (tty, _, _) = tty();
    let ask = |command: u32, value: u64| {
        let mut argument = KernelArgument::of_value(value);
        tty.ioctl(command, &mut argument).map(|_| argument.bytes)
    };
    // On a serial line there is no such thing.
    assert_eq!(ask(0x4b3b, 0), Err(Errno::ENOTTY));
    let shown = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&shown);
    tty.put_on_screen(Box::new(move |show| to.lock().unwrap().push(show)));
    assert_eq!(ask(0x4b3b, 0).unwrap(), [0; 4]);
    for mode in [1, 1, 0] {
        assert!(ask(0x4b3a, mode).is_ok());
    }
    assert_eq!(*shown.lock().unwrap(), [false, true]);
    assert_eq!(ask(0x4b3a, 4), Err(Errno::EINVAL));
    assert_eq!(tty.key_mode(), KeyMode::Unicode);
    let modes = [KeyMode::Raw, KeyMode::Latin, KeyMode::MediumRaw, KeyMode::Unicode, KeyMode::Off];
    for (number, mode) in (0..).zip(modes) {
        assert!(ask(0x4b45, number).is_ok());
        assert_eq!((tty.key_mode(), ask(0x4b44, 0).unwrap()[0]), (mode, number as u8));
    }
    for number in [5, 1 << 32, u64::MAX] {
        assert_eq!(ask(0x4b45, number), Err(Errno::EINVAL));
    }
    assert_eq!(tty.key_mode(), KeyMode::Off);
    assert_eq!(ask(0x5603, 0).unwrap(), [1, 0, 0, 0, 3, 0]);
    assert_eq!((ask(0x5606, 2), ask(0x5607, 1).is_ok()), (Err(Errno::ENXIO), true));
    assert_eq!(ask(0x5608, 0), Err(Errno::ENOTTY));
}
