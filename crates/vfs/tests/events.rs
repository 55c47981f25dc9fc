//! epoll, pipes and eventfd: the same random operations on Linux and here must give the same
//! results, events in the same order.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use base::io::{SliceSink, SliceSource};
use base::{Errno, Fd};
use proptest::prelude::*;
use rustix::event::epoll as linux_epoll;
use rustix::event::{EventfdFlags, Timespec};
use rustix::pipe::PipeFlags;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use vfs::epoll::{Epoll, Full, Interest};
use vfs::eventfd::EventFd;
use vfs::pipe::Pipe;
use vfs::{OpenFile, OpenFlags};

/// Files of both sides: 0, 1 eventfd; 2, 3 and 4, 5 the ends of two pipes; 6, 7 epoll; 8 the
/// semaphore kind of eventfd.
const FILES: usize = 9;

#[derive(Clone, Debug)]
enum Op {
    Add { epoll: usize, file: usize, events: u32, data: u64 },
    Modify { epoll: usize, file: usize, events: u32, data: u64 },
    Remove { epoll: usize, file: usize },
    Wait { epoll: usize, max: usize },
    Write { file: usize, count: usize },
    Read { file: usize, count: usize },
    Close(usize),
}

type Answer = Result<String, i32>;

struct Real(Vec<Option<OwnedFd>>);
struct Ours(Vec<Option<Arc<OpenFile>>>);

fn linux<T>(result: rustix::io::Result<T>, show: impl FnOnce(T) -> String) -> Answer {
    result.map(show).map_err(|errno| errno.raw_os_error())
}

fn ours<T>(result: Result<T, Errno>, show: impl FnOnce(T) -> String) -> Answer {
    result.map(show).map_err(|errno| i32::from(errno.number()))
}

fn done<T>(_: T) -> String {
    String::new()
}

const SKIPPED: Answer = Ok(String::new());

/// What is written: eventfd takes a number, which must not be too large to repeat.
fn content(file: usize, count: usize) -> Vec<u8> {
    match file {
        0 | 1 | 8 => (count as u64).to_le_bytes().to_vec(),
        _ => (0..count).map(|at| at as u8).collect(),
    }
}

impl Real {
    fn new() -> Self {
        let flags = EventfdFlags::NONBLOCK;
        let event = |flags| Some(rustix::event::eventfd(0, flags).unwrap());
        let pipe = || rustix::pipe::pipe_with(PipeFlags::NONBLOCK).unwrap();
        let epoll = || Some(linux_epoll::create(linux_epoll::CreateFlags::empty()).unwrap());
        let ((a, b), (c, d)) = (pipe(), pipe());
        let mut files = vec![event(flags), event(flags), Some(a), Some(b), Some(c), Some(d)];
        files.extend([epoll(), epoll(), event(flags | EventfdFlags::SEMAPHORE)]);
        Self(files)
    }

    fn pair(&self, epoll: usize, file: usize) -> Option<(&OwnedFd, &OwnedFd)> {
        Some((self.0[epoll].as_ref()?, self.0[file].as_ref()?))
    }

    fn apply(&mut self, op: &Op) -> Answer {
        match *op {
            Op::Add { epoll, file, events, data } => {
                let Some((epoll, file)) = self.pair(epoll, file) else { return SKIPPED };
                let flags = linux_epoll::EventFlags::from_bits_retain(events);
                let data = linux_epoll::EventData::new_u64(data);
                linux(linux_epoll::add(epoll, file, data, flags), done)
            }
            Op::Modify { epoll, file, events, data } => {
                let Some((epoll, file)) = self.pair(epoll, file) else { return SKIPPED };
                let flags = linux_epoll::EventFlags::from_bits_retain(events);
                let data = linux_epoll::EventData::new_u64(data);
                linux(linux_epoll::modify(epoll, file, data, flags), done)
            }
            Op::Remove { epoll, file } => {
                let Some((epoll, file)) = self.pair(epoll, file) else { return SKIPPED };
                linux(linux_epoll::delete(epoll, file), done)
            }
            Op::Wait { epoll, max } => {
                let Some(epoll) = &self.0[epoll] else { return SKIPPED };
                let mut list = Vec::with_capacity(max);
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                let spare = rustix::buffer::spare_capacity(&mut list);
                let result = linux_epoll::wait(epoll, spare, Some(&now));
                linux(result, |_| {
                    let show = |event: &linux_epoll::Event| {
                        let (flags, data) = (event.flags, event.data.u64());
                        format!("{:x} {data}", flags.bits())
                    };
                    list.iter().map(show).collect::<Vec<_>>().join(", ")
                })
            }
            Op::Write { file, count } => {
                let Some(fd) = &self.0[file] else { return SKIPPED };
                linux(rustix::io::write(fd, &content(file, count)), |count| count.to_string())
            }
            Op::Read { file, count } => {
                let Some(fd) = &self.0[file] else { return SKIPPED };
                let mut buffer = vec![0; count];
                let result = rustix::io::read(fd, &mut buffer[..]);
                linux(result, |count| format!("{:?}", &buffer[..count.min(16)]))
            }
            Op::Close(file) => {
                self.0[file] = None;
                SKIPPED
            }
        }
    }
}

