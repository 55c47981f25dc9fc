//! Pipes, with and without a name (pipe(7), fifo(7)).

mod packets;
mod ring;

use self::packets::Packets;
use self::ring::Ring;
use crate::file::{File, FileRef, IoctlArgument};
use crate::flags::OpenFlags;
use crate::metadata::{FileType, Metadata};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::Errno;
use base::io::{Sink, SliceSource, Source, drain, fill, take_all};
use base::sync::{Rank, SpinLock, lock_both};
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use sched::{Notifier, PollEvents};

/// Writes up to this long are atomic, in bytes.
pub const PIPE_BUF: usize = 4096;
/// Capacity of a new pipe, in bytes.
pub const PIPE_BYTES: usize = 65_536;
/// Largest capacity (/proc/sys/fs/pipe-max-size), in bytes.
pub const PIPE_BYTES_MAX: usize = 1 << 20;

/// ioctl: how many bytes can be read.
const FIONREAD: u32 = 0x541b;

struct State {
    ring: Ring,
    /// `None` until a packet is written: most pipes never see one, and are the faster for it.
    packets: Option<Box<Packets>>,
    readers: usize,
    writers: usize,
    /// How often a reader or writer opened it: a blocking open waits for one to come, even if it
    /// is gone again.
    reader_opens: u64,
    writer_opens: u64,
}

impl State {
    /// Bytes that can be written: none while packets take all pages.
    fn room(&self) -> usize {
        match &self.packets {
            Some(packets) if packets.room(self.ring.capacity) == 0 => 0,
            _ => self.ring.room(),
        }
    }

    /// The same for packets of `wanted` bytes in all, and memory to keep book of what fits: before a byte
    /// is written, for all that are, are packets. Apart from the usual way, which is short.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[cold]
    fn room_for_packets(&mut self, wanted: usize) -> Result<usize, Errno> {
        let packets = self.packets.get_or_insert_default();
        let pages = packets.room(self.ring.capacity);
        let room = self.ring.room().min(pages.saturating_mul(PIPE_BUF));
        packets.reserve(room.min(wanted))?;
        Ok(room)
    }

    fn take_out(&mut self, count: usize) {
        self.ring.consume(count);
        if let Some(packets) = &mut self.packets {
            packets.took(count);
        }
    }
}

/// What both ends share.
pub struct Pipe {
    number: u64,
    own: Weak<Self>,
    state: SpinLock<State>,
    /// Who may read. Apart from the writers, so that a write is no edge for its own end.
    readers: Notifier,
    /// Who may write.
    writers: Notifier,
    /// Ends open for both (FIFOs).
    both: Notifier,
}

impl Pipe {
    /// A pipe without ends (as a FIFO that nobody opened).
    #[must_use]
    pub fn new() -> Arc<Self> {
        let ring = Ring::new();
        let state =
            State { ring, packets: None, readers: 0, writers: 0, reader_opens: 0, writer_opens: 0 };
        Arc::new_cyclic(|own| Self {
            number: crate::anonymous::next_number(),
            own: own.clone(),
            state: SpinLock::ranked(Rank::Pipe, state),
            readers: Notifier::new(),
            writers: Notifier::new(),
            both: Notifier::new(),
        })
    }

    fn tell_readers(&self, events: PollEvents) {
        self.readers.notify(events);
        self.both.notify(events);
    }

    fn tell_writers(&self, events: PollEvents) {
        self.writers.notify(events);
        self.both.notify(events);
    }

    /// Bytes were taken out of the ring. Writers hear of it only when there is room for an atomic
    /// write again and was not before: as Linux, which counts whole pages.
    fn made_room(&self, before: usize, after: usize) {
        if before < PIPE_BUF && after >= PIPE_BUF {
            self.tell_writers(PollEvents::WRITABLE);
        }
    }

    /// pipe2(2): the end to read from and the end to write to. Of the flags only `DIRECT` matters
    /// here.
    #[must_use]
    pub fn pair(flags: OpenFlags) -> (FileRef, FileRef) {
        let pipe = Self::new();
        let writer = PipeEnd::of(&pipe, false, true, false);
        writer.status_flags_changed(flags);
        (PipeEnd::of(&pipe, true, false, false) as FileRef, writer as FileRef)
    }

