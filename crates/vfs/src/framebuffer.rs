//! /dev/fb0: the picture on a screen as pixels (Linux: Documentation/fb/api.rst,
//! include/uapi/linux/fb.h).
//!
//! The program has memory of its own, in the screen's layout, as with Linux's deferred I/O: pages that
//! it has touched and changed are copied to the screen. The rest of the screen stays as it is; the
//! program cannot read what others have painted there.

use crate::access::Who;
use crate::device::{Device, device_number};
use crate::file::{File, FileRef, IoctlArgument};
use crate::metadata::{FileType, Metadata};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use base::display::{Layout, Surface};
use base::io::{Sink, Source, in_parts};
use base::sync::SpinLock;
use base::{Errno, Instant, PAGE_SIZE};
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use hal::memory::Frame;

/// Its device number.
pub const NUMBER: u64 = device_number(29, 0);

/// How often pages that are mapped are looked at.
const PERIOD: Duration = Duration::from_millis(16);
/// What is copied at once.
const PART_BYTES: usize = 512;
const WORDS: usize = PART_BYTES / size_of::<u64>();

/// ioctl commands.
mod command {
    pub(super) const GET_VARIABLE: u32 = 0x4600;
    pub(super) const PUT_VARIABLE: u32 = 0x4601;
    pub(super) const GET_FIXED: u32 = 0x4602;
    pub(super) const PAN: u32 = 0x4606;
}

/// A page that somebody has touched.
struct Page {
    frame: Frame,
    /// Of what was last copied to the screen, if anything was.
    sum: Option<u64>,
    /// It was written to by write(2), or mapped for that.
    dirty: bool,
}

/// What is there, and where it is seen.
struct Shown {
    surface: Arc<dyn Surface>,
    layout: Layout,
    /// Bytes of the largest picture so far: the memory does not shrink with the screen, for programs may have
    /// mapped all of it.
    bytes: u64,
    pages: BTreeMap<u64, Page>,
}

fn bytes(layout: &Layout) -> u64 {
    u64::from(layout.pitch) * u64::from(layout.height)
}

/// A picture.
pub struct FrameBuffer {
    own: Weak<Self>,
    number: u64,
    shown: SpinLock<Shown>,
    /// Some pages are dirty, or may be mapped.
    active: AtomicBool,
    /// They are not looked at before this: nanoseconds.
    next: AtomicU64,
}

/// Goes through a page by parts: their offsets, and their words.
fn each_part(frame: &Frame, mut each: impl FnMut(u64, &[u64; WORDS])) {
    let (mut bytes, mut words) = ([0; PART_BYTES], [0; WORDS]);
    for offset in (0..PAGE_SIZE).step_by(PART_BYTES) {
        frame.read(offset as usize, &mut bytes);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        each(offset, &words);
    }
}

/// A sum that changes with any word.
fn sum(frame: &Frame) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum: u64 = 0;
    each_part(frame, |_, words| {
        sum = words.iter().fold(sum, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(PRIME));
    });
    sum
}

impl FrameBuffer {
    /// The picture on this surface.
    #[must_use]
    pub fn new(surface: Arc<dyn Surface>) -> Arc<Self> {
        let layout = surface.layout();
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            number: crate::anonymous::next_number(),
            shown: SpinLock::new(Shown {
                surface,
                layout,
                bytes: bytes(&layout),
                pages: BTreeMap::new(),
            }),
            active: AtomicBool::new(false),
            next: AtomicU64::new(0),
        })
    }

    /// The picture is on another surface, maybe with other rows, from now on. What is mapped is seen there;
    /// `all`: so is whatever was written before.
    pub fn move_to(&self, surface: Arc<dyn Surface>, all: bool) {
        let layout = surface.layout();
        let _old = {
            let mut shown = self.shown.lock();
            shown.layout = layout;
            shown.bytes = shown.bytes.max(bytes(&layout));
            for page in shown.pages.values_mut() {
                page.sum = None;
                page.dirty |= all;
            }
            core::mem::replace(&mut shown.surface, surface)
        };
        self.active.store(true, Relaxed);
    }

    /// Bytes of the memory.
    fn bytes(&self) -> u64 {
        self.shown.lock().bytes
    }

    /// Does something with a page, which is made if it is not there.
    fn with_page<T>(&self, number: u64, each: impl FnOnce(&mut Page) -> T) -> Result<T, Errno> {
        let pages = &mut self.shown.lock().pages;
        if let Some(page) = pages.get_mut(&number) {
            return Ok(each(page));
        }
        let frame = Frame::zeroed().map_err(|_| Errno::ENOMEM)?;
        let mut page = Page { frame, sum: None, dirty: false };
        let done = each(&mut page);
        pages.insert(number, page);
        Ok(done)
    }

    /// When [`FrameBuffer::refresh_if_due`] has something to do; `None`: not before somebody writes.
    #[must_use]
    pub fn next_refresh(&self) -> Option<Instant> {
        let next = Instant::from_nanoseconds(self.next.load(Relaxed));
        self.active.load(Relaxed).then_some(next)
    }

    /// Copies to the screen what has changed, when it is time.
    pub fn refresh_if_due(&self, now: Instant) {
        if self.next_refresh().is_none_or(|next| next > now) {
            return;
        }
        self.refresh(now);
    }

    /// Copies to the screen what has changed.
    fn refresh(&self, now: Instant) {
        self.next.store((now + PERIOD).nanoseconds(), Relaxed);
        self.active.store(false, Relaxed);
        let mut number = 0;
        loop {
            let Shown { surface, pages, .. } = &mut *self.shown.lock();
            let Some((&at, page)) = pages.range_mut(number..).next() else { break };
            number = at + 1;
            let mapped = page.frame.is_shared();
            if mapped {
                self.active.store(true, Relaxed);
            } else if !page.dirty {
                continue;
            }
            // A page that was unmapped just now may have changed before.
            page.dirty = mapped;
            let now = Some(sum(&page.frame));
            if now != core::mem::replace(&mut page.sum, now) {
                each_part(&page.frame, |offset, words| {
                    surface.store(at * PAGE_SIZE + offset, words);
                });
            }
        }
        let surface = Arc::clone(&self.shown.lock().surface);
        if !surface.flush() {
            self.active.store(true, Relaxed);
        }
    }

    /// `struct fb_var_screeninfo`: what could be chosen elsewhere.
    fn variable(&self) -> [u8; 160] {
        const BITS: u32 = 8;
        let Layout { width, height, shifts, .. } = self.shown.lock().layout;
        let mut fields = [0_u32; 40];
        fields[..4].copy_from_slice(&[width, height, width, height]);
        fields[6] = 32;
        for (field, shift) in fields[8..].chunks_exact_mut(3).zip(shifts) {
            field[0] = u32::from(shift);
            field[1] = BITS;
        }
        // Height and width in millimetres are not known.
        (fields[23], fields[24]) = (u32::MAX, u32::MAX);
        let mut bytes = [0; 160];
        for (to, field) in bytes.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// `struct fb_fix_screeninfo`. Where the memory lies is not told.
    fn fixed(&self) -> [u8; 80] {
        const TRUE_COLOUR: u8 = 2;
        let mut bytes = [0; 80];
        bytes[..5].copy_from_slice(b"eggos");
        let (layout, bytes_there) = {
            let shown = self.shown.lock();
            (shown.layout, shown.bytes)
        };
        // At most 2 GiB: see what a surface may be.
        let length = bytes_there.next_multiple_of(PAGE_SIZE) as u32;
        bytes[24..28].copy_from_slice(&length.to_le_bytes());
        bytes[36] = TRUE_COLOUR;
        bytes[48..52].copy_from_slice(&layout.pitch.to_le_bytes());
        bytes
    }

    /// Size and format are not the program's to change, and no part of the picture is out of sight.
    fn change(&self, argument: &mut dyn IoctlArgument, pans: bool) -> Result<(), Errno> {
        let have = self.variable();
        let mut wanted = [0; 160];
        argument.load(&mut wanted)?;
        // Of a pan only the offsets count.
        let looked_at = if pans { 16..24 } else { 0..56 };
        if wanted.get(looked_at.clone()) != have.get(looked_at) {
            return Err(Errno::EINVAL);
        }
        if pans { Ok(()) } else { argument.store(&have) }
    }
}

