//! Pseudo terminals, by both ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::io::{SliceSink, SliceSource};
use base::{Errno, Signal};
use sched::PollEvents;
use std::sync::{Arc, Mutex};
use vfs::tty::{Tty, TtyHooks};
use vfs::{KernelArgument, OpenFile, OpenFlags, Vfs};

const TIOCSCTTY: u32 = 0x540e;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;

type Signals = Arc<Mutex<Vec<u8>>>;

fn tree() -> (Arc<Vfs>, Signals) {
    let signals = Signals::default();
    let sent = Arc::clone(&signals);
    let hooks = TtyHooks {
        output: Box::new(|_| ()),
        signal: Box::new(move |Signal(number)| sent.lock().unwrap().push(number)),
    };
    let mut writer = bundle::Writer::new();
    writer.directory(b"etc", bundle::Metadata::root(0o755)).unwrap();
    let archive = bundle::Archive::new(Box::leak(writer.finish().into_boxed_slice()));
    let vfs = Vfs::new(vfs::archive::root_of(&archive).unwrap());
    let random: vfs::dev::RandomHook = Arc::new(|bytes: &mut [u8]| bytes.fill(9));
    vfs::dev::mount(&vfs, &random, Tty::new(hooks, 2)).unwrap();
    (vfs, signals)
}

fn open(vfs: &Vfs, path: &str) -> Result<Arc<OpenFile>, Errno> {
    vfs.open(vfs.at_root(), path.as_bytes(), OpenFlags::RDWR, 0)
}

fn ioctl(open: &OpenFile, command: u32) -> Result<Vec<u8>, Errno> {
    let mut argument = KernelArgument::of_bytes(&[0; 64]);
    open.file().ioctl(command, &mut argument).map(|_| argument.bytes)
}

fn read(open: &OpenFile) -> Result<Vec<u8>, Errno> {
    let mut buffer = [0; 300];
    let count = open.read(&mut SliceSink::new(&mut buffer))?;
    Ok(buffer[..count].to_vec())
}

fn pair(vfs: &Vfs) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let master = open(vfs, "/dev/ptmx").unwrap();
    let number = ioctl(&master, TIOCGPTN).unwrap()[0];
    let path = format!("/dev/pts/{number}");
    assert_eq!(open(vfs, &path).err(), Some(Errno::EIO), "locked");
    ioctl(&master, TIOCSPTLCK).unwrap();
    let slave = open(vfs, &path).unwrap();
    (master, slave)
}

#[test]
fn what_one_end_writes_the_other_reads() {
    let (vfs, _) = tree();
    let (master, slave) = pair(&vfs);
    assert_eq!(read(&master), Err(Errno::EAGAIN));
    slave.write(&mut SliceSource::new(b"out\n")).unwrap();
    assert_eq!(read(&master).unwrap(), b"out\r\n");
    master.write(&mut SliceSource::new(b"in\r")).unwrap();
    assert_eq!(read(&slave).unwrap(), b"in\n");
    assert_eq!(read(&master).unwrap(), b"in\r\n");
    drop(slave);
    assert!(master.file().poll().contains(PollEvents::HUP));
    assert_eq!(read(&master), Err(Errno::EIO));
}

#[test]
fn a_terminal_ends_with_its_master() {
    let (vfs, signals) = tree();
    let (master, slave) = pair(&vfs);
    drop(master);
    assert_eq!(read(&slave).unwrap(), b"");
    assert_eq!(slave.write(&mut SliceSource::new(b"x")), Err(Errno::EIO));
    assert_eq!(open(&vfs, "/dev/pts/0").err(), Some(Errno::ENOENT));
    // Its number is taken as long as it is open.
    let (_, second) = pair(&vfs);
    assert_eq!(second.metadata().unwrap().special_device, 136 << 8 | 1);
    drop(slave);
    let (_master, third) = pair(&vfs);
    assert_eq!(third.metadata().unwrap().special_device, 136 << 8);
    assert!(signals.lock().unwrap().is_empty(), "it controlled no session");
}

#[test]
fn numbers_end() {
    let (vfs, _) = tree();
    let all: Vec<_> = (0..256).map(|_| open(&vfs, "/dev/ptmx").unwrap()).collect();
    assert_eq!(open(&vfs, "/dev/ptmx").err(), Some(Errno::ENOSPC));
    drop(all);
    assert!(open(&vfs, "/dev/ptmx").is_ok());
}

#[test]
fn a_session_has_one_terminal() {
    let (vfs, signals) = tree();
    let (master, slave) = pair(&vfs);
    ioctl(&slave, TIOCSWINSZ).unwrap();
    assert_eq!(ioctl(&slave, TIOCNOTTY).err(), Some(Errno::ENOTTY));
    assert_eq!(ioctl(&slave, TIOCSCTTY).err(), Some(Errno::EPERM));
    let console = open(&vfs, "/dev/tty").unwrap();
    ioctl(&console, TIOCNOTTY).unwrap();
    assert_eq!(open(&vfs, "/dev/tty").err(), Some(Errno::ENXIO));
    ioctl(&slave, TIOCSCTTY).unwrap();
    let same = open(&vfs, "/dev/tty").unwrap();
    same.write(&mut SliceSource::new(b"x")).unwrap();
    assert_eq!(read(&master).unwrap(), b"x");
    master.write(&mut SliceSource::new(b"\x03")).unwrap();
    drop(master);
    assert_eq!(*signals.lock().unwrap(), [1, 18, 2, 1, 18]);
}