    /// Bytes that can be read.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.length
    }

    /// `F_GETPIPE_SZ`, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.state.lock().ring.capacity
    }

    /// `F_SETPIPE_SZ`: rounds up to a power of two of pages and returns it.
    ///
    /// # Errors
    /// `EINVAL`: out of range. `EBUSY`: more bytes than that are in it.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize, Errno> {
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let capacity = bytes.max(PIPE_BUF).next_power_of_two();
        let mut state = self.state.lock();
        if capacity < state.ring.length
            || state.packets.as_ref().is_some_and(|packets| capacity / PIPE_BUF < packets.count())
        {
            return Err(Errno::EBUSY);
        }
        if state.ring.bytes.len() > capacity {
            state.ring.resize(capacity)?;
        }
        state.ring.capacity = capacity;
        drop(state);
        self.tell_writers(PollEvents::WRITABLE);
        Ok(capacity)
    }

    /// Bytes that a write would find room for. 0 also when nobody reads.
    #[must_use]
    pub fn room(&self) -> usize {
        self.state.lock().room()
    }

    /// Moves up to `limit` bytes to another pipe (splice), or copies them (tee, `keep`).
    ///
    /// # Errors
    /// `EAGAIN`: nothing here yet, or no room there. `EPIPE`: nobody reads there. `EINVAL`: the
    /// same pipe.
    pub fn move_to(&self, to: &Self, limit: usize, keep: bool) -> Result<usize, Errno> {
        if core::ptr::eq(self, to) {
            return Err(Errno::EINVAL);
        }
        let (moved, before, after) = {
            let (mut from, mut into) = lock_both(&self.state, &to.state);
            if into.readers == 0 {
                return Err(Errno::EPIPE);
            }
            if from.ring.length == 0 && from.writers == 0 {
                return Ok(0);
            }
            let count = limit.min(from.ring.length).min(into.room());
            if count == 0 {
                return Err(Errno::EAGAIN);
            }
            into.ring.grow_for(count)?;
            let before = from.room();
            from.ring.copy_to(&mut into.ring, count);
            if !keep {
                from.take_out(count);
            }
            (count, before, from.room())
        };
        self.made_room(before, after);
        to.tell_readers(PollEvents::READABLE);
        Ok(moved)
    }

    /// Takes what there is. Stops, as [`Sink::put_present`] does.
    fn read(&self, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        if sink.room() == 0 {
            return Ok(0);
        }
        if state.ring.length == 0 {
            return if state.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let before = state.room();
        let mut done = 0;
        // To the end of a packet: what comes behind it is for the next read.
        let mut left = state.packets.as_ref().map_or(usize::MAX, |packets| packets.readable());
        while left > 0 && sink.room() > 0 && state.ring.length > 0 {
            let piece = state.ring.front();
            let count = piece.len().min(sink.room()).min(left);
            let moved = sink.put_present(piece.get(..count).unwrap_or_default());
            state.take_out(moved);
            left -= moved;
            done += moved;
            if moved < count {
                break;
            }
        }
        if let (Some(packets), 0) = (&state.packets, sink.room()) {
            let rest = packets.rest();
            state.take_out(rest);
        }
        let after = state.room();
        drop(state);
        self.made_room(before, after);
        Ok(done)
    }

    /// Puts in what there is room for. Stops, as [`Source::take_present`] does, but not within an
    /// atomic write. `packets`: each page of it is one.
    fn write(&self, source: &mut dyn Source, packets: bool) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        let wanted = source.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let room = if packets { state.room_for_packets(wanted)? } else { state.room() };
        if room == 0 || (wanted <= PIPE_BUF && room < wanted) {
            return Err(Errno::EAGAIN);
        }
        state.ring.grow_for(wanted)?;
        let mut done = 0;
        while source.remaining() > 0 && room > done {
            let limit = (room - done).min(source.remaining());
            let piece = state.ring.back();
            let count = piece.len().min(limit);
            let moved = source.take_present(piece.get_mut(..count).unwrap_or_default());
            state.ring.length += moved;
            done += moved;
            if moved < count || count == 0 {
                break;
            }
        }
        if done < wanted && wanted <= PIPE_BUF {
            let begun = state.ring.withdraw(done);
            drop(state);
            return self.write_whole(&begun, source, packets);
        }
        let before = state.ring.length - done;
        if let (true, Some(packets)) = (packets, &mut state.packets) {
            packets.wrote(before, done);
        }
        drop(state);
        if done == 0 {
            return Ok(0);
        }
        self.tell_readers(PollEvents::READABLE);
        Ok(done)
    }
}

impl Pipe {
    /// An atomic write that began with `begun` and stopped at the program's memory: nobody else's
    /// bytes may come between.
    fn write_whole(
        &self,
        begun: &[u8],
        source: &mut dyn Source,
        packets: bool,
    ) -> Result<usize, Errno> {
        let mut bytes = take_all(source, begun.len())?;
        for (to, from) in bytes.iter_mut().zip(begun) {
            *to = *from;
        }
        self.write(&mut SliceSource::new(&bytes), packets)
    }
}

/// One open end of a pipe, or both (a FIFO opened for reading and writing).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    readable: bool,
    writable: bool,
    named: bool,
    /// Writes are packets (`O_DIRECT`).
    packets: AtomicBool,
    /// Opens of the other side that had been when this end was opened.
    peer_opens: u64,
}

