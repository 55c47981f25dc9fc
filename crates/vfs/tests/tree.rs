//! The tree as a program finds it: archive files in place, devices, /proc, descriptors, timers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::io::{SliceSink, SliceSource};
use base::{Errno, Fd, Instant, Pid, Tid};
use bundle::{Archive, Metadata, Writer};
use core::time::Duration;
use std::sync::{Arc, Weak};
use vfs::pipe::Pipe;
use vfs::pseudo::{ProcFile, ProcSource};
use vfs::timerfd::{TimerFd, TimerSetting};
use vfs::tty::{Tty, TtyHooks};
use vfs::{FdTable, File, FileType, InodeRef, OpenFile, OpenFlags, Vfs, Whence};

fn archive() -> Archive<'static> {
    let mut writer = Writer::new();
    let file = Metadata::root(0o644);
    writer.directory(b"etc", Metadata::root(0o755)).unwrap();
    writer.file(b"etc/hosts", file, b"127.0.0.1 localhost\n").unwrap();
    writer.file(b"srv/deep/big", file, &[7; 10_000]).unwrap();
    writer.symlink(b"link", file, b"etc/hosts").unwrap();
    Archive::new(Box::leak(writer.finish().into_boxed_slice()))
}

fn tree() -> Arc<Vfs> {
    let vfs = Vfs::new(vfs::archive::root_of(&archive()).unwrap());
    let hooks = TtyHooks { output: Box::new(|_| ()), signal: Box::new(|_| ()) };
    let random: vfs::dev::RandomHook = Arc::new(|bytes: &mut [u8]| bytes.fill(9));
    vfs::dev::mount(&vfs, &random, Tty::new(hooks, 2)).unwrap();
    vfs
}

fn open(vfs: &Vfs, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
    vfs.open(vfs.at_root(), path.as_bytes(), flags, 0o644)
}

fn read_all(open: &OpenFile) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 777];
    loop {
        let count = open.read(&mut SliceSink::new(&mut buffer)).unwrap();
        all.extend_from_slice(&buffer[..count]);
        if count == 0 {
            return all;
        }
    }
}

fn content(vfs: &Vfs, path: &str) -> String {
    String::from_utf8(read_all(&open(vfs, path, OpenFlags::empty()).unwrap())).unwrap()
}

#[test]
fn archive_files_lie_in_place_until_they_are_written() {
    let vfs = tree();
    assert_eq!(content(&vfs, "/link"), "127.0.0.1 localhost\n");
    let open = open(&vfs, "/srv/deep/big", OpenFlags::RDWR).unwrap();
    let whole = open.file().frame(0, false).unwrap();
    assert!(whole.is_archive());
    // The last page is not whole: what follows in the archive must not show.
    let last = open.file().frame(2, false).unwrap();
    assert!(!last.is_archive());
    let mut byte = [1; 2];
    last.read(10_000 - 8192 - 1, &mut byte);
    assert_eq!(byte, [7, 0]);
    assert_eq!(open.file().frame(3, false).err(), Some(Errno::ENXIO));
    // A write copies its page; a mapping made before keeps the old one.
    open.write_at(4095, &mut SliceSource::new(b"ab")).unwrap();
    assert!(!open.file().frame(0, true).unwrap().is_archive());
    assert!(open.file().frame(0, false).unwrap().same(&open.file().frame(0, true).unwrap()));
    let all = read_all(&open);
    assert_eq!(all.len(), 10_000);
    assert_eq!(&all[4094..4098], [7, b'a', b'b', 7]);
    // Cut and grown again, the archive's bytes stay gone.
    open.file().truncate(5000).unwrap();
    open.file().truncate(9000).unwrap();
    let mut tail = [1; 4000];
    let count = open.read_at(4998, &mut SliceSink::new(&mut tail)).unwrap();
    assert_eq!(count, 4000);
    assert_eq!(&tail[..3], [7, 7, 0]);
    assert!(tail[2..].iter().all(|byte| *byte == 0));
}