impl Device for FrameBuffer {
    fn open(&self, _who: &Who) -> Result<FileRef, Errno> {
        let file: FileRef = self.own.upgrade().ok_or(Errno::ENODEV)?;
        Ok(file)
    }
}

impl File for FrameBuffer {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        let mut metadata = Metadata::anonymous(FileType::CharacterDevice, 0o660, self.number);
        metadata.special_device = NUMBER;
        Ok(metadata)
    }

    fn read(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut bounce = [0; PART_BYTES];
        in_parts(&mut |done| {
            let at = offset.saturating_add(done as u64);
            let (inside, room) = (at % PAGE_SIZE, sink.room().min(bounce.len()) as u64);
            let count = room.min(PAGE_SIZE - inside).min(self.bytes().saturating_sub(at)) as usize;
            let bytes = bounce.get_mut(..count).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(0);
            }
            match self.shown.lock().pages.get(&(at / PAGE_SIZE)) {
                Some(page) => page.frame.read(inside as usize, bytes),
                None => bytes.fill(0),
            }
            sink.put(bytes)
        })
    }

    fn write(&self, offset: u64, source: &mut dyn Source) -> Result<usize, Errno> {
        if offset > self.bytes() {
            return Err(Errno::EFBIG);
        }
        let mut bounce = [0; PART_BYTES];
        in_parts(&mut |done| {
            if source.remaining() == 0 {
                return Ok(0);
            }
            let at = offset.saturating_add(done as u64);
            let inside = at % PAGE_SIZE;
            let room = (PAGE_SIZE - inside).min(self.bytes().saturating_sub(at)) as usize;
            let room = room.min(bounce.len());
            if room == 0 {
                return Err(Errno::ENOSPC);
            }
            let count = source.take(bounce.get_mut(..room).unwrap_or_default())?;
            if count == 0 {
                return Ok(0);
            }
            self.with_page(at / PAGE_SIZE, |page| {
                page.frame.write(inside as usize, bounce.get(..count).unwrap_or_default());
                page.dirty = true;
            })?;
            self.active.store(true, Relaxed);
            Ok(count)
        })
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn frame(&self, page: u64, write: bool) -> Result<Frame, Errno> {
        if page >= self.bytes().div_ceil(PAGE_SIZE) {
            return Err(Errno::ENXIO);
        }
        self.active.store(true, Relaxed);
        self.with_page(page, |page| {
            page.dirty |= write;
            page.frame.clone()
        })
    }

    fn ioctl(&self, command: u32, argument: &mut dyn IoctlArgument) -> Result<usize, Errno> {
        match command {
            command::GET_VARIABLE => argument.store(&self.variable())?,
            command::GET_FIXED => argument.store(&self.fixed())?,
            command::PUT_VARIABLE => self.change(argument, false)?,
            command::PAN => {
                self.change(argument, true)?;
                // What programs say when a picture is finished.
                self.refresh(hal::clock::now());
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn describe(&self) -> String {
        String::from("/dev/fb0")
    }
}

#[cfg(test)]
mod tests;