impl PipeEnd {
    fn of(pipe: &Arc<Pipe>, readable: bool, writable: bool, named: bool) -> Arc<Self> {
        let mut state = pipe.state.lock();
        // A FIFO end whose other side is there already does not wait for it.
        let peer_opens = match (readable, writable) {
            (true, false) => state.writer_opens - u64::from(state.writers > 0),
            (false, true) => state.reader_opens - u64::from(state.readers > 0),
            _ => 0,
        };
        if readable {
            state.readers += 1;
            state.reader_opens += 1;
        }
        if writable {
            state.writers += 1;
            state.writer_opens += 1;
        }
        drop(state);
        if named {
            pipe.tell_readers(PollEvents::empty());
            pipe.tell_writers(PollEvents::empty());
        }
        let packets = AtomicBool::new(false);
        Arc::new(Self { pipe: Arc::clone(pipe), readable, writable, named, packets, peer_opens })
    }

    /// Opens a FIFO, or reopens a pipe by way of /proc/self/fd.
    ///
    /// # Errors
    /// `ENXIO`: for writing only, not blocking, and nobody reads.
    pub fn open(pipe: &Arc<Pipe>, flags: OpenFlags, named: bool) -> Result<FileRef, Errno> {
        let (readable, writable) = (flags.is_readable(), flags.is_writable());
        let write_only = writable && !readable;
        if write_only && flags.contains(OpenFlags::NONBLOCK) && pipe.state.lock().readers == 0 {
            return Err(Errno::ENXIO);
        }
        let end = Self::of(pipe, readable, writable, named);
        end.status_flags_changed(flags);
        Ok(end)
    }

    /// The pipe.
    #[must_use]
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// A FIFO end opened without `O_NONBLOCK` is open only when this is true: another end for the
    /// other direction has been opened since.
    #[must_use]
    pub fn peer_arrived(&self) -> bool {
        let state = self.pipe.state.lock();
        match (self.readable, self.writable) {
            (true, false) => state.writer_opens > self.peer_opens,
            (false, true) => state.reader_opens > self.peer_opens,
            _ => true,
        }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let (mut last_reader, mut last_writer) = (false, false);
        {
            let mut state = self.pipe.state.lock();
            if self.readable {
                state.readers -= 1;
                last_reader = state.readers == 0;
            }
            if self.writable {
                state.writers -= 1;
                last_writer = state.writers == 0;
            }
            if state.readers == 0 && state.writers == 0 {
                // What nobody read is gone with the last end.
                state.ring.clear();
                state.packets = None;
            }
        }
        if last_reader {
            self.pipe.tell_writers(PollEvents::WRITABLE | PollEvents::ERR);
        }
        if last_writer {
            self.pipe.tell_readers(PollEvents::READABLE | PollEvents::HUP);
        }
    }
}

impl File for PipeEnd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(FileType::Fifo, 0o600, self.pipe.number))
    }

    fn read(&self, _offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        fill(sink, |sink, _| self.pipe.read(sink))
    }

    fn write(&self, _offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        let packets = self.packets.load(Ordering::Relaxed);
        drain(source, |source, _| self.pipe.write(source, packets))
    }

    fn poll(&self) -> PollEvents {
        let state = self.pipe.state.lock();
        let mut events = PollEvents::empty();
        if self.readable {
            if state.ring.length > 0 {
                events |= PollEvents::READABLE;
            }
            // A FIFO that no writer has opened yet is not hung up.
            let fresh = self.named && state.writer_opens <= self.peer_opens;
            if state.writers == 0 && !fresh {
                events |= PollEvents::HUP;
            }
        }
        if self.writable {
            if state.room() >= PIPE_BUF.min(state.ring.capacity) {
                events |= PollEvents::WRITABLE;
            }
            if state.readers == 0 {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    fn sends_signals(&self) -> bool {
        true
    }

    fn notifier(&self) -> Option<&Notifier> {
        Some(match (self.readable, self.writable) {
            (true, false) => &self.pipe.readers,
            (false, true) => &self.pipe.writers,
            _ => &self.pipe.both,
        })
    }

    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn allocate(&self, _mode: u32, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::ESPIPE)
    }

    fn ioctl(&self, command: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        match command {
            FIONREAD => {
                let count = u32::try_from(self.pipe.bytes()).unwrap_or(u32::MAX);
                argument.store(&count.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn status_flags_changed(&self, flags: OpenFlags) {
        self.packets.store(flags.contains(OpenFlags::DIRECT), Ordering::Relaxed);
    }

    fn reopen(&self, flags: OpenFlags) -> Result<FileRef, Errno> {
        let pipe = self.pipe.own.upgrade().ok_or(Errno::ENXIO)?;
        Self::open(&pipe, flags, false)
    }

    fn describe(&self) -> String {
        alloc::format!("pipe:[{}]", self.pipe.number)
    }
}
