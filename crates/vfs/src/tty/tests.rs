use super::settings::InputFlags;
use super::*;
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

struct Argument(Vec<u8>);

impl IoctlArgument for Argument {
    fn value(&self) -> u64 {
        0
    }
    fn load(&mut self, into: &mut [u8]) -> Result<(), Errno> {
        into.copy_from_slice(&self.0[..into.len()]);
        Ok(())
    }
    fn store(&mut self, from: &[u8]) -> Result<(), Errno> {
        self.0 = from.to_vec();
        Ok(())
    }
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
    let mut argument = Argument(Vec::new());
    tty.ioctl(command::TCGETS, &mut argument).unwrap();
    assert_eq!(argument.0.len(), 36);
    let mut settings = Settings::decode(&argument.0);
    settings.local -= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
    settings.input -= InputFlags::ICRNL | InputFlags::IXON;
    settings.output -= OutputFlags::OPOST;
    argument.0 = settings.encode().to_vec();
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