impl Ours {
    fn new() -> Self {
        let both = OpenFlags::RDWR | OpenFlags::NONBLOCK;
        let read = OpenFlags::NONBLOCK;
        let write = OpenFlags::WRONLY | OpenFlags::NONBLOCK;
        let event = |semaphore| Some(OpenFile::new(EventFd::new(0, semaphore), both));
        let epoll = || Some(OpenFile::new(Epoll::new(), OpenFlags::RDWR));
        let mut files = vec![event(false), event(false)];
        for _ in 0..2 {
            let (reader, writer) = Pipe::pair(OpenFlags::empty());
            files.push(Some(OpenFile::new(reader, read)));
            files.push(Some(OpenFile::new(writer, write)));
        }
        files.extend([epoll(), epoll(), event(true)]);
        Self(files)
    }

    fn is_full(&self, writer: usize) -> bool {
        let open = self.0[writer].as_ref();
        open.is_some_and(|open| !open.file().poll().contains(sched::PollEvents::OUT))
    }

    /// As the system call epoll_ctl begins.
    fn control(
        &self,
        epoll: usize,
        file: usize,
        step: impl FnOnce(&Epoll, Fd, &Arc<OpenFile>) -> Result<(), Errno>,
    ) -> Answer {
        let (Some(outer), Some(open)) = (&self.0[epoll], &self.0[file]) else { return SKIPPED };
        let instance = outer.file().as_any().downcast_ref::<Epoll>().unwrap();
        if Arc::ptr_eq(outer, open) {
            return Err(i32::from(Errno::EINVAL.number()));
        }
        ours(step(instance, Fd(file as i32), open), done)
    }

    fn apply(&mut self, op: &Op) -> Answer {
        match *op {
            Op::Add { epoll, file, events, data } => {
                self.control(epoll, file, |epoll, fd, open| {
                    epoll.add(fd, open, Interest { events, data })
                })
            }
            Op::Modify { epoll, file, events, data } => {
                self.control(epoll, file, |epoll, fd, open| {
                    epoll.modify(fd, open, Interest { events, data })
                })
            }
            Op::Remove { epoll, file } => {
                self.control(epoll, file, |epoll, fd, open| epoll.remove(fd, open))
            }
            Op::Wait { epoll, max } => {
                let Some(outer) = &self.0[epoll] else { return SKIPPED };
                let instance = outer.file().as_any().downcast_ref::<Epoll>().unwrap();
                let mut list = Vec::new();
                let result = instance.collect(max, &mut |events, data| {
                    list.push(format!("{events:x} {data}"));
                    true
                });
                ours(result.map_err(|Full| Errno::EFAULT), |_| list.join(", "))
            }
            Op::Write { file, count } => {
                let Some(open) = &self.0[file] else { return SKIPPED };
                let written = open.write(&mut SliceSource::new(&content(file, count)));
                ours(written, |count| count.to_string())
            }
            Op::Read { file, count } => {
                let Some(open) = &self.0[file] else { return SKIPPED };
                let mut buffer = vec![0; count];
                let result = open.read(&mut SliceSink::new(&mut buffer));
                ours(result, |count| format!("{:?}", &buffer[..count.min(16)]))
            }
            Op::Close(file) => {
                self.0[file] = None;
                SKIPPED
            }
        }
    }
}

fn events() -> impl Strategy<Value = u32> {
    let wanted = prop::sample::select(vec![0_u32, 1, 4, 5, 0x2005, 0x45]);
    let flags = prop::sample::select(vec![0_u32, 0, 1 << 31, 1 << 31, 1 << 30, 1 << 28, 3 << 30]);
    (wanted, flags).prop_map(|(wanted, flags)| wanted | flags)
}

/// Linux counts what is in a pipe in whole pages, we in bytes: so one pipe only gets few bytes and
/// is never full, the other only whole pages.
fn fitting(file: usize, count: usize) -> usize {
    match file {
        2 | 3 => count % 20,
        4 | 5 => count.next_multiple_of(4096),
        _ => count,
    }
}

/// Of two instances that watch one file, Linux tells the one first that came last. The order of
/// events would show it when one instance watches the other: so each file has one instance.
fn instance(file: usize) -> usize {
    match file {
        0..4 | 7 => 6,
        _ => 7,
    }
}

fn op() -> impl Strategy<Value = Op> {
    let epoll = 6_usize..8;
    let file = 0..FILES;
    let count = prop_oneof![3 => 0_usize..20, 1 => Just(4096), 1 => Just(4097), 1 => Just(65_536), 1 => Just(70_000)];
    prop_oneof![
        4 => (file.clone(), events(), any::<u64>()).prop_map(|(file, events, data)| {
            Op::Add { epoll: instance(file), file, events, data }
        }),
        2 => (file.clone(), events(), any::<u64>()).prop_map(|(file, events, data)| {
            Op::Modify { epoll: instance(file), file, events, data }
        }),
        1 => file.clone().prop_map(|file| Op::Remove { epoll: instance(file), file }),
        6 => (epoll, prop_oneof![Just(1_usize), Just(16)])
            .prop_map(|(epoll, max)| Op::Wait { epoll, max }),
        6 => (file.clone(), count.clone()).prop_map(|(file, count)| Op::Write { file, count: fitting(file, count) }),
        5 => (file.clone(), count).prop_map(|(file, count)| Op::Read { file, count: fitting(file, count) }),
        1 => file.prop_map(Op::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1000),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn events_agree_with_linux(ops in prop::collection::vec(op(), 1..60)) {
        let (mut real, mut ours) = (Real::new(), Ours::new());
        for (at, op) in ops.iter().enumerate() {
            if matches!(op, Op::Write { file: 5, .. }) && ours.is_full(5) {
                // Linux wakes readers even of a write that failed; they find nothing new.
                continue;
            }
            let (expected, found) = (real.apply(op), ours.apply(op));
            prop_assert_eq!(&expected, &found, "operation {} of {:#?}", at, &ops[..=at]);
        }
    }
}