/// A program can make a hole of exabytes with one call; looking for what follows it must not take
/// longer than looking for what there is.
#[test]
fn a_hole_of_exabytes_is_passed_at_once() {
    const FAR: i64 = 1 << 60;
    let vfs = tree();
    let open = open(&vfs, "/sparse", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
    open.write_at(5000, &mut SliceSource::new(b"near")).unwrap();
    open.write_at(FAR as u64 + 5000, &mut SliceSource::new(b"far")).unwrap();
    open.file().truncate(1 << 62).unwrap();
    assert_eq!(open.seek(Whence::Data, 0), Ok(4096));
    assert_eq!(open.seek(Whence::Hole, 4096), Ok(8192));
    assert_eq!(open.seek(Whence::Data, 8192), Ok(FAR as u64 + 4096));
    assert_eq!(open.seek(Whence::Hole, FAR + 4096), Ok(FAR as u64 + 8192));
    assert_eq!(open.seek(Whence::Data, FAR + 8192), Err(Errno::ENXIO));
}

#[test]
fn a_full_memory_is_enospc() {
    hal::sim::reset(1, 3000);
    let vfs = tree();
    let open = open(&vfs, "/tmp/big", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    let chunk = vec![1; 1 << 20];
    let mut written = 0;
    let error = loop {
        match open.write(&mut SliceSource::new(&chunk)) {
            Ok(count) => written += count,
            Err(errno) => break errno,
        }
    };
    assert_eq!(error, Errno::ENOSPC);
    assert_eq!(written, 1500 * 4096, "half of the memory");
    assert_eq!(open.file().allocate(0, 0, 1500 * 4096), Ok(()), "they are there already");
    assert_eq!(open.file().allocate(0, 0, 1501 * 4096), Err(Errno::ENOSPC));
    open.file().truncate(0).unwrap();
    assert_eq!(hal::memory::statistics().free, 3000);
    // What else uses memory does not count, as long as there is some.
    let others: Vec<_> = (0..2500).map(|_| hal::memory::Frame::zeroed().unwrap()).collect();
    assert_eq!(open.write(&mut SliceSource::new(&[1; 4096])), Ok(4096));
    drop(others);
}

#[test]
fn devices_do_what_they_are_known_for() {
    let vfs = tree();
    let mut bytes = [1; 5];
    let zero = open(&vfs, "/dev/zero", OpenFlags::RDWR).unwrap();
    assert_eq!(zero.read(&mut SliceSink::new(&mut bytes)), Ok(5));
    assert_eq!(bytes, [0; 5]);
    let null = open(&vfs, "/dev/null", OpenFlags::RDWR).unwrap();
    assert_eq!(null.read(&mut SliceSink::new(&mut bytes)), Ok(0));
    assert_eq!(null.write(&mut SliceSource::new(&bytes)), Ok(5));
    let full = open(&vfs, "/dev/full", OpenFlags::WRONLY).unwrap();
    assert_eq!(full.write(&mut SliceSource::new(&bytes)), Err(Errno::ENOSPC));
    let random = open(&vfs, "/dev/urandom", OpenFlags::empty()).unwrap();
    assert_eq!(random.read(&mut SliceSink::new(&mut bytes)), Ok(5));
    assert_eq!(bytes, [9; 5]);
    assert_eq!(null.metadata().unwrap().special_device, 0x103);
    vfs.mknod(vfs.at_root(), b"/tmp/none", FileType::CharacterDevice, 0o600, 0x7777).unwrap();
    assert_eq!(open(&vfs, "/tmp/none", OpenFlags::empty()).err(), Some(Errno::ENXIO));
    assert_eq!(vfs.rmdir(vfs.at_root(), b"/dev/shm"), Err(Errno::EBUSY));
    assert_eq!(
        vfs.rename(vfs.at_root(), b"/dev/null", vfs.at_root(), b"/tmp/x", Default::default()),
        Err(Errno::EXDEV)
    );
}

struct Process {
    files: Arc<FdTable>,
    root: InodeRef,
}

impl ProcSource for Process {
    fn process_id(&self) -> Pid {
        Pid(2)
    }
    fn threads(&self) -> Vec<Tid> {
        vec![Tid(2), Tid(5)]
    }
    fn files(&self) -> Option<Arc<FdTable>> {
        Some(Arc::clone(&self.files))
    }
    fn working_directory(&self) -> Option<InodeRef> {
        Some(self.root.clone())
    }
    fn interfaces(&self) -> Vec<vfs::Interface> {
        vec![vfs::Interface {
            name: "eth7".to_owned(),
            index: 9,
            address: [2, 0, 0, 0xab, 0, 1],
            broadcast: [0xff; 6],
            mtu: 1400,
            hardware: 1,
            flags: 0x1_1043,
            state: "up",
            received: [3, 4],
            sent: [5, 6],
            sent_dropped: 7,
        }]
    }
    fn executable(&self) -> String {
        "/bin/app".to_owned()
    }
    fn content(&self, file: ProcFile, thread: Tid, _whole: bool) -> Vec<u8> {
        format!("{file:?} of {thread}").into_bytes()
    }
}

fn list(vfs: &Vfs, path: &str) -> Vec<String> {
    let place = vfs.resolve(vfs.at_root(), path.as_bytes(), true).unwrap();
    let mut names = Vec::new();
    // One entry a call: the cookies must carry on.
    let mut from = 0;
    loop {
        let before = names.len();
        place
            .inode
            .list(from, &mut |entry| {
                names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                from = entry.next;
                false
            })
            .unwrap();
        if names.len() == before {
            return names;
        }
    }
}

#[test]
fn proc_shows_the_process() {
    let vfs = tree();
    let process = Arc::new(Process { files: Arc::new(FdTable::new()), root: vfs.root().clone() });
    let weak: Weak<Process> = Arc::downgrade(&process);
    vfs.mount_pseudo(weak).unwrap();
    assert_eq!(content(&vfs, "/proc/self/status"), "Status of 2");
    assert_eq!(content(&vfs, "/proc/2/task/5/stat"), "Stat of 5");
    assert_eq!(content(&vfs, "/proc/sys/kernel/ostype"), "Linux\n");
    assert_eq!(content(&vfs, "/sys/devices/system/cpu/online"), "0\n");
    assert_eq!(content(&vfs, "/sys/devices/system/cpu/offline"), "\n");
    assert_eq!(content(&vfs, "/sys/devices/system/cpu/cpu0/topology/core_cpus"), "1\n");
    assert!(list(&vfs, "/sys/devices/system/cpu").contains(&"cpu0".to_owned()));
    assert_eq!(list(&vfs, "/sys/class/net"), ["eth7"]);
    for (name, text) in [
        ("address", "02:00:00:ab:00:01\n"),
        ("flags", "0x1043\n"),
        ("ifindex", "9\n"),
        ("operstate", "up\n"),
        ("statistics/tx_dropped", "7\n"),
    ] {
        assert_eq!(content(&vfs, &format!("/sys/class/net/eth7/{name}")), text);
    }
    for path in ["/sys/class/net/eth8", "/sys/devices/system/cpu/cpu1"] {
        let found = vfs.resolve(vfs.at_root(), path.as_bytes(), true);
        assert_eq!(found.err(), Some(Errno::ENOENT), "{path}");
    }
    assert!(content(&vfs, "/proc/self/mountinfo").contains(" / /proc rw,"));
    assert!(content(&vfs, "/proc/meminfo").starts_with("MemTotal: "));
    assert_eq!(list(&vfs, "/proc/self/task"), ["2", "5"]);
    assert!(list(&vfs, "/proc").contains(&"2".to_owned()));
    assert!(!list(&vfs, "/proc/2/task/5").contains(&"task".to_owned()));

    let (reader, writer) = Pipe::pair(OpenFlags::empty());
    process.files.insert(open(&vfs, "/etc/hosts", OpenFlags::empty()).unwrap(), false).unwrap();
    process.files.insert(OpenFile::new(reader, OpenFlags::empty()), false).unwrap();
    process.files.insert(OpenFile::new(writer, OpenFlags::WRONLY), false).unwrap();
    assert_eq!(list(&vfs, "/proc/self/fd"), ["0", "1", "2"]);
    assert_eq!(content(&vfs, "/dev/stdin"), "127.0.0.1 localhost\n");
    let again = open(&vfs, "/proc/self/fd/2", OpenFlags::WRONLY).unwrap();
    again.write(&mut SliceSource::new(b"hi")).unwrap();
    let mut bytes = [0; 2];
    process.files.get(Fd(1)).unwrap().read(&mut SliceSink::new(&mut bytes)).unwrap();
    assert_eq!(&bytes, b"hi");
    let text = |path: &str| {
        let place = vfs.resolve(vfs.at_root(), path.as_bytes(), false).unwrap();
        String::from_utf8(place.inode.link_text().unwrap()).unwrap()
    };
    assert_eq!(text("/proc/self/fd/0"), "/etc/hosts");
    assert!(text("/proc/self/fd/1").starts_with("pipe:["));
    assert_eq!(text("/proc/self/exe"), "/bin/app");
    assert_eq!(text("/proc/self/cwd"), "/");
    vfs.unlink(vfs.at_root(), b"/etc/hosts").unwrap();
    assert_eq!(text("/proc/self/fd/0"), "/etc/hosts (deleted)");
    // What Linux answers to attempts to make something there.
    let at = vfs.at_root();
    let create = OpenFlags::CREAT | OpenFlags::RDWR;
    assert_eq!(open(&vfs, "/proc/new", create).err(), Some(Errno::ENOENT));
    assert_eq!(vfs.mkdir(at, b"/proc/new", 0o755).err(), Some(Errno::ENOENT));
    assert_eq!(open(&vfs, "/sys/new", create).err(), Some(Errno::EACCES));
    assert_eq!(vfs.mkdir(at, b"/sys/new", 0o755).err(), Some(Errno::EPERM));
    assert_eq!(vfs.unlink(at, b"/proc/version").err(), Some(Errno::EPERM));
}

#[test]
fn descriptors_are_the_lowest_free_ones() {
    let vfs = tree();
    let table = FdTable::new();
    let file = open(&vfs, "/etc/hosts", OpenFlags::empty()).unwrap();
    let take = || table.insert(Arc::clone(&file), false).map(|fd| fd.0);
    for expected in 0..200 {
        assert_eq!(take(), Ok(expected));
    }
    for closed in [130, 3, 64] {
        table.close(Fd(closed)).unwrap();
    }
    assert_eq!(table.close(Fd(64)), Err(Errno::EBADF));
    assert_eq!(table.insert_from(5, Arc::clone(&file), true), Ok(Fd(64)));
    assert_eq!(table.close_on_exec(Fd(64)), Ok(true));
    assert_eq!((take(), take(), take()), (Ok(3), Ok(130), Ok(200)));
    table.set_limit(201);
    assert_eq!(take(), Err(Errno::EMFILE));
    assert_eq!(table.insert_from(201, Arc::clone(&file), false), Err(Errno::EINVAL));
    assert_eq!(table.replace(Fd(201), Arc::clone(&file), false), Err(Errno::EBADF));
    table.close_range(10, 150, false);
    assert_eq!(table.open_count(), 201 - 141);
    assert_eq!(table.next_open(10), Some(Fd(151)));
    assert_eq!(take(), Ok(10));
    table.set_limit(1 << 20);
    table.replace(Fd((1 << 20) - 1), Arc::clone(&file), false).unwrap();
    assert_eq!(take(), Ok(11));
}

#[test]
fn a_table_that_was_large_gives_its_room_back() {
    let vfs = tree();
    let table = FdTable::new();
    let file = open(&vfs, "/etc/hosts", OpenFlags::empty()).unwrap();
    table.set_limit(1 << 20);
    let put = |fd| table.replace(Fd(fd), Arc::clone(&file), false).unwrap();
    for fd in [0, 1, 700, 200_000, 1_000_000] {
        put(fd);
    }
    table.close(Fd(200_000)).unwrap();
    assert!(table.size() > 1_000_000, "the highest is still open");
    table.close(Fd(1_000_000)).unwrap();
    assert!((701..=2048).contains(&table.size()), "{}", table.size());
    assert!(table.get(Fd(700)).is_ok() && table.get(Fd(701)).is_err());
    let take = || table.insert(Arc::clone(&file), false).map(|fd| fd.0);
    for expected in (2..700).chain(701..5000) {
        assert_eq!(take(), Ok(expected));
    }
    table.close_range(2, u32::MAX, false);
    assert!(table.size() <= 512, "{}", table.size());
    assert_eq!((table.open_count(), take()), (2, Ok(2)));
}

#[test]
fn timers_tell_when_they_expire() {
    let timers = sched::Timers::new(1);
    let timer = TimerFd::new(&timers, false);
    let start = hal::clock::now();
    let second = Duration::from_secs(1);
    let setting = TimerSetting { next: Some(start + second), interval: second };
    assert_eq!(timer.set(setting, start), TimerSetting::default());
    let mut bytes = [0; 8];
    assert_eq!(timer.read(0, &mut SliceSink::new(&mut bytes)), Err(Errno::EAGAIN));
    assert_eq!(timers.next(), Some(start + second));
    hal::sim::set_now(Instant::ZERO + Duration::from_millis(3500));
    assert_eq!(timers.expire(hal::clock::now()), 1);
    assert_eq!(timers.next(), None, "it runs on though nobody looks");
    assert!(timer.poll().contains(sched::PollEvents::IN));
    assert_eq!(timer.read(0, &mut SliceSink::new(&mut bytes)), Ok(8));
    assert_eq!(u64::from_le_bytes(bytes), 3);
    assert_eq!(timers.next(), Some(start + 4 * second));
    assert_eq!(timer.get(hal::clock::now()).next, Some(start + 4 * second));
    hal::sim::set_now(Instant::ZERO + Duration::from_millis(4100));
    assert_eq!(timers.expire(hal::clock::now()), 1);
    assert_eq!(timers.next(), None);
    assert_eq!(timer.get(hal::clock::now()).next, Some(start + 5 * second));
    assert_eq!(timers.next(), Some(start + 5 * second), "a look lets it go on");
    assert_eq!(timer.read(0, &mut SliceSink::new(&mut bytes)), Ok(8));
    assert_eq!(u64::from_le_bytes(bytes), 1);
    drop(timer);
    assert_eq!(timers.next(), None);
}
